"""Writing a run table: append-only, one writer, every row on the disk before the next run is counted as done."""

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from moelaws.files import signature, sync_folder
from moelaws.quote import shown
from moelaws.runs.lines import cell, row_line
from moelaws.runs.reading.read import RunTableError
from moelaws.runs.schema import COLUMNS
from moelaws.runs.writing.lock import TableInUseError, TableLock
from moelaws.runs.writing.recorded import first_cell, header_line, key_of, read_recorded, read_rows
from moelaws.runs.writing.recorded import recorded_runs as recorded_runs
from moelaws.runs.writing.rescue import TableChangedError as TableChangedError
from moelaws.runs.writing.rescue import bytes_there, save_beside


class RunTable:
    """A run table open for appending; a context manager.

    Opening looks whose file it is, takes the table's lock and mends a last line that a crash left unfinished, and
    says so: a row that was cut short is cut off, and its run will be run again. The lock goes with the process that
    holds it, however it ends.

    Before every row the file is looked at. One that was deleted or shortened meanwhile is made whole again; one that
    was changed otherwise is left alone, and all rows go to a file beside it.

    Attributes:
        path: the CSV file.
        columns: its header.
    """

    def __init__(
        self,
        path: str | Path,
        columns: Iterable[str] = tuple(COLUMNS),
        on_event: Callable[[str], None] | None = None,
    ) -> None:
        """Open a table, or make it.

        Args:
            path: the CSV file; absent, empty, or a table of ours with this very header.
            columns: the header.
            on_event: told in one sentence what was mended; a warning by default.

        Raises:
            RunTableError: another file, or a table with a damaged row; nothing is touched.
            TableInUseError: another process writes to it.
            OSError: it cannot be read or written.
        """
        self.path = Path(path)
        self.columns = list(columns)
        self._tell = on_event or _warn
        # Through links: two names of one table must not have two locks.
        self._place = Path(os.path.realpath(self.path))
        read_recorded(self.path, self.columns)  # before anything is made beside a file of somebody's
        self._place.parent.mkdir(parents=True, exist_ok=True)
        self._lock = TableLock(self._place)
        self._data = b""
        self._keys: set[tuple[str, ...]] = set()
        self._made = not self._place.exists()
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    @property
    def done(self) -> frozenset[str]:
        """Ids of the runs that have a row, whatever its status."""
        return frozenset(key[0] for key in self._keys)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row and wait until it is on the disk.

        Args:
            row: column -> value; a missing column is left empty.

        Raises:
            RunTableError: an unknown column, or a run_id that has a row already; nothing is written.
            TableChangedError: another program changed the file; the rows are in another one, which is named.
            TableInUseError: the lock was deleted, and another process writes to the table now.
            OSError: the disk is full or gone; what was half written is cut off again.
        """
        self.append_all([row])

    def append_all(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write several rows in one go; see ``append``."""
        if self._lock.closed:
            raise RunTableError(f"{self.path.name}: the table is closed")
        keys: set[tuple[str, ...]] = set()
        for row in rows:
            keys.add(self._key(row, keys))
        lines = b"".join(row_line(row.get(name) for name in self.columns) for row in rows)
        there = self._catch_up(lines)
        self._fill(self._data + lines, there, keys)

    def values(self, *names: str) -> set[Any]:
        """What the rows hold in a column, as text; for several columns, the tuples that occur.

        Args:
            names: columns of the header.
        """
        places = [self.columns.index(name) for name in names]
        rows = {tuple(cells[i] for i in places) for _, cells in read_rows(self._data, self.columns, self.path.name)}
        return {row[0] for row in rows} if len(names) == 1 else rows

    def close(self) -> None:
        """Give the lock back."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What was refused leaves no table without a row behind.
        if isinstance(error, ValueError) and self._made and not self._keys:
            with suppress(OSError):
                if signature(os.stat(self._place)) == self._left:
                    os.unlink(self._place)
        self.close()

    def _open(self) -> None:
        """Read what is there, now that nobody else writes, and mend its end."""
        found = read_recorded(self.path, self.columns)
        self._data = found.data
        key = [self.columns.index(name) for name in key_of(self.columns)]
        for _, cells in read_rows(found.data, self.columns, self.path.name):
            self._keys.add(tuple(cells[i] for i in key))
        if not found.data:
            header = header_line(self.columns)
            if found.torn:
                self._tell(f"{self.path.name}: line 1 was cut short by a crash; the header is written to its end")
            self._fill(header, len(found.torn), set(), new=not self._place.exists())
            return
        line = found.data.count(b"\n") + 1
        if found.torn_is_row:
            self._tell(f"{self.path.name}: line {line} lacked its line end only; it is a whole row and stays")
            _, cells = next(read_rows(b"\n" + found.torn, self.columns, self.path.name))
            whole = found.data + found.torn + b"\n"
            self._fill(whole, len(whole) - 1, {tuple(cells[i] for i in key)})
            return
        if found.torn:
            run = f"run {shown(first_cell(found.torn), 20)}" if first_cell(found.torn) else "its run"
            self._tell(
                f"{self.path.name}: line {line} was cut short by a crash; it is removed and {run} will be run again"
            )
        # Opened in any case: that the file is write-protected is found out now, not after the first run.
        with self._place.open("r+b") as file:
            if found.torn:
                file.truncate(len(found.data))
                os.fsync(file.fileno())
            self._left = signature(os.fstat(file.fileno()))

    def _key(self, row: Mapping[str, Any], others: set[tuple[str, ...]]) -> tuple[str, ...]:
        unknown = sorted(set(row) - set(self.columns))
        if unknown:
            raise RunTableError(f"{self.path.name}: no column {unknown[0]!r} in the header")
        key = tuple(cell(row.get(name)) for name in key_of(self.columns))
        if not all(key):
            raise RunTableError(f"{self.path.name}: a row needs {' and '.join(key_of(self.columns))}")
        if key and (key in self._keys or key in others):
            raise RunTableError(f"{self.path.name}: run {', '.join(map(repr, key))} has a row already")
        return key

    def _catch_up(self, lines: bytes) -> int:
        """See to it that nobody else writes, and that the file is as it was left or the beginning of that.

        Args:
            lines: what is to be written next; saved with all the rest if it cannot be.

        Returns:
            How many bytes are there.
        """
        name = self.path.name
        self._place.parent.mkdir(parents=True, exist_ok=True)
        try:
            if self._lock.keep():
                self._tell(f"{name}: the table's lock was deleted while it was written to; it is locked again")
        except TableInUseError as error:
            saved = save_beside(self._place, self._data + lines, self._left.mode)
            raise TableInUseError(f"{error}; all rows of this one are in {saved.name}") from None
        return bytes_there(self._place, self._left, self._data, lines, self._tell)

    def _fill(self, whole: bytes, there: int, keys: set[tuple[str, ...]], new: bool = False) -> None:
        """Write what the file lacks of its whole content, and remember it when it is on the disk.

        Args:
            whole: the content from the header on.
            there: how many bytes of it are there.
            keys: of the rows that come.
            new: whether there is no file yet.
        """
        rest, written = whole[there:], 0
        with self._place.open("xb" if new else "r+b", buffering=0) as file:
            file.seek(there)
            try:
                while written < len(rest):
                    written += file.write(rest[written:])
                os.fsync(file.fileno())
            except BaseException as error:
                # An interrupt (Ctrl-C) may come when the row is whole: then it stays.
                if isinstance(error, OSError) or written < len(rest):
                    file.truncate(there)
                else:
                    self._took(whole, keys, file)
                raise
            self._took(whole, keys, file)
        if new:
            sync_folder(self._place.parent)

    def _took(self, whole: bytes, keys: set[tuple[str, ...]], file: IO[bytes]) -> None:
        self._data = whole
        self._keys |= keys
        self._left = signature(os.fstat(file.fileno()))


def _warn(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=5)
