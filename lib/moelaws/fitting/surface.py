"""The fitted loss surface of one budget, and where it is lowest: N*(S), S*(N), with intervals."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from moelaws.fitting.minimum import Edge, Minimum, minimum, tails
from moelaws.fitting.polynomial import Array, Degree, SurfaceError, Terms, sparsity_coordinate

_GRID = 401


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


@dataclass(frozen=True)
class Surface:
    """A polynomial in ln N and -ln(1 - S) fitted to the runs of one budget (Abnar et al. 2025, Sec. 2).

    Attributes:
        variable: which N: ``total_params`` or ``active_params`` (or another column of sizes).
        budget: C, in training FLOPs.
        degree: highest powers (a1, a2, a3) of ln N, of -ln(1 - S) and of their product.
        runs: the finished runs it was fitted to.
        left_out: runs of the table that did not finish and took no part.
        terms, weights: the fit, see ``Terms``.
        replicates: weights of the bootstrap refits, one row each.
        cross_validation: the degrees compared, best first: ``a1, a2, a3, coefficients, mse``.
        mse: mean squared residual.
        held_out_mse: mean squared error when each point is predicted from all others.
        errors: loss minus its prediction from all other points, run by run, in the order of ``runs``.
        pearson, subsample_mse: medians over refits on random shares of the points, on the points left out.
    """

    variable: str
    budget: float
    degree: Degree
    runs: pd.DataFrame
    left_out: int
    terms: Terms
    weights: Array
    replicates: Array
    cross_validation: pd.DataFrame
    mse: float
    held_out_mse: float
    errors: Array
    pearson: float
    subsample_mse: float

    @property
    def coefficients(self) -> dict[str, float]:
        """The coefficients under the paper's names: a_i of (ln N)^i, b_i, c_i and the constant d."""
        every = self.terms.published(self.weights)
        used = {
            f"{letter}{i}" for letter, highest in zip("abc", self.degree, strict=True) for i in range(1, highest + 1)
        }
        return {name: value for name, value in every.items() if name in used or name == "d"}

    @property
    def sparsities(self) -> list[float]:
        """The sparsities tried, in increasing order."""
        return sorted(set(self.runs["sparsity"].astype(float)))

    def predict(self, n: ArrayLike, sparsity: ArrayLike) -> Array:
        """Loss in nats per token at size ``n`` and ``sparsity``, which broadcast; a polynomial is worth nothing
        outside the sizes and sparsities tried."""
        return self._design(n, sparsity) @ self.weights

    def band(self, n: ArrayLike, sparsity: ArrayLike, level: float = 0.95) -> tuple[Array, Array]:
        """Lower and upper end of the bootstrap interval of the predicted loss."""
        low, high = np.quantile(self._design(n, sparsity) @ self.replicates.T, tails(level), axis=-1)
        return low, high

    def draws(self, n: ArrayLike, sparsity: ArrayLike) -> Array:
        """Predicted losses of the fit and, after it, of every bootstrap refit: 1 + B rows, points last."""
        return np.concatenate([self.weights[None], self.replicates]) @ self._design(n, sparsity).T

    def sizes(self, sparsity: float) -> tuple[float, float]:
        """Smallest and largest size tried at a sparsity; between two tried ones, interpolated in -ln(1 - S).

        Raises:
            SurfaceError: a sparsity outside those tried.
        """
        tried = np.array(self.sparsities)
        if not tried[0] - 1e-9 <= sparsity <= tried[-1] + 1e-9:
            raise SurfaceError(f"sparsity {sparsity:g} lies outside those tried, {tried[0]:g} to {tried[-1]:g}")
        low, high = self._log_ranges()
        at, knots = sparsity_coordinate(np.array(sparsity)), sparsity_coordinate(tried)
        return float(np.exp(np.interp(at, knots, low))), float(np.exp(np.interp(at, knots, high)))

    def optimum(self, sparsity: float, level: float = 0.95) -> Optimum:
        """The loss-optimal size N*(S) among the sizes tried at ``sparsity``.

        Args:
            sparsity: S, from the smallest to the largest one tried.
            level: of the percentile intervals.

        Raises:
            SurfaceError: a sparsity outside those tried.
        """
        smallest, largest = np.log(self.sizes(sparsity))
        grid = np.linspace(smallest, largest, _GRID)
        found = self._lowest(grid, np.exp(grid), sparsity, level)
        size = np.exp([found.at, found.at_low, found.at_high])
        return Optimum(
            sparsity=sparsity,
            n=float(size[0]),
            n_low=float(size[1]),
            n_high=float(size[2]),
            **_loss_of(found),
        )

    def best_sparsity(self, n: float, level: float = 0.95) -> BestSparsity:
        """The loss-optimal sparsity S*(N) among those at which ``n`` lies within the sizes tried.

        Raises:
            SurfaceError: no two sparsities were tried at sizes around ``n``.
        """
        grid = np.linspace(*self.stretch(n), _GRID)
        found = self._lowest(grid, n, -np.expm1(-grid), level)
        share = -np.expm1(-np.array([found.at, found.at_low, found.at_high]))
        return BestSparsity(
            n=n,
            sparsity=float(share[0]),
            sparsity_low=float(share[1]),
            sparsity_high=float(share[2]),
            **_loss_of(found),
        )

    def stretch(self, n: float) -> tuple[float, float]:
        """The sparsities at which ``n`` lies within the sizes tried, as the two ends of -ln(1 - S).

        Raises:
            SurfaceError: no two sparsities were tried at sizes around ``n``.
        """
        knots = sparsity_coordinate(np.array(self.sparsities))
        low, high = self._log_ranges()
        grid = np.linspace(knots[0], knots[-1], 8 * _GRID)
        covered = (np.interp(grid, knots, low) <= np.log(n) + 1e-9) & (np.interp(grid, knots, high) >= np.log(n) - 1e-9)
        # One stretch only: the longest, should the sizes tried leave a hole.
        stretches = np.split(np.flatnonzero(covered), np.flatnonzero(np.diff(np.flatnonzero(covered)) > 1) + 1)
        longest = max(stretches, key=len)
        if len(longest) < 3:
            raise SurfaceError(f"{self.variable} = {n:.4g} lies within the sizes tried at fewer than two sparsities")
        return float(grid[longest[0]]), float(grid[longest[-1]])

    def companion(self, n: float, sparsity: float, column: str) -> float:
        """Another column at size ``n`` and a sparsity that was tried, from the runs there: log-log interpolation.

        Active parameters are not N (1 - S), because attention and embeddings are always on; the runs know.

        Raises:
            SurfaceError: no such column, a sparsity not tried, a size outside those tried at it.
        """
        if column not in self.runs.columns:
            raise SurfaceError(f"the runs have no column {column!r}")
        runs = self.runs[np.isclose(self.runs["sparsity"], sparsity)]
        known = runs.groupby(self.variable, sort=True)[column].mean()
        size = known.index.to_numpy(float)
        if not len(size) or not size[0] * (1 - 1e-9) <= n <= size[-1] * (1 + 1e-9):
            raise SurfaceError(f"no runs around {self.variable} = {n:.4g} at sparsity {sparsity:g}")
        return float(np.exp(np.interp(np.log(n), np.log(size), np.log(known.to_numpy(float)))))

    def _design(self, n: ArrayLike, sparsity: ArrayLike) -> Array:
        size, share = np.broadcast_arrays(np.asarray(n, float), np.asarray(sparsity, float))
        return self.terms.design(np.log(size), sparsity_coordinate(share))

    def _lowest(self, grid: Array, n: ArrayLike, sparsity: ArrayLike, level: float) -> Minimum:
        """The lowest point of a cut through the surface, by its abscissae and by the sizes and sparsities there."""
        design = self._design(n, sparsity)
        return minimum(grid, design @ self.weights, self.replicates @ design.T, level)

    def _log_ranges(self) -> tuple[Array, Array]:
        sizes = self.runs[self.variable].astype(float).groupby(self.runs["sparsity"].astype(float), sort=True)
        return np.log(sizes.min().to_numpy()), np.log(sizes.max().to_numpy())


def _loss_of(found: Minimum) -> dict[str, Any]:
    """What ``Optimum`` and ``BestSparsity`` say of the loss, and of where they lie."""
    return {
        "loss": found.value,
        "loss_low": found.value_low,
        "loss_high": found.value_high,
        "edge": found.edge,
        "inside": found.inside,
    }
