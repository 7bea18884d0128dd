"""A table file as cells of text: separators, quotes, encodings and row ends as people and programs write them."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import pandas as pd

from moelaws.quote import number_of, plain, shown
from moelaws.runs.error import RunTableError
from moelaws.runs.lines import cells_of_any_length
from moelaws.runs.numbers import commas, decimal_points, points_group, without_commas

MOST_CELLS = 20_000_000
"""Cells of the largest table that is read."""

SEPARATORS = (",", "\t", ";", "|")
_LOOKED_AT = 50
_BOMS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def decoded(data: bytes, name: str) -> str:
    """Text of a file: UTF-8, or UTF-16 if it says so.

    Args:
        data: the file.
        name: of the file, in messages.

    Raises:
        RunTableError: neither.
    """
    encoding = next((encoding for bom, encoding in _BOMS.items() if data.startswith(bom)), None)
    if encoding is None:
        head = data[:2000]
        # Without its mark, UTF-16 of plain letters has a zero in every second place.
        odd, even = head[1::2].count(0), head[0::2].count(0)
        many = 0.4 * (len(head) // 2)
        encoding = "utf-16-le" if odd > many and not even else "utf-16-be" if even > many and not odd else "utf-8"
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        what = "UTF-8" if encoding == "utf-8" else "UTF-16"
        raise RunTableError(f"{name}: not {what} text at byte {error.start}; save the table as CSV in UTF-8") from None
    if "\0" in text:
        raise RunTableError(f"{name}: not text (a zero byte at character {text.index(chr(0))}); expected a CSV table")
    return text


def read_cells(text: str, name: str) -> pd.DataFrame:
    """Cut a text into the cells of a table.

    Args:
        text: the file's, with a header in its first line that is not blank.
        name: of the file, in messages.

    Returns:
        One row a line, of text, with ``None`` where a cell is empty; blank lines are left out. The index is the row's
        number as an editor shows it. Decimal commas have become points.

    Raises:
        RunTableError: no header, a name that occurs twice, a row with another number of cells than the header, a
            quote that is not closed.
    """
    start = text.lstrip("\ufeff \r\n\t")
    if not start:
        raise RunTableError(f"{name}: the file is empty; a header with column names was expected")
    if start.startswith("<"):
        raise RunTableError(f"{name}: a page of HTML or XML, not a table; download the file itself")
    if re.match(r"\|.*\|[ \t]*\r?\n[ \t]*\|[-:| \t]+\|", start):
        raise RunTableError(f"{name}: a table in Markdown; save it as CSV, with commas and without the line of dashes")
    with cells_of_any_length():
        # Spreadsheets say in a first line what separates cells.
        asked = re.match(r"\s*sep=(.)[ \t]*(?=[\r\n])", text, re.IGNORECASE)
        separator = asked[1] if asked else _separator(text, name)
        if text.count(separator) + text.count("\n") > MOST_CELLS:
            raise RunTableError(f"{name}: more than {MOST_CELLS:,} cells, the most that is read; keep fewer columns")
        cells = _table(_records(text, separator, name), separator, name, bool(asked))
    if "," in text and (separator != "," or '"' in text):
        _put_points(cells)
    return cells


def _table(records: Iterator[tuple[int, list[str]]], separator: str, name: str, asked: bool) -> pd.DataFrame:
    filled = ((number, cells) for number, cells in records if any(cells))
    if asked:
        next(filled)
    below = _below_comments(filled)
    at, header = next(below, (0, []))
    if not header:
        raise RunTableError(f"{name}: the file is empty; a header with column names was expected")
    rows, numbers, width = [], [], len(header)
    for number, cells in below:
        rows.append(cells if len(cells) == width else _fitted(cells, width, separator, f"{name}: row {number}"))
        numbers.append(number)
    return _frame(header, rows, numbers, f"{name}: row {at}")


def named(header: Sequence[str], where: str) -> list[str]:
    """Names of columns, stripped; one without a name is called by its place, as pandas calls it.

    Args:
        header: cells of the header.
        where: file and row, in messages.

    Raises:
        RunTableError: two columns of one name.
    """
    names = [cell.strip() or f"Unnamed: {i}" for i, cell in enumerate(header)]
    first: dict[str, int] = {}
    for place, name in enumerate(names, 1):
        if name in first:
            raise RunTableError(
                f"{where}: columns {first[name]} and {place} are both called {shown(name)}; rename or remove one"
            )
        first[name] = place
    return names


def _separator(text: str, name: str) -> str:
    """The separator under which rows have as many cells as the header; the most columns if several do."""
    head = text[:4_000_000]
    found: list[tuple[bool, int, int, str]] = []
    for separator in SEPARATORS:
        try:
            first = islice(_records(head, separator, name), _LOOKED_AT + 1)
            rows = [cells for _, cells in _below_comments(each for each in first if any(each[1]))]
        except RunTableError:
            continue
        if len(head) < len(text) and len(rows) > 1:
            rows = rows[:-1]  # cut in the middle
        if not rows:
            continue
        width = len(rows[0])
        if separator != "," and len(rows) > 1 and all(len(cells) == 1 for cells in rows[1:]):
            continue  # only a name in the header has it
        equal = all(len(cells) == width or (len(cells) > width and not any(cells[width:])) for cells in rows[1:])
        # A single column fits everything; it is what remains when nothing else does.
        found.append((equal and width > 1, width if equal or width > 1 else 0, -len(found), separator))
    return max(found)[3] if found else ","


def _below_comments(records: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    """Leave out lines above the header that begin with # and have fewer cells than the first that does not."""
    above: list[tuple[int, list[str]]] = []
    for record in records:
        if record[1][0].startswith("#"):
            above.append(record)
            continue
        yield from (each for each in above if len(each[1]) >= len(record[1]))
        yield record
        yield from records
        return
    yield from above


def _records(text: str, separator: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Number and stripped cells of each record. A record is a row, even where a quoted cell spans lines."""
    number = 0
    try:
        lines = io.StringIO(text, newline="")
        for number, cells in enumerate(
            csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t", strict=True), 1
        ):
            yield number, [cell.strip() for cell in cells]
    except csv.Error as error:
        what = "a quote is not closed" if "unexpected end" in str(error) else plain(error)
        raise RunTableError(f"{name}: row {number + 1}: not a CSV table ({what})") from None


def _fitted(cells: list[str], width: int, separator: str, where: str) -> list[str]:
    if len(cells) > width and not any(cells[width:]):
        return cells[:width]  # separators at the end of the line
    hint = "; decimal commas need another separator" if separator == "," and len(cells) > width else ""
    count = f"{number_of(len(cells), 'cell')}"
    raise RunTableError(f"{where} has {count} where the header has {width}: not a CSV table{hint}")


def _frame(header: list[str], rows: list[list[str]], numbers: list[int], where: str) -> pd.DataFrame:
    cells = np.empty((len(rows), len(header)), dtype=object)
    for i, row in enumerate(rows):
        cells[i] = row
    rows.clear()
    cells[cells == ""] = None
    # A comma at the end of the header alone makes a column of nothing.
    keep = [i for i, name in enumerate(header) if name or (cells[:, i] != None).any()]  # noqa: E711
    names = named([header[i] for i in keep], where)
    cells = np.asfortranarray(cells[:, keep]) if len(keep) < len(header) else np.asfortranarray(cells)
    return pd.DataFrame(cells, index=pd.Index(numbers, dtype="int64"), columns=pd.Index(names), dtype=object)


def _put_points(cells: pd.DataFrame) -> None:
    """Turn decimal commas into points, and take commas from between thousands.

    Where a column can be read both ways, the others of the file decide; and a file has one decimal mark, so that
    commas are left alone where other columns have points: there, 1,2 is a list.
    """
    columns = {i: cells.iloc[:, i].to_numpy() for i in range(cells.shape[1])}
    found = {i: meaning for i, column in columns.items() if (meaning := commas(column)) is not None}
    sure = set(found.values()) - {"either"}
    others = [column for i, column in columns.items() if i not in found]
    if "decimal" in sure and any(decimal_points(column) for column in others):
        found = {i: meaning for i, meaning in found.items() if meaning != "decimal"}
        sure.discard("decimal")
    for i, meaning in found.items():
        if meaning != "either":
            cells.isetitem(i, without_commas(columns[i], meaning))
        elif len(sure) == 1:
            cells.isetitem(i, without_commas(columns[i], next(iter(sure))))
    if sure == {"decimal"}:
        # Where a comma is the decimal mark, a point groups digits.
        for i in set(columns) - set(found):
            if points_group(columns[i]):
                cells.isetitem(i, without_commas(columns[i], "decimal"))
