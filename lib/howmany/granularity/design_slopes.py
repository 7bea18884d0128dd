"""The slope of the lowest loss against sparsity, design by design and budget by budget, and its tables and figure."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from howmany.figures.finer_paths import slopes_by_design
from howmany.page import listed
from howmany.study import budget_label
from howmany.verdict import Finding, finding
from moelaws.charts.losses import budget_name
from moelaws.fitting.least_squares import Array

_SHARED = 15 / 16  # the highest sparsity that was trained with every design
_FEWEST = 3


def sparsity_words(sparsity: float) -> str:
    """A sparsity as the text has it: 15/16 and not 0.938, where it is such a fraction."""
    experts = round(1 / (1 - sparsity))
    whole = experts > 1 and abs(sparsity - (1 - 1 / experts)) < 1e-6
    return f"{experts - 1}/{experts}" if whole else f"{sparsity:.3g}"


def slope_row(
    design: str, budget: float, along: Array, loss: Array, inside: NDArray[np.bool_]
) -> dict[str, Any] | None:
    """How the lowest loss of the mixtures of a design moves with sparsity at one budget.

    Args:
        design: its name.
        budget: C, FLOPs.
        along: -ln(1 - S) of P sparsities, rising; a dense model is left out.
        loss: L*, P x (1 + B): the estimate and B draws of it, nats per token.
        inside: whether each optimum lies inside the sizes tried, P.

    Returns:
        ``design``, ``budget``; ``from`` and ``to``, the sparsities; ``slope`` with ``low`` and ``high``, of a straight
        line in log2 of 1 / (1 - S), nats a doubling; ``early`` with ``early_low`` and ``early_high``, the same up to
        S = 15/16, where all designs were tried; ``best``, the sparsity with the lowest L*; ``last`` with ``last_low``
        and ``last_high``, L* at the highest sparsity less the lowest elsewhere, nats; ``edges``, optima that lie at an
        edge of the sizes tried, at which L* is a bound. Nothing for fewer than three sparsities.
    """
    mixtures = along > 1e-9
    along, loss = along[mixtures], loss[mixtures]
    if len(along) < _FEWEST:
        return None
    sparsity = -np.expm1(-along)
    shared = sparsity <= _SHARED + 1e-6
    slope, last = _slope(along, loss), finding("", loss[-1] - loss[int(np.argmin(loss[:-1, 0]))])
    early = _slope(along[shared], loss[shared]) if shared.sum() > 1 else Finding("")
    return {
        "design": design, "budget": budget, "from": sparsity[0], "to": sparsity[-1],
        "slope": slope.value, "low": slope.low, "high": slope.high,
        "early": early.value, "early_low": early.low, "early_high": early.high,
        "best": sparsity[int(np.argmin(loss[:, 0]))],
        "last": last.value, "last_low": last.low, "last_high": last.high,
        "edges": int((~inside[mixtures]).sum()),
    }  # fmt: skip


def _slope(along: Array, loss: Array) -> Finding:
    columns = np.column_stack([np.ones_like(along), along / np.log(2)])
    return finding("", np.linalg.lstsq(columns, loss, rcond=None)[0][1])


def slope_table(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``slope_row``, written out."""

    def ends(*names: str, form: str = "{:+.4f} [{:+.4f}, {:+.4f}]") -> list[str]:
        return [form.format(*row) for row in table[list(names)].to_numpy()]

    shown = pd.DataFrame(
        {
            "C": table["budget"].map(budget_label),
            "design": table["design"],
            "S": ends("from", "to", form="{:.3g} to {:.3g}"),
            "slope to S = 15/16": ends("early", "early_low", "early_high"),
            "slope, all S": ends("slope", "low", "high"),
            "lowest at S": table["best"].map("{:.3g}".format),
            "sparsest less best other": ends("last", "last_low", "last_high", form="{:+.3f} [{:+.3f}, {:+.3f}]"),
            "at an edge": table["edges"].astype(str),
        }
    )
    return shown.set_index(["C", "design"])


def slope_figure(table: pd.DataFrame) -> alt.FacetChart:
    """The slopes with their intervals, a panel a budget."""
    below = [int((table[name] < 0).sum()) for name in ("early_high", "high")]
    parts = (("to S = 15/16", ("early", "early_low", "early_high")), ("all S", ("slope", "low", "high")))
    both = [
        table.assign(part=part, panel=table["budget"].map(budget_name), slope=table[a], low=table[b], high=table[c])
        for part, (a, b, c) in parts
    ]
    return slopes_by_design(
        pd.concat(both),
        title=f"Up to S = 15/16, {below[0]} of {len(table)} slopes lie below zero; over all S, {below[1]}",
        description="Slope of the lowest loss per doubling of one over one minus the sparsity, with 95 percent "
        "intervals, by design, up to fifteen sixteenths and over all sparsities; a panel a budget.",
    )


def early_slopes(table: pd.DataFrame, design: str, last: bool = False) -> str:
    """The slopes up to S = 15/16 of one design at each budget, or at the last, in words."""
    return _said(table, design, "early", last)


def last_steps(table: pd.DataFrame, design: str) -> str:
    """L* of one design at the highest sparsity less the lowest elsewhere, in words."""
    return _said(table, design, "last")


def _said(table: pd.DataFrame, design: str, column: str, last: bool = False) -> str:
    rows = table.loc[table["design"] == design, ["budget", column, f"{column}_low", f"{column}_high"]].to_numpy()
    chosen = rows[-1:] if last else rows
    return listed(
        (f"{a:+.3f} [{b:+.3f}, {c:+.3f}] at {budget_label(budget)}" for budget, a, b, c in chosen), between="; "
    )
