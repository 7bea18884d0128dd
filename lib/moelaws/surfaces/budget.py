"""Runs of equal budget: which budget a run belongs to, and that a fit gets runs of one budget only."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from moelaws.quote import listed, shown
from moelaws.runs import derive, finished
from moelaws.runs.budgets import TOLERANCE, ScatteredFlops, grouped
from moelaws.surfaces.polynomial import Array, SurfaceError


def completed(runs: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """A run table with the sparsity and the FLOPs that an isoFLOP fit needs, where other columns determine them.

    Returns:
        The table, and for each column added the formula that gave it.

    Raises:
        SurfaceError: mixtures without a number of experts per token.
    """
    flops = () if {"budget", "train_flops"} & set(runs.columns) else ("train_flops",)
    missing = (*(name for name in ("sparsity",) if name not in runs.columns), *flops)
    runs, derived = derive(runs, missing) if missing else (runs, {})
    if "sparsity" not in runs.columns and "n_experts" in runs.columns:
        if (runs["n_experts"] > 1).any():
            raise SurfaceError(
                "the runs have 'n_experts' above 1 but neither 'top_k' nor 'sparsity': S is not known (--map top_k=1"
                " says K for all)"
            )
        runs, derived = runs.assign(sparsity=0.0), derived | {"sparsity": "0, dense"}
    return runs, derived


def budget_of(
    runs: pd.DataFrame,
    variable: str = "total_params",
    named: Sequence[float] = (),
    tolerance: float = TOLERANCE,
) -> pd.Series:
    """The budget each run belongs to, in FLOPs.

    It is the column ``budget`` or, without it, ``train_flops``, grouped by ``runs.budgets.grouped``.

    Args:
        runs: a run table.
        variable: the column of sizes; without it every run counts as a size of its own.
        named: budgets to group by, in FLOPs; a run belongs to the nearest of them.
        tolerance: share by which FLOPs of one budget may differ from their neighbours, or from the budget named.

    Returns:
        For each run the median of its group, or the budget named; NaN for a run too far from all budgets named.

    Raises:
        SurfaceError: neither column is there, or FLOPs so scattered that they form no budgets.
    """
    column = next((name for name in ("budget", "train_flops") if name in runs.columns), None)
    if column is None:
        raise SurfaceError("the runs have neither a column 'budget' nor 'train_flops'")
    values = runs[column].astype(float)
    if len(named):
        names = np.array(sorted(named), float)
        apart = np.abs(np.log(values.to_numpy()[:, None] / names))
        nearest = names[np.argmin(np.nan_to_num(apart, nan=np.inf), axis=1)]
        near = np.abs(np.log(values / nearest)) <= np.log1p(tolerance)
        return pd.Series(nearest, index=runs.index, name=column).where(near)
    sizes = runs[variable].to_numpy(float) if variable in runs.columns else None
    try:
        group = grouped(np.asarray(values, dtype=np.float64), sizes, tolerance)
    except ScatteredFlops as error:
        raise SurfaceError(
            f"{error}; name these with --budgets, or move the tolerance with --budget-tolerance"
        ) from None
    return values.groupby(group).transform("median")


def one_budget(runs: pd.DataFrame, variable: str) -> tuple[pd.DataFrame, int, float]:
    """The finished runs of a table, completed and checked to be fit for an isoFLOP fit.

    Args:
        runs: a run table.
        variable: the column of sizes.

    Returns:
        The finished runs, how many others there were, and the budget in FLOPs.

    Raises:
        SurfaceError: a missing column, a value that no run can have, no finished run, or several budgets.
    """
    ended, _ = completed(finished(runs))
    left_out = len(runs) - len(ended)
    check(ended, variable, left_out)
    ended = ended.assign(sparsity=_alike(ended["sparsity"].to_numpy(float)))
    budgets = sorted(set(budget_of(ended, variable)))
    if len(budgets) > 1:
        found = ", ".join(f"{float(b):.4g}" for b in budgets[:8]) + (", ..." if len(budgets) > 8 else "")
        raise SurfaceError(f"an isoFLOP fit takes one budget; these runs have {len(budgets)}: {found} FLOPs")
    return ended, left_out, float(budgets[0])


def check(runs: pd.DataFrame, variable: str, left_out: int = 0) -> None:
    """Refuse a table that an isoFLOP fit cannot use.

    Args:
        runs: finished runs.
        variable: the column of sizes.
        left_out: runs that did not finish, for the message.

    Raises:
        SurfaceError: a missing column, a value that no run can have, or no run.
    """
    for name in ("loss", "sparsity", variable):
        if name not in runs.columns:
            other = next((size for size in ("total_params", "active_params") if size in runs.columns), None)
            hint = f"; it has sizes in {other!r}" if name == variable and other else ""
            raise SurfaceError(f"the runs have no column {shown(name)}; they have {listed(runs.columns, name)}{hint}")
        if not pd.api.types.is_numeric_dtype(runs[name]):
            raise SurfaceError(f"column {shown(name)} holds other things than numbers")
    if runs.empty:
        raise SurfaceError(f"no finished runs among {left_out}" if left_out else "no runs")
    for name, good, expected in (
        ("loss", runs["loss"] > 0, "a number > 0"),
        (variable, runs[variable] > 0, "a number > 0"),
        ("sparsity", runs["sparsity"].between(0, 1, inclusive="left"), "a number from 0 up to but not including 1"),
        *((name, runs[name] > 0, "a number > 0") for name in ("budget", "train_flops") if name in runs.columns),
    ):
        good &= np.isfinite(runs[name])
        if not good.all():
            row = runs.index[~good][0]
            raise SurfaceError(f"row {row}, column {name!r}: found {runs[name].at[row]!s}, expected {expected}")


def _alike(sparsity: Array) -> Array:
    """The same sparsity may be written 0.96875 and 0.968750001: it becomes the first of these."""
    _, first, group = np.unique(np.round(sparsity, 6), return_index=True, return_inverse=True)
    return sparsity[first][group.reshape(-1)]
