"""One word on a claim: what was found, at one budget and over all of them, and would a placebo have got the same word?

There is one rule for all claims of all papers, whether they are asked of runs, of a law or of probes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from howmany.claims import Claim, Place
from moelaws.quote import within
from moelaws.surfaces.polynomial import Array

Word = Literal["reproduced", "partly", "contradicted", "not resolved", "not testable here"]

DECIDED: tuple[Word, ...] = ("reproduced", "partly", "contradicted")
"""Words that say something, unless a placebo gets them too."""

SAYS_NOTHING = "says nothing of"
"""What stands behind a word that a placebo gets too, before what the claim is about."""

_OFTEN = 0.25  # of the placebos: in more than that the same word is no accident of one draw of the noise

_WORDS: Mapping[Place, Word] = {"in": "reproduced", "across": "not resolved", "beside": "contradicted"}

_VERBS = {1: "rises", -1: "falls"}


@dataclass(frozen=True)
class Finding:
    """What one budget, or one pair of them, says about a quantity.

    Attributes:
        where: the budget, or the pair.
        value, low, high: the quantity and its interval; the three are one number where nothing is random.
        unit: of the three; ``times`` if they are logarithms of a factor.
        turn: where the quantity, followed in the claimed direction, is furthest from its start.
        ahead, back: intervals of its change up to there, and from there to the end.
        open: why there is no value.
    """

    where: str
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    unit: str = ""
    turn: str = ""
    ahead: tuple[float, float] = (0.0, 0.0)
    back: tuple[float, float] = (0.0, 0.0)
    open: str = ""

    @property
    def text(self) -> str:
        """The value, its interval and its unit as a page shows them."""
        if self.open:
            return ""
        numbers = np.array([self.value, self.low, self.high])
        written = _written(np.exp(numbers) if self.unit == "times" else numbers, self.unit)
        interval = "" if self.low == self.high else f" [{written[1]}, {written[2]}]"
        return f"× {written[0]}{interval}" if self.unit == "times" else f"{written[0]}{interval} {self.unit}".strip()


@dataclass(frozen=True)
class Judged:
    """A claim, and what a study says of it.

    Attributes:
        claim: the claim.
        word: the verdict over all budgets.
        findings: what was measured.
        words: the verdict on each finding.
        reason: why, in one sentence.
        by: which study or law says it.
        placebos: what the same rule says of each placebo; empty where none was asked.
    """

    claim: Claim
    word: Word
    findings: tuple[Finding, ...] = ()
    words: tuple[Word, ...] = ()
    reason: str = ""
    by: str = ""
    placebos: tuple["Judged", ...] = ()

    @property
    def sides(self) -> frozenset[int]:
        """On which sides of a claimed range, or of no change, the findings lie that contradict it."""
        if self.claim.sign or self.word != "contradicted":
            return frozenset()
        middle = 0.0 if self.claim.direction == "unchanged" else self.claim.high
        against = (found for found, word in zip(self.findings, self.words, strict=True) if word == "contradicted")
        return frozenset(1 if found.low > middle else -1 for found in against)

    @property
    def alike(self) -> int:
        """How many placebos get the same word, and lie on the same side of a range where that is what it says."""
        return sum(
            each.word == self.word and (not self.sides or bool(self.sides & each.sides)) for each in self.placebos
        )

    @property
    def silent(self) -> bool:
        """Whether the word says nothing of what the claim is about: a placebo gets it too."""
        return self.word in DECIDED and self.alike > _OFTEN * len(self.placebos)

    @property
    def text(self) -> str:
        """The word, and behind it that it says nothing where a placebo gets it too."""
        return f"{self.word}, but {SAYS_NOTHING} {self.claim.about}" if self.silent else self.word

    @property
    def asked_placebo(self) -> str:
        """How often a placebo gets the same word, such as ``placebo 0 of 8``; empty for a word that decides nothing."""
        if not self.placebos or self.word not in DECIDED:
            return ""
        return f"placebo {self.alike} of {len(self.placebos)}"

    def beside(self, placebos: Sequence["Judged"]) -> "Judged":
        """The same verdict beside those on the same claim of placebos."""
        return replace(self, placebos=tuple(placebos))

    @property
    def share(self) -> str:
        """How many of several findings lead to the word, such as ``2 of 3``; for ``partly``, what each of them says.

        Empty for one finding or none.
        """
        if len(self.words) < 2:
            return ""
        if self.word == "partly":
            return ", ".join(f"{self.words.count(word)} {word}" for word in dict.fromkeys(self.words))
        return f"{self.words.count(self.word)} of {len(self.words)}"


def finding(where: str, values: Array, unit: str = "", level: float = 0.95) -> Finding:
    """A finding from a fit and its refits.

    Args:
        where: the budget.
        values: 1 + B numbers, the fit's first. Without refits the interval is the value.
        unit: as in ``Finding``.
        level: of the interval.
    """
    return Finding(where, float(values[0]), *_ends(values, level), unit=unit)


def trend(where: str, values: Array, names: Sequence[str], sign: int, unit: str = "", level: float = 0.95) -> Finding:
    """The change of a quantity along a row of places, and whether it turns back on the way.

    Args:
        where: the budget.
        values: the quantity, P places x (1 + B), the fit's first.
        names: of the places.
        sign: +1 or -1, the claimed direction; the turn is the place furthest in it.
        unit: as in ``Finding``.
        level: of the interval of the whole change. Those to the turn and from it are wider, for any of the P places
            could have been the turn.
    """
    turn = int(np.argmax(sign * values[:, 0]))
    wide = 1 - (1 - level) / len(values)
    whole = values[-1] - values[0]
    return Finding(
        where, float(whole[0]), *_ends(whole, level), unit=unit, turn=names[turn],
        ahead=_ends(values[turn] - values[0], wide), back=_ends(values[-1] - values[turn], wide),
    )  # fmt: skip


def word_on(claim: Claim, found: Finding) -> Word:
    """The verdict on one finding.

    A direction is reproduced if the interval of the change lies on its side of zero, contradicted if on the other,
    and partly so if the quantity first goes the claimed way and then comes back, both beyond chance. ``unchanged`` is
    reproduced if the interval lies in the claim's range, contradicted if it lies beside zero. ``within`` is reproduced
    if the interval lies in the range, contradicted if beside it. All else is not resolved.
    """
    if found.open:
        return "not resolved"
    if claim.sign:
        if _side(found.ahead) == claim.sign and _side(found.back) == -claim.sign:
            return "partly"
        side = _side((found.low, found.high)) * claim.sign
        return "reproduced" if side > 0 else "contradicted" if side < 0 else "not resolved"
    seen = claim.place(found.low, found.high)
    if seen == "across" and claim.direction == "unchanged" and _side((found.low, found.high)):
        seen = "beside"  # a change beyond chance, not small for sure
    return _WORDS[seen]


def judge(claim: Claim, findings: Sequence[Finding], by: str = "") -> Judged:
    """The verdict over all budgets.

    Args:
        claim: the claim.
        findings: one a budget or pair of budgets; none where nothing can be computed.
        by: which study or law says it.

    Returns:
        ``reproduced`` if at least half of the findings are and none says otherwise, ``contradicted`` likewise,
        ``partly`` if some say one thing and some the other, ``not testable here`` without findings, else
        ``not resolved``.
    """
    if not findings:
        return Judged(claim, "not testable here", reason=claim.note, by=by)
    words = [word_on(claim, each) for each in findings]
    yes, no, both = (words.count(word) for word in ("reproduced", "contradicted", "partly"))
    word: Word = "not resolved"
    if both or (yes and no):
        word = "partly"
    elif 2 * max(yes, no) >= len(words):
        word = "reproduced" if yes else "contradicted"
    return Judged(claim, word, tuple(findings), tuple(words), _reason(claim, findings, words), by)


def _reason(claim: Claim, findings: Sequence[Finding], words: Sequence[Word]) -> str:
    """One sentence: which places say what, and what keeps the others from saying anything."""
    by_phrase: dict[str, list[str]] = {}
    for found, word in zip(findings, words, strict=True):
        by_phrase.setdefault(_phrase(claim, found, word), []).append(found.where)
    everywhere = len(by_phrase) == 1 and len(findings) > 1
    return "; ".join(f"{phrase} {_at(places, everywhere)}" for phrase, places in by_phrase.items())


def _at(places: Sequence[str], everywhere: bool) -> str:
    pairs = " to " in places[0]
    if everywhere:
        return "from each budget to the next" if pairs else "at every budget"
    return ("from " if pairs else "at ") + ", ".join(places)


def _phrase(claim: Claim, found: Finding, word: Word) -> str:
    if found.open:
        return found.open
    if word == "partly":
        return f"{_VERBS[claim.sign]} to {found.turn}, then {_VERBS[-claim.sign]}"
    if claim.direction == "within":
        if word == "not resolved":
            return "its interval crosses an end of the range"
        side = "above" if found.low > claim.high else "below" if found.high < claim.low else "in"
        return f"lies {side} the range"
    if claim.direction == "unchanged" and word == "reproduced":
        return "the change is too small to be seen"
    if word == "not resolved":
        return "its interval holds 1" if found.unit == "times" else "its interval holds zero"
    return _VERBS[_side((found.low, found.high))]


def _ends(values: Array, level: float) -> tuple[float, float]:
    if len(values) == 1:
        return float(values[0]), float(values[0])
    low, high = np.quantile(values[1:], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _side(interval: tuple[float, float]) -> int:
    """+1 for an interval above zero, -1 for one below, 0 for one that holds it."""
    return int(interval[0] > 0) - int(interval[1] < 0)


def _written(numbers: Array, unit: str) -> Sequence[str]:
    """A value and its interval, with the digits that the interval leaves; large ones in thousands and millions."""
    value, low, high = map(float, numbers)
    if low == high or (unit != "times" and abs(value) >= 1e4):
        return [_number(x, unit) for x in (value, low, high)]
    return within(value, low, high)


def _number(x: float, unit: str) -> str:
    if unit == "times":
        return f"{x:.0f}" if x >= 100 else f"{x:.3g}"
    for size, name in ((1e6, "M"), (1e3, "k")):
        if abs(x) >= 10 * size:
            return f"{x / size:.0f} {name}"
    return f"{x:.2g}" if 0 < abs(x) < 1e-3 else f"{x:.3f}".rstrip("0").rstrip(".")
