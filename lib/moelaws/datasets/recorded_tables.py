"""A recorded table by its name: from the wheel, into which they are packed, or from the clone that records them."""

from pathlib import Path

import pandas as pd

from moelaws.quote import listed, shown
from moelaws.runs import read_runs

_PACKED = Path(__file__).parent / "tables"
_RECORDED = Path(__file__).parents[3] / "data" / "runs"


class DatasetError(ValueError):
    """There is no such table; the message says which there are."""


def names() -> tuple[str, ...]:
    """The tables that come with this package, by name."""
    return tuple(sorted(path.stem for path in _folder().glob("*.csv")))


def place(name: str) -> Path:
    """The file of a recorded table.

    Args:
        name: one of ``names()``.

    Raises:
        DatasetError: no such table.
    """
    if name not in names():
        found = listed(names(), name) if names() else "none: this installation came without its tables"
        raise DatasetError(f"no recorded table {shown(name)}; there are {found}")
    return _folder() / f"{name}.csv"


def load(name: str | Path) -> pd.DataFrame:
    """A recorded table, or any run table by its path: checked, its numbers as numbers.

    Args:
        name: one of ``names()``, or the path of a file (a ``Path``, or text with a suffix or a folder in it).

    Returns:
        One row a run; the index is the row's number in the file.

    Raises:
        DatasetError: no table of that name.
        RunTableError: a file that is no run table.

    Examples:
        >>> import moelaws as ml
        >>> runs = ml.datasets.load("isoflop")
        >>> len(runs), sorted(runs["n_experts"].unique().tolist())
        (332, [1, 2, 4, 8, 16, 32, 64])
    """
    if isinstance(name, Path) or Path(name).suffix or len(Path(name).parts) > 1:
        return read_runs(name)
    return read_runs(place(name))


def _folder() -> Path:
    return _PACKED if _PACKED.is_dir() else _RECORDED
