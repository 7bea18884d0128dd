"""The fitted loss surface of one budget, and where it is lowest: N*(S), S*(N), with intervals."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from moelaws.optimum.minimum import Minimum, minimum, tails
from moelaws.surfaces.form_error import Reference
from moelaws.surfaces.polynomial import Array, Degree, Terms, sparsity_coordinate
from moelaws.surfaces.standing import BestSparsity, Optimum, Standing, misses, standing
from moelaws.surfaces.tried import Tried

FAR, ODD = "far from the optimum", "contradicts all others"
"""Why a finished run was set aside."""

INSIDE = 0.95
"""Share of the refits that must have their optimum inside the sizes tried, for it to count as found."""

_GRID = 401


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
        set_aside: finished runs that took no part either, with the column ``why``.
        noise: by how much runs near an optimum may miss the curve by chance, nats per token.
        reference: curves of single sparsities whose intervals these must hold.
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
    set_aside: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    noise: float = np.inf
    reference: Reference | None = field(default=None, repr=False)

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
        return self.fitted.sparsities

    @cached_property
    def fitted(self) -> Tried:
        """The sizes and sparsities of the runs it was fitted to."""
        return Tried(self.runs, self.variable)

    @cached_property
    def tried(self) -> Tried:
        """The same with those set aside."""
        return Tried(pd.concat([self.runs, self.set_aside]), self.variable) if len(self.set_aside) else self.fitted

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
        """Smallest and largest size fitted at a sparsity; between two tried ones, interpolated in -ln(1 - S).

        Raises:
            SurfaceError: a sparsity outside those tried.
        """
        return self.fitted.sizes(sparsity)

    def optimum(self, sparsity: float, level: float = 0.95) -> Optimum:
        """The loss-optimal size N*(S) among the sizes fitted at ``sparsity``.

        Args:
            sparsity: S, from the smallest to the largest one tried.
            level: of the intervals.

        Raises:
            SurfaceError: a sparsity outside those tried.
        """
        ends = np.log(self.sizes(sparsity))
        grid = np.linspace(ends[0], ends[1], _GRID)
        drawn = self._lowest(grid, np.exp(grid), sparsity, level)
        found, inside = self._referred(drawn, sparsity, level, ends)
        size = np.exp([found.at, found.at_low, found.at_high])
        return Optimum(
            sparsity=sparsity,
            n=float(size[0]),
            n_low=float(size[1]),
            n_high=float(size[2]),
            **_loss_of(found),
            status=self._standing(found, inside, sparsity),
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
        """The sparsities at which ``n`` lies within the sizes fitted, as the two ends of -ln(1 - S).

        Raises:
            SurfaceError: no two sparsities were tried at sizes around ``n``.
        """
        return self.fitted.stretch(n)

    def companion(self, n: float, sparsity: float, column: str) -> float:
        """Another column at size ``n`` and a sparsity that was tried, see ``Tried``.

        Raises:
            SurfaceError: no such column, a sparsity not tried, a size outside those tried at it.
        """
        return self.fitted.companion(n, sparsity, column)

    def _design(self, n: ArrayLike, sparsity: ArrayLike) -> Array:
        size, share = np.broadcast_arrays(np.asarray(n, float), np.asarray(sparsity, float))
        return self.terms.design(np.log(size), sparsity_coordinate(share))

    def _lowest(self, grid: Array, n: ArrayLike, sparsity: ArrayLike, level: float) -> Minimum:
        """The lowest point of a cut through the surface, by its abscissae and by the sizes and sparsities there."""
        design = self._design(n, sparsity)
        return minimum(grid, design @ self.weights, self.replicates @ design.T, level)

    def _referred(
        self, drawn: Minimum, sparsity: float, level: float, ends: Array
    ) -> tuple[Minimum, tuple[bool, bool]]:
        """A minimum with an interval that holds those of the reference, and which of its ends lie inside the sizes."""
        inside = (drawn.at_low > ends[0], drawn.at_high < ends[1])
        if drawn.edge == "":
            inside = (drawn.inside >= INSIDE, drawn.inside >= INSIDE)
        if self.reference is None or not len(self.replicates):
            return drawn, inside
        if not self.reference.curves:
            low, high = drawn.at_low + min(self.reference.shift, 0.0), drawn.at_high + max(self.reference.shift, 0.0)
            shifted = replace(drawn, at_low=max(low, ends[0]), at_high=min(high, ends[1]))
            return shifted, (inside[0] and low > ends[0], inside[1] and high < ends[1])
        place = float(sparsity_coordinate(np.array(sparsity)))
        reach = self.reference.reach(place, drawn.at, drawn.value, level)
        lows, highs = [reach.low, reach.loss_low], [reach.high, reach.loss_high]
        if self.reference.alone:  # Student's t is exact where a bootstrap of few sizes is not
            inside = reach.ends
        else:
            lows = np.minimum(lows, [drawn.at_low, drawn.value_low]).tolist()
            highs = np.maximum(highs, [drawn.at_high, drawn.value_high]).tolist()
            inside = (inside[0] and reach.ends[0], inside[1] and reach.ends[1])
        at_low, at_high = np.clip([lows[0], highs[0]], ends[0], ends[1])
        referred = replace(drawn, at_low=at_low, at_high=at_high, value_low=lows[1], value_high=highs[1])
        return referred, inside

    def _standing(self, found: Minimum, inside: tuple[bool, bool], sparsity: float) -> Standing:
        here, side = self.fitted.around(sparsity), -1 if found.edge == "high" else 0
        return standing(
            edge=found.edge,
            fewest=min(len(self.tried.at(s)) for s in here),
            cut=any(not np.isclose(self.tried.sizes(s)[side], self.sizes(s)[side]) for s in here),
            missed=any(self._missed(found, s) for s in here),
            ends=inside if len(self.replicates) else None,
        )

    def _missed(self, found: Minimum, sparsity: float) -> bool:
        here = np.isclose(self.runs["sparsity"].to_numpy(float), sparsity)
        n, loss = (self.runs[name].to_numpy(float)[here] for name in (self.variable, "loss"))
        return misses(found.at, np.log(n), loss - self.predict(n, sparsity), self.noise)


def _loss_of(found: Minimum) -> dict[str, Any]:
    """What ``Optimum`` and ``BestSparsity`` say of the loss, and of where they lie."""
    return {
        "loss": found.value,
        "loss_low": found.value_low,
        "loss_high": found.value_high,
        "edge": found.edge,
        "inside": found.inside,
    }
