"""Units that the names and cells of a column carry: ``D (billions)``, ``tokens_B``, ``train_exaflops``, ``1.3B``."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from moelaws.importing.preset import units

COUNTS = ("total_params", "active_params", "dense_params", "non_embedding_params", "tokens", "train_flops", "budget")
"""Columns that people count in thousands, millions and billions."""

OWN_WORDS = frozenset({"tokens", "token", "params", "param", "parameters", "parameter", "flops", "flop"})
"""Words for what is counted, which may stand behind a number: ``2e10 tokens``, ``5B tokens``."""

_FLOPS = ("train_flops", "budget")
_RATIOS = ("sparsity", "activation_ratio")
_UNIT = re.compile(r"(.*?)[\s_]*[(\[]\s*(?:in\s+)?([^()\[\]]+?)\s*[)\]]\s*", re.DOTALL)
_SUFFIX = re.compile(r"(.*?[^\s_])(?:[\s_]+(?:in[\s_]+)?)([A-Za-z]+|%|1?[eE][0-9]{1,2})")
_POWER = re.compile(r"(?:x|×|\*)?\s*(?:1?e\+?|10\^|10\*\*)(\d{1,2})", re.IGNORECASE)
_BESIDE = re.compile(r"(?:of)?(?:tokens?|params?|parameters?)$|(?<=[0-9])flops?$")
_SCALED_CELL = re.compile(
    r"([+]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]+|%)(?:\s+(?:tokens?|params?|parameters?|flops?))?",
    re.IGNORECASE,
)


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


def plain_numbers(cells: pd.DataFrame, rename: Mapping[str, str]) -> pd.DataFrame:
    """A table with cells such as 1.3B, 2e10 tokens or 6.25 % as numbers, where they count something.

    Args:
        cells: a table of text under the file's names.
        rename: the book's column -> the file's; a column whose unit is given by a factor stays as it is.

    Returns:
        The table. A cell that is no number in any unit stays, to be refused as such.
    """
    for ours in (*COUNTS, *_RATIOS):
        theirs = rename.get(ours, ours)
        if theirs in cells.columns and cells[theirs].dtype == object:
            plain = [_plain(cell) for cell in cells[theirs]]
            if any(new is not old for new, old in zip(plain, cells[theirs], strict=True)):
                cells = cells.assign(**{theirs: np.array(plain, dtype=object)})
    return cells


def _plain(cell: Any) -> Any:
    scaled = _SCALED_CELL.fullmatch(cell) if isinstance(cell, str) else None
    if scaled is None:
        return cell
    word = scaled[2].lower()
    factor = 1.0 if word in OWN_WORDS else units().get(word)
    return cell if factor is None else repr(float(scaled[1]) * factor)


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
