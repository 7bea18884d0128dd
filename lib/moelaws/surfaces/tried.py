"""The sizes and sparsities that a table of runs covers: outside them a fitted polynomial is worth nothing."""

from dataclasses import dataclass

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
        return sorted(set(self.runs["sparsity"].astype(float)))

    def at(self, sparsity: float) -> Array:
        """The distinct sizes at a sparsity, in increasing order; none at one that was not tried."""
        sizes = self.runs.loc[np.isclose(self.runs["sparsity"], sparsity), self.variable].to_numpy(float)
        return sizes[np.unique(np.round(np.log(sizes), 6), return_index=True)[1]] if len(sizes) else sizes

    def around(self, sparsity: float) -> list[float]:
        """The one or two sparsities tried that a sparsity equals or lies between."""
        tried = np.array(self.sparsities)
        last = len(tried) - 1
        below = int(np.clip(np.searchsorted(tried, sparsity + 1e-9) - 1, 0, last))
        above = int(np.clip(np.searchsorted(tried, sparsity - 1e-9), 0, last))
        return [float(tried[k]) for k in sorted({below, above})]

    def sizes(self, sparsity: float) -> tuple[float, float]:
        """Smallest and largest size at a sparsity; between two tried ones, interpolated in -ln(1 - S).

        Raises:
            SurfaceError: a sparsity outside those tried.
        """
        tried = np.array(self.sparsities)
        if not tried[0] - 1e-9 <= sparsity <= tried[-1] + 1e-9:
            raise SurfaceError(f"sparsity {sparsity:g} lies outside those tried, {tried[0]:g} to {tried[-1]:g}")
        low, high = self._log_ranges()
        at, knots = sparsity_coordinate(np.array(sparsity)), sparsity_coordinate(tried)
        return float(np.exp(np.interp(at, knots, low))), float(np.exp(np.interp(at, knots, high)))

    def stretch(self, n: float) -> tuple[float, float]:
        """The sparsities at which ``n`` lies within the sizes tried, as the two ends of -ln(1 - S).

        Raises:
            SurfaceError: no two sparsities were tried at sizes around ``n``.
        """
        knots = sparsity_coordinate(np.array(self.sparsities))
        low, high = self._log_ranges()
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
        runs = self.runs[np.isclose(self.runs["sparsity"], sparsity)]
        known = runs.groupby(self.variable, sort=True)[column].mean()
        size = known.index.to_numpy(float)
        if not len(size) or not size[0] * (1 - 1e-9) <= n <= size[-1] * (1 + 1e-9):
            raise SurfaceError(f"no runs around {self.variable} = {n:.4g} at sparsity {sparsity:g}")
        return float(np.exp(np.interp(np.log(n), np.log(size), np.log(known.to_numpy(float)))))

    def _log_ranges(self) -> tuple[Array, Array]:
        sizes = self.runs[self.variable].astype(float).groupby(self.runs["sparsity"].astype(float), sort=True)
        return np.log(sizes.min().to_numpy()), np.log(sizes.max().to_numpy())
