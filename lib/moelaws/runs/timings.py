"""The timing table: one row a measured configuration, batch and prompt; what crosses the wall besides the run table."""

from pathlib import Path

import numpy as np
import pandas as pd

from moelaws.config import ModelConfig
from moelaws.field import NEEDED, described
from moelaws.quote import listed
from moelaws.runs import read_runs
from moelaws.runs.configured import LATER_FIELDS, value_of, with_later_columns
from moelaws.runs.writing.measured import Measured

_FIELDS = described(ModelConfig)
_MODEL = tuple(field.name for field in _FIELDS)
_NEEDED = tuple(field.name for field in _FIELDS if field.absent is NEEDED)
_MEASURED = ("batch", "prompt_tokens", "new_tokens", "prefill_seconds", "decode_step_seconds")

SETTING = (
    *_MODEL, "weights", "routing", "text", "batch", "prompt_tokens", "new_tokens", "dtype", "device", "machine",
    "threads", "engine",
)  # fmt: skip
"""What makes two rows measurements of the same thing, so that the later one replaces the earlier."""

TIMINGS = Measured(
    "timing table",
    (
        *_MODEL, "total_params", "active_params", "weights", "routing", "text", "batch",
        "prompt_tokens", "new_tokens", "prefill_seconds", "prefill_low", "prefill_high", "decode_step_seconds",
        "decode_step_low", "decode_step_high", "tokens_per_second", "repeats", "passes", "clock", "processor_share",
        "peak_memory_bytes", "cache_bytes", "experts_touched", "experts_touched_by_layer", "dtype", "device",
        "machine", "threads", "torch_version", "code_version", "measured_at", "expert_load",
        "engine",
    ),
    SETTING,
    frozenset({"expert_load"}),
    {name: value for name, value in LATER_FIELDS.items() if name in _MODEL} | {"engine": "eager"},
)  # fmt: skip
"""The table of ``moelaws measure``; the grid's rows also have the loads of the experts."""


class TimingError(ValueError):
    """A timing table cannot be used; the message names file, row and column."""


def read_timings(path: str | Path, engine: str | None = None) -> pd.DataFrame:
    """Read and check a timing table.

    The columns of the model are the run table's; ``context`` is the model's training length, and a decode step's
    cached context follows from ``prompt_tokens`` and ``new_tokens``.

    Args:
        path: a ``.csv``, ``.csv.gz`` or ``.parquet`` file with the model's columns, ``batch``, ``prompt_tokens``,
            ``new_tokens``, ``prefill_seconds``, ``decode_step_seconds``, and if it was measured ``experts_touched``
            (distinct experts per routed layer, mean over layers and steps).
        engine: ``compiled`` or ``eager``: only what this program decoded; rows that do not say are eager.

    Returns:
        One row a measurement.

    Raises:
        TimingError: a missing column, a cell that is not a number > 0, or no row of the engine.
    """
    table = read_runs(path, required=(*_NEEDED, *_MEASURED))
    for name in (*_NEEDED, *_MEASURED):
        numbers = pd.to_numeric(table[name], errors="coerce")
        bad = ~(np.isfinite(numbers) & (numbers > 0))
        if bad.any():
            row = table.index[bad][0]
            raise TimingError(
                f"{Path(path).name}: row {row}, column {name!r}: found {table[name].loc[row]}, expected a number > 0"
            )
        table[name] = numbers
    if engine is not None:
        there = engines(table)
        table = table[_engine(table) == engine]
        if table.empty:
            raise TimingError(f"{Path(path).name}: no row with engine = {engine!r}; found {listed(there)}")
    return table


def model_of(row: pd.Series) -> ModelConfig:
    """The model of one row of a timing table; a field without a column has its usual value."""
    cells = {str(name): value for name, value in row.items()}
    return ModelConfig(**{field.name: value_of(field, cells, field.absent) for field in _FIELDS})


def engines(table: pd.DataFrame) -> list[str]:
    """The programs that decoded: see ``moelaws.decoding.engine``. Rows that do not say were decoded by the first."""
    return sorted(_engine(table).unique())


def _engine(table: pd.DataFrame) -> pd.Series:
    """The program of each row."""
    if "engine" not in table.columns:
        return pd.Series(TIMINGS.before["engine"], index=table.index)
    return table["engine"].replace("", np.nan).fillna(TIMINGS.before["engine"]).astype(str)


def configurations(table: pd.DataFrame) -> np.ndarray:
    """A number for each row's model, equal for rows of one model: groups to leave out together."""
    table = with_later_columns(table, [name for name in TIMINGS.before if name in _MODEL])
    names = [name for name in _MODEL if name in table.columns and name != "context"]
    return table.groupby(names, sort=False, dropna=False).ngroup().to_numpy()
