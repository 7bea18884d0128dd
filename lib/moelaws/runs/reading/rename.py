"""Which column of a file is which: names of all kinds, and a factor where the file counts in other units."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moelaws.quote import listed, plain, shown
from moelaws.runs.error import RunTableError
from moelaws.runs.numbers import as_numbers

# A name between backticks, in which a doubled one stands for itself, or one without the signs that separate pairs.
_OURS = re.compile(r"\s*(?:`((?:[^`]|``)*)`\s*|([^,=`]*))=")
_THEIRS = re.compile(r"\s*(?:`((?:[^`]|``)*)`(\s*\*[^,`]*|\s*)|([^,`]*))(?:,|$)")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")
_LOG = re.compile(r"ln\((.+)\)", re.DOTALL)
_FACTOR = re.compile(r"(.*\S)\s*\*\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)", re.DOTALL)


@dataclass(frozen=True)
class Renamed:
    """A table under the book's names.

    Attributes:
        cells: the table.
        aliases: the file's name -> the book's, for the columns that were renamed.
        vouched: columns whose unit the reader has given, by a factor.
    """

    cells: pd.DataFrame
    aliases: dict[str, str]
    vouched: frozenset[str]


def parse_map(text: str | None, option: str = "--map") -> dict[str, str]:
    """Read ``loss=val_loss,tokens=D`` into {the book's name: the file's name}.

    A name with a comma, an equals sign or a backtick goes between backticks: ``loss=`lr=0.1, val/loss` ``.

    Args:
        text: pairs separated by commas; nothing makes no pairs.
        option: what it was given to, in messages.

    Raises:
        ValueError: a part that is not NAME=NAME, or a name that is given twice.
    """
    if text is None or not text.strip():
        return {}
    pairs: dict[str, str] = {}
    at, more = 0, True
    while more:
        left = _OURS.match(text, at)
        right = _THEIRS.match(text, left.end()) if left else None
        ours = _name(left[1], left[2]) if left else ""
        theirs = _name(right[1], right[3]) + (right[2] or "").rstrip() if right else ""
        if not (right and ours and theirs):
            part = text[at:].split(",")[0]
            raise ValueError(
                f"{option} {shown(text)}: expected OURS=THEIRS,..., found {shown(part)}; a name with a comma, = or `"
                " goes between backticks"
            )
        if ours in pairs:
            raise ValueError(f"{option} {shown(text)}: {shown(ours)} is given twice")
        pairs[ours] = theirs
        at, more = right.end(), text[right.end() - 1 : right.end()] == "," and right[0].endswith(",")
    return pairs


def our_name(name: str, rename: Mapping[str, str]) -> str:
    """The book's name of a column that may have been given the file's name.

    Args:
        name: of a column, in either way.
        rename: as in ``rename_columns``.
    """
    if name in rename:
        return name
    for ours, theirs in rename.items():
        scaled = _FACTOR.fullmatch(theirs)
        if name in (theirs, scaled[1] if scaled else theirs):
            return ours
    return name


def _name(quoted: str | None, bare: str) -> str:
    return (quoted.replace("``", "`") if quoted is not None else bare).strip()


def rename_columns(cells: pd.DataFrame, rename: Mapping[str, str], name: str) -> Renamed:
    """Give columns the book's names.

    Args:
        cells: a table under the file's names.
        rename: the book's name -> the file's, or ``NAME * FACTOR`` for a column in another unit, ``ln(NAME)`` for the
            logarithm of a perplexity, or a number that all runs share and no column holds.
        name: of the file, in messages.

    Returns:
        The table; a column that already bore one of our names gives way to the one the reader chose.

    Raises:
        RunTableError: a column that the file does not have.
    """
    shared = {ours: theirs for ours, theirs in rename.items() if _shared(theirs, cells)}
    if shared:
        cells = cells.assign(**{ours.strip(): repr(float(number)) for ours, number in shared.items()})
    rename = {ours: theirs for ours, theirs in rename.items() if ours not in shared}
    cells = _with_logs(cells, [theirs.strip() for theirs in rename.values()])
    found = {ours.strip(): _source(theirs.strip(), cells, ours.strip(), name) for ours, theirs in rename.items()}
    places: dict[int, list[str]] = {}
    for ours, (place, _) in found.items():
        places.setdefault(place, []).append(ours)
    columns = [
        (place, called)
        for place, column in enumerate(cells.columns)
        for called in places.get(place, [] if column in found else [str(column)])
    ]
    table = cells.iloc[:, [place for place, _ in columns]]
    table.columns = pd.Index([called for _, called in columns])
    for i, (_, called) in enumerate(columns):
        factor = found[called][1] if called in found else None
        if factor is not None:
            table.isetitem(i, _scaled(table.iloc[:, i].to_numpy(), factor))
    aliases = {str(cells.columns[place]): called[0] for place, called in places.items()}
    vouched = frozenset(ours for ours, (_, factor) in found.items() if factor is not None)
    vouched |= {ours.strip() for ours in shared}
    return Renamed(table, {theirs: ours for theirs, ours in aliases.items() if theirs != ours}, vouched)


def _with_logs(cells: pd.DataFrame, sources: Iterable[str]) -> pd.DataFrame:
    """The table with the logarithms that are asked for; of what is no perplexity, the cell says what was tried."""
    for source in sources:
        log = _LOG.fullmatch(source)
        if source in cells.columns or log is None or log[1].strip() not in cells.columns:
            continue
        values = cells[log[1].strip()].to_numpy()
        texts = [
            repr(math.log(value)) if value >= 1 else None if cell is None or cell != cell else f"ln({cell})"
            for cell, value in zip(values, as_numbers(values), strict=True)
        ]
        cells = cells.assign(**{source: np.array(texts, dtype=object)})
    return cells


def _shared(theirs: str, cells: pd.DataFrame) -> bool:
    """Whether what stands in the place of a column's name is a number that holds for every run."""
    return _NUMBER.fullmatch(theirs.strip()) is not None and theirs.strip() not in map(str, cells.columns)


def _source(theirs: str, cells: pd.DataFrame, ours: str, name: str) -> tuple[int, float | None]:
    """Place of a column, and the factor on it."""
    place = {str(column): i for i, column in enumerate(cells.columns)}
    if theirs in place:
        return place[theirs], None
    scaled = _FACTOR.fullmatch(theirs)
    if scaled and scaled[1] in place and float(scaled[2]) > 0:
        return place[scaled[1]], float(scaled[2])
    cut = next((column for column in place if column.startswith(f"{theirs},")), None)
    hint = f"; a name with a comma goes between backticks: `{plain(cut)}`" if cut and theirs else ""
    raise RunTableError(
        f"{name}: no column {shown(theirs)} to use as {shown(ours)}; the file has"
        f" {listed(cells.columns, theirs, 6)}{hint}"
    )


def _scaled(cells: np.ndarray, factor: float) -> np.ndarray:
    """The numbers of a column times a factor, as text; what is no number stays as it is, to be refused as such."""
    numbers = as_numbers(cells)
    changed = [cell if np.isnan(n) else repr(float(n * factor)) for cell, n in zip(cells, numbers, strict=True)]
    return np.array(changed, dtype=object)
