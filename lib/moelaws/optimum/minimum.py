"""The lowest point of a curve that is known within limits, and of its bootstrap replicates."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

Edge = Literal["", "low", "high", "flat"]
"""Where a minimum lies: inside the limits (empty), at the lower or upper one, or anywhere on a flat curve."""


@dataclass(frozen=True)
class Minimum:
    """The lowest point of a curve.

    Attributes:
        at, at_low, at_high: abscissa and percentile interval; the interval is NaN without replicates.
        value, value_low, value_high: ordinate and interval. Noise lowers the minimum of a replicate below that of the
            curve, as it lowered the curve's below the truth: the interval holds the percentiles and their mirror image.
        edge: the limit that the minimum lies at, if any.
        inside: share of the replicates whose minimum lies inside the limits.
    """

    at: float
    at_low: float
    at_high: float
    value: float
    value_low: float
    value_high: float
    edge: Edge
    inside: float


def minimum(grid: Array, curve: Array, replicates: Array, level: float = 0.95) -> Minimum:
    """Find the lowest point of a curve given on an even grid, with the interval that its replicates span.

    Args:
        grid: G evenly spaced abscissae, from limit to limit.
        curve: G ordinates.
        replicates: B x G ordinates of the replicates; B may be 0.
        level: of the percentile intervals.

    Raises:
        ValueError: a level that is not between 0 and 1.
    """
    at, value, edge = lowest(grid, curve[None])
    quantiles = tails(level)
    if not len(replicates):
        nan = float("nan")
        return Minimum(float(at[0]), nan, nan, float(value[0]), nan, nan, edge[0], nan)
    ats, values, edges = lowest(grid, replicates)
    (at_low, at_high), ends = np.quantile(ats, quantiles), np.quantile(values, quantiles)
    ends = np.array([*ends, *(2 * value[0] - ends)])
    return Minimum(
        at=float(at[0]),
        at_low=float(at_low),
        at_high=float(at_high),
        value=float(value[0]),
        value_low=float(ends.min()),
        value_high=float(ends.max()),
        edge=edge[0],
        inside=edges.count("") / len(edges),
    )


def tails(level: float) -> tuple[float, float]:
    """The two quantiles that enclose a central interval.

    Raises:
        ValueError: a level that is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level = {level!r}: expected a number between 0 and 1, such as 0.95")
    return (1 - level) / 2, (1 + level) / 2


def ends_of(values: Array, level: float) -> tuple[float, float]:
    """The central interval of some draws. An end between a finite and an infinite draw is infinite: there is none."""
    first, last = tails(level)
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(values, (first, last))
    if np.isnan(low):
        low = np.quantile(values, first, method="lower")
    if np.isnan(high):
        high = np.quantile(values, last, method="higher")
    return float(low), float(high)


def lowest(grid: Array, curves: Array) -> tuple[Array, Array, list[Edge]]:
    """Minima of B curves (B x G), refined by the parabola through the lowest grid point and its neighbours."""
    rows, index = np.arange(len(curves)), np.argmin(curves, axis=1)
    inner = np.clip(index, 1, len(grid) - 2)
    left, middle, right = (curves[rows, inner + step] for step in (-1, 0, 1))
    bend = left - 2 * middle + right
    offset = np.divide(0.5 * (left - right), bend, out=np.zeros_like(bend), where=bend > 0)
    inside = index == inner
    at = np.where(inside, grid[inner] + offset * (grid[1] - grid[0]), grid[index])
    value = np.where(inside, middle - 0.25 * (left - right) * offset, curves[rows, index])
    flat = np.ptp(curves, axis=1) <= 1e-12 * np.abs(curves).max(axis=1)
    edges: list[Edge] = [
        "flat" if level else "" if free else "low" if k == 0 else "high"
        for level, free, k in zip(flat, inside, index, strict=True)
    ]
    return at, value, edges
