"""Claims of papers, one row of a table each: that something rises, falls, stays or lies in a range."""

from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

Direction = Literal["rises", "falls", "unchanged", "within", ""]

Place = Literal["in", "across", "beside"]

_SIGNS = {"rises": 1, "falls": -1}


@dataclass(frozen=True)
class Claim:
    """One printed claim.

    Attributes:
        key: its name here.
        where: section or figure of the paper.
        statement: the claim, in our words.
        quantity: what is computed for it; empty if nothing can be.
        low, high: ends of the claimed range, equal for a single number; for ``unchanged``, of the changes too small to
            be seen in a figure.
        note: what a reader must know, or why nothing can be computed.
        direction: what is claimed of the quantity: that it ``rises`` or ``falls``, is ``unchanged``, or lies ``within``
            a range.
        tolerance: how far the ends of the range may be missed, as a share of them: for roundings, and for what
            agreement with a surrogate can mean. Zero for claims that are a yes or a no.
        base_experts: E of what it is compared with; 0 for none.
        experts: the numbers of experts it is about.
        budgets: training budgets at which it is recomputed, FLOPs.
        placebo: what its rule is asked of besides, where the claim has nothing to say; see ``verdicts.placebo``.
        name: a few words for it, where a page lists or draws claims.
        about: of what a word says nothing that a placebo gets too.
    """

    key: str
    where: str
    statement: str
    quantity: str
    low: float
    high: float
    note: str
    direction: Direction = "within"
    tolerance: float = 0.0
    base_experts: int = 0
    experts: tuple[int, ...] = ()
    budgets: tuple[float, ...] = ()
    placebo: str = ""
    name: str = ""
    about: str = "sparsity"

    @property
    def words(self) -> str:
        """What a page calls it: its name, or the whole statement; never its key."""
        return self.name or self.statement

    @property
    def sign(self) -> int:
        """+1 for a claim that something rises, -1 that it falls, 0 otherwise."""
        return _SIGNS.get(self.direction, 0)

    def place(self, low: float, high: float) -> Place:
        """Where an interval or a range lies with respect to the claimed one, its tolerance included."""
        # An end may be infinite: of that no share is taken.
        slack = [self.tolerance * abs(end) if self.tolerance else 0.0 for end in (self.low, self.high)]
        return place(low, high, self.low - slack[0], self.high + slack[1])


def place(low: float, high: float, least: float, most: float) -> Place:
    """Where an interval lies with respect to a range: ``in`` it, ``across`` one of its ends, or ``beside`` it.

    Args:
        low, high: ends of the interval.
        least, most: ends of the range; they belong to it.
    """
    if least <= low and high <= most:
        return "in"
    return "beside" if low > most or high < least else "across"


def read_claims(path: str | Path) -> list[Claim]:
    """Read a table of claims.

    Args:
        path: a CSV file with the columns of ``Claim``; those with a default may be missing or empty.

    Raises:
        ValueError: a missing column, a cell that is no number, an unknown direction or a key used twice, by row.
    """
    table, name = pd.read_csv(path, dtype=str, keep_default_na=False), Path(path).name
    missing = [f.name for f in fields(Claim) if f.default is MISSING and f.name not in table.columns]
    if missing:
        raise ValueError(f"{name}: no column {missing[0]!r}")
    made: dict[str, Claim] = {}
    rows: list[dict[Any, str]] = table[[f.name for f in fields(Claim) if f.name in table.columns]].to_dict("records")
    for number, row in enumerate(rows, start=2):
        if row["key"] in made:
            raise ValueError(f"{name}: row {number}: the key {row['key']!r} is used twice")
        try:
            made[row["key"]] = _claim(row)
        except ValueError as error:
            raise ValueError(f"{name}: row {number}: {error}") from None
    return list(made.values())


def _claim(row: dict[Any, str]) -> Claim:
    direction = row.get("direction", "within")
    if direction not in get_args(Direction):
        expected = ", ".join(map(repr, get_args(Direction)))
        raise ValueError(f"direction {direction!r}, expected one of {expected}")
    return Claim(
        key=row["key"],
        where=row["where"],
        statement=row["statement"],
        quantity=row["quantity"],
        low=float(row["low"] or np.nan),
        high=float(row["high"] or np.nan),
        note=row["note"],
        direction=direction,  # type: ignore[arg-type]
        tolerance=float(row.get("tolerance") or 0),
        base_experts=int(row.get("base_experts") or 0),
        experts=tuple(int(e) for e in row.get("experts", "").split()),
        budgets=tuple(float(c) for c in row.get("budgets", "").split()),
        placebo=row.get("placebo", ""),
        name=row.get("name", ""),
        about=row.get("about") or "sparsity",
    )
