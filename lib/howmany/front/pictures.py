"""The pictures of the front page: one point each, small, with words at the lines in the place of a legend."""

import altair as alt
import pandas as pd

from howmany.front.findings import DESIGNS, LAWS, MEASURED, Finding
from howmany.study import budget_label
from moelaws.charts.theme import CATEGORIES, INK, QUIET, expert_colour

HEIGHT = 210

Sketch = alt.LayerChart | alt.FacetChart

_BUDGETS = ("#7a9cc0", "#638bb5", "#4d79a8", "#33638f", "#123f6d")
"""Colours of budgets, from the least: a ramp of their own, for the others belong to numbers of experts."""


def best_experts(found: Finding) -> Sketch:
    """The lowest loss less the dense one against experts, a line a budget, with the best and its interval."""
    budgets = sorted(found.table["budget"].unique())
    names = {b: budget_label(b) + (" FLOPs" if b == budgets[0] else "") for b in budgets}
    table = found.table.assign(name=found.table["budget"].map(names))
    ramp = list(_BUDGETS[-len(budgets) :]) if len(budgets) <= len(_BUDGETS) else [_BUDGETS[-1]] * len(budgets)
    colour = alt.Color("name:N", legend=None).scale(domain=list(names.values()), range=ramp)
    base = alt.Chart(table).encode(x=_experts(table), color=colour)
    y = alt.Y("change:Q", title="loss less the dense one (nats)")
    best = base.transform_filter("isValid(datum.low)")
    return _sketch(
        base.mark_line().encode(y=y),
        best.mark_rule(strokeWidth=3, opacity=0.6).encode(x="low:Q", x2="high:Q", y=y),
        best.mark_point(filled=True, size=90, shape="diamond").encode(y=y),
        _ends(table, "name", "n_experts", "change", colour),
        description="Lowest loss less that of the dense model against the number of experts, a line for each training "
        f"budget. The best number, marked with its interval, moves from {found.numbers['fr_first_best']} at "
        f"{budgets[0]:.0e} FLOPs to {found.numbers['fr_last_best']} at {budgets[-1]:.0e}.",
    )


def same_loss(found: Finding, budgets: int = 3) -> Sketch:
    """The lowest loss against the budget, dense and sparsest, and how much sooner the sparsest gets there.

    Args:
        found: the finding.
        budgets: how many are shown, the largest ones.
    """
    least = sorted(found.table["budget"].unique())[-budgets:][0]
    most = int(found.table["n_experts"].max())
    words = {1: "dense", most: f"{most} experts"}
    table = found.table[found.table["budget"] >= least].assign(name=lambda t: t["n_experts"].map(words))
    end, worth = table["budget"].max(), float(table["worth"].iloc[0])
    target = float(table.loc[(table["n_experts"] == 1) & (table["budget"] == end), "loss"].iloc[0])
    colour = _colour("name", {words[e]: expert_colour(e) for e in words})
    x = alt.X("budget:Q", title="training FLOPs").scale(type="log", nice=False, domain=[least * 0.9, end * 3])
    base = alt.Chart(table).encode(
        x=x.axis(values=sorted(table["budget"].unique()), format="~e", grid=False), color=colour
    )
    y = alt.Y("loss:Q", title="best loss (nats)").scale(zero=False)
    gap_words = f"{worth:.2f} × less"
    gap = alt.Chart(pd.DataFrame({"budget": [end / worth], "end": [end], "loss": [target], "name": [gap_words]}))
    return _sketch(
        base.mark_line().encode(y=y),
        base.mark_point(filled=True, size=50).encode(y=y),
        gap.mark_rule(color=INK, strokeWidth=2, strokeDash=[4, 3]).encode(x="budget:Q", x2="end:Q", y="loss:Q"),
        gap.mark_text(color=INK, fontWeight=600, align="right", dx=-6, dy=5).encode(
            x="budget:Q", y="loss:Q", text="name:N"
        ),
        _ends(table, "name", "budget", "loss", colour),
        description=f"Best loss against training FLOPs for dense models and for {most} experts, which reach the dense "
        f"loss at {end:.0e} FLOPs with {worth:.2f} times less.",
    )


def foreseen(found: Finding) -> Sketch:
    """The gain from experts at the largest budget, measured and as two laws foresee it."""
    table = found.table
    published, mended = LAWS.values()
    colour = _colour("source", {MEASURED: INK, published: CATEGORIES[3], mended: CATEGORIES[2]})
    base = alt.Chart(table).encode(x=_experts(table), color=colour)
    title = "loss saved by experts (nats)"
    y = alt.Y("gain:Q", title=title)
    measured, laws = (base.transform_filter(f"datum.source {sign} '{MEASURED}'") for sign in ("===", "!=="))
    return _sketch(
        laws.mark_line(strokeDash=[6, 3]).encode(y=y),
        measured.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", title=title), y2="high:Q"),
        measured.mark_point(filled=True, size=70).encode(y=y),
        _ends(table, "source", "n_experts", "gain", colour),
        description="Loss saved against the number of experts at the largest budget: measured with intervals, and "
        f"foreseen by two laws from smaller budgets. At the most experts {found.numbers['fr_gain']} nats came; the "
        f"published form foresaw {found.numbers['fr_law']}, with size in its data term {found.numbers['fr_mended']}.",
    )


def in_seconds(found: Finding) -> Sketch:
    """What a dense model needs to catch up, in FLOPs and in seconds, against the budget."""
    table = found.table.assign(name="in " + found.table["in equal"])
    colour = _colour("name", {"in FLOPs": CATEGORIES[0], "in seconds": CATEGORIES[1]})
    least, most = table["budget"].min(), table["budget"].max()
    x = alt.X("budget:Q", title="training FLOPs of the dense model").scale(
        type="log", nice=False, domain=[least * 0.9, most * 2.2]
    )
    base = alt.Chart(table).encode(x=x.axis(format="~e", tickCount=3, grid=False), color=colour)
    title = "dense needs × as many"
    scale = alt.Scale(type="log", nice=False, domain=[0.6, 6], clamp=True)
    axis = alt.Axis(values=[0.7, 1, 1.5, 2, 3, 5])
    y = alt.Y("worth:Q", title=title, scale=scale, axis=axis)
    one = alt.Chart(pd.DataFrame({"worth": [1.0]})).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(y=y)
    return _sketch(
        one,
        base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", title=title, scale=scale, axis=axis), y2="high:Q"),
        base.mark_line().encode(y=y),
        _ends(table, "name", "budget", "worth", colour),
        description="How many times the FLOPs and the seconds of "
        f"{found.numbers['fr_clock_device']} a dense model needs to match {found.numbers['fr_clock_experts']} experts: "
        f"in FLOPs {found.numbers['fr_clock_last_flops']} at the largest budget, "
        f"in seconds {found.numbers['fr_clock_first_seconds']} at the smallest and "
        f"{found.numbers['fr_clock_last_seconds']} at the largest.",
    )


def finer(found: Finding) -> Sketch:
    """The lowest loss against sparsity, a line for each fineness of the experts."""
    table = found.table
    colour = _colour("experts", dict(zip(DESIGNS.values(), (QUIET, CATEGORIES[0]), strict=True)))
    ticks = sorted(table["idle"].unique())
    x = alt.X("idle:Q", title="experts, all / at work").scale(type="log", base=2, domain=[3.5, 560])
    base = alt.Chart(table).encode(x=x.axis(values=ticks, grid=False), color=colour)
    title = "best loss (nats)"
    y = alt.Y("loss:Q", title=title).scale(zero=False)
    return _sketch(
        base.mark_line().encode(y=y),
        base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", title=title), y2="high:Q"),
        base.mark_point(filled=True, size=50).encode(y=y),
        _ends(table, "experts", "idle", "loss", colour),
        description="Best loss against sparsity for one whole expert a token and for four quarters. At equal "
        f"active size quarters lose {found.numbers['fr_finer']} nats less.",
    )


def served(found: Finding) -> Sketch:
    """Loss against the price of a token for few experts and many, and what the same loss costs from each."""
    table = found.table
    few, many = sorted(table["n_experts"].unique())
    words = {few: f"{few} experts", many: f"{many} experts"}
    table = table.assign(name=table["n_experts"].map(words))
    colour = _colour("name", {words[e]: expert_colour(e) for e in words})
    row = table.iloc[0]
    base = alt.Chart(table).encode(
        x=alt.X("dollars:Q", title="dollars a million tokens")
        .scale(type="log", nice=False, padding=16)
        .axis(grid=False, tickCount=5, format="~g"),
        color=colour,
    )
    y = alt.Y("loss:Q", title="loss (nats)").scale(zero=False, nice=False, padding=24)
    optima = pd.concat([one.tail(1) for _, one in table.groupby("n_experts")])
    gap = alt.Chart(
        pd.DataFrame(
            {
                "dollars": [row["less"]],
                "end": [row["price"]],
                "loss": [row["kept"]],
                "name": [f"{found.numbers['fr_share']} of the price"],
            }
        )
    )
    marks = alt.Chart(optima).encode(x="dollars:Q", y="loss:Q", color=colour)
    return _sketch(
        base.mark_line().encode(y=y),
        marks.mark_point(filled=True, size=90, shape="diamond"),
        # Above their ends, where the curves are flat; what the same loss costs stands below, where no curve is near.
        marks.mark_text(align="right", dx=6, dy=-14, fontWeight=600).encode(text="name:N"),
        gap.mark_rule(color=INK, strokeWidth=2, strokeDash=[4, 3]).encode(x="dollars:Q", x2="end:Q", y="loss:Q"),
        gap.mark_text(color=INK, fontWeight=600, align="right", baseline="top", dx=-4, dy=6).encode(
            x="end:Q", y="loss:Q", text="name:N"
        ),
        description=f"Loss against serving price at one training budget for {few} and {many} experts, up to the "
        f"loss-optimal size, which is marked. {many} experts reach the loss of the best {few} at "
        f"{found.numbers['fr_share']} of its price.",
    )


def _experts(table: pd.DataFrame) -> alt.X:
    most = int(table["n_experts"].max())
    ticks = sorted(int(e) for e in table["n_experts"].unique())
    x = alt.X("n_experts:Q", title="experts per layer").scale(type="log", base=2, domain=[0.85, most * 6])
    return x.axis(values=ticks, grid=False)


def _colour(field: str, colours: dict[str, str]) -> alt.Color:
    return alt.Color(f"{field}:N", legend=None).scale(domain=list(colours), range=list(colours.values()))


def _ends(table: pd.DataFrame, name: str, x: str, y: str, colour: alt.Color) -> alt.Chart:
    """The names of lines, at their right ends."""
    last = table.loc[table.groupby(name)[x].idxmax()]
    return (
        alt.Chart(last)
        .mark_text(align="left", dx=6, fontWeight=600)
        .encode(x=f"{x}:Q", y=f"{y}:Q", text=f"{name}:N", color=colour)
    )


def _sketch(*layers: alt.Chart, description: str) -> Sketch:
    return alt.layer(*layers).properties(width="container", height=HEIGHT, description=description)
