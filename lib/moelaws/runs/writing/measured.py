"""Tables of measurements: a row that measures the same again takes the older one's place, and nothing else moves."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moelaws.files import check_folder, check_writable, is_stream, write_whole
from moelaws.runs.lines import cell, row_line, split_cells
from moelaws.runs.reading.read import RunTableError
from moelaws.runs.writing.lock import TableLock
from moelaws.runs.writing.recorded import objection, require_regular

_PATIENCE = 60.0  # seconds for another writer, who holds the table for as long as it takes to write it


@dataclass(frozen=True)
class Measured:
    """A kind of table.

    Attributes:
        name: in a message.
        columns: the header; the order in a file may be another.
        key: columns that say what was measured.
        optional: columns that a file may lack until a row has something for them.
        before: columns that came later, each with what rows were measured at before it was there: such a row, and one
            that says so, measured the same.
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    optional: frozenset[str] = frozenset()
    before: Mapping[str, Any] = field(default_factory=dict)

    def filling(self, name: str) -> str:
        """What stands in a row that was written before the column was there."""
        return cell(self.before.get(name))


def check_measured(path: Path, kind: Measured) -> None:
    """Find out, before anything is measured, whether rows could be put into a table.

    Args:
        path: absent, empty, a table of this kind, or a device or pipe, which takes everything.
        kind: of the table.

    Raises:
        RunTableError: another file is there, or a table with a damaged row.
        OSError: the place cannot be read or written.
    """
    if is_stream(path):
        return
    _read(path, kind)
    place = Path(os.path.realpath(path))
    if place.parent.exists():
        check_writable(place)
        TableLock(place, _PATIENCE).close()
    else:
        # It is made when there are rows, if folders can be made in the nearest one above it.
        check_folder(next(folder for folder in place.parents if folder.exists()))


def record_measured(path: Path, rows: Sequence[Mapping[str, Any]], kind: Measured) -> None:
    """Put rows into a table, whole or not at all; older rows stay as they are, letter by letter.

    Args:
        path: a CSV file, made if absent; see ``check_measured``.
        rows: the new rows; of several that measure the same, the last counts.
        kind: of the table.

    Raises:
        RunTableError: another file is there, or a table with a damaged row; nothing is written.
        TableInUseError: somebody else has held the table for a minute.
        OSError: the place cannot be read or written.
    """
    for name in (name for row in rows for name in row if name not in kind.columns):
        raise RunTableError(f"{path.name}: no column {name!r} in a {kind.name}")
    new = {tuple(_word(cell(row.get(name)) or kind.filling(name)) for name in kind.key): row for row in rows}
    if is_stream(path):
        write_whole(path, row_line(kind.columns) + b"".join(_lines(new.values(), kind.columns)))
        return
    place = Path(os.path.realpath(path))
    _read(path, kind)  # before anything is made beside a file of somebody's
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = TableLock(place, _PATIENCE)
    try:
        header, old = _read(path, kind)
        if not header:
            used = {name for row in rows for name in row}
            header = [name for name in kind.columns if name in used or name not in kind.optional]
        late = [name for name in kind.columns if name not in header and _needed(name, rows, kind)]
        write_whole(place, b"".join(_merged(header, late, old, new, kind)))
    finally:
        lock.close()


def add_columns(path: Path, kind: Measured) -> list[str]:
    """Give a table the columns that came later; its rows get what they were measured at, and else stay as they are.

    Args:
        path: a table of this kind.
        kind: of the table.

    Returns:
        The columns that are new.

    Raises:
        RunTableError, TableInUseError, OSError: see ``record_measured``.
    """
    place = Path(os.path.realpath(path))
    _read(path, kind)
    lock = TableLock(place, _PATIENCE)
    try:
        header, old = _read(path, kind)
        late = [name for name in kind.columns if name in kind.before and name not in header]
        if header and late:
            write_whole(place, b"".join(_merged(header, late, old, {}, kind)))
        return late if header else []
    finally:
        lock.close()


def _needed(name: str, rows: Sequence[Mapping[str, Any]], kind: Measured) -> bool:
    """Whether a row has something for a column that the file lacks, which its absence does not say already."""
    return any(cell(row.get(name)) not in ("", kind.filling(name)) for row in rows)


def _merged(
    header: list[str], late: list[str], old: Iterable[tuple[list[str], bytes]],
    new: dict[tuple[str, ...], Mapping[str, Any]], kind: Measured,
) -> Iterable[bytes]:  # fmt: skip
    """The lines of the table: old rows in their places, or what measures the same again, then what is left of these."""
    columns = header + late
    yield row_line(columns)
    for cells, line in old:
        there = dict(zip(header, cells, strict=True))
        key = tuple(_word(there.get(name) or kind.filling(name)) for name in kind.key)
        if key in new:
            yield from _lines([new.pop(key)], columns)
        else:
            yield row_line([*cells, *map(kind.filling, late)]) if late else line
    yield from _lines(new.values(), columns)


def _lines(rows: Iterable[Mapping[str, Any]], header: Sequence[str]) -> list[bytes]:
    return [row_line(row.get(name) for name in header) for row in rows]


def _read(path: Path, kind: Measured) -> tuple[list[str], list[tuple[list[str], bytes]]]:
    """The header of a table and its rows, as cells and as lines; nothing of an absent or empty one."""
    if not require_regular(path, kind.name) or path.stat().st_size == 0:
        return [], []
    with path.open("rb") as file:
        begin = file.readline(2**16)
        try:
            header = split_cells([begin.decode()])[0]
        except (UnicodeDecodeError, csv.Error):
            header = []
        needed = set(kind.columns) - kind.optional - set(kind.before)
        if (
            begin != row_line(header)
            or not needed <= set(header) <= set(kind.columns)
            or len(set(header)) < len(header)
        ):
            raise RunTableError(f"{path.name}: {objection(begin, kind.columns, kind.name)}")
        rows = []
        for number, line in enumerate(file.read().split(b"\n"), start=2):
            if line.strip():
                rows.append((_cells(line, len(header), f"{path.name}: row {number}"), line + b"\n"))
    return header, rows


def _cells(line: bytes, count: int, where: str) -> list[str]:
    try:
        if b"\0" in line:
            raise RunTableError(f"{where} is damaged: it holds NUL bytes; mend or delete that line")
        (cells,) = split_cells([line.decode()])
    except (UnicodeDecodeError, csv.Error) as error:
        raise RunTableError(f"{where} is damaged: no row of a CSV table ({error}); mend or delete that line") from None
    if len(cells) != count:
        raise RunTableError(f"{where} is damaged: found {len(cells)} cells, expected {count}; mend or delete that line")
    return cells


def _word(text: str) -> str:
    """A cell for comparison: 1 and 1.0 are the same number of experts."""
    try:
        return f"{float(text):.12g}"
    except ValueError:
        return text
