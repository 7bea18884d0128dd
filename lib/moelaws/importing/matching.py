"""Which column of somebody's table is which: by a preset's list, then by the names that people give."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd

from moelaws.importing.preset import Preset, counted_names, letters, names, units
from moelaws.quote import shown
from moelaws.runs.numbers import NOTHING, as_numbers

COUNTS = ("total_params", "active_params", "dense_params", "non_embedding_params", "tokens", "train_flops", "budget")
"""Columns that people count in thousands, millions and billions."""

_RATIOS = ("sparsity", "activation_ratio")
_UNIT = re.compile(r"(.*?)[\s_]*[(\[]\s*(?:in\s+)?([^()\[\]]+?)\s*[)\]]\s*", re.DOTALL)
_SUFFIX = re.compile(r"(.*?[^\s_])(?:[\s_]+(?:in[\s_]+)?)([A-Za-z]+|%)")
_POWER = re.compile(r"(?:x|×|\*)?\s*(?:1e\+?|10\^|10\*\*)(\d{1,2})", re.IGNORECASE)
_SCALED_CELL = re.compile(r"([+]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]+|%)")
_DIGITS = re.compile(r"[0-9.]+(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Matched:
    """A table of which it is known which column is which.

    Attributes:
        cells: the table, with the columns that were multiplied together.
        rename: the book's column -> the file's, with a factor where it counts in another unit.
        said: the same in words, for the reader.
    """

    cells: pd.DataFrame
    rename: dict[str, str]
    said: tuple[str, ...]


def matched(cells: pd.DataFrame, preset: Preset, taken: Iterable[str] = ()) -> Matched:
    """Find the book's columns in a table.

    A name on the preset's list comes first, then the book's own, then the names that people give to such a column.

    Args:
        cells: the table, of text.
        preset: whose it is.
        taken: columns that the reader has named.
    """
    cells = cells.copy()
    taken = set(taken)
    rename: dict[str, str] = {}
    said: list[str] = []
    wanted = dict.fromkeys([*preset.columns, *names()])
    for ours in wanted:
        if ours in taken:
            continue
        found = _listed(cells, preset.columns.get(ours, ()), ours)
        if found is None and ours in cells.columns:
            found = ours
        if found is None:
            found = _named(cells, ours, set(rename.values()))
        if found is None:
            continue
        if found in cells.columns:
            cells[found] = _plain_numbers(cells[found], ours)
        if found != ours:
            rename[ours] = found
            said.append(f"{ours} = {found}")
    return Matched(cells, rename, tuple(said))


def _listed(cells: pd.DataFrame, candidates: Iterable[str], ours: str) -> str | None:
    for candidate in candidates:
        parts = candidate.split(" * ")
        columns = [_column(cells, part) for part in parts if not _DIGITS.fullmatch(part)]
        if any(column is None for column in columns):
            continue
        if len(columns) == 1:
            theirs = columns[0]
            return f"{theirs} * {parts[1]}" if len(parts) == 2 and theirs is not None else theirs
        product = np.ones(len(cells))
        for part in parts:
            product *= as_numbers(cells[part].to_numpy(dtype=object)) if part in cells.columns else float(part)
        if np.isfinite(product).any():
            cells[candidate] = np.array([None if np.isnan(n) else repr(float(n)) for n in product], dtype=object)
            return candidate
    return None


def _column(cells: pd.DataFrame, name: str) -> str | None:
    """A column of this name, or the first that fits its pattern, that holds something."""
    there = [name] if name in cells.columns else []
    if "*" in name:
        there = sorted(str(column) for column in cells.columns if fnmatchcase(str(column), name))
    return next((column for column in there if cells[column].notna().any()), None)


def _named(cells: pd.DataFrame, ours: str, used: set[str]) -> str | None:
    """A column with a name that people give to such a one, with the factor that its name tells."""
    wanted = names().get(ours, ())
    best: tuple[int, str] | None = None
    for column in map(str, cells.columns):
        base, factor = _without_unit(column) if ours in (*COUNTS, *_RATIOS) else (column, None)
        key = re.sub(r"[^a-z0-9]", "", base.lower())
        if base.strip() in letters().get(ours, ()):
            rank = len(wanted)
        elif key in wanted:
            rank = wanted.index(key)
        elif factor is not None and key in counted_names().get(ours, ()):
            rank = len(wanted) + 1
        else:
            continue
        source = column if factor is None else f"{column} * {factor:g}"
        filled = cells[column].notna().any()
        if filled and source not in used and (best is None or rank < best[0]):
            best = rank, source
    return best[1] if best else None


def _without_unit(name: str) -> tuple[str, float | None]:
    """``D (billions)`` and ``tokens_B`` as a name and a factor."""
    for pattern in (_UNIT, _SUFFIX):
        found = pattern.fullmatch(name)
        if found is None:
            continue
        word = re.sub(r"[\s_]|(?:of)?(?:tokens?|params?|parameters?)$", "", found[2].lower()) or found[2].lower()
        power = _POWER.fullmatch(word)
        if power:
            return found[1], float(f"1e{power[1]}")
        if word in units():
            return found[1], units()[word]
        if word in ("flop", "flops", "tokens", "token", "params", "parameters", "ratio", "total", "count", "n", "#"):
            return (found[1], None) if pattern is _UNIT else (name, None)
    return name, None


def _plain_numbers(column: pd.Series, ours: str) -> pd.Series:
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


def from_patterns(cells: pd.DataFrame, preset: Preset, taken: Iterable[str] = ()) -> tuple[pd.DataFrame, list[str]]:
    """What the names and tags of runs say, as columns.

    Args:
        cells: the table.
        preset: with the expressions to look for.
        taken: columns that are there already.
    """
    said = []
    texts = [column for column in ("name", "Name", "run", "tags", "Tags") if column in cells.columns]
    lines: pd.Series[str] | list[str] = cells[texts].fillna("").astype(str).agg(" ".join, axis=1) if texts else []
    for ours, patterns in preset.patterns.items():
        if ours in (*taken, *cells.columns) or not len(lines):
            continue
        found = [
            next((match[1] for pattern in patterns if (match := re.search(pattern, line))), None) for line in lines
        ]
        if any(found):
            cells = cells.assign(**{ours: np.array(found, dtype=object)})
            said.append(f"{ours} from the name or tags, such as {shown(next(filter(None, found)))}")
    return cells, said
