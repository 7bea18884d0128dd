"""Claims of a paper that something rises, falls, stays or lies in a range: one row of a table each."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import pandas as pd

Direction = Literal["rises", "falls", "unchanged", "within", ""]

T = TypeVar("T")

_SIGNS = {"rises": 1, "falls": -1}


@dataclass(frozen=True)
class Claim:
    """One printed claim.

    Attributes:
        key: its name here.
        where: section or figure of the paper.
        statement: the claim, in our words.
        quantity: what is computed for it; empty if nothing can be.
        direction: what is claimed of the quantity: that it ``rises`` or ``falls``, is ``unchanged``, or lies ``within``
            a range.
        low, high: ends of that range; for ``unchanged``, of the changes too small to be seen in a figure.
        note: what a reader must know, or why nothing can be computed.
    """

    key: str
    where: str
    statement: str
    quantity: str
    direction: Direction
    low: float
    high: float
    note: str

    @property
    def sign(self) -> int:
        """+1 for a claim that something rises, -1 that it falls, 0 otherwise."""
        return _SIGNS.get(self.direction, 0)


def read_claims(path: str | Path) -> list[Claim]:
    """Read a table of claims.

    Args:
        path: a CSV file with the columns of ``Claim``.

    Raises:
        ValueError: a missing column, a cell that is no number, an unknown direction or a key used twice, by row.
    """

    def claim(row: dict[str, str]) -> Claim:
        if row["direction"] not in get_args(Direction):
            expected = ", ".join(map(repr, get_args(Direction)))
            raise ValueError(f"direction {row['direction']!r}, expected one of {expected}")
        return Claim(**row | {end: float(row[end] or "nan") for end in ("low", "high")})  # type: ignore[arg-type]

    return read_rows(path, Claim, claim)


def read_rows(path: str | Path, kind: type[T], make: Callable[[dict[str, str]], T]) -> list[T]:
    """Read a table of claims of some kind.

    Args:
        path: a CSV file.
        kind: a data class; its fields are the columns, ``key`` among them.
        make: makes one from the cells of a row, which are text; raises ``ValueError`` on a cell that it cannot use.

    Raises:
        ValueError: a missing column; a cell that cannot be used or a key used twice, by row.
    """
    table, name = pd.read_csv(path, dtype=str, keep_default_na=False), Path(path).name
    columns = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{name}: no column {missing[0]!r}")
    made: dict[str, T] = {}
    rows: list[dict[Any, str]] = table[columns].to_dict("records")
    for number, row in enumerate(rows, start=2):
        if row["key"] in made:
            raise ValueError(f"{name}: row {number}: the key {row['key']!r} is used twice")
        try:
            made[row["key"]] = make(row)
        except ValueError as error:
            raise ValueError(f"{name}: row {number}: {error}") from None
    return list(made.values())
