"""Figures of verdicts on a paper's claims: which word at which budget, and how a slope changes with the budget."""

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
import pandas as pd

from howmany.verdict import Judged, Word
from moelaws.charts.losses import budget_name
from moelaws.charts.theme import CATEGORIES, INK, QUIET

WORDS: Mapping[Word, tuple[str, str]] = {
    "reproduced": (CATEGORIES[2], "circle"),
    "partly": (CATEGORIES[1], "diamond"),
    "contradicted": (CATEGORIES[3], "cross"),
    "not resolved": (CATEGORIES[5], "stroke"),
}
"""Colour and shape of each verdict: of the two, one is enough for readers who do not tell the colours apart."""


SILENT = "as a placebo has it"

_SUMS: Mapping[str, str] = {
    **{word: colour for word, (colour, _) in WORDS.items() if word != "not resolved"},
    SILENT: "#c9b8c4",
    "not resolved": "#a9b0b8",
    "not testable here": "#dfe3e7",
}
"""Colours of a sum of verdicts, in their order: strong where runs say something, pale where they do not."""


def verdict_sums(by_study: Mapping[str, Sequence[Judged]], title: str, description: str) -> alt.LayerChart:
    """How many claims got which word, a bar for each study.

    Args:
        by_study: name of a study -> its verdicts.
        title: the finding.
        description: alt text.
    """
    rows = pd.DataFrame(
        [(study, SILENT if each.silent else each.word) for study, said in by_study.items() for each in said],
        columns=["study", "word"],
    )
    table = rows.groupby(["study", "word"], as_index=False).size().rename(columns={"size": "claims"})
    table["place"] = table["word"].map(list(_SUMS).index)
    table = table.sort_values("place")
    table["end"] = table.groupby("study")["claims"].cumsum()
    table["start"] = table["end"] - table["claims"]
    table["middle"] = (table["start"] + table["end"]) / 2
    words = [word for word in _SUMS if word in set(table["word"])]
    base = alt.Chart(table).encode(
        y=alt.Y("study:N", title=None, sort=list(by_study)).axis(labelLimit=150, labelOverlap=False, ticks=False),
        tooltip=["study", "word", "claims"],
    )
    bars = base.mark_bar(height=24).encode(
        x=alt.X("start:Q", title="claims").scale(nice=False).axis(tickMinStep=1),
        x2="end:Q",
        color=alt.Color("word:N", title=None, sort=words)
        .scale(domain=words, range=[_SUMS[word] for word in words])
        .legend(columns=3, symbolType="square"),
    )
    counts = base.mark_text(fontWeight=600).encode(x="middle:Q", text="claims:Q")
    return (bars + counts).properties(
        width="container", height=36 * len(by_study), title=title, description=description
    )


def verdict_points(by_study: Mapping[str, Sequence[Judged]]) -> pd.DataFrame:
    """The word on every finding, as ``verdict_grid`` draws it.

    Args:
        by_study: name of a study -> its verdicts.

    Returns:
        Columns ``study``, ``claim``, ``place`` (of the finding among those of its claim, from 1), ``where``, ``word``,
        ``text``, ``silent`` (whether a placebo gets the claim's word too).
    """
    rows = [
        (study, judged.claim.words, place, found.where, word, found.text or found.open, judged.silent)
        for study, verdicts in by_study.items()
        for judged in verdicts
        for place, (found, word) in enumerate(zip(judged.findings, judged.words, strict=True), 1)
    ]
    return pd.DataFrame(rows, columns=["study", "claim", "place", "where", "word", "text", "silent"])


def verdict_grid(points: pd.DataFrame, title: str, description: str) -> alt.FacetChart:
    """A mark for every finding: claims down, budgets from the smallest on across, a panel for each study.

    Args:
        points: from ``verdict_points``.
        title: the finding.
        description: alt text.
    """
    present = [word for word in WORDS if word in set(points["word"])]
    colours, shapes = ([WORDS[word][kind] for word in present] for kind in (0, 1))
    claims = list(dict.fromkeys(points["claim"]))
    return (
        alt.Chart(points)
        .mark_point(filled=False, size=55, strokeWidth=2.5)
        .encode(
            x=alt.X("place:O", title="findings, by budget").axis(labels=False, ticks=False),
            y=alt.Y("claim:N", title=None, sort=claims).axis(grid=True, labelLimit=260),
            color=alt.Color("word:N", title=None).scale(domain=present, range=colours).legend(columns=2),
            shape=alt.Shape("word:N", title=None).scale(domain=present, range=shapes),
            opacity=alt.condition("datum.silent", alt.value(0.35), alt.value(1.0)),
            tooltip=["claim", "where", "word", "text"],
        )
        .properties(width=170, height=19 * len(claims))
        .facet(facet=alt.Facet("study:N", title=None, sort=list(dict.fromkeys(points["study"]))), columns=2)
        .properties(title=title, description=description)
    )


def slope_table(study: str, slopes: Sequence[tuple[float, np.ndarray]], level: float = 0.95) -> pd.DataFrame:
    """Slopes of one study, as ``slope_by_budget`` draws them.

    Args:
        study: its name.
        slopes: budget and 1 + B slopes, the fit's first, as ``abnar.loss_slopes`` gives them.
        level: of the intervals.
    """
    rows = []
    for budget, values in slopes:
        low, high = np.quantile(values[1:], [(1 - level) / 2, (1 + level) / 2]) if len(values) > 1 else values[[0, 0]]
        rows.append((study, budget, budget_name(budget), values[0], low, high))
    return pd.DataFrame(rows, columns=["study", "budget", "budget_name", "slope", "low", "high"])


def slope_by_budget(table: pd.DataFrame, title: str, description: str) -> alt.FacetChart:
    """What a doubling of the experts does to the lowest loss, against the budget; a panel for each study.

    Args:
        table: from ``slope_table``, of one study or more.
        title: the finding.
        description: alt text.
    """
    base = alt.Chart(table).encode(
        x=alt.X("budget:Q", title="training budget C (FLOPs)")
        .scale(type="log", nice=False, padding=14)
        .axis(format="~e", tickCount=3)
    )
    name = "nats per doubling of 1/(1 − S)"
    zero = alt.Chart(table).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(y=alt.datum(0))
    bars = base.mark_rule(strokeWidth=1.5, color=INK).encode(y=alt.Y("low:Q", title=name), y2="high:Q")
    points = base.mark_line(color=CATEGORIES[0], point=alt.OverlayMarkDef(size=60, color=CATEGORIES[0])).encode(
        y=alt.Y("slope:Q", title=name), tooltip=["budget_name", "slope", "low", "high"]
    )
    return (
        alt.layer(zero, bars, points)
        .properties(width=230, height=220)
        .facet(facet=alt.Facet("study:N", title=None, sort=list(dict.fromkeys(table["study"]))), columns=2)
        .resolve_scale(x="independent")
        .properties(title=title, description=description)
    )


def fitted_observed(table: pd.DataFrame, title: str, description: str) -> alt.LayerChart:
    """Losses under a fitted law against those of the runs, in two colours, and the diagonal.

    Args:
        table: columns ``loss``, ``fitted``, ``part`` (the label of the colour), ``n_experts``.
        title: the finding.
        description: alt text.
    """
    ends = [float(table[["loss", "fitted"]].min().min()), float(table[["loss", "fitted"]].max().max())]
    scale = alt.Scale(zero=False, nice=False, padding=8)
    diagonal = alt.Chart(pd.DataFrame({"loss": ends, "fitted": ends})).mark_line(color=INK, strokeWidth=1)
    points = (
        alt.Chart(table[["loss", "fitted", "part", "n_experts"]])
        .mark_point(filled=True, size=28, opacity=0.7)
        .encode(
            x=alt.X("loss:Q", title="loss of the run (nats per token)", scale=scale),
            y=alt.Y("fitted:Q", title="loss under the law", scale=scale),
            color=alt.Color("part:N", title=None).legend(columns=1),
            tooltip=["loss", "fitted", "n_experts"],
        )
    )
    return (diagonal.encode(x="loss:Q", y="fitted:Q") + points).properties(
        width="container", height=320, title=title, description=description
    )
