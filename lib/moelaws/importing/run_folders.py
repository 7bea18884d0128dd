"""Folders of runs: which files are in them, within bounds, and what a JSON file among them holds."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moelaws.quote import plain
from moelaws.runs.error import RunTableError
from moelaws.runs.reading.cells import decoded
from moelaws.runs.reading.source import read_source

MOST_FILES = 50_000
"""Files that are looked at in one folder; more are a disk, not an experiment."""

_DEEPEST = 8
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def files_in(folder: Path, pattern: str) -> Iterator[Path]:
    """Regular files whose name fits, in the order of their paths; links to folders are not followed.

    Args:
        folder: where to look, and in the folders below.
        pattern: a regular expression for the whole name.

    Raises:
        RunTableError: a folder that cannot be read, or holds more than ``MOST_FILES``.
    """
    wanted, seen = re.compile(pattern), 0

    def refuse(error: OSError) -> None:
        raise RunTableError(f"{plain(error.filename)}: cannot be read ({error.strerror})")

    for place, below, names in os.walk(folder, onerror=refuse):
        below[:] = sorted(below) if len(Path(place).relative_to(folder).parts) < _DEEPEST else []
        seen += len(names)
        if seen > MOST_FILES:
            raise RunTableError(f"{plain(folder)}: more than {MOST_FILES:,} files; name the folder of the runs alone")
        yield from (Path(place) / name for name in sorted(names) if wanted.fullmatch(name))


def run_of(file: Path, folder: Path) -> Path:
    """The folder of the run that a file belongs to: that of its checkpoint is not."""
    place = file.parent
    while place != folder and (_CHECKPOINT.fullmatch(place.name) or place.name == "files"):
        place = place.parent
    return place


def name_of(run: Path, folder: Path) -> str:
    """What a run is called: its folder's place below the folder of all runs."""
    inside = run.relative_to(folder).as_posix()
    return folder.resolve().name if inside == "." else inside


def json_object(file: Path, folder: Path) -> dict[str, Any]:
    """The object in a JSON file; NaN and Infinity, which Python writes into such files, count as nothing.

    Raises:
        RunTableError: not JSON, or no object.
    """
    name = plain(file.relative_to(folder), 100)
    try:
        content = json.loads(decoded(read_source(file), name), parse_constant=lambda _: None)
    except RecursionError:
        raise RunTableError(f"{name}: JSON that is nested too deeply") from None
    except RunTableError:
        raise
    except ValueError as error:
        raise RunTableError(f"{name}: not JSON ({plain(error, 120)})") from None
    if not isinstance(content, dict):
        raise RunTableError(f"{name}: expected a JSON object, found a {type(content).__name__}")
    return content


def model_config(run: Path, *places: Path) -> tuple[Path, ...]:
    """Where a run's ``config.json`` may be, the likeliest first."""
    return tuple(file for place in (*places, run) if (file := place / "config.json").is_file())
