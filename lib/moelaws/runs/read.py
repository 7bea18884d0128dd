"""Reading a run table: CSV or Parquet in, checked numbers out, or one sentence that names row and column."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from moelaws.runs.schema import COLUMNS, Column


class RunTableError(ValueError):
    """A run table cannot be used; the message names file, row and column."""


def read_runs(
    path: str | Path, rename: Mapping[str, str] | None = None, required: Iterable[str] = ("loss",)
) -> pd.DataFrame:
    """Read and check a run table.

    Columns that the schema knows are checked and turned into numbers; other columns are kept as they are,
    as numbers where every cell is one. Rows of runs that did not finish keep empty results.

    Args:
        path: a ``.csv``, ``.csv.gz`` or ``.parquet`` file with a header.
        rename: the book's column name -> the file's, for files that use other names.
        required: columns that must be there.

    Returns:
        One row a run. The index is the row's number in the file, as an editor shows it (the header is row 1).

    Raises:
        RunTableError: no such file, not a table, no rows, a missing column, a cell that is not what its column
            holds, an exactly repeated row or run_id.
    """
    path = Path(path)
    cells = _read_cells(path)
    if rename:
        cells = _rename(cells, rename, path)
    missing = [name for name in required if name not in cells.columns]
    if missing:
        raise RunTableError(
            f"{path.name}: no column {missing[0]!r}; the file has {', '.join(map(repr, cells.columns))}"
        )
    if cells.empty:
        raise RunTableError(f"{path.name}: the table has a header but no rows")
    _refuse_repeats(cells, path)
    unfinished = _unfinished(cells)
    table = pd.DataFrame(index=cells.index)
    for name in cells.columns:
        column = COLUMNS.get(str(name))
        if column is None:
            table[name] = _numbers_if_all(cells[name])
        elif column.kind == "text":
            table[name] = cells[name].fillna("").astype(str)
        else:
            table[name] = _checked(cells[name], column, unfinished, path)
    return table


def finished(runs: pd.DataFrame) -> pd.DataFrame:
    """Rows of runs that ended well; every row of a table without a ``status`` column."""
    return runs[~_unfinished(runs)]


def _read_cells(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise RunTableError(f"{path}: no such file")
    if path.suffix == ".parquet":
        try:
            cells = pd.read_parquet(path)
        except ImportError:
            raise RunTableError(f"{path.name}: reading Parquet needs pyarrow: pip install 'moelaws[parquet]'") from None
        except (OSError, ValueError) as error:
            raise RunTableError(f"{path.name}: not a Parquet table ({error})") from None
        cells.index = pd.RangeIndex(1, len(cells) + 1)
        return cells
    try:
        # Text first: a stray word in a number column must be found at its row, not turn the column to text.
        cells = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], skip_blank_lines=False)
    except UnicodeDecodeError as error:
        raise RunTableError(f"{path.name}: not UTF-8 text at byte {error.start}") from None
    except pd.errors.EmptyDataError:
        raise RunTableError(f"{path.name}: the file is empty; a header with column names was expected") from None
    except pd.errors.ParserError as error:
        raise RunTableError(f"{path.name}: not a CSV table ({str(error).strip()})") from None
    cells.index = pd.RangeIndex(2, len(cells) + 2)
    return cells[~cells.isna().all(axis=1)]


def _rename(cells: pd.DataFrame, rename: Mapping[str, str], path: Path) -> pd.DataFrame:
    for ours, theirs in rename.items():
        if theirs not in cells.columns:
            raise RunTableError(
                f"{path.name}: no column {theirs!r} to use as {ours!r}; "
                f"the file has {', '.join(map(repr, cells.columns))}"
            )
    # A column that already bears our name gives way to the one the reader chose.
    shadowed = [ours for ours, theirs in rename.items() if ours != theirs and ours in cells.columns]
    return cells.drop(columns=shadowed).rename(columns={theirs: ours for ours, theirs in rename.items()})


def _refuse_repeats(cells: pd.DataFrame, path: Path) -> None:
    repeated = cells.duplicated()
    if repeated.any():
        second = cells.index[repeated][0]
        same = (cells == cells.loc[second]) | (cells.isna() & cells.loc[second].isna())
        first = cells.index[same.all(axis=1)][0]
        raise RunTableError(f"{path.name}: row {second} repeats row {first} in every column")
    if "run_id" in cells.columns:
        again = cells["run_id"].notna() & cells["run_id"].duplicated()
        if again.any():
            row = cells.index[again][0]
            raise RunTableError(f"{path.name}: row {row}, column 'run_id': {cells.at[row, 'run_id']!r} occurs twice")


def _unfinished(cells: pd.DataFrame) -> pd.Series:
    if "status" not in cells.columns:
        return pd.Series(False, index=cells.index)
    status = cells["status"].fillna("")
    return ~status.isin(["finished", ""])


def _checked(cells: pd.Series, column: Column, unfinished: pd.Series, path: Path) -> pd.Series:
    empty = cells.isna() & (unfinished | column.optional)
    numbers = pd.to_numeric(cells, errors="coerce").astype(float)
    bad = ~np.isfinite(numbers) & ~empty
    if column.minimum is not None:
        low = numbers <= column.minimum if column.exclusive else numbers < column.minimum
        bad |= low & ~empty
    if column.kind == "integer":
        bad |= (numbers % 1 != 0) & ~empty
    if bad.any():
        row = cells.index[bad][0]
        shown = "nothing" if cells.isna().at[row] else repr(cells.at[row])
        raise RunTableError(
            f"{path.name}: row {row}, column {column.name!r}: found {shown}, expected {column.expected}"
        )
    if column.kind == "integer" and not empty.any():
        return numbers.astype("int64")
    return numbers


def _numbers_if_all(cells: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(cells, errors="coerce")
    return numbers if (numbers.notna() == cells.notna()).all() and cells.notna().any() else cells
