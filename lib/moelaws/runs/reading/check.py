"""Cells against the schema: numbers where numbers belong, each within its bounds, or the first that is not."""

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from moelaws.quote import shown
from moelaws.runs.error import RunTableError
from moelaws.runs.numbers import all_numbers, as_numbers, commas, is_nothing
from moelaws.runs.reading.status import FINISHED, ended_well
from moelaws.runs.schema import COLUMNS, NEEDED, Column


def checked(cells: pd.DataFrame, required: Collection[str] = (), any_sign: Collection[str] = ()) -> pd.DataFrame:
    """Turn cells into numbers and text, and check those of finished runs.

    Args:
        cells: a table under the book's names, of text with ``None`` where a cell is empty, or of numbers.
        required: columns that every finished run must fill, beside those that laws are fitted to.
        any_sign: columns in which a number below zero is none to refuse.

    Returns:
        The same rows. Columns of the schema hold numbers or text, others numbers where every cell is one. ``status``
        holds ``finished``, or the file's own word for what is not.

    Raises:
        RunTableError: a cell that is not what its column holds, by row and column; more experts chosen than there
            are; a repeated row or run_id; a word for the status that says too little.
    """
    _refuse_repeats(cells)
    done = np.ones(len(cells), dtype=bool)
    if "status" in cells.columns:
        done = ended_well(cells["status"], cells["loss"] if "loss" in cells.columns else None)
    columns: dict[str, np.ndarray | list[str]] = {}
    for name, values in zip(map(str, cells.columns), _arrays(cells), strict=True):
        column = COLUMNS.get(name)
        if column is None:
            numbers = all_numbers(values)
            columns[name] = values if numbers is None else _whole(numbers) if _digits_only(values) else numbers
        elif name == "status":
            columns[name] = [FINISHED if d else str(word) for d, word in zip(done, values, strict=True)]
        elif column.kind == "text":
            columns[name] = ["" if empty else str(c) for c, empty in zip(values, pd.isna(values), strict=True)]
        else:
            # A column of nothing but empty cells is as good as none.
            filled = name in required or (name in NEEDED and not is_nothing(values[done]).all())
            columns[name] = _numbers(values, column, done, cells.index, filled, name in any_sign)
    _refuse_more_chosen_than_there_are(columns, done, cells.index)
    return _frame(columns, cells.index)


def _arrays(cells: pd.DataFrame) -> Sequence[np.ndarray]:
    if all(kind.kind == "O" for kind in set(cells.dtypes)):
        return list(np.asfortranarray(cells.to_numpy()).T)
    return [cells.iloc[:, place].to_numpy() for place in range(cells.shape[1])]


def _frame(columns: "dict[str, np.ndarray | list[str]]", index: pd.Index) -> pd.DataFrame:
    # Numbers in one piece: a table may have thousands of columns.
    numbers = {
        n: values for n, values in columns.items() if isinstance(values, np.ndarray) and values.dtype.kind == "f"
    }
    table = pd.DataFrame(np.column_stack([*numbers.values()]) if numbers else None, index=index, columns=[*numbers])
    # pandas chooses how to hold text; a column of nothing but empty cells stays what it is.
    others = {
        name: pd.Series(values, index=index, dtype=object if pd.isna(values).all() else None)
        for name, values in columns.items()
        if name not in numbers
    }
    return pd.concat([table, pd.DataFrame(others, index=index)], axis=1)[[*columns]]


def _refuse_repeats(cells: pd.DataFrame) -> None:
    rows: dict[int, int] = {}
    table = cells.astype(object).where(cells.notna(), None).to_numpy()
    for i, row in enumerate(table):
        earlier = rows.setdefault(hash(tuple(row)), i)
        if earlier != i and list(table[earlier]) == list(row):
            raise RunTableError(f"row {cells.index[i]} repeats row {cells.index[earlier]} in every column")
    if "run_id" in cells.columns:
        again = cells["run_id"].notna() & cells["run_id"].duplicated()
        if again.any():
            row = cells.index[again][0]
            raise RunTableError(f"row {row}, column 'run_id': {shown(cells.at[row, 'run_id'])} occurs twice")


def _numbers(
    cells: np.ndarray, column: Column, done: np.ndarray, index: pd.Index, filled: bool, any_sign: bool
) -> np.ndarray:
    numbers = as_numbers(cells)
    nothing = is_nothing(cells)
    # An empty cell is fine where nothing must stand; the words for an empty cell count as empty only there.
    bad = ~np.isfinite(numbers) & ~(nothing & (column.optional or not filled))
    with np.errstate(invalid="ignore"):
        if column.minimum is not None and not any_sign:
            bad |= numbers <= column.minimum if column.exclusive else numbers < column.minimum
        if column.below is not None:
            bad |= numbers >= column.below
        if column.kind == "integer":
            bad |= np.isfinite(numbers) & (numbers % 1 != 0)
    bad &= done
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        found = "nothing" if cells[at] is None or cells[at] != cells[at] else shown(cells[at])
        expected = "a finite number" if any_sign else column.expected
        twofold = isinstance(cells[at], str) and commas(cells[at : at + 1]) == "either"
        point, comma = (cells[at].replace(",", mark) for mark in (".", "")) if twofold else ("", "")
        hint = f"; is it {point} or {comma}?" if twofold else ""
        raise RunTableError(f"row {index[at]}, column {column.name!r}: found {found}, expected {expected}{hint}")
    numbers[~np.isfinite(numbers)] = np.nan
    return _whole(numbers) if column.kind == "integer" else numbers


def _whole(numbers: np.ndarray) -> np.ndarray:
    """Whole numbers as such, where every row has one."""
    return numbers if np.isnan(numbers).any() or (np.abs(numbers) >= 2**53).any() else numbers.astype("int64")


def _digits_only(cells: np.ndarray) -> bool:
    # 3.0 is a number that happens to be whole.
    return cells.dtype.kind in "iu" or all(isinstance(cell, str) and cell.lstrip("+-").isdigit() for cell in cells)


def _refuse_more_chosen_than_there_are(
    columns: "dict[str, np.ndarray | list[str]]", done: np.ndarray, index: pd.Index
) -> None:
    if "top_k" in columns and "n_experts" in columns:
        chosen, there = np.asarray(columns["top_k"]), np.asarray(columns["n_experts"])
        bad = (chosen > there) & done
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            raise RunTableError(
                f"row {index[at]}, column 'top_k': found {chosen[at]:g}, expected at most n_experts, which is"
                f" {there[at]:g}"
            )
