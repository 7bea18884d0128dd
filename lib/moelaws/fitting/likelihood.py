"""Likelihood intervals: how far each parameter can go before the objective, all others refitted, rises too much."""

from dataclasses import dataclass

import numpy as np

from moelaws.fitting.covariance import covariance, noise_scale
from moelaws.fitting.minimise import minimise
from moelaws.fitting.problem import Problem
from moelaws.fitting.starts import revived

_CLOSE = 5e-3
"""An end is found when the rise is this close to the limit, as a share of it."""
_TRIALS = 60
_CHECKS = 3
_NEIGHBOURS = 3
"""Other walks whose points a refit starts from too."""


@dataclass(frozen=True)
class Walks:
    """Walks from the minimum towards the ends of the intervals, one each way for each parameter.

    Attributes:
        parameter: which coordinate is held, [walks].
        sign: in which direction, [walks].
        inside: farthest coordinate known to be inside, [walks].
        rise: of the objective there, [walks].
        at: all coordinates there, [walks, P].
        outside: nearest coordinate known to be outside, nan before there is one, [walks].
        rise_outside: of the objective there, [walks].
        step: how far to go next, while nothing is known to be outside, [walks].
        end: the end that was found, infinite where the parameter's bound came first, nan while under way, [walks].
    """

    parameter: np.ndarray
    sign: np.ndarray
    inside: np.ndarray
    rise: np.ndarray
    at: np.ndarray
    outside: np.ndarray
    rise_outside: np.ndarray
    step: np.ndarray
    end: np.ndarray


@dataclass(frozen=True)
class Valley:
    """The surroundings of a minimum.

    Attributes:
        problem: the fit's problem.
        theta: the minimum, [P].
        least: the objective there.
        unit: of its rise, see ``noise_scale``.
        limit: the rise that bounds an interval, see ``rise_limit``.
        width: large-sample errors of the coordinates, [P].
        follow: how far the other coordinates go along when one goes by one, as their covariance says, [P, P].
    """

    problem: Problem
    theta: np.ndarray
    least: float
    unit: float
    limit: float
    width: np.ndarray
    follow: np.ndarray

    def rises(self, walks: Walks, going: np.ndarray, trial: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rise of the objective with each walk's coordinate held at its trial, [going], and where, [going, P].

        A refit starts where its walk stands, ahead of it along the valley, and with faint terms made visible; and from
        the points of other walks that come nearest, which may have found a way around.
        """
        i, theta = walks.parameter[going], self.theta
        ahead = (trial - walks.inside[going])[:, None] * self.follow[i]
        afar = (trial - theta[i])[:, None] * self.follow[i]
        here = walks.at[going]
        near = np.abs(walks.at[:, i] - trial).T.argsort(axis=1, kind="stable")[:, :_NEIGHBOURS]
        starts = np.concatenate(
            [np.stack([here, here + ahead, theta + afar, revived(self.problem, here)], axis=1), walks.at[near]], axis=1
        )
        starts[np.arange(len(going)), :, i] = trial[:, None]
        value, at = _refit(self.problem, starts, i)
        return np.maximum(2 * (value - self.least) / self.unit, 0.0), at


def rise_limit(problem: Problem, level: float) -> float:
    """The rise that bounds an interval, in units of the noise: a quantile of F with 1 and n - P degrees of freedom."""
    degrees = max(problem.n_runs - len(problem.free), 1)
    from scipy.special import stdtrit  # not at import time: most of what imports this has no use for scipy

    return float(stdtrit(degrees, 0.5 + level / 2)) ** 2


def interval_ends(problem: Problem, theta: np.ndarray, least: float, level: float) -> np.ndarray:
    """Ends of the likelihood intervals of all coordinates; every walk takes its steps in the same batch.

    Args:
        problem: the fit's problem.
        theta: the minimum, [P].
        least: the objective there.
        level: of the intervals.

    Returns:
        Low and high coordinates, [2, P]; infinite where the objective stays below the limit up to the bound.
    """
    valley = _valley(problem, theta, least, level)
    p = len(theta)
    parameter, nowhere = np.tile(np.arange(p), 2), np.full(2 * p, np.nan)
    walks = Walks(
        parameter, np.repeat([-1.0, 1.0], p), theta[parameter], np.zeros(2 * p), np.tile(theta, (2 * p, 1)), nowhere,
        nowhere.copy(), np.sqrt(valley.limit) * valley.width[parameter], nowhere.copy(),
    )  # fmt: skip
    _walk(valley, walks)
    for _ in range(_CHECKS):
        # By now other walks may have found lower ground: an end from which the objective no longer rises so far is
        # none.
        ended = np.flatnonzero(np.isfinite(walks.end))
        rise, at = valley.rises(walks, ended, walks.end[ended])
        again = rise < (1 - 4 * _CLOSE) * valley.limit
        if not again.any():
            break
        reopened = ended[again]
        walks.inside[reopened], walks.rise[reopened] = walks.end[reopened], rise[again]
        walks.at[reopened], walks.outside[reopened], walks.end[reopened] = at[again], np.nan, np.nan
        walks.step[reopened] = 0.5 * valley.width[parameter[reopened]]
        _walk(valley, walks)
    return walks.end.reshape(2, p)


def _valley(problem: Problem, theta: np.ndarray, least: float, level: float) -> Valley:
    matrix, loose = covariance(problem, theta)
    variance = np.diag(matrix)
    known = ~loose & (variance > 0)
    width = np.where(known, np.sqrt(np.maximum(variance, 0.0)), 0.5)
    follow = np.where(known, matrix / np.where(variance > 0, variance, 1.0), 0.0).T
    np.fill_diagonal(follow, 1.0)
    return Valley(
        problem, theta, least, noise_scale(problem, theta), rise_limit(problem, level),
        np.clip(width, 1e-8, 0.1 * (problem.upper - problem.lower)), follow,
    )  # fmt: skip


def _walk(valley: Valley, walks: Walks) -> None:
    """Walk on until every walk has its end."""
    for _ in range(_TRIALS):
        going = np.flatnonzero(np.isnan(walks.end))
        if not len(going):
            return
        trial = _next(valley, walks, going)
        _note(valley, walks, going, trial, *valley.rises(walks, going, trial))
    left = np.isnan(walks.end)
    walks.end[left] = np.where(np.isnan(walks.outside), np.inf * walks.sign, 0.5 * (walks.inside + walks.outside))[left]


def _next(valley: Valley, walks: Walks, going: np.ndarray) -> np.ndarray:
    """Where each walk looks next: further out, or between what is inside and what is outside."""
    i, inside, outside = walks.parameter[going], walks.inside[going], walks.outside[going]
    further = inside + walks.sign[going] * walks.step[going]
    further = np.clip(further, valley.problem.lower[i], valley.problem.upper[i])
    # The root of the rise is close to linear: interpolate on it, kept away from the ends.
    low, high = np.sqrt(walks.rise[going]), np.sqrt(walks.rise_outside[going])
    share = np.clip((np.sqrt(valley.limit) - low) / np.maximum(high - low, 1e-12), 0.1, 0.9)
    return np.where(np.isnan(outside), further, inside + share * (outside - inside))


def _note(valley: Valley, walks: Walks, going: np.ndarray, trial: np.ndarray, rise: np.ndarray, at: np.ndarray) -> None:
    """Write down what the walks found."""
    i, limit = walks.parameter[going], valley.limit
    edge = np.where(walks.sign[going] < 0, valley.problem.lower[i], valley.problem.upper[i])
    out = rise >= limit
    # An end is found by its rise, or by a gap so small that the objective must jump in it.
    gap = np.abs(np.where(out, trial - walks.inside[going], walks.outside[going] - trial))
    found = (np.abs(rise - limit) < _CLOSE * limit) | (gap < 1e-3 * np.abs(trial - valley.theta[i]))
    walks.end[going[found]] = trial[found]
    stuck = ~out & ~found & (trial == edge)
    walks.end[going[stuck]] = np.inf * walks.sign[going[stuck]]
    walks.outside[going[out]], walks.rise_outside[going[out]] = trial[out], rise[out]
    inner, reached = going[~out], rise[~out]
    # The next step aims a little past the limit, by the rise so far; no less than half this one, no more than four.
    before, root = np.sqrt(walks.rise[inner]), np.sqrt(reached)
    pace = (np.sqrt(limit) - root) / np.maximum(root - before, 1e-12)
    walks.step[inner] = np.abs(trial[~out] - walks.inside[inner]) * np.clip(1.1 * pace, 0.5, 4.0)
    walks.inside[inner], walks.rise[inner], walks.at[inner] = trial[~out], reached, at[~out]


def _refit(problem: Problem, starts: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
    every = np.repeat(mask, each, axis=0)
    near = minimise(problem, starts.reshape(-1, p), steps=20, tolerance=1e-6, held=every)
    near = minimise(problem, near.theta, steps=25, tolerance=1e-8, hessian="slopes", held=every)
    best = near.value.reshape(walks, each).argmin(axis=1) + np.arange(walks) * each
    minima = minimise(problem, near.theta[best], steps=30, tolerance=1e-9, hessian="slopes", held=mask)
    return minima.value, minima.theta
