"""Intervals of predictions: where a fitted law lies at new runs, and where the loss of a new run will."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from moelaws.fitting.discrepancy.admission import Use, used
from moelaws.fitting.discrepancy.correction import Correction
from moelaws.fitting.engine.linear import eigen
from moelaws.fitting.intervals.covariance import covariance
from moelaws.fitting.intervals.sandwich import OPEN
from moelaws.fitting.intervals.uncertainty import bootstrap, likelihood
from moelaws.fitting.objective import FitError
from moelaws.fitting.result import FitResult
from moelaws.fitting.result_parts import Band, Solution
from moelaws.fitting.table import complete
from moelaws.laws.forms import Law

_ENDLESS = 1e3
"""Standard error along a direction that the runs leave open, in units of its effect on their losses: no prediction that
depends on it has an end."""
_LARGEST = 1e6
"""Of what an end may be away from its prediction, in units of ln L or L: beyond, it is infinite."""


@dataclass(frozen=True)
class Joint:
    """What noise does to all parameters together, and how large it is in one run.

    Attributes:
        names: the fitted parameters.
        matrix: covariance of their coordinates (the log of a positive parameter, any other as it is), [P, P].
        degrees: degrees of freedom it is known with, the least of all parameters; 0 where the runs leave none.
        noise: standard deviation of one run's residual, of ln L (of L under the objective ``lsq``).
        noise_degrees: degrees of freedom that it is known with.
    """

    names: tuple[str, ...]
    matrix: np.ndarray
    degrees: float
    noise: float
    noise_degrees: float


def joint_of(result: FitResult) -> Joint | None:
    """The covariance and noise of a fit; ``None`` for one from a file that tells neither."""
    if result.solution is None:
        return result.uncertainty.joint
    return _joint(result.solution)


def _joint(solved: Solution) -> Joint:
    problem, theta = solved.problem, solved.theta
    spread = covariance(problem, theta, solved.groups)
    residuals, slopes = problem.linearise(theta[None])
    weights = problem.weights[0]
    used = weights > 0
    matrix = spread.matrix + _ENDLESS**2 * _open(slopes[0][:, used], weights[used])
    freedom = float(used.sum() - len(theta))
    noise = float(np.sqrt(np.sum(residuals[0][used] ** 2) / freedom)) if freedom > 0 else np.inf
    return Joint(problem.free, matrix, float(spread.degrees.min()), noise, max(freedom, 0.0))


def _open(slopes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Directions that the runs leave open, as a covariance of one where a held direction moves the losses by one."""
    curvature = (slopes * weights) @ slopes.T / weights.sum()
    size = np.diag(curvature)
    unit = 1.0 / np.sqrt(np.where(size > 1e-280, size, 1.0))
    values, vectors = eigen(curvature * unit[:, None] * unit)
    away = unit[:, None] * vectors[:, values <= OPEN * values.max()]
    return away @ away.T


def predict(result: FitResult, new: Any, interval: Band | None, level: float, discrepancy: Use = "none") -> Any:
    """See ``FitResult.predict``."""
    if interval not in (None, "mean", "run"):
        raise FitError(f"interval = {interval!r}: expected 'mean', 'run' or None")
    if not 0 < level < 1:
        raise FitError(f"level = {level}: expected a number between 0 and 1")
    correction = used(result, discrepancy)
    if interval is None and correction is None and not isinstance(new, pd.DataFrame):
        return _as_fitted(result, new).predict(result.params, new)
    shape = () if isinstance(new, pd.DataFrame) else np.broadcast_shapes(*(np.shape(v) for v in new.values()))
    table = (
        new
        if isinstance(new, pd.DataFrame)
        else pd.DataFrame({k: np.broadcast_to(v, shape).ravel() for k, v in new.items()})
    )
    law = _as_fitted(result, table)
    table, _ = complete(law, table)
    loss = np.asarray(law.predict(result.params, table), float)
    if correction is not None:
        found = _corrected(result, correction, law, table, interval, level)
        return found if interval is not None or isinstance(new, pd.DataFrame) else found.reshape(shape)
    if interval is None:
        return loss
    below, above = _mean(result, law, table, loss, level)
    if interval == "run":
        noise = _noise(result, level)
        below, above = np.hypot(below, noise), np.hypot(above, noise)
    below, above = (np.where(away < _LARGEST, away, np.inf) for away in (below, above))
    with np.errstate(over="ignore"):
        ends = (
            (loss * np.exp(-below), loss * np.exp(above)) if result.objective.on_log else (loss - below, loss + above)
        )
    return pd.DataFrame({law.target: loss, "low": ends[0], "high": ends[1]}, index=table.index)


def _corrected(
    result: FitResult, correction: Correction, law: Law, table: pd.DataFrame, interval: Band | None, level: float
) -> Any:
    """The prediction with the process beside the law; its intervals hold the process's own uncertainty."""
    at, params = correction.at(table), {**result.params, **correction.params}
    expected = np.asarray(law.predict(params, table), float) * np.exp(correction.shift(at))
    if interval is None:
        return expected
    slopes = correction.slopes_at(law, params, table)
    variance = correction.variance(at, slopes) + (correction.process.noise**2 if interval == "run" else 0.0)
    away = _quantile(float(result.n_runs - len(correction.theta)), level) * np.sqrt(variance)
    with np.errstate(over="ignore"):
        ends = {"low": expected * np.exp(-away), "high": expected * np.exp(away)}
    return pd.DataFrame({result.law.target: expected} | ends, index=table.index)


def draws(result: FitResult, count: int, seed: int) -> dict[str, np.ndarray]:
    """See ``FitResult.draws``."""
    if result.uncertainty.replicates:
        return {name: np.asarray(values, float) for name, values in result.uncertainty.replicates.items()}
    joint = joint_of(result)
    sure = all(result.identified.get(name, False) for name in result.params)
    if joint is not None and sure and joint.degrees > 0:
        return _from_covariance(result, joint, np.random.default_rng(seed), count)
    if result.solution is None:
        return {}
    return bootstrap(result, count, seed).params


def intervals_of(result: FitResult, level: float) -> FitResult:
    """The result with intervals of a level: likelihood ones, or for a fit from a file what that tells.

    Raises:
        FitError: a level that is none, or a file that tells nothing.
    """
    if not 0 < level < 1:
        raise FitError(f"level = {level}: expected a number between 0 and 1")
    if result.solution is not None:
        return likelihood(result, level)
    joint, replicates = joint_of(result), result.uncertainty.replicates
    names = [name for name in result.params if name not in result.origin.fixed]
    if replicates:
        ends = {name: np.quantile(replicates[name], [(1 - level) / 2, (1 + level) / 2]) for name in names}
        method = f"percentiles of {len(replicates[names[0]])} refits, {100 * level:g} %"
    elif joint is not None:
        reach = _quantile(joint.degrees, level) * np.sqrt(np.maximum(np.diag(joint.matrix), 0.0))
        reach = np.where(reach < _LARGEST, reach, np.inf)
        sides = np.array([-1.0, 1.0])
        positive = _positive(result.law)
        with np.errstate(all="ignore"):
            ends = {
                name: result.params[name] * np.exp(away * sides)
                if positive[name]
                else result.params[name] + away * sides
                for name, away in zip(joint.names, reach, strict=True)
            }
        method = f"standard errors, {100 * level:g} %, t with {joint.degrees:.3g} degrees of freedom"
    else:
        raise FitError(
            f"law {result.law.name!r}: the file of this fit holds neither refits nor a covariance, so that there are no"
            f" intervals of {100 * level:g} %"
        )
    intervals = {name: (float(low), float(high)) for name, (low, high) in ends.items()}
    sure = replace(result.uncertainty, method=method, level=level, ends={})
    return replace(result, intervals=intervals, uncertainty=sure)


def _from_covariance(result: FitResult, joint: Joint, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    error = np.sqrt(np.maximum(np.diag(joint.matrix), 1e-300))
    values, vectors = eigen(joint.matrix / error[:, None] / error)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    tails = np.sqrt(joint.degrees / rng.chisquare(joint.degrees, size=(count, 1)))
    moved = tails * (rng.normal(size=(count, len(error))) @ root.T) * error
    drawn = {name: np.full(count, value) for name, value in result.params.items()}
    for i, name in enumerate(joint.names):
        positive = _positive(result.law)[name]
        with np.errstate(over="ignore"):
            drawn[name] = drawn[name] * np.exp(moved[:, i]) if positive else drawn[name] + moved[:, i]
    return drawn


def _mean(
    result: FitResult, law: Law, table: pd.DataFrame, loss: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """How far below and above its value the law may lie, in ln L (or L), [rows] each."""
    joint, replicates = joint_of(result), result.uncertainty.replicates
    if replicates:
        columns = {name: np.asarray(values, float)[:, None] for name, values in replicates.items()}
        refits = np.asarray(law.predict(columns, table), float)
        with np.errstate(all="ignore"):
            moved = np.log(refits / loss) if result.objective.on_log else refits - loss
        low, high = np.nanquantile(moved, [(1 - level) / 2, (1 + level) / 2], axis=0)
        wider = _wider(result, joint, level)
        return wider * np.maximum(-low, 0.0), wider * np.maximum(high, 0.0)
    if joint is None:
        raise FitError(
            f"law {law.name!r}: the file of this fit holds neither refits nor a covariance, so its predictions have no"
            " intervals; 'moelaws fit --json' of this version writes one"
        )
    with np.errstate(all="ignore"):
        gradient, positive = law.gradient(result.params, table), _positive(law)
        slopes = np.array([gradient[name] * (result.params[name] if positive[name] else 1.0) for name in joint.names])
        slopes = slopes / loss if result.objective.on_log else slopes
        error = np.sqrt(np.maximum(np.einsum("pn,pq,qn->n", slopes, joint.matrix, slopes), 0.0))
        away = _quantile(joint.degrees, level) * error
    away = np.where(np.isnan(away), np.inf, away)
    return away, away


def _wider(result: FitResult, joint: Joint | None, level: float) -> float:
    """Refits to redrawn runs scatter as the residuals do, which a fit of P parameters has made small: by how much."""
    n, p = result.n_runs, len(result.params) - len(result.origin.fixed)
    if n <= p:
        return np.inf
    degrees = n - p if joint is None or joint.degrees <= 0 else joint.degrees
    return float(np.sqrt(n / (n - p)) * _quantile(degrees, level) / _quantile(1e9, level))


def _noise(result: FitResult, level: float) -> float:
    """How far the noise of one run reaches, in ln L (or L)."""
    joint = joint_of(result)
    if joint is not None:
        return joint.noise * _quantile(joint.noise_degrees, level)
    freedom = result.n_runs - len(result.params) + len(result.origin.fixed)
    size = result.quality.rmse_log if result.objective.on_log else np.sqrt(result.quality.mse)
    return float(size * np.sqrt(result.n_runs / freedom) * _quantile(freedom, level)) if freedom > 0 else np.inf


def _quantile(degrees: float, level: float) -> float:
    from scipy.special import stdtrit  # not at import time: most of what imports this has no use for scipy

    return float(stdtrit(degrees, 0.5 + level / 2)) if degrees > 0 else np.inf


def _positive(law: Law) -> Mapping[str, bool]:
    return {each.name: each.positive for each in law.parameters}


def _as_fitted(result: FitResult, table: Any) -> Law:
    """The law, reading the columns that it was fitted to where the table has them: a law of N or N_a means one."""
    columns = {letter: name for letter, name in result.origin.columns.items() if name in table}
    read = tuple(
        replace(each, columns=(columns[each.symbol],)) if each.symbol in columns else each
        for each in result.law.variables
    )
    return result.law if read == result.law.variables else replace(result.law, variables=read)
