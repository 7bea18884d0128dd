"""Figures of a recipe's evidence: loss against a setting, point by point."""

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from moelaws.charts.runs import budget_name, experts_colour
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


_WORDS = {"d_model": "width d", "budget": "budget"}
