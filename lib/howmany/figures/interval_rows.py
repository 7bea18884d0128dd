"""A figure of numbers with their intervals, a row each."""

from typing import cast

import altair as alt
import pandas as pd

from moelaws.charts.theme import CATEGORIES, QUIET


def interval_rows(
    table: pd.DataFrame, unit: str, title: str, description: str, form: str = "~g", zero: bool = False
) -> alt.LayerChart:
    """Numbers with intervals, a row each, coloured by their kind.

    Args:
        table: ``name`` (of the row), ``kind`` (text), ``value``, ``low``, ``high``.
        unit: of the numbers, for the axis.
        title: the finding.
        description: alt text.
        form: how the axis writes numbers.
        zero: whether a line stands at zero.
    """
    kinds, names = list(dict.fromkeys(table["kind"])), list(dict.fromkeys(table["name"]))
    axis = alt.Axis(format=form, tickCount=6, titleAnchor="end")
    base = alt.Chart(table[["name", "kind", "value", "low", "high"]]).encode(
        y=alt.Y("name:N", title=None, sort=names).axis(labelLimit=170),
        color=alt.Color("kind:N", title=None, sort=kinds)
        .scale(domain=kinds, range=list(CATEGORIES[: len(kinds)]))
        .legend(columns=2),
    )
    rules = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=unit, axis=axis), x2="high:Q")
    points = base.mark_point(filled=True, size=60).encode(
        x=alt.X("value:Q", title=unit, axis=axis).scale(zero=zero), tooltip=["name", "value", "low", "high"]
    )
    layers = [rules, points]
    if zero:
        layers.insert(0, alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color=QUIET).encode(x="zero:Q"))
    figure = {"width": "container", "height": 26 * len(names) + 20, "title": title, "description": description}
    return cast(alt.LayerChart, alt.layer(*layers).properties(**figure))
