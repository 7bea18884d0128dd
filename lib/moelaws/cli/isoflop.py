"""``moelaws isoflop``: loss surfaces of equal-budget runs, and the sizes and sparsities that are best on them."""

import argparse

from moelaws.cli.instrument.plotting import add_plot, check_plot, write_plot
from moelaws.cli.table import add_table, load_table, say
from moelaws.cli.values import columns, number, numbers, path, seed, whole
from moelaws.document import check_json, write_json
from moelaws.fitting.engine.descent import FitFailed
from moelaws.quote import shown
from moelaws.runs.budgets import TOLERANCE
from moelaws.surfaces.analysis import IsoflopOptions, isoflop
from moelaws.surfaces.polynomial import Degree


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_table(parser)
    parser.add_argument("--variable", default="total_params", help="column of sizes (default total_params)")
    parser.add_argument(
        "--budget",
        "--budgets",
        dest="budgets",
        type=numbers(0, 1e40),
        default=(),
        metavar="C,...",
        help="fit these budgets only, in FLOPs; a run belongs to the nearest one (default: grouped by their FLOPs)",
    )
    parser.add_argument(
        "--budget-tolerance",
        type=number(0, 1),
        default=TOLERANCE,
        metavar="SHARE",
        help=f"by how much FLOPs of one budget may differ (default {TOLERANCE:g})",
    )
    parser.add_argument(
        "--every-run", action="store_true", help="fit all finished runs, those that no one curve can hold too"
    )
    parser.add_argument(
        "--by",
        type=columns,
        default=(),
        metavar="COLUMN,...",
        help="a surface for each value of these columns, such as top_k,granularity; dense runs belong to each",
    )
    parser.add_argument(
        "--degree",
        type=_degree,
        metavar="A1,A2,A3",
        help="highest powers of ln N, -ln(1-S) and their product (default: by cross-validation)",
    )
    parser.add_argument(
        "--sizes", type=numbers(0, 1e30), metavar="N,...", default=(), help="also the best sparsity at these N"
    )
    parser.add_argument(
        "--bootstrap", type=whole(0, 100_000), default=1000, help="refits for the intervals (default 1000)"
    )
    parser.add_argument("--seed", type=seed, default=0, help="of the bootstrap (default 0)")
    parser.add_argument("--json", type=path, metavar="OUT", help="write surfaces and optima to this file too")
    add_plot(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fit and print; a budget and sparsity without an optimum is said to have none.

    Raises:
        FitFailed: none has one, nor a side on which it lies.
    """
    check_json(options.json, "isoflop")
    check_plot(options.plot)
    loaded = load_table(options)
    runs, derived = loaded.derived()
    found = isoflop(
        runs, options.variable, options.budgets, options.sizes, options.bootstrap, options.seed,
        IsoflopOptions(options.budget_tolerance, options.degree, options.every_run, options.by),
    )  # fmt: skip
    derived |= found.derived
    picture = found.plot() if options.plot else None
    if options.json:
        write_json(options.json, "isoflop", found.to_dict() | {"derived": derived})
    if options.plot:
        write_plot(options.plot, picture)
    # Nothing is printed before everything is known.
    say(loaded, derived)
    print(found)
    if not found.has_optimum:
        raise FitFailed("no budget and sparsity has an optimum; the table says why")
    return 0


def _degree(text: str) -> Degree:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(part in tuple("01234") for part in parts):
        raise argparse.ArgumentTypeError(
            f"expected three whole numbers from 0 to 4, such as 2,2,2, found {shown(text)}"
        )
    return int(parts[0]), int(parts[1]), int(parts[2])
