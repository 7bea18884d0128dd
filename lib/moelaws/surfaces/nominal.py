"""Runs sorted: those of a budget that scatters moved to one number of FLOPs, and those of each design apart."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moelaws.quote import listed, shown
from moelaws.runs.budgets import FEWEST_SIZES, TOLERANCE, distinct, roundest
from moelaws.surfaces.budget import budget_of
from moelaws.surfaces.polynomial import Array, SurfaceError

Design = Mapping[str, float]
"""Column -> its value for all mixtures of the design; empty where nothing parts them."""

DESIGN = ("top_k", "granularity")
"""Columns that change a mixture at equal sparsity."""

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
    groups = flops.groupby(called)
    label = np.array([float(str(each)) for each in groups.groups])
    low, high = groups.min().to_numpy(float), groups.max().to_numpy(float)
    scattered = high > low * (1 + _SPREAD)
    sizes = inside.groupby(called)[variable]
    enough = np.array([distinct(group.to_numpy(float)) >= FEWEST_SIZES for _, group in sizes])
    budget, slope = label.copy(), np.zeros(len(label))
    if column == "train_flops" and enough.sum() > 1:
        slope[enough] = _slopes(label[enough], inside["loss"].groupby([called, inside["sparsity"]]).min())
        slope[~scattered] = 0.0
        for k in np.flatnonzero(scattered & enough) if not len(named) else ():
            budget[k] = roundest(low[k], high[k], label[k])
    of_run = np.searchsorted(label, called.to_numpy(float))
    moved = slope[of_run] * np.log(flops.to_numpy(float) / budget[of_run])
    return EqualBudgets(
        inside.assign(budget=budget[of_run], loss=inside["loss"] - moved),
        pd.DataFrame({"budget": budget, "runs": groups.size().to_numpy(), "low": low, "high": high, "slope": slope}),
        outside,
    )


def _slopes(labels: Array, lowest: pd.Series) -> Array:
    """Change of the lowest loss with ln C at every budget; where more FLOPs do no better there is none.

    Args:
        labels: of two budgets or more, in FLOPs.
        lowest: lowest loss by label and sparsity; the sparsities that all budgets have are averaged.
    """
    table = lowest.unstack().reindex(labels)
    shared = table.dropna(axis=1)
    level = (shared.mean(axis=1) if shared.shape[1] else table.min(axis=1)).to_numpy(float)
    if len(labels) > 2:
        slopes: Array = np.gradient(level, np.log(labels), edge_order=2)
    else:
        slopes = np.gradient(level, np.log(labels))
    return np.minimum(slopes, 0.0)


def by_design(runs: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[Design, pd.DataFrame]]:
    """The runs of one budget, design by design.

    Args:
        runs: finished runs of one budget with ``sparsity``.
        by: columns that part the mixtures; none for all runs together.

    Yields:
        The design, and its mixtures with all dense runs, which belong to each design.

    Raises:
        SurfaceError: no such column, or one that holds no number for some mixture.
    """
    for name in by:
        if name not in runs.columns:
            there = listed(runs.columns, name)
            raise SurfaceError(f"the runs have no column {shown(name)} to part them by; they have {there}")
    dense = runs["sparsity"] == 0
    mixtures = runs[~dense]
    if not by or mixtures.empty:
        yield {}, runs
        return
    values = mixtures[list(by)].apply(pd.to_numeric, errors="coerce")
    for name in by:
        if values[name].isna().any():
            row = values.index[values[name].isna()][0]
            raise SurfaceError(
                f"row {row}, column {shown(name)}: expected a number, found {shown(runs.loc[row, name])}"
            )
    places, keys = np.flatnonzero(~dense), values.to_numpy(float)
    for key in np.unique(keys, axis=0):
        here = dense.to_numpy().copy()
        here[places[(keys == key).all(axis=1)]] = True
        yield dict(zip(by, key.tolist(), strict=True)), runs[here]


def mixed_designs(runs: pd.DataFrame) -> str:
    """Which columns of ``DESIGN`` vary among mixtures of one budget and sparsity, in one sentence; empty for none."""
    mixtures = runs[runs["sparsity"] > 0]
    names = [name for name in DESIGN if name in mixtures.columns]
    if mixtures.empty or not names:
        return ""
    place = [mixtures["budget"], mixtures["sparsity"].astype(float).round(6)]
    varied = [name for name in names if (mixtures[name].groupby(place).nunique() > 1).any()]
    if not varied:
        return ""
    return (
        f"runs of one budget and sparsity differ in {' and '.join(varied)}: one surface holds them all, "
        f"and {', '.join(varied)} can part them (--by)"
    )


def told(flops: float, design: Design) -> str:
    """A budget and design as messages write it."""
    return ", ".join([f"budget {flops:.4g}", *(f"{name} {value:g}" for name, value in design.items())])
