"""Choosing rows for an analysis, with the reason kept beside the choice."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from moelaws.runs.reading.where import rows_where


@dataclass(frozen=True)
class Selection:
    """Rows kept for an analysis, and for every reason the rows that went.

    Attributes:
        runs: the rows that met every condition.
        excluded: reason -> the rows it took away. A row that fails several conditions counts for the first.
    """

    runs: pd.DataFrame
    excluded: dict[str, pd.DataFrame]

    def summary(self) -> pd.DataFrame:
        """A small table of reasons and row counts, the kept rows last."""
        counts = {reason: len(rows) for reason, rows in self.excluded.items()} | {"kept": len(self.runs)}
        return pd.DataFrame({"reason": list(counts), "runs": list(counts.values())})


def select(runs: pd.DataFrame, conditions: Mapping[str, str]) -> Selection:
    """Keep the rows that meet every condition.

    Args:
        runs: a run table.
        conditions: reason for an exclusion -> the condition that a row must meet to stay, for instance
            ``{"held out": "sparsity < 0.97"}``.

    Returns:
        The rows kept and, by reason, the rows excluded.

    Raises:
        ConditionError: a condition that cannot be read.

    Examples:
        >>> runs = pd.DataFrame({"n_experts": [1, 8, 8], "seed": [0, 0, 1]})
        >>> found = select(runs, {"a mixture": "n_experts > 1", "the first seed": "seed == 0"})
        >>> len(found.runs), {reason: len(rows) for reason, rows in found.excluded.items()}
        (1, {'a mixture': 1, 'the first seed': 1})
    """
    excluded = {}
    for reason, condition in conditions.items():
        keep = rows_where(runs, condition)
        excluded[reason] = runs[~keep]
        runs = runs[keep]
    return Selection(runs, excluded)
