"""A small run table for the tests of what is written to one, and a look at what stands in it."""

import csv
from pathlib import Path
from typing import Any

from moelaws.runs import COLUMNS, RunTable

HEADER = ",".join(COLUMNS).encode() + b"\n"


def row(run_id: str, **others: Any) -> dict[str, Any]:
    """A row as far as these tests need one."""
    time_of_row = "2026-11-25T15:00:00+00:00"
    return {"run_id": run_id, "status": "finished", "loss": 3.25, "n_experts": 8, "finished_at": time_of_row} | others


def table_of(path: Path, *run_ids: str, **others: Any) -> bytes:
    """A table with some runs, and its bytes."""
    with RunTable(path) as table:
        for run_id in run_ids:
            table.append(row(run_id, **others))
    return path.read_bytes()


def ids(path: Path) -> list[str]:
    """The runs in a table, in order."""
    with path.open(newline="") as file:
        return [found["run_id"] for found in csv.DictReader(file)]


def alone(path: Path) -> bool:
    """Whether nothing lies beside a file: no lock, nothing half written."""
    return [entry.name for entry in path.parent.iterdir()] == [path.name]
