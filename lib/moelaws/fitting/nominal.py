"""Runs of a budget whose FLOPs scatter, moved to one number of FLOPs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moelaws.fitting.budget import FEWEST_SIZES, TOLERANCE, budget_of, distinct

_SPREAD = 0.02
"""FLOPs of a budget that lie within this share of one another are taken for equal."""


@dataclass(frozen=True)
class EqualBudgets:
    """Runs sorted into budgets.

    Attributes:
        runs: the finished runs that belong to a budget; their column ``budget`` names it, and their losses are those
            that they would have had at exactly that many FLOPs.
        budgets: one row a budget: ``budget``, ``runs``, ``low`` and ``high`` (the FLOPs its runs were given), ``slope``
            (nats per unit of ln C by which losses were moved; 0 where they were not).
        outside: how many runs lie too far from every budget that was named.
    """

    runs: pd.DataFrame
    budgets: pd.DataFrame
    outside: int


def equal_budgets(
    runs: pd.DataFrame, variable: str = "total_params", named: Sequence[float] = (), tolerance: float = TOLERANCE
) -> EqualBudgets:
    """Sort runs into budgets, and move the losses of budgets that scatter to one number of FLOPs.

    A budget whose FLOPs scatter by more than 2 % is called by the roundest number among them. A run that got more than
    that would have lost less by dL*/d ln C times the excess: at the optimum this is also the change at a fixed size, so
    the slope is read from the lowest losses of the neighbouring budgets. A table of one budget has no such slope: its
    losses stay, and what they scatter with the FLOPs counts as noise. A column ``budget`` is taken at its word.

    Args:
        runs: finished runs, checked.
        variable: the column of sizes.
        named: budgets to group by, in FLOPs.
        tolerance: see ``budget_of``.

    Returns:
        The runs and what was done to them.

    Raises:
        SurfaceError: no column of budgets, or FLOPs so scattered that they form no budgets.
    """
    given = budget_of(runs, variable, named, tolerance)
    inside, outside = runs[given.notna()], int(given.isna().sum())
    column = "budget" if "budget" in runs.columns else "train_flops"
    flops, called = inside[column].astype(float), given[given.notna()]
    budgets = flops.groupby(called).agg(["size", "min", "max"]).set_axis(["runs", "low", "high"], axis=1)
    budgets.insert(0, "budget", budgets.index.astype(float))
    budgets["slope"] = 0.0
    scattered = budgets["high"] > budgets["low"] * (1 + _SPREAD)
    enough = inside.groupby(called)[variable].agg(lambda sizes: distinct(sizes.to_numpy(float))) >= FEWEST_SIZES
    if column == "train_flops" and enough.sum() > 1:
        slopes = _slopes(budgets.loc[enough, "budget"], inside["loss"].groupby([called, inside["sparsity"]]).min())
        for label, slope in slopes[scattered & enough].items():
            low, high, middle = budgets.loc[label, ["low", "high", "budget"]].astype(float)
            budgets.loc[label, "slope"] = slope
            if not len(named):
                budgets.loc[label, "budget"] = _roundest(low, high, middle)
    budget = called.map(budgets["budget"]).astype(float)
    moved = called.map(budgets["slope"]).astype(float) * np.log(flops / budget)
    return EqualBudgets(
        inside.assign(budget=budget, loss=inside["loss"] - moved), budgets.reset_index(drop=True), outside
    )


def _slopes(budgets: pd.Series, lowest: pd.Series) -> pd.Series:
    """Change of the lowest loss with ln C at every budget; where more FLOPs do no better there is none.

    Args:
        budgets: FLOPs of two budgets or more, by their label.
        lowest: lowest loss by label and sparsity; the sparsities that all budgets have are averaged.
    """
    table = lowest.unstack().loc[budgets.index]
    shared = table.dropna(axis=1)
    level = shared.mean(axis=1) if shared.shape[1] else table.min(axis=1)
    order = 2 if len(budgets) > 2 else 1
    slopes = np.gradient(level.to_numpy(float), np.log(budgets.to_numpy(float)), edge_order=order)
    return pd.Series(np.minimum(slopes, 0.0), index=budgets.index)


def _roundest(low: float, high: float, middle: float) -> float:
    """The number with the fewest digits from ``low`` to ``high``, the nearest to the middle of these."""
    for digits in range(1, 6):
        unit = 10.0 ** (np.floor(np.log10(middle)) - digits + 1)
        steps = np.arange(np.ceil(low / unit), np.floor(high / unit) + 1)
        if len(steps):
            return float(f"{steps[np.argmin(np.abs(steps * unit - middle))] * unit:.6g}")
    return middle
