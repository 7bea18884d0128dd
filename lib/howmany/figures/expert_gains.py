"""Figures of runs that vary experts, size and tokens at once: curves, gains, profiles, forecasts, designs in pairs."""

from collections.abc import Iterable

import altair as alt
import pandas as pd

from moelaws.charts.losses import experts_colour
from moelaws.charts.theme import CATEGORIES, INK, QUIET, expert_scale

PANEL = 148
"""Width of a panel, in pixels: two stand beside each other on a phone."""

_SHORT = "datum.value >= 1000 ? format(datum.value, '~s') : format(datum.value, '~g')"


def loss_curves(runs: pd.DataFrame, curves: pd.DataFrame, title: str, description: str) -> alt.FacetChart:
    """Loss against the number of experts for each size, a panel for each number of tokens: runs and a fitted law.

    Args:
        runs: ``n_experts``, ``loss``, ``size`` (text) and ``panel`` (text).
        curves: the same columns, of the law.
        title: the finding.
        description: alt text.
    """
    table = pd.concat([runs.assign(kind="run"), curves.assign(kind="law")])[
        ["n_experts", "loss", "size", "panel", "kind"]
    ]
    base = alt.Chart(table).encode(
        x=alt.X("n_experts:Q", title="experts E").scale(type="log", base=2).axis(values=_values(runs["n_experts"])),
        y=alt.Y("loss:Q", title="loss (nats per token)").scale(zero=False),
        color=alt.Color("size:N", title="dense size", sort=_order(runs["size"])).legend(columns=4),
    )
    lines = base.transform_filter("datum.kind === 'law'").mark_line()
    points = base.transform_filter("datum.kind === 'run'").mark_point(filled=True, size=30)
    return (
        alt.layer(lines, points)
        .properties(width=PANEL, height=190)
        .facet(facet=alt.Facet("panel:N", title=None, sort=_order(runs["panel"])), columns=2)
        .properties(title=title, description=description)
    )


def parameter_profiles(
    points: pd.DataFrame, name: str, title: str, description: str, bound: float = 3.84
) -> alt.FacetChart:
    """Rise of the objective along a parameter, a panel for each table of runs, and the level that bounds 95 %.

    Args:
        points: ``panel`` (text: whose runs), ``value`` and ``rise``.
        name: the parameter.
        title: the finding.
        description: alt text.
        bound: the rise at the ends of an interval.
    """
    shown = points[points["rise"] <= 4 * bound].assign(bound=bound)
    base = alt.Chart(shown)
    x = alt.X("value:Q", title=f"{name} held").scale(type="log", nice=False)
    line = base.mark_line(point=True, color=CATEGORIES[0]).encode(
        x=x.axis(labelExpr=_SHORT, tickCount=4, grid=False), y=alt.Y("rise:Q", title="rise of the objective")
    )
    level = base.mark_rule(color=QUIET, strokeDash=[4, 3]).encode(y="mean(bound):Q")
    return (
        alt.layer(line, level)
        .properties(width=PANEL, height=150)
        .facet(facet=alt.Facet("panel:N", title=None, sort=_order(points["panel"])), columns=2)
        .properties(title=title, description=description)
    )


def gain_trends(runs: pd.DataFrame, curves: pd.DataFrame, title: str, description: str) -> alt.FacetChart:
    """The gain from experts against size and against tokens: measured, and as a law has it; a line a number of experts.

    Args:
        runs: ``panel`` (text: what runs along the axis), ``value``, ``n_experts``, ``gain`` (share of the loss),
            ``low`` and ``high``.
        curves: ``panel``, ``value``, ``n_experts``, ``gain``, of the law.
        title: the finding.
        description: alt text.
    """
    table = pd.concat([runs.assign(kind="run"), curves.assign(kind="law")])
    base = alt.Chart(table).encode(
        x=alt.X("value:Q", title=None)
        .scale(type="log", nice=False, padding=12)
        .axis(format="~s", tickCount=4, labelSeparation=6, grid=False),
        color=experts_colour(runs),
    )
    y = alt.Y("gain:Q", title="loss saved by the experts").axis(format=".1%")
    lines = base.transform_filter("datum.kind === 'law'").mark_line().encode(y=y)
    measured = base.transform_filter("datum.kind === 'run'")
    bars = measured.mark_rule().encode(y=alt.Y("low:Q"), y2="high:Q")
    points = measured.mark_point(filled=True, size=45).encode(y=y)
    return (
        alt.layer(lines, bars, points)
        .properties(width=PANEL, height=220)
        .facet(facet=alt.Facet("panel:N", title=None, sort=_order(runs["panel"])), columns=2)
        .resolve_scale(x="independent")
        .properties(title=title, description=description)
    )


def forecast_errors(table: pd.DataFrame, noise: float, title: str, description: str) -> alt.LayerChart:
    """Errors on what was held out, one row a law, one mark a split; a line where the noise of one run is.

    Args:
        table: ``law``, ``held_out`` (text) and ``rmse_log`` (a share); laws in the order of the rows.
        noise: standard deviation of ln L between seeds.
        title: the finding.
        description: alt text.
    """
    laws, splits = _order(table["law"]), _order(table["held_out"])
    marks = (
        alt.Chart(table)
        .mark_point(filled=True, size=80)
        .encode(
            x=alt.X("rmse_log:Q", title="error of the forecast (RMSE of ln L)")
            .scale(type="log", nice=False, padding=12)
            .axis(format="~%", tickCount=6, titleAnchor="end"),
            y=alt.Y("law:N", title=None, sort=laws).axis(labelLimit=190),
            color=alt.Color("held_out:N", title="held out", sort=splits).legend(columns=3),
            shape=alt.Shape("held_out:N", sort=splits).legend(None),
        )
    )
    line = alt.Chart(pd.DataFrame({"x": [noise]})).mark_rule(color=INK, strokeDash=[4, 3]).encode(x="x:Q")
    return (line + marks).properties(width="container", height=26 * len(laws), title=title, description=description)


def design_differences(table: pd.DataFrame, title: str, description: str) -> alt.FacetChart:
    """Loss of designs minus that of one expert of full width, against sparsity; a panel for each design.

    Args:
        table: ``design`` (text), ``sparsity``, ``difference``, ``low``, ``high`` (nats a token), ``n_experts`` of the
            design with one expert a token at that sparsity.
        title: the finding.
        description: alt text.
    """
    shown = table.assign(zero=0.0)
    base = alt.Chart(shown).encode(
        x=alt.X("sparsity:O", title="sparsity S").axis(labelAngle=0, format="~g"),
        color=alt.Color("n_experts:O", scale=expert_scale(table["n_experts"])).legend(None),
    )
    y = alt.Y("difference:Q", title="loss against K = G = 1 (nats)")
    rule = alt.Chart(shown).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(y="mean(zero):Q")
    bars = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q"), y2="high:Q")
    points = base.mark_point(filled=True, size=60).encode(y=y)
    return (
        alt.layer(rule, bars, points)
        .properties(width=PANEL, height=200)
        .facet(facet=alt.Facet("design:N", title=None, sort=_order(table["design"])), columns=2)
        .properties(title=title, description=description)
    )


def _order(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _values(numbers: "pd.Series[int]") -> list[int]:
    return sorted({int(number) for number in numbers})
