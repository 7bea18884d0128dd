"""``moelaws runs``: check a run table, summarise it, write it down under the book's names."""

import argparse

import pandas as pd

from moelaws.cli.boundary import tell
from moelaws.cli.table import add_table, load_table, say
from moelaws.cli.values import path, whole
from moelaws.quote import listed, number_of, plain
from moelaws.runs import COLUMNS, Loaded, finished
from moelaws.runs.reading.merge import merged
from moelaws.runs.upgrade import upgrade
from moelaws.runs.writing.save import check_place, save_runs

_SHOWN = (
    "status", "corpus", "train_flops", "n_experts", "top_k", "sparsity", "active_params", "total_params", "tokens",
    "seed", "loss", "loss_se",
)  # fmt: skip
_WIDEST = 30
_MOST_COLUMNS = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_table(parser, needed=False)
    parser.add_argument(
        "others",
        nargs="*",
        type=path,
        help="more tables of such runs, as of a class: put together, each run once",
    )
    parser.add_argument("--rows", type=whole(1, 1_000_000), default=20, help="rows to print (default 20)")
    parser.add_argument(
        "--write",
        type=path,
        metavar="TABLE",
        help="write the table as it was read, derived columns too, to this .csv or .parquet file",
    )
    parser.add_argument(
        "--upgrade", action="store_true", help="give a table that an older moelaws wrote the columns that came since"
    )
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
    if options.upgrade:
        return _upgrade(options)
    if options.write is not None:
        for table in (options.table, *options.others):
            check_place(options.write, table)
    loaded = _loaded(options)
    table, derived = loaded.derived()
    print(f"{number_of(len(table), 'run')}, {len(finished(table))} finished")
    say(loaded, derived)
    _print_rows(table.head(options.rows))
    if options.write is not None:
        print(f"{number_of(save_runs(loaded, options.write), 'row')} written to {plain(options.write, 200)}")
    return 0


def _loaded(options: argparse.Namespace) -> Loaded:
    """The table, or several as one."""
    if not options.others:
        return load_table(options)
    tables = {}
    for table in (options.table, *options.others):
        if str(table) in tables:
            raise ValueError(f"moelaws runs: {plain(table)} is named twice")
        tables[str(table)] = load_table(argparse.Namespace(**{**vars(options), "table": table}))
    return merged(tables)


def _upgrade(options: argparse.Namespace) -> int:
    from moelaws.runs.timings import TIMINGS

    for name in ("others", "map", "where", "write"):
        if name == "others" and options.others:
            raise ValueError("moelaws runs --upgrade: a table is upgraded in its place; name one at a time")
        if getattr(options, name):
            raise ValueError(f"moelaws runs --upgrade: the whole table is upgraded in its place; leave --{name} out")
    new, said = upgrade(options.table, (TIMINGS,))
    if said:
        tell(said)
    columns = f"{', '.join(new)} added; older rows have the value they were made with" if new else "nothing is new"
    print(f"{plain(options.table.name)}: {columns}")
    return 0


def _print_rows(table: pd.DataFrame) -> None:
    names = [name for name in _SHOWN if name in table.columns] or list(table.columns)
    shown = table[names[:_MOST_COLUMNS]]
    words = {
        name: shown[name].map(lambda cell: plain(cell, _WIDEST), na_action="ignore")
        for name in shown.columns
        if not pd.api.types.is_numeric_dtype(shown[name])
    }
    shown = shown.assign(**words).rename(columns=lambda name: plain(name, _WIDEST))
    with pd.option_context("display.width", 160, "display.max_columns", None):
        print(shown.to_string())
    others = [name for name in table.columns if name not in COLUMNS and name not in names[:_MOST_COLUMNS]]
    if others:
        print(f"columns of other names: {listed(others)}")
