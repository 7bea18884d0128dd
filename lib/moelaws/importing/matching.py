"""Which column of somebody's table is which: by a preset's list, then by the names that people give."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd

from moelaws.importing.preset import Preset, counted_names, letters, names
from moelaws.importing.unit import without_unit
from moelaws.importing.wording import Rank, rank
from moelaws.quote import listed, shown
from moelaws.runs.numbers import as_numbers

_MOST_EXPERTS = 1e6
_DIGITS = re.compile(r"[0-9.]+(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Matched:
    """A table of which it is known which column is which.

    Attributes:
        cells: the table, with the columns that were multiplied together.
        rename: the book's column -> the file's, with a factor where it counts in another unit.
        said: the same in words, for the reader.
        asked: columns of which several could be meant, or one might: nothing was taken, and the reader is asked.
    """

    cells: pd.DataFrame
    rename: dict[str, str]
    said: tuple[str, ...]
    asked: tuple[str, ...] = ()


def matched(cells: pd.DataFrame, preset: Preset, taken: Iterable[str] = (), left: Iterable[str] = ()) -> Matched:
    """Find the book's columns in a table.

    A name on the preset's list comes first, then the book's own, then the names that people give to such a column.

    Args:
        cells: the table, of text.
        preset: whose it is.
        taken: columns of the book's that the reader has named.
        left: columns of the table that keep their names, because the reader goes by them.
    """
    cells, left = cells.copy(), set(left)
    taken = set(taken)
    rename: dict[str, str] = {}
    found: dict[str, str] = {}
    asked: list[str] = []
    wanted = [ours for ours in dict.fromkeys([*preset.columns, *names()]) if ours not in taken]
    for ours in wanted:
        source = _listed(cells, preset.columns.get(ours, ()), ours)
        if source is None and ours in cells.columns:
            source = ours
        if source is None:
            source = _named(cells, ours, {*found.values(), *left})
        if source is not None:
            found[ours] = source
    _move_active_experts(cells, found, taken)
    for ours in wanted:
        if ours not in found:
            sources = _worded(cells, ours, {*found.values(), *left})
            if len(sources) == 1:
                found[ours] = sources[0]
            elif sources:
                asked.append(_question(ours, sources))
    if "loss" in wanted and "loss" not in found and not asked:
        _take_perplexity(cells, found, asked)
    for ours, source in ((ours, found[ours]) for ours in wanted if ours in found):
        if source != ours:
            rename[ours] = source
    return Matched(cells, rename, tuple(f"{ours} = {source}" for ours, source in rename.items()), tuple(asked))


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
        base, factor = without_unit(column, ours)
        key = _key(base)
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
        if filled and not {source, column} & used and (best is None or rank < best[0]):
            best = rank, source
    return best[1] if best else None


def _worded(cells: pd.DataFrame, ours: str, used: set[str]) -> list[str]:
    """The columns whose names say it best by their words, with factors: several where they hold different numbers."""
    best: dict[str, Rank] = {}
    for column in map(str, cells.columns):
        base, factor = without_unit(column, ours)
        found = rank(base, ours)
        source = column if factor is None else f"{column} * {factor:g}"
        if found is not None and not {source, column} & used and _may_be(cells[column], ours):
            best[source] = found
    least = min(best.values(), default=None)
    sources = [source for source, each in best.items() if each[:2] == (least or ())[:2]]
    same = {tuple(_numbers_of(cells, source)) for source in sources}
    return sources[:1] if len(same) == 1 else sources


def _move_active_experts(cells: pd.DataFrame, found: dict[str, str], taken: set[str]) -> None:
    """``n_active`` is a size, but beside a number of experts, and never above it, it is how many of them work."""
    source = found.get("active_params")
    if source is None or "top_k" in {*found, *taken} or "n_experts" not in found or _key(source) != "nactive":
        return
    values, experts = _numbers_of(cells, source), _numbers_of(cells, found["n_experts"])
    if (values <= experts).all() and (values == values.round()).all():
        found["top_k"] = found.pop("active_params")


def _take_perplexity(cells: pd.DataFrame, found: dict[str, str], asked: list[str]) -> None:
    """A perplexity is a loss when its logarithm is taken."""
    sources = _worded(cells, "perplexity", set(found.values()))
    if len(sources) != 1:
        asked.extend([_question("loss", [f"ln({source})" for source in sources])] if sources else [])
        return
    found["loss"] = f"ln({sources[0]})"


def _question(ours: str, sources: list[str]) -> str:
    return f'{ours} could be {listed(sources)}: --map "{ours}=..." says which'


def _key(name: str) -> str:
    """A name without case and signs."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _may_be(column: pd.Series, ours: str) -> bool:
    """Whether a column holds something, and what is counted by hand holds no millions."""
    values = as_numbers(column.dropna().to_numpy(dtype=object))
    if ours in ("n_experts", "top_k", "shared_experts"):
        return bool(np.isfinite(values).any()) and not (values > _MOST_EXPERTS).any()
    return bool(column.notna().any())


def _numbers_of(cells: pd.DataFrame, source: str) -> np.ndarray:
    column, _, factor = source.rpartition(" * ")
    values = as_numbers(cells[column if column in cells.columns else source].to_numpy(dtype=object))
    return np.nan_to_num(values * (float(factor) if column in cells.columns else 1.0), nan=-1.0)


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
