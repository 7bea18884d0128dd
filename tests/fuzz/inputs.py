"""Command lines to try, the same ones for the same seed: every option of every command with every kind of rubbish."""

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass

from fuzz import mutations
from fuzz.nasty import others, tables
from fuzz.words import BASES, NO_NUMBERS, NUMBERS, OUTPUTS, PATHS, SLOW, TEXTS


@dataclass(frozen=True)
class Input:
    """One command line.

    Attributes:
        argv: the words after ``moelaws``.
        about: what is wrong with it, for the record.
        refuse: whether it can only be a wrong input (exit code 2), not a matter of taste.
        files: files to write into the folder first.
    """

    argv: tuple[str, ...]
    about: str
    refuse: bool = False
    files: tuple[tuple[str, bytes], ...] = ()

    @property
    def command(self) -> str:
        """The subcommand."""
        return self.argv[0] if self.argv else ""

    @property
    def outputs(self) -> set[str]:
        """Files that it asks for, which may change."""
        return {value for name, value in zip(self.argv, self.argv[1:], strict=False) if name in OUTPUTS}


# As root a fault could put a file in the place of a device.
_OUTPUTS = tuple(path for path in PATHS if not path.startswith("/"))


def every(parser: argparse.ArgumentParser, seed: int = 0) -> list[Input]:
    """All inputs, in a fixed order."""
    rng = random.Random(seed)
    found = [
        *_lines(parser),
        *_options(parser, rng),
        *_tables(rng),
        *_models(rng),
        *_sweeps(),
        *_fits(),
        *_formulas(rng),
    ]
    found += mutations.tables(rng) + mutations.fits(rng) + mutations.configs(rng) + mutations.conditions(rng)
    return list(dict.fromkeys(found))


def options_of(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.Action]]:
    """Every option of every command, by what the parser knows."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command, below in action.choices.items():
                yield from options_of(below, f"{name} {command}".strip())
        elif name:
            yield name, action


def kind_of(action: argparse.Action) -> str:
    """What an option takes: nothing, a file to write, a path, one of its choices, a number, or text."""
    made_by = getattr(action.type, "__qualname__", "").partition(".")[0]
    if action.nargs == 0:
        return "flag"
    if set(action.option_strings) & set(OUTPUTS):
        return "output"
    if made_by in ("path", "Path"):
        return "path"
    if action.choices:
        return "choice"
    return "text" if action.type is None else "number"


def _lines(parser: argparse.ArgumentParser) -> Iterator[Input]:
    yield Input((), "no command", refuse=True)
    for word in ("", "x" * 87_000, "\x1b[31m", "--nothing", "-h5", "run", "--version=3", "\udcff"):
        yield Input((word,), "a command that is none", refuse=True)
    for base in BASES.values():
        yield Input(base, "as it should be")
        for word in ("--nothing", "\x1b[31m", "x" * 87_000, "--", ""):
            yield Input((*base, word), "one word more")
        yield Input(base[:1], "no more words")
    for name, action in options_of(parser):
        if action.option_strings and kind_of(action) != "flag" and name in BASES:
            yield Input((*BASES[name], action.option_strings[-1]), "an option without its value", refuse=True)


def _options(parser: argparse.ArgumentParser, rng: random.Random) -> Iterator[Input]:
    for name, action in options_of(parser):
        if not action.option_strings or name not in BASES:
            continue
        option, kind = action.option_strings[-1], kind_of(action)
        if kind == "flag":
            if option not in ("-h", "--help", "--grid", "--calibrate", "--force"):
                yield Input((*BASES[name], option), "a flag")
            continue
        values = {"number": NUMBERS, "text": TEXTS, "choice": TEXTS[:8], "path": PATHS, "output": _OUTPUTS}[kind]
        sure = {"number": NO_NUMBERS, "choice": TEXTS[:8]}.get(kind, ())
        if option in SLOW:
            values = tuple(value for value in values if value not in ("1_000", "999999999999"))
        for value in sorted(rng.sample(values, min(len(values), 14))):
            yield Input((*BASES[name], f"{option}={value}"), f"{kind} for {option}", value in sure)
            if value and not value.startswith("-") and rng.random() < 0.2:
                yield Input((*BASES[name], option, value), f"{kind} for {option}", value in sure)


def _tables(rng: random.Random) -> Iterator[Input]:
    names = [
        *tables(),
        "loop.csv",
        "dangling.csv",
        "folder.csv",
        "pipe.csv",
        "/dev/zero",
        "/dev/null",
        "",
        "good.csv/x",
    ]
    names += [
        "lists.parquet",
        "loss_lists.parquet",
        "structs.parquet",
        "times.parquet",
        "new\nline.csv",
        "\x1b[31m.csv",
    ]
    names += ["\udcff\udcfe.csv", "-dash.csv", "precious.json", "small", "giant.txt", "link.csv", "good.parquet"]
    for name in names:
        yield Input(("runs", "--", name), "a table that is none")
        for base in rng.sample(("fit", "isoflop", "rerun", "probe", "plan"), 2):
            line = (
                ("plan", "--train-flops", "1e20", "--timings", name)
                if base == "plan"
                else (base, name, *BASES[base][2:])
            )
            yield Input(line, "a table that is none")


def _models(rng: random.Random) -> Iterator[Input]:
    names = [f"model_{n}" for n in ("zero", "short", "vast", "long", "deep", "cut", "half", "text", "pickle", "bare")]
    names += [f"config_{n}" for n in ("list", "deep", "nan", "empty", "digits", "latin")]
    names += [name for name in others() if name.endswith(".json")] + [
        "/dev/zero",
        "pipe.json",
        "giant.json",
        "folder.json",
    ]
    for name in names:
        yield Input(("measure", name, *BASES["measure"][2:]), "a model that is none", refuse=True)
    for text in (
        "d=0",
        "d=7",
        "d=999999999999",
        "E=0",
        "K=9,E=8",
        "d=²",
        "G=3",
        "V=999999999",
        "d=64,E=99999999",
        "T=0",
    ):
        yield Input(("measure", f"tiny:{text}", *BASES["measure"][2:]), "a model that is none", refuse=True)
    yield Input(("measure", "tiny:d=16", "--batch", "65536", "--prompt", "1000000"), "too much to measure", refuse=True)
    yield Input(("measure", "small", "--calibrate"), "two wishes at once", refuse=True)
    yield Input(("measure", "--calibrate", "--clock", "processor", "--threads", "2"), "clock of threads", refuse=True)
    yield Input(("measure", "small", *BASES["measure"][2:]), "as it should be")
    for name in rng.sample(sorted(tables()), 12):
        yield Input(("measure", "small", *BASES["measure"][2:], "--out", name), "a table to put rows into")


def _sweeps() -> Iterator[Input]:
    base = ("--out", "swept.csv", "--workers", "1", "--limit", "1")
    for name in (
        "divides:f",
        "unreadable:f",
        "nul:f",
        "exits:f",
        "odd:f",
        "odd:g",
        "odd:h",
        "endless:f",
        "tiny_sweeps:giant",
        "tiny_sweeps:nothing",
        ":",
        "a:",
        ":b",
        "..:f",
        "os:system",
        "x" * 87_000,
        "\x1b[31m:f",
        "a b:c",
        "",
    ):
        yield Input(("sweep", name, *base), "a sweep that is none")
    for corpus in (
        "",
        "pipe.txt",
        "/dev/zero",
        "folder.csv",
        "binary.txt",
        "blank.txt",
        "one.txt",
        "short.txt",
        "giant.txt",
        "absent",
        "n" * 300,
        "a\0b",
        "zipf-markov:V=0",
        "zipf-markov:V=" + "9" * 5_000,
        "zipf-markov:order2=nan",
        "sotu+sotu",
        "\x1b[31m",
    ):
        text = f"from tiny_sweeps import one as _one\n\ndef f():\n    return _one({corpus!r})\n"
        yield Input(
            ("sweep", "texts:f", *base),
            "a text that is none",
            True,
            (("texts.py", text.encode("utf-8", "surrogateescape")),),
        )
    for out in (
        "own_no_newline.csv",
        "precious.json",
        "good.csv",
        "ours.csv",
        "binary.csv",
        "folder.csv",
        "pipe.csv",
        "empty.csv",
    ):
        yield Input(("sweep", "tiny_sweeps:one", "--out", out, "--workers", "1"), "a table to append to")
        yield Input(("probe", "ours.csv", "--out", out, "--device", "tpu"), "a table to append to")
    for address in (
        "",
        "nonsense",
        "tcp://127.0.0.1:1",
        "precious.json",
        "list.json",
        "pipe.json",
        "a\0b",
        "x" * 87_000,
    ):
        yield Input(
            ("sweep", "tiny_sweeps:one", "--out", "swept.csv", "--scheduler", address), "a scheduler that is none", True
        )
    yield Input(("sweep", "tiny_sweeps:one", "--out", "swept.csv", "--workers", "1"), "as it should be")


def _fits() -> Iterator[Input]:
    for name in [
        *(n for n in others() if n.endswith(".json")),
        "pipe.json",
        "giant.json",
        "folder.json",
        "good.csv",
        "",
    ]:
        yield Input((*BASES["plan"], "--law-fit", name), "a fit that is none", refuse=True)
    yield Input((*BASES["plan"], "--law-fit", "fit.json"), "as it should be")


def _formulas(rng: random.Random) -> Iterator[Input]:
    for text in mutations.formulas(rng):
        line = ("fit", "good.csv", "--formula", text, "--variables", "N=total_params,D=tokens", "--starts", "4")
        yield Input(line, "a formula")
