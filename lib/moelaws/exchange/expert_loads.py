"""A table of experts' loads, as a reader has counted them: a row a layer, a column an expert."""

import csv
import json
import math
from pathlib import Path
from typing import Any

from moelaws.json_file import MOST_BYTES
from moelaws.quote import shown

_FIELD = "expert_load"


class LoadsError(ValueError):
    """A file that holds no loads; the message names it, the row and what was found."""


def read_loads(path: str | Path) -> tuple[tuple[float, ...], ...]:
    """Shares of the choices that each expert receives, a tuple a layer.

    Args:
        path: CSV without a header, a row a layer and a column an expert; or JSON, a list of such rows, or an object
            whose ``expert_load`` is one. Counts are made shares; a single row holds for all layers.

    Raises:
        LoadsError: no such file, too large, no rows, rows of unequal length, or a load that is no number >= 0.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise LoadsError(f"{path}: no such file; expected a table of loads, a row a layer")
        if path.stat().st_size > MOST_BYTES:
            raise LoadsError(f"{path}: {path.stat().st_size / 1e6:.0f} MB; expected at most 16 MB of loads")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise LoadsError(f"{path}: not UTF-8 text at byte {error.start}") from None
    rows = _json_rows(text, path) if text.lstrip()[:1] in ("[", "{") else _csv_rows(text, path)
    if not rows:
        raise LoadsError(f"{path}: no rows; expected a row of loads for each layer")
    return tuple(_shares(row, number, path, len(rows[0])) for number, row in enumerate(rows, 1))


def _json_rows(text: str, path: Path) -> list[Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LoadsError(f"{path}: not JSON ({type(error).__name__})") from None
    rows = content.get(_FIELD) if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise LoadsError(f"{path}: expected a list of loads, or an object with {_FIELD!r}")
    return rows if rows and isinstance(rows[0], list) else [rows] if rows else []


def _csv_rows(text: str, path: Path) -> list[Any]:
    sign = next((one for one in ("\t", ";", ",") if one in text), ",")
    try:
        return [row for row in csv.reader(text.splitlines(), delimiter=sign) if row]
    except csv.Error as error:
        raise LoadsError(f"{path}: no table ({error})") from None


def _shares(row: Any, number: int, path: Path, experts: int) -> tuple[float, ...]:
    where = f"{path}: row {number}"
    if not isinstance(row, list) or len(row) != experts:
        found = len(row) if isinstance(row, list) else shown(row, 30)
        raise LoadsError(f"{where}: found {found}, expected {experts} loads, as in the first row")
    loads = [_load(cell, where) for cell in row]
    if not (total := math.fsum(loads)) > 0:
        raise LoadsError(f"{where}: all loads are 0, expected some expert to do something")
    return tuple(load / total for load in loads)


def _load(cell: Any, where: str) -> float:
    try:
        value = math.nan if isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not 0 <= value < 1e300:
        raise LoadsError(f"{where}: load {shown(cell, 30)}: expected a number >= 0")
    return value
