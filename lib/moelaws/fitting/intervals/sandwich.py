"""The sandwich of a fit: its curvature, and what each design point, group and shared shift does to it."""

from dataclasses import dataclass, replace

import numpy as np

from moelaws.fitting.engine.linear import eigen, solve_all
from moelaws.fitting.engine.problem import Problem

OPEN = 1e-13
"""A direction whose curvature is below this share of the largest, in units of each parameter's effect, is open."""
_LEVER = 0.5
"""A design point with more leverage than this hides its own noise: it is given the pooled one as well."""
_WHOLE = 0.98
"""A design point may hold a parameter alone, but not wholly: its residual would be divided by zero."""
_BLOCK = 5_000
"""Design points whose matrices are worked on at once."""
_KERNEL = 0.75
"""Width of the kernel that finds the density of residuals at zero, in sd x n^-1/5; 1.06 would suit the density of a
sample, and the residuals of a robust fit crowd at zero."""
_SD_PER_MAD = 1.4826


@dataclass(frozen=True)
class Linear:
    """The fit, made linear at its minimum.

    Attributes:
        slopes: of the residuals, by coordinates, [P, runs].
        weights: of the runs, [runs].
        scores: slopes of the summands by the residuals, [runs]; half of them for squares, whose terms are r^2.
        bends: curvatures of the summands, halved alike; of Huber terms, as the noise sees them.
        bread: inverse curvature of the objective in the directions held, [P, P].
        plain: inverse of the weighted squares of the slopes: the bread, were all terms squares, [P, P].
        mean_bend: weighted mean of the bends.
    """

    slopes: np.ndarray
    weights: np.ndarray
    scores: np.ndarray
    bends: np.ndarray
    bread: np.ndarray
    plain: np.ndarray
    mean_bend: float

    def moved(self, problem: Problem, residuals: np.ndarray) -> "Linear":
        """The same with other residuals, [runs]."""
        return replace(self, scores=_scores(problem, residuals, self.weights))


def linear(problem: Problem, r: np.ndarray, s: np.ndarray, w: np.ndarray) -> tuple[Linear, np.ndarray]:
    """The fit, made linear at its minimum, and whether an open direction moves a coordinate, [P].

    Args:
        problem: the fit's problem.
        r: residuals at the minimum, [runs].
        s: their slopes, [P, runs].
        w: weights, positive, [runs].
    """
    objective = problem.objective
    half = 1.0 if objective.robust else 0.5
    bends = _bends(problem, r) * w if objective.robust else half * objective.curvatures(r, w)
    plain, loose = _inverse((s * w) @ s.T)
    bread, _ = _inverse((s * bends) @ s.T)
    return Linear(
        s, w, _scores(problem, r, w), bends, bread, plain, _mean_bend(r, bends, w, len(s), objective.robust)
    ), loose


def _scores(problem: Problem, r: np.ndarray, w: np.ndarray) -> np.ndarray:
    return (1.0 if problem.objective.robust else 0.5) * problem.objective.slopes(r, w)


def _mean_bend(r: np.ndarray, bends: np.ndarray, w: np.ndarray, p: int, robust: bool) -> float:
    if not robust or len(r) <= p:
        return float(bends.sum() / w.sum())
    # A robust fit passes through about as many runs as it has parameters; their residuals of zero tell nothing.
    rest = np.argsort(np.abs(r))[p:]
    return max(float(bends[rest].sum() / w[rest].sum()), 1e-12)


def _bends(problem: Problem, r: np.ndarray) -> np.ndarray:
    """Expected curvature of a Huber term where each residual is, were it moved by a share of the noise, [runs]."""
    from scipy.special import ndtr

    objective = problem.objective
    rest = np.sort(np.abs(r))[min(len(problem.free), len(r) - 1) :]
    width = max(_KERNEL * _SD_PER_MAD * float(np.median(rest)) * len(r) ** -0.2, 1e-3 * objective.delta)
    above, zero, below = (ndtr((edge - r) / width) for edge in (objective.delta, 0.0, -objective.delta))
    return objective.over * (above - zero) + (zero - below)


def _inverse(curvature: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse in the directions that are held, [P, P], and which coordinates an open direction moves, [P]."""
    unit = 1.0 / np.sqrt(np.maximum(np.diag(curvature), 1e-300))
    values, vectors = eigen(curvature * unit[:, None] * unit)
    held = values > OPEN * values.max()
    root = unit[:, None] * vectors[:, held] / np.sqrt(values[held])
    loose = (np.abs(vectors[:, ~held]) > 1e-3).any(axis=1) | (np.diag(curvature) <= 0)
    return root @ root.T, loose


def _summed(values: np.ndarray, code: np.ndarray, n: int) -> np.ndarray:
    """Sums of the rows of an array over the groups of a code, [n, ...]."""
    total = np.zeros((n, *values.shape[1:]))
    np.add.at(total, code, values)
    return total


def pooled_variance(fit: Linear, design: np.ndarray, n_designs: int) -> float:
    """Variance of one run's residual per unit of weight, were it equal: the larger of within and between designs."""
    n, p = len(design), len(fit.slopes)
    square = float(np.sum(fit.scores**2 / fit.weights)) / max(n - p, 1)
    if p < n_designs < n:
        sums, weights = _summed(fit.scores, design, n_designs), _summed(fit.weights, design, n_designs)
        square = max(square, float(np.sum(sums**2 / weights)) / (n_designs - p))
    return square / fit.mean_bend**2


def sandwich(fit: Linear, group: np.ndarray, n_groups: int, pooled: float) -> np.ndarray:
    """Covariance from each group's own residuals, as the jackknife over groups would have it, [P, P]."""
    p, meat = len(fit.slopes), np.zeros((len(fit.slopes), len(fit.slopes)))
    order = np.argsort(group, kind="stable")
    bounds = np.searchsorted(group[order], np.arange(n_groups + 1))
    for first in range(0, n_groups, _BLOCK):
        last = min(first + _BLOCK, n_groups)
        runs = order[bounds[first] : bounds[last]]
        slopes, weights, starts = fit.slopes[:, runs].T, fit.weights[runs], bounds[first:last] - bounds[first]
        score = np.add.reduceat(slopes * fit.scores[runs][:, None], starts)
        weight = np.add.reduceat(slopes[:, :, None] * slopes[:, None, :] * weights[:, None, None], starts)
        lever = weight @ fit.plain
        moved = solve_all(np.eye(p) - _WHOLE * lever, score)
        meat += moved.T @ moved
        strong = np.trace(lever, axis1=1, axis2=2) > _LEVER
        meat += pooled * fit.mean_bend**2 * weight[strong].sum(axis=0)
    return fit.bread @ meat @ fit.bread


@dataclass(frozen=True)
class Shift:
    """A shift of ln L (or L) that the runs of one group share.

    Attributes:
        matrix: covariance of the coordinates from it, [P, P].
        degrees: degrees of freedom that its variance is known with.
        each: the shift of each run's group as far as the residuals tell, [runs].
    """

    matrix: np.ndarray
    degrees: float
    each: np.ndarray


def shared_shift(fit: Linear, design: np.ndarray, shared: np.ndarray) -> Shift:
    """The shift that the runs of one group share, by the moments of the groups' summed residuals.

    Args:
        fit: the fit.
        design: code of each run's design point, [runs].
        shared: code of each run's group, [runs].

    Returns:
        The shift; without variance where the groups differ no more than the design points' own noise makes them.
    """
    n_shared = int(shared.max()) + 1
    member = np.eye(n_shared)[shared]
    weighted = member * fit.weights[:, None]
    pull = fit.slopes @ weighted
    # What is left of the groups' sums when the fit has taken its part, and how a shift shows in them.
    left = weighted - (fit.slopes * fit.weights).T @ (fit.plain @ pull)
    shows = left.T @ member
    residual = fit.scores / fit.weights / fit.mean_bend
    between = float(np.sum((left.T @ residual) ** 2))
    within = float(np.sum(_summed(left * residual[:, None], design, int(design.max()) + 1) ** 2))
    cell = np.unique(design * n_shared + shared, return_inverse=True)[1].reshape(-1)
    gain = float(np.sum(shows**2) - np.sum(_summed(left, cell, int(cell.max()) + 1) ** 2))
    variance = max(between - within, 0.0) / gain if gain > 0 else 0.0
    power = np.linalg.eigvalsh(0.5 * (shows + shows.T)) ** 2
    degrees = float(power.sum() ** 2 / np.sum(power**2)) if power.sum() > 0 else 1.0
    weight = weighted.sum(axis=0)
    noise = max(float(np.sum(fit.weights * residual**2)) / len(residual) - variance, 0.0)
    mean = weighted.T @ residual / weight
    share = variance / (variance + noise / weight) if variance > 0 else np.zeros(n_shared)
    moved = fit.plain @ pull
    return Shift(variance * (moved @ moved.T), max(degrees, 1.0), (share * mean)[shared])
