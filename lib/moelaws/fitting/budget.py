"""Runs of equal budget: which budget a run belongs to, and that a fit gets runs of one budget only."""

import numpy as np
import pandas as pd

from moelaws.fitting.polynomial import SurfaceError
from moelaws.quote import listed, shown
from moelaws.runs import finished


def budget_of(runs: pd.DataFrame) -> pd.Series:
    """The budget each run belongs to, in FLOPs.

    It is the column ``budget`` or, without it, ``train_flops``; values within 1 % of one another's middle are one
    budget, because a run takes a whole number of steps. A group bears its median.

    Raises:
        SurfaceError: neither column is there.
    """
    column = next((name for name in ("budget", "train_flops") if name in runs.columns), None)
    if column is None:
        raise SurfaceError("the runs have neither a column 'budget' nor 'train_flops'")
    values = runs[column].astype(float)
    group: dict[float, float] = {}
    start = -np.inf
    for value in sorted(set(values.dropna())):
        start = value if value > 1.02 * start else start
        group[value] = start
    groups = values.map(group)
    return values.groupby(groups).transform("median")


def one_budget(runs: pd.DataFrame, variable: str) -> tuple[pd.DataFrame, int, float]:
    """The finished runs of a table, checked to be fit for an isoFLOP fit.

    Args:
        runs: a run table.
        variable: the column of sizes.

    Returns:
        The finished runs, how many others there were, and the budget in FLOPs.

    Raises:
        SurfaceError: a missing column, a value that no run can have, no finished run, or several budgets.
    """
    ended = finished(runs)
    left_out = len(runs) - len(ended)
    _check(ended, variable, left_out)
    budgets = sorted(set(budget_of(ended)))
    if len(budgets) > 1:
        found = ", ".join(f"{float(b):.4g}" for b in budgets)
        raise SurfaceError(f"an isoFLOP fit takes one budget; these runs have {len(budgets)}: {found} FLOPs")
    return ended, left_out, float(budgets[0])


def _check(runs: pd.DataFrame, variable: str, left_out: int) -> None:
    for name in ("loss", "sparsity", variable):
        if name not in runs.columns:
            found = listed(runs.columns, name)
            raise SurfaceError(f"the runs have no column {shown(name)}; they have {found}")
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
