"""A smooth function that is known at some points with noise: a Gaussian process, its size and reach by evidence."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

SD, LENGTH = 0.04, 3.0
"""Where the evidence is looked for: an error of four per cent that changes over a factor of e^3, which is twenty."""
_SDS, _SD_SPREAD = SD * np.geomspace(1 / 16, 16, 17), 0.7
_LENGTHS, _LENGTH_SPREAD = LENGTH * np.geomspace(1 / 3, 3, 9), 0.5
"""What is tried, and how far from there, in units of ln, the values are expected: few runs tell them badly."""
_NOISES = np.geomspace(3e-4, 0.1, 11)
_ENOUGH = 400
"""Points that the evidence is asked of, and"""
MOST_POINTS = 2_000
"""points that a process is made of; more change neither, and cost their cube."""


@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """A smooth function of mean zero, as far as some noisy values of it tell.

    Attributes:
        sd: standard deviation of the function.
        length: distance over which it changes, in the points' units.
        noise: standard deviation of a value about it.
        points: where it was seen, [n, axes].
    """

    sd: float
    length: float
    noise: float
    points: np.ndarray

    def covariance(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Of the function at points [..., a, axes] with that at others, [b, axes]: [..., a, b]."""
        return self.sd**2 * correlation(one, other, self.length)

    @cached_property
    def total(self) -> np.ndarray:
        """Covariance of the values seen, noise included, [n, n]."""
        return self.covariance(self.points, self.points) + self.noise**2 * np.eye(len(self.points))

    @cached_property
    def inverse(self) -> np.ndarray:
        """Inverse of ``total``, [n, n]."""
        return np.linalg.inv(self.total + 1e-9 * self.sd**2 * np.eye(len(self.points)))

    def shares(self, at: np.ndarray) -> np.ndarray:
        """What each value seen counts for at other points, [m, n]: the expected function is this times the values."""
        return self.covariance(at, self.points) @ self.inverse

    def left(self, at: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """Covariance of the function at other points once the values are known, [m, m]."""
        return self.covariance(at, at) - shares @ self.covariance(self.points, at)

    def left_variance(self, at: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """The diagonal of ``left``, [m]."""
        return np.maximum(self.sd**2 - np.einsum("mn,mn->m", shares, self.covariance(at, self.points)), 0.0)


def correlation(one: np.ndarray, other: np.ndarray, length: float) -> np.ndarray:
    """exp(-distance^2 / (2 length^2)) of points [..., a, axes] with others, [b, axes]: [..., a, b]."""
    square = (one**2).sum(axis=-1)[..., None] + (other**2).sum(axis=-1) - 2 * one @ other.T
    return np.asarray(np.exp(np.maximum(square, 0.0) / (-2 * length**2)))


def by_evidence(points: np.ndarray, values: np.ndarray, slopes: np.ndarray, noise: float | None) -> GaussianProcess:
    """The process that makes values most likely, whatever a trend of their own took or left.

    The values are residuals of a fit, which has taken from them what its P coefficients can follow; its coefficients
    are integrated out (restricted likelihood), so that the process is not thought the smaller for it.

    Args:
        points: where the values were seen, [n, axes].
        values: [n].
        slopes: of the fit by its coefficients, [P, n].
        noise: standard deviation of a value, where replicates tell it; ``None`` chooses it too.

    Returns:
        The process at all points.
    """
    few = np.linspace(0, len(values) - 1, min(len(values), _ENOUGH)).astype(int)
    if len(few) < len(values):
        few = np.argsort(values, kind="stable")[few]
    at, seen, trend = points[few], values[few], slopes[:, few]
    noises = _NOISES if noise is None else np.array([noise])
    best, found = -np.inf, (SD, LENGTH, float(noises[0]))
    for length in _LENGTHS:
        size, vectors = np.linalg.eigh(correlation(at, at, length))
        turned, turned_trend = vectors.T @ seen, vectors.T @ trend.T
        for sd in _SDS:
            for each in noises:
                variance = sd**2 * np.maximum(size, 0.0) + each**2
                likely = _likelihood(turned, turned_trend, variance) - _unexpected(sd, length)
                if likely > best:
                    best, found = likely, (float(sd), float(length), float(each))
    return GaussianProcess(*found, points)


def _unexpected(sd: float, length: float) -> float:
    return float(0.5 * (np.log(sd / SD) / _SD_SPREAD) ** 2 + 0.5 * (np.log(length / LENGTH) / _LENGTH_SPREAD) ** 2)


def _likelihood(values: np.ndarray, trend: np.ndarray, variance: np.ndarray) -> float:
    """Log of the restricted likelihood, but for a constant, of independent values [n] with a linear trend [n, P]."""
    curvature = trend.T @ (trend / variance[:, None])
    unit = 1.0 / np.sqrt(np.maximum(np.diag(curvature), 1e-300))
    size, vectors = np.linalg.eigh(curvature * unit[:, None] * unit)
    held = size > 1e-10 * size.max()
    pull = vectors[:, held].T @ (unit * (trend.T @ (values / variance)))
    taken = float(np.sum(pull**2 / size[held]))
    spread = float(np.log(size[held]).sum() - 2 * np.log(unit).sum())
    return -0.5 * (float(np.log(variance).sum()) + float((values**2 / variance).sum()) - taken + spread)
