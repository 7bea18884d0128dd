"""The run table: one row a training run, ours, a paper's or a reader's own.

The table is what crosses the wall between the half of the library that trains (torch) and the half that
analyses (numpy, scipy, pandas). Nothing here imports torch.
"""

from moelaws.runs.derive import derive
from moelaws.runs.error import RunTableError, RunTableWarning
from moelaws.runs.probed import read_probes
from moelaws.runs.reading.condition import ConditionError
from moelaws.runs.reading.merge import merge_runs
from moelaws.runs.reading.read import Loaded, finished, load_cells, load_runs, read_runs
from moelaws.runs.schema import COLUMNS, Column
from moelaws.runs.seeds import paired_differences, pooled_noise, seed_spread
from moelaws.runs.select import select
from moelaws.runs.timings import read_timings
from moelaws.runs.writing.append import RunTable
from moelaws.runs.writing.lock import TableInUseError

__all__ = [
    "COLUMNS",
    "Column",
    "ConditionError",
    "Loaded",
    "RunTable",
    "RunTableError",
    "RunTableWarning",
    "TableInUseError",
    "derive",
    "finished",
    "load_cells",
    "load_runs",
    "merge_runs",
    "paired_differences",
    "pooled_noise",
    "read_probes",
    "read_runs",
    "read_timings",
    "seed_spread",
    "select",
]
