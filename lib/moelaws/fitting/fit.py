"""Fitting a law to a run table: to the true optimum, with a status, in a fraction of a second."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moelaws.fitting.covariance import identifiable
from moelaws.fitting.minimise import Minima, minimise
from moelaws.fitting.objective import FitError, Objective, ObjectiveName, Problem, bind
from moelaws.fitting.result import FitFailed, FitResult, Status, quality
from moelaws.fitting.starts import dispersed, grid, with_amplitudes
from moelaws.fitting.table import prepare
from moelaws.laws import law as law_named
from moelaws.laws.forms import Law

Starts = int | Mapping[str, Sequence[float]] | np.ndarray | None

_SAME = 1e-6
"""Two minima whose objectives differ by less than this share are the same."""
_POLISHED = 16
"""Distinct minima of the first descent that are followed to the end."""
_ROUNDS = 3
_FIRST_DELTA = 0.03


def fit(
    law: Law | str,
    runs: Any,
    objective: ObjectiveName = "huber-log",
    delta: float = 1e-3,
    weights: np.ndarray | str | None = None,
    fixed: Mapping[str, float] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    starts: Starts = None,
    seed: int = 0,
    over: float = 1.0,
) -> FitResult:
    """Fit a law to runs.

    Many dispersed starts descend at once; the best distinct minima are followed to the end with exact second
    derivatives; the best one is then shaken, along the directions the runs leave most open, until nothing better
    turns up. A Huber objective is first fitted with a wide delta, which has fewer local minima.

    Args:
        law: a law, or the name of one.
        runs: a run table, or a mapping of columns to arrays. Runs that did not finish are left out.
        objective: ``huber-log``, ``lsq-log`` or ``lsq``; sums, never means.
        delta: the Huber loss's threshold, in units of ln L.
        weights: weight of each run, or the column that holds it, such as one over the variance between seeds.
        fixed: parameters to hold at a value.
        bounds: parameter -> (least, largest), in place of the law's own wide ones.
        starts: how many to draw, or a grid {parameter: values in its own units} of which every combination is run,
            or coordinates [starts, P].
        seed: of the drawn starts.
        over: factor on the terms of runs predicted too high; above 1 the fit leans to forecasts that are kept.

    Returns:
        The result, with a status; intervals come from ``moelaws.fitting.uncertainty``.

    Raises:
        FitError, LawError: runs or arguments that cannot be used.
        FitFailed: no minimum was found.
    """
    began = time.perf_counter()
    law = law_named(law) if isinstance(law, str) else law
    prepared = prepare(law, runs, weights, constant_ok=bool(fixed))
    problem = bind(
        law, prepared.data, prepared.target, Objective(objective, delta, over), prepared.weights, fixed, bounds
    )
    if problem.n_runs < len(problem.free):
        raise FitError(
            f"{problem.n_runs} runs for {len(problem.free)} free parameters of law {law.name!r}: at least as many runs"
            " as parameters are needed"
        )
    rng = np.random.default_rng(seed)
    theta = _starts(problem, starts, rng)
    prepared.refuse_undefined(law, problem, theta)
    found, reached, total = search(problem, theta, rng, more=not isinstance(starts, Mapping | np.ndarray))
    return _result(law, problem, prepared, found, reached, total, dict(fixed or {}), time.perf_counter() - began)


def default_starts(problem: Problem) -> int:
    """Starts drawn when the caller names no number: more for more parameters."""
    return 64 if len(problem.free) <= 5 else 192


def search(problem: Problem, theta: np.ndarray, rng: np.random.Generator, more: bool = True) -> tuple[Minima, int, int]:
    """From starts to the least minimum.

    Args:
        problem: the fit's problem.
        theta: starting coordinates, [starts, P].
        rng: source of randomness for the shaking and for further starts.
        more: whether to draw further starts while the best minimum was reached by one start only.

    Returns:
        The best minimum (one row), how many starts reached it, how many there were.
    """
    total, reached = 0, 0
    best: Minima | None = None
    for _ in range(_ROUNDS):
        ends, sizes = _distinct(first_descent(problem, theta))
        total += len(theta)
        minima = polish(problem, ends)
        here = _row(minima, minima.best())
        here = _shake(problem, here, rng)
        if best is None or here.value[0] < best.value[0] * (1 - _SAME):
            reached = 0
        if best is None or here.value[0] < best.value[0]:
            best = here
        reached += int(sizes[minima.value <= best.value[0] * (1 + _SAME) + _floor(problem)].sum())
        if reached >= 2 or not more:
            break
        theta = dispersed(problem, len(theta), rng)
    assert best is not None
    if not np.isfinite(best.value[0]):
        raise FitFailed(f"law {problem.law.name!r}: no start gave a finite objective")
    return best, reached, total


def first_descent(problem: Problem, theta: np.ndarray, steps: int = 60) -> Minima:
    """A quick descent from every start; a Huber objective gets a wide delta, so that far runs keep their pull."""
    if problem.objective.robust:
        problem = problem.with_delta(max(problem.objective.delta, _FIRST_DELTA))
    return minimise(problem, theta, steps=steps, tolerance=1e-7)


def polish(problem: Problem, theta: np.ndarray) -> Minima:
    """Follow a few starts to the end under the fit's own objective, with exact second derivatives."""
    if problem.objective.robust:
        theta = minimise(problem, theta, steps=25, tolerance=1e-6).theta
    return minimise(problem, theta, steps=300, tolerance=1e-12, exact=True)


def _starts(problem: Problem, starts: Starts, rng: np.random.Generator) -> np.ndarray:
    if isinstance(starts, Mapping):
        return grid(problem, starts)
    if isinstance(starts, np.ndarray):
        if starts.ndim != 2 or starts.shape[1] != len(problem.free):
            raise FitError(f"starts of shape {starts.shape}: expected [starts, {len(problem.free)}]")
        return np.clip(starts.astype(float), problem.lower, problem.upper)
    count = default_starts(problem) if starts is None else int(starts)
    if count < 1:
        raise FitError(f"starts = {count}: expected at least 1")
    return dispersed(problem, count, rng)


def _distinct(minima: Minima) -> tuple[np.ndarray, np.ndarray]:
    """The best distinct ends of a first descent, and how many starts ended at each."""
    order = np.argsort(minima.value)
    order = order[np.isfinite(minima.value[order])]
    if not len(order):
        raise FitFailed("no start gave a finite objective")
    value = minima.value[order]
    fresh = np.concatenate([[True], value[1:] > value[:-1] * (1 + _SAME)])
    label = np.cumsum(fresh) - 1
    sizes = np.bincount(label)
    return minima.theta[order[fresh]][:_POLISHED], sizes[:_POLISHED]


def _shake(problem: Problem, best: Minima, rng: np.random.Generator) -> Minima:
    """Restart from around the best minimum until nothing better is found.

    Restarts are drawn along the valley: from the inverse of the curvature, at several times its size.
    """
    for _ in range(_ROUNDS):
        spread = _valley(problem, best.theta[0])
        size = np.repeat([1.0, 3.0, 10.0], 4)[:, None]
        theta = best.theta + size * (rng.standard_normal((len(size), len(spread))) @ spread.T)
        theta = np.clip(theta, problem.lower, problem.upper)
        theta[::2] = with_amplitudes(problem, theta[::2], rng)
        again = polish(problem, first_descent(problem, theta, 30).theta)
        better = _row(again, again.best())
        if not better.value[0] < best.value[0] * (1 - 1e-9):
            return better if better.value[0] < best.value[0] else best
        best = better
    return best


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
    return Minima(
        minima.theta[i : i + 1], minima.value[i : i + 1], minima.converged[i : i + 1], minima.steps[i : i + 1]
    )


def _floor(problem: Problem) -> float:
    """An objective that is zero but for rounding."""
    tiny = problem.n_runs * (1e-13) ** 2
    return float(tiny * problem.weights.mean())


def _result(
    law: Law, problem: Problem, prepared: Any, found: Minima, reached: int, total: int, fixed: dict[str, float],
    seconds: float,
) -> FitResult:  # fmt: skip
    if not found.converged[0]:
        raise FitFailed(f"law {law.name!r}: the descent had not converged after {int(found.steps[0])} steps")
    theta = found.theta[0]
    values = problem.natural(theta)
    by_name = {name: float(value) for name, value in zip(problem.free, values, strict=True)} | fixed
    params = {name: by_name[name] for name in law.parameter_names}
    room = 1e-9 * (problem.upper - problem.lower)
    at_bound = [
        name for i, name in enumerate(problem.free)
        if theta[i] <= problem.lower[i] + room[i] or theta[i] >= problem.upper[i] - room[i]
    ]  # fmt: skip
    pinned_down = identifiable(problem, theta)
    open_ones = [name for name, known in pinned_down.items() if not known]
    status: Status = "converged"
    message = "an interior minimum, every parameter pinned down"
    if at_bound:
        status, message = "bound hit", f"{', '.join(at_bound)} ended at a bound"
    elif open_ones:
        status, message = "not identified", f"the runs do not pin down {', '.join(open_ones)}"
    return FitResult(
        law=law,
        objective=problem.objective,
        n_runs=problem.n_runs,
        status=status,
        message=message,
        params=params,
        objective_value=float(found.value[0]),
        quality=quality(law, params, prepared.table),
        starts=total,
        starts_at_optimum=reached,
        seconds=seconds,
        identified={name: pinned_down.get(name, True) and name not in at_bound for name in law.parameter_names},
        columns=prepared.columns,
        derived=prepared.derived,
        fixed=fixed,
        theta=theta,
        problem=problem,
    )
