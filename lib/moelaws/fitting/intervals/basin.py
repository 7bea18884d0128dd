"""The surroundings of a minimum: how far the objective rises when one coordinate is held and all others refitted."""

from dataclasses import dataclass, replace

import numpy as np

from moelaws.fitting.engine.minimise import minimise
from moelaws.fitting.engine.problem import Problem
from moelaws.fitting.engine.race import COMPARED_RUNS, exact_fit
from moelaws.fitting.engine.starts import revived
from moelaws.fitting.intervals.covariance import Spread
from moelaws.fitting.intervals.walks import Walks
from moelaws.laws.own import amplitudes, floor_of

MANY_RUNS = 5_000
"""So many runs hold a law so tightly that it is straight between the ends: they are where they are expected, or looked
for from one side only."""
_NEIGHBOURS = 3
"""Other walks whose points a refit starts from too."""
_OTHERS = 4
"""Other valleys whose floors a refit starts from too."""
_APART = 1e-3
"""Valleys are two when their predictions differ by more than this share of the residuals, in squares."""
_FINALISTS = 4
"""Refits that are followed on after the first steps, of those from all starts of a walk."""
_REPEATED = 1e-5
"""Refits whose objectives differ by less than this share are on the floor of one valley."""
_VISIBLE = 0.02
"""Share of the loss down to which a term's amplitude is walked by its log; below, by its value."""


@dataclass(frozen=True)
class Valley:
    """The surroundings of a minimum.

    Attributes:
        problem: the fit's problem.
        theta: the minimum, [P].
        least: the objective there.
        limit: rise of the objective, times two, that bounds each coordinate's interval, [P].
        step: how far the ends are, were the law linear, [P].
        follow: how far the other coordinates go along when one goes by one, as their covariance says, [P, P].
        faint: coordinate below which an amplitude is walked by its value and not by its log, [P]; -inf for others.
        others: floors of other valleys under the highest limit, the lowest first, [valleys, P].
    """

    problem: Problem
    theta: np.ndarray
    least: float
    limit: np.ndarray
    step: np.ndarray
    follow: np.ndarray
    faint: np.ndarray
    others: np.ndarray

    def rises(
        self, walks: Walks, going: np.ndarray, trial: np.ndarray, thorough: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rise of the objective in units of its limit, each walk's coordinate held at its trial, [going], and where.

        A refit starts where its walk stands, ahead of it along the valley, and on the floors of other valleys; a
        thorough one also with faint terms made visible, and from the points of other walks that come nearest, which may
        have found a way around.
        """
        i, theta = walks.parameter[going], self.theta
        here = walks.at[going]
        starts = [here + (trial - walks.inside[going])[:, None] * self.follow[i]]
        if self.problem.n_runs <= MANY_RUNS:
            starts += [here, *(np.broadcast_to(other, here.shape) for other in self.others)]
        if thorough:
            starts += [theta + (trial - theta[i])[:, None] * self.follow[i], revived(self.problem, here)]
            near = np.abs(walks.at[:, i] - trial).T.argsort(axis=1, kind="stable")[:, :_NEIGHBOURS]
            starts += list(walks.at[near].transpose(1, 0, 2))
        batch = np.stack(starts, axis=1)
        batch[np.arange(len(going)), :, i] = trial[:, None]
        value, at = refit_held(self.problem, batch, i)
        return np.maximum(2 * (value - self.least) / self.limit[i], 0.0), at

    def with_others(self, rises: np.ndarray, at: np.ndarray) -> "Valley":
        """With the floors of the lowest valleys among those known and these points, [points, P], and their rises."""
        low = rises.min(axis=1)
        order = [k for k in low.argsort(kind="stable") if low[k] < 1]
        known = np.concatenate([self.others, at[order]])
        return replace(self, others=_distinct(self.problem, self.theta, known))

    def rises_of(self, value: np.ndarray) -> np.ndarray:
        """Objectives [points] as rises in units of the limit of each coordinate's interval, [points, P]."""
        return np.maximum(2 * (value - self.least)[:, None] / self.limit, 0.0)

    def rises_of_walks(self, rise: np.ndarray, held: np.ndarray) -> np.ndarray:
        """Rises in units of the held coordinate's limit, [points], in those of each coordinate's, [points, P]."""
        return (rise * self.limit[held])[:, None] / self.limit


def valley_around(
    problem: Problem, theta: np.ndarray, least: float, spread: Spread, level: float, minima: np.ndarray
) -> tuple[Valley, np.ndarray]:
    """The surroundings of a minimum.

    Args:
        problem: the fit's problem.
        theta: the minimum, [P].
        least: the objective there.
        spread: what noise does to it.
        level: of the intervals.
        minima: coordinates of other minima that the search came to, [minima, P].

    Returns:
        The valley, and the objective at each of these minima.
    """
    variance = np.diag(spread.matrix)
    known = ~spread.loose & (variance > 0)
    quantile = spread.quantile(level)
    step = np.where(known, quantile * np.sqrt(np.maximum(variance, 0.0)), 0.5)
    follow = np.where(known, spread.matrix / np.where(variance > 0, variance, 1.0), 0.0).T
    np.fill_diagonal(follow, 1.0)
    # Where a law runs through every loss there is no noise: what rounding can do is a rise that tells nothing.
    limit = np.maximum(spread.unit * quantile**2, exact_fit(problem))
    value = problem.value(problem.residuals(minima)) if len(minima) else np.empty(0)
    under = minima[(2 * (value - least) < limit.max())]
    valley = Valley(
        problem, theta, least, limit, np.clip(step, 1e-8, 0.1 * (problem.upper - problem.lower)), follow,
        _faint(problem, theta), _distinct(problem, theta, under),
    )  # fmt: skip
    return valley, value


def _distinct(problem: Problem, theta: np.ndarray, minima: np.ndarray) -> np.ndarray:
    """The first minima that predict something else than the least one and those before them, [at most a few, P]."""
    if not len(minima):
        return minima
    few = problem.thinned(COMPARED_RUNS)
    residuals = few.residuals(np.concatenate([theta[None], minima]))
    near = _APART * float(np.sum(residuals[0] ** 2)) + exact_fit(problem)
    kept = [0]
    for i in range(1, len(residuals)):
        if len(kept) <= _OTHERS and all(np.sum((residuals[i] - residuals[k]) ** 2) > near for k in kept):
            kept.append(i)
    return minima[np.array(kept[1:], dtype=int) - 1]


def amplitude_shares(problem: Problem, theta: np.ndarray) -> np.ndarray:
    """Mean share of the prediction that each amplitude's term has, [P]; nan for what is no amplitude."""
    residuals, slopes = problem.linearise(theta[None])
    size = 1.0 if problem.objective.on_log else float(np.mean(np.abs(residuals[0] + problem.observed[0])))
    return np.where(are_amplitudes(problem), np.mean(np.abs(slopes[0]), axis=1) / max(size, 1e-300), np.nan)


def are_amplitudes(problem: Problem) -> np.ndarray:
    """Which free parameters are positive factors of a term of their own, [P]."""
    linear = amplitudes(problem.law.tree, [v.symbol for v in problem.law.variables])
    return np.array([name in linear for name in problem.free]) & problem.positive


def _faint(problem: Problem, theta: np.ndarray) -> np.ndarray:
    """Where amplitudes fade, [P]: of the floor, and of terms that the fit took out of sight."""
    share, floor = amplitude_shares(problem, theta), floor_of(problem.law)
    fades = (share < _VISIBLE) | np.array([name == floor for name in problem.free])
    with np.errstate(divide="ignore"):
        return np.where(fades & (share > 0), theta + np.log(_VISIBLE) - np.log(share), -np.inf)


def refit_held(problem: Problem, starts: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Refits with one coordinate held, from several starts each.

    Args:
        problem: the fit's problem.
        starts: coordinates, [walks, starts, P].
        held: which coordinate is held, [walks].

    Returns:
        The least objective of each walk, and where, [walks, P].
    """
    walks, each, p = starts.shape
    mask = np.arange(p) == held[:, None]
    if problem.n_runs > MANY_RUNS:
        minima = minimise(problem, starts[:, 0], steps=30, tolerance=1e-7, hessian="slopes", held=mask)
        return minima.value, minima.theta
    near = minimise(problem, starts.reshape(-1, p), steps=20, tolerance=1e-6, held=np.repeat(mask, each, axis=0))
    value, theta = near.value.reshape(walks, each), near.theta.reshape(starts.shape)
    if each > _FINALISTS:
        # Most come down into one valley; of each valley one is enough.
        best = lowest(value, _FINALISTS, _REPEATED)
        theta, each = np.take_along_axis(theta, best[:, :, None], axis=1), _FINALISTS
    every = np.repeat(mask, each, axis=0)
    near = minimise(problem, theta.reshape(-1, p), steps=25, tolerance=1e-8, hessian="slopes", held=every)
    best = near.value.reshape(walks, each).argmin(axis=1) + np.arange(walks) * each
    minima = minimise(problem, near.theta[best], steps=30, tolerance=1e-9, hessian="slopes", held=mask)
    return minima.value, minima.theta


def lowest(value: np.ndarray, count: int, repeated: float) -> np.ndarray:
    """Places of the lowest values of each row, [rows, count], those within a share of a lower one last.

    Args:
        value: numbers, [rows, columns].
        count: how many of each row.
        repeated: share of a value within which the next one repeats it.
    """
    order = value.argsort(axis=1, kind="stable")
    height = np.take_along_axis(value, order, axis=1)
    with np.errstate(invalid="ignore"):  # between two that have no number
        again = np.diff(height, axis=1, prepend=-np.inf) <= repeated * np.abs(height)
    first = again.argsort(axis=1, kind="stable")[:, :count]
    return np.take_along_axis(order, first, axis=1)
