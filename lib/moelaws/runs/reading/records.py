"""Tables written as JSON: a record a line, or a list of records; nested ones get names with points."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from moelaws.quote import plain, shown
from moelaws.runs.error import RunTableError
from moelaws.runs.reading.cells import MOST_CELLS

_DEEPEST = 5
_MEASURES = ("loss", "perplexity", "ppl")


def looks_like_records(text: str) -> bool:
    """Whether a text is JSON, by its first record; a CSV file may begin with a bracket too."""
    start = text.lstrip()
    if start[:1] not in ("{", "["):
        return False
    try:
        json.JSONDecoder().raw_decode(start.splitlines()[0])
    except (ValueError, RecursionError):
        # Laid out over several lines: a bracket, or the first key, is all that the first line holds.
        following = start[1:].lstrip()[:1]
        return following in (("{", "[", "]", "") if start[0] == "[" else ('"', "}", ""))
    return True


def read_records(text: str, name: str) -> pd.DataFrame:
    """Cells of a table in JSON.

    Args:
        text: one object a line, a list of objects, or one object that holds such a list, columns by their names, or
            runs by theirs. An object inside a record becomes columns ``outer.inner``; a list stays one cell.
        name: of the file, in messages.

    Returns:
        One row a record, of text, with ``None`` where a record has no such key, or null. The index is the line, or in
        a list the place from 1.

    Raises:
        RunTableError: not JSON, not records, or a key that occurs twice in one.
    """
    try:
        return _table(text, name)
    except RecursionError:
        raise RunTableError(f"{name}: JSON that is nested too deeply; expected a record a line") from None


def _table(text: str, name: str) -> pd.DataFrame:
    columns: dict[str, None] = {}
    rows, numbers = [], []
    for number, record in _records(text, name):
        if not isinstance(record, dict):
            raise RunTableError(f"{name}: row {number}: expected a JSON object, found {shown(str(record), 30)}")
        cells: dict[str, str | None] = {}
        _flatten(record, "", cells, 0, f"{name}: row {number}")
        columns |= dict.fromkeys(cells)
        rows.append(cells)
        numbers.append(number)
        if len(columns) * len(rows) > MOST_CELLS:
            raise RunTableError(f"{name}: more than {MOST_CELLS:,} cells, the most that is read; keep fewer columns")
    if not columns:
        raise RunTableError(f"{name}: no records; expected a JSON object a line, or a list of them")
    table = np.array([[row.get(column) for column in columns] for row in rows], dtype=object, order="F")
    filled = (table != None).any(axis=1)  # noqa: E711
    return pd.DataFrame(
        table[filled], index=pd.Index(np.array(numbers)[filled]), columns=pd.Index(list(columns)), dtype=object
    )


def _records(text: str, name: str) -> Iterator[tuple[int, Any]]:
    # Numbers stay text, so that a cell is shown as it was written and no digit is lost.
    decoder = json.JSONDecoder(
        object_pairs_hook=lambda pairs: _object(pairs, name), parse_float=_Digits, parse_int=_Digits, parse_constant=str
    )
    number = 0
    try:
        if text.lstrip()[0] == "[":
            yield from enumerate(decoder.decode(text.strip()), 1)
            return
        if (columns := _columns(decoder, text)) is not None:
            yield from enumerate(columns, 1)
            return
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield number, decoder.decode(line.strip())
    except json.JSONDecodeError as error:
        line = f"line {number or error.lineno}"
        raise RunTableError(f"{name}: {line}: not JSON ({plain(error.msg)}); expected a record a line") from None


def _columns(decoder: json.JSONDecoder, text: str) -> list[Any] | None:
    """The records of a text that is one object, in whichever way it holds them; it may be a record itself."""
    try:
        whole = decoder.decode(text.strip())
    except json.JSONDecodeError:
        return None
    if not isinstance(whole, dict):
        return None
    # A list of objects among whatever else is said of them: {"made": "Monday", "runs": [{...}, ...]}
    lists = [value for value in whole.values() if isinstance(value, list) and any(isinstance(of, dict) for of in value)]
    if len(lists) == 1 and not _measured(whole):  # a run with a history of its own is a run
        return lists[0]
    if (rows := _split(whole)) is not None:
        return rows
    parts = list(whole.values())
    if _like_runs(parts):
        return parts
    if all(isinstance(part, dict) and part.keys() == parts[0].keys() for part in parts):
        parts = [list(column.values()) for column in parts]
    if not parts or not all(isinstance(column, list) and len(column) == len(parts[0]) for column in parts):
        return [whole]
    return [dict(zip(whole, row, strict=True)) for row in zip(*parts, strict=True)]


def _split(whole: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The records of ``{"columns": [names], "data": [[cells], ...]}``."""
    names, rows = whole.get("columns"), whole.get("data")
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names) and isinstance(rows, list)):
        return None
    if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        return None
    return [dict(zip(names, row, strict=True)) for row in rows]


def _like_runs(parts: list[Any]) -> bool:
    """Whether each of these, which a name stands before, is a run: they have a loss and two more things in common."""
    if len(parts) < 2 or not all(isinstance(part, dict) for part in parts):
        return False
    common = set.intersection(*map(set, parts))
    return len(common) >= 3 and _measured(dict.fromkeys(common))


def _measured(record: dict[str, Any]) -> bool:
    """Whether a record, or an object in it, has what a run is measured by."""
    names = [*record, *(key for value in record.values() if isinstance(value, dict) for key in value)]
    return any(word in name.casefold() for name in names for word in _MEASURES)


class _Digits(str):
    """A number as the file has it."""


def _object(pairs: list[tuple[str, Any]], name: str) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for i, key in enumerate(keys) if key in keys[:i])
        raise RunTableError(f"{name}: a record has the key {shown(twice)} twice")
    return record


def _flatten(record: dict[str, Any], prefix: str, cells: dict[str, str | None], depth: int, where: str) -> None:
    for key, value in record.items():
        column = f"{prefix}{key}".strip()
        if isinstance(value, dict) and value and depth < _DEEPEST:
            _flatten(value, f"{column}.", cells, depth + 1, where)
            continue
        if column in cells:
            raise RunTableError(f"{where}: the record has {shown(column)} twice")
        cells[column] = _cell(value)


def _cell(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return (value or "").strip() or None
    return str(value) if isinstance(value, bool) else _written(value)


def _written(value: Any) -> str:
    if isinstance(value, _Digits):
        return value
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)}: {_written(inner)}' for key, inner in value.items())}}}"
    return json.dumps(value)
