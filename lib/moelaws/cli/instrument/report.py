"""``moelaws report``: one page for a run table, to be sent to a colleague."""

import argparse
import sys
from pathlib import Path

from moelaws.cli.instrument.held_out import add_hold_out, held_out_of
from moelaws.cli.instrument.own_laws import add_laws, laws_of
from moelaws.cli.table import add_table, load_table, say
from moelaws.cli.values import path, seed, whole
from moelaws.files import check_beginning
from moelaws.quote import plain
from moelaws.reporting.analyses import ReportOptions
from moelaws.reporting.page import BEGINNING
from moelaws.reporting.report import About, report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_table(parser)
    parser.add_argument("--out", type=path, required=True, metavar="PAGE", help="write the page to this .html file")
    parser.add_argument("--variable", help="column of sizes (default: active_params, else total_params)")
    add_laws(parser)
    add_hold_out(parser)
    parser.add_argument("--bootstrap", type=whole(0, 100_000), default=300, help="refits of each surface (default 300)")
    parser.add_argument("--seed", type=seed, default=0, help="of the refits (default 0)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Make the page and write it."""
    check_beginning(options.out, BEGINNING)
    loaded = load_table(options)
    about = About.of_file(Path(options.table), ("moelaws", *sys.argv[1:]), loaded.notes)
    laws = laws_of(options)
    asked = ReportOptions(
        options.bootstrap,
        held_out_of(options, loaded),
        options.seed,
        options.variable or "",
        None if laws is None else tuple(laws),
    )
    made = report(loaded.runs, options.out, asked, about)
    say(loaded, {})
    for section in made.sections[:-2]:
        print(f"{section.title}: {plain(section.finding, 1000)}")
    print(f"{len(made.html.encode()) / 1e6:.2f} MB written to {plain(options.out, 200)}")
    return 0
