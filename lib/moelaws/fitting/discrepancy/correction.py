"""A fitted law with its error: what is expected beside the law, how far off that may be, and draws of both."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from moelaws.fitting.discrepancy.axes import axes_of, coordinates
from moelaws.fitting.discrepancy.gaussian_process import MOST_POINTS, GaussianProcess, by_evidence
from moelaws.fitting.engine.problem import Problem
from moelaws.fitting.objective import FitError
from moelaws.laws.forms import Law
from moelaws.runs.seeds import between_seeds

_FEWEST_REPLICATES = 4
"""Degrees of freedom from which on replicates say how large the noise of a run is."""
_LEAST_NOISE = 3e-4
"""Of ln L: replicates that agree better are one run written down twice."""
_REACH = 3.0
"""What the runs leave open of a coordinate is taken to lie within this (a factor of 20 of an amplitude)."""
_STEPS, _SMALL = 12, 1e-6
_WAVES = 192
"""Waves that a drawn error is made of."""


@dataclass(frozen=True, eq=False)
class Correction:
    """What the runs of a fit say beside its law: a Gaussian process of its residuals of ln L.

    The coefficients are found again with the process beside them (generalised least squares): what is smooth need no
    longer be followed by the law.

    Attributes:
        axes: names of the process's axes.
        process: the process, at the runs.
        residuals: ln L less the law's, [n].
        slopes: of ln L by the coordinates of the coefficients, [P, n].
        theta: coordinates of the coefficients, [P].
        problem: the law bound to the runs used.
    """

    axes: tuple[str, ...]
    process: GaussianProcess
    residuals: np.ndarray
    slopes: np.ndarray
    theta: np.ndarray
    problem: Problem

    @classmethod
    def of_fit(cls, problem: Problem, theta: np.ndarray, table: pd.DataFrame) -> "Correction":
        """The correction that the runs of a fit give it.

        Args:
            problem: the fit's problem.
            theta: its minimum, [P].
            table: its runs, in order.

        Raises:
            FitError: runs that all lie at one place, or losses that have no logarithm.
        """
        used = np.flatnonzero(problem.weights[0] > 0)
        if len(used) > MOST_POINTS:
            order = np.argsort(problem.observed[0, used], kind="stable")
            used = np.sort(used[order[np.linspace(0, len(used) - 1, MOST_POINTS).astype(int)]])
        problem, table = problem.only(used), table.iloc[used]
        axes = axes_of(table)
        if not axes:
            raise FitError(
                "the runs do not differ in FLOPs, tokens, size or experts, along which an error could change"
            )
        residuals, slopes = log_residuals(problem, theta)
        points = coordinates(table, axes)
        place = np.column_stack([points, problem.point])
        design = np.unique(place, axis=0, return_inverse=True)[1].reshape(-1)
        process = by_evidence(points, residuals, slopes, _noise(design, residuals))
        return cls(axes, process, *_refitted(problem, theta, process), problem)

    @property
    def params(self) -> dict[str, float]:
        """The coefficients that were fitted, beside the process."""
        return dict(zip(self.problem.free, map(float, self.problem.natural(self.theta)), strict=True))

    def at(self, table: Any) -> np.ndarray:
        """Where runs stand on the process's axes: see ``coordinates``."""
        return coordinates(table, self.axes)

    def shift(self, at: np.ndarray) -> np.ndarray:
        """Expected ln L less the law's at points [m, axes]: [m]."""
        return self.process.shares(at) @ self.residuals

    def variance(self, at: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """Of the expected ln L, law and process, at points [m, axes] with the law's slopes [P, m]: [m]."""
        shares = self.process.shares(at)
        off = slopes - self.slopes @ shares.T
        return self.process.left_variance(at, shares) + np.einsum("pm,pq,qm->m", off, self._spread, off)

    def covariance(self, at: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """The same of all points together, [m, m]."""
        shares = self.process.shares(at)
        off = slopes - self.slopes @ shares.T
        return self.process.left(at, shares) + off.T @ self._spread @ off

    def slopes_at(self, law: Law, params: Mapping[str, float], table: Any) -> np.ndarray:
        """The law's slopes of ln L by its coordinates at new runs, [P, m]; ``law`` reads the columns of ``table``."""
        gradient, loss = law.gradient(params, table), np.asarray(law.predict(params, table), float)
        positive = dict(zip(self.problem.free, self.problem.positive, strict=True))
        return np.array([gradient[name] * (params[name] if log else 1.0) / loss for name, log in positive.items()])

    @property
    def _spread(self) -> np.ndarray:
        """Covariance of the coordinates, [P, P]."""
        return np.linalg.inv(self.slopes @ self.process.inverse @ self.slopes.T + np.eye(len(self.theta)) / _REACH**2)

    def paths(self, count: int, seed: int = 0) -> "Paths":
        """Draws of the coefficients, and of the error that goes with each, as functions of where a run stands.

        Args:
            count: how many.
            seed: of the draws.
        """
        rng, process, points = np.random.default_rng(seed), self.process, self.process.points
        waves = rng.normal(size=(points.shape[1], _WAVES)) / process.length
        phases = rng.uniform(0, 2 * np.pi, _WAVES)
        heights = np.zeros((1 + count, _WAVES))
        heights[1:] = rng.normal(size=(count, _WAVES)) * process.sd * np.sqrt(2 / _WAVES)
        seen = heights[1:] @ np.cos(points @ waves + phases).T + process.noise * rng.normal(size=(count, len(points)))
        size, vectors = np.linalg.eigh(self._spread)
        moved = rng.normal(size=(count, len(self.theta))) @ (vectors * np.sqrt(np.maximum(size, 0.0))).T
        theta = np.clip(self.theta + moved, self.problem.lower, self.problem.upper)
        # What each draw of the coefficients leaves of the losses, less what its own error and noise would have made.
        left = np.concatenate([self.residuals[None], -_logs(self.problem, theta) - seen])
        where, code = np.unique(points, axis=0, return_inverse=True)
        weights = np.zeros((1 + count, len(where)))
        np.add.at(weights.T, code.reshape(-1), (left @ process.inverse).T)
        names, natural = self.problem.free, self.problem.natural(theta)
        params = {name: natural[:, i] for i, name in enumerate(names)}
        return Paths(self.axes, params, waves, phases, heights, where, weights, process)


@dataclass(frozen=True, eq=False)
class Paths:
    """The expected error of a law, and after it draws of law and error together.

    Attributes:
        axes: names of the axes.
        params: fitted coefficient -> its draws, [B].
        waves, phases, heights: the drawn errors before the runs are known: [axes, M], [M], [1 + B, M].
        points: where runs stand, [n, axes].
        weights: what these add, [1 + B, n].
        process: the process.
    """

    axes: tuple[str, ...]
    params: Mapping[str, np.ndarray]
    waves: np.ndarray
    phases: np.ndarray
    heights: np.ndarray
    points: np.ndarray
    weights: np.ndarray
    process: GaussianProcess

    @property
    def first(self) -> "Paths":
        """What is expected alone, without the draws."""
        return replace(self, heights=self.heights[:1], weights=self.weights[:1])

    def shift(self, table: Mapping[str, Any]) -> np.ndarray:
        """What is to be added to the law's ln L: the expected, and each draw in its own row.

        Args:
            table: columns of runs that broadcast to [1 + B, m].

        Returns:
            [1 + B, m]; nan where a column is.
        """
        at = coordinates(table, self.axes)
        known = np.isfinite(at).all(axis=-1, keepdims=True)
        at = np.where(known, at, 0.0)
        at = at.reshape((1,) * (3 - at.ndim) + at.shape)
        if len(at) == 1:  # the same places for all draws
            found = self.weights @ self.process.covariance(at[0], self.points).T
            if self.heights.any():
                found += self.heights @ np.cos(at[0] @ self.waves + self.phases).T
            return np.where(known[..., 0], found, np.nan)
        at = np.broadcast_to(at, (len(self.heights), *at.shape[-2:]))
        found = np.einsum("bgn,bn->bg", self.process.covariance(at, self.points), self.weights)
        if self.heights.any():
            found += np.einsum("bgm,bm->bg", np.cos(at @ self.waves + self.phases), self.heights)
        return np.where(known[..., 0], found, np.nan)


def _refitted(
    problem: Problem, theta: np.ndarray, process: GaussianProcess
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residuals, slopes and coordinates of the fit beside its process: Newton's steps, as far as each is a gain."""

    def height(at: np.ndarray, left: np.ndarray) -> float:
        return float(left @ process.inverse @ left + np.sum((at - theta) ** 2) / _REACH**2)

    at, (left, slopes) = theta, log_residuals(problem, theta)
    for _ in range(_STEPS):
        curvature = slopes @ process.inverse @ slopes.T + np.eye(len(at)) / _REACH**2
        step = np.linalg.solve(curvature, slopes @ process.inverse @ left - (at - theta) / _REACH**2)
        before = height(at, left)
        for share in (1.0, 0.5, 0.25, 0.1):
            other = np.clip(at + share * step, problem.lower, problem.upper)
            residuals = -_logs(problem, other[None])[0]
            if height(other, residuals) < before:
                break
        else:
            break
        at, (left, slopes) = other, log_residuals(problem, other)
        if before - height(at, left) < _SMALL * before:
            break
    return left, slopes, at


def log_residuals(problem: Problem, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Observed less predicted in ln L, [n], and the slopes of the prediction by the coordinates, [P, n].

    Raises:
        FitError: a loss or a prediction that is not above zero.
    """
    residuals, slopes = (each[0] for each in problem.linearise(theta[None]))
    if problem.objective.on_log:
        return -residuals, slopes
    observed = problem.observed[0]
    predicted = observed + residuals
    if not (np.minimum(predicted, observed) > 0).all():
        raise FitError("an error is sought in ln L, and some losses or predictions are not above zero")
    return np.log(observed / predicted), slopes / predicted


def _logs(problem: Problem, theta: np.ndarray) -> np.ndarray:
    """Predicted less observed in ln L, for coordinates [draws, P]: [draws, n]; 0 where a draw has no value."""
    residuals = problem.residuals(theta)
    if not problem.objective.on_log:
        observed = problem.observed[0]
        with np.errstate(all="ignore"):
            residuals = np.log((observed + residuals) / observed)
    return np.nan_to_num(residuals, posinf=0.0, neginf=0.0)


def _noise(design: np.ndarray, residuals: np.ndarray) -> float | None:
    """Standard deviation of ln L between replicates of a design point; ``None`` where too few tell."""
    if len(design) - int(design.max()) - 1 < _FEWEST_REPLICATES:
        return None
    return max(float(np.sqrt(between_seeds(residuals, design))), _LEAST_NOISE)
