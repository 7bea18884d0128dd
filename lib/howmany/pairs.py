"""Two designs held against each other: run by run at the same seed, or all at once at equal size and sparsity."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from scipy.stats import t

from moelaws.fitting.least_squares import least_squares
from moelaws.fitting.objective import FitError

POINT = ("budget", "corpus", "d_model", "n_layers", "sparsity")
"""Columns that two designs share where they are compared."""


def pairs(
    runs: pd.DataFrame, first: Mapping[str, float], second: Mapping[str, float], by: Iterable[str] = POINT
) -> pd.DataFrame:
    """Differences of loss between two designs at equal points, seed by seed.

    Args:
        runs: finished runs of both.
        first: what marks the design that is subtracted, such as ``{"top_k": 1, "granularity": 1}``.
        second: what marks the other.
        by: columns of a point; those the table lacks are passed over.

    Returns:
        One row a point and seed: the columns ``by``, ``seed`` and ``difference``, L(second) - L(first), nats a token.

    Raises:
        FitError: no point and seed that has both.
    """
    keys = [name for name in by if name in runs.columns] + ["seed"]
    sides = []
    for design in (first, second):
        rows = np.logical_and.reduce([runs[name] == value for name, value in design.items()])
        sides.append(runs[rows].groupby(keys)["loss"].mean())
    both = (sides[1] - sides[0]).dropna().rename("difference").reset_index()
    if both.empty:
        raise FitError(f"no {', '.join(keys)} has runs of both {dict(first)} and {dict(second)}")
    return both


def mean_difference(differences: pd.DataFrame, level: float = 0.95) -> dict[str, float]:
    """Mean over points of the difference between two designs, with an interval from the spread between points.

    Seeds of a point are averaged first: points are what was drawn. The spread holds the noise of the seeds and any
    change of the effect from point to point, so the interval is for the mean effect over points like these.

    Args:
        differences: what ``pairs`` returned, or some of its rows.
        level: of the interval, by Student's t.

    Returns:
        ``points``, ``pairs``, ``mean``, ``low``, ``high``, in nats a token; without an interval for a single point.
    """
    keys = [name for name in differences.columns if name not in ("seed", "difference")]
    points = differences.groupby(keys)["difference"].mean().to_numpy()
    n, mean = len(points), float(points.mean())
    reach = float(t.ppf(0.5 + level / 2, n - 1) * points.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
    return {"points": n, "pairs": len(differences), "mean": mean, "low": mean - reach, "high": mean + reach}


def at_equal_size(
    runs: pd.DataFrame, design: str, reference: str, size: str = "active_params", level: float = 0.95
) -> pd.DataFrame:
    """Differences of loss between designs at equal size, sparsity and budget, by one regression.

    Designs that choose another number of experts differ in size at equal width, so no two of their runs can be
    paired. Here the loss is a parabola in the log of the size, its slope changing with -ln(1 - S), with a level for
    every design at every sparsity; designs differ by their levels.

    Args:
        runs: finished runs of one budget.
        design: a column of labels.
        reference: the label that others are compared with.
        size: what is held equal: ``active_params`` or ``total_params``.
        level: of the intervals, from the scatter about the parabola and Student's t.

    Returns:
        One row a design but the reference and a sparsity, and one with sparsity nan for the mean over sparsities:
        ``design``, ``sparsity``, ``difference``, ``low``, ``high`` in nats a token, ``scatter``, ``runs``.

    Raises:
        FitError: no runs of the reference, a design without a sparsity in common with it, or too few runs.
    """
    labels = runs[design].to_numpy()
    sparsities = runs["sparsity"].round(6).to_numpy()
    if reference not in labels:
        raise FitError(f"column {design!r}: no run of {reference!r}; found {', '.join(sorted(set(labels)))}")
    log_size = np.log(runs[size].to_numpy(float))
    x, idle = log_size - log_size.mean(), -np.log(1 - sparsities)
    levels = sorted(set(zip(labels, sparsities, strict=True)))
    cells = np.array([[pair == level for level in levels] for pair in zip(labels, sparsities, strict=True)], float)
    matrix = np.column_stack([cells, x, x * x, x * (idle - idle.mean())])
    n, p = matrix.shape
    fit = least_squares(matrix, runs["loss"].to_numpy(float))
    if fit is None or fit.freedom < 1:
        raise FitError(f"{n} runs for {p} levels and slopes: expected more runs, of several sizes at a sparsity")
    covariance, quantile = fit.covariance(), t.ppf(0.5 + level / 2, fit.freedom)
    rows = []
    for name in sorted(set(labels) - {reference}):
        shared = [s for s in sorted(set(sparsities)) if (name, s) in levels and (reference, s) in levels]
        if not shared:
            raise FitError(f"{name!r} and {reference!r} have no sparsity in common")
        contrasts = []
        for s in shared:
            contrast = np.zeros(p)
            contrast[levels.index((name, s))], contrast[levels.index((reference, s))] = 1.0, -1.0
            contrasts.append(contrast)
        for s, contrast in [*zip(shared, contrasts, strict=True), (np.nan, np.mean(contrasts, axis=0))]:
            difference = float(contrast @ fit.weights)
            reach = float(quantile * np.sqrt(contrast @ covariance @ contrast))
            row = {"design": name, "sparsity": s, "difference": difference}
            ends = {"low": difference - reach, "high": difference + reach}
            rows.append(row | ends | {"scatter": fit.variance**0.5, "runs": int((labels == name).sum())})
    return pd.DataFrame(rows)
