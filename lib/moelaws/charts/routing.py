"""Figures of a router: which tokens go to which expert."""

import html
from collections.abc import Sequence

import altair as alt
import pandas as pd

from moelaws.charts.theme import expert_colour


def token_experts(shares: pd.DataFrame, title: str, description: str) -> alt.Chart:
    """A map of frequent tokens against experts: how often each token goes to each.

    Args:
        shares: columns ``token``, ``expert``, ``share`` (of the token's occurrences) and ``order`` (row order).
        title: the finding.
        description: alt text.
    """
    tokens = shares.drop_duplicates("token").sort_values("order")["token"].tolist()
    return (
        alt.Chart(shares)
        .mark_rect(stroke="white", strokeWidth=0.5)
        .encode(
            x=alt.X("expert:O", title="expert").axis(labelAngle=0),
            y=alt.Y("token:N", title=None, sort=tokens).axis(
                labelFont="monospace", labelOverlap=False
            ),  # a row says nothing else
            color=alt.Color("share:Q", title="share of the token").scale(scheme="tealblues", domain=[0, 1]),
            tooltip=["token", "expert", alt.Tooltip("share:Q", format=".2f")],
        )
        .properties(width="container", height=15 * len(tokens), title=title, description=description)
    )


def load_bars(load: pd.DataFrame, title: str, description: str) -> alt.LayerChart:
    """How many of the choices each expert received, with the even share as a line.

    Args:
        load: columns ``layer``, ``expert``, ``share``.
        title: the finding.
        description: alt text.
    """
    even = 1 / load["expert"].nunique()
    bars = (
        alt.Chart(load)
        .mark_bar()
        .encode(
            x=alt.X("expert:O", title="expert").axis(labelAngle=0),
            y=alt.Y("share:Q", title="share of the tokens").axis(format="%"),
            xOffset="layer:N",
            color=alt.Color("layer:N", title="layer"),
        )
    )
    line = alt.Chart(pd.DataFrame({"even": [even]})).mark_rule(strokeDash=[4, 3]).encode(y="even:Q")
    return (bars + line).properties(width="container", height=220, title=title, description=description)


def coloured_text(tokens: Sequence[str], experts: Sequence[int], n_experts: int) -> str:
    """A passage in which every token stands on the colour of its expert, as HTML.

    The expert's number stands in the tooltip and, small, behind the token: colour alone would not do for all readers.
    Spaces may be shown as dots, so a line may end behind any token.

    Args:
        tokens: the pieces of text, in order.
        experts: the expert of each.
        n_experts: how many there are.
    """
    spans = []
    for token, expert in zip(tokens, experts, strict=True):
        colour = expert_colour(2 ** (1 + 7 * expert / max(1, n_experts - 1)))
        spans.append(
            f'<span class="routed" style="border-bottom:3px solid {colour}" title="expert {expert}">'
            f"{html.escape(token)}<sub>{expert}</sub></span>"
        )
    return f'<p class="routed-text" style="line-height:2.2">{"<wbr>".join(spans)}</p>'
