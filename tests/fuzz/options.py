"""Command lines with an option that holds rubbish, or what looks right and is not; from what the parser knows."""

import argparse
import random
from collections.abc import Iterator

from fuzz.command import Input
from fuzz.words import BASES, NO_NUMBERS, NUMBERS, OUTPUTS, PATHS, SLOW, SPECIAL, TEXTS

# As root a fault could put a file in the place of a device.
_OUTPUTS = tuple(path for path in PATHS if not path.startswith("/"))


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


def lines(parser: argparse.ArgumentParser) -> Iterator[Input]:
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


def rubbish(parser: argparse.ArgumentParser, rng: random.Random) -> Iterator[Input]:
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


def knowing(parser: argparse.ArgumentParser) -> Iterator[Input]:
    """Values that look right, in every command that has the option; every law on tables that are hard to fit."""
    from moelaws.laws import LAWS

    for name, action in options_of(parser):
        if name in BASES and action.option_strings:
            for value in SPECIAL.get(action.option_strings[-1], ()):
                yield Input((*BASES[name], f"{action.option_strings[-1]}={value}"), "a value that looks right")
    for number, law in enumerate(LAWS):
        for table in ("good.csv", ("tiny.csv", "vast.csv", "flat.csv", "one_row.csv", "dense.csv")[number % 5]):
            objective = ("huber-log", "lsq-log", "lsq")[number % 3]
            line = ("fit", table, "--law", law, "--starts", "3", "--objective", objective)
            yield Input((*line, "--bootstrap", "3") if number % 2 else line, "a law on a table")
