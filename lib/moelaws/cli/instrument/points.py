"""Points to predict, from the command line: one by one, or a table of them."""

import argparse
import math

import pandas as pd

from moelaws.cli.values import path
from moelaws.quote import shown
from moelaws.runs import load_runs
from moelaws.runs.reading.rename import our_name, parse_map

_MOST_SHOWN = 40


def add_points(parser: argparse.ArgumentParser) -> None:
    """Add ``--at`` and ``--points``."""
    parser.add_argument(
        "--at",
        action="append",
        default=[],
        metavar="COLUMN=NUMBER,...",
        help="a point: total_params=1e9,tokens=2e10; may be given several times",
    )
    parser.add_argument("--points", type=path, metavar="FILE", help="a table of points, read as a run table is")


def points_of(options: argparse.Namespace) -> pd.DataFrame:
    """The points that were asked for, in the book's names.

    Raises:
        ValueError: none, or one that cannot be read.
    """
    if bool(options.at) == (options.points is not None):
        raise ValueError("name points: --at COLUMN=NUMBER,..., or --points FILE, one of them")
    rename = parse_map(options.map)
    if options.points is not None:
        return load_runs(options.points, {}, None, required=()).runs
    rows = [
        {our_name(name, rename): _number(name, text) for name, text in parse_map(each, "--at").items()}
        for each in options.at
    ]
    if any(not row for row in rows):
        raise ValueError("--at: expected COLUMN=NUMBER,..., found nothing")
    table = pd.DataFrame(rows)
    if table.isna().any(axis=None):
        name = table.columns[table.isna().any()][0]
        raise ValueError(f"--at: one point has {shown(str(name))} and another has not")
    return table


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"--at {shown(name)}: expected a number, found {shown(text)}")
    return value
