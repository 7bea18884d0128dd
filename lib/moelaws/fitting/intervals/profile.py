"""Profiles: a parameter held at one value after another, all others refitted. The surest test of what runs can tell."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from moelaws.fitting.engine.problem import Problem
from moelaws.fitting.engine.race import polish
from moelaws.fitting.engine.starts import revived
from moelaws.fitting.intervals.covariance import Spread, covariance
from moelaws.fitting.intervals.ends import End
from moelaws.fitting.intervals.likelihood import interval_ends
from moelaws.fitting.objective import FitError
from moelaws.fitting.result import FitResult
from moelaws.formulas.folding import fold

_CHI2_ONE = {0.68: 0.988946, 0.9: 2.705543, 0.95: 3.841459, 0.99: 6.634897}
"""Quantiles of chi-squared with one degree of freedom."""


@dataclass(frozen=True)
class Profile:
    """A parameter's profile.

    Attributes:
        name: the parameter.
        interval: values at which the rise reaches the level's quantile. Where it does not within the parameter's
            bounds, the end is that bound, or zero or infinity for an amplitude that has none: see ``ends``.
        points: parameter value and rise of the objective, in units in which 3.84 bounds a 95 % interval.
        level: of the interval.
        ends: how the interval ends below and above, see ``Uncertainty.ends``.
    """

    name: str
    interval: tuple[float, float]
    points: pd.DataFrame
    level: float
    ends: tuple[End, End]

    @property
    def bounded(self) -> bool:
        """Whether the runs bound the parameter on both sides."""
        return self.ends == ("found", "found")


def profile(result: FitResult, name: str, level: float = 0.95) -> Profile:
    """Profile-likelihood interval of one parameter.

    The rise of the objective is measured in units of what noise does to the parameter (``covariance``), so that it
    follows the law of chi-squared with one degree of freedom; few runs know their noise less well, for which the unit
    is made larger. It is the interval that ``likelihood`` gives, with the points it was found by.

    Args:
        result: a fit.
        name: a fitted parameter.
        level: 0.68, 0.9, 0.95 or 0.99.

    Returns:
        The profile. Each end has been looked at from several sides; one that was not found is none.

    Raises:
        FitError: a parameter that was not fitted, another level, or runs that leave no degree of freedom.
    """
    problem, spread = _fitted(result, name)
    if level not in _CHI2_ONE:
        raise FitError(f"level = {level}: expected one of {', '.join(map(str, _CHI2_ONE))}")
    i = problem.free.index(name)
    solved, least = result.solved, result.search.objective_value
    found = interval_ends(problem, solved.theta, least, spread, level, [i], solved)
    order = np.array(sorted(found.points[0]))
    back = np.exp if problem.positive[i] else np.asarray
    with np.errstate(over="ignore"):
        interval = (float(back(found.low[0])), float(back(found.high[0])))
        rises = [found.points[0][place] * _CHI2_ONE[level] for place in order]
        table = pd.DataFrame({name: back(order), "rise": rises})
    return Profile(name, interval, table, level, found.kinds[0])


def _fitted(result: FitResult, name: str) -> tuple[Problem, Spread]:
    """The problem of a fit, and what noise does to its minimum.

    Raises:
        FitError: a parameter that was not fitted, or runs that leave no degree of freedom.
    """
    problem = result.solved.problem
    if name not in problem.free:
        raise FitError(f"{name!r} was not fitted; fitted were {', '.join(problem.free)}")
    spread = covariance(problem, result.solved.theta, result.solved.groups)
    if spread.freedom < 1:
        counted = f"{spread.observed} and {len(problem.free)} free parameters"
        raise FitError(f"{counted} leave no degree of freedom: there is no profile to judge {name} by")
    return problem, spread


def rise_unit(result: FitResult, name: str, limit: float) -> float:
    """Rise of the objective at the ends of a 95 % interval, as a share of a limit on it.

    Args:
        result: a fit.
        name: a fitted parameter.
        limit: what the rise at the ends is to be called.

    Returns:
        The unit, in units of the objective.

    Raises:
        FitError: a parameter that was not fitted, or runs that leave no degree of freedom.
    """
    problem, spread = _fitted(result, name)
    i = problem.free.index(name)
    return 0.5 * float(spread.unit[i] * spread.quantile(0.95)[i] ** 2) / limit


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
        unit: of twice the rise of the objective.

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
