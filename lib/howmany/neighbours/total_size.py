"""What all parameters say, of the runs of the study: how many times the active ones, and in how many experts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from howmany.granularity.finer_experts import runs_of
from howmany.study import budget_label
from howmany.verdict import Finding, finding
from moelaws.runs import finished, read_runs
from moelaws.surfaces.polynomial import Array

NEEDED = ("loss", "budget", "n_experts", "top_k", "granularity", "active_params", "total_params")
"""Columns that curves over the number of experts are made of."""


def expansions(study_file: str, draws: int = 1000, flat: int | None = None) -> list[Finding]:
    """Total over active parameters at the best number of experts of each budget; K = G = 1.

    The lowest loss over sizes at each number of experts is the vertex of a parabola in ln(active parameters); noise as
    large as what the parabolas leave makes the interval.

    Args:
        study_file: the table.
        draws: of the noise.
        flat: seed of noise, where all parabolas are equally low and only noise makes one the lowest.
    """
    runs = finished(read_runs(study_file, required=NEEDED)).query("top_k == 1 and granularity == 1")
    rng = np.random.default_rng(flat or 0)
    made = []
    for budget, group in runs.groupby("budget"):
        curves = [_Curve.of(part) for _, part in group.groupby("n_experts") if part["active_params"].nunique() > 2]
        freedom = sum(len(curve.losses) - 3 for curve in curves)
        if freedom < 1:
            continue
        noise = np.sqrt(sum(((curve.losses - curve.fitted) ** 2).sum() for curve in curves) / freedom)
        drawn = [curve.lowest(noise, draws, rng) for curve in curves]
        lowest = np.array([loss for loss, _ in drawn])
        if flat is not None:
            lowest += rng.normal(0, noise / 2, size=(len(lowest), 1)) - lowest[:, :1]
        best = lowest.argmin(0)
        ratios = np.array([ratio for _, ratio in drawn])
        made.append(finding(_label(budget), ratios[best, np.arange(draws + 1)]))
    return made


@dataclass(frozen=True)
class _Curve:
    """Losses of one number of experts at one budget, and a parabola through them in ln(active parameters)."""

    sizes: Array
    losses: Array
    ratios: Array
    solve: Array

    @classmethod
    def of(cls, runs: pd.DataFrame) -> "_Curve":
        sizes = np.log(runs["active_params"].to_numpy(float))
        sizes = sizes - sizes.mean()
        ratios = (runs["total_params"] / runs["active_params"]).to_numpy(float)
        return cls(sizes, runs["loss"].to_numpy(float), ratios, np.linalg.pinv(np.vander(sizes, 3)))

    @property
    def fitted(self) -> Array:
        return np.asarray(np.vander(self.sizes, 3) @ (self.solve @ self.losses))

    def lowest(self, noise: float, draws: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """The lowest loss and the ratio of parameters there, of the fit and of draws."""
        again = self.fitted + noise * rng.normal(size=(draws, len(self.losses)))
        square, slope, middle = self.solve @ np.vstack([self.losses, again]).T
        inside = np.clip(-slope / (2 * np.where(square > 0, square, 1)), self.sizes.min(), self.sizes.max())
        ends = np.where(slope > 0, self.sizes.min(), self.sizes.max())
        at = np.where(square > 0, inside, ends)
        near = np.abs(self.sizes - at[:, None]).argmin(1)
        return middle + slope * at + square * at**2, self.ratios[near]


def more_experts(files: Sequence[str], rng: np.random.Generator | None = None) -> list[Finding]:
    """Loss with two experts of twice as many less that with one, at equal FLOPs, share at work and total parameters.

    Experts are of full width, so that what more of them take, depth and width of the model pay. Models of one expert
    are read off a parabola in ln(total parameters), from half the size of the smallest other on; what it leaves is the
    noise of a run.

    Args:
        files: tables with both kinds.
        rng: instead of the difference, noise alone.
    """
    runs = runs_of(list(files)).query("granularity == 1 and n_experts > top_k")
    runs = runs.assign(ratio=runs["n_experts"] / runs["top_k"], x=np.log(runs["total_params"]))
    sides = []
    for (budget, ratio), group in runs.groupby(["budget", "ratio"]):
        two = group[group["top_k"] == 2]
        one = group[(group["top_k"] == 1) & (group["x"] > two["x"].min() - np.log(2))]
        if one["x"].nunique() > 3:
            sides.append((budget, ratio, one, two[two["x"] <= one["x"].max()]))
    squares, freedom, made = 0.0, 0, []
    for budget, ratio, one, two in sides:
        design = np.vander(one["x"] - one["x"].mean(), 3)
        solve = np.linalg.pinv(design)
        line = solve @ one["loss"].to_numpy()
        squares += float(((one["loss"] - design @ line) ** 2).sum())
        freedom += len(one) - 3
        for x, losses in two.groupby("x")["loss"]:
            at = np.vander([x - one["x"].mean()], 3)[0]
            error = np.sqrt(1 / len(losses) + float(((at @ solve) ** 2).sum()))
            where = f"1 of {ratio:g}, {np.exp(x) / 1e3:.0f} k, {_label(budget)}"
            made.append((where, float(losses.mean() - at @ line), float(error)))
    noise, reach = np.sqrt(squares / max(freedom, 1)), stats.t.ppf(0.975, freedom)
    found = []
    for where, value, error in made:
        middle = value if rng is None else float(noise * error * rng.standard_t(freedom))
        found.append(Finding(where, middle, middle - reach * noise * error, middle + reach * noise * error, "nats"))
    return found


def _label(budget: Any) -> str:
    return budget_label(float(budget))
