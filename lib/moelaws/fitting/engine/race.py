"""The last part of a search: a few ends of descents go to the bottom, as long as they may yet be the best."""

import numpy as np

from moelaws.fitting.engine.minimise import Minima, minimise
from moelaws.fitting.engine.problem import Problem

SAME = 1e-6
"""Two minima whose objectives differ by less than this share are the same."""
KNOWN = -1
"""The leader of an end that leads to the minimum known before."""
COMPARED_RUNS = 1_000
"""Runs over which predictions are compared."""
_HOPELESS = 3.0
"""An end that still moves, at this many times the best one's objective, is left there."""
_STRIDE, _WALKED, _LEAPT = 12, 5, 12
"""Steps of a round without leaps, most such rounds, and most rounds with leaps."""
_LEAPERS = 4
"""Ends that leap."""
_LEAPS = np.array([0.0, 3.0, 10.0, 30.0, 100.0, 300.0])
_PATIENCE = 10.0
_LEAP_PATIENCE = 3.0
"""Rounds at the pace of the last one, without and with leaps, within which an end must be able to reach the best."""
_SAME_END = 1e-5
"""Ends are one when their predictions differ by less than this share of the residuals, in squares."""


def polish(problem: Problem, theta: np.ndarray, beat: Minima | None = None) -> Minima:
    """Follow a few starts to the bottom under the fit's own objective, with exact second derivatives.

    Where the runs leave a combination of parameters open, the bottom is a long curved valley in which Newton's method
    makes small steps. Those that are still on their way go on in rounds, as long as the best one is within their reach
    at the pace of their last round. After some rounds the best few leap ahead along their path, land, and go on from
    the best landing; a round of leaps that gains less than 1e-9 of the objective ends an end's way.

    Args:
        problem: the fit's problem.
        theta: coordinates, [starts, P].
        beat: a minimum that is known already, one row: what only leads there need not be followed.

    Returns:
        The minima, in the order of the starts.
    """
    return race(problem, theta, beat)[0]


def race(problem: Problem, theta: np.ndarray, beat: Minima | None = None) -> tuple[Minima, np.ndarray]:
    """As ``polish``, with the index of the end that each was found to lead to, [starts]: mostly its own.

    One that leads to the minimum known already has ``KNOWN``.
    """
    if problem.objective.robust:
        theta = minimise(problem, theta, steps=25, tolerance=1e-6).theta
    minima = minimise(problem, theta, _STRIDE, 1e-12, "exact")
    reach, leader = np.full(len(theta), np.inf), np.arange(len(theta))
    for number in range(_WALKED + _LEAPT):
        moving = _in_the_race(problem, minima, reach, leader, beat)
        leaping = number >= _WALKED
        moving = moving[:_LEAPERS] if leaping else moving
        if not len(moving):
            break
        here, before = minima.theta[moving], minima.value[moving]
        on = leap_on(problem, here) if leaping else minimise(problem, here, _STRIDE, 1e-12, "exact")
        gain = before - on.value
        if leaping:
            on.converged[gain <= 1e-9 * before] = True
        minima.theta[moving], minima.value[moving], minima.converged[moving] = on.theta, on.value, on.converged
        reach[moving] = gain * (_LEAP_PATIENCE if leaping else _PATIENCE)
    for _ in range(len(leader)):
        leader = np.where(leader == KNOWN, KNOWN, leader[leader])
    return minima, leader


def leap_on(problem: Problem, theta: np.ndarray) -> Minima:
    """Some steps along the valley, leaps ahead along their path, and the best landing of each."""
    ahead = minimise(problem, theta, 20, 1e-12, "exact")
    landed = ahead.theta[:, None, :] + (ahead.theta - theta)[:, None, :] * _LEAPS[:, None]
    for steps, kept in ((8, 2), (17, 1)):
        ends = minimise(problem, landed.reshape(-1, theta.shape[1]), steps, 1e-12, "exact")
        best = ends.value.reshape(len(theta), -1).argsort(axis=1, kind="stable")[:, :kept]
        pick = best + np.arange(len(theta))[:, None] * landed.shape[1]
        landed = ends.theta[pick]
    last = pick[:, 0]
    return Minima(ends.theta[last], ends.value[last], ends.converged[last], ends.steps[last])


def _in_the_race(
    problem: Problem, minima: Minima, reach: np.ndarray, leader: np.ndarray, beat: Minima | None
) -> np.ndarray:
    """Which ends still move and may yet be the best, by index, the best ones first; notes who leads to whom."""
    least = float(minima.value.min())
    lead = least if beat is None else min(least, float(beat.value[0]))
    gap = minima.value - lead
    far = gap > np.minimum(reach, (_HOPELESS - 1) * lead) + exact_fit(problem)
    there = (gap <= SAME * lead) & (reach <= _PATIENCE * SAME * lead) & (minima.value > lead)
    own = leader == np.arange(len(leader))
    moving = np.flatnonzero(own & ~minima.converged & np.isfinite(minima.value) & ~far & ~there)
    moving = moving[np.argsort(minima.value[moving], kind="stable")]
    if len(moving) + (beat is not None) < 2:
        return moving
    few = problem.thinned(COMPARED_RUNS)
    residuals = few.residuals(minima.theta[moving])
    known = None if beat is None else few.residuals(beat.theta)[0]
    kept: list[int] = []
    for i, here in enumerate(residuals):
        # What predicts the same as a better one is on its way to where that one goes.
        near = _SAME_END * np.sum(here**2)
        to = next((k for k in kept if np.sum((here - residuals[k]) ** 2) <= near), None)
        above = known is not None and beat is not None and minima.value[moving[i]] > beat.value[0]
        if to is not None:
            leader[moving[i]] = moving[to]
        elif above and np.sum((here - known) ** 2) <= near:
            leader[moving[i]] = KNOWN
        else:
            kept.append(i)
    return moving[kept]


def exact_fit(problem: Problem) -> float:
    """An objective that is zero but for rounding."""
    return float(problem.n_runs * 1e-26 * problem.weights.mean())
