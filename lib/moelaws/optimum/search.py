"""Searches in one variable over whole arrays of problems at once: a minimum on a closing grid, a root by halving."""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any

_POINTS = 65


def minimise(curve: Callable[[Array], Array], low: Array, high: Array) -> tuple[Array, Array, Array]:
    """Lowest points of R curves, each between its own limits.

    A grid over the limits is closed in around its lowest point six times. No slope is needed, a second valley
    misleads only where it is narrower than a sixty-fourth of the limits, and nan counts as "not here".

    Args:
        curve: maps R x G abscissae to R x G ordinates, row by row.
        low: R lower limits.
        high: R upper limits.

    Returns:
        Abscissae and ordinates (inf where no point is feasible), and -1, 0 or 1 for a minimum at the lower limit,
        inside, or at the upper limit.
    """
    low, high = np.broadcast_arrays(np.atleast_1d(np.asarray(low, float)), np.asarray(high, float))
    rows, left, right = np.arange(len(low)), low, high
    for _ in range(6):
        x = left[:, None] + (right - left)[:, None] * np.linspace(0, 1, _POINTS)
        y = np.asarray(curve(x), float)
        y = np.where(np.isfinite(y), y, np.inf)
        lowest = np.argmin(y, axis=1)
        left, right = x[rows, np.maximum(lowest - 1, 0)], x[rows, np.minimum(lowest + 1, _POINTS - 1)]
    at, value = x[rows, lowest], y[rows, lowest]
    tiny = 1e-6 * (high - low)
    edge = np.where(at <= low + tiny, -1, np.where(at >= high - tiny, 1, 0))
    return at, value, edge


def crossing(rising: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Where smooth rising functions become positive: halving, then one step along the chord.

    Twenty halvings leave a millionth of the limits' distance, over which the chord is as good as the function.

    Args:
        rising: maps an array of abscissae to ordinates of the same shape.
        low, high: limits, of that shape.

    Returns:
        The abscissae; next to a limit for a function that does not change sign between them.
    """
    low, high = np.asarray(low, float), np.asarray(high, float)
    for _ in range(20):
        middle = 0.5 * (low + high)
        below = np.asarray(rising(middle)) < 0
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    at_low, at_high = np.asarray(rising(low)), np.asarray(rising(high))
    share = np.divide(-at_low, at_high - at_low, out=np.full(low.shape, 0.5), where=at_high > at_low)
    return low + (high - low) * np.clip(share, 0, 1)
