"""Damped Newton steps for many starts at once: Levenberg-Marquardt far out, exact second derivatives near the end."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from moelaws.allocator import keep_freed_memory
from moelaws.fitting.engine.linear import solve_all
from moelaws.fitting.engine.problem import Problem
from moelaws.stages import stage

Hessian = Literal["majorant", "slopes", "exact"]
_CELLS = 20_000
"""Starts x runs in one chunk: its arrays stay in the processor's cache, and memory does not grow with the starts."""


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
    problem: Problem, theta: np.ndarray, steps: int = 100, tolerance: float = 1e-10, hessian: Hessian = "majorant",
    rows: np.ndarray | None = None, brake: float = 4.0, held: np.ndarray | None = None,
) -> Minima:  # fmt: skip
    """Descend from every start to the local minimum below it, within the bounds.

    Args:
        problem: objective, law and runs.
        theta: starting coordinates, [starts, P].
        steps: most iterations of a start.
        tolerance: a start has converged when the next step promises less than this share of its objective.
        hessian: ``majorant``, which never overshoots; ``slopes``, the Huber loss's own curvature, quicker near a
            minimum; or ``exact``, with the second derivatives of the residuals too: slower per step by the number of
            parameters, quadratic at the end, worth it for a few starts near a minimum.
        rows: for a problem with weights of several replicates, the replicate of each start.
        brake: factor on the damping after a step that did not help. A larger one gives up sooner on starts from which
            no step helps, and misses a few minima.
        held: coordinates that stay where they start, [starts, P].

    Returns:
        The minima, in the order of the starts.
    """
    keep_freed_memory()
    n = len(theta)
    rows = np.zeros(n, dtype=int) if rows is None else rows
    ends = Minima(
        np.clip(theta, problem.lower, problem.upper), np.full(n, np.inf), np.zeros(n, dtype=bool),
        np.zeros(n, dtype=int),
    )  # fmt: skip
    # A law is not defined everywhere; what is not finite is noticed.
    with stage("descents", n) as done, np.errstate(all="ignore"):
        chunk = max(4, _CELLS // problem.blocks[0].points.count)
        first = 0
        moving = Moving.none(theta.shape[1])
        while first < n or len(moving.start):
            done(first - len(moving.start))
            if first < n and len(moving.start) <= chunk // 2:
                # Starts that have ended leave gaps in the chunk; waiting ones fill them.
                fresh = np.arange(first, min(n, first + chunk - len(moving.start)))
                first = int(fresh[-1]) + 1
                model = _model(problem, ends.theta[fresh], hessian, rows[fresh])
                moving = moving.joined(Moving(fresh, ends.theta[fresh], np.full(len(fresh), 1e-2), model))
            moving = _advance(problem, moving, ends, steps, tolerance, hessian, rows, brake, held)
    return ends


Model = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Value [starts], gradient [starts, P], Hessian [starts, P, P], diagonal of a majorising Hessian [starts, P]."""


@dataclass(frozen=True)
class Moving:
    """Starts on their way.

    Attributes:
        start: which starts, [moving].
        at: their coordinates, [moving, P].
        damping: share of the majorant's diagonal added to the Hessian, [moving].
        model: the objective around these coordinates.
    """

    start: np.ndarray
    at: np.ndarray
    damping: np.ndarray
    model: Model

    @classmethod
    def none(cls, p: int) -> "Moving":
        """Nothing on its way, of P coordinates."""
        return cls(
            np.empty(0, dtype=int), np.empty((0, p)), np.empty(0),
            (np.empty(0), np.empty((0, p)), np.empty((0, p, p)), np.empty((0, p))),
        )  # fmt: skip

    def joined(self, other: "Moving") -> "Moving":
        """These starts and others."""
        if not len(self.start):
            return other
        value, slope, hessian, metric = (np.concatenate(pair) for pair in zip(self.model, other.model, strict=True))
        return Moving(
            np.concatenate([self.start, other.start]), np.concatenate([self.at, other.at]),
            np.concatenate([self.damping, other.damping]), (value, slope, hessian, metric),
        )  # fmt: skip

    def only(self, which: np.ndarray) -> "Moving":
        """Some of the starts, by index."""
        value, slope, hessian, metric = self.model
        return Moving(
            self.start[which], self.at[which], self.damping[which],
            (value[which], slope[which], hessian[which], metric[which]),
        )  # fmt: skip


def _advance(
    problem: Problem, moving: Moving, ends: Minima, steps: int, tolerance: float, hessian: Hessian, rows: np.ndarray,
    brake: float, held: np.ndarray | None,
) -> Moving:  # fmt: skip
    """Try one step from every start; note in ``ends`` those that have come to rest or run out of steps.

    Returns:
        The starts that go on.
    """
    start, at, damping = moving.start, moving.at, moving.damping
    value, slope, curvature, metric = moving.model
    pinned = ((at <= problem.lower) & (slope > 0)) | ((at >= problem.upper) & (slope < 0))
    if held is not None:
        pinned |= held[start]
    move, promise = _step(slope, curvature, metric, damping, pinned)
    trial = np.minimum(np.maximum(at + move, problem.lower), problem.upper)
    new = _model(problem, trial, hessian, rows[start])
    gain = value - new[0]
    little = tolerance * value
    better = gain > 0
    done = (np.abs(promise) <= little) & (gain <= little) | ~np.isfinite(value)
    damping = damping * np.where(better & (gain > 0.25 * promise), np.where(gain > 0.75 * promise, 0.1, 1.0), brake)
    damping = np.minimum(np.maximum(damping, 1e-12), 1e15)
    done |= damping >= 1e14
    if not better.all():
        # Most steps are good ones: taking all and putting the others back moves the least memory.
        worse = np.flatnonzero(~better)
        for old, fresh in zip((at, *moving.model), (trial, *new), strict=True):
            fresh[worse] = old[worse]
    moving = Moving(start, trial, damping, new)
    ends.steps[start] += 1
    leave = done | (ends.steps[start] >= steps)
    if not leave.any():
        return moving
    ended = start[leave]
    ends.theta[ended], ends.value[ended] = trial[leave], new[0][leave]
    ends.converged[ended] = done[leave] & np.isfinite(new[0][leave])
    return moving.only(np.flatnonzero(~leave))


def _model(problem: Problem, theta: np.ndarray, kind: Hessian, rows: np.ndarray) -> Model:
    """Value, gradient, Hessian and the diagonal of a majorising Hessian at each point."""
    parts = [_model_of_block(block, theta, kind, rows) for block in problem.blocks]
    value, gradient, hessian, metric = parts[0]
    for part in parts[1:]:
        value, gradient, hessian, metric = (
            a + b for a, b in zip((value, gradient, hessian, metric), part, strict=True)
        )
    if not np.isfinite(value.sum() + gradient.sum() + hessian.sum()):
        bad = ~np.isfinite(value + gradient.sum(axis=1) + hessian.sum(axis=(1, 2)))
        value[bad] = np.inf
        gradient[bad], hessian[bad], metric[bad] = 0.0, 0.0, 1.0
    return value, gradient, hessian, metric


def _model_of_block(problem: Problem, theta: np.ndarray, kind: Hessian, rows: np.ndarray) -> Model:
    points = problem.points
    (starts, count), root = theta.shape, points.program.root
    weights = points.weights if points.weights.shape[0] == 1 else points.weights[rows]
    gradient, metric = np.zeros((starts, count)), np.zeros((starts, count))
    hessian = np.zeros((starts, count * count))
    residuals, around = points.expand(theta)
    value, pull, cap = problem.objective.measure(residuals, weights)
    if not root.support:
        return value, gradient, hessian.reshape(starts, count, count), metric
    slopes = around.block
    pull, cap = points.gathered(pull), points.gathered(cap)
    if slopes.shape[::2] != pull.shape:
        slopes = np.broadcast_to(slopes, (starts, slopes.shape[1], points.count))
    gradient[:, root.columns] = np.matmul(slopes, pull[:, :, None])[:, :, 0]
    bend = cap
    if kind != "majorant" and problem.objective.robust:
        bend = points.gathered(problem.objective.curvatures(residuals, weights))
        metric[:, root.columns] = np.matmul(slopes * slopes, cap[:, :, None])[:, :, 0]
    product = np.matmul(slopes * bend[:, None, :], slopes.transpose(0, 2, 1))
    hessian[:, points.program.places(root, root)] = product.reshape(starts, -1)
    hessian = hessian.reshape(starts, count, count)
    if bend is cap:
        metric = hessian.diagonal(axis1=1, axis2=2).copy()
    if kind == "exact":
        hessian += around.bend(pull)
    return value, gradient, hessian, metric


def _step(
    slope: np.ndarray, hessian: np.ndarray, metric: np.ndarray, damping: np.ndarray, pinned: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The damped Newton step, and how much the model says it gains."""
    p = slope.shape[1]
    # Parameters differ by orders of magnitude in effect: work in units in which the majorant's diagonal is one.
    unit = 1.0 / np.sqrt(np.maximum(metric, 1e-30 * metric.max(axis=1, keepdims=True) + 1e-300))
    pull = slope * unit
    shifted = hessian * unit[:, :, None]
    shifted *= unit[:, None, :]
    extra = damping[:, None]
    if pinned.any():
        pull[pinned] = 0.0
        shifted[pinned[:, :, None] | pinned[:, None, :]] = 0.0
        extra = extra + pinned
    shifted.reshape(-1, p * p)[:, :: p + 1] += extra
    move = -solve_all(shifted, pull)
    # With (H + damping) move = -pull, the model's gain -(pull + H move / 2) move needs no product with H.
    promise = 0.5 * ((damping[:, None] * move - pull) * move).sum(axis=1)
    return move * unit, promise
