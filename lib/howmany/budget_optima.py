"""Where the loss is lowest at one budget, in the fit and in every refit: the best sizes, losses and sparsities.

An interval of N*(S) says nothing about a *difference* of two of them, because refits move both. So what a claim is
about is computed refit by refit, and only then made an interval.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moelaws.optimum.forecaster import Forecaster, size_of
from moelaws.optimum.minimum import lowest
from moelaws.optimum.optimum import best_size, best_sparsity
from moelaws.surfaces.polynomial import Array, SurfaceError, sparsity_coordinate
from moelaws.surfaces.surface import Surface

STEP = 0.2
"""Between the sizes at which S* is sought, in ln N. They are multiples of it, so that budgets have sizes in common."""

_GRID = 201
_INSIDE = 0.95  # share of the refits that must have their optimum inside the sizes tried


@dataclass(frozen=True)
class Path:
    """The lowest points across a surface, at each of P places along it.

    Attributes:
        along: the places, P numbers: -ln(1 - S), or ln N.
        at: where the loss is lowest there, P x (1 + B): ln N, or -ln(1 - S). The fit first, then B refits.
        loss: the loss there, nats per token, P x (1 + B).
        inside: whether it lies inside what was tried, in the fit and in 95 % of the refits; P values. S = 0 is no
            edge: there is nothing below it.
    """

    along: Array
    at: Array
    loss: Array
    inside: NDArray[np.bool_]


@dataclass(frozen=True)
class Landscape:
    """One budget.

    Attributes:
        budget: C, in training FLOPs.
        total: the best total size at each sparsity.
        active: the best active size at each sparsity.
        lowest: the one of these two whose surface predicts held-out points better: L* is read from it.
        sparsity: the best sparsity at each total size.
        last_step: at the largest size at which two sparsities were tried, loss at the sparsest less loss at the least
            sparse one that has this size, at most one doubling of 1 / (1 - S) apart, 1 + B numbers.
        largest: that size, in total parameters.
    """

    budget: float
    total: Path
    active: Path
    lowest: Path
    sparsity: Path
    last_step: Array
    largest: float


def of_surfaces(total: Surface, active: Surface) -> Landscape:
    """The landscape of one budget's two surfaces.

    Args:
        total: loss against total parameters and sparsity.
        active: loss against active parameters and sparsity, of the same runs.

    Raises:
        SurfaceError: fewer than two sparsities at every size.
    """
    by_total, by_active = _sizes(total), _sizes(active)
    ends = np.array([total.sizes(s) for s in total.sparsities])
    largest = np.sort(ends[:, 1])[-2]  # of those tried at two sparsities
    low, high = total.stretch(largest)
    sparsest = -np.expm1(-np.array([max(low, high - np.log(2)), high]))
    before, last = total.draws(largest, sparsest).T
    return Landscape(
        budget=total.budget,
        total=by_total,
        active=by_active,
        lowest=by_total if total.held_out_mse < active.held_out_mse else by_active,
        sparsity=_sparsities(total, np.log(ends.min()), np.log(ends.max())),
        last_step=last - before,
        largest=float(largest),
    )


def of_law(forecaster: Forecaster, budget: float, sparsities: Sequence[float], sizes: tuple[float, float]) -> Landscape:
    """The landscape of a law, whose optima have no edges; without replicates no interval either.

    Args:
        forecaster: law and coefficients.
        budget: C, in training FLOPs.
        sparsities: S, in increasing order.
        sizes: the smallest and the largest total size at which S* is sought.
    """
    best = [best_size(forecaster, budget, 1 / (1 - s)) for s in sparsities]
    s_hat, all_inside = sparsity_coordinate(np.array(sparsities)), np.ones(len(sparsities), bool)
    loss = np.array([[each.loss] for each in best])
    total = Path(s_hat, np.log([[each.total_params] for each in best]), loss, all_inside)
    active = Path(s_hat, np.log([[each.active_params] for each in best]), loss, all_inside)
    log_n = _multiples(*np.log(sizes))
    sparse = [best_sparsity(forecaster, budget, float(n)) for n in np.exp(log_n)]
    at = sparsity_coordinate(np.array([[each.sparsity] for each in sparse]))
    n_experts = np.exp(s_hat[-1]) / np.array([[2.0, 1.0]])
    size = size_of(forecaster.family.total_params, sizes[1], n_experts, 1.0)
    before, last = np.ravel(forecaster.run(forecaster.rows(), size, n_experts, 1.0, budget)["loss"])
    return Landscape(
        budget=budget,
        total=total,
        active=active,
        lowest=active,
        sparsity=Path(log_n, at, np.array([[each.loss] for each in sparse]), np.ones(len(log_n), bool)),
        last_step=np.array([last - before]),
        largest=sizes[1],
    )


def _sizes(surface: Surface) -> Path:
    """The best size at every sparsity tried."""

    def cut(sparsity: float) -> tuple[Array, Array]:
        smallest, largest = np.log(surface.sizes(sparsity))
        grid = np.linspace(smallest, largest, _GRID)
        return grid, surface.draws(np.exp(grid), sparsity)

    return _path(surface.sparsities, sparsity_coordinate(np.array(surface.sparsities)), cut, free_below=False)


def _sparsities(surface: Surface, low: float, high: float) -> Path:
    """The best sparsity at sizes between two, where sparsities were tried."""

    def cut(log_n: float) -> tuple[Array, Array]:
        grid = np.linspace(*surface.stretch(float(np.exp(log_n))), _GRID)
        return grid, surface.draws(np.exp(log_n), -np.expm1(-grid))

    def tried(log_n: float) -> bool:
        try:
            surface.stretch(float(np.exp(log_n)))
        except SurfaceError:
            return False
        return True

    log_n = np.array([x for x in _multiples(low, high) if tried(x)])
    return _path(log_n, log_n, cut, free_below=True)


def _path(
    places: Sequence[float] | Array, along: Array, cut: Callable[[float], tuple[Array, Array]], free_below: bool
) -> Path:
    at, loss, inside = [], [], []
    for place in places:
        grid, curves = cut(float(place))
        found, value, edges = lowest(grid, curves)
        fine = [edge == "" or (free_below and edge == "low" and grid[0] == 0) for edge in edges]
        at.append(found)
        loss.append(value)
        inside.append(fine[0] and np.mean(fine) >= _INSIDE)
    return Path(along, np.array(at), np.array(loss), np.array(inside, bool))


def _multiples(low: float, high: float) -> Array:
    return STEP * np.arange(np.ceil(low / STEP), np.floor(high / STEP) + 1)
