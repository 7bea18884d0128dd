"""Figures of a law fitted to runs of one's own: residuals, held-out scores, profiles, declines, floors, forecasts."""

from collections.abc import Iterable
from typing import Any, Literal

import altair as alt
import pandas as pd

from moelaws.charts.losses import SIZES, experts_colour
from moelaws.charts.theme import CATEGORIES, INK, QUIET

PANEL = 148
"""Width of a panel, in pixels: two stand beside each other on a phone."""


def residuals(table: pd.DataFrame, noise: float, title: str, description: str) -> alt.FacetChart:
    """Prediction over measurement against active size, a panel a budget, and the band that seeds alone would fill.

    Args:
        table: ``panel`` (text: the budget), ``active_params``, ``n_experts``, ``residual`` (ln L_hat - ln L).
        noise: standard deviation of ln L between seeds; the band is two of them wide on either side.
        title: the finding.
        description: alt text.
    """
    shown = table.assign(above=2 * noise, below=-2 * noise, zero=0.0)
    base = alt.Chart(shown).encode(
        x=alt.X("active_params:Q", title="active parameters").scale(type="log", nice=False, padding=10).axis(
            format="~s", tickCount=3
        )
    )  # fmt: skip
    y = alt.Y("residual:Q", title="law minus run (ln L)").axis(format="+.0%")
    band = base.mark_area(color=QUIET, opacity=0.18).encode(y=alt.Y("below:Q"), y2="above:Q")
    zero = base.mark_line(color=QUIET, strokeDash=[4, 3], strokeWidth=1).encode(y="zero:Q")
    points = base.mark_point(filled=True, size=30).encode(
        y=y, color=experts_colour(table), tooltip=["n_experts", "active_params", "residual"]
    )
    return _panels([band, zero, points], table["panel"], title, description)


def held_out_scores(table: pd.DataFrame, bar: float, reported: float, title: str, description: str) -> alt.LayerChart:
    """Share of the variance that laws leave unexplained in runs that they did not see.

    Args:
        table: ``law``, ``held_out`` (text), ``unexplained`` (1 - R2), in the order of the rows.
        bar: unexplained share that must not be passed, drawn as a line.
        reported: the published law's, on its own runs; drawn as another.
        title: the finding.
        description: alt text.
    """
    laws = _order(table["law"])
    marks = (
        alt.Chart(table)
        .mark_point(filled=True, size=80)
        .encode(
            x=alt.X("unexplained:Q", title="variance left unexplained, 1 - R²")
            .scale(type="log", nice=False, padding=12)
            .axis(format="~%", tickCount=5, titleAnchor="end"),
            y=alt.Y("law:N", title=None, sort=laws).axis(labelLimit=180),
            color=alt.Color("held_out:N", title="held out", sort=_order(table["held_out"])).legend(
                columns=2, offset=22
            ),
            shape=alt.Shape("held_out:N", sort=_order(table["held_out"])).legend(None),
            tooltip=["law", "held_out", "unexplained"],
        )
    )
    lines = pd.DataFrame({"x": [bar, reported], "name": ["bar", "paper"]})
    rules = alt.Chart(lines).mark_rule(color=INK, strokeDash=[4, 3]).encode(x="x:Q")
    # Above the rows, where no mark lies, and each on its own side: on a phone the lines are near each other.
    sides: list[tuple[Any, Literal["left", "right"], int]] = [
        (lines["x"].idxmin(), "right", -3),
        (lines["x"].idxmax(), "left", 3),
    ]
    names = [
        alt.Chart(lines.loc[[row]])
        .mark_text(baseline="bottom", align=align, dx=dx, color=QUIET)
        .encode(x="x:Q", y=alt.value(-2), text="name:N")
        for row, align, dx in sides
    ]
    chart: alt.LayerChart = rules + names[0] + names[1] + marks
    return chart.properties(width="container", height=26 * len(laws), title=title, description=description)


def profiles(points: pd.DataFrame, title: str, description: str, bound: float = 3.84) -> alt.FacetChart:
    """Rise of the objective along several parameters, each in its panel, and the level that bounds 95 % intervals.

    Args:
        points: ``panel`` (text: the parameter), ``value`` and ``rise``.
        title: the finding.
        description: alt text.
        bound: the rise at the ends of an interval.
    """
    shown = points[points["rise"] <= 4 * bound].assign(bound=bound)
    base = alt.Chart(shown).encode(x=alt.X("value:Q", title="value held").scale(zero=False).axis(tickCount=4))
    line = base.mark_line(point=True, color=CATEGORIES[0]).encode(y=alt.Y("rise:Q", title="rise of the objective"))
    level = base.mark_line(color=QUIET, strokeDash=[4, 3], strokeWidth=1).encode(y="bound:Q")
    return _panels([line, level], points["panel"], title, description).resolve_scale(x="independent")


def decline_by_tokens(table: pd.DataFrame, title: str, description: str) -> alt.FacetChart:
    """How fast loss falls with tokens, a line a model; a panel a number of experts.

    Args:
        table: ``panel`` (text: the number of experts), ``tokens``, ``decline`` (nats per factor e of tokens), ``low``,
            ``high`` and ``d_model``.
        title: the finding.
        description: alt text.
    """
    widths = sorted(set(table["d_model"]))
    base = alt.Chart(table).encode(
        x=alt.X("tokens:Q", title="training tokens").scale(type="log", nice=False, padding=10).axis(
            format="~s", tickCount=3
        ),
        color=alt.Color("d_model:O", title="width d", scale=alt.Scale(scheme="viridis", domain=widths)).legend(
            columns=5
        ),
    )  # fmt: skip
    y = alt.Y("decline:Q", title="fall per factor e of D (nats)").scale(zero=True)
    bars = base.mark_rule().encode(y=alt.Y("low:Q"), y2="high:Q")
    layers = [bars, base.mark_line().encode(y=y), base.mark_point(filled=True, size=40).encode(y=y)]
    return _panels(layers, table["panel"], title, description)


def floors(table: pd.DataFrame, title: str, description: str) -> alt.FacetChart:
    """A law's fitted floor against the largest budget it was fitted to, with intervals; the truth where it is known.

    Args:
        table: ``panel`` (text: whose runs), ``largest`` (FLOPs), ``floor``, ``low``, ``high`` (finite), ``truth`` (nan
            where nobody knows it) and ``least`` (the least loss seen in the runs).
        title: the finding.
        description: alt text.
    """
    base = alt.Chart(table).encode(
        x=alt.X("largest:Q", title="largest budget fitted").scale(type="log", nice=False, padding=14).axis(
            format="~e", values=sorted(set(table["largest"])), labelOverlap="greedy"
        )
    )  # fmt: skip
    y = alt.Y("floor:Q", title="nats per token").scale(zero=False)
    truth = base.mark_line(color=INK, strokeDash=[5, 3]).encode(y=alt.Y("truth:Q"))
    least = base.mark_line(color=CATEGORIES[1]).encode(y=alt.Y("least:Q"))
    bars = base.mark_rule(color=CATEGORIES[0], strokeWidth=2).encode(y=alt.Y("low:Q"), y2="high:Q")
    points = base.mark_point(filled=True, size=70, color=CATEGORIES[0]).encode(y=y)
    chart = _panels([least, truth, bars, points], table["panel"], title, description)
    return chart.resolve_scale(x="independent", y="independent")


def forecast_of_budget(runs: pd.DataFrame, curves: pd.DataFrame, title: str, description: str) -> alt.FacetChart:
    """Loss at a budget that a law has not seen: its forecast with a band, and the runs; a panel a number of experts.

    Args:
        runs: ``panel`` (text: the number of experts), ``active_params``, ``n_experts``, ``loss``.
        curves: the same columns, of the law, with ``low`` and ``high``.
        title: the finding.
        description: alt text.
    """
    table = pd.concat([curves.assign(kind="law"), runs.assign(kind="run")])[
        ["panel", "active_params", "n_experts", "loss", "low", "high", "kind"]
    ]
    base = alt.Chart(table).encode(
        x=alt.X("active_params:Q", title=SIZES["active_params"]).scale(type="log", nice=False, padding=10).axis(
            format="~s", tickCount=3
        ),
        color=experts_colour(runs),
    )  # fmt: skip
    y = alt.Y("loss:Q", title="loss (nats per token)").scale(zero=False)
    law = base.transform_filter("datum.kind === 'law'")
    band = law.mark_area(opacity=0.25).encode(y=alt.Y("low:Q"), y2="high:Q")
    points = base.transform_filter("datum.kind === 'run'").mark_point(filled=True, size=40).encode(y=y)
    return _panels([band, law.mark_line().encode(y=y), points], table["panel"], title, description)


def _panels(layers: list[alt.Chart], names: Iterable[str], title: str, description: str) -> alt.FacetChart:
    return (
        alt.layer(*layers)
        .properties(width=PANEL, height=180)
        .facet(facet=alt.Facet("panel:N", title=None, sort=_order(names)), columns=2)
        .properties(title=title, description=description)
    )


def _order(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
