"""``moelaws speedup``: how many times the compute one configuration is worth beside another."""

import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd

from moelaws.cli.instrument.own_laws import add_formula
from moelaws.cli.instrument.plotting import add_plot, check_plot, write_plot
from moelaws.cli.instrument.predict import AVERAGE, add_discrepancy, law_of
from moelaws.cli.table import add_table, load_table, say
from moelaws.cli.values import number, path, seed, whole
from moelaws.comparing.comparison import Comparison
from moelaws.comparing.compute_multiplier import Speedup
from moelaws.comparing.configuration import DENSE, CurveOptions
from moelaws.comparing.speedup import speedup
from moelaws.document import check_json, write_json
from moelaws.fitting.objective import FitError
from moelaws.optimum.family import FAMILIES
from moelaws.optimum.forecaster import Forecaster
from moelaws.optimum.run_family import family_of_runs
from moelaws.pacing.step_model import StepError, StepModel, step_model
from moelaws.pacing.timed_runs import predict_seconds
from moelaws.runs import ConditionError, Loaded, finished, load_runs
from moelaws.surfaces.polynomial import SurfaceError

_MOST_STARTS = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_table(parser, needed=False)
    parser.add_argument(
        "--budget", type=number(0, 1e40), required=True, metavar="C", help="of the first configuration, in FLOPs"
    )
    parser.add_argument(
        "--of", required=True, metavar="CONFIG", help="the first: E, E,K, or a condition: 'router == \"Hash\"'"
    )
    parser.add_argument("--over", default=DENSE, metavar="CONFIG", help="what it is measured against (default dense)")
    parser.add_argument("--variable", default="active_params", help="column of sizes (default active_params)")
    parser.add_argument("--bootstrap", type=whole(2, 100_000), default=300, help="refits of each curve (default 300)")
    parser.add_argument("--seed", type=seed, default=0, help="of the refits (default 0)")
    parser.add_argument(
        "--times", type=path, metavar="FILE", help="a run table to take the speeds from, or for --law-fit the models"
    )
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="foresee the seconds on this device, of a law too: cpu or h200 as measured, or a hardware preset",
    )
    parser.add_argument(
        "--steps",
        type=path,
        metavar="FILE",
        help="a table of measured training steps for --device (default: the book's)",
    )
    parser.add_argument("--law", metavar="NAME", help="let a law answer, fitted to the table, in place of its runs")
    parser.add_argument("--law-fit", type=path, metavar="FILE", help="let a fit that moelaws fit --json wrote answer")
    add_formula(parser)
    parser.add_argument("--family", choices=FAMILIES, help="sizes of the models, for a law")
    add_discrepancy(parser)
    parser.add_argument("--starts", type=whole(1, _MOST_STARTS), help="starting points to draw (default: by the law)")
    parser.add_argument(
        "--level", type=number(0, 0.999999), default=0.95, metavar="P", help="of the intervals (default 0.95)"
    )
    parser.add_argument("--json", type=path, metavar="OUT", help="write the multiplier to this file too")
    add_plot(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Find the multiplier and print it."""
    check_json(options.json, "speedup")
    check_plot(options.plot)
    by_law = options.law or options.law_fit or options.formula
    if options.steps and not options.device:
        raise ValueError("--steps: goes with --device, which says whose steps of the table are meant")
    if options.device and options.times and not by_law:
        raise ValueError("--device and --times: seconds on a device are foreseen for the runs of the table; take one")
    if options.device and options.table is None and options.times is None:
        raise ValueError("--device: a fit knows sizes and no shapes; name a run table of its models by --times FILE")
    found, loaded = _of_law(options) if by_law else _observed(options)
    picture = found.plot() if options.plot else None
    if options.json:
        write_json(options.json, "speedup", found.to_dict())
    if options.plot:
        write_plot(options.plot, picture)
    if loaded is not None:
        say(loaded, {})
    print(found)
    return 0


def _of_law(options: argparse.Namespace) -> tuple[Speedup, Loaded | None]:
    if options.law == AVERAGE:
        raise ValueError("speedup: name one law; several together have no best size")
    source, loaded = law_of(options)
    assert not isinstance(source, Comparison)
    # The models of the table are the family that it is about, unless another is named.
    family = FAMILIES[options.family]() if options.family else None
    if family is None and loaded is not None:
        family = family_of_runs(finished(loaded.runs))
    asked = Forecaster(source, family=family, discrepancy=options.discrepancy)
    timed, how = None, "as they were timed"
    if options.times or options.device:
        models = load_runs(options.times, {}, None, required=()) if options.times else loaded or load_table(options)
        timed, _ = models.derived()
        if options.device:
            device = step_model(options.device, options.steps)
            timed, how = predict_seconds(finished(timed), device), f"as foreseen on {device}"
    try:
        found = speedup(asked, options.budget, options.of, options.over, options.level, timed=timed)
    except SurfaceError as error:
        raise FitError(f"{Path(options.times or options.table).name}: {error}") from None
    return replace(found, seconds_why=f"{found.seconds_why}, {how}") if found.seconds else found, loaded


def _observed(options: argparse.Namespace) -> tuple[Speedup, Loaded]:
    if options.table is None:
        raise ValueError("name a run table, or a fit by --law-fit")
    loaded = load_table(options)
    runs, _ = loaded.derived()
    timed: pd.DataFrame | StepModel | None = None
    if options.device:
        timed = step_model(options.device, options.steps)
    elif options.times:
        timed = load_runs(options.times, {}, None, required=()).runs
    try:
        curves = CurveOptions(options.variable, options.bootstrap, options.seed)
        return speedup(runs, options.budget, options.of, options.over, options.level, curves, timed), loaded
    except (FitError, ConditionError, SurfaceError, StepError) as error:
        raise FitError(f"{Path(options.table).name}: {error}") from None
