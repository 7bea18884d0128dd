"""``moelaws next``: the runs that tell most, for their FLOPs, about what is asked."""

import argparse
from pathlib import Path

from moelaws.choosing.candidates import Limits
from moelaws.choosing.chosen_runs import BEGINNING
from moelaws.choosing.next_runs import ChoosingOptions, next_runs
from moelaws.cli.table import add_table, load_table, say
from moelaws.cli.values import number, numbers, path, whole
from moelaws.document import check_json, write_json
from moelaws.files import check_beginning
from moelaws.fitting.objective import FitError
from moelaws.optimum.family import FAMILIES
from moelaws.runs import load_runs

_GB = 1e9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_table(parser, needed=False)
    parser.add_argument(
        "--ask",
        required=True,
        metavar="WHAT",
        help="budget=1e21 (the loss there); 'best: budget=1e21' (the best E); 'gain: budget=1e21,n_experts=64'"
        " (over=1 by default); 'exponent: budget=1e21'; or a point: active_params=1e9,tokens=2e10,n_experts=8",
    )
    parser.add_argument(
        "--budget-left", type=number(0, 1e40), required=True, metavar="C", help="FLOPs that there are for all runs"
    )
    parser.add_argument(
        "--candidates", type=path, metavar="FILE", help="a table of the runs that could be made (default: the table's"
        " models, or a family's, at several budgets)",
    )  # fmt: skip
    parser.add_argument("--family", choices=FAMILIES, help="sizes of the models (default: the table's own)")
    parser.add_argument("--sizes", type=numbers(0, 1e20), metavar="LEAST,MOST", help="active parameters")
    parser.add_argument("--experts", type=numbers(0, 1e6), metavar="E,...", help="numbers of experts that can be had")
    parser.add_argument("--top-k", type=whole(1, 1_000_000), metavar="K", help="experts for a token")
    parser.add_argument("--largest-run", type=number(0, 1e40), metavar="C", help="FLOPs of one run, at most")
    parser.add_argument("--smallest-run", type=number(0, 1e40), metavar="C", help="FLOPs of one run, at least")
    parser.add_argument(
        "--memory-gb", type=number(0, 1e9), metavar="GB", help="that 16 bytes for each parameter must fit into"
    )
    parser.add_argument(
        "--at-once", type=whole(1, 1_000_000), default=1, metavar="RUNS", help="that go on together (default 1)"
    )
    parser.add_argument("--most", type=whole(1, 500), metavar="RUNS", help="propose no more than these")
    parser.add_argument(
        "--noise", type=number(0, 0.999), metavar="SD", help="of ln L of one run (default: what the runs say)"
    )
    parser.add_argument(
        "--discrepancy",
        choices=("auto", "none"),
        default="auto",
        help="auto (default): a process of what a law misses stands beside each law; none: the laws alone",
    )
    parser.add_argument("--out", type=path, metavar="FILE", help="write the runs to this CSV: moelaws sweep reads it")
    parser.add_argument("--json", type=path, metavar="OUT", help="write everything to this file too")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Choose and print; write files only when everything went well."""
    check_json(options.json, "next")
    if options.out is not None:
        check_beginning(options.out, BEGINNING)
    limits, how = _limits(options), _how(options)
    loaded = None if options.table is None else load_table(options)
    if loaded is None and (options.map or options.where):
        raise ValueError("--map and --where are about a table, and none is named")
    offered = None if options.candidates is None else load_runs(options.candidates, {}, None, required=()).runs
    try:
        found = next_runs(
            None if loaded is None else loaded.runs, options.ask, options.budget_left, limits, offered, how
        )
    except FitError as error:
        raise FitError(str(error) if options.table is None else f"{Path(options.table).name}: {error}") from None
    if options.json:
        write_json(options.json, "next", found.to_dict())
    if options.out is not None:
        found.save(options.out)
    if loaded is not None:
        say(loaded, {})
    print(found)
    return 0


def _limits(options: argparse.Namespace) -> Limits:
    if options.sizes is not None and len(options.sizes) != 2:
        raise ValueError(f"--sizes: expected LEAST,MOST, found {len(options.sizes)} numbers")
    return Limits(
        options.sizes, options.experts, options.top_k, options.smallest_run, options.largest_run,
        None if options.memory_gb is None else options.memory_gb * _GB, options.at_once,
    )  # fmt: skip


def _how(options: argparse.Namespace) -> ChoosingOptions:
    family = None if options.family is None else FAMILIES[options.family]()
    return ChoosingOptions(family, options.discrepancy, options.noise, options.most)
