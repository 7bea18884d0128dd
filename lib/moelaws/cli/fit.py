"""``moelaws fit``: a law, a run table, the true optimum and its intervals."""

import argparse
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd

from moelaws.cli.boundary import tell
from moelaws.cli.instrument.plotting import add_plot, check_plot, write_plot
from moelaws.cli.table import add_table, load_table, say
from moelaws.cli.values import number, path, seed, whole
from moelaws.document import check_json
from moelaws.fitting.engine.descent import FitFailed
from moelaws.fitting.fit import fit
from moelaws.fitting.foresight import OpenDesignWarning
from moelaws.fitting.objective import FitError
from moelaws.fitting.result import FitResult
from moelaws.fitting.table import complete
from moelaws.laws import LAWS, Law, LawError, law, law_from_formula
from moelaws.optimum.family import FAMILIES
from moelaws.quote import shown
from moelaws.runs import Loaded, derive, finished
from moelaws.runs.reading.rename import our_name, parse_map

_MOST_STARTS = _MOST_REFITS = 100_000
"""Beyond this many a fit takes hours and learns nothing more."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_table(parser, 'router == "Hash"', needed=False)
    parser.add_argument("--law", metavar="NAME", help="a published law, see --laws")
    parser.add_argument("--laws", action="store_true", help="print the laws and stop")
    parser.add_argument("--formula", help='a law of your own: "E + A/N^alpha + B/D^beta"; see --variables')
    parser.add_argument("--variables", metavar="N=COLUMN,...", help="columns of the formula's variables")
    parser.add_argument("--objective", default="huber-log", help="huber-log (default), lsq-log or lsq")
    parser.add_argument("--delta", type=number(0, 1e6), default=1e-3, help="Huber threshold in ln L (default 0.001)")
    parser.add_argument(
        "--over", type=number(0, 1e6), default=1.0, help="factor on runs predicted too high (default 1)"
    )
    parser.add_argument("--weights", metavar="COLUMN", help="weight of each run, such as one over its variance")
    parser.add_argument("--fix", metavar="NAME=VALUE,...", help="parameters to hold at a value")
    parser.add_argument("--bound", metavar="NAME=LOW:HIGH,...", help="bounds in place of the law's own")
    parser.add_argument(
        "--starts", type=whole(1, _MOST_STARTS), help="starting points to draw (default: by the law's size)"
    )
    parser.add_argument("--bootstrap", type=_replicates, default=0, metavar="N", help="refits for the intervals")
    parser.add_argument("--stratify", metavar="COLUMN", help="bootstrap within groups, such as budget")
    parser.add_argument("--cluster", metavar="COLUMN", help="runs of one value share noise: intervals allow for it")
    parser.add_argument("--seed", type=seed, default=0, help="of starts and bootstrap (default 0)")
    parser.add_argument("--holdout", metavar="CONDITION", help='rows to test on, not to fit: "sparsity > 0.97"')
    parser.add_argument(
        "--family", choices=FAMILIES, help="sizes of the models: what plan --law-fit reads the fit with"
    )
    parser.add_argument("--json", type=path, metavar="OUT", help="write the result to this file too")
    add_plot(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fit and print; write the JSON only when everything went well."""
    if options.laws:
        for each in LAWS.values():
            print(f"{each.name:18} {each.formula}\n{'':18} {each.source}")
        return 0
    if options.table is None:
        raise ValueError("moelaws fit: name a run table, or ask for --laws")
    check_json(options.json, "fit")
    check_plot(options.plot)
    chosen = _law(options)
    loaded, kept, held_out = _rows(options, chosen)
    name = Path(options.table).name
    try:
        with _warnings_told():
            result = fit(
                chosen, kept, options.objective, options.delta, options.weights, _fixed(options.fix),
                _bounds(options.bound), options.starts, options.seed, options.over, clusters=_cluster(options, kept),
            )  # fmt: skip
        result = _intervals(result, kept, options)
        if held_out is not None:
            result = result.with_holdout(held_out)
    except (FitError, LawError) as error:
        raise FitError(f"{name}: {error}") from None
    except FitFailed as error:
        raise FitFailed(f"{name}: {error}") from None
    if options.family:
        result = result.with_family(FAMILIES[options.family]())
    picture = result.plot() if options.plot else None
    if options.json:
        result.to_json(options.json)
    if options.plot:
        write_plot(options.plot, picture)
    summary = result.summary()
    print(*summary.head, sep="\n")
    say(loaded, result.origin.derived)
    print(*summary.parameters, *summary.foot, sep="\n")
    return 0


@contextmanager
def _warnings_told() -> Iterator[None]:
    """Say at once what a fit foresees: the reader may rather stop it."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", OpenDesignWarning)
        warnings.showwarning = lambda message, *_: tell(str(message))
        yield


def _law(options: argparse.Namespace) -> Law:
    if (options.law is None) == (options.formula is None):
        raise ValueError("moelaws fit: give --law NAME or --formula TEXT, one of them")
    if options.law is not None:
        return law(options.law)
    if not options.variables:
        raise ValueError("moelaws fit: --formula needs --variables, such as N=total_params,D=tokens")
    rename = parse_map(options.map)
    columns = parse_map(options.variables, "--variables")
    return law_from_formula(
        "formula", options.formula, {letter: our_name(column, rename) for letter, column in columns.items()}
    )


def _rows(options: argparse.Namespace, chosen: Law) -> tuple[Loaded, pd.DataFrame, pd.DataFrame | None]:
    """The table, the rows to fit, and those to test on. Only a law of one's own may have losses below zero."""
    signed = (chosen.target,) if options.formula else ()
    loaded = load_table(options, required=(chosen.target,), any_sign=signed)
    if loaded.runs.empty:
        raise ValueError(f"--where {shown(options.where)}: no row meets it")
    if not options.holdout:
        return loaded, loaded.runs, None
    out = loaded.where(options.holdout)
    held_out = finished(loaded.runs[out])
    if held_out.empty:
        raise ValueError(f"--holdout {shown(options.holdout)}: no finished run meets it")
    if out.all():
        raise ValueError(f"--holdout {shown(options.holdout)}: every row meets it, none is left to fit")
    return loaded, loaded.runs[~out], complete(chosen, held_out)[0]


def _cluster(options: argparse.Namespace, runs: pd.DataFrame) -> str | None:
    if options.stratify is not None and not options.bootstrap:
        raise ValueError("--stratify is for the bootstrap: give --bootstrap N as well")
    for what in ("stratify", "cluster"):
        column = getattr(options, what)
        if column is not None and column not in runs.columns:
            raise FitError(f"--{what}: no column {column!r}")
    return options.cluster


def _intervals(result: FitResult, kept: pd.DataFrame, options: argparse.Namespace) -> FitResult:
    if not options.bootstrap:
        return result.with_intervals()
    runs = derive(finished(kept))[0]
    groups = {
        what: None if column is None else runs[column].to_numpy()
        for what, column in (("stratify", options.stratify), ("cluster", options.cluster))
    }
    return result.bootstrap(options.bootstrap, options.seed, groups["stratify"], groups["cluster"])


def _fixed(text: str | None) -> dict[str, float]:
    return {name: _number_in("--fix", value) for name, value in parse_map(text, "--fix").items()}


def _bounds(text: str | None) -> dict[str, tuple[float, float]]:
    bounds = {}
    for name, value in parse_map(text, "--bound").items():
        low, sign, high = value.partition(":")
        if not sign:
            raise ValueError(f"--bound {name}={value}: expected LOW:HIGH")
        bounds[name] = (_number_in("--bound", low), _number_in("--bound", high))
    return bounds


def _number_in(option: str, text: str) -> float:
    with suppress(ValueError):
        if math.isfinite(value := float(text)):
            return value
    raise ValueError(f"{option}: expected a number, found {shown(text)}")


def _replicates(text: str) -> int:
    value = whole(0, _MOST_REFITS)(text)
    if value == 1:
        raise argparse.ArgumentTypeError("expected 0, or at least 2 refits")
    return value
