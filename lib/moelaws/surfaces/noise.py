"""What is known of the noise in losses before any curve is fitted to them."""

import numpy as np
from numpy.typing import NDArray

from moelaws.surfaces.polynomial import Array

_FINEST = 1e-9  # a share of the loss: no loss is known better
_MOST_DIGITS = 9


def between_seeds(loss: Array, point: NDArray[np.intp]) -> float:
    """Variance between the runs of a point, pooled over points; 0 where no point has several.

    Args:
        loss: P losses.
        point: a label per run, from 0, the same for runs of one size and sparsity.
    """
    runs = np.bincount(point)
    means = (np.bincount(point, loss) / runs)[point]
    return float(np.sum((loss - means) ** 2) / max(len(loss) - len(runs), 1))


def rounding(loss: Array) -> float:
    """Standard deviation of what a table's last digit leaves out of its losses, nats per token.

    Args:
        loss: P losses.
    """
    for digits in range(_MOST_DIGITS):
        if np.allclose(loss, np.round(loss, digits), rtol=0, atol=10.0**-_MOST_DIGITS / 10):
            return float(10.0**-digits / np.sqrt(12))
    return float(_FINEST * np.mean(loss))


def least_variance(loss: Array, point: NDArray[np.intp]) -> float:
    """The least that the variance of one run's noise can be: that between seeds, or of the rounding."""
    return max(between_seeds(loss, point), rounding(loss) ** 2)
