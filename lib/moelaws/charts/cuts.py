"""Figures of fitted isoFLOP surfaces: runs and cuts by budget, errors beside noise, and a walk along the optimum."""

from collections.abc import Iterator
from typing import Any, Protocol

import altair as alt
import numpy as np
import pandas as pd

from moelaws.charts.losses import LOSS, SIZES, budget_name, experts_colour
from moelaws.charts.theme import CATEGORIES, INK, QUIET


class Surface(Protocol):
    """What is drawn of a surface, such as ``fit_surface`` makes."""

    @property
    def variable(self) -> str: ...

    @property
    def budget(self) -> float: ...

    @property
    def sparsities(self) -> Any: ...

    def sizes(self, sparsity: float) -> tuple[float, float]: ...

    def predict(self, n: Any, sparsity: Any) -> Any: ...

    def band(self, n: Any, sparsity: Any) -> tuple[Any, Any]: ...


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


def isoflop_panels(
    runs: pd.DataFrame, curves: pd.DataFrame, variable: str, title: str, description: str
) -> alt.FacetChart:
    """Loss against size at each sparsity, runs as points and the surface as lines with bands, a panel for each budget.

    Args:
        runs: columns ``loss``, ``n_experts``, ``budget_name`` and the size ``variable``.
        curves: from ``surface_curves``, of every budget.
        variable: ``total_params`` or ``active_params``.
        title: the finding.
        description: alt text.
    """
    columns = [variable, "loss", "n_experts", "budget_name"]
    shown = pd.concat([curves.assign(kind="fit"), runs[columns].assign(kind="run")], ignore_index=True)
    x = alt.X(f"{variable}:Q", title=SIZES[variable]).scale(type="log", nice=False, padding=12)
    base = alt.Chart(shown).encode(x=x.axis(format="~s", tickCount=4), color=experts_colour(runs))
    fit = base.transform_filter("datum.kind === 'fit'").encode(detail="n_experts:O")
    band = fit.mark_area(opacity=0.12).encode(y=alt.Y("low:Q", title=LOSS).scale(zero=False), y2="high:Q")
    points = base.transform_filter("datum.kind === 'run'").mark_point(filled=True, size=22)
    drawn = points.encode(y="loss:Q", tooltip=["n_experts", variable, "loss"])
    return (
        alt.layer(band, fit.mark_line(strokeWidth=1.5).encode(y="loss:Q"), drawn)
        .properties(width=290, height=250)
        .facet(facet=alt.Facet("budget_name:N", title=None, sort=list(curves["budget_name"].unique())), columns=2)
        .resolve_scale(x="independent", y="independent")
        .properties(title=title, description=description)
    )


def error_floor(errors: pd.DataFrame, title: str, description: str) -> alt.LayerChart:
    """Held-out squared error of each surface, the variance between seeds, and what a paper prints.

    Args:
        errors: one row a budget and size: ``budget_name``, ``size``, ``error``, and the budget's ``variance`` between
            seeds with its interval ``variance_low``, ``variance_high``, and ``paper``, all in nats squared.
        title: the finding.
        description: alt text.
    """
    names = list(errors["budget_name"].unique())
    base = alt.Chart(errors).encode(x=alt.X("budget_name:N", title=None, sort=names).axis(labelAngle=0))
    y = alt.Y("variance_low:Q", title="squared error (nats²)").scale(type="log", nice=False, padding=12)
    y = y.axis(format=".0e", tickCount=5)
    seeds = base.mark_bar(color=QUIET, opacity=0.3, size=46).encode(y=y, y2="variance_high:Q")
    middle = base.mark_tick(color=QUIET, thickness=2, size=46).encode(y="variance:Q")
    sizes = ["N", "N_a"]
    colour = alt.Color("size:N", title="surface in").scale(domain=sizes, range=list(CATEGORIES[:2]))
    points = base.mark_point(filled=True, size=75).encode(
        y="error:Q", color=colour, xOffset=alt.XOffset("size:N", sort=sizes), tooltip=["budget_name", "size", "error"]
    )
    printed = alt.Chart(errors).mark_rule(color=INK, strokeDash=[4, 3]).encode(y="max(paper):Q")
    return (seeds + middle + printed + points).properties(
        width="container", height=260, title=title, description=description
    )


def surface_walk(
    cuts: pd.DataFrame, optima: pd.DataFrame, runs: pd.DataFrame, title: str, description: str
) -> alt.LayerChart:
    """A walk along the lowest line of a surface: one cut at a time, at the budget and the sparsity that are chosen.

    Args:
        cuts: from ``surface_curves`` in total parameters, of every budget, with ``step``, log2 of the experts.
        optima: one row a budget and step: ``n``, ``n_low``, ``n_high``, ``loss``, ``n_experts``, ``edge``.
        runs: the measured runs: ``total_params``, ``loss``, ``n_experts``, ``budget_name``.
        title: the finding.
        description: alt text.
    """
    names = list(cuts["budget_name"].unique())
    tried = cuts.groupby("budget_name", sort=False)["step"].nunique()
    step = alt.param(
        name="cut", value=0, bind=alt.binding_range(min=0, max=int(cuts["step"].max()), step=1, name="log2 of experts ")
    )
    budget = alt.param(
        name="budget",
        value=tried.index[tried == tried.max()][-1],
        bind=alt.binding_select(options=names, name="budget "),
    )
    x = alt.X("total_params:Q", title=SIZES["total_params"]).scale(type="log", nice=False, padding=12)
    x, color = x.axis(format="~s", tickCount=5), experts_colour(runs)
    y = alt.Y("loss:Q", title=LOSS).scale(zero=False)
    here, there = "datum.budget_name === budget", "datum.step === cut"
    chosen = alt.Chart(cuts).transform_filter(f"{here} && {there}").encode(x=x)
    band = chosen.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", title=LOSS), y2="high:Q", color=color)
    line = chosen.mark_line().encode(y=y, color=color)
    points = (
        alt.Chart(runs)
        .transform_filter(here)
        .transform_calculate(here="datum.n_experts == pow(2, cut)")
        .mark_point(filled=True, size=40)
        .encode(x=x, y=y, color=color, opacity=alt.condition("datum.here", alt.value(1.0), alt.value(0.12)))
    )
    best = alt.Chart(optima).transform_filter(here)
    path = best.mark_line(color=INK, strokeWidth=1, strokeDash=[3, 3]).encode(x="n:Q", y=y, order="step:Q")
    mark = best.transform_filter(there).encode(y=y)
    reach = mark.mark_rule(color=INK, strokeWidth=2).encode(x="n_low:Q", x2="n_high:Q")
    text = "'best N ' + format(datum.n, '.3s') + ', loss ' + format(datum.loss, '.3f') + datum.said"
    said = (
        mark.transform_calculate(said="datum.edge ? ' (at the ' + datum.edge + ' edge)' : ''")
        .transform_calculate(text=text)
        .mark_text(align="right", fontSize=12, fontWeight=600, color=INK)
        .encode(text="text:N", x=alt.value("width"), y=alt.value(10))
    )
    diamond = mark.mark_point(shape="diamond", size=110, color=INK, filled=True).encode(x="n:Q")
    return (
        (band + points + line + path + reach + diamond + said)
        .add_params(budget, step)
        .properties(width="container", height=340, title=title, description=description)
    )
