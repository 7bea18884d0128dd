"""Where a run stands among others, as an error of a law sees it: its FLOPs, its share of size and tokens, its experts.

All are logs, so that a distance of one is a factor of e in whatever it is of.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from moelaws.fitting.objective import FitError
from moelaws.quote import listed
from moelaws.runs import derive
from moelaws.runs.numbers import as_numbers

_Columns = Mapping[str, np.ndarray]


def _log(column: str) -> Callable[[_Columns], np.ndarray]:
    return lambda table: np.log(table[column])


_AXES: Mapping[str, tuple[tuple[str, ...], Callable[[_Columns], np.ndarray]]] = {
    "ln(N_a D)": (("active_params", "tokens"), lambda t: np.log(t["active_params"] * t["tokens"])),
    "ln(N_a / D)": (("active_params", "tokens"), lambda t: np.log(t["active_params"] / t["tokens"])),
    "ln E": (("n_experts",), _log("n_experts")),
    "ln K": (("top_k",), _log("top_k")),
    "ln G": (("granularity",), _log("granularity")),
}
"""Axis -> the columns it needs and how it follows. N_a D is the compute but for a factor of six, whatever convention a
table counts FLOPs by: a forecast of a family of models need not share that of the runs."""

_INSTEAD: Mapping[str, tuple[tuple[str, ...], Callable[[_Columns], np.ndarray]]] = {
    "ln N_a": (("active_params",), _log("active_params")),
    "ln N": (("total_params",), _log("total_params")),
    "ln D": (("tokens",), _log("tokens")),
    "ln C": (("train_flops",), _log("train_flops")),
    "ln 1/(1-S)": (("sparsity",), lambda t: -np.log1p(-t["sparsity"])),
}
"""For tables that lack a column of these; the first two and the last stand for one axis that is missing."""

_SAME = 1e-6
"""An axis on which the runs lie this near to one another is none."""


def axes_of(table: pd.DataFrame) -> tuple[str, ...]:
    """The axes on which the runs of a table differ.

    Args:
        table: finished runs.

    Returns:
        Names of axes; empty where the table has no column that one is made of.
    """
    columns = _columns(table)
    chosen = [name for name in _AXES if _known(name, columns)]
    if "ln(N_a D)" not in chosen:
        sizes = [name for name in ("ln N_a", "ln N") if _known(name, columns)]
        others = [name for name in ("ln D", "ln C") if _known(name, columns)]
        chosen += sizes[:1] + others[:1]
    if "ln E" not in chosen and _known("ln 1/(1-S)", columns):
        chosen.append("ln 1/(1-S)")
    return tuple(name for name in chosen if np.ptp(_values(name, columns)) > _SAME)


def coordinates(table: Any, axes: tuple[str, ...]) -> np.ndarray:
    """Where runs stand, broadcast over the columns' shapes.

    Args:
        table: a run table, or a mapping of columns to numbers or arrays that broadcast.
        axes: names of axes.

    Returns:
        [..., axes].

    Raises:
        FitError: a column that an axis needs and the table neither has nor determines.
    """
    flat = isinstance(table, pd.DataFrame)
    columns = _columns(table) if flat else {name: np.asarray(values, float) for name, values in table.items()}
    found = []
    for name in axes:
        needed, rule = (_AXES | _INSTEAD)[name]  # type: ignore[operator]
        for column in needed:
            if column not in columns:
                raise FitError(
                    f"the error of the law is known along {name}, which needs a column {column!r}; the table has "
                    f"{listed(columns, column)}"
                )
        with np.errstate(all="ignore"):
            found.append(rule(columns))
    return np.stack(np.broadcast_arrays(*found), axis=-1)


def _columns(table: pd.DataFrame) -> dict[str, np.ndarray]:
    known, _ = derive(table)
    names = dict.fromkeys(column for needed, _ in [*_AXES.values(), *_INSTEAD.values()] for column in needed)
    return {name: as_numbers(known[name].to_numpy()) for name in names if name in known.columns}


def _known(name: str, columns: _Columns) -> bool:
    needed, _ = {**_AXES, **_INSTEAD}[name]
    return all(column in columns for column in needed) and bool(np.isfinite(_values(name, columns)).all())


def _values(name: str, columns: _Columns) -> np.ndarray:
    with np.errstate(all="ignore"):
        return {**_AXES, **_INSTEAD}[name][1](columns)
