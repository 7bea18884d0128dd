"""Each sparsity's own isoFLOP curve, of a shape that neighbours share: what the optima of a surface are held against.

The surface of Abnar et al. ties level, best size and bend of all sparsities together in a few coefficients. Where runs
are exact, that tie moves its optima by more than noise does. Here each sparsity has a level and a slope of its own at
about its optimum; only the bend (which may go with -ln(1 - S)) and what is beyond it are shared. One sparsity
alone gives a plain polynomial in ln N.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from moelaws.fitting.least_squares import least_squares
from moelaws.surfaces.polynomial import Array

_GRID = 401
_SIZES = 3  # that a cell needs


@dataclass(frozen=True)
class Vertex:
    """The lowest point of one cell's curve within the sizes tried.

    Attributes:
        at, low, high: ln N and its interval, cut off at the sizes tried.
        loss, loss_low, loss_high: nats per token.
        inner: whether sizes on both sides of the lowest point were tried.
        ends: whether the interval has a lower and an upper end inside the sizes tried.
        pull: change of ``at`` with each run's loss, P numbers.
    """

    at: float
    low: float
    high: float
    loss: float
    loss_low: float
    loss_high: float
    inner: bool
    ends: tuple[bool, bool]
    pull: Array


@dataclass(frozen=True)
class Cells:
    """Curves of n sparsities by least squares.

    Attributes:
        places: -ln(1 - S) of each, increasing, n numbers.
        centres: ln N from which its curve is developed.
        ends: smallest and largest ln N tried, n x 2.
        degree: highest power of ln N.
        trend: highest power of -ln(1 - S) that the bend goes with.
        scale: unit of ln N.
        weights: the coefficients, p numbers.
        root: R^-1 of the QR decomposition: their covariance is root root' times ``variance``.
        basis: Q of that decomposition at the runs, P x p; rows of runs at other sparsities are zero.
        squares: sum of squared residuals.
        variance: of one run's noise, nats squared.
        freedom: runs less coefficients.
    """

    places: Array
    centres: Array
    ends: Array
    degree: int
    trend: int
    scale: float
    weights: Array
    root: Array
    basis: Array
    squares: float
    variance: float
    freedom: int

    @classmethod
    def of(
        cls,
        log_n: Array,
        s_hat: Array,
        loss: Array,
        centres: dict[float, float],
        degree: int,
        floor: float = 0.0,
        trend: int = 0,
    ) -> Self | None:
        """The curves of the sparsities at which three sizes were tried.

        Args:
            log_n, s_hat, loss: the runs, P numbers each.
            centres: ln N near the optimum, by -ln(1 - S).
            degree: highest power of ln N, from 2.
            floor: least variance of the noise, nats squared: that between seeds, or of the rounding of the losses.
            trend: highest power of -ln(1 - S) that the bend goes with.

        Returns:
            Nothing where the runs do not determine the curves with one run to spare.
        """
        groups = {s: np.flatnonzero(np.isclose(s_hat, s, rtol=0, atol=1e-6)) for s in sorted(centres)}
        used = {s: rows for s, rows in groups.items() if len(set(np.round(log_n[rows], 6))) >= _SIZES}
        if not used:
            return None
        places, middle = np.array(list(used)), np.array([centres[s] for s in used])
        rows = np.concatenate(list(used.values()))
        cell = np.repeat(np.arange(len(used)), [len(each) for each in used.values()])
        z = log_n[rows] - middle[cell]
        scale = float(z.std()) or 1.0
        design, _ = _columns(z / scale, cell, places, (degree, trend))
        fit = least_squares(design, loss[rows], 1e-8)
        if fit is None or fit.freedom < 1:
            return None
        basis = np.zeros((len(log_n), design.shape[1]))
        basis[rows] = fit.q
        ends = np.array([[log_n[each].min(), log_n[each].max()] for each in used.values()])
        return cls(
            places, middle, ends, degree, trend, scale, fit.weights, fit.root, basis, fit.squares,
            max(fit.variance, floor), fit.freedom,
        )  # fmt: skip

    def vertices(self, level: float = 0.95) -> list[Vertex]:
        """The lowest point of every curve, with its interval.

        The interval of ln N holds the positions around it at which the slope differs from zero by no more than noise
        explains (Fieller's idea, for any polynomial), so that a bend that noise hides gives an interval without end.
        """
        quantile = float(stdtrit(self.freedom, (1 + level) / 2))
        return [self._vertex(k, quantile) for k in range(len(self.places))]

    def _vertex(self, k: int, quantile: float) -> Vertex:
        grid = np.linspace(self.ends[k, 0], self.ends[k, 1], _GRID)
        value, slope = _columns(
            (grid - self.centres[k]) / self.scale, np.full(_GRID, k), self.places, (self.degree, self.trend)
        )
        curve, slopes = value @ self.weights, slope @ self.weights
        error = quantile * np.sqrt(self.variance) * np.linalg.norm(slope @ self.root, axis=1)
        lowest = int(np.argmin(curve))
        flat: NDArray[np.bool_] = np.abs(slopes) <= error
        flat[lowest] = True
        beyond = np.flatnonzero(~flat)
        first = int(beyond[beyond < lowest].max(initial=-1)) + 1
        last = int(beyond[beyond > lowest].min(initial=_GRID)) - 1
        # Another dip, or an end that the curve falls to, may be the lower one for all that the runs say.
        apart = quantile * np.sqrt(self.variance) * np.linalg.norm((value - value[lowest]) @ self.root, axis=1)
        dips = np.flatnonzero(curve <= np.minimum(np.append(curve[1:], np.inf), np.insert(curve[:-1], 0, np.inf)))
        rivals = dips[curve[dips] - curve[lowest] <= apart[dips]]
        first, last = min(first, int(rivals.min())), max(last, int(rivals.max()))
        low, high = _crossing(grid, np.abs(slopes) - error, first, last)
        inner = min(max(lowest, 1), _GRID - 2)
        step = (grid[1] - grid[0]) / self.scale
        bend = float(slopes[inner + 1] - slopes[inner - 1]) / (2 * step)
        at, pull = float(grid[lowest]), np.zeros(len(self.basis))
        if lowest == inner and bend > 0:
            at -= float(slopes[lowest]) / bend * self.scale
            pull = -self.scale / bend * (self.basis @ (slope[lowest] @ self.root))
        reach = quantile * np.sqrt(self.variance) * float(np.linalg.norm(value[lowest] @ self.root))
        loss = float(curve[lowest]) - (0.5 * float(slopes[lowest]) ** 2 / bend if lowest == inner and bend > 0 else 0.0)
        half = 0.5 * (grid[1] - grid[0])
        return Vertex(
            at=at,
            low=max(min(low, at - half), float(grid[0])),
            high=min(max(high, at + half), float(grid[-1])),
            loss=loss,
            loss_low=loss - reach,
            loss_high=loss + reach,
            inner=lowest == inner,
            ends=(first > 0, last < _GRID - 1),
            pull=pull,
        )


def _crossing(grid: Array, above: Array, first: int, last: int) -> tuple[float, float]:
    """Where ``above`` crosses zero before the grid point ``first`` and after ``last``, between it and the next."""
    ends = []
    for here, beyond in ((first, first - 1), (last, last + 1)):
        share = 0.0
        if 0 <= beyond < len(grid) and above[beyond] > 0:
            share = float(np.clip(-above[here] / (above[beyond] - above[here]), 0, 1)) if above[here] < 0 else 1.0
        ends.append(float(grid[here] + share * (grid[min(max(beyond, 0), len(grid) - 1)] - grid[here])))
    return ends[0], ends[1]


def _columns(z: Array, cell: NDArray[np.intp], places: Array, powers: tuple[int, int]) -> tuple[Array, Array]:
    """The terms at distances z from the centre of each run's cell, and their derivatives in z.

    Args:
        z, cell: of the runs, P numbers each.
        places: -ln(1 - S) of the cells.
        powers: the highest of ln N, and of the place in the bend.
    """
    own, along = np.eye(len(places))[cell], (places - places.mean()) / (places.std() or 1.0)
    bends = [(along[cell] ** k, 2) for k in range(powers[1] + 1)]
    bends += [(np.ones_like(z), power) for power in range(3, powers[0] + 1)]
    shared = np.column_stack([factor * z**power for factor, power in bends])
    slopes = np.column_stack([power * factor * z ** (power - 1) for factor, power in bends])
    return np.hstack([own, own * z[:, None], shared]), np.hstack([0 * own, own, slopes])
