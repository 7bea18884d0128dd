"""A configuration of a run table, such as its mixtures of 64 experts, and its best loss at each budget."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moelaws.fitting.objective import FitError
from moelaws.quote import plain, shown
from moelaws.runs import derive
from moelaws.runs.reading.where import rows_where
from moelaws.surfaces.isoflop import fit_surface
from moelaws.surfaces.nominal import EqualBudgets
from moelaws.surfaces.polynomial import SurfaceError
from moelaws.surfaces.standing import FOUND, words

DENSE = "dense"
_EXPERTS = re.compile(r"(\d{1,7})(?:,(\d{1,7}))?")


@dataclass(frozen=True)
class Configuration:
    """Which runs of a table are of one kind.

    Attributes:
        text: as it was asked for: ``dense``, E, ``E,K``, or a condition on rows.
        n_experts, top_k: E and K; ``None`` for what a condition leaves open, and for K where the table has one K.
    """

    text: str
    n_experts: int | None = None
    top_k: int | None = None

    @classmethod
    def read(cls, text: str | int) -> "Configuration":
        """A configuration from ``"dense"``, a number of experts, ``"64,2"`` (E and K), or a condition on rows.

        Raises:
            FitError: K above E, or nothing.
        """
        text = str(text).strip()
        if not text:
            raise FitError("a configuration: expected dense, E, E,K or a condition on rows, found nothing")
        if text == DENSE:
            return cls(text, 1, 1)
        match = _EXPERTS.fullmatch(text)
        if match is None:
            return cls(text)
        experts, top_k = int(match[1]), None if match[2] is None else int(match[2])
        if experts < 1 or (top_k is not None and not 1 <= top_k <= experts):
            raise FitError(f"configuration {shown(text)}: expected E >= 1 and K from 1 to E")
        return cls(text, experts, 1 if experts == 1 else top_k)

    @property
    def words(self) -> str:
        """What it is, in words."""
        if self.n_experts is None:
            return plain(self.text, 120)
        return DENSE if self.n_experts == 1 else f"E = {self.n_experts}" + (f", K = {self.top_k}" if self.top_k else "")

    def rows(self, runs: pd.DataFrame) -> pd.Series:
        """Which rows are of it, one truth value a row.

        Raises:
            FitError: none, or mixtures of several K where none was named.
            ConditionError: a condition that cannot be read.
        """
        if self.n_experts is None:
            mask = rows_where(runs, self.text)
        else:
            known, _ = derive(runs, ["n_experts", "top_k"])
            if "n_experts" not in known.columns:
                raise FitError("the table does not tell numbers of experts; name the rows by a condition")
            mask = known["n_experts"] == self.n_experts
            if self.top_k is not None and "top_k" in known.columns:
                mask &= known["top_k"] == self.top_k
            elif mask.any() and "top_k" in known.columns and known.loc[mask, "top_k"].nunique() > 1:
                several = ", ".join(f"{k:g}" for k in sorted(known.loc[mask, "top_k"].unique())[:6])
                raise FitError(f"runs with {self.words} have K = {several}: name one, as in '{self.n_experts},1'")
        if not mask.any():
            raise FitError(f"no run with {self.words}")
        return mask


def best_losses(
    runs: pd.DataFrame, budgets: EqualBudgets, chosen: Configuration, options: "CurveOptions"
) -> pd.DataFrame:
    """The best loss of a configuration at each budget: at the bottom of the curve through its own sizes.

    Args:
        runs: finished runs, completed.
        budgets: the same, sorted into budgets.
        chosen: the configuration.
        options: how the curves are fitted.

    Returns:
        One row a budget: ``budget``, the best size ``n``, ``loss`` with ``low`` and ``high`` (95 %), ``runs``, and
        ``why`` there is no optimum (empty where there is one).

    Raises:
        FitError: runs of several sparsities.
    """
    of_it = chosen.rows(runs)
    rows = []
    inside = budgets.runs[of_it.reindex(budgets.runs.index)]
    for flops, group in inside.groupby("budget"):
        if group["sparsity"].round(6).nunique() > 1:
            raise FitError(
                f"runs with {chosen.words} have several sparsities at {flops:.4g} FLOPs: a configuration has one"
            )
        row = {"budget": float(str(flops)), "n": np.nan, "loss": np.nan, "low": np.nan, "high": np.nan}
        try:
            surface = fit_surface(group, options.variable, None, options.bootstrap, options.seed)
            best = surface.optimum(surface.sparsities[0])
            sizes = surface.tried.at(best.sparsity)
            # How low a flat bottom lies is known also where its size is not.
            found = best.status in FOUND or (best.status == "open" and best.bracketed)
            why = "" if found else words(best.status, sizes[0], sizes[-1], len(sizes))
            if found:
                row |= {"n": best.n, "loss": best.loss, "low": best.loss_low, "high": best.loss_high}
        except SurfaceError as error:
            why = str(error)
        rows.append(row | {"runs": len(group), "why": why})
    return pd.DataFrame(rows, columns=["budget", "n", "loss", "low", "high", "runs", "why"])


@dataclass(frozen=True)
class CurveOptions:
    """How the curves of a configuration are fitted.

    Attributes:
        variable: the column of sizes.
        bootstrap: refits for the intervals.
        seed: of the refits.
    """

    variable: str = "active_params"
    bootstrap: int = 300
    seed: int = 0
