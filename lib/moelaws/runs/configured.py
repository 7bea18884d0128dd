"""Configurations from the cells of a table: what each row says of a field, and what a table without its column does."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from moelaws.config import ModelConfig, RunConfig, TrainConfig
from moelaws.field import NEEDED, ConfigError, Field, described
from moelaws.quote import shown
from moelaws.runs.numbers import truth

FIELDS = tuple(field.name for kind in (ModelConfig, TrainConfig, RunConfig) for field in described(kind))
"""Every field of a configuration, which is a column of a table that the library wrote."""

LATER_FIELDS: dict[str, Any] = {
    field.name: field.absent
    for kind in (ModelConfig, TrainConfig, RunConfig)
    for field in described(kind)
    if field.later
}
"""Fields that came after the first recorded tables, each with its value in the runs recorded without it."""


def value_of(field: Field, row: Mapping[str, Any], absent: Any = NEEDED) -> Any:
    """What a row says of a field.

    Args:
        field: the field.
        row: column -> cell; cells may still be text, as in the file.
        absent: what is meant by no column, or an empty cell; ``NEEDED`` refuses these.

    Raises:
        ConfigError: the cell is not what the field holds, or absent.
    """
    cell = row.get(field.name)
    if absent is not NEEDED and (cell is None or cell != cell or (isinstance(cell, str) and not cell.strip())):
        return absent
    if field.kind is str:
        return "" if cell is None or cell != cell else str(cell)
    if field.kind is bool:
        try:
            return truth(cell)
        except ValueError:
            raise ConfigError(f"{field.name} = {shown(cell)}: expected true or false") from None
    try:
        number = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    whole = field.kind is int
    if not math.isfinite(number) or (whole and number != round(number)):
        raise ConfigError(f"{field.name} = {shown(cell)}: expected a {'whole ' if whole else ''}number")
    return field.kind(number)


def with_later_columns(table: pd.DataFrame, names: Iterable[str] = tuple(LATER_FIELDS)) -> pd.DataFrame:
    """A table with the columns that came later: rows recorded without them have the value of that time.

    Args:
        table: recorded runs or timings, of any age.
        names: of later columns, those that are wanted.
    """
    filled = {}
    for name in names:
        if name not in table.columns:
            filled[name] = pd.Series(LATER_FIELDS[name], index=table.index)
        elif (empty := table[name].isna() | (table[name].astype(object) == "")).any():
            filled[name] = table[name].astype(object).mask(empty, LATER_FIELDS[name])
    return table.assign(**filled) if filled else table
