"""Likelihood intervals: how far each parameter can go before the objective, all others refitted, rises too much."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moelaws.fitting.engine.minimise import minimise
from moelaws.fitting.engine.problem import Problem
from moelaws.fitting.engine.race import exact_fit
from moelaws.fitting.engine.starts import revived
from moelaws.fitting.intervals.covariance import Spread
from moelaws.fitting.intervals.ends import Ends, edge_of, kind_of
from moelaws.fitting.intervals.walks import CLOSE, Walks, note, smooth, trial_of
from moelaws.laws.own import amplitudes, floor_of
from moelaws.stages import stage

_TRIALS = 60
_CHECKS = 4
_NEIGHBOURS = 3
"""Other walks whose points a refit starts from too."""
_MANY_RUNS = 5_000
"""So many runs hold a law so tightly that it is straight between the ends: they are where they are expected, or looked
for from one side only."""
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
    """

    problem: Problem
    theta: np.ndarray
    least: float
    limit: np.ndarray
    step: np.ndarray
    follow: np.ndarray
    faint: np.ndarray

    def rises(
        self, walks: Walks, going: np.ndarray, trial: np.ndarray, thorough: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rise of the objective in units of its limit, each walk's coordinate held at its trial, [going], and where.

        A refit starts where its walk stands and ahead of it along the valley; a thorough one also with faint terms made
        visible, and from the points of other walks that come nearest, which may have found a way around.
        """
        i, theta = walks.parameter[going], self.theta
        here = walks.at[going]
        starts = [here + (trial - walks.inside[going])[:, None] * self.follow[i]]
        if self.problem.n_runs <= _MANY_RUNS:
            starts.append(here)
        if thorough:
            starts += [theta + (trial - theta[i])[:, None] * self.follow[i], revived(self.problem, here)]
            near = np.abs(walks.at[:, i] - trial).T.argsort(axis=1, kind="stable")[:, :_NEIGHBOURS]
            starts += list(walks.at[near].transpose(1, 0, 2))
        batch = np.stack(starts, axis=1)
        batch[np.arange(len(going)), :, i] = trial[:, None]
        value, at = _refit(self.problem, batch, i)
        return np.maximum(2 * (value - self.least) / self.limit[i], 0.0), at


def interval_ends(
    problem: Problem, theta: np.ndarray, least: float, spread: Spread, level: float,
    which: Sequence[int] | None = None,
) -> Ends:  # fmt: skip
    """Ends of the likelihood intervals of coordinates; every walk takes its steps in the same batch.

    Args:
        problem: the fit's problem.
        theta: the minimum, [P].
        least: the objective there.
        spread: what noise does to it; its degrees of freedom must not be zero.
        level: of the intervals.
        which: the coordinates; ``None`` for all.

    Returns:
        The ends.
    """
    valley = _valley(problem, theta, least, spread, level)
    chosen = np.arange(len(theta)) if which is None else np.asarray(which)
    walks = _walks(valley, chosen)
    unknown = _walk(valley, walks, thorough=False)
    for _ in range(_CHECKS if problem.n_runs <= _MANY_RUNS else 0):
        # By now other walks may have found lower ground: an end from which the objective no longer rises so far is
        # none.
        ended = np.flatnonzero(np.isfinite(walks.end))
        rise, at = valley.rises(walks, ended, walks.end[ended], thorough=True)
        again = rise < 1 - 4 * CLOSE
        unknown[ended] = again
        if not again.any():
            break
        walks.reopen(ended[again], rise[again], at[again])
        unknown = _walk(valley, walks, thorough=True)
    return _ends(valley, walks, unknown, len(chosen))


def _valley(problem: Problem, theta: np.ndarray, least: float, spread: Spread, level: float) -> Valley:
    variance = np.diag(spread.matrix)
    known = ~spread.loose & (variance > 0)
    quantile = spread.quantile(level)
    step = np.where(known, quantile * np.sqrt(np.maximum(variance, 0.0)), 0.5)
    follow = np.where(known, spread.matrix / np.where(variance > 0, variance, 1.0), 0.0).T
    np.fill_diagonal(follow, 1.0)
    # Where a law runs through every loss there is no noise: what rounding can do is a rise that tells nothing.
    limit = np.maximum(spread.unit * quantile**2, exact_fit(problem))
    return Valley(
        problem, theta, least, limit,
        np.clip(step, 1e-8, 0.1 * (problem.upper - problem.lower)), follow, _faint(problem, theta),
    )  # fmt: skip


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


def _walks(valley: Valley, chosen: np.ndarray) -> Walks:
    n = len(chosen)
    i, sign, nowhere = np.tile(chosen, 2), np.repeat([-1.0, 1.0], n), np.full(2 * n, np.nan)
    theta, faint = valley.theta, valley.faint[i]
    bend = np.exp(theta[i] - smooth(theta[i], faint))  # of smooth coordinates by the parameter's own
    step = np.where(bend < 0.02, 0.5, valley.step[i] * bend)
    edge = np.where(sign < 0, valley.problem.lower[i], valley.problem.upper[i])
    return Walks(
        i, sign, faint, edge, theta[i], theta[i].copy(), np.zeros(2 * n), np.tile(theta, (2 * n, 1)), nowhere,
        nowhere.copy(), step, np.zeros(2 * n, dtype=int), nowhere.copy(),
        [{float(place): 0.0} for place in theta],
    )  # fmt: skip


def _walk(valley: Valley, walks: Walks, thorough: bool) -> np.ndarray:
    """Walk on until every walk has its end; those that have none after all trials, [walks]."""
    with stage("likelihood intervals", len(walks.end)) as done:
        for _ in range(_TRIALS):
            going = np.flatnonzero(np.isnan(walks.end))
            if not len(going):
                break
            done(len(walks.end) - len(going))
            trial = trial_of(walks, going)
            close = CLOSE if valley.problem.n_runs <= _MANY_RUNS else 4 * CLOSE
            note(walks, going, trial, *valley.rises(walks, going, trial, thorough), close)
    return np.isnan(walks.end)


def _ends(valley: Valley, walks: Walks, unknown: np.ndarray, n: int) -> Ends:
    """What the walks say of n parameters."""
    edge = edge_of(walks.edge, walks.sign)
    found = ~unknown & np.isfinite(walks.end)
    end = np.where(found, walks.end, edge)
    kinds = ["unknown" if unknown[i] else kind_of(found[i], edge[i]) for i in range(2 * n)]
    points = [walks.points[i] for i in walks.parameter[:n]]
    return Ends(end[:n], end[n:], list(zip(kinds[:n], kinds[n:], strict=True)), points)


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
    if problem.n_runs > _MANY_RUNS:
        minima = minimise(problem, starts[:, 0], steps=30, tolerance=1e-7, hessian="slopes", held=mask)
        return minima.value, minima.theta
    every = np.repeat(mask, each, axis=0)
    near = minimise(problem, starts.reshape(-1, p), steps=20, tolerance=1e-6, held=every)
    near = minimise(problem, near.theta, steps=25, tolerance=1e-8, hessian="slopes", held=every)
    best = near.value.reshape(walks, each).argmin(axis=1) + np.arange(walks) * each
    minima = minimise(problem, near.theta[best], steps=30, tolerance=1e-9, hessian="slopes", held=mask)
    return minima.value, minima.theta
