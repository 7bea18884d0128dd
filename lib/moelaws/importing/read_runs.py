"""The door to run tables: under the book's names, under somebody's own, or as another program left them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from moelaws.importing.import_runs import Asked, load
from moelaws.quote import plain
from moelaws.runs.reading.read import with_required


def read_runs(
    path: str | Path,
    rename: Mapping[str, str] | None = None,
    required: Iterable[str] = ("loss",),
    where: str | None = None,
    preset: str = "",
) -> pd.DataFrame:
    """Read and check a run table, under the book's names or somebody's own.

    Columns that the schema knows are checked and turned into numbers; other columns are kept as they are, as numbers
    where every cell is one. Where columns have other names, and ``rename`` says nothing of them, they are found by the
    names and units that people give; a warning says which was taken for which. Rows of runs that did not finish keep
    empty results.

    Args:
        path: a CSV with any separator, JSON lines or Parquet, compressed or not; or a folder of runs that another
            program kept, see ``import_runs``.
        rename: the book's column name -> the file's; it comes before what is found.
        required: columns that must be there; those that others determine are derived, and a warning says so.
        where: a condition on the rows to keep.
        preset: whose layout it is, as in ``import_runs``; by default that is found out.

    Returns:
        One row a run. The index is the row's number in the file, as an editor shows it (the header is row 1).

    Raises:
        RunTableError, ConditionError: a table that cannot be read, a column that is missing, several columns that could
            be meant, a cell that cannot be right, a condition that is none.

    Warns:
        RunTableWarning: what was taken for what, derived or noticed.

    Examples:
        >>> import tempfile, warnings
        >>> table = Path(tempfile.mkdtemp()) / "results.csv"
        >>> _ = table.write_text("tokens;N;val/loss\\n2e9;1e8;3,21\\n4e9;1e8;3,05\\n")
        >>> with warnings.catch_warnings(record=True) as said:
        ...     warnings.simplefilter("always")
        ...     runs = read_runs(table)
        >>> runs["loss"].tolist(), runs.index.tolist()
        ([3.21, 3.05], [2, 3])
        >>> print(said[0].message)
        results.csv: preset auto: loss = val/loss, total_params = N
    """
    required = tuple(required)
    loaded = load(path, Asked(preset, rename, where, required, guess=not preset))
    return with_required(loaded, required, plain(Path(path).name))
