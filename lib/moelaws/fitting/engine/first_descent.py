"""The first descent of a crowd of starts: quick, on few runs while there are many starts, merging those that agree."""

import numpy as np

from moelaws.fitting.engine.minimise import Minima, minimise
from moelaws.fitting.engine.problem import Problem

_FIRST_DELTA = 0.03
_COARSE_DELTA = 0.1
_RUNS_PER_PARAMETER = 8
"""Runs of the table that a crowd sees first, for each free parameter."""
ENOUGH_RUNS = 2_000
"""Runs that tell one valley from another; more of them only say where in its valley a minimum is."""
_FOLLOWED = 32
"""Ends on so many runs that descend on all of many more."""


def first_descent(problem: Problem, theta: np.ndarray, steps: int = 60, held: np.ndarray | None = None) -> Minima:
    """A quick descent from every start; a Huber objective gets a wide delta, so that far runs keep their pull."""
    if problem.objective.robust:
        problem = problem.with_delta(max(problem.objective.delta, _FIRST_DELTA))
    return minimise(problem, theta, steps=steps, tolerance=1e-7, held=held)


def descend_many(problem: Problem, theta: np.ndarray) -> tuple[Minima, np.ndarray]:
    """The first descent of a published grid's hundreds of thousands of starts, or on very many runs.

    All descend on a few runs of the table, to a coarse tolerance; those that then predict the same go on together, to
    a fine one; those that then predict the same descend on all runs, or first on enough of very many, of which the best
    ones go on.

    Args:
        problem: the fit's problem.
        theta: starting coordinates, [starts, P].

    Returns:
        The distinct ends, those not followed at an infinite value, and for every start the index of its end, [starts].
    """
    coarse = problem.thinned(_RUNS_PER_PARAMETER * len(problem.free))
    if coarse.objective.robust:
        coarse = coarse.with_delta(max(coarse.objective.delta, _COARSE_DELTA))
    label = np.arange(len(theta))
    for steps, tolerance in ((24, 0.03), (60, 1e-6)):
        ends = minimise(coarse, theta, steps, tolerance, brake=8.0)
        first, kind = merge(coarse, ends)
        theta, label = ends.theta[first], kind[label]
    if problem.n_runs <= ENOUGH_RUNS:
        return first_descent(problem, theta), label
    enough = problem.thinned(ENOUGH_RUNS)
    ends = first_descent(enough, theta)
    first, kind = merge(enough, ends)
    label = kind[label]
    followed = np.argsort(ends.value[first], kind="stable")[:_FOLLOWED]
    on = first_descent(problem, ends.theta[first[followed]])
    found = Minima(ends.theta[first], np.full(len(first), np.inf), np.zeros(len(first), dtype=bool), ends.steps[first])
    found.theta[followed], found.value[followed], found.converged[followed] = on.theta, on.value, on.converged
    return found, label


def merge(problem: Problem, minima: Minima) -> tuple[np.ndarray, np.ndarray]:
    """Starts that predict the same: the first of each kind, and each start's kind.

    Residuals are compared by their size and by three random projections of their direction, rounded to 2 %.
    """
    directions = np.random.default_rng(0).standard_normal((problem.n_runs, 3))
    marks = []
    for i in range(0, len(minima.theta), 512):
        residuals = np.nan_to_num(problem.residuals(minima.theta[i : i + 512]), posinf=1e3, neginf=-1e3)
        size = np.sqrt(np.mean(residuals**2, axis=1)) + 1e-300
        along = residuals @ directions / size[:, None] / np.sqrt(problem.n_runs)
        marks.append(np.column_stack([np.round(np.log(size) / 0.02), np.round(along / 0.02)]).astype(np.int32))
    _, first, label = np.unique(np.concatenate(marks), axis=0, return_index=True, return_inverse=True)
    return first, label.reshape(-1)
