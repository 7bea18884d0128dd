"""Figures of designs of several (K, G): the lowest loss by sparsity, and its slope."""

import altair as alt
import pandas as pd

from moelaws.charts.theme import QUIET

_PANEL = 190
"""Width of a panel, in pixels."""


def lowest_losses(paths: pd.DataFrame, title: str, description: str) -> alt.FacetChart:
    """The lowest loss less that of the dense model against sparsity, a line a design, a panel a budget.

    Args:
        paths: tables of ``optima_by_experts.loss_change`` with the design in ``budget_name``, and ``panel`` (text).
        title: the finding.
        description: alt text.
    """
    designs, panels = sorted(paths["budget_name"].unique()), list(dict.fromkeys(paths["panel"]))
    ticks = sorted({round(each) for each in paths["n_experts"]})
    name = "L* less dense (nats)"
    base = alt.Chart(paths).encode(
        x=alt.X("n_experts:Q", title="1 / (1 − S)").scale(type="log", base=2).axis(values=ticks[::2]),
        color=alt.Color("budget_name:N", title=None, sort=designs).legend(
            columns=3, symbolType="circle", symbolOpacity=1
        ),
    )
    band = base.mark_area(opacity=0.12).encode(y=alt.Y("loss_low:Q", title=name), y2="loss_high:Q")
    points = base.mark_point(size=40, filled=True).encode(y="loss:Q", tooltip=["budget_name", "n_experts", "loss"])
    hollow = base.transform_filter("!datum.bracketed").mark_point(size=14, filled=True)
    return (
        alt.layer(band, base.mark_line().encode(y="loss:Q"), points, hollow.encode(y="loss:Q", color=alt.value("#fff")))
        .properties(width=_PANEL, height=230)
        .facet(facet=alt.Facet("panel:N", title=None, sort=panels), columns=2)
        .properties(title=title, description=description)
    )


def slopes_by_design(table: pd.DataFrame, title: str, description: str) -> alt.FacetChart:
    """The slope of the lowest loss with its interval, a row a design, a panel a budget.

    Args:
        table: columns ``design``, ``slope``, ``low``, ``high``, ``part`` (the label of the colour) and ``panel``.
        title: the finding.
        description: alt text.
    """
    parts = list(dict.fromkeys(table["part"]))
    base = alt.Chart(table).encode(
        y=alt.Y("design:N", title=None, sort=sorted(table["design"].unique())),
        yOffset=alt.YOffset("part:N", sort=parts),
        color=alt.Color("part:N", title=None, sort=parts),
    )
    x = alt.X("low:Q", title="nats per doubling")
    zero = alt.Chart(table).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(x=alt.datum(0))
    points = base.mark_point(filled=True, size=55).encode(x="slope:Q", tooltip=["design", "slope", "low", "high"])
    return (
        alt.layer(zero, base.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q"), points)
        .properties(width=_PANEL, height=150)
        .facet(facet=alt.Facet("panel:N", title=None, sort=list(dict.fromkeys(table["panel"]))), columns=2)
        .properties(title=title, description=description, spacing={"column": 40, "row": 20})
    )
