"""Reading a run table: a file in; renamed, filtered, checked numbers out, or one sentence on what is wrong."""

import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from moelaws.quote import listed, plain
from moelaws.runs.budgets import ScatteredFlops, grouped
from moelaws.runs.derive import BUDGET, derivable, derive
from moelaws.runs.error import RunTableError, RunTableWarning
from moelaws.runs.numbers import as_numbers
from moelaws.runs.reading.agreement import ask_units, disagreements
from moelaws.runs.reading.cells import decoded, read_cells
from moelaws.runs.reading.check import checked
from moelaws.runs.reading.condition import ConditionError
from moelaws.runs.reading.parquet import read_parquet
from moelaws.runs.reading.records import looks_like_records, read_records
from moelaws.runs.reading.rename import rename_columns
from moelaws.runs.reading.source import read_source
from moelaws.runs.reading.status import ended_well, unread_status
from moelaws.runs.reading.where import rows_where

WRITTEN = "moelaws_derived"
"""The column by which a table that ``save_runs`` wrote is known; it says what was derived."""

_JSON = {".json", ".jsonl", ".ndjson"}


@dataclass(frozen=True)
class Loaded:
    """A run table, ready for use.

    Attributes:
        runs: the rows that were asked for, with the columns of the file.
        aliases: the file's name -> the book's, of columns that were renamed.
        notes: what is to be known about it, a sentence each.
        earlier: what was derived when ``save_runs`` wrote the file; empty for any other.
    """

    runs: pd.DataFrame
    aliases: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    earlier: str = ""

    def where(self, condition: str) -> pd.Series:
        """Which rows meet a condition, in the book's names for columns or the file's."""
        return rows_where(self.runs, condition, self.aliases)

    def derived(self) -> tuple[pd.DataFrame, dict[str, str]]:
        """The rows with the columns that others determine, and the formula of each of these."""
        return derive(self.runs)


def load_runs(
    path: str | Path,
    rename: Mapping[str, str] | None = None,
    where: str | None = None,
    required: Iterable[str] = ("loss",),
    any_sign: Collection[str] = (),
) -> Loaded:
    """Read, rename, filter, check: the one way from a file to runs.

    Args:
        path: a table with a header, CSV of any separator, JSON lines or Parquet; it may be compressed.
        rename: the book's column name -> the file's, or ``NAME * FACTOR`` where the file counts in another unit.
        where: a condition on the rows to keep; the others are not looked at.
        required: columns that must be there, or follow from others.
        any_sign: columns in which a number below zero is none to refuse.

    Returns:
        The runs, none if no row meets the condition. The index is the row's number in the file, as an editor shows it
        (the header is row 1).

    Raises:
        RunTableError: no such file, not a table, no rows, a missing column, a cell of a finished run that is not what
            its column holds, a number in a unit that cannot be meant, an exactly repeated row or run_id.
        ConditionError: a condition that cannot be read.
    """
    return load_cells(read_table(path), plain(Path(path).name or str(path)), rename, where, required, any_sign)


def load_cells(
    cells: pd.DataFrame,
    name: str,
    rename: Mapping[str, str] | None = None,
    where: str | None = None,
    required: Iterable[str] = ("loss",),
    any_sign: Collection[str] = (),
) -> Loaded:
    """The same of cells that were read already.

    Args:
        cells: a table, of text with ``None`` where a cell is empty, or of numbers.
        name: of the file, in messages.
        rename, where, required, any_sign: as in ``load_runs``, which says what is returned and raised.
    """
    renamed = rename_columns(cells, rename or {}, name)
    cells, required = renamed.cells, tuple(required)
    if where:
        try:
            cells = cells[rows_where(cells, where, renamed.aliases).to_numpy()]
        except ConditionError as error:
            raise ConditionError(f"{name}: {error}") from None
    _require(cells, required, name)
    if renamed.cells.empty:
        raise RunTableError(f"{name}: the table has a header but no rows")
    other = plain(unread_status(cells), 40)
    try:
        runs = checked(cells, required, any_sign)
    except RunTableError as error:
        hint = f" (the column {other!r} says which runs did not finish: status={other})" if other else ""
        raise RunTableError(f"{name}: {error}{hint}") from None
    try:
        done = finished(runs)
        ask_units(done, renamed.aliases, renamed.vouched)
        notes = disagreements(done)
    except RunTableError as error:
        raise RunTableError(f"{name}: {error}") from None
    if other:
        notes.append(
            f"runs that did not finish, as the column {other!r} says, count like others: status={other} if not"
        )
    earlier = ""
    if WRITTEN in runs.columns:
        earlier = plain(next(iter(runs[WRITTEN].dropna()), ""), 1000)
        runs = runs.drop(columns=WRITTEN)
    return Loaded(runs, renamed.aliases, tuple(notes), earlier)


def read_runs(
    path: str | Path,
    rename: Mapping[str, str] | None = None,
    required: Iterable[str] = ("loss",),
    where: str | None = None,
) -> pd.DataFrame:
    """Read and check a run table whose columns are named; ``moelaws.read_runs`` also finds names that people give.

    Columns that the schema knows are checked and turned into numbers; other columns are kept as they are,
    as numbers where every cell is one. Rows of runs that did not finish keep empty results.

    Args:
        path: as in ``load_runs``.
        rename: the book's column name -> the file's, for files that use other names.
        required: columns that must be there; those that others determine are derived, and a warning says so.
        where: a condition on the rows to keep.

    Returns:
        One row a run. The index is the row's number in the file, as an editor shows it (the header is row 1).

    Raises:
        RunTableError, ConditionError: as ``load_runs``.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("tokens;N;val/loss", "2e9;1e8;3,21", "4e9;1e8;3,05", sep=chr(10), file=file, flush=True)
        ...     runs = read_runs(file.name, rename={"loss": "val/loss", "total_params": "N"})
        >>> runs["loss"].tolist(), runs.index.tolist()
        ([3.21, 3.05], [2, 3])
    """
    required = tuple(required)
    return with_required(load_runs(path, rename, where, required), required, plain(Path(path).name))


def with_required(loaded: Loaded, required: Iterable[str], name: str) -> pd.DataFrame:
    """The runs that were read, with required columns that others determine; warnings with the file's name say it."""
    runs, derived = derive(loaded.runs, [column for column in required if column not in loaded.runs.columns])
    for said in (*loaded.notes, *told(derived)):
        warnings.warn(f"{name}: {said}", RunTableWarning, stacklevel=3)
    return runs


def told(derived: Mapping[str, str]) -> list[str]:
    """What was derived, a sentence each."""
    return [f"{name}: not in the file, derived as {formula}" for name, formula in derived.items()]


def finished(runs: pd.DataFrame) -> pd.DataFrame:
    """Rows of runs that ended well; every row of a table without a ``status`` column.

    Raises:
        RunTableError: a word for the status that says too little.

    Examples:
        >>> len(finished(pd.DataFrame({"loss": [3.2, None], "status": ["finished", "diverged"]})))
        1
    """
    if "status" not in runs.columns:
        return runs
    return runs[ended_well(runs["status"], runs["loss"] if "loss" in runs.columns else None)]


def read_table(path: str | Path) -> pd.DataFrame:
    """The cells of any table file, by its content; nothing is checked.

    Args:
        path: a file.

    Returns:
        One row a row, of text with ``None`` where a cell is empty; of numbers where the file holds numbers.

    Raises:
        RunTableError: not a table.
    """
    name = plain(Path(path).name or str(path))
    data = read_source(path)
    if data.startswith(b"PAR1"):
        return read_parquet(data, name)
    if ".parquet" in Path(path).suffixes:
        raise RunTableError(f"{name}: not a Parquet table, although its name says so")
    text = decoded(data, name)
    as_json = looks_like_records(text) or (text.strip() and _JSON & {suffix.lower() for suffix in Path(path).suffixes})
    return read_records(text, name) if as_json else read_cells(text, name)


def _require(cells: pd.DataFrame, required: Collection[str], name: str) -> None:
    absent = [column for column in required if column not in cells.columns]
    if not absent:
        return
    follows = derive(cells, absent)[1]
    for column in absent:
        if column not in follows:
            one = f"; it may have another separator than {', '.join(map(repr, ',;|'))} or a tab"
            only = str(cells.columns[0]) if len(cells.columns) == 1 else ""
            why = _no_budgets(cells) if column == BUDGET else ""
            raise RunTableError(
                f"{name}: no column {column!r}; the file has {listed(cells.columns, column)}"
                f"{one if len(only.split()) > 2 else ''}{why} (--map {column}=NAME says which one it is)"
            )


def _no_budgets(cells: pd.DataFrame) -> str:
    """Why the training FLOPs tell no budgets, where there are any."""
    flops = as_numbers(cells["train_flops"].to_numpy()) if "train_flops" in cells.columns else None
    try:
        if flops is None:
            flops = derivable(cells, "train_flops")
        if flops is not None:
            grouped(flops)
    except ScatteredFlops as error:
        return f"; {error}"
    return ""


__all__ = [
    "Loaded", "RunTableError", "RunTableWarning", "finished", "load_cells", "load_runs", "read_runs", "read_table",
    "told",
]  # fmt: skip
