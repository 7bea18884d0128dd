"""Rows as lines of a CSV file and lines as cells, one row a line, however long a cell is."""

import csv
import io
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_limit = threading.Lock()


def row_line(values: Iterable[Any]) -> bytes:
    """A row as a line of the file: numbers with every digit, nothing for ``None``."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([cell(value) for value in values])
    return line.getvalue().encode()


def cell(value: Any) -> str:
    """A value as it stands in the file."""
    if value is None:
        return ""
    # One row is one line, or a torn last line could not be told from a whole one.
    return repr(float(value)) if isinstance(value, float) else " ".join(str(value).replace("\0", " ").splitlines())


def split_cells(lines: Iterable[str]) -> list[list[str]]:
    """The cells of lines that are a row each, however long.

    Raises:
        csv.Error: a line is no row: quotes that do not close, a line end in its middle.
    """
    with cells_of_any_length():
        return [next(csv.reader([line], strict=True)) for line in lines]


@contextmanager
def cells_of_any_length() -> Iterator[None]:
    """The csv module refuses cells over 131,072 characters, which the loads of many experts have.

    Its limit is one for the whole process, so it is raised for the moment and by one thread at a time.
    """
    with _limit:
        before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
        try:
            yield
        finally:
            csv.field_size_limit(before)
