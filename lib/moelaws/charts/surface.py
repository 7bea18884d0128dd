"""Figures of a fitted isoFLOP surface: cuts, optima, intervals."""

from collections.abc import Iterator

import altair as alt
import numpy as np
import pandas as pd

from moelaws.charts.runs import LOSS, SIZES, budget_name, experts_colour
from moelaws.fitting.surface import Surface


def surface_curves(surface: Surface, points: int = 60) -> pd.DataFrame:
    """A fitted surface and its band along every sparsity that was tried, as ``loss_by_size`` draws it.

    Args:
        surface: the surface, of runs with K = 1.
        points: sizes along each sparsity.

    Returns:
        Columns: the surface's size, ``loss``, ``low``, ``high``, ``n_experts``, ``budget_name``.
    """

    def cuts() -> Iterator[pd.DataFrame]:
        for sparsity in surface.sparsities:
            n = np.geomspace(*surface.sizes(sparsity), points)
            low, high = surface.band(n, sparsity)
            loss = surface.predict(n, sparsity)
            yield pd.DataFrame({surface.variable: n, "loss": loss, "low": low, "high": high}).assign(
                n_experts=round(1 / (1 - sparsity)), budget_name=budget_name(surface.budget)
            )

    return pd.concat(cuts(), ignore_index=True)


def optimum_by_sparsity(optima: pd.DataFrame, variable: str, title: str, description: str) -> alt.LayerChart:
    """The loss-optimal size against the number of experts, with intervals; hollow where the data do not bracket it.

    Args:
        optima: columns ``n_experts``, ``n``, ``n_low``, ``n_high``, ``bracketed`` and ``budget_name``.
        variable: ``total_params`` or ``active_params``, the meaning of ``n``.
        title: the finding.
        description: alt text.
    """
    return _by_experts(optima, "n", f"best {SIZES[variable]}", title, description, log=True)


def loss_by_sparsity(optima: pd.DataFrame, title: str, description: str) -> alt.LayerChart:
    """The lowest loss over sizes against the number of experts, with intervals.

    Args:
        optima: columns ``n_experts``, ``loss``, ``loss_low``, ``loss_high``, ``bracketed`` and ``budget_name``.
        title: the finding.
        description: alt text.
    """
    return _by_experts(optima, "loss", LOSS, title, description, log=False)


def surface_cut(cuts: pd.DataFrame, runs: pd.DataFrame, title: str, description: str) -> alt.LayerChart:
    """One cut of a surface at a time: loss against size at the sparsity that a slider chooses.

    Args:
        cuts: columns ``step`` (slider position), ``n_experts``, ``n``, ``loss``, ``low``, ``high``.
        runs: the measured runs: ``n_experts``, ``n``, ``loss``.
        title: the finding.
        description: alt text.
    """
    last = int(cuts["step"].max())
    step = alt.param(name="cut", value=0, bind=alt.binding_range(min=0, max=last, step=1, name="experts, log₂ E "))
    x = alt.X("n:Q", title=SIZES["total_params"]).scale(type="log", nice=False, padding=12).axis(format="~s")
    y = alt.Y("loss:Q", title=LOSS).scale(zero=False)
    color = experts_colour(runs)
    chosen = alt.Chart(cuts).transform_filter("datum.step == cut").encode(x=x)
    band = chosen.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", title=LOSS), y2="high:Q", color=color)
    line = chosen.mark_line().encode(y=y, color=color)
    points = (
        alt.Chart(runs)
        .transform_calculate(here="datum.n_experts == pow(2, cut)")
        .mark_point(filled=True, size=45)
        .encode(x=x, y=y, color=color, opacity=alt.condition("datum.here", alt.value(1.0), alt.value(0.12)))
    )
    return (
        (band + line + points)
        .add_params(step)
        .properties(width="container", height=320, title=title, description=description)
    )


def _by_experts(optima: pd.DataFrame, value: str, name: str, title: str, description: str, log: bool) -> alt.LayerChart:
    # Within less than a factor of four a logarithmic axis finds no round numbers to label.
    log = log and optima[value].max() > 4 * optima[value].min()
    scale = alt.Scale(type="log", nice=False, padding=10) if log else alt.Scale(zero=False)
    ticks = sorted({int(e) for e in optima["n_experts"]})
    names = list(optima["budget_name"].unique())
    budgets = alt.Color("budget_name:N", title="budget", sort=names)
    base = alt.Chart(optima).encode(
        x=alt.X("n_experts:Q", title="experts per layer, E").scale(type="log", base=2).axis(values=ticks), color=budgets
    )
    y = alt.Y(f"{value}:Q", title=name, scale=scale)
    if value != "loss":
        y = y.axis(format="~s")
    bars = base.mark_rule(strokeWidth=1.5).encode(y=alt.Y(f"{value}_low:Q", title=name), y2=f"{value}_high:Q")
    lines = base.mark_line(strokeWidth=1, opacity=0.6).encode(y=y)
    points = base.mark_point(size=60, strokeWidth=2, filled=True).encode(y=y)
    hollow = base.transform_filter("!datum.bracketed").mark_point(size=30, filled=True, color="#ffffff")
    return (bars + lines + points + hollow.encode(y=y, color=alt.value("#ffffff"))).properties(
        width="container", height=280, title=title, description=description
    )
