"""One budget of an isoFLOP analysis, small enough for a telephone; and the optima of all of them."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from moelaws.charts.losses import LOSS, budget_name
from moelaws.charts.pictures.design import BILLIONS, NAMES
from moelaws.charts.theme import expert_colour

_POINTS = 40
_MOST = 9
"""Sparsities that are drawn: the ends, and some between."""


def budget_cut(surface: Any, width: int = 280, design: str = "") -> alt.LayerChart | alt.FacetChart:
    """Runs of one budget as points, and the fitted surface along each sparsity with its band.

    Arguments:
        surface: from `fit_surface`.
        width: of the plot, in pixels.
        design: what the mixtures have in common, for the title.
    """
    variable, shown = surface.variable, _some(list(surface.sparsities))
    parts = []
    for sparsity in shown:
        smallest, largest = surface.sizes(sparsity)
        n = np.geomspace(float(smallest), float(largest), _POINTS)
        low, high = surface.band(n, sparsity) if len(surface.replicates) else (np.full(_POINTS, np.nan),) * 2
        parts.append(
            pd.DataFrame({"n": n, "loss": surface.predict(n, sparsity), "low": low, "high": high, "S": _name(sparsity)})
        )
    curves = pd.concat(parts, ignore_index=True)
    runs = surface.runs[surface.runs["sparsity"].isin(shown)]
    points = pd.DataFrame({"n": runs[variable], "loss": runs["loss"], "S": runs["sparsity"].map(_name)})
    colour = sparsity_colour(shown)
    x = alt.X("n:Q", title=NAMES.get(variable, variable)).scale(type="log", nice=False, padding=10)
    x, y = x.axis(tickCount=4, **BILLIONS), alt.Y("loss:Q", title=LOSS).scale(zero=False)
    base = alt.Chart(curves).encode(x=x, color=colour)
    layers = [
        base.mark_area(opacity=0.12).encode(y=alt.Y("low:Q", title=LOSS), y2="high:Q"),
        base.mark_line(strokeWidth=1.5).encode(y=y),
        alt.Chart(points).mark_point(filled=True, size=24).encode(x=x, y=y, color=colour),
    ]
    return alt.layer(*(layers if len(surface.replicates) else layers[1:])).properties(
        width=width,
        height=220,
        title=", ".join(filter(None, (budget_name(surface.budget), design))),
        description=f"Loss against {NAMES.get(variable, variable)} of {len(runs)} runs at {surface.budget:.3g} FLOPs, "
        f"a curve for each of {len(shown)} sparsities.",
    )


def isoflop_picture(
    surfaces: list[Any], optima: pd.DataFrame, variable: str, designs: Sequence[str] = ()
) -> alt.ConcatChart:
    """A whole analysis: each budget with its surface, then the best sizes and their losses over the budgets.

    Arguments:
        surfaces: from `fit_surface`, one a budget.
        optima: see `optima_over_budgets`.
        variable: the column of sizes.
        designs: where runs were parted by design, that of each surface; the best sizes over the budgets are then left
            out, for a line of them would mix designs.
    """
    names = designs or [""] * len(surfaces)
    charts: list[Any] = [budget_cut(each, design=name) for each, name in zip(surfaces, names, strict=True)]
    if optima["budget"].nunique() > 1 and not any(designs):
        charts.append(optima_over_budgets(optima, "n", f"best {NAMES.get(variable, variable)}", True))
        charts.append(optima_over_budgets(optima, "loss", f"best {LOSS}", False))
    return (
        alt.concat(*charts, columns=2)
        .resolve_scale(color="independent")
        .properties(description=f"Loss surfaces of {len(surfaces)} budgets, and the best sizes on them.")
    )


def optima_over_budgets(
    optima: pd.DataFrame, value: str, title: str, logarithmic: bool, width: int = 280
) -> alt.LayerChart | alt.FacetChart:
    """A number of the optima against the budget, with its interval, a line for each sparsity.

    Arguments:
        optima: `budget`, `sparsity`, and `value` with `_low` and `_high`; rows without a number are left out.
        value: `n` or `loss`.
        title: of the axis.
        logarithmic: whether the axis is.
        width: of the plot, in pixels.
    """
    known = optima.dropna(subset=[value])
    shown = _some(sorted(known["sparsity"].unique()))
    known = known[known["sparsity"].isin(shown)].assign(S=lambda table: table["sparsity"].map(_name))
    x = alt.X("budget:Q", title="training FLOPs C").scale(type="log", padding=14).axis(format="~e", tickCount=4)
    scale = {"type": "log", "padding": 10, "nice": False} if logarithmic else {"zero": False}
    y = alt.Y(f"{value}:Q", title=title).scale(**scale)
    y = y.axis(tickCount=5, **BILLIONS) if logarithmic else y
    base = alt.Chart(known).encode(x=x, color=sparsity_colour(shown))
    reach = base.mark_rule(strokeWidth=1.5, opacity=0.5).encode(
        y=alt.Y(f"{value}_low:Q", title=title), y2=f"{value}_high:Q"
    )
    return alt.layer(
        reach, base.mark_line(strokeWidth=1.5).encode(y=y), base.mark_point(filled=True, size=40).encode(y=y)
    ).properties(
        width=width,
        height=220,
        description=f"{title} at {known['budget'].nunique()} budgets, a line for each of {len(shown)} sparsities.",
    )


def sparsity_colour(sparsities: list[float]) -> alt.Color:
    """Colours of sparsities: those of 1 / (1 - S) experts of which one works."""
    legend = alt.Legend(symbolOpacity=1, symbolType="circle", columns=4)
    return alt.Color("S:N", title="S", legend=legend, sort=[_name(s) for s in sparsities]).scale(
        domain=[_name(s) for s in sparsities], range=[expert_colour(max(1 / (1 - s), 1.0)) for s in sparsities]
    )


def _some(sparsities: list[float]) -> list[float]:
    if len(sparsities) <= _MOST:
        return sparsities
    return [sparsities[i] for i in np.linspace(0, len(sparsities) - 1, _MOST).round().astype(int)]


def _name(sparsity: float) -> str:
    return f"{sparsity:.4g}"
