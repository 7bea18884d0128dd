"""The sizes and sparsities that a table of runs covers: outside them a fitted polynomial is worth nothing."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from moelaws.surfaces.polynomial import Array, SurfaceError, sparsity_coordinate

_GRID = 3208


@dataclass(frozen=True)
class Tried:
    """What was tried.

    Attributes:
        runs: finished runs of one budget.
        variable: the column of sizes.
    """

    runs: pd.DataFrame
    variable: str

    @property
    def sparsities(self) -> list[float]:
        """The sparsities, in increasing order."""
        return self._places[0].tolist()

    def at(self, sparsity: float) -> Array:
        """The distinct sizes at a sparsity, in increasing order; none at one that was not tried."""
        places, every = self._columns
        sizes = every[np.isclose(places, sparsity)]
        return sizes[np.unique(np.round(np.log(sizes), 6), return_index=True)[1]] if len(sizes) else sizes

    def around(self, sparsity: float) -> list[float]:
        """The one or two sparsities tried that a sparsity equals or lies between."""
        tried = self._places[0]
        last = len(tried) - 1
        below = int(np.clip(np.searchsorted(tried, sparsity + 1e-9) - 1, 0, last))
        above = int(np.clip(np.searchsorted(tried, sparsity - 1e-9), 0, last))
        return [float(tried[k]) for k in sorted({below, above})]

    def sizes(self, sparsity: float) -> tuple[float, float]:
        """Smallest and largest size at a sparsity; between two tried ones, interpolated in -ln(1 - S).

        Raises:
            SurfaceError: a sparsity outside those tried.
        """
        tried, low, high = self._places
        if not tried[0] - 1e-9 <= sparsity <= tried[-1] + 1e-9:
            raise SurfaceError(f"sparsity {sparsity:g} lies outside those tried, {tried[0]:g} to {tried[-1]:g}")
        at, knots = sparsity_coordinate(np.array(sparsity)), sparsity_coordinate(tried)
        return float(np.exp(np.interp(at, knots, low))), float(np.exp(np.interp(at, knots, high)))

    def stretch(self, n: float) -> tuple[float, float]:
        """The sparsities at which ``n`` lies within the sizes tried, as the two ends of -ln(1 - S).

        Raises:
            SurfaceError: no two sparsities were tried at sizes around ``n``.
        """
        tried, low, high = self._places
        knots = sparsity_coordinate(tried)
        grid = np.linspace(knots[0], knots[-1], _GRID)
        covered = (np.interp(grid, knots, low) <= np.log(n) + 1e-9) & (np.interp(grid, knots, high) >= np.log(n) - 1e-9)
        # One stretch only: the longest, should the sizes tried leave a hole.
        stretches = np.split(np.flatnonzero(covered), np.flatnonzero(np.diff(np.flatnonzero(covered)) > 1) + 1)
        longest = max(stretches, key=len)
        if len(knots) < 2 or len(longest) < 3:
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
        here = np.isclose(self._columns[0], sparsity)
        size, at = np.unique(self._columns[1][here], return_inverse=True)
        if not len(size) or not size[0] * (1 - 1e-9) <= n <= size[-1] * (1 + 1e-9):
            raise SurfaceError(f"no runs around {self.variable} = {n:.4g} at sparsity {sparsity:g}")
        values = self.runs[column].to_numpy(float)[here]
        told = np.isfinite(values)
        with np.errstate(invalid="ignore"):  # a size of which no run tells it
            mean = np.bincount(at[told], values[told], len(size)) / np.bincount(at[told], minlength=len(size))
        return float(np.exp(np.interp(np.log(n), np.log(size), np.log(mean))))

    @cached_property
    def _columns(self) -> tuple[Array, Array]:
        """Sparsity and size of each run."""
        return self.runs["sparsity"].to_numpy(float), self.runs[self.variable].to_numpy(float)

    @cached_property
    def _places(self) -> tuple[Array, Array, Array]:
        """The sparsities, and the logarithms of the smallest and the largest size at each."""
        places, sizes = self._columns
        tried, at = np.unique(places, return_inverse=True)
        low, high = np.full(len(tried), np.inf), np.full(len(tried), -np.inf)
        np.minimum.at(low, at, sizes)
        np.maximum.at(high, at, sizes)
        return tried, np.log(low), np.log(high)
