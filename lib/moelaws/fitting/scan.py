"""A parameter held at chosen values, everything else fitted from many starts: a profile that sees every valley.

``profile`` walks out from one minimum and follows its valley. A law with an expert count that saturates has several,
far apart: there a walk can end at a wall that another valley goes round.
"""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from moelaws.fitting.fit import fit
from moelaws.fitting.intervals.profile import rise_unit
from moelaws.fitting.result import FitResult
from moelaws.laws.forms import Law

LIMIT = 3.841459
"""Rise that bounds a 95 % interval."""


def scan(
    best: FitResult, law: Law, runs: pd.DataFrame, name: str, values: Iterable[float], **options: Any
) -> pd.DataFrame:
    """Rise of the sum of squares with one parameter held at one value after another.

    Args:
        best: a least-squares fit of the law to the runs, every parameter free.
        law: the law.
        runs: the run table.
        name: the parameter.
        values: where to hold it.
        options: further arguments of ``fit``, such as ``starts``.

    Returns:
        One row a value, the free fit's own among them, in rising order: ``value``, ``objective`` and ``rise``, in
        the units of ``profile``, in which ``LIMIT`` bounds a 95 % interval, however few the runs. The rise is from the
        least objective found anywhere, so a free fit that missed the best minimum is found out, not followed.
    """
    options = {"objective": "lsq-log"} | options
    rows = [(value, fit(law, runs, fixed={name: value}, **options).search.objective_value) for value in values]
    rows.append((best.params[name], best.search.objective_value))
    table = pd.DataFrame(rows, columns=["value", "objective"]).sort_values("value", ignore_index=True)
    return table.assign(rise=(table["objective"] - table["objective"].min()) / rise_unit(best, name, LIMIT))


def allowed(table: pd.DataFrame) -> tuple[float, float]:
    """The least and the largest value of a scan that a 95 % interval holds.

    Where this is the first or the last value scanned, the runs do not bound the parameter on that side.
    """
    inside = table.loc[table["rise"] <= LIMIT, "value"]
    return float(inside.min()), float(inside.max())
