"""How an error grows with the distance of what is foretold."""

from collections.abc import Mapping

import altair as alt
import pandas as pd

_PANEL, _HEIGHT = 148, 170


def steps_ahead(table: pd.DataFrame, colours: Mapping[str, str], title: str, description: str) -> alt.FacetChart:
    """Median and range of an error against the steps ahead, a colour a way to forecast.

    Args:
        table: columns ``panel``, ``steps``, ``by``, ``median``, ``min``, ``max``.
        colours: way to forecast -> its colour, in the order of the legend.
        title: the finding.
        description: alt text.
    """
    base = alt.Chart(table).encode(
        x=alt.X("steps:O", title="budgets ahead").axis(labelAngle=0),
        xOffset=alt.XOffset("by:N", sort=list(colours)),
        color=alt.Color("by:N", title=None, sort=list(colours))
        .scale(domain=list(colours), range=list(colours.values()))
        .legend(columns=2, symbolType="circle", symbolOpacity=1),
    )
    ranges = base.mark_rule(strokeWidth=2, opacity=0.5).encode(
        y=alt.Y("min:Q", title="error of ln L").scale(type="log", nice=False, padding=8).axis(
            format=".1~%", values=[0.003, 0.01, 0.03, 0.1, 0.3]
        ),
        y2="max:Q",
    )  # fmt: skip
    points = base.mark_point(filled=True, size=45).encode(y="median:Q", tooltip=["by", "steps", "median", "min", "max"])
    return (
        alt.layer(ranges, points)
        .properties(width=_PANEL, height=_HEIGHT)
        .facet(facet=alt.Facet("panel:N", title=None, sort=[*dict.fromkeys(table["panel"])]), columns=3)
        .properties(title=title, description=description)
    )
