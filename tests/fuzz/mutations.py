"""Good inputs with something changed at random: a character of a table, a value of a JSON file, a part of a formula."""

import copy
import json
import random
from typing import Any

from fuzz.command import Input
from fuzz.good import CONFIG, FIT, recorded, runs
from fuzz.words import BASES

_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    1e300,
    10**400,
    "",
    "x",
    "\x1b[31m",
    "x" * 50_000,
    [],
    [1],
    ["x"],
    {},
    {"a": 1},
    [[[[]]]],
    "1",
)
_COMPARE = (">", "<", "==", "!=", ">=", "in", "not in", "is", "=", "**", "@")
_CHARACTERS = (
    "",
    ",",
    '"',
    "\n",
    "\r",
    "\0",
    ";",
    "\t",
    "nan",
    "-",
    "e999",
    "\x1b[31m",
    "é",
    "\ufeff",
    "9" * 400,
    "\\",
    "'",
)


def tables(rng: random.Random, count: int = 120) -> list[Input]:
    """Tables with some characters replaced, read by any command that reads one."""
    good, ours = runs().head(24).to_csv(index=False), recorded().to_csv(index=False)
    found = []
    for i in range(count):
        base = rng.choice(("runs", "fit", "isoflop", "rerun", "probe", "compare", "predict", "speedup", "next"))
        text = ours if base in ("rerun", "probe") else good
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(min(len(text), 400) if rng.random() < 0.5 else len(text))
            text = text[:at] + rng.choice(_CHARACTERS) + text[at + rng.randint(0, 4) :]
        name = f"mutated_{i}.csv"
        line = (base, name, *BASES[base][2:])
        found.append(Input(line, "a table with characters changed", files=((name, text.encode("utf-8")),)))
    return found


def fits(rng: random.Random, count: int = 90) -> list[Input]:
    """Files of fits with one value of another kind."""
    found = []
    for i in range(count):
        name, content = f"mutated_{i}.json", _dump(_changed(FIT, rng), rng)
        found.append(Input((*BASES["plan"], "--law-fit", name), "a fit with a value changed", files=((name, content),)))
    return found


def configs(rng: random.Random, count: int = 70) -> list[Input]:
    """Configurations of checkpoints, and of models of ours, with one value of another kind."""
    from moelaws.config import ModelConfig

    ours = ModelConfig(64, 16, 1, 2, 32, 4, context=32).to_dict()
    found = []
    for i in range(count):
        if i % 2:
            name, place, good = "small", "small/config.json", CONFIG
        else:
            name = place = f"mutated_{i}.json"
            good = ours
        files = ((place, _dump(_changed(good, rng), rng)),)
        found.append(
            Input(("measure", name, *BASES["measure"][2:]), "a configuration with a value changed", files=files)
        )
        if i % 2:
            found.append(Input(("count", name), "a configuration with a value changed", files=files))
            line = ("export", "gguf", name, "model.gguf")
            found.append(Input(line, "a configuration with a value changed", files=files))
    return found


def formulas(rng: random.Random, count: int = 90) -> list[str]:
    """Formulas grown from the grammar, of which most are odd and some are none."""
    found = [
        "+".join(["N"] * 100_000),
        "(" * 900 + "N" + ")" * 900,
        "N^N^N^N^N",
        "exp(exp(exp(N)))",
        "1/0",
        "",
        "N",
        "E",
        "D*0",
    ]
    found += [
        "'a' * 10**9",
        "[0] * 10**9",
        "N ** 10 ** 10 ** 10",
        "E + A/N^a + B/D^b" + " + C/N^c" * 50,
        "log(N)",
        "N; D",
    ]
    found += [
        "+".join(f"a{i}/N^b{i}" for i in range(30)),
        "E + A/N^1e999",
        "E - A/N^a",
        "0*E + N/N",
        "sqrt(E - N)",
        "\x1b[31m",
    ]
    while len(found) < count:
        text = _expression(rng, 4)
        if rng.random() < 0.2:
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice("()+*^$\"'[] ") + text[at + 1 :]
        found.append(text)
    return found


def conditions(rng: random.Random, count: int = 60) -> list[Input]:
    """Conditions on rows grown from their grammar, of which some are none."""
    found = []
    for _ in range(count):
        parts = [f"{_term(rng)} {rng.choice(_COMPARE)} {_term(rng)}"]
        while rng.random() < 0.5:
            parts.append(rng.choice(("and", "or", "and not", "xor", "if")) + " " + _term(rng))
        base = rng.choice(("runs", "fit", "isoflop", "probe"))
        option = "--holdout" if base == "fit" and rng.random() < 0.3 else "--where"
        found.append(Input((*BASES[base], f"{option}={' '.join(parts)}"), "a condition"))
    return found


def _term(rng: random.Random) -> str:
    names = (
        "loss",
        "tokens",
        "status",
        "n_experts",
        "nothing",
        "3.5",
        "1e999",
        "'finished'",
        "'x' * 9",
        "-loss",
        "not loss",
    )
    more = (
        "[1, 'x']",
        "(loss, tokens)",
        "loss * 10**9",
        "tokens / 0",
        "loss + status",
        "~loss",
        "{1}",
        "None",
        "True",
        "1j",
    )
    return rng.choice((*names, *more))


def _expression(rng: random.Random, depth: int) -> str:
    if depth == 0 or rng.random() < 0.2:
        return rng.choice(("N", "D", "E", "A", "a", "b", "2", "0.5", "1e3", "0", "1e300"))
    if rng.random() < 0.2:
        return f"{rng.choice(('exp', 'ln', 'log2', 'sqrt', 'sin'))}({_expression(rng, depth - 1)})"
    left, right = _expression(rng, depth - 1), _expression(rng, depth - 1)
    return f"({left} {rng.choice('+-*/^^')} {right})"


def _changed(content: Any, rng: random.Random) -> Any:
    """The content with one value, anywhere in it, replaced or taken out."""
    content = copy.deepcopy(content)
    places = []

    def walk(part: Any) -> None:
        for key in list(part) if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ():
            places.append((part, key))
            walk(part[key])

    walk(content)
    part, key = rng.choice(places)
    if rng.random() < 0.15:
        del part[key]
    else:
        part[key] = rng.choice(_VALUES)
    return content


def _dump(content: Any, rng: random.Random) -> bytes:
    text = json.dumps(content)
    if rng.random() < 0.1:
        text = text[: rng.randrange(len(text))]
    return text.encode()
