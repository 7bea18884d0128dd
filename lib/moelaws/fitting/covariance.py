"""How firmly runs hold a minimum: the covariance of the coordinates from the curvature, and what it leaves open."""

import numpy as np

from moelaws.fitting.problem import Problem
from moelaws.laws.own import floor_of

_OPEN = 1e-13
"""A direction whose curvature is below this share of the largest, in units of each parameter's effect, is open."""


_FINEST = 1e-9
"""Losses are never known better than this, even in a table without noise: what shows only below it is open."""


def covariance(problem: Problem, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Large-sample covariance of fitted coordinates (a sandwich for a Huber objective).

    Args:
        problem: the fit's problem.
        theta: the minimum, [P].

    Returns:
        The covariance, [P, P], of the directions that the runs hold, and for every coordinate whether an open
        direction moves it, [P].
    """
    residuals, slopes = problem.linearise(theta[None])
    r, slope, weights = residuals[0], slopes[0], problem.weights[0]
    curvature = (slope * weights) @ slope.T
    unit = 1.0 / np.sqrt(np.maximum(np.diag(curvature), 1e-300))
    values, vectors = np.linalg.eigh(curvature * unit[:, None] * unit)
    held = values > _OPEN * values.max()
    root = unit[:, None] * vectors[:, held] / np.sqrt(values[held])
    loose = (np.abs(vectors[:, ~held]) > 1e-3).any(axis=1) | (np.diag(curvature) <= 0)
    return spread(problem, r) * (root @ root.T), loose


def spread(problem: Problem, residuals: np.ndarray) -> float:
    """Variance of one residual as it counts for the coordinates' covariance: noise over squared mean curvature.

    Args:
        problem: the fit's problem.
        residuals: at the minimum, [runs].

    Returns:
        The variance, per unit of weight.
    """
    weights, degrees = problem.weights[0], max(problem.n_runs - len(problem.free), 1)
    if problem.objective.robust:
        pulled = np.minimum(np.abs(residuals), problem.objective.delta)
        noise = float(np.sum(weights * pulled**2)) / degrees / bend(problem, residuals) ** 2
    else:
        noise = float(np.sum(weights * residuals**2)) / degrees
    return max(noise, _FINEST**2 * float(np.mean(weights)))


def bend(problem: Problem, residuals: np.ndarray) -> float:
    """Mean curvature of a Huber term at the residuals; it bends only within delta, so a wider window is averaged."""
    if not problem.objective.robust:
        return 1.0
    delta, size = problem.objective.delta, np.abs(residuals)
    window = max(delta, 0.5 * float(np.median(size)))
    # A robust fit passes through about as many runs as it has parameters; their residuals of zero tell nothing.
    fitted = len(problem.free)
    inside = max(int(np.sum(size <= window)) - fitted, 1) / max(problem.n_runs - fitted, 1)
    return max(inside * delta / window, 1.0 / problem.n_runs)


def noise_scale(problem: Problem, theta: np.ndarray) -> float:
    """The unit in which twice a rise of the objective follows a chi-squared law.

    For least squares, with terms r^2, it is twice the residual variance; for a Huber objective the variance of its
    slope over its mean curvature.

    Args:
        problem: the fit's problem.
        theta: the minimum, [P].

    Returns:
        The unit, in units of the objective.
    """
    residuals = problem.residuals(theta[None])[0]
    curvature = bend(problem, residuals) if problem.objective.robust else 2.0
    return spread(problem, residuals) * curvature


def identifiable(problem: Problem, theta: np.ndarray) -> dict[str, bool]:
    """Which free parameters the runs pin down: those whose 95 % interval is bounded within sensible limits.

    Sensible limits are ``sensible_width``: a factor of four for the floor, of a million for another amplitude or
    scale, three times the law's range of starts for an exponent.

    Args:
        problem: the fit's problem.
        theta: the minimum, [P].

    Returns:
        Parameter -> whether it is pinned down.
    """
    matrix, loose = covariance(problem, theta)
    error = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    width = sensible_width(problem)
    return {
        name: bool(not loose[i] and np.isfinite(error[i]) and 2 * 1.96 * error[i] < width[i])
        for i, name in enumerate(problem.free)
    }


def sensible_width(problem: Problem) -> np.ndarray:
    """The widest interval of a pinned-down parameter, in coordinates, [P].

    The floor has a stricter limit, a factor of four: where zero is within its reach, the terms beside it end up where
    the boundary puts them.
    """
    by_name = {p.name: p for p in problem.law.parameters}
    floor = floor_of(problem.law)
    widths = []
    for name, positive in zip(problem.free, problem.positive, strict=True):
        low, high = by_name[name].start
        widths.append(np.log(4.0) if name == floor else np.log(1e6) if positive else 3.0 * (high - low))
    return np.array(widths)
