"""Verdicts on a published claim: what our intervals say about it, in one word."""

from dataclasses import dataclass
from typing import Literal

import pandas as pd

Word = Literal["reproduced", "contradicted", "not resolved"]


@dataclass(frozen=True)
class Verdict:
    """What a table of optima says about a claim that a quantity rises or falls with sparsity.

    Attributes:
        word: ``reproduced``, ``contradicted`` or ``not resolved``.
        first, last: the quantity at the lowest and at the highest sparsity.
    """

    word: Word
    first: float
    last: float


def monotone_verdict(optima: pd.DataFrame, column: str, sign: int) -> Verdict:
    """Judge "rises" or "falls" by the intervals at the two ends of the sparsities.

    Args:
        optima: one budget's table from ``isoflop.optima``: ``sparsity``, ``edge``, the column and its interval's ends
            ``<column>_low`` and ``<column>_high``.
        column: ``n`` or ``loss``.
        sign: +1 for the claim that it rises with sparsity, -1 that it falls.

    Returns:
        Reproduced if the intervals of the two ends do not overlap and lie in the claimed order, contradicted if in the
        other; not resolved if they overlap, or if an optimum lies at the edge of the sizes tried, where size and loss
        are bounds only.
    """
    ends = optima.sort_values("sparsity").iloc[[0, -1]]
    first, last = ends[column]
    gap_up = ends[f"{column}_low"].iloc[1] - ends[f"{column}_high"].iloc[0]
    gap_down = ends[f"{column}_low"].iloc[0] - ends[f"{column}_high"].iloc[1]
    word: Word
    if (ends["edge"] != "").any():
        word = "not resolved"
    elif (gap_up if sign > 0 else gap_down) > 0:
        word = "reproduced"
    elif (gap_down if sign > 0 else gap_up) > 0:
        word = "contradicted"
    else:
        word = "not resolved"
    return Verdict(word, float(first), float(last))
