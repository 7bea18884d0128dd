"""Writing a run table: append-only, one writer, every row on the disk before the next run is counted as done."""

import csv
import io
import os
import socket
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
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
            self._done = self.values("run_id") if "run_id" in self.columns else set()
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
        if self._lock.closed:
            raise RunTableError(f"{self.path.name}: the table is closed")
        unknown = sorted(set(row) - set(self.columns))
        if unknown:
            raise RunTableError(f"{self.path.name}: no column {unknown[0]!r} in the header")
        run_id = row.get("run_id")
        if run_id in self._done:
            raise RunTableError(f"{self.path.name}: run {run_id!r} has a row already")
        self._write_line([_cell(row.get(name)) for name in self.columns])
        if run_id is not None:
            self._done.add(run_id)

    def values(self, *names: str) -> set[Any]:
        """What the rows hold in a column, as text; for several columns, the tuples that occur.

        Args:
            names: columns of the header.
        """
        with self.path.open(newline="", encoding="utf-8") as file:
            rows = [tuple(row[name] for name in names) for row in csv.DictReader(file)]
        return {row[0] for row in rows} if len(names) == 1 else set(rows)

    def close(self) -> None:
        """Give the lock back."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_header(self) -> None:
        if not self.path.exists() or self.path.stat().st_size == 0:
            self._write_line(self.columns)
            _sync_folder(self.path.parent)
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
            written = 0
            try:
                while written < len(data):
                    written += file.write(data[written:])
                os.fsync(file.fileno())
            except BaseException as error:
                # An interrupt (Ctrl-C) may come when the row is whole: then it stays.
                if isinstance(error, OSError) or written < len(data):
                    file.truncate(before)
                raise


def recorded_runs(path: str | Path) -> frozenset[str]:
    """Ids of the runs that have a whole row in a table; for looking only, without the table's lock.

    Args:
        path: the CSV file; an absent one holds no runs.
    """
    path = Path(path)
    if not path.exists():
        return frozenset()
    with path.open(newline="", encoding="utf-8") as file:
        whole = (line for line in file if line.endswith("\n"))
        return frozenset(row.get("run_id") or "" for row in csv.DictReader(whole)) - {""}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    # One row is one line, or a torn last line could not be told from a whole one.
    return repr(value) if isinstance(value, float) else " ".join(str(value).splitlines())


def _sync_folder(folder: Path) -> None:
    """A new file survives a power cut when its folder has been written too."""
    if os.name != "nt":
        entry = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(entry)
        finally:
            os.close(entry)


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
    file = path.with_name(path.name + ".lock")
    lock = file.open("a+b", buffering=0)
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        holder = ""
        with suppress(OSError):  # Windows lets nobody read what is locked
            lock.seek(0)
            holder = lock.read().decode(errors="replace")
        lock.close()
        raise TableInUseError(
            f"{path.name}: another process is writing to this table"
            f"{f' ({holder})' if holder else ''}; wait for it, or write to another file"
        ) from None
    except OSError as error:
        lock.close()
        raise RunTableError(
            f"{path.name}: the file system cannot lock the table ({error.strerror}), so two writers could not be "
            "told apart; write to a local disk"
        ) from None
    # Who holds it, for the one who is refused; a full disk must not stop a table from being opened.
    with suppress(OSError):
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
    return lock
