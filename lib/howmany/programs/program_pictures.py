"""The figures of the chapter on program text."""

import altair as alt
import pandas as pd

from howmany.programs.collapse import LIMIT
from howmany.programs.program_text import FINE, NAMES, Programs, design_name
from howmany.study import budget_label
from moelaws.charts.losses import budget_name
from moelaws.charts.theme import CATEGORIES, DENSE, QUIET, expert_scale


def valley_figure(found: Programs) -> alt.FacetChart:
    """Loss against active size at each budget: runs, and the valley of each design."""
    names = {each.budget: budget_name(each.budget) for each in found.valleys}
    idle = (found.runs["n_experts"] // found.runs["top_k"]).astype(int)
    runs = found.runs.assign(
        panel=found.runs["budget"].map(names), idle=idle, experts=design_name(found.runs), run="run"
    )[["panel", "idle", "experts", "active_params", "loss", "run", "d_model", "n_experts"]]
    curves = pd.concat(each.curves.assign(panel=names[each.budget]) for each in found.valleys)
    curves = curves.assign(idle=curves["n_experts"] // curves["top_k"], experts=design_name(curves)).iloc[::6]
    dense = curves[curves["idle"] == 1]
    lines = pd.concat([curves, dense.assign(experts=NAMES[FINE])])
    table = pd.concat([lines.assign(run="valley"), runs], ignore_index=True)
    x = alt.X("active_params:Q", title="active parameters").scale(type="log", nice=False, padding=10).axis(
        format="~s", tickCount=4
    )  # fmt: skip
    base = alt.Chart(table).encode(
        x=x,
        y=alt.Y("loss:Q", title="loss (nats/token)").scale(zero=False),
        color=alt.Color("idle:O", title="1 / (1 − S)", scale=expert_scale(table["idle"])).legend(symbolOpacity=1),
    )
    dash = alt.StrokeDash("experts:N", title="experts", sort=list(NAMES.values())).legend(columns=1)
    shape = alt.Shape("experts:N", title="experts", sort=list(NAMES.values())).legend(None)
    points = base.transform_filter("datum.run == 'run'").mark_point(size=34).encode(
        shape=shape, tooltip=["n_experts", "experts", "d_model", "loss"]
    )  # fmt: skip
    line = base.transform_filter("datum.run == 'valley'").mark_line(strokeWidth=1.6).encode(strokeDash=dash)
    return (
        alt.layer(line, points)
        .properties(width=230, height=230)
        .facet(facet=alt.Facet("panel:N", title=None, sort=list(names.values())), columns=2)
        .resolve_scale(x="independent", y="independent")
        .properties(
            title=f"The best sparsity grows from S = {_best_s(found, 0)} to {_best_s(found, -1)}",
            description="Loss against active parameters at four budgets, a panel each: dense models and three "
            "sparsities, whole experts and halves. The lowest valley moves to more experts as the budget grows.",
        )
    )


def _best_s(found: Programs, place: int) -> str:
    e, k, _ = found.valleys[place].keys[int(found.valleys[place].loss[:, 0].argmin())]
    return f"{1 - k / e:.3g}"


def gain_figure(table: pd.DataFrame) -> alt.FacetChart:
    """The gain of each mixture against the budget, a panel a design; hollow where the best size lies at an edge."""
    top = table.loc[table.groupby("budget")["gain"].idxmax()]
    inside = top[top["edge"] == ""]
    ends = (f"{inside['gain'].iloc[0]:.2f}", f"{inside['gain'].iloc[-1]:.2f}", budget_label(inside["budget"].iloc[-1]))
    shown = table.assign(end=table["edge"] != "")
    base = alt.Chart(shown).encode(
        x=alt.X("budget:Q", title="training FLOPs")
        .scale(type="log", nice=False, padding=14)
        .axis(format="~e", values=sorted(table["budget"].unique()), grid=False),
        color=alt.Color("idle:O", title="1 / (1 − S)", scale=expert_scale(table["idle"])).legend(symbolOpacity=1),
        xOffset=alt.XOffset("idle:O"),
    )
    y = alt.Y("low:Q", title="gain over dense (nats)")
    zero = alt.Chart(shown).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(y=alt.datum(0))
    points = base.mark_point(filled=True, size=60).encode(y="gain:Q", tooltip=["idle", "gain", "low", "high"])
    hollow = base.transform_filter("datum.end").mark_point(filled=True, size=20).encode(y="gain:Q")
    line = base.mark_line(strokeWidth=1).encode(y="gain:Q")
    return (
        alt.layer(zero, line, base.mark_rule(strokeWidth=2).encode(y=y, y2="high:Q"), points,
                  hollow.encode(color=alt.value("#fff")))
        .properties(width=230, height=250)
        .facet(facet=alt.Facet("experts:N", title=None, sort=list(NAMES.values())), columns=2)
        .properties(
            title=f"The gain of the best mixture grows from {ends[0]} to {ends[1]} nats at {ends[2]} FLOPs",
            description="Gain in nats over the dense model against the training budget, with 95 percent intervals, "
            "for three sparsities, whole and halved experts. It grows with the budget up to 1e14; at 1e15 all best "
            "sizes lie at the smallest size tried and the gain is a bound.",
        )
    )  # fmt: skip


def load_figure(found: pd.DataFrame) -> alt.LayerChart:
    """How far loads are from even in every mixture that was recorded, a row a table: the gap that the rule lies in."""
    base = alt.Chart(found).encode(
        x=alt.X("concentration:Q", title="0: all experts alike, 1: one has every token").scale(domain=[0, 1]),
        y=alt.Y("table:N", title=None).axis(labelExpr="replace(datum.label, '.csv', '')"),
    )
    rule = alt.Chart(pd.DataFrame({"x": [LIMIT]})).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(x="x:Q")
    colour = alt.condition(f"datum.concentration > {LIMIT}", alt.value(DENSE), alt.value(CATEGORIES[0]))
    points = base.mark_tick(thickness=1.5, opacity=0.5, size=13).encode(color=colour)
    count = int((found["concentration"] > LIMIT).sum())
    return (rule + points).properties(
        width="container", height=22 * found["table"].nunique() + 10,
        title=f"Of {len(found):,} mixtures {count} lies beyond the rule",
        description="Concentration of the expert loads of every recorded mixture, a row a table; one run lies at .98, "
        "the others below .62.",
    )  # fmt: skip
