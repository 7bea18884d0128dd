"""Results of a benchmark, written point by point: one that was stopped goes on with the same command."""

import json
from pathlib import Path
from typing import Any

DONE = "finished"


def begun(file: Path, asked: dict[str, Any], again: bool = False) -> dict[str, Any]:
    """What was asked for, and the points measured so far: those of the file if it was stopped at the very same.

    Args:
        file: of results.
        asked: what a result depends on: machine, versions, code, settings.
        again: leave out what the file has.
    """
    before = json.loads(file.read_text()) if file.exists() and not again else {}
    same = before.get(DONE) is False and all(before.get(key) == value for key, value in asked.items())
    return {**asked, DONE: False, "points": before["points"] if same else []}


def write(file: Path, result: dict[str, Any], finished: bool = False) -> None:
    """Write what there is."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({**result, DONE: finished}, indent=1) + "\n")
