"""Figures of what models can do: error against loss, the effect of sparsity at equal loss, experts by domain."""

from collections.abc import Iterable

import altair as alt
import pandas as pd

from moelaws.charts.losses import experts_colour
from moelaws.charts.theme import CATEGORIES, QUIET, expert_scale

PANEL = 118
"""Width of a panel, in pixels: two stand beside each other on a phone."""


def score_by_loss(
    models: pd.DataFrame, curves: pd.DataFrame, title: str, description: str, share: bool = True
) -> alt.FacetChart:
    """What models score against their loss, a panel a probe: models with standard errors, and the fit at both ends.

    Args:
        models: one row a model and panel: ``panel`` (text), ``loss``, ``score``, ``se``, ``chance``, ``n_experts``.
        curves: ``panel``, ``loss``, ``score``, ``n_experts``: lines of the fit at the fewest and the most experts.
        title: the finding; it says what both axes are, for which small panels have no room.
        description: alt text.
        share: whether the score is a share, shown in percent.
    """
    bars = models.assign(low=models["score"] - models["se"], high=models["score"] + models["se"], kind="model")
    table = pd.concat([bars, curves.assign(kind="fit")])[
        ["panel", "loss", "score", "se", "low", "high", "chance", "n_experts", "kind"]
    ]
    base = alt.Chart(table).encode(
        x=alt.X("loss:Q", title=None).scale(zero=False).axis(tickCount=4),
        color=experts_colour(models),
    )
    y = alt.Y("score:Q", title=None).scale(zero=False).axis(format="%" if share else "~g", tickCount=5)
    own = base.transform_filter("datum.kind === 'model'")
    lines = base.transform_filter("datum.kind === 'fit'").mark_line(strokeWidth=1.5).encode(y=y)
    rules = own.mark_rule(strokeWidth=1).encode(y=alt.Y("low:Q", title=None), y2="high:Q")
    points = own.mark_point(filled=True, size=28).encode(y=y, tooltip=["n_experts", "loss", "score", "se"])
    guess = alt.Chart(table).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(y=alt.Y("mean(chance):Q", title=None))
    return (
        alt.layer(guess, lines, rules, points)
        .properties(width=PANEL, height=120)
        .facet(facet=alt.Facet("panel:N", title=None, sort=_order(models["panel"])), columns=2)
        .resolve_scale(y="independent")
        # Each panel has its axis: below a row that is not full, a shared one would stand under nothing.
        .resolve_axis(x="independent")
        .properties(title=title, description=description)
    )


def effects(found: pd.DataFrame, unit: str, title: str, description: str, share: bool = True) -> alt.LayerChart:
    """The effect of sparsity at equal loss, a row a probe, with intervals: right of zero, sparse models do better.

    Args:
        found: ``panel`` (text), ``kind`` (text: what the probe asks for), ``effect``, ``low``, ``high``.
        unit: of the effect, for the axis.
        title: the finding.
        description: alt text.
        share: whether the effect is a share, shown in percent.
    """
    kinds = _order(found["kind"])
    base = alt.Chart(found).encode(
        y=alt.Y("panel:N", title=None, sort=_order(found["panel"])).axis(labelLimit=150),
        color=alt.Color("kind:N", title=None, sort=kinds)
        .scale(domain=kinds, range=list(CATEGORIES[: len(kinds)]))
        .legend(columns=2),
    )
    form = alt.Axis(tickCount=6, titleAnchor="end", format="+%" if share else "+~g")
    rules = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=unit, axis=form), x2="high:Q")
    points = base.mark_point(filled=True, size=55).encode(
        x=alt.X("effect:Q", title=unit, axis=form), tooltip=["panel", "effect", "low", "high"]
    )
    zero = alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(x="zero:Q")
    return (zero + rules + points).properties(
        width="container", height=24 * found["panel"].nunique(), title=title, description=description
    )


def domain_distances(distances: pd.DataFrame, title: str, description: str) -> alt.Chart:
    """How far apart the experts of two domains lie, against the number of experts, a point a model and layer.

    Args:
        distances: ``n_experts``, ``layer`` (text), ``distance`` (share of the choices that would have to move).
        title: the finding.
        description: alt text.
    """
    layers = _order(distances["layer"])
    return (
        alt.Chart(distances)
        .mark_point(filled=True, size=50, opacity=0.85)
        .encode(
            x=alt.X("n_experts:O", title="experts per layer, E").axis(labelAngle=0),
            xOffset=alt.XOffset("layer:N", sort=layers),
            y=alt.Y("distance:Q", title="choices that would have to move").axis(format="%").scale(domainMin=0),
            color=alt.Color("n_experts:O", scale=expert_scale(distances["n_experts"]), legend=None),
            shape=alt.Shape("layer:N", title=None, sort=layers),
            tooltip=["n_experts", "layer", alt.Tooltip("distance:Q", format=".3f"), "loss"],
        )
        .properties(width="container", height=240, title=title, description=description)
    )


def _order(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
