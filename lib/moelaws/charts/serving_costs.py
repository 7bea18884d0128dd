"""Figures of serving: where a step's time goes, what a token costs, loss against cost, verdicts, total dollars."""

import math

import altair as alt
import pandas as pd

from moelaws.charts.isoflop_curves import BILLIONS
from moelaws.charts.theme import CATEGORIES, INK, QUIET, expert_scale

MILLION = "dollars per million output tokens"

WORDS = {
    "reproduced": CATEGORIES[2],
    "partly": CATEGORIES[1],
    "contradicted": CATEGORIES[3],
    "not resolved": CATEGORIES[5],
}
"""Colours of verdicts."""


def step_parts(parts: pd.DataFrame, title: str, description: str) -> alt.Chart:
    """Time of a step by what it is spent on, one stacked bar a batch.

    Args:
        parts: columns ``batch``, ``part``, ``milliseconds``, and ``model``, one facet each.
        title: the finding.
        description: alt text.
    """
    order = list(dict.fromkeys(parts["part"]))
    return (
        alt.Chart(parts)
        .mark_bar()
        .encode(
            x=alt.X("batch:O", title="requests in the step, B").axis(labelAngle=0),
            y=alt.Y("milliseconds:Q", title="milliseconds a step"),
            color=alt.Color("part:N", title=None, sort=order).scale(domain=order).legend(columns=3),
            order="order:Q",
            facet=alt.Facet("model:N", title=None, columns=3, sort=list(dict.fromkeys(parts["model"]))),
            tooltip=["model", "batch", "part", alt.Tooltip("milliseconds:Q", format=".3g")],
        )
        .transform_calculate(order=f"indexof({order}, datum.part)")
        .properties(width=250, height=230, title=title, description=description)
    )


def time_per_token(table: pd.DataFrame, title: str, description: str) -> alt.Chart:
    """Time of a decode step per token against the batch, one line a number of experts.

    Args:
        table: columns ``batch``, ``n_experts``, ``microseconds``.
        title: the finding.
        description: alt text.
    """
    return (
        alt.Chart(table)
        .mark_line(point=True)
        .encode(
            x=alt.X("batch:Q", title="requests in the step, B").scale(type="log", base=2),
            y=alt.Y("microseconds:Q", title="microseconds a token")
            .scale(type="log", nice=False, padding=8)
            .axis(format="~s"),
            color=alt.Color("n_experts:O", title="E", scale=expert_scale(table["n_experts"])),
        )
        .properties(width="container", height=260, title=title, description=description)
    )


def cost_by_size(table: pd.DataFrame, title: str, description: str) -> alt.Chart:
    """Serving cost against the size of the model, one line a number of experts (Yun et al. 2024, Fig. 2).

    Args:
        table: columns ``total_params``, ``n_experts``, ``dollars_per_million``, ``gpus``.
        title: the finding.
        description: alt text.
    """
    return (
        alt.Chart(table)
        .mark_line()
        .encode(
            x=alt.X("total_params:Q", title="total parameters N")
            .scale(type="log", nice=False)
            .axis(labelExpr=BILLIONS, tickCount=5),
            y=alt.Y("dollars_per_million:Q", title=MILLION).scale(type="log").axis(format="~g"),
            color=alt.Color("n_experts:O", title="E", scale=expert_scale(table["n_experts"])),
            tooltip=["n_experts", "gpus", alt.Tooltip("dollars_per_million:Q", format=".3g")],
        )
        .properties(width="container", height=300, title=title, description=description)
    )


def loss_by_cost(table: pd.DataFrame, marks: pd.DataFrame, title: str, description: str) -> alt.FacetChart:
    """Loss against serving cost, a line for each number of experts, a panel for each law (Yun et al. 2024, Fig. 3, 4).

    Args:
        table: columns ``law``, ``n_experts``, ``dollars_per_million``, ``loss``; rows in the order of a line.
        marks: the same columns, of the models to be marked; may have no rows.
        title: the finding.
        description: alt text.
    """
    shown = pd.concat([table.assign(kind="line"), marks.assign(kind="mark")], ignore_index=True)
    shown["place"] = range(len(shown))
    base = alt.Chart(shown).encode(
        x=alt.X("dollars_per_million:Q", title=MILLION)
        .scale(type="log", nice=False, padding=10)
        .axis(format="~g", tickCount=4),
        y=alt.Y("loss:Q", title="loss (nats per token)").scale(zero=False),
        color=alt.Color("n_experts:O", title="E", scale=expert_scale(shown["n_experts"])),
        order="place:Q",
    )
    lines = base.transform_filter("datum.kind === 'line'").mark_line()
    points = base.transform_filter("datum.kind === 'mark'").mark_point(size=70)
    return (
        alt.layer(lines, points)
        .properties(width=290, height=280)
        .facet(facet=alt.Facet("law:N", title=None, sort=list(dict.fromkeys(table["law"]))), columns=2)
        .resolve_scale(y="independent")
        .properties(title=title, description=description)
    )


def ratio_bars(table: pd.DataFrame, axis: str, title: str, description: str) -> alt.FacetChart:
    """A ratio to the base for each number of experts, with its range over assumptions; a panel for each law.

    Args:
        table: columns ``law``, ``n_experts``, ``ratio``, ``low``, ``high``.
        axis: what the ratio is.
        title: the finding.
        description: alt text.
    """
    colour = alt.Color("n_experts:O", title="E", scale=expert_scale(table["n_experts"])).legend(None)
    base = alt.Chart(table).encode(x=alt.X("n_experts:O", title="experts E").axis(labelAngle=0))
    bars = base.mark_bar().encode(y=alt.Y("ratio:Q", title=axis).axis(format="%"), color=colour)
    ranges = base.mark_rule(color=INK, strokeWidth=1.5).encode(y="low:Q", y2="high:Q")
    return (
        alt.layer(bars, ranges)
        .properties(width=200, height=220)
        .facet(facet=alt.Facet("law:N", title=None, sort=list(dict.fromkeys(table["law"]))), columns=2)
        .properties(title=title, description=description)
    )


def verdict_ranges(table: pd.DataFrame, title: str, description: str) -> alt.FacetChart:
    """What claims come to, as multiples of what is printed: points under central assumptions, lines over all.

    Args:
        table: columns ``claim``, ``law``, ``word``, ``low``, ``high``, ``least``, ``most``, all as multiples of the
            middle of the printed range, and ``printed_low``, ``printed_high`` likewise.
        title: the finding.
        description: alt text.
    """
    claims = alt.Y("claim:N", title=None, sort=list(dict.fromkeys(table["claim"]))).axis(labelLimit=280)
    base = alt.Chart(table).encode(y=claims)
    x = alt.X("least:Q", title="times the printed number").scale(type="log", base=2, nice=False, padding=10)
    x = x.axis(values=[0.125, 0.25, 0.5, 1, 2, 4, 8], format="~g")
    colour = alt.Color("word:N", title=None).scale(domain=list(WORDS), range=list(WORDS.values())).legend(columns=2)
    printed = base.mark_bar(color=QUIET, opacity=0.25, height=14).encode(x="printed_low:Q", x2="printed_high:Q")
    # Under some assumptions a law may have no answer: then there is nothing to draw but what is printed.
    whole = base.transform_filter("isValid(datum.least) && isValid(datum.most)")
    all_of_them = whole.mark_rule(strokeWidth=2).encode(x=x, x2="most:Q", color=colour)
    known = base.transform_filter("isValid(datum.low) && isValid(datum.high)")
    central = known.mark_bar(height=7).encode(x="drawn_low:Q", x2="drawn_high:Q", color=colour)
    return (
        # A range of one number would be a bar without width.
        alt.layer(printed, all_of_them, central)
        .transform_calculate(drawn_low="datum.low / 1.02", drawn_high="datum.high * 1.02")
        .properties(width=200, height=18 * table["claim"].nunique())
        .facet(facet=alt.Facet("law:N", title=None, sort=list(dict.fromkeys(table["law"]))), columns=2)
        .properties(title=title, description=description)
    )


def dollars_explorer(
    models: pd.DataFrame, description: str, tokens: float = 1e11, price: float = 2.0
) -> alt.VConcatChart:
    """Total dollars against size for models of one loss, with sliders for the price and for the tokens served.

    The page computes: dollars = price (training seconds + tokens x seconds a token) / 3600.

    Args:
        models: columns ``law``, ``n_experts``, ``total_params``, ``active_params``, ``train_seconds``,
            ``serve_seconds``, ``gpus``.
        description: alt text.
        tokens: served, where the slider begins.
        price: dollars a GPU-hour, likewise.
    """
    laws = list(dict.fromkeys(models["law"]))
    controls = [
        alt.param(name="law", value=laws[0], bind=alt.binding_select(options=laws, name="law ")),
        alt.param(
            name="log_tokens",
            value=round(4 * math.log10(tokens)) / 4,
            bind=alt.binding_range(min=8, max=15, step=0.25, name="log10 of tokens served "),
        ),
        alt.param(
            name="price", value=price, bind=alt.binding_range(min=0.25, max=10, step=0.25, name="dollars a GPU-hour ")
        ),
    ]
    priced = (
        alt.Chart(models)
        .transform_filter("datum.law === law")
        .transform_calculate(
            dollars="price / 3600 * (datum.train_seconds + pow(10, log_tokens) * datum.serve_seconds)",
            train="price / 3600 * datum.train_seconds",
        )
    )
    x = (
        alt.X("total_params:Q", title="total parameters N")
        .scale(type="log", nice=False)
        .axis(labelExpr=BILLIONS, tickCount=5)
    )
    y = alt.Y("dollars:Q", title="dollars, training and serving").scale(type="log").axis(format="~s")
    colour = alt.Color("n_experts:O", title="E", scale=expert_scale(models["n_experts"]))
    lines = priced.mark_line(point=alt.OverlayMarkDef(size=14)).encode(x=x, y=y, color=colour)
    lowest = priced.transform_joinaggregate(lowest="min(dollars)").transform_filter("datum.dollars === datum.lowest")
    mark = lowest.mark_point(shape="diamond", size=160, color=INK).encode(x=x, y=y)
    # One fact a line, each short enough for a phone.
    texts = (
        "'Cheapest: E = ' + datum.n_experts + ', N = ' + " + _short("datum.total_params"),
        "'N_a = ' + " + _short("datum.active_params") + " + ', on ' + datum.gpus + ' GPU'",
        "'$' + format(datum.train, ',.0f') + ' to train, $'"
        " + format(datum.dollars - datum.train, ',.0f') + ' to serve'",
    )
    written = [
        lowest.transform_calculate(text=text)
        .mark_text(align="left", fontSize=12, color=INK if row == 0 else QUIET)
        .encode(text="text:N", x=alt.value(0), y=alt.value(12 + 20 * row))
        for row, text in enumerate(texts)
    ]
    plot = alt.layer(lines, mark).properties(width=560, height=300)
    return (
        alt.vconcat(plot, alt.layer(*written).properties(width=560, height=65), spacing=14)
        .add_params(*controls)
        .properties(title="Dollars for one loss, by size", description=description)
    )


def _short(expression: str) -> str:
    return f"replace(format({expression}, '.3s'), 'G', 'B')"
