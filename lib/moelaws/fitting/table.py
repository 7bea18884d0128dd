"""From a run table to the numbers a law needs: derived where they follow from others, refused where they cannot be."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from moelaws.fitting.engine.problem import Problem
from moelaws.fitting.objective import FitError
from moelaws.laws import LAWS
from moelaws.laws.forms import Law, LawError
from moelaws.quote import listed, shown
from moelaws.runs import derive, finished


@dataclass(frozen=True)
class Prepared:
    """Runs ready for a fit.

    Attributes:
        table: the finished runs, with derived columns.
        data: the law's letter -> values, [runs].
        target: values of the law's target, [runs].
        weights: weight of each run, [runs], or ``None``.
        columns: the law's letter -> the column it came from.
        derived: column -> formula, for the law's columns that were derived and what these follow from.
        rows: the name of each row in messages, [runs].
    """

    table: pd.DataFrame
    data: dict[str, np.ndarray]
    target: np.ndarray
    weights: np.ndarray | None
    columns: dict[str, str]
    derived: dict[str, str]
    rows: list[Any]

    def refuse_undefined(self, law: Law, problem: Problem, theta: np.ndarray) -> None:
        """Refuse runs at which the law has no value for any of the starts.

        Raises:
            FitError: such a run, by row and column.
        """
        residuals, slopes = problem.linearise(theta[: max(4, min(64, 40_000 // problem.n_runs))])
        finite = (np.isfinite(residuals) & np.isfinite(slopes).all(axis=1)).any(axis=0)
        if not finite.all():
            i = int(np.flatnonzero(~finite)[0])
            where = ", ".join(f"{column} = {self.data[letter][i]:g}" for letter, column in self.columns.items())
            raise FitError(f"row {self.rows[i]}: law {law.name!r} has no value there ({where})")


_MAY_BE_ZERO = ("sparsity", "shared_experts")
"""Columns of which none is a number like any other."""


def prepare(
    law: Law,
    runs: Any,
    weights: np.ndarray | str | None = None,
    constant_ok: bool = False,
    objective: str = "huber-log",
) -> Prepared:
    """Check runs and take out what a law needs.

    Args:
        law: the law.
        runs: a run table, or a mapping of columns to arrays.
        weights: weight of each run, or the column that holds it.
        constant_ok: accept a variable that is the same in all runs, as a fit with fixed parameters may.
        objective: what is minimised; ``lsq`` takes no logarithm, so that a law of one's own may have any sign.

    Returns:
        The numbers, and where they came from.

    Raises:
        FitError, LawError: no runs, a missing column, a value that is not finite and positive, a constant column.
    """
    table = runs if isinstance(runs, pd.DataFrame) else pd.DataFrame({k: np.asarray(v) for k, v in runs.items()})
    if isinstance(weights, np.ndarray | list | tuple):
        if len(weights) != len(table):
            raise FitError(f"{len(weights)} weights for {len(table)} runs")
        table = table.assign(_weight=np.asarray(weights, dtype=float))
        weights = "_weight"
    table = finished(table)
    if table.empty:
        raise FitError("no finished runs to fit")
    table, derived = complete(law, table)
    columns = law.columns(table.columns)
    if law.target not in table.columns:
        found = listed(table.columns, law.target)
        raise LawError(f"law {law.name!r} predicts a column {law.target!r}; the table has {found}")
    numbers = {name: _numbers(table, name) for name in [*columns.values(), law.target]}
    if objective != "lsq" or LAWS.get(law.name) is law:
        why = "" if LAWS.get(law.name) is law else f", as objective {objective!r} takes logarithms ('lsq' does not)"
        _refuse(table, law.target, numbers[law.target], numbers[law.target] > 0, f"a number > 0{why}")
    for letter, name in columns.items():
        if name not in _MAY_BE_ZERO:
            _refuse(table, name, numbers[name], numbers[name] > 0, "a number > 0")
        if not constant_ok and len(table) > 1 and np.ptp(numbers[name]) == 0:
            raise FitError(
                f"column {name!r} is {numbers[name][0]:g} in all {len(table)} rows (from row {table.index[0]} to row"
                f" {table.index[-1]}); law {law.name!r} needs it to vary ({letter})"
            )
    weight = None
    if weights is not None:
        if weights not in table.columns:
            raise FitError(f"no column {weights!r} to weigh the runs by")
        weight = _numbers(table, str(weights))
        _refuse(table, str(weights), weight, weight >= 0, "a number >= 0")
        if not weight.any():
            raise FitError("every run has weight 0")
    return Prepared(
        table=table,
        data={letter: numbers[name] for letter, name in columns.items()},
        target=numbers[law.target],
        weights=weight,
        columns=columns,
        derived=derived,
        rows=list(table.index),
    )


def complete(law: Law, table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """Add the columns that a law needs and the table lacks, where others determine them; no others.

    A column of the table is never left aside for one that would be derived: a law of dense models that can read N_a or
    N reads the one that is there.

    Args:
        law: the law.
        table: runs.

    Returns:
        The table, and for each column that was added, and those it follows from, the formula that gave it.
    """
    derived: dict[str, str] = {}
    for variable in law.variables:
        empty = [name for name in variable.columns if name in table.columns and table[name].isna().all()]
        table = table.drop(columns=empty)
        if not any(name in table.columns for name in variable.columns):
            _, possible = derive(table, variable.columns)
            chosen = next((name for name in variable.columns if name in possible), None)
            if chosen is not None:
                known, formulas = derive(table, [chosen])
                table = table.assign(**{chosen: known[chosen]})
                derived |= formulas
    return table, derived


def subset(prepared: Prepared, keep: np.ndarray) -> Prepared:
    """The runs at some positions only, [kept]; a position may be taken more than once."""
    return replace(
        prepared,
        table=prepared.table.iloc[keep],
        data={name: values[keep] for name, values in prepared.data.items()},
        target=prepared.target[keep],
        weights=None if prepared.weights is None else prepared.weights[keep],
        rows=[prepared.rows[i] for i in keep],
    )


def _numbers(table: pd.DataFrame, name: str) -> np.ndarray:
    numbers = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=float)
    _refuse(table, name, numbers, np.isfinite(numbers), "a finite number")
    return numbers


def _refuse(table: pd.DataFrame, name: str, numbers: np.ndarray, fine: np.ndarray, expected: str) -> None:
    if not fine.all():
        row = table.index[~fine][0]
        found = table[name].loc[row]
        number = f"{found:g}" if isinstance(found, float | np.floating) else shown(found)
        raise FitError(f"row {row}, column {shown(name)}: found {number}, expected {expected}")
