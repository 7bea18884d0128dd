"""Cells of a Parquet file. Reading one needs pyarrow, which nothing else of a table does."""

import io
import json
from typing import Any

import numpy as np
import pandas as pd

from moelaws.quote import plain
from moelaws.runs.error import RunTableError
from moelaws.runs.reading.cells import MOST_CELLS, named
from moelaws.runs.reading.source import MOST_BYTES


def read_parquet(data: bytes, name: str) -> pd.DataFrame:
    """Cells of a Parquet table.

    Args:
        data: the file.
        name: of the file, in messages.

    Returns:
        One row a row, numbered from 1. A column of numbers holds numbers; any other text, with ``None`` where a cell
        is empty. Lists and records are cells of JSON.

    Raises:
        RunTableError: no pyarrow, not a Parquet table, too large, or two columns of one name.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise RunTableError(f"{name}: reading Parquet needs pyarrow: pip install 'moelaws[parquet]'") from None
    try:
        file = parquet.ParquetFile(io.BytesIO(data))
        names = named(file.schema_arrow.names, name)
        groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
        # What the pages hold can be said a thousand times over; the file says beforehand how much it will be.
        if file.metadata.num_rows * len(names) > MOST_CELLS or sum(g.total_byte_size for g in groups) > MOST_BYTES:
            raise RunTableError(f"{name}: more than {MOST_CELLS:,} cells, the most that is read; keep fewer columns")
        index = pd.RangeIndex(1, file.metadata.num_rows + 1)
        columns = [_column(column, index, pa) for column in file.read().columns]
    except RunTableError:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError) as error:
        first = str(error).partition("\n")[0]
        raise RunTableError(f"{name}: not a Parquet table ({plain(first, 120)})") from None
    return pd.DataFrame(dict(zip(names, columns, strict=True)), index=index)


def _column(column: Any, index: pd.Index, pa: Any) -> pd.Series:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_decimal(kind):
        column, kind = column.cast(pa.float64()), pa.float64()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return pd.Series(np.asarray(column.to_pandas()), index=index)
    return pd.Series([_text(value) for value in column.to_pylist()], index=index, dtype=object)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return (value or "").strip() or None
    return json.dumps(value, default=str) if isinstance(value, list | dict) else str(value)
