"""Claims of a paper that something rises, falls, stays or lies in a range: one row of a table each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

Direction = Literal["rises", "falls", "unchanged", "within", ""]

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
    table, name = pd.read_csv(path, dtype=str, keep_default_na=False), Path(path).name
    missing = [column for column in Claim.__dataclass_fields__ if column not in table.columns]
    if missing:
        raise ValueError(f"{name}: no column {missing[0]!r}")
    claims: list[Claim] = []
    for number, row in zip(range(2, len(table) + 2), table.to_dict("records"), strict=True):
        if row["direction"] not in get_args(Direction):
            expected = ", ".join(map(repr, get_args(Direction)))
            raise ValueError(f"{name}: row {number}: direction {row['direction']!r}, expected one of {expected}")
        if row["key"] in {claim.key for claim in claims}:
            raise ValueError(f"{name}: row {number}: the key {row['key']!r} is used twice")
        try:
            low, high = float(row["low"] or "nan"), float(row["high"] or "nan")
        except ValueError as error:
            raise ValueError(f"{name}: row {number}: {error}") from None
        texts = {column: row[column] for column in ("key", "where", "statement", "quantity", "direction", "note")}
        claims.append(Claim(**texts, low=low, high=high))
    return claims
