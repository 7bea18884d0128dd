"""What Weights & Biases exports: a table of runs, a chart, histories, configurations with summaries; one row a run."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moelaws.importing.export import Export
from moelaws.importing.run_folders import files_in, name_of, run_of
from moelaws.quote import plain, shown
from moelaws.runs.error import RunTableError
from moelaws.runs.numbers import as_numbers
from moelaws.runs.reading.read import read_table

TRACKED = "tracker_metrics.jsonl"
"""What Levanter writes beside the checkpoints of a run: its configuration and summary."""
SUMMARY = "wandb-summary.json"

FILES = r"[^.].*\.(csv|tsv|jsonl|ndjson|json)(\.gz)?"
_NOT_RUNS = ("wandb-metadata.json", "config.json", "package.json", "trainer_state.json", "tokenizer_config.json")
_OF_A_RUN = (TRACKED, SUMMARY, "history.jsonl", "wandb-history.jsonl", "metrics.jsonl", "history.csv", "history.json")
_NAMES = ("run_name", "run", "Name", "name", "display_name", "displayName", "run_id", "id", "ID", "run_path")
_STEPS = ("_step", "Step", "global_step", "trainer/global_step")
_CHART = re.compile(r"(.+) - (.+)", re.DOTALL)
_SPREAD = ("__MIN", "__MAX")
_DEEPEST, _LONGEST_CELL = 6, 200_000


def read_wandb(path: Path) -> Export:
    """Read a file of such an export, or a folder of several; what is said of one run in several files is joined.

    Args:
        path: a file of any kind that ``read_table`` reads, or a folder.

    Returns:
        A row a run, with the last value of everything that was logged.

    Raises:
        RunTableError: a file that is no table, or no file at all in a folder.
    """
    if not path.is_dir():
        return Export(_one_row_a_run(read_table(path), plain(path.name), path.name.split(".")[0]))
    tables = [
        _one_row_a_run(_read(file, path), plain(file.relative_to(path), 100), _called(file, path))
        for file in files_in(path, FILES)
        if file.name not in _NOT_RUNS
    ]
    if not tables:
        raise RunTableError(f"{plain(path)}: no CSV or JSON files here or below; expected an export of W&B in each")
    return Export(_joined(tables))


def _read(file: Path, folder: Path) -> pd.DataFrame:
    try:
        return read_table(file)
    except RunTableError as error:
        text = str(error).removeprefix(f"{plain(file.name)}: ")
        raise RunTableError(f"{plain(file.relative_to(folder), 100)}: {text}") from None


def _called(file: Path, folder: Path) -> str:
    return name_of(run_of(file, folder), folder) if file.name in _OF_A_RUN else file.name.split(".")[0]


def _one_row_a_run(cells: pd.DataFrame, name: str, called: str) -> pd.DataFrame:
    """Any of the shapes, as a table with a column ``name`` where anything names its runs."""
    if (chart := _chart_columns(cells)) is not None:
        return _of_chart(cells, chart, name)
    cells = _flat(cells, name)
    step = next((column for column in _STEPS if column in cells.columns), None)
    by = next((column for column in _NAMES if column in cells.columns and cells[column].notna().any()), None)
    if by is None and step is None and len(cells) > 1:
        return cells  # a table of runs without names
    if by != "name":
        cells = cells.assign(name=called if by is None else cells[by])
    if step is None or not cells["name"].duplicated().any():
        return cells
    return _last_of_each(cells.iloc[np.argsort(as_numbers(cells[step].to_numpy(dtype=object)), kind="stable")])


def _last_of_each(cells: pd.DataFrame) -> pd.DataFrame:
    """The last filled cell of each column, a row a run, in the order of the names."""
    rows = cells.where(cells.notna(), np.nan).groupby("name", sort=True).last().reset_index()
    rows.index = pd.RangeIndex(1, len(rows) + 1)
    return rows.astype(object).where(rows.notna(), None)


def _chart_columns(cells: pd.DataFrame) -> list[tuple[str, str, str]] | None:
    """Column, run and metric of a chart's export; ``None`` for a table of another kind."""
    found = []
    for column in map(str, cells.columns[1:]):
        match = _CHART.fullmatch(column)
        if match is None:
            return None
        if not match[2].endswith(_SPREAD):
            found.append((column, match[1].strip(), match[2].strip()))
    return found or None


def _of_chart(cells: pd.DataFrame, chart: list[tuple[str, str, str]], name: str) -> pd.DataFrame:
    steps = as_numbers(cells.iloc[:, 0].to_numpy(dtype=object))
    rows: dict[str, dict[str, str | None]] = {}
    for column, run, metric in chart:
        filled = np.flatnonzero(np.isfinite(as_numbers(cells[column].to_numpy(dtype=object))))
        row = rows.setdefault(run, {"name": run})
        if metric in row:
            raise RunTableError(f"{name}: two runs are called {shown(run)}; rename one, or export the table of runs")
        if len(filled):
            last = filled[np.argmax(np.nan_to_num(steps[filled], nan=-1))]
            row[metric] = cells[column].iloc[last]
            row[str(cells.columns[0])] = cells.iloc[last, 0]
    table = pd.DataFrame(list(rows.values()), index=pd.RangeIndex(1, len(rows) + 1), dtype=object)
    return table.astype(object).where(table.notna(), None)


def _flat(cells: pd.DataFrame, name: str) -> pd.DataFrame:
    """``config`` and ``summary`` as columns of their own, whether a cell holds them whole or JSON did."""
    for column in ("config", "summary", "summary_metrics", "system_metrics"):
        if column in cells.columns:
            rows = [_mapping(cell, f"{name}: row {i}, column {column!r}") for i, cell in cells[column].items()]
            inner = pd.DataFrame([dict(_leaves(row)) for row in rows], index=cells.index, dtype=object)
            fresh = [key for key in inner.columns if key not in cells.columns]
            cells = pd.concat([cells.drop(columns=column), inner[fresh].where(inner[fresh].notna(), None)], axis=1)
    columns: dict[str, pd.Series] = {}
    for column in map(str, cells.columns):
        # {"lr": {"value": 0.1, "desc": null}} is how W&B keeps a configuration itself.
        short = re.sub(r"^(config|summary|summary_metrics)\.", "", column).removesuffix(".value")
        columns[short] = columns[short].combine_first(cells[column]) if short in columns else cells[column]
    return pd.DataFrame(columns, index=cells.index, dtype=object)


def _mapping(cell: Any, where: str) -> Mapping[str, Any]:
    """A mapping as Python prints it, or JSON; read as a literal, never evaluated."""
    if cell is None or cell != cell:
        return {}
    text = str(cell).strip()
    if len(text) > _LONGEST_CELL:
        raise RunTableError(f"{where}: more than {_LONGEST_CELL:,} characters; expected a configuration")
    try:
        found = _literal(ast.parse(text, mode="eval").body, 0)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise RunTableError(f"{where}: found {shown(text, 40)}, expected a mapping, as in {{'lr': 0.001}}") from None
    if not isinstance(found, dict):
        raise RunTableError(f"{where}: found {shown(text, 40)}, expected a mapping, as in {{'lr': 0.001}}")
    return found


_WORDS = {"true": True, "false": False, "null": None, "nan": None, "NaN": None, "inf": None, "Infinity": None}


def _literal(node: ast.AST, depth: int) -> Any:
    """The value of a literal of numbers, text, lists and mappings, with the words of JSON and of NumPy."""
    if depth > _DEEPEST * 2:
        raise ValueError
    match node:
        case ast.Constant(value):
            return value
        case ast.Dict(keys, values):
            return {
                str(_literal(k, depth + 1)): _literal(v, depth + 1)
                for k, v in zip(keys, values, strict=True)
                if k is not None
            }
        case ast.List(items) | ast.Tuple(items):
            return [_literal(item, depth + 1) for item in items]
        case ast.UnaryOp(ast.USub(), operand):
            value = _literal(operand, depth + 1)
            return -value if isinstance(value, int | float) else None
        case ast.Name(word) if word in _WORDS:
            return _WORDS[word]
    raise ValueError


def _leaves(row: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, str | None]]:
    for key, value in row.items():
        if isinstance(value, Mapping) and value and depth < _DEEPEST:
            yield from _leaves(value, f"{prefix}{key}.", depth + 1)
        else:
            yield f"{prefix}{key}", None if value is None else str(value)


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """What several files say of the runs, by their names; the first that says something is believed."""
    if len(tables) == 1:
        return tables[0]
    rows: dict[str, dict[str, Any]] = {}
    for i, table in enumerate(tables):
        for j, record in enumerate(table.to_dict("records")):
            row = rows.setdefault(str(record.get("name") or f"{i}:{j}"), {})
            row.update({str(k): v for k, v in record.items() if row.get(str(k)) is None and v is not None and v == v})
    joined = pd.DataFrame(list(rows.values()), index=pd.RangeIndex(1, len(rows) + 1), dtype=object)
    return joined.astype(object).where(joined.notna(), None)
