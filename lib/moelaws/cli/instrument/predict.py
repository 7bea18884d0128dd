"""``moelaws predict``: the loss of new runs, by a law fitted now or before, or by several together."""

import argparse
import warnings
from pathlib import Path

from moelaws.cli.instrument.own_laws import add_formula, own_laws
from moelaws.cli.instrument.points import add_points, points_of
from moelaws.cli.table import add_table, load_table, say
from moelaws.cli.values import number, path, whole
from moelaws.comparing.compare import compare
from moelaws.comparing.comparison import Comparison
from moelaws.comparing.predictions import predict
from moelaws.document import check_json, write_json
from moelaws.fitting.engine.descent import FitFailed
from moelaws.fitting.fit import fit
from moelaws.fitting.foresight import OpenDesignWarning
from moelaws.fitting.objective import FitError
from moelaws.fitting.report.fit_file import load_fit
from moelaws.fitting.result import FitResult
from moelaws.laws import LawError, law
from moelaws.runs import Loaded

AVERAGE = "average"
_MOST_STARTS = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_table(parser, needed=False)
    add_law(parser)
    add_points(parser)
    parser.add_argument(
        "--level", type=number(0, 0.999999), default=0.95, metavar="P", help="of the intervals (default 0.95)"
    )
    add_discrepancy(parser)
    parser.add_argument("--json", type=path, metavar="OUT", help="write the predictions to this file too")
    parser.set_defaults(run=run)


def add_law(parser: argparse.ArgumentParser, default: str = "average, of all that the table can identify") -> None:
    """Add the options that say which law answers."""
    parser.add_argument("--law", metavar="NAME", help=f"a published law, or average (default: {default})")
    parser.add_argument("--law-fit", type=path, metavar="FILE", help="a fit that moelaws fit --json wrote, for a table")
    add_formula(parser)
    parser.add_argument("--starts", type=whole(1, _MOST_STARTS), help="starting points to draw (default: by the law)")


def add_discrepancy(parser: argparse.ArgumentParser) -> None:
    """Add the option that says whether what a law misses may stand beside it."""
    parser.add_argument(
        "--discrepancy",
        choices=("none", "auto"),
        default="none",
        help="auto: put a process of what the law misses beside it, where it foretells the largest budget better by"
        " half (default none)",
    )


def run(options: argparse.Namespace) -> int:
    """Predict and print."""
    check_json(options.json, "predict")
    points = points_of(options)
    source, loaded = law_of(options)
    try:
        found = predict(source, points, options.level, options.discrepancy)
    except LawError as error:
        raise LawError(f"the points: {error}") from None
    if options.json:
        write_json(options.json, "predict", found.to_dict())
    if loaded is not None:
        say(loaded, {})
    print(found)
    return 0


def law_of(options: argparse.Namespace) -> tuple[FitResult | Comparison, Loaded | None]:
    """What answers: a fit from a file, a law fitted now, or several together; and the table that was read for it.

    Raises:
        ValueError: options that say nothing, or two things.
    """
    if options.law_fit is not None:
        if options.table is not None or options.law or options.formula:
            raise ValueError("--law-fit brings its law: leave the table, --law and --formula out")
        return load_fit(options.law_fit), None
    if options.table is None:
        raise ValueError("name a run table, or a fit by --law-fit")
    if options.law and options.formula:
        raise ValueError("give --law NAME or --formula TEXT, one of them")
    loaded = load_table(options)
    chosen = own_laws(options)[0] if options.formula else options.law
    more = {} if options.starts is None else {"starts": options.starts}
    name = Path(options.table).name
    try:
        if chosen in (None, AVERAGE):
            return compare(None, loaded.runs, **more), loaded
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OpenDesignWarning)  # the intervals say it
            return fit(law(chosen) if isinstance(chosen, str) else chosen, loaded.runs, "lsq-log", **more), loaded
    except (FitError, LawError) as error:
        raise FitError(f"{name}: {error}") from None
    except FitFailed as error:
        raise FitFailed(f"{name}: {error}") from None
