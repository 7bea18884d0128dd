"""Figures of a timing table: what a decode step takes, and the experts it touches."""

import altair as alt
import pandas as pd

from moelaws.charts.losses import experts_colour
from moelaws.charts.theme import CATEGORIES


def step_by_batch(rows: pd.DataFrame, title: str, description: str) -> alt.LayerChart:
    """Time of a decode step against the batch, one line a number of experts, with quartiles.

    Args:
        rows: of a timing table, one a batch and number of experts.
        title: the finding.
        description: alt text.
    """
    shown = rows.assign(
        step=1e3 * rows["decode_step_seconds"], low=1e3 * rows["decode_step_low"], high=1e3 * rows["decode_step_high"]
    )
    base = alt.Chart(shown).encode(
        x=alt.X("batch:Q", title="requests in a step, B").scale(type="log", base=2, nice=False),
        color=experts_colour(shown),
    )
    y = "decode step (ms)"
    band = base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", title=y).scale(type="log", nice=False), y2="high:Q")
    line = base.mark_line(point=True).encode(
        y=alt.Y("step:Q", title=y),
        tooltip=["n_experts", "batch", alt.Tooltip("step:Q", format=".3f"), "experts_touched"],
    )
    return (band + line).properties(width="container", height=280, title=title, description=description)


def touched_by_tokens(rows: pd.DataFrame, title: str, description: str) -> alt.LayerChart:
    """Distinct experts against the tokens of a step: measured points, and a line for each rule.

    Args:
        rows: columns ``tokens``, ``experts`` and ``kind``: ``measured``, or the name of a rule.
        title: the finding.
        description: alt text.
    """
    rules = [kind for kind in rows["kind"].unique() if kind != "measured"]
    x = alt.X("tokens:Q", title="tokens in a step").scale(type="log", base=2, nice=False)
    y = alt.Y("experts:Q", title="distinct experts of a layer")
    colour = alt.Color("kind:N", title=None, sort=rules).scale(domain=rules, range=list(CATEGORIES[: len(rules)]))
    lines = alt.Chart(rows[rows["kind"] != "measured"]).mark_line().encode(x=x, y=y, color=colour)
    points = alt.Chart(rows[rows["kind"] == "measured"]).mark_point(filled=True, color="#1f2328", size=55)
    return (lines + points.encode(x=x, y=y, tooltip=["tokens", alt.Tooltip("experts:Q", format=".2f")])).properties(
        width="container", height=280, title=title, description=description
    )


def predicted_steps(rows: pd.DataFrame, title: str, description: str) -> alt.LayerChart:
    """Predicted against measured decode steps, each of a configuration that the fit did not see.

    Args:
        rows: columns ``measured`` and ``predicted`` in ms, ``n_experts``, ``d_model``, ``batch``.
        title: the finding.
        description: alt text.
    """
    low, high = rows[["measured", "predicted"]].min().min(), rows[["measured", "predicted"]].max().max()
    scale = alt.Scale(type="log", nice=False, domain=[0.9 * low, 1.1 * high])
    line = (
        alt.Chart(pd.DataFrame({"measured": [low, high], "predicted": [low, high]}))
        .mark_line(color="#57606a", strokeWidth=1)
        .encode(x=alt.X("measured:Q", scale=scale), y=alt.Y("predicted:Q", scale=scale))
    )
    points = (
        alt.Chart(rows)
        .mark_point(filled=True, opacity=0.8)
        .encode(
            x=alt.X("measured:Q", title="measured decode step (ms)", scale=scale),
            y=alt.Y("predicted:Q", title="predicted (ms)", scale=scale),
            color=experts_colour(rows),
            tooltip=["d_model", "n_experts", "batch", "measured", "predicted"],
        )
    )
    return (line + points).properties(width="container", height=320, title=title, description=description)
