"""Cells read as numbers and as yes or no: the words that people and programs write for both, and for nothing."""

import re
from typing import Any, Literal

import numpy as np
import pandas as pd

NOTHING = frozenset({"", "nan", "none", "null", "nil", "n/a", "na", "#n/a", "<na>", "-", "--", "+nan", "-nan"})
"""Words for an empty cell, in lower case."""

_TRUE = frozenset({"true", "yes", "1", "1.0", "t", "y", "on"})
_FALSE = frozenset({"false", "no", "0", "0.0", "f", "n", "off"})

_WHOLE = re.compile(r"[+-]?\d+([eE][+-]?\d+)?")
_POINT = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?")
_DECIMAL = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?")
_POINTED = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+")
_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")

Commas = Literal["decimal", "thousands", "either"]
"""What commas in a column of numbers stand for: ``either`` where every cell can be read both ways, as in 3,738."""


def truth(value: Any) -> bool:
    """A cell as yes or no: a spreadsheet writes TRUE, Python True, others 1.

    Raises:
        ValueError: any other word.
    """
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"expected true or false, found {str(value)[:40]!r}")


def is_nothing(cells: np.ndarray) -> np.ndarray:
    """Which cells say that they are empty, by holding nothing or a word for it; [rows]."""
    if cells.dtype != object:
        return np.asarray(pd.isna(cells))
    return np.array([_is_nothing(cell) for cell in cells], dtype=bool)


def as_numbers(cells: np.ndarray) -> np.ndarray:
    """Cells as numbers, NaN where a cell is none; [rows].

    Args:
        cells: text with ``None`` where a cell is empty, or numbers.
    """
    if cells.dtype != object:
        return np.array([_number(cell) for cell in cells]) if cells.dtype.kind not in "biuf" else cells.astype(float)
    filled = np.where(cells == None, "nan", cells)  # noqa: E711
    try:
        numbers = filled.astype(float)
        # float() takes an underscore between digits, which no table means as one number.
        return numbers if "_" not in "".join(filled) else np.array([_number(cell) for cell in cells])
    except (TypeError, ValueError):
        return np.array([_number(cell) for cell in cells], dtype=float)


def all_numbers(cells: np.ndarray) -> np.ndarray | None:
    """A column as numbers if every cell that holds something is one, and one does; ``None`` otherwise."""
    if cells.dtype == object:
        first = next((cell for cell in cells if not _is_nothing(cell)), None)
        if np.isnan(_number(first)):
            return None
    numbers = as_numbers(cells)
    open_ones = np.isnan(numbers)
    return numbers if not open_ones.all() and is_nothing(cells[open_ones]).all() else None


def _is_nothing(cell: Any) -> bool:
    return cell is None or cell != cell or (isinstance(cell, str) and cell.lower() in NOTHING)


def _number(cell: Any) -> float:
    try:
        return np.nan if cell is None or (isinstance(cell, str) and "_" in cell) else float(cell)
    except (TypeError, ValueError, OverflowError):
        return np.nan


def commas(cells: np.ndarray) -> Commas | None:
    """What the commas in a column of numbers mean; ``None`` where there are none, or it does not hold numbers.

    Args:
        cells: text with ``None`` where a cell is empty.
    """
    filled = [cell for cell in cells if cell and cell.lower() not in NOTHING]
    if not any("," in cell for cell in filled):
        return None
    odd = [cell for cell in filled if not _WHOLE.fullmatch(cell)]
    decimal = all(_DECIMAL.fullmatch(cell) for cell in odd)
    grouped = all(_GROUPED.fullmatch(cell) or _POINT.fullmatch(cell) for cell in odd)
    if decimal and grouped:
        return "either"
    return "decimal" if decimal else "thousands" if grouped else None


def decimal_points(cells: np.ndarray) -> bool:
    """Whether a column holds numbers with a decimal point in one of them."""
    filled = [cell for cell in cells if cell and not _is_nothing(cell)]
    return any(_POINT.fullmatch(cell) and not _POINTED.fullmatch(cell) for cell in filled) and all(
        _POINT.fullmatch(cell) or _WHOLE.fullmatch(cell) for cell in filled
    )


def points_group(cells: np.ndarray) -> bool:
    """Whether the points in a column group the digits of whole numbers, as in 10.000.000."""
    filled = [cell for cell in cells if cell and not _is_nothing(cell)]
    grouped = [bool(_POINTED.fullmatch(cell)) for cell in filled]
    return any(grouped) and all(g or _WHOLE.fullmatch(c) for g, c in zip(grouped, filled, strict=True))


def without_commas(cells: np.ndarray, meaning: Commas) -> np.ndarray:
    """A column of numbers as programs write them, once it is known what its commas mean.

    Args:
        cells: text with ``None`` where a cell is empty.
        meaning: ``decimal``, so that points group digits, or ``thousands``.
    """

    def changed(cell: str | None) -> str | None:
        if not cell or (_POINT.fullmatch(cell) and not _POINTED.fullmatch(cell)):
            return cell
        return cell.replace(".", "").replace(",", ".") if meaning == "decimal" else cell.replace(",", "")

    return np.array([changed(cell) for cell in cells], dtype=object)
