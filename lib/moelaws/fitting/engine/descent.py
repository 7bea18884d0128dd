"""From many starts to one minimum: a quick descent of all, a careful one of the best, a shake to make sure."""

from dataclasses import dataclass, replace

import numpy as np

from moelaws.fitting.engine.first_descent import ENOUGH_RUNS, descend_many, first_descent
from moelaws.fitting.engine.linear import eigen
from moelaws.fitting.engine.minimise import Minima
from moelaws.fitting.engine.problem import Problem
from moelaws.fitting.engine.race import COMPARED_RUNS, KNOWN, SAME, exact_fit, leap_on, polish, race
from moelaws.fitting.engine.starts import dispersed, leap, with_amplitudes

_POLISHED = 16
"""Distinct ends of the first descent that are followed to the bottom."""
_COMPARED = 512
"""Best ends of the first descent that are compared with one another."""
_ALIKE = 1e-3
"""Ends are alike when their predictions differ by less than this share of the residuals, in squares."""
_MANY = 500_000
"""Starts x runs from which on the first descent goes in two stages."""
_ROUNDS = 3
_LANDED = 8
"""Distinct ends of leaps that are followed to the bottom."""
_NEAR = 3.0
"""Minima up to so many times the least objective are kept: an interval may reach them."""
_LAST_LEAPS = 60
"""Rounds of leaps that the one minimum left may take to come to rest."""


class FitFailed(RuntimeError):
    """No minimum was found, although the input is right; the message says what was tried, and what to try."""


@dataclass(frozen=True)
class Found:
    """The least minimum of a search.

    Attributes:
        theta: its coordinates, [P].
        value: the objective.
        converged: whether the descent came to rest. On the floor of a long valley it may not, see ``polish``.
        reached: starts that ended there.
        starts: starts that were run.
        others: other minima that the search came to, or near to, the lowest first, [minima, P].
    """

    theta: np.ndarray
    value: float
    converged: bool
    reached: int
    starts: int
    others: np.ndarray | None = None


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
    others: list[Minima] = []
    for _ in range(_ROUNDS):
        total += len(theta)
        if len(theta) * problem.n_runs > _MANY:
            minima, label = descend_many(problem, theta)
            ends, sizes = _distinct(problem, minima, np.bincount(label))
        else:
            ends, sizes = _distinct(problem, first_descent(problem, theta), np.ones(len(theta), dtype=int))
        minima, leader = race(problem, ends, best)
        others.append(minima)
        first = minima.best()
        led = leader == first
        if best is None or minima.value[first] < best.value[0] * (1 - SAME) - exact_fit(problem):
            best, reached = shake(problem, _row(minima, first), rng), 0
        else:
            led |= leader == KNOWN
        # What the shake went out from got there too, if by a detour; and what led to it.
        at = minima.value <= best.value[0] * (1 + SAME) + exact_fit(problem)
        there = led | (at[leader] & (leader != KNOWN))
        reached += int(sizes[there].sum())
        if reached >= 2 or not more:
            break
        theta = dispersed(problem, len(theta), rng)
    assert best is not None
    for _ in range(_LAST_LEAPS):
        # The only one left is worth more patience than any in the race.
        if best.converged[0]:
            break
        on = leap_on(problem, best.theta)
        on.converged[best.value - on.value <= 1e-9 * best.value] = True
        best = on if on.value[0] <= best.value[0] else replace(best, converged=on.converged)
    return Found(
        best.theta[0], float(best.value[0]), bool(best.converged[0]), reached, total, _near(problem, others, best)
    )


def _near(problem: Problem, minima: list[Minima], best: Minima) -> np.ndarray:
    """Those of the minima that an interval may reach, the lowest first, [minima, P]."""
    value = np.concatenate([each.value for each in minima])
    low = [i for i in value.argsort(kind="stable") if value[i] <= _NEAR * best.value[0] + exact_fit(problem)]
    return np.concatenate([each.theta for each in minima])[low]


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
    few = problem.thinned(ENOUGH_RUNS)
    for _ in range(_ROUNDS):
        size = np.repeat([1.0, 3.0, 10.0], 4)[:, None]
        valley = _valley(problem, best.theta[0])
        theta = best.theta + size * (rng.standard_normal((len(size), len(valley))) @ valley.T)
        theta = np.clip(theta, problem.lower, problem.upper)
        theta[::2] = with_amplitudes(problem, theta[::2], rng)
        down = first_descent(few, np.concatenate([theta, leap(problem, best.theta[0], rng)]), 30)
        near, leaps = _rows(down, slice(0, len(size))), _rows(down, slice(len(size), None))
        ends, _ = _distinct(problem, leaps, np.ones(len(leaps.theta), dtype=int))
        again = polish(problem, np.concatenate([near.theta, ends[:_LANDED]]), best)
        better = _row(again, again.best())
        if not better.value[0] < best.value[0] * (1 - SAME):
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
        columns = ", ".join(variable.columns[0] for variable in problem.law.variables)
        raise FitFailed(
            f"law {problem.law.name!r} on {problem.n_runs} runs: none of {len(minima.theta)} starts has a finite"
            f" objective. Are the units of {columns} those of the law? Else give bounds or fixed values near your runs"
        )
    residuals = problem.thinned(COMPARED_RUNS).residuals(minima.theta[order])
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
    with np.errstate(over="ignore", invalid="ignore"):
        curvature = slopes[0] @ slopes[0].T
        unit = 1.0 / np.sqrt(np.maximum(np.diag(curvature), 1e-300))
        values, vectors = eigen(curvature * unit[:, None] * unit)
    # No parameter changes the prediction where every curvature is zero: all directions are open then.
    spread = np.sqrt(np.mean(residuals**2) / np.maximum(values, max(1e-9 * values.max(), 1e-300)))
    reach = 0.3 * (problem.upper - problem.lower)
    return np.clip((unit[:, None] * vectors) * spread, -reach[:, None], reach[:, None])


def _row(minima: Minima, i: int) -> Minima:
    return _rows(minima, slice(i, i + 1))


def _rows(minima: Minima, which: slice) -> Minima:
    return Minima(minima.theta[which], minima.value[which], minima.converged[which], minima.steps[which])
