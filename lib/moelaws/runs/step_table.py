"""The table of training steps: one row a model, batch and device; what crosses the wall besides runs and timings."""

from pathlib import Path

import numpy as np
import pandas as pd

from moelaws.config import ModelConfig
from moelaws.quote import plain, shown
from moelaws.runs.error import RunTableError
from moelaws.runs.reading.read import read_table

_COUNTED = ("d_model", "n_layers", "n_experts", "top_k", "granularity", "tokens")
_NEEDED = (*_COUNTED, "step_ms")

PRICES = ("router", "gather", "products", "optimiser")
"""Parts of what routing adds to a step, each with a column ``<part>_ms``."""


def read_steps(path: str | Path) -> pd.DataFrame:
    """Read and check a table of training steps, such as ``data/timings/training_steps.csv``.

    Args:
        path: a ``.csv`` or ``.parquet`` file with ``device``, ``d_model``, ``n_layers``, ``n_experts``, ``top_k``,
            ``granularity``, ``tokens`` (of a batch) and ``step_ms``. Where it has ``dense_step_ms`` and the parts of
            the price of routing, what they leave is added as ``rest_ms``.

    Returns:
        One row a measurement. ``steady_ms`` is the step as it would have been on a machine that was never slower for a
        while: where a dense step was measured by turns with it (``dense_step_ms``), times the median of all dense steps
        of its width and batch over its own.

    Raises:
        RunTableError: a missing column, or a cell that is not a number > 0.
    """
    file, table = plain(Path(path).name), read_table(path)
    missing = [name for name in ("device", *_NEEDED) if name not in table.columns]
    if missing:
        raise RunTableError(f"{file}: no column {missing[0]!r}; a table of training steps needs it")
    for name in table.columns:
        numbers = pd.to_numeric(table[name], errors="coerce")
        bad = ~(np.isfinite(numbers) & (numbers > 0))
        if name in _NEEDED and bad.any():
            row = table.index[bad][0]
            raise RunTableError(
                f"{file}: row {row}, column {name!r}: found {shown(table[name].loc[row])}, expected a number > 0"
            )
        if name in _NEEDED or name.endswith("_ms") or numbers.notna().all():
            table[name] = numbers
    for name in _COUNTED:
        part = table[name] % 1 != 0
        if part.any():
            row = table.index[part][0]
            raise RunTableError(
                f"{file}: row {row}, column {name!r}: found {table[name].loc[row]}, expected a whole number"
            )
    if table.empty:
        raise RunTableError(f"{file}: the table has a header but no rows")
    parts = [f"{part}_ms" for part in PRICES]
    table["steady_ms"] = table["step_ms"]
    if "dense_step_ms" in table.columns:
        twins = table.groupby(["device", "d_model", "n_layers", "tokens"])["dense_step_ms"]
        steady = table["step_ms"] * twins.transform("median") / table["dense_step_ms"]
        table["steady_ms"] = steady.fillna(table["step_ms"])
    if {"dense_step_ms", *parts} <= set(table.columns):
        table["rest_ms"] = table["step_ms"] - table["dense_step_ms"] - table[parts].sum(axis=1)
    return table


def stepped_model(row: pd.Series) -> ModelConfig:
    """The model of one row: of the book's family, but for columns that say otherwise.

    Vocabulary, context, heads and hidden width are 1,024, 128, one a 16 channels and 4 d where the table is silent.
    """
    width = int(row["d_model"])
    usual = {"vocab_size": 1024, "context": 128, "n_heads": max(1, width // 16), "d_ff": 4 * width}
    usual |= {name: int(row[name]) for name in usual if row.get(name, 0) > 0}
    return ModelConfig(
        d_model=width, n_layers=int(row["n_layers"]), n_experts=int(row["n_experts"]), top_k=int(row["top_k"]),
        granularity=int(row["granularity"]), vocab_size=usual["vocab_size"], context=usual["context"],
        n_heads=usual["n_heads"], d_ff=usual["d_ff"],
    )  # fmt: skip
