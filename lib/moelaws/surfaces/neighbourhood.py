"""The runs that tell where a loss is lowest: those near it, as far out as one polynomial holds them all.

Far from the optimum an isoFLOP curve is no polynomial, and least squares bends one to please the many far runs at the
cost of the few near ones. So narrower and narrower neighbourhoods of the optimum are fitted too; where a narrower one
predicts the runs nearest to the optimum far better, each from all others, the far runs go.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, stdtr

from moelaws.runs.seeds import between_seeds
from moelaws.surfaces.curves import Cells
from moelaws.surfaces.polynomial import Array

Mask = NDArray[np.bool_]

_FINEST = 1e-9  # a share of the loss: no loss is known better
_MOST_DIGITS = 9


@dataclass(frozen=True)
class Fit:
    """A fit to some runs, as far as it tells whether these belong together.

    Attributes:
        errors: loss of each less its prediction when its point is left out.
        squares: sum of squared residuals.
        freedom: runs less coefficients.
    """

    errors: Array
    squares: float
    freedom: int


Trial = Callable[[Mask], Fit | None]
"""A fit to some of the runs, or nothing where these do not determine it or are beyond it."""

CHANCE = 1e-4
"""An outlier goes only where chance would do the like once in this many tables: a run is evidence."""

_WORSE, _UNLIKELY = 2.0, 0.01
"""A neighbourhood is too wide if it predicts the nearest runs with squared errors that much larger than a narrower one
does, and if its further runs lie off the curve of that one as chance has it in so few tables."""

_BENT = 0.01
"""Where chance makes as much of further powers of ln N in fewer tables, the runs are too far apart for the curve."""

_SHRINK = 0.85  # of the half-width in ln N, from one neighbourhood to the next
_SURE = 3.0  # standard deviations
_NEAREST = 5  # sizes of each sparsity that stay in any: a parabola and two to judge it by


def neighbourhood(log_n: Array, group: NDArray[np.intp], loss: Array, trial: Trial, floor: float = 0.0) -> Mask:
    """The widest neighbourhood of the optima whose far runs do not spoil the fit of the near ones.

    Args:
        log_n, loss: the runs, P numbers each.
        group: which sparsity each is of, from 0.
        trial: the fit in question.
        floor: least variance of the noise, nats squared.

    Returns:
        Which runs lie in it.
    """
    widths = neighbourhoods(log_n, group, loss)
    fits = [trial(mask) for mask in widths]
    for i, wide in enumerate(fits):
        narrower = [(mask, fit) for mask, fit in zip(widths[i + 1 :], fits[i + 1 :], strict=True) if fit is not None]
        if wide is not None and not any(_spoilt((widths[i], wide), each, widths[-1], floor) for each in narrower):
            return widths[i]
    return widths[-1]


def _spoilt(wide: tuple[Mask, Fit], narrow: tuple[Mask, Fit], near: Mask, floor: float) -> bool:
    """Whether the runs that a wide neighbourhood has beyond a narrow one spoil its fit of the nearest ones."""
    errors = [float(np.mean(fit.errors[near[mask]] ** 2)) for mask, fit in (wide, narrow)]
    fit, more = narrow[1], int(wide[0].sum() - narrow[0].sum())
    if fit.freedom < 1 or not errors[0] > _WORSE * max(errors[1], floor):
        return False
    noise = max(fit.squares / fit.freedom, floor)
    return bool(fdtrc(more, fit.freedom, (wide[1].squares - fit.squares) / more / noise) < _UNLIKELY)


def is_bent(log_n: Array, loss: Array, degree: int, floor: float) -> bool:
    """Whether one or two more powers of ln N tell more of the runs of one sparsity beyond chance.

    Args:
        log_n, loss: the runs, P numbers each.
        degree: of the polynomial in question.
        floor: least variance of the noise, nats squared.
    """
    here, middle = np.zeros(len(log_n)), {0.0: float(log_n.mean())}
    fits = [Cells.of(log_n, here, loss, middle, power, floor) for power in (degree, degree + 1, degree + 2)]
    simple = fits[0]
    return simple is not None and any(
        fit is not None
        and fdtrc(more, fit.freedom, max(simple.squares - fit.squares, 0.0) / more / fit.variance) < _BENT
        for more, fit in enumerate(fits[1:], start=1)
    )


def outlier(q: Array, loss: Array, floor: float = 0.0) -> int | None:
    """The run that all others contradict beyond chance, if there is one: a run that diverged, a slip of the pen.

    Args:
        q: orthonormal design of the fit, P x p.
        loss: P losses.
        floor: least variance of the noise, nats squared.

    Returns:
        Its position; nothing with fewer than four degrees of freedom, which can show no such thing.
    """
    runs, freedom = len(loss), len(loss) - q.shape[1] - 1
    if freedom < 3:
        return None
    residual = loss - q @ (q.T @ loss)
    free = 1 - np.einsum("pi,pi->p", q, q)
    explained = np.divide(residual**2, free, out=np.zeros(runs), where=free > 1e-9)
    left = np.maximum((residual @ residual - explained) / freedom, max(floor, 1e-24))
    worst = int(np.argmax(explained / left))
    chance = 2 * runs * stdtr(freedom, -np.sqrt(explained[worst] / left[worst]))
    return worst if chance < CHANCE else None


def centre(log_n: Array, loss: Array) -> float:
    """About where one curve is lowest: the middle of the three neighbouring sizes with the lowest mean loss."""
    sizes, at = np.unique(np.round(log_n, 6), return_inverse=True)
    means = np.bincount(at, loss) / np.bincount(at)
    if len(sizes) < 4:
        return float(sizes[np.argmin(means)])
    threes = np.convolve(means, np.full(3, 1 / 3), "valid")
    return float(sizes[1 + np.argmin(threes)])


def scatter(log_n: Array, s_hat: Array, loss: Array, floor: float) -> float:
    """By how much losses near the optima may miss a curve by chance, nats per token.

    Args:
        log_n, s_hat, loss: the runs, P numbers each.
        floor: least variance of the noise, nats squared.

    Returns:
        Three times the scatter about parabolas through the nearest sizes; infinite where these show none.
    """
    places, group = np.unique(np.round(s_hat, 6), return_inverse=True)
    group = group.reshape(-1)
    near = neighbourhoods(log_n, group, loss)[-1]
    middle = {float(place): centre(log_n[group == k], loss[group == k]) for k, place in enumerate(places)}
    cells = Cells.of(log_n[near], s_hat[near], loss[near], middle, 2, floor)
    if cells is None or cells.freedom < 2:
        return np.inf
    return float(_SURE * np.sqrt(cells.variance))


def neighbourhoods(log_n: Array, group: NDArray[np.intp], loss: Array) -> list[Mask]:
    """Neighbourhoods of the optima, the widest first; each sparsity keeps its nearest sizes in all of them.

    Args:
        log_n, loss: the runs, P numbers each.
        group: which sparsity each is of, from 0.
    """
    away, near = np.empty(len(log_n)), np.zeros(len(log_n), bool)
    for k in range(int(group.max()) + 1):
        rows = np.flatnonzero(group == k)
        if not len(rows):
            continue
        middle, sizes = centre(log_n[rows], loss[rows]), np.round(log_n[rows], 6)
        away[rows] = np.abs(sizes - middle)
        # Sizes are counted, not distances: two of them may lie equally far on both sides.
        reach = np.sort(np.abs(np.unique(sizes) - middle))[:_NEAREST][-1]
        near[rows] = away[rows] <= reach + 1e-6
    widths, width = [np.ones(len(log_n), bool)], float(away.max())
    while not np.array_equal(widths[-1], near) and width > 0:
        width *= _SHRINK
        mask = (away <= width) | near
        if mask.sum() < widths[-1].sum():
            widths.append(mask)
    return widths


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
