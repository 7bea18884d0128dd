"""Numeric claims of Yun et al. 2024, and one word on each: does a surrogate law come to the same?"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from howmany.claims import read_rows

Word = Literal["reproduced", "partly", "contradicted", "not determinable"]


@dataclass(frozen=True)
class Claim:
    """One printed claim.

    Attributes:
        key: its name here.
        where: section or figure of the paper.
        statement: the claim, in our words.
        quantity: what is recomputed, a key of ``yun.QUANTITIES``; empty if nothing can be.
        base_experts: E of what it is compared with; 0 for none.
        experts: the numbers of experts it is about.
        budgets: training budgets at which it is recomputed, FLOPs.
        low, high: ends of the printed range; equal for a single number.
        tolerance: how far the printed ends may be missed, as a share of them: for roundings, and for what agreement
            with a surrogate can mean. Zero for claims that are a yes or a no.
        note: what a reader must know, or why it cannot be recomputed.
    """

    key: str
    where: str
    statement: str
    quantity: str
    base_experts: int
    experts: tuple[int, ...]
    budgets: tuple[float, ...]
    low: float
    high: float
    tolerance: float
    note: str


@dataclass(frozen=True)
class Judged:
    """A claim under one law.

    Attributes:
        claim: the claim.
        law: the surrogate law.
        word: the verdict under the central assumptions.
        low, high: range recomputed under them, over the claim's budgets and experts.
        least, most: the same over all assumptions.
        agree: share of the assumptions with the same word.
    """

    claim: Claim
    law: str
    word: Word
    low: float
    high: float
    least: float
    most: float
    agree: float


def read_claims(path: str | Path) -> list[Claim]:
    """Read the table of claims.

    Args:
        path: ``data/published/yun_claims.csv``.

    Raises:
        ValueError: a missing column or a cell that is no number or a key used twice, by row.
    """

    def claim(row: dict[str, str]) -> Claim:
        return Claim(
            key=row["key"], where=row["where"], statement=row["statement"], quantity=row["quantity"],
            base_experts=int(row["base_experts"] or 0),
            experts=tuple(int(e) for e in row["experts"].split()),
            budgets=tuple(float(c) for c in row["budgets"].split()),
            low=float(row["low"] or "nan"), high=float(row["high"] or "nan"),
            tolerance=float(row["tolerance"] or 0), note=row["note"],
        )  # fmt: skip

    return read_rows(path, Claim, claim)


def word_on(claim: Claim, values: np.ndarray) -> Word:
    """The verdict on recomputed values.

    Args:
        claim: the claim.
        values: recomputed, one a budget and number of experts; empty or not finite where the law has no answer.

    Returns:
        ``reproduced`` if all values lie in the printed range, ``partly`` if their range overlaps it,
        ``contradicted`` if it does not, ``not determinable`` without values.
    """
    values = np.asarray(values, float)
    if values.size == 0 or not np.isfinite(values).all():
        return "not determinable"
    low, high = (end + sign * claim.tolerance * abs(end) for end, sign in ((claim.low, -1), (claim.high, 1)))
    if ((values >= low) & (values <= high)).all():
        return "reproduced"
    return "partly" if values.min() <= high and values.max() >= low else "contradicted"


def judge(claim: Claim, law: str, by_assumption: Mapping[str, np.ndarray], central: str = "central") -> Judged:
    """Judge a claim by what it comes to under several assumptions.

    Args:
        claim: the claim.
        law: name of the surrogate.
        by_assumption: name of the assumptions -> recomputed values.
        central: which of them gives the verdict; the others give its sensitivity.
    """
    middle = np.asarray(by_assumption[central], float)
    word = word_on(claim, middle)
    everything = np.concatenate([np.ravel(v) for v in by_assumption.values()]) if by_assumption else np.empty(0)
    finite = everything[np.isfinite(everything)]
    same = [word_on(claim, values) == word for values in by_assumption.values()]
    known = middle[np.isfinite(middle)]
    return Judged(
        claim=claim, law=law, word=word,
        low=float(known.min()) if known.size else np.nan, high=float(known.max()) if known.size else np.nan,
        least=float(finite.min()) if finite.size else np.nan, most=float(finite.max()) if finite.size else np.nan,
        agree=float(np.mean(same)),
    )  # fmt: skip
