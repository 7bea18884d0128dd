"""Units that the names and cells of a column carry: ``D (billions)``, ``tokens_B``, ``train_exaflops``, ``1.3B``."""

import re
from functools import lru_cache

import numpy as np
import pandas as pd

from moelaws.importing.preset import units
from moelaws.runs.numbers import NOTHING

COUNTS = ("total_params", "active_params", "dense_params", "non_embedding_params", "tokens", "train_flops", "budget")
"""Columns that people count in thousands, millions and billions."""

_FLOPS = ("train_flops", "budget")
_RATIOS = ("sparsity", "activation_ratio")
_UNIT = re.compile(r"(.*?)[\s_]*[(\[]\s*(?:in\s+)?([^()\[\]]+?)\s*[)\]]\s*", re.DOTALL)
_SUFFIX = re.compile(r"(.*?[^\s_])(?:[\s_]+(?:in[\s_]+)?)([A-Za-z]+|%|1?[eE][0-9]{1,2})")
_POWER = re.compile(r"(?:x|×|\*)?\s*(?:1?e\+?|10\^|10\*\*)(\d{1,2})", re.IGNORECASE)
_BESIDE = re.compile(r"(?:of)?(?:tokens?|params?|parameters?)$|(?<=[0-9])flops?$")
_SCALED_CELL = re.compile(r"([+]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]+|%)")
_DIGITS = re.compile(r"[0-9.]+(?:[eE][+-]?[0-9]+)?")


@lru_cache(2**17)
def without_unit(name: str, ours: str) -> tuple[str, float | None]:
    """``D (billions)`` and ``tokens_B`` as a name and a factor, where it is one of this column's.

    Args:
        name: of a column of the table.
        ours: the book's column that it might be.
    """
    if ours not in (*COUNTS, *_RATIOS):
        return name, None
    flops = _flops_in(name) if ours in _FLOPS else None
    if flops is not None:
        return flops
    for pattern in (_UNIT, _SUFFIX):
        found = pattern.fullmatch(name)
        if found is None:
            continue
        whole = re.sub(r"[\s_/-]", "", found[2].lower())
        word = _BESIDE.sub("", whole) or whole
        power = _POWER.fullmatch(word)
        if power:
            return found[1], float(f"1e{power[1]}")
        if word in units() and (ours in _FLOPS or not re.search(r"flops?|days?$", word)):
            return found[1], units()[word]
        if word in ("flop", "flops", "tokens", "token", "params", "parameters", "ratio", "total", "count", "n", "#"):
            return (found[1], None) if pattern is _UNIT else (name, None)
    return name, None


def plain_numbers(column: pd.Series, ours: str) -> pd.Series:
    """Cells such as 1.3B or 6.25% as numbers; a column in which one cell is neither stays as it is."""
    if ours not in (*COUNTS, *_RATIOS) or column.dtype != object:
        return column
    values: list[str | None] = []
    changed = False
    for cell in column:
        if cell is None or cell != cell or str(cell).lower() in NOTHING:
            values.append(cell)
            continue
        text = str(cell)
        scaled = _SCALED_CELL.fullmatch(text)
        factor = units().get(scaled[2].lower()) if scaled else None
        if scaled and factor is not None:
            values.append(repr(float(scaled[1]) * factor))
            changed = True
        elif _DIGITS.fullmatch(text):
            values.append(text)
        else:
            return column
    return pd.Series(np.array(values, dtype=object), index=column.index) if changed else column


def _flops_in(name: str) -> tuple[str, float] | None:
    """A name that holds a unit of FLOPs as a word, with ``flops`` for it, and the factor: ``train_exaflops``.

    Giga-, tera- and petaflops by themselves are more often a second's; with ``train`` or ``total`` they are a run's.
    """
    said = re.findall(r"[a-z0-9]+", re.sub(r"[-/]|(?<=[Ff])lop/?s?(?=-)", "", name).lower().replace("_", " "))
    for i, word in enumerate(said):
        factor = units().get(word)
        if factor is None or factor < 1e9 or not re.search(r"flops?|days?$", word):
            continue
        rest = said[:i] + said[i + 1 :]
        if factor >= 1e18 or {"train", "training", "total"} & set(rest):
            return " ".join((*rest, "flops")), factor
    return None
