"""The run table: one row a training run, ours, a paper's or a reader's own.

The table is what crosses the wall between the half of the library that trains (torch) and the half that
analyses (numpy, scipy, pandas). Nothing here imports torch.
"""

from moelaws.runs.append import RunTable
from moelaws.runs.derive import derive
from moelaws.runs.lock import TableInUseError
from moelaws.runs.read import RunTableError, finished, read_runs
from moelaws.runs.schema import COLUMNS, Column
from moelaws.runs.seeds import paired_differences, pooled_noise, seed_spread
from moelaws.runs.select import select
from moelaws.runs.where import ConditionError

__all__ = [
    "COLUMNS",
    "Column",
    "ConditionError",
    "RunTable",
    "RunTableError",
    "TableInUseError",
    "derive",
    "finished",
    "paired_differences",
    "pooled_noise",
    "read_runs",
    "seed_spread",
    "select",
]
