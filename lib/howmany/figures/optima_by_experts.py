"""Figures of optima on isoFLOP surfaces: best sizes and losses against experts, best experts against size."""

from collections.abc import Iterator

import altair as alt
import numpy as np
import pandas as pd

from howmany.budget_optima import Landscape
from moelaws.charts.losses import SIZES, budget_name
from moelaws.charts.theme import INK
from moelaws.surfaces.polynomial import SurfaceError, sparsity_coordinate
from moelaws.surfaces.surface import Surface

EXPERTS = "experts per layer, E"


def optimum_path(surface: Surface, name: str = "", between: int = 0) -> pd.DataFrame:
    """The optimum with its interval along the sparsities, as ``optimum_by_experts`` draws it.

    Args:
        surface: the surface, of runs with K = 1.
        name: of the budget on charts; by default its own.
        between: points between two sparsities that were tried; no run holds the surface down there.

    Returns:
        Columns ``n_experts`` (need not be whole between two tried), ``n``, ``n_low``, ``n_high``, ``loss``,
        ``loss_low``, ``loss_high``, ``bracketed``, ``tried``, ``budget_name``.
    """
    knots = sparsity_coordinate(np.array(surface.sparsities))
    places = np.interp(np.arange((len(knots) - 1) * (between + 1) + 1) / (between + 1), np.arange(len(knots)), knots)
    best = [surface.optimum(min(-np.expm1(-place), surface.sparsities[-1])) for place in places]
    return pd.DataFrame([vars(each) | {"bracketed": each.bracketed} for each in best]).assign(
        n_experts=np.exp(places),
        tried=np.arange(len(places)) % (between + 1) == 0,
        budget_name=name or budget_name(surface.budget),
    )


def loss_change(landscape: Landscape, name: str = "", level: float = 0.95) -> pd.DataFrame:
    """The lowest loss less that of the least sparse model, refit by refit, as ``loss_change_by_experts`` draws it.

    Args:
        landscape: of one budget, of runs with K = 1.
        name: of the budget on charts; by default its own.
        level: of the intervals.

    Returns:
        Columns ``n_experts``, ``loss``, ``loss_low``, ``loss_high`` (all less the first), ``bracketed``, ``tried``,
        ``budget_name``.
    """
    path = landscape.lowest
    change = path.loss - path.loss[0]
    refits = change[:, 1:] if change.shape[1] > 1 else change
    low, high = np.quantile(refits, [(1 - level) / 2, (1 + level) / 2], axis=1)
    return pd.DataFrame(
        {"n_experts": np.exp(path.along), "loss": change[:, 0], "loss_low": low, "loss_high": high}
    ).assign(bracketed=path.inside & path.inside[0], tried=True, budget_name=name or budget_name(landscape.budget))


def sparsity_path(surface: Surface, name: str = "", points: int = 18) -> pd.DataFrame:
    """The best number of experts for one active expert at sizes between the smallest and the largest tried.

    Args:
        surface: the surface in total parameters, of runs with K = 1.
        name: of the budget on charts; by default its own.
        points: sizes.

    Returns:
        Columns ``n``, ``best``, ``low``, ``high`` (1 / (1 - S*) and its interval), ``bracketed``, ``budget_name``;
        without the sizes around which fewer than two sparsities were tried.
    """

    def rows() -> Iterator[dict[str, object]]:
        for n in np.geomspace(surface.runs[surface.variable].min(), surface.runs[surface.variable].max(), points):
            try:
                best = surface.best_sparsity(float(n))
            except SurfaceError:
                continue
            ends = 1 / (1 - np.array([best.sparsity, best.sparsity_low, best.sparsity_high]))
            yield dict(zip(("best", "low", "high"), ends, strict=True)) | {"n": n, "bracketed": best.bracketed}

    return pd.DataFrame(rows()).assign(budget_name=name or budget_name(surface.budget))


def optimum_by_experts(paths: pd.DataFrame, variable: str, title: str, description: str) -> alt.LayerChart:
    """The best size against the number of experts, with bands; hollow where it is a bound only.

    Args:
        paths: from ``optimum_path``, of one budget or more.
        variable: ``total_params`` or ``active_params``, the meaning of ``n``.
        title: the finding.
        description: alt text.
    """
    name = f"best {SIZES[variable]}"
    log = paths["n"].max() > 4 * paths["n"].min()  # a log axis of less finds no round numbers
    scale = alt.Scale(type="log", nice=False, padding=10) if log else alt.Scale(zero=False)
    y = alt.Y("n:Q", title=name, scale=scale).axis(format="~s")
    return _banded(paths, _experts_axis(paths), y, name, ("n_low", "n_high"), title, description)


def loss_change_by_experts(paths: pd.DataFrame, title: str, description: str) -> alt.LayerChart:
    """The lowest loss less that of the dense model against the number of experts, with bands, one line a budget.

    Args:
        paths: from ``loss_change``, of one budget or more.
        title: the finding.
        description: alt text.
    """
    name = "L* less that of the dense model (nats)"
    y = alt.Y("loss:Q", title=name)
    return _banded(paths, _experts_axis(paths), y, name, ("loss_low", "loss_high"), title, description)


def best_experts_by_size(paths: pd.DataFrame, title: str, description: str) -> alt.LayerChart:
    """The best 1 / (1 - S) against the total size, with bands, one line a budget; hollow where it is a bound only.

    Args:
        paths: from ``sparsity_path``, of one budget or more.
        title: the finding.
        description: alt text.
    """
    x = alt.X("n:Q", title=SIZES["total_params"]).scale(type="log", nice=False, padding=10)
    name = "best experts, 1/(1 − S*)"
    y = alt.Y("best:Q", title=name).scale(type="log", base=2)
    y = y.axis(values=[2**k for k in range(int(np.log2(paths["high"].max())) + 1)])
    shown = paths.assign(tried=True)
    return _banded(shown, x.axis(format="~s", tickCount=5), y, name, ("low", "high"), title, description)


def cross_check(optima: pd.DataFrame, title: str, description: str) -> alt.LayerChart:
    """The best size from the surface against that from the runs of one sparsity alone, with both intervals.

    Args:
        optima: tables of ``isoflop.optima`` with ``budget_name``; rows without a parabola are left out.
        title: the finding.
        description: alt text.
    """
    shown = optima.dropna(subset=["parabola_n_low", "parabola_n_high"])
    names = list(shown["budget_name"].unique())
    ends = [float(shown[["n", "parabola_n"]].min().min()), float(shown[["n", "parabola_n"]].max().max())]
    scale = alt.Scale(type="log", nice=False, padding=14)
    base = alt.Chart(shown).encode(color=alt.Color("budget_name:N", title=None, sort=names).legend(columns=2))
    x = alt.X("parabola_n:Q", title="best size, one parabola", scale=scale).axis(format="~s", tickCount=5)
    y = alt.Y("n:Q", title="best size, surface", scale=scale).axis(format="~s")
    equal = alt.Chart(pd.DataFrame({"n": ends, "parabola_n": ends})).mark_line(color=INK, strokeWidth=1)
    across = base.mark_rule(opacity=0.7).encode(x="parabola_n_low:Q", x2="parabola_n_high:Q", y=y)
    upright = base.mark_rule(opacity=0.7).encode(x=x, y="n_low:Q", y2="n_high:Q")
    points = base.mark_point(filled=True, size=45).encode(x=x, y=y, tooltip=["sparsity", "n", "parabola_n"])
    return (equal.encode(x=x, y=y) + across + upright + points).properties(
        width="container", height=320, title=title, description=description
    )


def _experts_axis(paths: pd.DataFrame) -> alt.X:
    ticks = sorted({round(e) for e in paths.loc[paths["tried"], "n_experts"]})
    return alt.X("n_experts:Q", title=EXPERTS).scale(type="log", base=2).axis(values=ticks)


def _banded(
    table: pd.DataFrame, x: alt.X, y: alt.Y, name: str, ends: tuple[str, str], title: str, description: str
) -> alt.LayerChart:
    names = list(table["budget_name"].unique())
    legend = alt.Legend(columns=2, symbolOpacity=1, symbolType="circle")
    base = alt.Chart(table).encode(x=x, color=alt.Color("budget_name:N", title=None, sort=names, legend=legend))
    band = base.mark_area(opacity=0.15).encode(y=alt.Y(f"{ends[0]}:Q", title=name), y2=f"{ends[1]}:Q")
    points = base.transform_filter("datum.tried").mark_point(size=55, filled=True).encode(y=y)
    hollow = base.transform_filter("datum.tried && !datum.bracketed").mark_point(size=22, filled=True)
    return (band + base.mark_line().encode(y=y) + points + hollow.encode(y=y, color=alt.value("#ffffff"))).properties(
        width="container", height=290, title=title, description=description
    )
