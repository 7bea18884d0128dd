"""From many starts to one minimum: a quick descent of all, a careful one of the best, a shake to make sure."""

from dataclasses import dataclass

import numpy as np

from moelaws.fitting.crowd import descend_many, first_descent
from moelaws.fitting.minimise import Minima, minimise
from moelaws.fitting.problem import Problem
from moelaws.fitting.starts import dispersed, leap, with_amplitudes

SAME = 1e-6
"""Two minima whose objectives differ by less than this share are the same."""
_POLISHED = 16
"""Distinct ends of the first descent that are followed to the bottom."""
_COMPARED = 512
"""Best ends of the first descent that are compared with one another."""
_COMPARED_RUNS = 1_000
_ALIKE = 1e-3
"""Ends are alike when their predictions differ by less than this share of the residuals, in squares."""
_MANY = 500_000
"""Starts x runs from which on the first descent goes in two stages."""
_ROUNDS = 3
_HOPELESS = 3.0
"""An end that still moves, at this many times the best one's objective, is left there."""
_LANDED = 8
"""Distinct ends of leaps that are followed to the bottom."""
_LEAPS = np.array([0.0, 3.0, 10.0, 30.0, 100.0, 300.0])


class FitFailed(RuntimeError):
    """No minimum was found; the message says what happened."""


@dataclass(frozen=True)
class Found:
    """The least minimum of a search.

    Attributes:
        theta: its coordinates, [P].
        value: the objective.
        converged: whether the descent came to rest. On the floor of a long valley it may not, see ``polish``.
        reached: starts that ended there.
        starts: starts that were run.
    """

    theta: np.ndarray
    value: float
    converged: bool
    reached: int
    starts: int


def find_minimum(problem: Problem, theta: np.ndarray, rng: np.random.Generator, more: bool = True) -> Found:
    """From starts to the least minimum.

    Args:
        problem: the fit's problem.
        theta: starting coordinates, [starts, P].
        rng: source of randomness for the shaking and for further starts.
        more: whether to draw further starts while the best minimum was reached by one start only.

    Returns:
        The least minimum.

    Raises:
        FitFailed: no start gave a finite objective.
    """
    total, reached = 0, 0
    best: Minima | None = None
    for _ in range(_ROUNDS):
        total += len(theta)
        if len(theta) * problem.n_runs > _MANY:
            minima, label = descend_many(problem, theta)
            ends, sizes = _distinct(problem, minima, np.bincount(label))
        else:
            ends, sizes = _distinct(problem, first_descent(problem, theta), np.ones(len(theta), dtype=int))
        minima = polish(problem, ends)
        here = shake(problem, _row(minima, minima.best()), rng)
        if best is None or here.value[0] < best.value[0] * (1 - SAME):
            reached = 0
        if best is None or here.value[0] < best.value[0]:
            best = here
        reached += int(sizes[minima.value <= best.value[0] * (1 + SAME) + _exact_fit(problem)].sum())
        if reached >= 2 or not more:
            break
        theta = dispersed(problem, len(theta), rng)
    assert best is not None
    # The start that the shake went out from got there too, if by a detour.
    return Found(best.theta[0], float(best.value[0]), bool(best.converged[0]), max(reached, 1), total)


def polish(problem: Problem, theta: np.ndarray) -> Minima:
    """Follow a few starts to the bottom under the fit's own objective, with exact second derivatives.

    Where the runs leave a combination of parameters open, the bottom is a long curved valley in which Newton's method
    makes small steps. Those that are still on their way and near the best leap ahead along their path, land, and go
    on from the best landing; a round that gains less than 1e-9 of the objective ends the search.

    Args:
        problem: the fit's problem.
        theta: coordinates, [starts, P].

    Returns:
        The minima, in the order of the starts.
    """
    if problem.objective.robust:
        theta = minimise(problem, theta, steps=25, tolerance=1e-6).theta
    minima = minimise(problem, theta, steps=12, tolerance=1e-12, hessian="exact")
    # What is still moving so far above the best will not overtake it.
    moving = np.flatnonzero(~minima.converged & (minima.value <= _HOPELESS * minima.value.min() + _exact_fit(problem)))
    if len(moving):
        on = minimise(problem, minima.theta[moving], steps=48, tolerance=1e-12, hessian="exact")
        minima.theta[moving], minima.value[moving], minima.converged[moving] = on.theta, on.value, on.converged
    for _ in range(12):
        near = minima.value <= minima.value.min() * 1.01 + _exact_fit(problem)
        moving = np.flatnonzero(~minima.converged & near & np.isfinite(minima.value))[:8]
        if not len(moving):
            break
        before = minima.value[moving]
        ahead = minimise(problem, minima.theta[moving], steps=20, tolerance=1e-12, hessian="exact")
        path = ahead.theta - minima.theta[moving]
        leaps = ahead.theta[:, None, :] + path[:, None, :] * _LEAPS[:, None]
        landed = minimise(problem, leaps.reshape(-1, theta.shape[1]), steps=25, tolerance=1e-12, hessian="exact")
        pick = landed.value.reshape(-1, len(_LEAPS)).argmin(axis=1) + np.arange(len(moving)) * len(_LEAPS)
        minima.theta[moving], minima.value[moving] = landed.theta[pick], landed.value[pick]
        minima.converged[moving] = landed.converged[pick] | (before - landed.value[pick] <= 1e-9 * before)
    return minima


def shake(problem: Problem, best: Minima, rng: np.random.Generator) -> Minima:
    """Restart from around a minimum until nothing better is found.

    Some restarts are drawn along the valley: from the inverse of the curvature, at several times its size. Others
    leap: one exponent at a time is set to values across its bounds and the amplitudes are solved anew, because the
    least objective may belong to a term so steep that only a few runs feel it.

    Args:
        problem: the fit's problem.
        best: the minimum, one row.
        rng: source of randomness.

    Returns:
        The best minimum found, one row.
    """
    for _ in range(_ROUNDS):
        size = np.repeat([1.0, 3.0, 10.0], 4)[:, None]
        valley = _valley(problem, best.theta[0])
        theta = best.theta + size * (rng.standard_normal((len(size), len(valley))) @ valley.T)
        theta = np.clip(theta, problem.lower, problem.upper)
        theta[::2] = with_amplitudes(problem, theta[::2], rng)
        near = first_descent(problem, theta, 30)
        leaps = first_descent(problem, leap(problem, best.theta[0], rng), 30)
        ends, _ = _distinct(problem, leaps, np.ones(len(leaps.theta), dtype=int))
        again = polish(problem, np.concatenate([near.theta, ends[:_LANDED]]))
        better = _row(again, again.best())
        if not better.value[0] < best.value[0] * (1 - 1e-9):
            return better if better.value[0] < best.value[0] and better.converged[0] else best
        best = better
    return best


def _distinct(problem: Problem, minima: Minima, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best distinct ends of a first descent, and how many starts ended at each.

    Ends are the same when they predict the same: starts that are on their way down one valley differ in their
    parameters and a little in their objective, and must not crowd out the other valleys.
    """
    order = np.argsort(minima.value)
    order = order[np.isfinite(minima.value[order])][:_COMPARED]
    if not len(order):
        raise FitFailed(f"law {problem.law.name!r}: no start gave a finite objective")
    residuals = problem.thinned(_COMPARED_RUNS).residuals(minima.theta[order])
    squares = np.einsum("bn,bn->b", residuals, residuals)
    kept: list[int] = []
    sizes: list[int] = []
    for i in range(len(order)):
        apart = np.array([np.sum((residuals[i] - residuals[k]) ** 2) for k in kept])
        near = np.flatnonzero(apart <= _ALIKE * squares[i])
        if len(near):
            sizes[int(near[apart[near].argmin()])] += int(counts[order[i]])
        elif len(kept) < _POLISHED:
            kept.append(i)
            sizes.append(int(counts[order[i]]))
    return minima.theta[order[kept]], np.array(sizes)


def _valley(problem: Problem, theta: np.ndarray) -> np.ndarray:
    """Square root of the inverse curvature, scaled by the residuals' spread, [P, P]; open directions are cut off."""
    residuals, slopes = problem.linearise(theta[None])
    curvature = slopes[0] @ slopes[0].T
    unit = 1.0 / np.sqrt(np.maximum(np.diag(curvature), 1e-300))
    values, vectors = np.linalg.eigh(curvature * unit[:, None] * unit)
    spread = np.sqrt(np.mean(residuals**2) / np.maximum(values, 1e-9 * values.max()))
    reach = 0.3 * (problem.upper - problem.lower)
    return np.clip((unit[:, None] * vectors) * spread, -reach[:, None], reach[:, None])


def _row(minima: Minima, i: int) -> Minima:
    one = slice(i, i + 1)
    return Minima(minima.theta[one], minima.value[one], minima.converged[one], minima.steps[one])


def _exact_fit(problem: Problem) -> float:
    """An objective that is zero but for rounding."""
    return float(problem.n_runs * 1e-26 * problem.weights.mean())
