"""Intervals of fitted parameters: likelihood, the bootstrap over runs, large-sample errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from moelaws.fitting.engine.problem import Problem
from moelaws.fitting.intervals.covariance import Spread, covariance
from moelaws.fitting.intervals.ends import Ends, ends_within, straight_ends
from moelaws.fitting.intervals.identifiability import at_bound, pinned_down, status_of
from moelaws.fitting.intervals.likelihood import interval_ends
from moelaws.fitting.intervals.refits import refit
from moelaws.fitting.intervals.resampling import codes_of, draw_counts
from moelaws.fitting.objective import FitError
from moelaws.fitting.result import FitResult
from moelaws.fitting.result_parts import LEVEL
from moelaws.stages import stage

_CELLS = 2_000_000
"""Replicates x runs in one batch of refits; bounds the memory of their weights to 16 MB."""


@dataclass(frozen=True)
class Bootstrap:
    """Refits of a law to resampled runs.

    Attributes:
        fitted: the fit, with the intervals that it had.
        theta: coordinates of every refit that ended well, [replicates, P].
        failed: refits that found no finite minimum; they are left out, and counted.
        level: of the intervals.
        method: what was drawn, in words.
        clustered: whether the labels of what was drawn together were the caller's own.
    """

    fitted: FitResult
    theta: np.ndarray
    failed: int
    level: float
    method: str
    clustered: bool

    @cached_property
    def result(self) -> FitResult:
        """The fit with the intervals of this bootstrap, made when first asked for: they may take longer than refits."""
        low, high = np.quantile(self.theta, [(1 - self.level) / 2, (1 + self.level) / 2], axis=0)
        method = f"{self.method}, {len(self.theta)} refits, percentiles, {100 * self.level:g} %"
        ends = ends_within(self.fitted.solved.problem, low, high)
        made = with_intervals(self.fitted, ends, method, self.level, known=self.fitted.identified)
        open_ones = [name for name, known in made.identified.items() if not known]
        if self.clustered or not open_ones:
            return made
        made = likelihood(self.fitted, self.level)
        method = f"{made.uncertainty.method}, as bootstrap refits leave {', '.join(open_ones)} open"
        return replace(made, uncertainty=replace(made.uncertainty, method=method))

    @property
    def params(self) -> dict[str, np.ndarray]:
        """Parameter -> values in its own units, [replicates]; for bands pass them to ``predict`` as [replicates, 1]."""
        problem = self.fitted.solved.problem
        values = problem.natural(self.theta)
        by_name = {name: values[:, i] for i, name in enumerate(problem.free)}
        return {name: by_name.get(name, np.full(len(values), value)) for name, value in self.fitted.params.items()}

    def with_refits(self) -> FitResult:
        """The result that holds these refits, so that its predictions and forecasts have bands made of them."""
        return replace(self.result, uncertainty=replace(self.result.uncertainty, replicates=self.params))

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
    level: float = LEVEL,
) -> Bootstrap:
    """Refit the law to runs drawn with replacement.

    Args:
        result: a fit.
        replicates: how many refits.
        seed: of the draws.
        strata: a label for each run, such as its budget; every stratum keeps its number of runs.
        clusters: a label for each run; runs of a label are drawn together. By default, where runs are replicates of
            fewer design points, these: what the law misses at one is no new surprise in its second seed.
        level: of the intervals.

    Returns:
        The refits, and the result with percentile intervals. A parameter whose interval is wider than sensible limits
        (``sensible_width``), or that refits drive to a bound, is marked as not identified. Where there is one, the
        refits pile up at a boundary and percentiles of the others cannot be trusted either: independent runs then get
        likelihood intervals in their place (``likelihood``), and ``interval_method`` says so.

    Raises:
        FitError: labels that do not match the runs, or fewer than two refits that ended well.
    """
    problem, at = result.solved.problem, result.solved.theta
    rng = np.random.default_rng(seed)
    base, n = problem.weights[0], problem.n_runs
    groups = (
        codes_of(strata, n, "strata"),
        _replicates(result) if clusters is None else codes_of(clusters, n, "clusters"),
    )
    thetas, failed = [], 0
    batch = max(1, _CELLS // n)
    for first in range(0, replicates, batch):
        counts = draw_counts(n, min(batch, replicates - first), rng, *groups)
        with stage(f"{replicates} refits of the bootstrap"):
            ends, fine = refit(problem.reweighted(counts * base), np.tile(at, (len(counts), 1)))
        thetas.append(ends[fine])
        failed += int((~fine).sum())
    theta = np.concatenate(thetas)
    if len(theta) < 2:
        raise FitError(f"{failed} of {replicates} bootstrap refits failed; there is no interval to give")
    how = "stratified " if strata is not None else "clustered " if clusters is not None else ""
    what = "runs" if groups[1] is None or clusters is not None else "design points"
    return Bootstrap(result, theta, failed, level, f"{how}bootstrap over {what}", clusters is not None)


def _replicates(result: FitResult) -> np.ndarray | None:
    """The design point of each run, [runs]; ``None`` where each run has its own, or a redraw would hold too few."""
    groups = result.solved.groups
    if groups is None or not 2 * len(result.solved.theta) < groups.n_designs < result.n_runs:
        return None
    return groups.design


def likelihood(result: FitResult, level: float = LEVEL) -> FitResult:
    """The result with likelihood intervals: the default ones, which ``moelaws fit`` prints.

    A value belongs to a parameter's interval when the objective, minimised over all other parameters with this one
    held there, rises by less than noise would make it rise. The unit of that rise is the parameter's own variance
    (``covariance``): it allows for unequal noise, for a Huber threshold far below the noise, for replicates and for
    seeds that share noise. The quantile is that of F with 1 and n - P degrees of freedom.

    The rise of the objective does not depend on how a parameter is written down. Near a boundary, such as a floor that
    the runs cannot tell from zero, standard errors and percentiles of refits cover the truth far less often than they
    say; this stays right, or errs on the wide side.

    Args:
        result: a fit.
        level: of the intervals.

    Returns:
        The result with intervals, none where no degree of freedom is left. An interval that reaches a bound ends there
        (``Uncertainty.ends`` says so), and its parameter is not identified.

    Raises:
        FitError: a result without runs, or a level outside 0 to 1.
    """
    problem, spread = _spread(result, level)
    if spread.freedom < 1:
        return _without_intervals(result, spread, level)
    solved = result.solved
    ends = interval_ends(problem, solved.theta, result.search.objective_value, spread, level, solution=solved)
    method = f"likelihood, {100 * level:g} %, {_degrees(spread)}; {spread.words}"
    return with_intervals(result, ends, method, level, spread)


def large_sample(result: FitResult, level: float = LEVEL) -> FitResult:
    """The result with intervals from the curvature at the minimum; cheap, and right when there are many runs.

    Args:
        result: a fit.
        level: of the intervals.

    Returns:
        The result with intervals, symmetric in the coordinates (the log of a positive parameter) as far as the bounds;
        none where no degree of freedom is left.

    Raises:
        FitError: a result without runs, or a level outside 0 to 1.
    """
    problem, spread = _spread(result, level)
    if spread.freedom < 1:
        return _without_intervals(result, spread, level)
    ends = straight_ends(problem, result.solved.theta, spread, level)
    method = f"standard errors, {100 * level:g} %, {_degrees(spread)}; {spread.words}"
    return with_intervals(result, ends, method, level, spread)


def with_intervals(
    result: FitResult,
    ends: Ends,
    method: str,
    level: float,
    spread: Spread | None = None,
    known: Mapping[str, bool] | None = None,
) -> FitResult:
    """The result with intervals from their ends in coordinates, and what they say of identifiability.

    Args:
        result: a fit.
        ends: of the intervals of all free parameters.
        method: how they were made.
        level: of the intervals.
        spread: what noise does to the minimum, if it is known already.
        known: what else says which parameters are identified: refits from a flat place stay there, and show nothing.

    Returns:
        The result; its status says where an interval is open or wider than sensible limits.
    """
    problem, theta = result.solved.problem, result.solved.theta
    spread = spread or covariance(problem, theta, result.solved.groups)
    with np.errstate(over="ignore"):
        low, high = problem.natural(ends.low), problem.natural(ends.high)
    held = at_bound(problem, theta)
    pinned = {
        name: sure and name not in held and (known is None or known[name])
        for name, sure in pinned_down(problem, spread, ends).items()
    }
    status, message = status_of(problem, theta, spread, pinned)
    sure = replace(
        result.uncertainty,
        identified={**result.identified, **pinned},
        method=method,
        level=level,
        ends={name: ends.kinds[i] for i, name in enumerate(problem.free)},
    )
    intervals = {name: (float(low[i]), float(high[i])) for i, name in enumerate(problem.free)}
    return replace(result, intervals=intervals, uncertainty=sure, status=status, message=message)


def _without_intervals(result: FitResult, spread: Spread, level: float) -> FitResult:
    """The result of a fit that leaves nothing to tell the noise by."""
    problem = result.solved.problem
    known = dict.fromkeys(problem.free, False)
    status, message = status_of(problem, result.solved.theta, spread, known)
    method = f"no intervals: {spread.observed} and {len(problem.free)} free parameters leave no degree of freedom"
    sure = replace(result.uncertainty, identified={**result.identified, **known}, method=method, level=level, ends={})
    return replace(result, intervals={}, uncertainty=sure, status=status, message=message)


def _degrees(spread: Spread) -> str:
    low, high = float(spread.degrees.min()), float(spread.degrees.max())
    if high - low < 0.5:
        return f"t with {high:.3g} degree{'' if high == 1 else 's'} of freedom"
    return f"t with {low:.3g} to {high:.3g} degrees of freedom"


def _spread(result: FitResult, level: float) -> tuple[Problem, Spread]:
    if not 0 < level < 1:
        raise FitError(f"level = {level}: expected a number between 0 and 1")
    solved = result.solved
    return solved.problem, covariance(solved.problem, solved.theta, solved.groups)
