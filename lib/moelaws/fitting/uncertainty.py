"""Intervals of fitted parameters: the bootstrap over runs, large-sample errors, weights from seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from moelaws.fitting.covariance import covariance, sensible_width
from moelaws.fitting.minimise import Minima, minimise
from moelaws.fitting.objective import FitError
from moelaws.fitting.problem import Problem
from moelaws.fitting.result import FitResult
from moelaws.fitting.starts import with_amplitudes

_CELLS = 2_000_000
"""Replicates x runs in one batch of refits; bounds the memory of their weights to 16 MB."""


@dataclass(frozen=True)
class Bootstrap:
    """Refits of a law to resampled runs.

    Attributes:
        result: the fit, with the intervals of this bootstrap.
        theta: coordinates of every refit that ended well, [replicates, P].
        failed: refits that found no finite minimum; they are left out, and counted.
    """

    result: FitResult
    theta: np.ndarray
    failed: int

    @property
    def params(self) -> dict[str, np.ndarray]:
        """Parameter -> values in its own units, [replicates]; for bands pass them to ``predict`` as [replicates, 1]."""
        problem = _problem(self.result)
        values = problem.natural(self.theta)
        by_name = {name: values[:, i] for i, name in enumerate(problem.free)}
        return {name: by_name.get(name, np.full(len(values), value)) for name, value in self.result.params.items()}

    def band(self, table: Any, level: float = 0.95) -> tuple[Any, Any]:
        """Interval of the law's prediction for each row of a table: (low, high), [rows]."""
        columns = {name: values[:, None] for name, values in self.params.items()}
        predicted = self.result.law.predict(columns, table)
        low, high = np.nanquantile(predicted, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low, high


def bootstrap(
    result: FitResult,
    replicates: int = 1000,
    seed: int = 0,
    strata: np.ndarray | Sequence[Any] | None = None,
    clusters: np.ndarray | Sequence[Any] | None = None,
    level: float = 0.95,
) -> Bootstrap:
    """Refit the law to runs drawn with replacement.

    Args:
        result: a fit.
        replicates: how many refits.
        seed: of the draws.
        strata: a label for each run, such as its budget; every stratum keeps its number of runs.
        clusters: a label for each run, such as its configuration without the seed; runs of a label are drawn together.
        level: of the intervals.

    Returns:
        The refits, and the result with percentile intervals. A parameter whose interval is wider than sensible limits
        (``sensible_width``), or that refits drive to a bound, is marked as not identified.

    Raises:
        FitError: labels that do not match the runs, or fewer than two refits that ended well.
    """
    problem = _problem(result)
    rng = np.random.default_rng(seed)
    base, n = problem.weights[0], problem.n_runs
    groups = _labels(strata, n, "strata"), _labels(clusters, n, "clusters")
    thetas, failed = [], 0
    batch = max(1, _CELLS // n)
    for first in range(0, replicates, batch):
        counts = _draw_counts(n, min(batch, replicates - first), rng, *groups)
        ends, fine = refit(problem.reweighted(counts * base), np.tile(result.theta, (len(counts), 1)), rng)
        thetas.append(ends[fine])
        failed += int((~fine).sum())
    theta = np.concatenate(thetas)
    if len(theta) < 2:
        raise FitError(f"{failed} of {replicates} bootstrap refits failed; there is no interval to give")
    ends = np.quantile(theta, [(1 - level) / 2, (1 + level) / 2], axis=0)
    how = "stratified " if strata is not None else "clustered " if clusters is not None else ""
    method = f"{how}bootstrap over runs, {len(theta)} refits, percentiles, {100 * level:g} %"
    return Bootstrap(with_intervals(result, ends, method), theta, failed)


def refit(problem: Problem, theta: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Refit from good starts under new weights, one replicate a start.

    Args:
        problem: with weights [replicates, runs].
        theta: starting coordinates, [replicates, P].
        rng: for second starts, see below.

    Returns:
        Coordinates [replicates, P], and whether each refit has a finite objective.
    """
    best = _refit(problem, theta)
    if _has_dead_term(problem, theta[0]):
        # A term that the fit took to zero has no slope to come back by: give every replicate a start with it alive.
        again = _refit(problem, with_amplitudes(problem, theta, rng))
        better = again.value < best.value
        best.theta[better], best.value[better] = again.theta[better], again.value[better]
    return best.theta, np.isfinite(best.value)


def _refit(problem: Problem, theta: np.ndarray) -> Minima:
    rows = np.arange(len(theta))
    if problem.objective.robust:
        # A wider threshold first: it moves a replicate past the kinks of the final one.
        wide = problem.with_delta(max(problem.objective.delta, 0.01))
        theta = minimise(wide, theta, steps=15, tolerance=1e-4, rows=rows).theta
    return minimise(problem, theta, steps=80, tolerance=1e-9, rows=rows)


def _has_dead_term(problem: Problem, theta: np.ndarray) -> bool:
    """Whether some parameter moves no prediction by one part in a million."""
    _, slopes = problem.linearise(theta[None])
    return bool((np.abs(slopes[0]).max(axis=1) < 1e-6).any())


def large_sample(result: FitResult, level: float = 0.95) -> FitResult:
    """The result with intervals from the curvature at the minimum; cheap, and right when there are many runs.

    Args:
        result: a fit.
        level: of the intervals.

    Returns:
        The result with intervals, symmetric in the coordinates (the log of a positive parameter).
    """
    problem = _problem(result)
    matrix, loose = covariance(problem, result.theta)
    error = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    error[loose] = np.inf
    z = _normal_quantile(0.5 + level / 2)
    ends = np.stack([result.theta - z * error, result.theta + z * error])
    return with_intervals(result, ends, f"large-sample errors, {100 * level:g} %")


def with_intervals(result: FitResult, ends: np.ndarray, method: str) -> FitResult:
    """The result with intervals from their ends in coordinates, and what they say of identifiability.

    Args:
        result: a fit.
        ends: low and high coordinates, [2, P]; infinite where there is no end.
        method: how they were made.

    Returns:
        The result; its status becomes ``not identified`` where an interval is wider than sensible limits.
    """
    problem = _problem(result)
    with np.errstate(over="ignore"):
        low, high = problem.natural(ends[0]), problem.natural(ends[1])
    known = ends[1] - ends[0] < sensible_width(problem)
    intervals = {name: (float(low[i]), float(high[i])) for i, name in enumerate(problem.free)}
    identified = dict(result.identified)
    for i, name in enumerate(problem.free):
        identified[name] = identified[name] and bool(known[i])
    status, message = result.status, result.message
    open_ones = [name for name, is_known in identified.items() if not is_known]
    if open_ones and status == "converged":
        status, message = "not identified", f"the runs do not pin down {', '.join(open_ones)}"
    return replace(
        result, intervals=intervals, interval_method=method, identified=identified, status=status, message=message
    )


def seed_weights(runs: pd.DataFrame, by: Sequence[str], target: str = "loss") -> np.ndarray:
    """Weights from the spread between seeds: one over the variance of ln L within groups of replicates.

    A group's own variance is drawn towards the pooled one, in proportion to its degrees of freedom, because a
    variance of two or three seeds is mostly chance.

    Args:
        runs: a run table.
        by: columns that seed replicates share, such as the configuration without the seed.
        target: the column whose spread counts.

    Returns:
        Weights of mean one, [runs].

    Raises:
        FitError: an unknown column, or no group of two or more runs.
    """
    for name in [*by, target]:
        if name not in runs.columns:
            raise FitError(f"no column {name!r} to group seed replicates by")
    logs = pd.Series(np.log(runs[target].to_numpy(dtype=float)), index=runs.index)
    groups = logs.groupby([runs[name] for name in by])
    degrees = (groups.transform("size") - 1).to_numpy(dtype=float)
    variance = groups.transform("var").fillna(0.0).to_numpy(dtype=float)
    share = 1.0 / (degrees + 1.0)  # each run carries its part of its group
    total = float((degrees * share).sum())
    if total <= 0:
        raise FitError(f"no two runs share {', '.join(map(repr, by))}: there are no seed replicates")
    pooled = float((variance * degrees * share).sum()) / total
    if pooled == 0:
        raise FitError("seed replicates have exactly the same loss: their spread gives no weights")
    prior = 4.0
    weights = 1.0 / ((degrees * variance + prior * pooled) / (degrees + prior))
    return weights / weights.mean()


def _draw_counts(
    n: int, replicates: int, rng: np.random.Generator, strata: np.ndarray | None, clusters: np.ndarray | None
) -> np.ndarray:
    """How often each run is drawn, [replicates, runs]."""
    units = np.arange(n) if clusters is None else clusters
    n_units = int(units.max()) + 1
    stratum = np.zeros(n_units, dtype=int)
    if strata is not None:
        stratum[units] = strata  # a cluster belongs to the stratum of its last run
    counts = np.zeros((replicates, n_units))
    for label in np.unique(stratum):
        members = np.flatnonzero(stratum == label)
        counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=replicates)
    return counts[:, units]


def _labels(labels: Any, n: int, what: str) -> np.ndarray | None:
    if labels is None:
        return None
    codes = pd.factorize(np.asarray(labels))[0]
    if len(codes) != n:
        raise FitError(f"{len(codes)} labels of {what} for {n} runs")
    if (codes < 0).any():
        raise FitError(f"{what}: run {int(np.flatnonzero(codes < 0)[0])} has no label")
    return codes


def _problem(result: FitResult) -> Problem:
    if result.problem is None:
        raise FitError("this result was not made by fit(): it holds no runs to resample")
    return result.problem


def _normal_quantile(probability: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)
