"""What a law is made of: variables read from columns, parameters to fit, published sets of coefficients."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Tag = Literal["T", "T2", "S", "M"]
"""How a published number is known: read in the paper (T), two independent transcriptions agree (T2), one secondary
source (S), from memory and unverified (M)."""


@dataclass(frozen=True)
class Variable:
    """A variable of a law.

    Attributes:
        symbol: its letter in the formula.
        columns: columns of a run table it may be read from; the first one present is used.
        meaning: what the paper counts under this letter.
    """

    symbol: str
    columns: tuple[str, ...]
    meaning: str = ""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a law.

    Attributes:
        name: the paper's letter in ASCII.
        positive: whether it is positive by definition; it is then fitted by its log.
        start: range that a fit's starting values are drawn from (log-uniform for a positive one). Amplitudes, on
            which the prediction depends linearly, need none: their starts follow from the data.
        bounds: range a fit may not leave.
        meaning: one phrase.
    """

    name: str
    positive: bool
    start: tuple[float, float]
    bounds: tuple[float, float]
    meaning: str = ""


def amplitude(name: str, meaning: str = "") -> Parameter:
    """A positive factor of a term, or the irreducible loss."""
    return Parameter(name, True, (1e-2, 1e3), (1e-100, 1e100), meaning)


def exponent(name: str, low: float = 0.05, high: float = 1.0, meaning: str = "") -> Parameter:
    """An exponent, of either sign; ``low`` and ``high`` say where a fit starts, not where it may end."""
    return Parameter(name, False, (low, high), (-10.0, 10.0), meaning)


def scale(name: str, low: float, high: float, meaning: str = "") -> Parameter:
    """A positive parameter in the units of a variable, such as the number of experts at which a law saturates."""
    return Parameter(name, True, (low, high), (1e-12, 1e40), meaning)


@dataclass(frozen=True)
class Published(Mapping[str, float]):
    """A published set of coefficients: a mapping from parameter to value, with its source.

    Attributes:
        values_: parameter -> value, as printed.
        source: paper, table or equation.
        tag: how the numbers are known, see ``Tag``.
        note: what a reader must know before using them.
    """

    values_: Mapping[str, float]
    source: str
    tag: Tag
    note: str = ""

    def __getitem__(self, name: str) -> float:
        return self.values_[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)
