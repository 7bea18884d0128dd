"""Measures to choose between laws by: information criterion, leave-one-out, and the test that counts, extrapolation."""

from typing import Any

import numpy as np
import pandas as pd

from moelaws.fitting.fit import fit
from moelaws.fitting.intervals.uncertainty import refit
from moelaws.fitting.objective import FitError
from moelaws.fitting.result import FitResult
from moelaws.fitting.table import complete
from moelaws.laws.forms import Law
from moelaws.runs import derive, finished
from moelaws.runs.reading.where import rows_where


def aicc(result: FitResult) -> float:
    """Akaike's criterion with the small-sample correction, for normal errors of ln L.

    Args:
        result: a fit, best one of ``lsq-log``; for other objectives the value is an approximation from above.

    Returns:
        n ln(sum of squares / n) + 2 k + 2 k (k + 1) / (n - k - 1), with k the fitted parameters and the noise;
        infinite when there are too few runs.
    """
    n = result.n_runs
    k = len(result.params) - len(result.origin.fixed) + 1
    if n - k - 1 <= 0:
        return float("inf")
    return n * float(np.log(max(result.quality.rmse_log, 1e-15) ** 2)) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def leave_one_out(result: FitResult) -> np.ndarray:
    """Prediction errors of runs that the fit did not see: each is left out in turn, and all others refitted.

    Args:
        result: a fit.

    Returns:
        ln L_hat - ln L of each left-out run (or L_hat - L for the objective ``lsq``), [runs].
    """
    problem = result.solved.problem
    n = problem.n_runs
    errors = np.empty(n)
    batch = max(1, 2_000_000 // n)
    for first in range(0, n, batch):
        out = np.arange(first, min(first + batch, n))
        weights = np.repeat(problem.weights, len(out), axis=0)
        weights[np.arange(len(out)), out] = 0.0
        starts = np.tile(result.solved.theta, (len(out), 1))
        theta, _ = refit(problem.reweighted(weights), starts)
        errors[out] = problem.residuals(theta)[np.arange(len(out)), out]
    return errors


def extrapolate(
    law: Law | str, runs: pd.DataFrame, holdout: str | None = None, largest: str | None = None, **options: Any
) -> FitResult:
    """Fit to part of the runs and measure on the rest.

    Args:
        law: a law or its name.
        runs: a run table.
        holdout: condition of the runs to hold out, such as ``"sparsity > 0.97"``; or
        largest: a column, such as ``train_flops`` or ``sparsity``, whose largest value is held out.
        options: further arguments of ``fit``.

    Returns:
        The fit, with its measures on the held-out runs in ``holdout``.

    Raises:
        FitError: neither or both ways given, an unknown column, or a split that leaves one side empty.

    Examples:
        >>> import moelaws as ml
        >>> runs = ml.datasets.load("isoflop")
        >>> result = extrapolate("hoffmann2022", runs[runs["n_experts"] == 1], largest="budget", starts=8)
        >>> result.n_runs, result.holdout.n
        (44, 6)
    """
    if (holdout is None) == (largest is None):
        raise FitError("extrapolate: give either holdout or largest")
    table = finished(runs)
    if largest is not None:
        known, _ = derive(table, [largest])
        if largest not in known.columns:
            raise FitError(f"no column {largest!r} to hold out the largest of")
        out = known[largest] >= known[largest].max() * (1 - 1e-9)
    else:
        out = rows_where(table, str(holdout))
    if not out.any() or out.all():
        raise FitError(f"the split holds out {int(out.sum())} of {len(table)} runs; both sides need some")
    result = fit(law, table[~out], **options)
    return result.with_holdout(complete(result.law, table[out])[0])
