"""Cells of a sweep: runs that differ in their seed alone, their mean loss, and how well it is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from moelaws.runs import finished, read_runs
from moelaws.surfaces.polynomial import Array

_DRAWS = 4000
SHAPE = ["n_layers", "head_channels", "ffn_ratio"]


@dataclass(frozen=True)
class Cells:
    """Mean losses of cells, and how well each is known.

    Attributes:
        means: one row a cell: its columns, ``loss`` and ``runs``.
        noise: standard deviation of one run beside others of its seed, pooled over all cells.
        freedom: degrees of freedom of it.
    """

    means: pd.DataFrame
    noise: float
    freedom: int

    def error(self, runs: Any) -> Any:
        """Standard error of a mean of so many runs."""
        return self.noise / np.sqrt(runs)

    def interval(self, runs: Any) -> Any:
        """Half of the 95 % interval of it."""
        return stats.t.ppf(0.975, self.freedom) * self.error(runs)

    def drawn(self, losses: Array, runs: Array, rng: np.random.Generator) -> Array:
        """Losses as they may as well have come out: the means first, then draws x cells."""
        spread = rng.standard_t(self.freedom, (_DRAWS, len(losses))) * self.error(runs)
        return np.vstack([losses, losses + spread])


def cells(runs: pd.DataFrame, by: Sequence[str]) -> Cells:
    """Means of the runs that differ in their seed alone.

    Runs of one seed read the same batches: what a seed shifts in all cells of the first column in ``by`` (a budget, a
    width) is no noise of their differences.

    Raises:
        ValueError: no cell has two runs, so that nobody knows the noise.
    """
    grouped = runs.groupby(list(by))["loss"]
    means = grouped.agg(["mean", "size"]).reset_index().rename(columns={"mean": "loss", "size": "runs"})
    blocks = runs.groupby(by[0])
    shift = runs.groupby([by[0], "seed"])["loss"].transform("mean") - blocks["loss"].transform("mean")
    freedom = int((means["runs"] - 1).sum() - (blocks["seed"].nunique() - 1).sum())
    if freedom < 1:
        raise ValueError("composition: no two runs differ in their seed alone")
    squares = float(((runs["loss"] - shift - grouped.transform("mean")) ** 2).sum())
    return Cells(means, float(np.sqrt(squares / freedom)), freedom)


def read_layers(runs_file: str) -> Cells:
    """The sweep ``composition``: losses by budget, active experts and the share of them that is shared."""
    runs = finished(read_runs(runs_file, required=("loss", "budget", "seed", "top_k", "shared_experts")))
    runs["active"] = runs["top_k"] + runs["shared_experts"]
    runs["share"] = runs["shared_experts"] / runs["active"]
    return cells(runs, ["budget", "active", "share"])


def read_shapes(runs_file: str) -> Cells:
    """The sweep ``shapes``: losses by width, depth, width of a head and of the feed-forward network."""
    runs = finished(read_runs(runs_file, required=("loss", "seed", "d_model", "n_layers", "n_heads", "d_ff")))
    runs["head_channels"] = runs["d_model"] // runs["n_heads"]
    runs["ffn_ratio"] = runs["d_ff"] // runs["d_model"]
    return cells(runs, ["d_model", *SHAPE])
