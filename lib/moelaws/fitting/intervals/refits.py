"""Refits of one problem under other weights, one replicate each, in one batch."""

import numpy as np

from moelaws.fitting.engine.minimise import Minima, minimise
from moelaws.fitting.engine.problem import Problem
from moelaws.fitting.engine.starts import revived


def refit(problem: Problem, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Refit from good starts under new weights, one replicate a start.

    Args:
        problem: with weights [replicates, runs].
        theta: starting coordinates, [replicates, P].

    Returns:
        Coordinates [replicates, P], and whether each refit has a finite objective.
    """
    best = _refit(problem, theta, np.arange(len(theta)))
    # A term that ended near zero may have got stuck there, and beside one the way down is long: start again with every
    # term in sight.
    second = revived(problem, best.theta)
    again = np.arange(len(theta)) if (second != best.theta).any() else np.arange(0)
    if len(again):
        other = _refit(problem, second[again], again)
        better = other.value < best.value[again]
        best.theta[again[better]], best.value[again[better]] = other.theta[better], other.value[better]
    return best.theta, np.isfinite(best.value)


def _refit(problem: Problem, theta: np.ndarray, rows: np.ndarray) -> Minima:
    if problem.objective.robust:
        # A wider threshold first: it moves a replicate past the kinks of the final one.
        wide = problem.with_delta(max(problem.objective.delta, 0.01))
        theta = minimise(wide, theta, steps=15, tolerance=1e-4, rows=rows).theta
        theta = minimise(problem, theta, steps=20, tolerance=1e-7, rows=rows).theta
    return minimise(problem, theta, steps=60, tolerance=1e-9, hessian="slopes", rows=rows)
