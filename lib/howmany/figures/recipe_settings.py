"""Figures of a recipe's evidence: loss against a setting, point by point."""

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from moelaws.charts.losses import budget_name, experts_colour
from moelaws.charts.theme import QUIET


def loss_by_setting(runs: pd.DataFrame, setting: str, chosen: str, by: Sequence[str], name: str, title: str,
                    description: str) -> alt.LayerChart:  # fmt: skip
    """Loss above the lowest mean of its point against the setting over the chosen value; a line a point.

    Args:
        runs: columns ``loss``, ``n_experts``, the setting, the chosen value, and those of ``by``.
        setting, chosen, by: as in ``fitting.tuning.tune``.
        name: the setting in words.
        title: the finding.
        description: alt text.
    """
    by = list(by)
    ratio = 2 ** np.log2((runs[setting] / runs[chosen]).to_numpy(float)).round(4)
    means = runs.assign(ratio=ratio).groupby([*by, "ratio"], as_index=False).agg(loss=("loss", "mean"))
    means["above"] = means["loss"] - means.groupby(by)["loss"].transform("min")
    if "budget" in by:
        means["budget"] = means["budget"].map(budget_name)
    dashes = next((column for column in by if column != "n_experts"), by[0])
    octaves = range(int(np.floor(np.log2(ratio.min()))), int(np.ceil(np.log2(ratio.max()))) + 1)
    base = alt.Chart(means).encode(
        x=alt.X("ratio:Q", title=f"{name}, over the recipe's")
        .scale(type="log", base=2)
        .axis(format="~g", values=[2.0**octave for octave in octaves]),
        y=alt.Y("above:Q", title="loss above the lowest (nats per token)"),
        color=experts_colour(means),
        detail=[f"{column}:N" for column in by],
    )
    lines = base.mark_line().encode(
        strokeDash=alt.StrokeDash(
            f"{dashes}:O",
            title=_WORDS.get(dashes, dashes),
            sort=list(dict.fromkeys(means[dashes])),
            legend=alt.Legend(columns=2),
        )
    )
    rule = alt.Chart(pd.DataFrame({"x": [1.0]})).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(x="x:Q")
    return (rule + lines + base.mark_point(filled=True, size=40)).properties(
        width="container", height=320, title=title, description=description
    )


def changed_settings(moved: pd.DataFrame, limit: float) -> alt.FacetChart:
    """What halving and doubling a setting costs at points of a study, with two standard errors; a panel a setting.

    Args:
        moved: from ``fitting.tuning.changed``: ``corpus``, ``budget``, ``d_model``, ``n_experts``, ``setting``,
            ``factor``, ``difference``, ``se``.
        limit: a gain that would be too much, nats per token.
    """
    words = {"learning_rate": "rate", "batch_sequences": "batch"}
    place = [
        f"{budget_name(budget)}, d = {width}, E = {n_experts}" + ", synthetic" * text.startswith("zipf")
        for text, budget, width, n_experts in zip(
            moved["corpus"], moved["budget"], moved["d_model"], moved["n_experts"], strict=True
        )
    ]
    change = [
        f"{'half' if factor < 1 else 'twice'} the {words[setting]}"
        for setting, factor in zip(moved["setting"], moved["factor"], strict=True)
    ]
    table = moved[["difference"]].assign(
        point=place,
        change=change,
        low=moved["difference"] - 2 * moved["se"],
        high=moved["difference"] + 2 * moved["se"],
    )
    beaten = int((table.groupby("point")["difference"].min() < -limit).sum())
    points = table["point"].nunique()
    title = (
        f"No change wins by more than {limit:g} nats at {points - beaten} of {points} points"
        if beaten
        else f"At none of {points} points does a change win by more than {limit:g} nats"
    )
    order = list(dict.fromkeys(table["point"]))
    base = alt.Chart(table).encode(y=alt.Y("point:N", title=None, sort=order).axis(labelLimit=260))
    bars = base.mark_rule().encode(x=alt.X("low:Q", title="change of loss (nats)"), x2="high:Q")
    dots = base.mark_point(filled=True, size=50).encode(x="difference:Q")
    line = alt.Chart(table).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(x=alt.datum(-limit))
    panel = (line + bars + dots).properties(width=170, height=20 * points)
    return panel.facet(facet=alt.Facet("change:N", title=None), columns=2).properties(
        title=title,
        description="Differences of loss when the rate or the batch is halved or doubled, with two standard errors; "
        "points right of zero mean that the recipe is better.",
    )


_WORDS = {"d_model": "width d", "budget": "budget"}
