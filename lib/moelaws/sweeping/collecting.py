"""Results of runs as they come, into a table: one run's error does not take the others with it."""

import concurrent.futures as futures
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from moelaws.files import EXHAUSTED
from moelaws.quote import number_of
from moelaws.runs import RunTable, RunTableError, TableInUseError
from moelaws.runs.schema import COLUMNS
from moelaws.sweeping.executors import WorkersError

R = TypeVar("R")


@dataclass(frozen=True)
class Collecting:
    """What is collected, and how it says that something went wrong.

    Attributes:
        what: ``sweep`` or ``probing``.
        error: what is raised when it ends before its last run.
        nothing: said where the table cannot be opened, such as ``nothing was run``.
        failed: said of runs that ended in an error, such as ``ended in an error``.
        again: what of it is safe, and how it goes on.
    """

    what: str
    error: type[RuntimeError]
    nothing: str
    failed: str
    again: str

    def open(
        self, table: str | Path, on_event: Callable[[str], None] | None, columns: Iterable[str] = tuple(COLUMNS)
    ) -> RunTable:
        """Open the table to append to.

        Raises:
            RunTableError: another file, a damaged table, or a name that nothing can be written under.
            RuntimeError: of the kind ``error``: the machine is out of what it takes, such as room on the disk.
        """
        try:
            return RunTable(table, columns, on_event)
        except OSError as error:
            why = f"{table}: {error.strerror or error}; {self.nothing}"
            # What a machine runs out of is no fault of the name that was given.
            raise self.error(why) if error.errno in EXHAUSTED else RunTableError(why) from None

    def append(self, out: RunTable, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows; what keeps them from the table ends the whole, as ``error``."""
        try:
            out.append_all(rows)
        except OSError as error:
            raise self.error(f"{out.path}: {error.strerror or error}; {self.again}") from None
        except (RunTableError, TableInUseError) as error:
            raise self.error(str(error)) from None

    def collect(
        self,
        pending: Mapping["futures.Future[R]", str],
        record: Callable[["futures.Future[R]", R], None],
        tell: Callable[[str], None],
    ) -> None:
        """Take the results as they come.

        Args:
            pending: submitted call -> id of its run.
            record: given each call that went well, and its result, in the order they end.
            tell: told in one sentence of each run that ended in an error.

        Raises:
            WorkersError: no worker can do anything, and why; what is still pending is cancelled, as with every end.
            RuntimeError: of the kind ``error``: the workers are gone; or, after the last result, runs failed.
        """
        failures: list[str] = []
        try:
            for future in futures.as_completed(pending):
                try:
                    result = future.result()
                except WorkersError:
                    raise
                except futures.CancelledError:
                    raise self.error(f"the workers are gone; {self.again}") from None
                except Exception as error:
                    failures.append(f"run {pending[future]}: {type(error).__name__}: {error}")
                    tell(f"{failures[-1]}; the {self.what} goes on without it")
                    continue
                record(future, result)
        finally:
            for future in pending:
                future.cancel()
        if failures:
            raise self.error(f"{number_of(len(failures), 'run')} {self.failed}, the first: {failures[0]}; {self.again}")
