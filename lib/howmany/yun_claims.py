"""Numeric claims of Yun et al. 2024, and one word on each: does a surrogate law come to the same?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from howmany.claims import Claim, Place, read_claims

__all__ = ["Claim", "Judged", "Word", "judge", "read_claims", "word_on"]

Word = Literal["reproduced", "partly", "contradicted", "not determinable"]

_WORDS: Mapping[Place, Word] = {"in": "reproduced", "across": "partly", "beside": "contradicted"}


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
    return _WORDS[claim.place(values.min(), values.max())]


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
