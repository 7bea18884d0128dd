"""``moelaws runs``: check a run table and summarise it."""

import argparse

import pandas as pd

from moelaws.cli.values import path, whole
from moelaws.runs import COLUMNS, derive, finished, read_runs
from moelaws.runs.where import rows_where

_SHOWN = (
    "status", "corpus", "train_flops", "n_experts", "top_k", "sparsity", "active_params", "total_params", "tokens",
    "seed", "loss", "loss_se",
)  # fmt: skip


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("runs", help="check a run table and summarise it")
    parser.add_argument("table", nargs="?", type=path, help="a .csv, .csv.gz or .parquet file")
    parser.add_argument("--map", metavar="OURS=THEIRS,...", help="column names of a table that uses other ones")
    parser.add_argument("--where", metavar="CONDITION", help='keep the rows that meet it: "sparsity > 0.9"')
    parser.add_argument("--rows", type=whole(1, 1_000_000), default=20, help="rows to print (default 20)")
    parser.add_argument("--columns", action="store_true", help="print the field dictionary and stop")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the field dictionary, or a checked table's summary and first rows."""
    if options.columns:
        for column in COLUMNS.values():
            print(f"{column.name:22} {column.unit or '-':12} {column.meaning}")
        return 0
    if options.table is None:
        raise ValueError("moelaws runs: name a run table, or ask for --columns")
    table = read_runs(options.table, rename=parse_map(options.map))
    table, derived = derive(table)
    if options.where:
        table = table[rows_where(table, options.where)]
    print(f"{len(table)} runs, {len(finished(table))} finished")
    for name, formula in derived.items():
        print(f"{name}: not in the file, derived as {formula}")
    shown = [name for name in _SHOWN if name in table.columns]
    with pd.option_context("display.width", 160, "display.max_columns", None):
        print(table[shown or list(table.columns)].head(options.rows).to_string())
    return 0


def parse_map(text: str | None) -> dict[str, str]:
    """Read ``loss=val_loss,tokens=D`` into {the book's name: the file's name}.

    Raises:
        ValueError: a part that is not NAME=NAME.
    """
    if not text:
        return {}
    pairs = [part.partition("=") for part in text.split(",")]
    for ours, sign, theirs in pairs:
        if not (ours.strip() and sign and theirs.strip()):
            raise ValueError(f"--map {text!r}: expected OURS=THEIRS,..., found {ours + sign + theirs!r}")
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}
