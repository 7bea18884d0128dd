"""``moelaws compare``: every law that a table can identify, at its optimum, asked for what it has not seen."""

import argparse
from pathlib import Path
from typing import Any

from moelaws.cli.instrument.held_out import add_hold_out, held_out_of
from moelaws.cli.instrument.own_laws import add_laws, laws_of
from moelaws.cli.instrument.plotting import add_plot, check_plot, write_plot
from moelaws.cli.table import add_table, load_table, say
from moelaws.cli.values import path, whole
from moelaws.comparing.compare import compare
from moelaws.document import check_json, write_json
from moelaws.fitting.engine.descent import FitFailed
from moelaws.fitting.objective import FitError
from moelaws.laws import LawError
from moelaws.runs import ConditionError, finished

_MOST_STARTS = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_table(parser)
    add_laws(parser)
    add_hold_out(parser)
    parser.add_argument(
        "--fitter",
        choices=("certified", "published"),
        default="certified",
        help="published: fit each law as its paper did, too, to tell law and fitter apart",
    )
    parser.add_argument(
        "--objective", default="lsq-log", help="lsq-log (default, for which AICc is meant), huber-log or lsq"
    )
    parser.add_argument("--starts", type=whole(1, _MOST_STARTS), help="starting points to draw (default: by the law)")
    parser.add_argument("--json", type=path, metavar="OUT", help="write the comparison to this file too")
    add_plot(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare and print; write files only when everything went well."""
    check_json(options.json, "compare")
    check_plot(options.plot)
    laws = laws_of(options)
    loaded = load_table(options, any_sign=("loss",) if options.formula else ())
    name, runs = Path(options.table).name, finished(loaded.runs)
    more: dict[str, Any] = {"objective": options.objective}
    more |= {} if options.starts is None else {"starts": options.starts}
    try:
        found = compare(laws, runs, held_out_of(options, loaded), options.fitter, **more)
        record = found.to_dict()
    except (FitError, LawError, ConditionError) as error:
        raise FitError(f"{name}: {error}") from None
    except FitFailed as error:
        raise FitFailed(f"{name}: {error}") from None
    if options.json:
        write_json(options.json, "compare", record)
    if options.plot:
        write_plot(options.plot, found.plot())
    say(loaded, {})
    print(found)
    return 0
