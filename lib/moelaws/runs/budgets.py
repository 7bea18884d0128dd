"""Which runs were given the same training FLOPs: budgets, told from the FLOPs where no column names them."""

import numpy as np
from numpy.typing import NDArray

from moelaws.runs.error import RunTableError

TOLERANCE = 0.12
"""Runs whose FLOPs differ by no more than this share belong to one budget: those of real sweeps scatter by a few per
cent, and budgets worth telling apart lie further from each other."""

FEWEST_SIZES = 3
"""Distinct sizes that an optimum needs: two do not bend."""

_EXACT = 0.02  # a run takes a whole number of steps: FLOPs this near are the same

Array = NDArray[np.float64]


class ScatteredFlops(RunTableError):
    """FLOPs without gaps between them form no budgets."""


def grouped(flops: Array, sizes: Array | None = None, tolerance: float = TOLERANCE) -> Array:
    """The budget each run belongs to: runs are grouped in ln C.

    Neighbours within the tolerance belong together, unless gaps twice as wide as any group part them and each group has
    the sizes for an optimum.

    Args:
        flops: of the runs, [runs]; one that is not positive belongs to no budget.
        sizes: of their models, [runs]; without them every run counts as a size of its own.
        tolerance: share by which the FLOPs of one budget may differ from their neighbours.

    Returns:
        Number of the group, from the fewest FLOPs up, [runs]; NaN for a run in none.

    Raises:
        ScatteredFlops: no gaps to part them at.
    """
    sizes = np.arange(len(flops), dtype=float) if sizes is None else sizes
    known = np.flatnonzero(np.isfinite(flops) & (flops > 0))
    group = np.full(len(flops), np.nan)
    order = known[np.argsort(flops[known], kind="stable")]
    with np.errstate(divide="ignore", invalid="ignore"):
        log_c = np.log(flops)
    for number, members in enumerate(_groups(order, log_c, sizes, np.log1p(tolerance))):
        group[members] = number
    return group


def named_budgets(flops: Array, sizes: Array | None = None) -> Array:
    """The budget each run belongs to, called by the roundest number among its FLOPs.

    Args:
        flops, sizes: as in ``grouped``.

    Returns:
        FLOPs, [runs]; NaN for a run in none.

    Raises:
        ScatteredFlops: as ``grouped``.
    """
    group = grouped(flops, sizes)
    budgets = np.full(len(flops), np.nan)
    for number in set(group[np.isfinite(group)]):
        inside = flops[group == number]
        budgets[group == number] = roundest(float(inside.min()), float(inside.max()), float(np.median(inside)))
    return budgets


def roundest(low: float, high: float, middle: float) -> float:
    """The number with the fewest digits from ``low`` to ``high``, the nearest to the middle of these."""
    for digits in range(1, 6):
        unit = 10.0 ** (np.floor(np.log10(middle)) - digits + 1)
        steps = np.arange(np.ceil(low / unit), np.floor(high / unit) + 1)
        if len(steps):
            return float(f"{steps[np.argmin(np.abs(steps * unit - middle))] * unit:.6g}")
    return float(f"{middle:.6g}")


def distinct(sizes: Array) -> int:
    """How many different sizes there are."""
    return len(set(np.round(np.log(np.maximum(sizes, 1e-300)), 6)))


def _groups(order: NDArray[np.intp], log_c: Array, sizes: Array, tolerance: float) -> list[NDArray[np.intp]]:
    """Runs in order of their FLOPs, parted where neighbours lie further apart than the tolerance, and then again."""
    if not len(order):
        return []
    parts = np.split(order, np.flatnonzero(np.diff(log_c[order]) > tolerance) + 1)
    return [group for part in parts for group in _parted(part, log_c, sizes, tolerance)]


def _parted(runs: NDArray[np.intp], log_c: Array, sizes: Array, tolerance: float) -> list[NDArray[np.intp]]:
    """One group, or several with gaps between them twice as wide as the widest of them.

    Budgets a tenth apart whose runs hit them exactly are as clear as decades; runs that scatter by a tenth are one.
    """
    gaps = np.diff(log_c[runs])
    for least in sorted(set(gaps[gaps > np.log1p(_EXACT)])):
        groups = np.split(runs, np.flatnonzero(gaps >= least) + 1)
        widest = max(float(np.ptp(log_c[group])) for group in groups)
        if least > 2 * widest and all(distinct(sizes[group]) >= FEWEST_SIZES for group in groups):
            return groups
    if np.ptp(log_c[runs]) > 2 * tolerance:
        low, high = np.exp(log_c[runs[[0, -1]]])
        raise ScatteredFlops(
            f"the FLOPs of {len(runs)} runs go from {low:.4g} to {high:.4g} without a gap of {np.expm1(tolerance):.0%}:"
            " too scattered for budgets"
        )
    return [runs]
