"""Writing a run table: append-only, one writer, every row on the disk before the next run is counted as done."""

import csv
import io
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from moelaws.runs.read import RunTableError
from moelaws.runs.schema import COLUMNS


class TableInUseError(RuntimeError):
    """Another process is writing to the table."""


class RunTable:
    """A run table open for appending; a context manager.

    Opening takes the table's lock, checks the header and cuts off a last line that a crash left unfinished, with
    a warning: that run will be run again. The lock goes with the process that holds it, however it ends.

    Attributes:
        path: the CSV file.
        columns: its header.
    """

    def __init__(self, path: str | Path, columns: Iterable[str] = tuple(COLUMNS)) -> None:
        self.path = Path(path)
        self.columns = list(columns)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _take_lock(self.path)
        try:
            _repair(self.path)
            self._check_header()
            self._done = {row["run_id"] for row in self._rows()} if "run_id" in self.columns else set()
        except BaseException:
            self.close()
            raise

    @property
    def done(self) -> frozenset[str]:
        """Ids of the runs that have a row, whatever its status."""
        return frozenset(self._done)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row and wait until it is on the disk.

        Args:
            row: column -> value; a missing column is left empty.

        Raises:
            RunTableError: an unknown column, or a run_id that has a row already; nothing is written.
            OSError: the disk is full or gone; what was half written is cut off again.
        """
        unknown = sorted(set(row) - set(self.columns))
        if unknown:
            raise RunTableError(f"{self.path.name}: no column {unknown[0]!r} in the header")
        run_id = row.get("run_id")
        if run_id in self._done:
            raise RunTableError(f"{self.path.name}: run {run_id!r} has a row already")
        self._write_line([_cell(row.get(name)) for name in self.columns])
        if run_id is not None:
            self._done.add(run_id)

    def close(self) -> None:
        """Give the lock back."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rows(self) -> Iterable[dict[str, str]]:
        with self.path.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)

    def _check_header(self) -> None:
        if not self.path.exists() or self.path.stat().st_size == 0:
            self._write_line(self.columns)
            return
        with self.path.open(newline="", encoding="utf-8") as file:
            header = next(csv.reader(file))
        if header != self.columns:
            differing = sorted(set(header) ^ set(self.columns)) or ["the order"]
            raise RunTableError(
                f"{self.path.name}: its header differs from this version's in {', '.join(differing)}; "
                "write to a new file"
            )

    def _write_line(self, cells: list[str]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        with self.path.open("ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            data = line.getvalue().encode()
            try:
                written = 0
                while written < len(data):
                    written += file.write(data[written:])
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)
                raise


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def _repair(path: Path) -> None:
    """Cut off a last line without its line end: the process died while writing it."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        text = file.read()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            line = text.count(b"\n") + 1
            warnings.warn(
                f"{path.name}: line {line} was cut short by a crash; it is removed and its run will be run again",
                stacklevel=4,
            )
            file.truncate(whole)
            os.fsync(file.fileno())


def _take_lock(path: Path) -> IO[bytes]:
    # A lock of the operating system, not a marker file: it cannot be left behind by a killed process.
    lock = path.with_name(path.name + ".lock").open("ab")
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise TableInUseError(
            f"{path.name}: another process is writing to this table; wait for it, or write to another file"
        ) from None
    return lock
