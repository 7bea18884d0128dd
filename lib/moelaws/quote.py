"""A reader's words inside our sentences: shortened, and with nothing in them that a terminal would obey."""

import difflib
import math
from collections.abc import Iterable
from typing import Any

LONGEST = 399
"""Characters of the longest message."""

_NAME = 60
_NEAR = 3


def shown(value: Any, most: int = _NAME) -> str:
    """A name, a cell or an option between quotes.

    Args:
        value: text is quoted as Python writes it, which escapes control characters; anything else is put as it is.
        most: characters shown before the rest is cut.

    Returns:
        One line of printable characters.
    """
    if not isinstance(value, str):
        return plain(value, most)
    text = repr(value[:most])
    return text if len(value) <= most else f"{text[:-1]}...{text[-1]}"


def plain(value: Any, most: int = _NAME) -> str:
    """The same without quotes, for the cells and headers of a printed table."""
    text = str(value)
    cut = text if len(text) <= most else text[:most] + "..."
    return cut if cut.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in cut)


def listed(names: Iterable[Any], wanted: str = "", most: int = 8) -> str:
    """Names in quotes, the nearest to what was wanted first, the rest counted: ``'a', 'b' and 187 more``.

    Args:
        names: what there is, in its own order.
        wanted: a name that is not among them.
        most: how many to show.

    Returns:
        The names, or ``nothing``.
    """
    there = [str(name) for name in names]
    near: list[str] = []
    if wanted and len(there) > most:
        # Upper and lower case are the same wish: Total_Params is near total_params.
        by_fold = {name[:_NAME].casefold(): name for name in reversed(there)}
        near = [by_fold[key] for key in difflib.get_close_matches(wanted.casefold(), by_fold, _NEAR, 0.5)]
    first = list(dict.fromkeys([*near, *there[:most]]))[:most]
    more = len(set(there)) - len(first)
    text = ", ".join(shown(name, 30) for name in first) or "nothing"
    return f"{text} and {more} more" if more > 0 else text


def number_of(count: int, noun: str) -> str:
    """So many of something: ``1 run``, ``12 runs``."""
    return f"{count} {noun}{'s' * (count != 1)}"


def in_short(count: float) -> str:
    """A count of parameters or tokens in three digits and a word for its size: ``3,072``, ``10.3k``, ``1.04M``."""
    if count < 9999.5:
        return f"{count:,.0f}"
    thousands = min(int(math.log10(float(f"{count:.2e}")) // 3), 4)
    scaled = float(f"{count:.2e}") / 1000**thousands
    return (f"{scaled:#.3g}".rstrip(".") if scaled < 1000 else f"{scaled:,.0f}") + " kMBT"[thousands]


def within(value: float, low: float, high: float) -> tuple[str, str, str]:
    """A number and the ends of its interval, with the digits that the interval leaves: ``2.92``, ``2.88``, ``2.97``.

    Two digits of the interval's width are shown, and of the smaller end one that is not zero.
    Where there is no interval, or an open one, each has four digits.
    """
    numbers, width = (value, low, high), high - low
    if not (all(map(math.isfinite, numbers)) and width > 0):
        return (f"{value:.4g}", f"{low:.4g}", f"{high:.4g}")
    smallest = min(abs(low), abs(high)) or width
    places = max(1 - math.floor(math.log10(width)), min(-math.floor(math.log10(smallest)), 3), 0)
    return (f"{value:.{places}f}", f"{low:.{places}f}", f"{high:.{places}f}")


def sentence(text: str, most: int = LONGEST) -> str:
    """A message as it is printed: one line, no control characters, and not longer than ``most`` characters.

    The middle of a longer one is left out: what went wrong stands at its beginning, what was expected at its end.
    """
    line = plain(" ".join(text.split()), len(text))
    if len(line) <= most:
        return line
    tail = most // 3
    return f"{line[: most - tail - 5]} ... {line[-tail:]}"
