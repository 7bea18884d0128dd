"""What stands in a table that moelaws appends to: first whose it is, then whether it is whole, row by row.

Such a table is judged by its header alone, byte by byte: anything else may be somebody's only copy. A damaged row in
its middle refuses the table: skipped, it would be lost for ever; run again, its run would stand there twice.
"""

import csv
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from moelaws.quote import listed, shown
from moelaws.runs.lines import row_line, split_cells
from moelaws.runs.reading.read import RunTableError
from moelaws.runs.schema import COLUMNS, LATER

_NAMES = {"run_id": "run table", "run": "table of probes"}
_KEYS = {"run_id": ("run_id",), "run": ("run", "probe", "domain", "metric")}
_NUMBERS = {name for name, column in COLUMNS.items() if column.kind != "text"} | {"value", "se", "chance", "items"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+\d\d:\d\d")
_LONGEST_HEADER = 2**16
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Recorded:
    """A table of ours as it stands on the disk.

    Attributes:
        data: header and rows, each with its line end; nothing where not even the header is whole.
        torn: what comes after the last line end: the work of a writer that was killed.
        torn_is_row: whether it is a whole row all the same, of which the line end alone is missing.
    """

    data: bytes
    torn: bytes
    torn_is_row: bool = False


def header_line(columns: Sequence[str]) -> bytes:
    """The first line of a table with these columns."""
    return row_line(columns)


def key_of(columns: Sequence[str]) -> tuple[str, ...]:
    """The columns that tell one row from another."""
    return _KEYS.get(columns[0], ())


def read_recorded(path: Path, columns: Sequence[str]) -> Recorded:
    """Read a table that rows are appended to; for looking only, without the table's lock.

    Args:
        path: the file; an absent or empty one is a table without rows.
        columns: the header it must have.

    Raises:
        RunTableError: it is not a table with this header, or a row in it is damaged or there twice.
        OSError: it cannot be read.
    """
    expected = header_line(columns)
    if not require_regular(path, _name(columns)):
        return Recorded(b"", b"")
    with path.open("rb") as file:
        head = file.read(len(expected))
        if head != expected and not _is_torn_header(head, expected):
            raise RunTableError(
                f"{path.name}: {objection(head + file.readline(_LONGEST_HEADER), columns, _name(columns))}"
            )
        content = head + file.read()
    whole = content.rfind(b"\n") + 1
    data, torn = content[:whole], content[whole:]
    seen: dict[tuple[str, ...], int] = {}
    for number, cells in read_rows(data, columns, path.name):
        key = tuple(cells[columns.index(name)] for name in key_of(columns))
        if key and (earlier := seen.setdefault(key, number)) != number:
            raise RunTableError(
                f"{path.name}: row {number} repeats row {earlier}, column {key_of(columns)[0]!r}: {shown(key[0])}; "
                "delete one of the two lines"
            )
    return Recorded(data, torn, bool(data and torn) and _is_whole_row(torn, columns))


def read_rows(data: bytes, columns: Sequence[str], name: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table, each with its number in the file (the header is row 1); empty lines are none.

    Args:
        data: header and rows, each with its line end.
        columns: the header.
        name: of the file, for messages.

    Raises:
        RunTableError: a damaged row.
    """
    for number, line in enumerate(data.split(b"\n")[1:], start=2):
        if not line.strip():
            continue
        cells, damage = _read_row(line, columns)
        if damage:
            raise RunTableError(
                f"{name}: row {number} is damaged: {damage}; mend or delete that line: a run without a row is run again"
            )
        yield number, cells


def recorded_runs(path: str | Path) -> frozenset[str]:
    """Ids of the runs that have a whole row in a run table; for looking only, without the table's lock.

    Args:
        path: the CSV file; an absent one holds no runs.

    Raises:
        RunTableError: it is not a run table of ours, or a row is damaged.
        OSError: it cannot be read.
    """
    columns = tuple(COLUMNS)
    data = read_recorded(Path(path), columns).data
    place = columns.index("run_id")
    return frozenset(cells[place] for _, cells in read_rows(data, columns, Path(path).name))


def first_cell(line: bytes) -> str:
    """The first cell of a row that was cut short, if it is whole: in our tables the run's id."""
    text, comma, _ = line.partition(b",")
    return text.decode(errors="replace") if comma else ""


def _read_row(line: bytes, columns: Sequence[str]) -> tuple[list[str], str]:
    """The cells of a line, and what is wrong with it, if anything is."""
    if b"\0" in line:
        return [], "it holds NUL bytes"
    try:
        (cells,) = split_cells([line.decode()])
    except UnicodeDecodeError as error:
        return [], f"no UTF-8 text at its byte {error.start}"
    except csv.Error as error:
        return [], f"no row of a CSV table ({error})"
    if len(cells) != len(columns):
        return cells, f"found {len(cells)} cells, expected {len(columns)}"
    return cells, _damage(dict(zip(columns, cells, strict=True)), key_of(columns))


def _damage(row: Mapping[str, str], key: Sequence[str]) -> str:
    for name in key:
        if not row[name].strip() or not row[name].isprintable() or row[name] == name:
            return f"column {name!r}: found {shown(row[name])}, expected what names the row"
    for name in _NUMBERS & row.keys():
        if row[name] and not _is_number(row[name]):
            return f"column {name!r}: found {shown(row[name], 30)}, expected a number"
    if row.get("status") == "finished" and not row.get("loss", "-"):
        return "column 'loss': found nothing, expected the loss of a finished run"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_whole_row(line: bytes, columns: Sequence[str]) -> bool:
    """Whether no more than its line end is missing: the last cell, a time of a known form, shows it."""
    cells, damage = _read_row(line, columns)
    return not damage and columns[-1] == "finished_at" and bool(_TIME.fullmatch(cells[-1]))


def _is_torn_header(head: bytes, expected: bytes) -> bool:
    """Whether a file is no more than the beginning of our header, with a column's name at least."""
    return not head or (b"," in head and expected.startswith(head))


def _name(columns: Sequence[str]) -> str:
    return _NAMES.get(columns[0], "table")


def objection(begin: bytes, columns: Sequence[str], name: str) -> str:
    """Why a file is not a table with these columns, and what to do about it.

    Args:
        begin: its beginning, with the first line at least.
        columns: the header that was expected.
        name: of the kind of table.
    """
    line = begin.partition(b"\n")[0]
    try:
        (cells,) = split_cells([line.removeprefix(_BOM).decode()]) if line.strip() else ([],)
    except (UnicodeDecodeError, csv.Error):
        cells = []
    if cells == list(columns):
        return (
            "another program saved it, with other quotes, line ends or a byte order mark; save it as CSV in UTF-8 "
            "with plain line ends, or write to a new file"
        )
    if sorted(cells) == sorted(columns):
        return "its header differs from this version's in the order of the columns; write to a new file"
    if cells and cells[0] != columns[0] and cells[0] in _NAMES and set(_KEYS[cells[0]]) <= set(cells):
        return f"it is a {_NAMES[cells[0]]}, expected a {name}; it is left as it is: write to a new file"
    lacking, more = [c for c in columns if c not in cells], [c for c in cells if c not in columns]
    if cells and not more and set(lacking) <= set(LATER) and cells == [c for c in columns if c in cells]:
        return f"it lacks {listed(lacking, most=4)}, which came later; moelaws runs --upgrade TABLE adds what is new"
    if columns[0] in cells and len(more) < len(columns):
        beside = [f"it lacks {len(lacking)}"] * bool(lacking) + [f"it has {len(more)} others"] * bool(more)
        return (
            f"its header differs from this version's in {listed([*lacking, *more] or ['repeated columns'], most=4)} "
            f"({', '.join(beside) or 'each is there'}): another version or program wrote it; write to a new file"
        )
    return (
        f"not a {name} of moelaws: it begins with {shown(line.decode(errors='replace'), 40)}; it is left as it is: "
        "write to a new file"
    )


def require_regular(path: Path, name: str) -> bool:
    """Refuse what no table can be kept in.

    Args:
        path: of the table.
        name: of the kind of table.

    Returns:
        Whether there is a file yet.

    Raises:
        RunTableError: a folder, a device or a pipe.
        OSError: the path leads nowhere.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise RunTableError(f"{path}: found a folder, expected the file of a {name}")
    if not stat.S_ISREG(mode):
        raise RunTableError(f"{path}: found a device or pipe, expected a file: a {name} is read back")
    return True
