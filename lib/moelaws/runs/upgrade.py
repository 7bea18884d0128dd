"""Tables of older versions, brought up to date: new columns, with what they would have said in each old row."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from moelaws.files import check_writable, write_whole
from moelaws.quote import shown
from moelaws.runs.error import RunTableError
from moelaws.runs.lines import row_line, split_cells
from moelaws.runs.probed import PROBE_COLUMNS
from moelaws.runs.schema import COLUMNS, LATER
from moelaws.runs.writing.lock import TableLock
from moelaws.runs.writing.measured import Measured, add_columns
from moelaws.runs.writing.recorded import first_cell, header_line, objection, read_recorded, read_rows, require_regular

_LONGEST_HEADER = 2**16
_OURS = tuple(COLUMNS)


def upgrade(path: Path, kinds: Sequence[Measured] = ()) -> tuple[list[str], str]:
    """Give a table of ours the columns that came since it was made, whole or not at all; its cells stay as they are.

    Args:
        path: a run table that ``moelaws sweep`` wrote, or a table of measurements; links are followed.
        kinds: the tables of measurements that it may be.

    Returns:
        The new columns, none if the table has them all; and a sentence on a last line that a crash cut short, which
        is removed, or nothing.

    Raises:
        RunTableError: another file, a missing one, or a table with a damaged row; nothing is touched.
        TableInUseError: another process writes to it.
        OSError: it cannot be read or written; the old table is as it was.
    """
    if not require_regular(path, "run table"):
        raise RunTableError(f"{path}: no such file")
    header = _header(path)
    if header == list(PROBE_COLUMNS):
        return [], ""
    for kind in kinds:
        if set(kind.key) - set(kind.before) <= set(header):
            return add_columns(path, kind), ""
    return _upgrade_runs(path)


def _upgrade_runs(path: Path) -> tuple[list[str], str]:
    _old_columns(path)  # before anything is made beside a file of somebody's
    check_writable(path)
    place = Path(os.path.realpath(path))
    lock = TableLock(place)
    try:
        columns = _old_columns(path)
        new = [name for name in _OURS if name not in columns]
        if not new:
            return [], ""
        found = read_recorded(path, columns)
        data, said = found.data, ""
        if found.torn_is_row:
            data += found.torn + b"\n"
        elif found.torn:
            run = f"run {shown(first_cell(found.torn), 20)}" if first_cell(found.torn) else "its run"
            line = data.count(b"\n") + 1
            said = f"{path.name}: line {line} was cut short by a crash; it is removed and {run} will be run again"
        lines = [header_line(_OURS)]
        for _, cells in read_rows(data, columns, path.name):
            row = dict(zip(columns, cells, strict=True))
            lines.append(row_line(row.get(name, LATER.get(name)) for name in _OURS))
        write_whole(place, b"".join(lines))
        return new, said
    finally:
        lock.close()


def _header(path: Path) -> list[str]:
    """The cells of the first line, none of a line that is no header of ours, byte by byte."""
    with path.open("rb") as file:
        begin = file.readline(_LONGEST_HEADER)
    try:
        (cells,) = split_cells([begin.decode()])
    except (UnicodeDecodeError, csv.Error, ValueError):
        return []
    return cells if row_line(cells) == begin else []


def _old_columns(path: Path) -> list[str]:
    """The header of a run table of this or an older version.

    Raises:
        RunTableError: it is another file.
    """
    cells = _header(path)
    lacking = [name for name in _OURS if name not in cells]
    if cells != [name for name in _OURS if name in cells] or not set(lacking) <= set(LATER):
        with path.open("rb") as file:
            raise RunTableError(f"{path.name}: {objection(file.readline(_LONGEST_HEADER), _OURS, 'run table')}")
    return cells
