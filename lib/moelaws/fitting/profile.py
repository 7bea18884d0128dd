"""Profiles: a parameter held at one value after another, all others refitted. The surest test of what runs can tell."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from moelaws.fitting.covariance import covariance, noise_scale
from moelaws.fitting.descent import polish
from moelaws.fitting.likelihood import rise_limit
from moelaws.fitting.objective import FitError
from moelaws.fitting.problem import Problem
from moelaws.fitting.result import FitResult
from moelaws.fitting.starts import revived
from moelaws.laws.folding import fold
from moelaws.laws.own import floor_of

_CHI2_ONE = {0.68: 0.988946, 0.9: 2.705543, 0.95: 3.841459, 0.99: 6.634897}
"""Quantiles of chi-squared with one degree of freedom."""


@dataclass(frozen=True)
class Profile:
    """A parameter's profile.

    Attributes:
        name: the parameter.
        interval: values at which the rise reaches the level's quantile; an infinite (or, for a positive parameter,
            zero) end where it does not within the parameter's bounds: the runs do not bound it on that side.
        points: parameter value and rise of the objective, in units in which 3.84 bounds a 95 % interval.
        level: of the interval.
    """

    name: str
    interval: tuple[float, float]
    points: pd.DataFrame
    level: float

    @property
    def bounded(self) -> bool:
        """Whether the interval ends on both sides."""
        return bool(np.isfinite(self.interval[1]) and np.isfinite(self.interval[0]) and self.interval[0] != 0)


def profile(result: FitResult, name: str, level: float = 0.95) -> Profile:
    """Profile-likelihood interval of one parameter.

    The rise of the objective is measured in units of the noise that the fit itself shows, so that it follows a
    chi-squared law with one degree of freedom for least squares and, by the usual quasi-likelihood argument, for the
    Huber objective; few runs know their noise less well, for which the unit is made larger (``rise_limit``).

    Args:
        result: a fit.
        name: a fitted parameter.
        level: 0.68, 0.9, 0.95 or 0.99.

    Returns:
        The profile.

    Raises:
        FitError: a parameter that was not fitted, or another level.
    """
    problem = result.problem
    if problem is None or name not in problem.free:
        raise FitError(f"{name!r} was not fitted; fitted were {', '.join(problem.free) if problem else 'none'}")
    if level not in _CHI2_ONE:
        raise FitError(f"level = {level}: expected one of {', '.join(map(str, _CHI2_ONE))}")
    i = problem.free.index(name)
    unit = _unit(problem, result.theta, level)
    matrix, loose = covariance(problem, result.theta)
    width = float(np.sqrt(matrix[i, i])) if not loose[i] and matrix[i, i] > 0 else 0.5
    width = min(max(width, 1e-8), 0.1 * float(problem.upper[i] - problem.lower[i]))
    points: dict[float, float] = {float(result.theta[i]): 0.0}
    # Along the valley the other coordinates follow the held one as their covariance says.
    follow = np.delete(matrix[:, i], i) / matrix[i, i] if width and matrix[i, i] > 0 else np.zeros(len(matrix) - 1)
    walk = partial(_end, problem, result, i, follow=follow, unit=unit, limit=_CHI2_ONE[level], points=points)
    ends = [walk(step=sign * width) for sign in (-1.0, 1.0)]
    order = sorted(points)
    back = np.exp if problem.positive[i] else np.asarray
    with np.errstate(over="ignore"):
        interval = (float(back(ends[0])), float(back(ends[1])))
        table = pd.DataFrame({name: back(np.array(order)), "rise": [points[x] for x in order]})
    return Profile(name, interval, table, level)


def _unit(problem: Problem, theta: np.ndarray, level: float) -> float:
    """The unit of rises, such that the quantile of chi-squared bounds the interval however few runs there are."""
    return noise_scale(problem, theta) * rise_limit(problem, level) / _CHI2_ONE[level]


def _end(
    problem: Problem, result: FitResult, i: int, step: float, follow: np.ndarray, unit: float, limit: float,
    points: dict[float, float],
) -> float:  # fmt: skip
    """Walk out from the minimum until the rise passes the limit, then close in on it."""
    inside, outside = float(result.theta[i]), np.nan
    start = at_least = np.delete(result.theta, i)

    def rise_at(coordinate: float) -> tuple[float, np.ndarray]:
        near = start + follow * (coordinate - inside)
        far = at_least + follow * (coordinate - float(result.theta[i]))
        return held(problem, i, coordinate, np.stack([start, near, far]), result.objective_value, unit)

    for _ in range(40):
        trial = inside + step
        edge = float(problem.lower[i] if step < 0 else problem.upper[i])
        at_edge = (trial <= edge) if step < 0 else (trial >= edge)
        trial = edge if at_edge else trial
        rise, start_there = rise_at(trial)
        points[trial] = rise
        if rise >= limit:
            outside = trial
            break
        if at_edge:
            return -np.inf if step < 0 else np.inf
        inside, start, step = trial, start_there, step * 1.6
    if np.isnan(outside):
        return -np.inf if step < 0 else np.inf
    for _ in range(14):
        # The root of the rise is close to linear: interpolate on it, kept away from the ends.
        low, high = np.sqrt(max(points[inside], 0.0)), np.sqrt(points[outside])
        share = float(np.clip((np.sqrt(limit) - low) / max(high - low, 1e-12), 0.1, 0.9))
        trial = inside + share * (outside - inside)
        rise, start_there = rise_at(trial)
        points[trial] = rise
        if abs(rise - limit) < 1e-3 * limit:
            return trial
        if rise < limit:
            inside, start = trial, start_there
        else:
            outside = trial
    return 0.5 * (inside + outside)


def held(
    problem: Problem, i: int, coordinate: float, start: np.ndarray, least: float, unit: float
) -> tuple[float, np.ndarray]:
    """Refit with one coordinate held.

    Args:
        problem: the fit's problem.
        i: which coordinate.
        coordinate: where to hold it.
        start: coordinates of the others to start from, [P - 1], or several, [starts, P - 1].
        least: the objective at the free minimum.
        unit: see ``noise_scale``.

    Returns:
        The rise of the objective in these units, and the other coordinates, [P - 1].
    """
    smaller = without(problem, i, coordinate)
    starts = np.atleast_2d(start)
    if not len(smaller.free):
        value = float(smaller.value(smaller.residuals(np.empty((1, 0))))[0])
        return 2 * (value - least) / unit, starts[0]
    starts = np.concatenate([starts, revived(smaller, starts)])
    minima = polish(smaller, np.clip(starts, smaller.lower, smaller.upper))
    best = minima.best()
    return 2 * (float(minima.value[best]) - least) / unit, minima.theta[best]


def without(problem: Problem, i: int, coordinate: float) -> Problem:
    """The problem with one coordinate held at a value."""
    value = np.exp(coordinate) if problem.positive[i] else coordinate
    with np.errstate(all="ignore"):
        tree = fold(problem.tree, {problem.free[i]: np.asarray(value)})
    keep = np.arange(len(problem.free)) != i
    return replace(
        problem,
        tree=tree,
        free=tuple(name for name, kept in zip(problem.free, keep, strict=True) if kept),
        positive=problem.positive[keep],
        lower=problem.lower[keep],
        upper=problem.upper[keep],
        programs={},
    )


def floor_sensitivity(result: FitResult, table: Any, steps: int = 9) -> pd.DataFrame:
    """How a forecast depends on the irreducible loss, across the values the runs allow.

    The floor is held at values across its 95 % profile interval (where the runs do not bound it: from zero, and up
    to the least loss seen), everything else is refitted, and the law predicts.

    Args:
        result: a fit of a law with a floor.
        table: rows to forecast; a table or a mapping of columns.
        steps: values of the floor.

    Returns:
        One row a value: ``floor``, ``rise`` (3.84 bounds the 95 % interval), and ``forecast_0``, ... for the rows.

    Raises:
        FitError: a law without a floor, or a floor that was fixed.
    """
    name = floor_of(result.law)
    if name is None or result.problem is None:
        raise FitError(f"law {result.law.name!r} has no irreducible loss")
    problem = result.problem
    if name not in problem.free:
        raise FitError(f"the floor {name!r} was not fitted")
    ends = profile(result, name).interval
    observed = np.exp(problem.observed) if problem.objective.on_log else problem.observed
    low = ends[0] if ends[0] > 0 else 1e-3 * float(observed.min())
    high = min(ends[1], 0.999 * float(observed.min()))
    i = problem.free.index(name)
    unit = _unit(problem, result.theta, 0.95)
    rows = []
    start = np.delete(result.theta, i)
    for floor in np.linspace(low, high, steps):
        rise, others = held(problem, i, float(np.log(floor)), start, result.objective_value, unit)
        names = [free for free in problem.free if free != name]
        values = without(problem, i, float(np.log(floor))).natural(others)
        params = result.params | dict(zip(names, map(float, values), strict=True)) | {name: float(floor)}
        forecast = np.atleast_1d(result.law.predict(params, table))
        rows.append({"floor": floor, "rise": rise} | {f"forecast_{k}": value for k, value in enumerate(forecast)})
    return pd.DataFrame(rows)
