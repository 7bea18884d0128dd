"""The run table that a command is given: the options that say how to read it, and the one way to do so."""

import argparse
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from moelaws.cli.values import path
from moelaws.importing.import_runs import Asked, load
from moelaws.importing.preset import presets
from moelaws.quote import shown
from moelaws.runs import Loaded
from moelaws.runs.reading.read import told
from moelaws.runs.reading.rename import parse_map

_COLUMNS = ("variable", "by", "weights", "stratify", "cluster")
"""Options that hold a column's name, several, or nothing."""


def add_table(parser: argparse.ArgumentParser, example: str = "sparsity > 0.9", needed: bool = True) -> None:
    """Add the table and the options that every command reads it with.

    Args:
        parser: of the command.
        example: a condition on rows.
        needed: whether the command does nothing without a table.
    """
    parser.add_argument(
        "table",
        nargs=None if needed else "?",
        type=path,
        help="CSV, JSON lines or Parquet, one row a run; or a folder of runs of another program",
    )
    parser.add_argument(
        "--map",
        action=_Map,
        metavar="PRESET,OURS=THEIRS,...",
        help="columns that the file calls otherwise: 'loss=val/loss,tokens=D*1e9'; a factor converts a unit,"
        " a number holds for every run (top_k=1), and a name with a comma or = goes between backticks (and the whole"
        f" between single quotes, for the shell). Before them, or alone, whose layout it is: {', '.join(presets())};"
        " auto goes by what a folder holds and by the names that people give to columns",
    )
    parser.set_defaults(preset="")
    parser.add_argument(
        "--where",
        metavar="CONDITION",
        help=f"read only the rows that meet it: '{example}'; a name with signs in it goes between backticks",
    )


class _Map(argparse.Action):
    """Parts the name of a preset from the pairs that follow it: ``wandb,loss=val/nll``."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        first, _, pairs = str(values).partition(",")
        known = first.strip() in presets()
        namespace.preset, namespace.map = (first.strip(), pairs) if known else ("", values)
        if not known and values.strip() and "=" not in first:
            raise argparse.ArgumentError(
                self, f"expected OURS=THEIRS,... or one of {', '.join(presets())} before them, found {shown(first)}"
            )


def load_table(
    options: argparse.Namespace, required: Iterable[str] = ("loss",), any_sign: Collection[str] = ()
) -> Loaded:
    """Read the table of a command: rename, filter, check.

    Where --map says nothing, it goes by the names that people give to columns, and the notes say what was taken: a size
    in the file would else lose to one that is derived. A table of which nothing is required is taken as it is. Options
    that name columns as the file does name them as the book does from here on.

    Args:
        options: of a parser that ``add_table`` has been at.
        required: columns that must be there, or follow from others.
        any_sign: columns in which a number below zero is none to refuse.

    Raises:
        ValueError: an option or a table that cannot be read.
    """
    required = tuple(required)
    left = parse_map(getattr(options, "variables", None), "--variables").values()
    asked = Asked(options.preset, parse_map(options.map), options.where, required, any_sign, bool(required), left)
    loaded = load(options.table, asked)
    for option in _COLUMNS:
        named = getattr(options, option, None)
        if isinstance(named, tuple):
            setattr(options, option, tuple(loaded.aliases.get(each, each) for each in named))
        elif named is not None:
            setattr(options, option, loaded.aliases.get(named, named))
    return loaded


def say(loaded: Loaded, derived: Mapping[str, str]) -> None:
    """Print what is to be known about a table: what does not agree in it, and what is not in the file."""
    if loaded.earlier:
        print(f"when the table was written: {loaded.earlier}")
    for line in (*loaded.notes, *told(derived)):
        print(line)
