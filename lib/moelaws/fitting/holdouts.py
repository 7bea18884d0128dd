"""Laws asked for what they have not seen: the largest value of one column after another is held out and forecast."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from moelaws.fitting.objective import FitError
from moelaws.fitting.selection import extrapolate
from moelaws.laws import law as law_named
from moelaws.laws.forms import Law

UNCHANGED = "no law: one step nearer"
"""Name of the forecast that needs no law, see ``unchanged``."""


def forecasts(
    laws: Iterable[Law | str], runs: pd.DataFrame, columns: Iterable[str], point: Iterable[str], **options: Any
) -> pd.DataFrame:
    """Errors of several laws on several held-out ends of a design.

    Args:
        laws: laws or their names.
        runs: a run table.
        columns: columns, such as ``n_experts`` or ``tokens``; runs with the largest value of one at a time are held
            out, and each law is fitted to the others.
        point: columns that say which point of the design a run belongs to, for ``unchanged``; must hold ``columns``.
        options: further arguments of ``fit``; the objective is ``lsq-log`` unless given.

    Returns:
        One row a law and column: ``law, held_out`` (the column), ``runs`` (held out), ``rmse_log`` and ``bias`` (mean
        of ln L_hat - ln L; positive: forecast too high) on the held-out runs, ``fitted_rmse_log`` on the others.

    Raises:
        FitError: a column that does not vary.
    """
    options = {"objective": "lsq-log"} | options
    chosen = [law_named(each) if isinstance(each, str) else each for each in laws]
    point = list(point)
    rows = []
    for column in columns:
        far = runs[runs[column] >= runs[column].max() * (1 - 1e-9)]
        logs = np.log(far["loss"].to_numpy(float))
        for law in chosen:
            result = extrapolate(law, runs, largest=column, **options)
            errors = np.log(np.asarray(result.predict(far), float)) - logs
            rows.append(_row(law.name, column, errors, result.quality.rmse_log))
        rows.append(_row(UNCHANGED, column, np.log(unchanged(runs, column, point)) - logs, np.nan))
    return pd.DataFrame(rows)


def unchanged(runs: pd.DataFrame, column: str, point: Iterable[str]) -> np.ndarray:
    """The forecast that a law must beat: at the largest value of a column, the loss at the value before it.

    Args:
        runs: a run table.
        column: the column.
        point: columns that identify a point of the design, ``column`` among them; seeds of a point are averaged.

    Returns:
        A loss for each run with the largest value, in order, [runs].

    Raises:
        FitError: one value only, or a point that has no such run.
    """
    values = np.sort(runs[column].unique())
    if len(values) < 2:
        raise FitError(f"column {column!r} is {values[0]:g} in all {len(runs)} rows: nothing to hold out")
    keys = [name for name in point if name != column]
    before = runs[runs[column] == values[-2]].groupby(keys)["loss"].mean().rename("before")
    found = runs[runs[column] == values[-1]][keys].join(before, on=keys)["before"]
    if found.isna().any():
        raise FitError(f"row {found.index[found.isna()][0]}: no run with {column} = {values[-2]:g} at the same point")
    return found.to_numpy(float)


def _row(law: str, column: str, errors: np.ndarray, fitted: float) -> dict[str, Any]:
    return {
        "law": law,
        "held_out": column,
        "runs": len(errors),
        "rmse_log": float(np.sqrt(np.mean(errors**2))),
        "bias": float(errors.mean()),
        "fitted_rmse_log": fitted,
    }
