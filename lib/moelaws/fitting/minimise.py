"""Damped Newton steps for many starts at once: Levenberg-Marquardt far out, exact second derivatives near the end."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from moelaws.fitting.problem import Problem

_CELLS = 20_000
"""Starts x runs in one chunk: its arrays stay in the processor's cache, and memory does not grow with the starts."""


_WAVE = 12
"""Steps after which the starts that are still moving are regrouped."""


@dataclass(frozen=True)
class Minima:
    """Where descents from many starts ended.

    Attributes:
        theta: coordinates, [starts, P].
        value: the objective there, [starts]; infinite where a start had no finite objective.
        converged: whether the last steps could gain no more than the tolerance, [starts].
        steps: iterations taken, [starts].
    """

    theta: np.ndarray
    value: np.ndarray
    converged: np.ndarray
    steps: np.ndarray

    def best(self) -> int:
        """Index of the least value."""
        return int(np.argmin(self.value))


def minimise(
    problem: Problem, theta: np.ndarray, steps: int = 100, tolerance: float = 1e-10, exact: bool = False,
    rows: np.ndarray | None = None,
) -> Minima:  # fmt: skip
    """Descend from every start to the local minimum below it, within the bounds.

    Args:
        problem: objective, law and runs.
        theta: starting coordinates, [starts, P].
        steps: most iterations of a start.
        tolerance: a start has converged when the next step promises less than this share of its objective.
        exact: add the exact second derivatives of the residuals to the Hessian. Slower per step by the number of
            parameters, quadratic at the end; worth it for a few starts near a minimum.
        rows: for a problem with weights of several replicates, the replicate of each start.

    Returns:
        The minima, in the order of the starts.
    """
    _keep_freed_memory()
    n = len(theta)
    rows = np.zeros(n, dtype=int) if rows is None else rows
    state = State(
        np.clip(theta, problem.lower, problem.upper), np.full(n, np.inf), np.zeros(n, dtype=bool),
        np.zeros(n, dtype=int), np.full(n, 1e-2),
    )  # fmt: skip
    chunk = max(4, _CELLS // problem.blocks[0].n_runs)
    live = np.arange(n)
    for wave in range(0, steps, _WAVE):
        # Starts that have ended leave gaps in their chunks; regrouping the others keeps the chunks full.
        for i in range(0, len(live), chunk):
            _descend(problem, state, live[i : i + chunk], min(_WAVE, steps - wave), tolerance, exact, rows)
        live = live[~state.ended[live]]
        if not len(live):
            break
    return Minima(state.theta, state.value, state.ended & np.isfinite(state.value), state.steps)


@dataclass(frozen=True)
class State:
    """Where all starts are. The arrays change as the descent goes on.

    Attributes:
        theta: coordinates, [starts, P].
        value: the objective, [starts].
        ended: whether a start has come to rest or has no value, [starts].
        steps: iterations so far, [starts].
        damping: share of the majorant's diagonal added to the Hessian, [starts].
    """

    theta: np.ndarray
    value: np.ndarray
    ended: np.ndarray
    steps: np.ndarray
    damping: np.ndarray


@cache
def _keep_freed_memory() -> None:
    # glibc hands arrays above 128 kB back to the system on every free, and the page faults of getting them again
    # cost five times the arithmetic. Freeing one block of 28 MB teaches it to keep such blocks.
    np.empty(3_500_000)


def _descend(
    problem: Problem, state: State, live: np.ndarray, steps: int, tolerance: float, exact: bool, rows: np.ndarray
) -> None:
    """Take some starts a few steps down, and note in the state where they got to."""
    at, damping = state.theta[live], state.damping[live]
    value, slope, hessian, metric = _model(problem, at, exact, rows[live])
    for _ in range(steps):
        low, high = at <= problem.lower, at >= problem.upper
        pinned = (low & (slope > 0)) | (high & (slope < 0))
        move, promise = _step(slope, hessian, metric, damping, pinned)
        trial = np.clip(at + move, problem.lower, problem.upper)
        new = _model(problem, trial, exact, rows[live])
        with np.errstate(invalid="ignore"):  # a start without a value, tried again without one
            gain = value - new[0]
        done = (promise <= tolerance * value) & (gain <= tolerance * value) | ~np.isfinite(value)
        better = gain > 0
        at[better] = trial[better]
        for old, fresh in zip((value, slope, hessian, metric), new, strict=True):
            old[better] = fresh[better]
        good = better & (gain > 0.75 * promise)
        damping = np.where(good, damping * 0.1, np.where(better & (gain > 0.25 * promise), damping, damping * 4.0))
        damping = np.clip(damping, 1e-12, 1e15)
        done |= damping >= 1e14
        state.steps[live] += 1
        if done.any():
            ended = live[done]
            state.theta[ended], state.value[ended], state.ended[ended] = at[done], value[done], True
            stay = ~done
            live, at, damping = live[stay], at[stay], damping[stay]
            value, slope, hessian, metric = value[stay], slope[stay], hessian[stay], metric[stay]
            if not len(live):
                return
    state.theta[live], state.value[live], state.damping[live] = at, value, damping


def _model(
    problem: Problem, theta: np.ndarray, exact: bool, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Value, gradient, Hessian and the diagonal of a majorising Hessian at each point."""
    parts = [_model_of_block(block, theta, exact, rows) for block in problem.blocks]
    value, gradient, hessian, metric = parts[0]
    for part in parts[1:]:
        value, gradient, hessian, metric = (
            a + b for a, b in zip((value, gradient, hessian, metric), part, strict=True)
        )
    bad = ~(np.isfinite(value) & np.isfinite(gradient).all(1) & np.isfinite(hessian).all((1, 2)))
    value[bad] = np.inf
    gradient[bad], hessian[bad], metric[bad] = 0.0, 0.0, 1.0
    return value, gradient, hessian, metric


def _model_of_block(
    problem: Problem, theta: np.ndarray, exact: bool, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    with np.errstate(all="ignore"):
        residuals, slopes = problem.linearise(theta)
        weights = problem.weights if problem.weights.shape[0] == 1 else problem.weights[rows]
        value = problem.value(residuals, rows)
        gradient = np.matmul(slopes, problem.objective.slopes(residuals, weights)[:, :, None])[:, :, 0]
        cap = problem.objective.majorants(residuals, weights)
        hessian = np.matmul(slopes * cap[:, None, :], slopes.transpose(0, 2, 1))
        metric = np.einsum("bii->bi", hessian).copy()
        if exact:
            if problem.objective.robust:
                bend = problem.objective.curvatures(residuals, weights)
                hessian = np.matmul(slopes * bend[:, None, :], slopes.transpose(0, 2, 1))
            hessian += problem.second_order(theta, residuals, rows)
    return value, gradient, hessian, metric


def _step(
    slope: np.ndarray, hessian: np.ndarray, metric: np.ndarray, damping: np.ndarray, pinned: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The damped Newton step, and how much the model says it gains."""
    p = slope.shape[1]
    slope = np.where(pinned, 0.0, slope)
    held = pinned[:, :, None] | pinned[:, None, :]
    hessian = np.where(held, 0.0, hessian)
    # Parameters differ by orders of magnitude in effect: work in units in which the majorant's diagonal is one.
    unit = 1.0 / np.sqrt(np.maximum(metric, 1e-30 * metric.max(axis=1, keepdims=True) + 1e-300))
    scaled = hessian * unit[:, :, None] * unit[:, None, :]
    pull = slope * unit
    shifted = scaled + (damping[:, None] + 0.0)[:, :, None] * np.eye(p)
    shifted += np.einsum("bi,ij->bij", pinned.astype(float), np.eye(p))
    try:
        move = -np.linalg.solve(shifted, pull[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:
        move = -np.linalg.solve(shifted + 1e-8 * np.eye(p), pull[:, :, None])[:, :, 0]
    down = np.einsum("bi,bi->b", move, pull)
    curved = np.einsum("bi,bij,bj->b", move, scaled, move)
    promise = -(down + 0.5 * curved)
    return move * unit, promise
