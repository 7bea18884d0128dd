"""Forecasts of a sweep, written down before its runs exist, and their scores when these have come.

``python -m howmany.forecasts.foretell_sweep SWEEP RUNS.csv FORECASTS.csv`` writes them, for ``packages_1e14`` from
``data/runs/packages.csv``; with ``--score`` it reads them back and says how they turned out.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from howmany.designs import program_sweeps, sweeps
from howmany.designs.planned import planned
from moelaws.files import create_file
from moelaws.foretelling.planned import foretell, score_forecasts
from moelaws.runs import read_runs

DIGITS = "%.7g"


def write_forecasts(sweep: str, runs_file: Path, out: Path) -> pd.DataFrame:
    """Foretell the runs of a sweep from a run table that has none of them, and write the forecasts.

    Args:
        sweep: name of the sweep.
        runs_file: the run table; runs of the sweep's budgets are refused, since nobody foretells what has been.
        out: where to write; a file that is there stays, for a forecast is made once.

    Raises:
        ValueError: no such sweep, runs of these budgets in the table, or a file that is there.
    """
    found = getattr(program_sweeps, sweep, None) or getattr(sweeps, sweep, None)
    if found is None:
        raise ValueError(f"no sweep {sweep!r} in howmany.designs")
    plan, runs = planned(found()), read_runs(runs_file)
    late = sorted(set(plan["budget"]) & set(runs.get("budget", ())))
    if late:
        raise ValueError(f"{runs_file.name} has runs of {late[0]:g} FLOPs already: what has been cannot be foretold")
    if out.exists():
        raise ValueError(f"{out} is there already: forecasts are written once")
    told = foretell(runs, plan).assign(runs_known=len(runs))
    out.parent.mkdir(parents=True, exist_ok=True)
    create_file(out, told.to_csv(index=False, float_format=DIGITS).encode(), 0o644)
    return told


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m howmany.forecasts.foretell_sweep", description=__doc__)
    parser.add_argument("sweep", help="name of the sweep, such as packages_1e14")
    parser.add_argument("runs", type=Path, help="run table")
    parser.add_argument("forecasts", type=Path, help="CSV of forecasts")
    parser.add_argument("--score", action="store_true", help="score forecasts that are there by the runs")
    options = parser.parse_args(arguments)
    try:
        if options.score:
            print(score_forecasts(pd.read_csv(options.forecasts), read_runs(options.runs)).to_string(index=False))
        else:
            told = write_forecasts(options.sweep, options.runs, options.forecasts)
            print(f"{len(told)} forecasts by {told['law'].nunique()} laws in {options.forecasts}")
    except (ValueError, OSError) as error:
        print(f"foretell_sweep: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
