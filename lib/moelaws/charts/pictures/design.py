"""The design of a run table: which sizes got how many tokens, with how many experts."""

from typing import Any

import altair as alt
import pandas as pd

from moelaws.charts.theme import CATEGORIES, expert_scale

MOST_POINTS = 1500
"""Runs that are drawn: a drawing grows with every point."""
_MOST_COLOURS = 12
NAMES = {
    "active_params": "active parameters N_a", "total_params": "total parameters N", "dense_params": "dense parameters",
    "non_embedding_params": "parameters without embeddings", "tokens": "training tokens D",
    "train_flops": "training FLOPs C", "budget": "budget C (FLOPs)", "n_experts": "experts E", "sparsity": "sparsity S",
    "granularity": "granularity G", "top_k": "experts per token K",
    "activation_ratio": "active share of experts A", "loss": "validation loss (nats per token)",
}  # fmt: skip
"""What axes are called."""


BILLIONS: dict[str, Any] = {"format": "~s", "labelExpr": "replace(datum.label, 'G', 'B')"}
"""Labels of axes that count parameters and tokens: in this field 1e9 is a B."""


def design(runs: pd.DataFrame, x: str, y: str, width: int = 280) -> alt.Chart | alt.FacetChart:
    """Runs by two columns on log axes, coloured by experts; a point that was run several times is larger.

    Arguments:
        runs: finished runs with `x`, `y` and, where known, `n_experts`.
        x, y: columns of positive numbers.
        width: of the plot, in pixels.
    """
    columns = list(dict.fromkeys([x, y, *(["n_experts"] if "n_experts" in runs.columns else [])]))
    points = runs.groupby(columns, as_index=False).size().rename(columns={"size": "runs"})
    if len(points) > MOST_POINTS:
        points = points.sample(MOST_POINTS, random_state=0)

    def axis(kind: type[alt.X] | type[alt.Y], name: str) -> Any:
        title = NAMES.get(name, name)
        return kind(f"{name}:Q", title=title).scale(type="log", nice=False, padding=12).axis(tickCount=4, **BILLIONS)

    size = alt.Size("runs:Q", legend=None).scale(range=[25, 110])
    chart = alt.Chart(points).mark_point(filled=True, opacity=0.75)
    chart = chart.encode(x=axis(alt.X, x), y=axis(alt.Y, y), size=size, color=_colour(points))
    return chart.properties(
        width=width,
        height=240,
        description=f"{len(points)} design points of {len(runs)} runs, by {NAMES.get(x, x)} and {NAMES.get(y, y)}.",
    )


def _colour(points: pd.DataFrame) -> Any:
    if "n_experts" not in points.columns or points["n_experts"].isna().any():
        return alt.value(CATEGORIES[0])
    experts = points["n_experts"]
    if experts.nunique() > _MOST_COLOURS or (experts < 1).any():
        return alt.Color("n_experts:Q", title="E").scale(type="log", scheme="viridis", reverse=True)
    return alt.Color(
        "n_experts:O", title="E", scale=expert_scale(experts), legend=alt.Legend(columns=6, symbolOpacity=1)
    )
