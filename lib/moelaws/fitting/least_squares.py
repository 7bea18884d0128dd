"""Ordinary least squares with its covariance: the one place where a linear fit is solved.

statsmodels has the same and a hundred things more, but its import takes 1.3 s of processor time, where all that an
isoFLOP analysis imports takes 0.6 s with numpy, pandas and scipy: every light command would pay for these few lines.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LinearFit:
    """A linear fit to P values by p weights.

    Attributes:
        weights: of the columns, p.
        residual: value less fit, P.
        q: the columns made orthonormal, P x p.
        root: the columns are ``q`` times its inverse; its square is the covariance at unit variance, p x p.
    """

    weights: Array
    residual: Array
    q: Array
    root: Array

    @property
    def squares(self) -> float:
        """Sum of squared residuals."""
        return float(self.residual @ self.residual)

    @property
    def freedom(self) -> int:
        """Values less weights."""
        return len(self.residual) - len(self.weights)

    @property
    def variance(self) -> float:
        """Of the residuals, by their degrees of freedom."""
        return self.squares / self.freedom

    def covariance(self, variance: float | None = None) -> Array:
        """Of the weights, p x p.

        Args:
            variance: of one value; by default that of the residuals.
        """
        return self.root @ self.root.T * (self.variance if variance is None else variance)

    @property
    def left_out(self) -> Array:
        """Residual of each value in the fit to all others, P."""
        leverage = np.einsum("ij,ij->i", self.q, self.q)
        return self.residual / np.maximum(1 - leverage, 1e-9)


def orthonormal(design: Array, least: float = 1e-9) -> tuple[Array, Array] | None:
    """The columns made orthonormal and the inverse of what makes them so, see ``LinearFit``.

    Args:
        design: P x p.
        least: nothing is returned where a column is less than this share independent of those before it, as a share of
            the most independent one.
    """
    q, triangle = np.linalg.qr(design)
    if len(design) < design.shape[1] or not independent(triangle, least)[-1]:
        return None
    return q, np.linalg.inv(triangle)


def independent(triangle: Array, least: float = 1e-9) -> NDArray[np.bool_]:
    """Whether the first column, the first two, and so on, of a design are as independent as ``orthonormal`` asks.

    Args:
        triangle: of the design's QR factors.
        least: as in ``orthonormal``.
    """
    diagonal = np.abs(np.diag(triangle))
    return np.asarray(np.minimum.accumulate(diagonal) > least * np.maximum.accumulate(diagonal))


def least_squares(design: Array, values: Array, least: float = 1e-9) -> LinearFit | None:
    """Fit values by least squares.

    Args:
        design: P x p.
        values: P.
        least: as in ``orthonormal``.

    Returns:
        The fit; nothing where the columns do not determine it.
    """
    found = orthonormal(design, least)
    if found is None:
        return None
    q, root = found
    seen = q.T @ values
    return LinearFit(root @ seen, values - q @ seen, q, root)
