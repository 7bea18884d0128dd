"""What was found in somebody's files before its columns have our names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Export:
    """Runs under the names of the program that made them.

    Attributes:
        cells: one row a run, of text with ``None`` where a cell is empty.
        configs: the model's configuration of each row, where a file holds it.
        notes: what is to be known of them, a sentence each.
    """

    cells: pd.DataFrame
    configs: tuple[Mapping[str, Any] | None, ...] = ()
    notes: tuple[str, ...] = field(default=())
