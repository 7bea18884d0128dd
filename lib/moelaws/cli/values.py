"""What an option may hold: numbers within bounds, lists of them, paths. argparse makes a sentence of what they raise.

Bounds are wide of everything that makes sense, and there so that a slip of the finger is a sentence and not a machine
that swaps.
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from moelaws.quote import shown

MOST_LISTED = 64
"""Numbers in one option that takes several."""
MOST_WORKERS = 256
"""Worker processes on one machine."""
LARGEST_SEED = 2**32 - 1
"""The largest that each of the generators in use takes."""

Whole = Callable[[str], int]
Number = Callable[[str], float]


def whole(least: int, most: int) -> Whole:
    """An option that holds a whole number from ``least`` to ``most``."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}, found {shown(text)}")
        return value

    return read


def number(low: float, high: float, low_allowed: bool = False) -> Number:
    """An option that holds a number above ``low`` (or ``low`` itself, where allowed) and at most ``high``."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (low < value <= high or (low_allowed and value == low)):
            bounds = f"from {low:g} to {high:g}" if low_allowed else f"> {low:g} and at most {high:g}"
            raise argparse.ArgumentTypeError(f"expected a number {bounds}, found {shown(text)}")
        return value

    return read


def wholes(least: int, most: int) -> Callable[[str], tuple[int, ...]]:
    """An option that holds whole numbers, separated by commas."""
    one = whole(least, most)
    return lambda text: tuple(one(part) for part in _parts(text))


def numbers(low: float, high: float) -> Callable[[str], tuple[float, ...]]:
    """An option that holds numbers, separated by commas."""
    one = number(low, high)
    return lambda text: tuple(one(part) for part in _parts(text))


def columns(text: str) -> tuple[str, ...]:
    """An option that holds names of columns, separated by commas."""
    names = tuple(part.strip() for part in text.split(","))
    if not all(names) or len(set(names)) < len(names) or len(names) > MOST_LISTED:
        raise argparse.ArgumentTypeError(f"expected names of columns, each once, such as top_k, found {shown(text)}")
    return names


def path(text: str) -> Path:
    """An option that holds the name of a file or folder.

    An empty name would mean the folder one is in, which nobody who writes ``--out "$FORGOTTEN"`` means.
    """
    if not text:
        raise argparse.ArgumentTypeError("expected the name of a file or folder, found nothing")
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"no file can have the name {shown(text)}")
    return Path(text)


seed = whole(0, LARGEST_SEED)
"""An option that holds the seed of a generator."""


def _parts(text: str) -> list[str]:
    parts = text.split(",", MOST_LISTED)
    if len(parts) > MOST_LISTED:
        raise argparse.ArgumentTypeError(f"expected at most {MOST_LISTED} numbers, found {shown(text)}")
    return parts
