"""Figures of counts: where parameters, FLOPs and bytes are."""

import altair as alt
import pandas as pd

from moelaws.charts.theme import expert_scale


def parameter_bars(counts: pd.DataFrame, title: str, description: str) -> alt.Chart:
    """Parameters by role, one bar a model.

    Args:
        counts: columns ``model``, ``role``, ``parameters``, and ``order`` of the roles.
        title: the finding.
        description: alt text.
    """
    return (
        alt.Chart(counts)
        .mark_bar()
        .encode(
            x=alt.X("parameters:Q", title="parameters").axis(format="~s"),
            y=alt.Y("model:N", title=None, sort=None).axis(labelLimit=120),
            color=alt.Color("role:N", title=None, sort=alt.SortField("order")),
            order="order:Q",
            tooltip=["model", "role", alt.Tooltip("parameters:Q", format=",")],
        )
        .properties(width="container", height=160, title=title, description=description)
    )


def convention_ratios(ratios: pd.DataFrame, title: str, description: str) -> alt.LayerChart:
    """Each convention's FLOPs per token over the exact count, against model width.

    Args:
        ratios: columns ``d_model``, ``convention``, ``ratio``.
        title: the finding.
        description: alt text.
    """
    lines = (
        alt.Chart(ratios)
        .mark_line(point=True)
        .encode(
            x=alt.X("d_model:Q", title="model width d").scale(type="log", base=2, nice=False, padding=10),
            y=alt.Y("ratio:Q", title="FLOPs over the exact count").scale(zero=False),
            color=alt.Color("convention:N", title=None),
            strokeDash=alt.StrokeDash("convention:N", title=None),
        )
    )
    one = alt.Chart(pd.DataFrame({"one": [1.0]})).mark_rule(strokeDash=[2, 3]).encode(y="one:Q")
    return (lines + one).properties(width="container", height=240, title=title, description=description)


def experts_touched(title: str, description: str, max_batch: int = 512) -> alt.LayerChart:
    """Distinct experts that a decode step reads against its batch, with sliders for E and K, beside two usual rules.

    The page computes E (1 - (1 - K/E)^B) itself; it needs no server.

    Args:
        title: the finding.
        description: alt text.
        max_batch: right end of the axis.
    """
    exponent = alt.param(
        name="log2_experts", value=6, bind=alt.binding_range(min=1, max=9, step=1, name="experts, log₂ E ")
    )
    chosen = alt.param(name="chosen", value=8, bind=alt.binding_range(min=1, max=16, step=1, name="chosen, K "))
    batches = sorted({round(2 ** (i / 4)) for i in range(4 * max_batch.bit_length() - 3)})
    rules = {
        "distinct experts, uniform routing": "E * (1 - pow(1 - K / E, datum.batch))",
        "min(E, B K)": "min(E, datum.batch * K)",
        "active only: K": "K",
    }
    base = (
        alt.Chart(pd.DataFrame({"batch": [b for b in batches if b <= max_batch]}))
        .transform_calculate(**{name: _with_sliders(formula) for name, formula in rules.items()})
        .transform_fold(list(rules), as_=["rule", "experts"])
    )
    return (
        base.mark_line()
        .encode(
            x=alt.X("batch:Q", title="tokens in the step, B").scale(type="log", base=2),
            y=alt.Y("experts:Q", title="experts read per layer"),
            color=alt.Color("rule:N", title=None).scale(domain=list(rules)),
            strokeDash=alt.StrokeDash("rule:N", title=None).scale(domain=list(rules)),
        )
        .add_params(exponent, chosen)
        .properties(width="container", height=260, title=title, description=description)
    )


def bytes_read(table: pd.DataFrame, title: str, description: str) -> alt.Chart:
    """Weight bytes that one decode step reads per token, against the batch, one line a number of experts.

    Args:
        table: columns ``batch``, ``n_experts``, ``megabytes_per_token``.
        title: the finding.
        description: alt text.
    """
    return (
        alt.Chart(table)
        .mark_line(point=True)
        .encode(
            x=alt.X("batch:Q", title="tokens in the step, B").scale(type="log", base=2),
            y=alt.Y("megabytes_per_token:Q", title="weights read per token (MB)").scale(type="log").axis(format="~g"),
            color=alt.Color("n_experts:O", title="E", scale=expert_scale(table["n_experts"])),
        )
        .properties(width="container", height=260, title=title, description=description)
    )


def _with_sliders(formula: str) -> str:
    # K cannot exceed E, wherever the sliders stand.
    return formula.replace("K", "min(chosen, E)").replace("E", "pow(2, log2_experts)")
