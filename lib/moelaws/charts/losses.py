"""Figures of a run table: losses as they were measured, one function a figure."""

import altair as alt
import pandas as pd

from moelaws.charts.theme import expert_scale

LOSS = "validation loss (nats per token)"
SIZES = {"total_params": "total parameters", "active_params": "active parameters"}


def budget_name(budget: float) -> str:
    """A budget as charts and tables write it, such as ``C = 3e11``, with spaces that do not break."""
    mantissa, exponent = f"{budget:.1e}".split("e")
    return f"C\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{float(mantissa):g}e{int(exponent)}"


def experts_colour(table: pd.DataFrame) -> alt.Color:
    """Colour by the column ``n_experts``, the same in every figure, with a legend drawn in full colour."""
    # The legend is drawn full, also where the first mark that uses it is a faint band.
    legend = alt.Legend(symbolOpacity=1, symbolType="circle")
    return alt.Color("n_experts:O", title="E", scale=expert_scale(table["n_experts"]), legend=legend)


def training_curves(curves: pd.DataFrame, title: str, description: str) -> alt.Chart:
    """Training loss against tokens seen, one line a model.

    Args:
        curves: columns ``tokens``, ``loss``, ``n_experts``.
        title: the finding.
        description: alt text, what the figure shows for readers who cannot see it.
    """
    return (
        alt.Chart(curves)
        .mark_line()
        .encode(
            x=alt.X("tokens:Q", title="training tokens").scale(type="log", nice=False).axis(format="~s"),
            y=alt.Y("loss:Q", title="training loss (nats per token)").scale(zero=False),
            color=experts_colour(curves),
        )
        .properties(width="container", height=260, title=title, description=description)
    )


def loss_by_experts(best: pd.DataFrame, title: str, description: str) -> alt.LayerChart:
    """What each number of experts changes in the best loss, one line a budget, with a standard deviation over seeds.

    Args:
        best: columns ``n_experts``, ``change`` (of the loss, nats), ``noise`` (standard deviation over seeds, nats) and
            ``budget_name``.
        title: the finding.
        description: alt text.
    """
    bars = best.assign(low=best["change"] - best["noise"], high=best["change"] + best["noise"])
    least, most = best["n_experts"].min(), best["n_experts"].max()
    # The last third is for the names of budgets.
    scale = alt.Scale(type="log", base=2, nice=False, domain=[0.9 * least, most * (most / least) ** 0.3])
    base = alt.Chart(bars).encode(
        x=alt.X("n_experts:Q", title="experts per layer, E", scale=scale).axis(values=_powers(best)),
    )
    y = alt.Y("change:Q", title="loss less the dense model's (nats)")
    lines = base.mark_line(color="#57606a", strokeWidth=1.5).encode(y=y, detail="budget_name:N")
    rules = base.mark_rule().encode(y="low:Q", y2="high:Q", color=experts_colour(best))
    points = base.mark_point(size=60, filled=True).encode(y=y, color=experts_colour(best))
    last = alt.Chart(best.loc[best.groupby("budget_name")["n_experts"].idxmax()])
    names = last.mark_text(align="left", dx=9, fontWeight=600).encode(
        x="n_experts:Q", y="change:Q", text="budget_name:N"
    )
    return (lines + rules + points + names).properties(
        width="container", height=280, title=title, description=description
    )


def loss_by_memory(best: pd.DataFrame, title: str, description: str) -> alt.LayerChart:
    """Loss against the memory of the weights, one line a budget.

    Args:
        best: columns ``megabytes``, ``loss``, ``n_experts``, ``budget_name``.
        title: the finding.
        description: alt text.
    """
    base = alt.Chart(best).encode(
        x=alt.X("megabytes:Q", title="weights in bf16 (MB)")
        .scale(type="log", nice=False, padding=14)
        .axis(format="~g"),
        y=alt.Y("loss:Q", title=LOSS).scale(zero=False),
    )
    lines = base.mark_line(color="#57606a", strokeWidth=1.5).encode(detail="budget_name:N", order="n_experts:Q")
    points = base.mark_point(size=60, filled=True).encode(color=experts_colour(best))
    names = _budget_names(best, "megabytes")
    return (lines + points + names).properties(width="container", height=280, title=title, description=description)


def loss_by_size(
    runs: pd.DataFrame, curves: pd.DataFrame, variable: str, title: str, description: str
) -> alt.LayerChart:
    """Loss against model size at each sparsity, runs as points and the fitted surface as lines with bands.

    Args:
        runs: columns ``loss``, ``n_experts``, ``budget_name`` and the size ``variable``.
        curves: the surface along each sparsity: the same columns, with ``low`` and ``high``, the band's ends.
        variable: ``total_params`` or ``active_params``.
        title: the finding.
        description: alt text.
    """
    group = ["n_experts:O", "budget_name:N"]
    x = alt.X(f"{variable}:Q", title=SIZES[variable]).scale(type="log", nice=False, padding=12).axis(format="~s")
    lines = alt.Chart(curves).encode(x=x, color=experts_colour(runs), detail=group)
    band = lines.mark_area(opacity=0.12).encode(y=alt.Y("low:Q", title=LOSS).scale(zero=False), y2="high:Q")
    points = (
        alt.Chart(runs)
        .mark_point(filled=True, size=45)
        .encode(x=x, y="loss:Q", color=experts_colour(runs), tooltip=["n_experts", variable, "loss", "budget_name"])
    )
    # To the right of a budget's widest models there is room; at their left the next budget begins.
    last = runs.loc[runs.groupby("budget_name")[variable].idxmax()]
    names = _names(last, variable).mark_text(align="left", dx=9, fontWeight=600)
    return (band + lines.mark_line().encode(y="loss:Q") + points + names).properties(
        width="container", height=420, title=title, description=description
    )


def _budget_names(table: pd.DataFrame, x: str) -> alt.Chart:
    """The name of each budget above its leftmost point: from there the lines fall."""
    near = table[table[x] <= 1.1 * table.groupby("budget_name")[x].transform("min")]
    names = near.groupby("budget_name", as_index=False).agg({x: "min", "loss": "max"})
    return _names(names, x).mark_text(align="left", dx=2, dy=-14, fontWeight=600)


def _names(names: pd.DataFrame, x: str) -> alt.Chart:
    return alt.Chart(names).encode(x=f"{x}:Q", y="loss:Q", text="budget_name:N")


def _powers(table: pd.DataFrame) -> list[int]:
    return sorted({int(value) for value in table["n_experts"]})
