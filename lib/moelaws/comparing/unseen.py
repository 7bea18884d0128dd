"""What is held out of a table, to see how well laws foresee it: the largest budget, the highest sparsity, any rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moelaws.fitting.objective import FitError
from moelaws.quote import shown
from moelaws.runs import derive
from moelaws.runs.reading.where import rows_where
from moelaws.surfaces.budget import budget_of
from moelaws.surfaces.polynomial import SurfaceError

BUDGET, SPARSITY = "budget", "sparsity"
HELD_OUT = (BUDGET, SPARSITY)
"""What is held out where nothing is named, one after the other, as far as the table has it."""

_SIZES = ("active_params", "dense_params", "non_embedding_params", "total_params")
_FEWEST = 3
"""Runs that a measure of forecasts takes at least."""
_LARGEST_SHARE = 0.1
"""Of the runs, where FLOPs or sizes form no groups: the largest of them are held out."""
_MOST_SHARE = 0.5
"""Of the runs: what holds out more leaves too little to learn from."""


@dataclass(frozen=True, eq=False)
class Unseen:
    """Runs that are held out.

    Attributes:
        name: ``budget``, ``sparsity``, or the condition.
        words: what they are.
        out: which rows they are, one truth value a row.
    """

    name: str
    words: str
    out: np.ndarray

    @property
    def count(self) -> int:
        """How many runs are held out."""
        return int(self.out.sum())


def held_out(
    runs: pd.DataFrame, wanted: "str | Unseen | Sequence[str | Unseen] | None"
) -> tuple[tuple[Unseen, ...], dict[str, str]]:
    """The splits of a table.

    Args:
        runs: finished runs.
        wanted: ``budget``, ``sparsity``, a condition such as ``"seed == 3"``, rows that were chosen already, or several
            of these; ``None`` for ``HELD_OUT`` as far as the table has it.

    Returns:
        The splits, and name -> why there is none, of those that nobody asked for.

    Raises:
        FitError: a split that was asked for and leaves one side empty.
        ConditionError: a condition that cannot be read.
    """
    names = HELD_OUT if wanted is None else (wanted,) if isinstance(wanted, str | Unseen) else tuple(wanted)
    found, missing = [], {}
    for name in names:
        try:
            found.append(_both_sides(name if isinstance(name, Unseen) else _one(runs, name)))
        except FitError as error:
            if wanted is not None:
                raise
            missing[str(name)] = str(error)
    if len({each.name for each in found}) < len(found):
        raise FitError("the same runs are held out twice")
    return tuple(found), missing


def _one(runs: pd.DataFrame, name: str) -> Unseen:
    words, out = (
        _budget(runs) if name == BUDGET
        else _sparsity(runs) if name == SPARSITY
        else (name, rows_where(runs, name).to_numpy(bool))
    )  # fmt: skip
    return Unseen(name, words, out)


def _both_sides(found: Unseen) -> Unseen:
    if not found.out.any() or found.out.all():
        raise FitError(f"{shown(found.name)} holds out {found.count} of {len(found.out)} runs; both sides need some")
    return found


def _budget(runs: pd.DataFrame) -> tuple[str, np.ndarray]:
    """The largest budget; where FLOPs form none, the tenth with the most; without FLOPs, the largest size."""
    known, _ = derive(runs, ["train_flops"])
    if {"budget", "train_flops"} & set(known.columns):
        column = "budget" if "budget" in known.columns and known["budget"].notna().all() else "train_flops"
        if column in known.columns:
            return _largest_flops(known, column)
    size = next((name for name in _SIZES if name in known.columns), None)
    if size is None:
        raise FitError("no budgets, FLOPs or sizes in the table, of which the largest could be held out")
    values = known[size].to_numpy(float)
    if np.nanmin(values) == np.nanmax(values):
        raise FitError(f"column {size!r} has one value: no largest to hold out")
    return _top(values, size)


def _largest_flops(known: pd.DataFrame, column: str) -> tuple[str, np.ndarray]:
    flops = known[column].to_numpy(float)
    if not np.isfinite(flops).all() or flops.min() == flops.max():
        raise FitError(f"column {column!r} has one value: the runs are of one budget, of which none can be held out")
    try:
        groups = budget_of(known.drop(columns="budget", errors="ignore") if column == "train_flops" else known)
    except SurfaceError:  # so scattered that they form no budgets
        return _top(flops, column)
    budgets = groups.to_numpy(float)
    out = budgets >= np.nanmax(budgets) * (1 - 1e-9)
    if _FEWEST <= out.sum() <= _MOST_SHARE * len(out):
        return f"the largest budget, {np.nanmax(budgets):.4g} FLOPs", out
    return _top(flops, column)


def _top(values: np.ndarray, column: str) -> tuple[str, np.ndarray]:
    """At least a tenth of the runs: those with the largest values, equal ones together."""
    levels = np.unique(values)[::-1]
    wanted = max(_FEWEST, _LARGEST_SHARE * len(values))
    least = next((level for level in levels if (values >= level).sum() >= wanted), levels[-1])
    out = values >= least
    if out.sum() > _MOST_SHARE * len(values):
        out = values >= levels[0]
    return f"the largest {column}, from {values[out].min():.4g}", out


def _sparsity(runs: pd.DataFrame) -> tuple[str, np.ndarray]:
    known, _ = derive(runs, ["sparsity"])
    for column in ("sparsity", "n_experts"):
        if column in known.columns and known[column].notna().all():
            values = known[column].to_numpy(float)
            if values.min() == values.max():
                raise FitError(f"column {column!r} has one value: no highest to hold out")
            return f"the highest {column}, {values.max():.4g}", values >= values.max() * (1 - 1e-9)
    raise FitError("the table does not tell sparsity or experts of every run")
