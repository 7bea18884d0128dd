"""Figures of the sparsity law of Abnar et al. 2025: isoFLOP curves and optima."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from moelaws.charts.theme import expert_colour

BILLIONS = "replace(format(datum.value, '~s'), 'G', 'B')"
"""Axis labels such as 100M and 2B."""


def sparsity_scale(sparsities: Sequence[float]) -> alt.Scale:
    """Colours of sparsities: those of E = 1 / (1 - S) experts of which one works."""
    return alt.Scale(domain=list(sparsities), range=[expert_colour(1 / (1 - s)) for s in sparsities])


def isoflop_curves(curves: pd.DataFrame, optima: pd.DataFrame) -> alt.LayerChart:
    """Loss against size at one budget, a curve for each sparsity, its lowest point marked.

    Arguments:
        curves: `total_params`, `sparsity`, `loss`, one row a point of a curve.
        optima: the same columns, one row a sparsity.
    """
    colour = alt.Color("sparsity:O", title="S", scale=sparsity_scale(sorted(optima["sparsity"])))
    x = alt.X("total_params:Q", title="total parameters N").scale(type="log").axis(labelExpr=BILLIONS, tickCount=6)
    y = alt.Y("loss:Q", title="loss (nats per token)").scale(zero=False)
    lines = alt.Chart(curves).mark_line(clip=True).encode(x=x, y=y, color=colour)
    points = alt.Chart(optima).mark_point(size=70).encode(x=x, y=y, color=colour)
    return (lines + points).properties(
        title="Each sparsity has a best size",
        width="container",
        height=320,
        description="Loss against total parameters at one budget, one curve for each sparsity; the sparser, the lower "
        "its minimum and the further right.",
    )


def optima_by_budget(optima: pd.DataFrame) -> alt.HConcatChart:
    """Active parameters and loss at the optimum against sparsity, a line for each budget.

    Arguments:
        optima: `train_flops`, `sparsity`, `active_params`, `loss`.
    """
    shown = optima.assign(ratio=1 / (1 - optima["sparsity"]), budget=optima["train_flops"].map("{:.0e}".format))
    base = alt.Chart(shown).encode(
        x=alt.X("ratio:Q", title="1 / (1 − S), experts per active expert").scale(type="log", base=2),
        color=alt.Color("budget:N", title="C (FLOPs)", sort=list(dict.fromkeys(shown["budget"]))),
    )
    active = base.mark_line(point=True).encode(
        y=alt.Y("active_params:Q", title="best active parameters").scale(type="log").axis(labelExpr=BILLIONS)
    )
    loss = base.mark_line(point=True).encode(y=alt.Y("loss:Q", title="loss (nats per token)").scale(zero=False))
    return alt.hconcat(active.properties(width=290, height=260), loss.properties(width=290, height=260)).properties(
        title="The best model at each budget, by sparsity",
        description="Best active parameters fall with sparsity and rise with the budget; the loss falls with both.",
    )


def best_sparsity_curves(optima: pd.DataFrame) -> alt.Chart:
    """S* against size, a line for each budget.

    Arguments:
        optima: `train_flops`, `total_params`, `sparsity`, the best one at that size and budget.
    """
    shown = optima.assign(budget=optima["train_flops"].map("{:.0e}".format))
    return (
        alt.Chart(shown)
        .mark_line(point=True)
        .encode(
            x=alt.X("total_params:Q", title="total parameters N").scale(type="log").axis(labelExpr=BILLIONS),
            y=alt.Y("sparsity:Q", title="best sparsity S*"),
            color=alt.Color("budget:N", title="C (FLOPs)", sort=list(dict.fromkeys(shown["budget"]))),
        )
        .properties(
            title="The best sparsity of a model of a given size",
            width="container",
            height=280,
            description="The best sparsity at a fixed size rises with the size towards one, and falls with the budget.",
        )
    )
