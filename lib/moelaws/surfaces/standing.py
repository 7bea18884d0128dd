"""What the runs say of an optimum: that it is one, or why not."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from moelaws.optimum.minimum import Edge
from moelaws.quote import number_of
from moelaws.runs.budgets import FEWEST_SIZES
from moelaws.surfaces.polynomial import Array

Standing = Literal["optimum", "no interval", "low edge", "high edge", "open", "few sizes", "misfit"]
"""Words of the column ``status``.

- ``optimum``: sizes on both sides of it were tried, in the fit and within its interval;
- ``no interval``: bracketed, but how well is not known with as many coefficients as sizes, or without refits;
- ``low edge``, ``high edge``: the smallest or the largest size tried is best, and the optimum lies beyond it;
- ``open``: the interval has no end within the sizes tried: noise hides the bend;
- ``few sizes``: fewer than three sizes were tried;
- ``misfit``: the curve passes the runs next to it by more than noise explains.
"""

FOUND: tuple[Standing, ...] = ("optimum", "no interval")
"""Words under which a number is a best size; under all others it is none."""

EDGES: tuple[Standing, ...] = ("low edge", "high edge")
"""Words under which it is known on which side of all sizes the best one lies."""


def words(status: Standing, smallest: float, largest: float, sizes: int) -> str:
    """A status in words, with what to do about it; empty for an optimum.

    Args:
        status: of the optimum.
        smallest, largest: sizes tried.
        sizes: how many.
    """
    return {
        "optimum": "",
        "no interval": "no interval: that takes a size more than coefficients, and refits",
        "low edge": f"not bracketed: the smallest size tried is best; add sizes below {smallest:.3g}",
        "high edge": f"not bracketed: the largest size tried is best; add sizes above {largest:.3g}",
        "open": "not resolved: noise hides the bend; add seeds, or sizes further out",
        "few sizes": f"{number_of(sizes, 'size')}: three or more are needed",
        "misfit": "the curve misses the runs next to it by more than noise; keep sizes nearer to the lowest"
        f" of {smallest:.3g} to {largest:.3g}, or add some there",
    }[status]


@dataclass(frozen=True)
class Optimum:
    """The loss-optimal size at one sparsity.

    Attributes:
        sparsity: S.
        n, n_low, n_high: the best size, in parameters, and its interval. An interval that ends at the edge of the
            sizes tried may reach beyond it.
        loss, loss_low, loss_high: the loss there, in nats per token.
        edge: at which edge of the sizes tried the minimum lies; empty where they bracket it.
        inside: share of the bootstrap surfaces whose minimum is bracketed.
        status: what the runs say of it, see ``Standing``; only under the words in ``FOUND`` is it an optimum.
    """

    sparsity: float
    n: float
    n_low: float
    n_high: float
    loss: float
    loss_low: float
    loss_high: float
    edge: Edge
    inside: float
    status: Standing

    @property
    def found(self) -> bool:
        """Whether this is an optimum: bracketed, resolved, of three sizes or more, and no misfit."""
        return self.status in FOUND

    @property
    def bracketed(self) -> bool:
        """Whether sizes on both sides of the optimum were tried; if not, the true one may lie anywhere beyond."""
        return self.edge == ""


@dataclass(frozen=True)
class BestSparsity:
    """The loss-optimal sparsity at one size; fields as in ``Optimum``.

    A minimum at the low edge S = 0 is no edge of the data but of the problem: the dense model is best.
    """

    n: float
    sparsity: float
    sparsity_low: float
    sparsity_high: float
    loss: float
    loss_low: float
    loss_high: float
    edge: Edge
    inside: float

    @property
    def bracketed(self) -> bool:
        """Whether sparsities on both sides of the optimum were tried, or there are none below it."""
        return self.edge == "" or (self.edge == "low" and self.sparsity == 0)


def standing(edge: Edge, fewest: int, cut: bool, missed: bool, ends: tuple[bool, bool] | None) -> Standing:
    """What the runs say of an optimum.

    Args:
        edge: of the sizes fitted, at which it lies.
        fewest: distinct sizes tried at its sparsity.
        cut: whether sizes beyond that edge were tried but not fitted.
        missed: whether the curve misses the runs next to it.
        ends: whether its interval has a lower and an upper end inside the sizes; ``None`` where there is no interval.
    """
    if fewest < FEWEST_SIZES:
        return "few sizes"
    if edge in ("low", "high"):
        far = ends is None or ends[1 if edge == "low" else 0]
        return "misfit" if cut else "open" if not far else "low edge" if edge == "low" else "high edge"
    if missed:
        return "misfit"
    if edge == "flat" or (ends is not None and not all(ends)):
        return "open"
    return "no interval" if ends is None else "optimum"


def misses(at: float, log_n: Array, apart: Array, noise: float) -> bool:
    """Whether a curve passes the size next to its minimum by more than noise explains.

    Args:
        at: ln N of the minimum.
        log_n: sizes of the runs, P numbers.
        apart: their losses less the curve.
        noise: what chance allows, nats per token.
    """
    sizes, size = np.unique(np.round(log_n, 6), return_inverse=True)
    means = np.bincount(size, apart) / np.bincount(size)
    return bool(abs(means[np.argmin(np.abs(sizes - at))]) > noise)
