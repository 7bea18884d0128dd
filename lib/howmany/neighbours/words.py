"""One word on each claim of a neighbouring paper, beside what the same rule says where the claim has nothing to say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from howmany.claims import read_claims
from howmany.page import rows
from howmany.verdict import Finding, Judged, judge

if TYPE_CHECKING:
    from IPython.display import HTML

_DECIDED = ("reproduced", "partly", "contradicted")
_OFTEN = 0.25  # of the placebos: in more than that, the word is no accident of one of them


@dataclass(frozen=True)
class Verdict:
    """A claim's word, and those of its placebos.

    Attributes:
        judged: the claim's.
        placebos: what the rule says of each placebo; empty where none was asked.
    """

    judged: Judged
    placebos: tuple[Judged, ...] = ()

    @property
    def alike(self) -> int:
        """How many placebos get the claim's word."""
        return sum(each.word == self.judged.word for each in self.placebos)

    @property
    def silent(self) -> bool:
        """Whether the word says nothing: a placebo gets it too."""
        return self.judged.word in _DECIDED and self.alike > _OFTEN * len(self.placebos)

    @property
    def text(self) -> str:
        """The word as a page shows it."""
        return f"{self.judged.word}, but so is a placebo: it says nothing" if self.silent else self.judged.word

    @property
    def asked(self) -> str:
        """How often a placebo gets the word; empty for a word that decides nothing."""
        if not self.placebos or self.judged.word not in _DECIDED:
            return ""
        return f"{self.alike} of {len(self.placebos)}"


Found = Mapping[str, Sequence[Finding]]
"""Quantity -> what was found."""


def verdicts(claims_file: str | Path, found: Found, placebos: Sequence[Found] = ()) -> list[Verdict]:
    """Judge the claims of a file.

    Args:
        claims_file: in ``data/published``.
        found: of each quantity that a claim names.
        placebos: the same quantities where the claims have nothing to say; one that a placebo lacks is not asked there.

    Raises:
        ValueError: a claim names a quantity that nobody computes.
    """
    made = []
    for claim in read_claims(claims_file):
        if claim.quantity and claim.quantity not in found:
            raise ValueError(f"claim {claim.key!r}: no quantity {claim.quantity!r}; there are {', '.join(found)}")
        judged = judge(claim, found[claim.quantity] if claim.quantity else [])
        asked = tuple(judge(claim, each[claim.quantity]) for each in placebos if claim.quantity in each)
        made.append(Verdict(judged, asked))
    return made


def verdict_table(made: Sequence[Verdict]) -> "HTML":
    """Claim, finding, word, and how often a placebo gets it, one row a claim."""
    return rows(
        [(each.judged.claim.statement, _found(each.judged), each.text, each.asked) for each in made],
        ("claim", "found", "word", "placebos that get it"),
    )


def words(made: Sequence[Verdict]) -> dict[str, str]:
    """Key of a claim -> its word."""
    return {each.judged.claim.key: each.text for each in made}


def _found(judged: Judged) -> str:
    if not judged.findings:
        return judged.claim.note
    texts = [f"{each.where}: {each.text or each.open}" if each.where else each.text for each in judged.findings]
    return "; ".join(texts)
