"""The timing table: one row a measured configuration, batch and prompt; what crosses the wall besides the run table."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moelaws.config import ModelConfig
from moelaws.runs import read_runs
from moelaws.runs.numbers import truth

_MODEL = ("vocab_size", "d_model", "n_layers", "n_heads", "d_ff", "n_experts", "top_k", "granularity", "context")
_MEASURED = ("batch", "prompt_tokens", "new_tokens", "prefill_seconds", "decode_step_seconds")
_OPTIONAL_COUNTS = ("shared_experts", "moe_every")
_OPTIONAL_SIGNS = ("renormalize_top_k", "qk_norm", "tied_embeddings", "token_shift")
_OPTIONAL = (*_OPTIONAL_COUNTS, *_OPTIONAL_SIGNS, "rope_theta")


class TimingError(ValueError):
    """A timing table cannot be used; the message names file, row and column."""


def read_timings(path: str | Path) -> pd.DataFrame:
    """Read and check a timing table.

    The columns of the model are the run table's; ``context`` is the model's training length, and a decode step's
    cached context follows from ``prompt_tokens`` and ``new_tokens``.

    Args:
        path: a ``.csv``, ``.csv.gz`` or ``.parquet`` file with the model's columns, ``batch``, ``prompt_tokens``,
            ``new_tokens``, ``prefill_seconds``, ``decode_step_seconds``, and if it was measured ``experts_touched``
            (distinct experts per routed layer, mean over layers and steps).

    Returns:
        One row a measurement.

    Raises:
        TimingError: a missing column, or a cell that is not a number > 0.
    """
    table = read_runs(path, required=(*_MODEL, *_MEASURED))
    for name in (*_MODEL, *_MEASURED):
        numbers = pd.to_numeric(table[name], errors="coerce")
        bad = ~(np.isfinite(numbers) & (numbers > 0))
        if bad.any():
            row = table.index[bad][0]
            raise TimingError(
                f"{Path(path).name}: row {row}, column {name!r}: found {table[name].loc[row]}, expected a number > 0"
            )
        table[name] = numbers
    return table


def model_of(row: pd.Series) -> ModelConfig:
    """The model of one row of a timing table; a field without a column has its default."""
    values: dict[str, Any] = {name: int(row[name]) for name in _MODEL}
    for name in _OPTIONAL:
        value = row.get(name)
        if value is None or value != value:
            continue
        if name in _OPTIONAL_COUNTS:
            values[name] = int(value)
        else:
            values[name] = float(value) if name == "rope_theta" else truth(value)
    return ModelConfig(**values)


def configurations(table: pd.DataFrame) -> np.ndarray:
    """A number for each row's model, equal for rows of one model: groups to leave out together."""
    names = [name for name in (*_MODEL, *_OPTIONAL) if name in table.columns and name != "context"]
    return table.groupby(names, sort=False, dropna=False).ngroup().to_numpy()
