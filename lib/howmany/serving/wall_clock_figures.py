"""The figures of the chapter on seconds: isoTIME beside isoFLOP, the price of routing, what experts are worth."""

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from howmany.serving.wall_clock import BATCHES, Track, break_even_rows, interval, price_rows, worth_rows
from howmany.study import budget_label
from moelaws.charts.theme import CATEGORIES, QUIET, expert_scale
from moelaws.counting import count_parameters, training_flops_per_token
from moelaws.pacing.equal_time import spent_losses

_SHOWN = (1, 4, 16, 64)
_ABOVE = 0.06
"""Nats above the highest of the lowest losses of a panel up to which curves are drawn."""
_PANEL = 250
EQUAL = ("equal FLOPs", "equal seconds")
_PARTS = ("router", "gather", "products", "optimiser", "rest")


def isotime_figure(track: Track, place: int = -1) -> alt.FacetChart:
    """Loss against active size in equal FLOPs and in equal seconds, with bands.

    Args:
        track: the device.
        place: of the budget among those asked about.
    """
    raced = track.race
    purse = raced.purses[raced.within][place]
    tables = []
    for e in _SHOWN:
        models = raced.models[e]
        per_token = np.array([training_flops_per_token(model) for model in models], float)
        pace = np.array([raced.device.seconds(model, purse.batch) / purse.batch for model in models])
        for name, tokens in zip(EQUAL, (purse.flops / per_token, purse.seconds / pace), strict=True):
            value, low, high = interval(spent_losses(track.law, models, tokens[None])[:, 0])
            size = [count_parameters(model).active for model in models]
            tables.append(pd.DataFrame({"in": name, "n_experts": e, "active_params": size, "loss": value, "low": low,
                                        "high": high}))  # fmt: skip
    table = pd.concat(tables)
    lowest = table.groupby(["in", "n_experts"])["loss"].min().groupby("in").max()
    table = table[table["loss"] < table["in"].map(lowest) + _ABOVE]
    base = alt.Chart(table).encode(
        x=alt.X("active_params:Q", title="active parameters").scale(type="log", nice=False).axis(format="~s"),
        color=alt.Color("n_experts:O", title="experts").scale(expert_scale(_SHOWN)),
    )
    title = "loss (nats/token)"
    y = alt.Y("loss:Q", title=title).scale(zero=False)
    band = base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", title=title).scale(zero=False), y2="high:Q")
    return _panels(
        alt.layer(band, base.mark_line().encode(y=y)), "in", list(EQUAL),
        f"{track.name}: {budget_label(purse.flops)} FLOPs, and the {purse.seconds:.3g} s of the dense model",
        "Loss against active parameters for some numbers of experts: in equal FLOPs mixtures lie below the dense "
        "model; in equal seconds they come closer to it.", "xy",
    )  # fmt: skip


def price_figure(steps: pd.DataFrame) -> alt.FacetChart:
    """The price of routing by part as a share of the dense step."""
    rows = price_rows(steps, BATCHES, {"CPU": (64, 128), "H200": (128, 512)})
    rows = rows[rows["n_experts"] <= 64].copy()
    rows["model"] = rows["device"] + ", d = " + rows["width"].astype(str)
    order = rows["model"].drop_duplicates().tolist()
    rows["place"] = rows["part"].map({part: i for i, part in enumerate(_PARTS)})
    bars = alt.Chart(rows).mark_bar().encode(
        x=alt.X("n_experts:O", title="experts").axis(labelAngle=0),
        y=alt.Y("sum(share):Q", title="price over the dense step").axis(format="%"),
        color=alt.Color("part:N", title=None, sort=list(_PARTS))
        .scale(domain=list(_PARTS), range=[*CATEGORIES[:4], QUIET]).legend(columns=3),
        order=alt.Order("place:Q"),
        tooltip=["model", "n_experts", "part", alt.Tooltip("share:Q", format=".1%")],
    )  # fmt: skip
    return _panels(
        alt.layer(bars), "model", order, "What routing adds to a step",
        "Stacked bars of the price of routing by part, as shares of the dense step, for numbers of experts at two "
        "widths on a CPU and on a GPU: few experts cost launches and moves, many cost the optimiser and many products.",
        "y",
    )  # fmt: skip


def worth_figure(found: Sequence[Track]) -> alt.FacetChart:
    """The worth over dense against the budget, in FLOPs and in seconds."""
    rows = worth_rows(found)
    rows["panel"] = rows["device"] + ", in " + rows["in equal"]
    order = [f"{track.name}, in {by}" for track in found for by in ("FLOPs", "seconds")]
    base = alt.Chart(rows).encode(
        x=alt.X("budget:Q", title="training FLOPs of the dense model").scale(type="log", nice=False)
        .axis(format="~e", tickCount=3),
        color=alt.Color("n_experts:O", title="experts").scale(expert_scale(rows["n_experts"])),
    )  # fmt: skip
    title = "dense needs × as many"
    y = alt.Y("worth:Q", title=title).scale(type="log", domain=[0.5, 8], clamp=True, nice=False)
    layers = (
        alt.Chart(rows).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(y=alt.datum(1)),
        base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", title=title).scale(type="log", domain=[0.5, 8], clamp=True,
                                                                                   nice=False),
                                           y2="high:Q"),
        base.mark_line().encode(y=y),
        base.mark_point(filled=True, size=35).encode(y=y),
    )  # fmt: skip
    return _panels(
        alt.layer(*layers), "panel", order, "A gain in FLOPs is not yet one in seconds",
        "How many times the FLOPs and the seconds a dense model needs to match mixtures, against the budget, on a CPU "
        "and on a GPU. In FLOPs all mixtures lie above one; in seconds they start below and rise.", "x",
    )  # fmt: skip


def break_even_figure(found: Sequence[Track]) -> alt.LayerChart:
    """The most experts that are worth their seconds, by size of the best dense model."""
    rows = break_even_rows(found)
    names = [track.name for track in found]
    base = alt.Chart(rows).encode(
        x=alt.X("active_params:Q", title="active parameters of the best dense model")
        .scale(type="log", nice=False, padding=15).axis(format="~s"),
        color=alt.Color("device:N", title=None, sort=names).scale(domain=names, range=list(CATEGORIES[:2])),
        tooltip=["device", "budget", "n_experts", "low", "high"],
    )  # fmt: skip
    title = "most experts that pay"
    scale = alt.Scale(type="log", base=2, domain=[0.9, 80])
    y = alt.Y("n_experts:Q", title=title).scale(scale).axis(values=[1, 2, 4, 8, 16, 32, 64])
    return (
        base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", title=title).scale(scale), y2="high:Q")
        + base.mark_line().encode(y=y)
        + base.mark_point(filled=True, size=60).encode(y=y)
    ).properties(
        width="container", height=280, title="How many experts pay in seconds; 1 is none, 64 the most asked",
        description="The largest number of experts whose worth in seconds is at least one, against the size of the "
        "best dense model, on a CPU and on a GPU, with bands.",
    )  # fmt: skip


def _panels(
    layer: alt.LayerChart, field: str, order: list[str], title: str, description: str, own: str
) -> alt.FacetChart:
    chart = layer.properties(width=_PANEL, height=220).facet(
        facet=alt.Facet(f"{field}:N", title=None, sort=order), columns=2
    )
    return chart.resolve_scale(**{axis: "independent" for axis in own}).properties(title=title, description=description)
