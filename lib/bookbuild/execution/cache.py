"""Executed notebooks, kept under a key of what can change what they show, with the states of what they read."""

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moelaws.files import write_whole

KEPT = 4
"""Entries kept for each chapter and profile: enough to switch between branches without executing again."""


@dataclass(frozen=True)
class Cache:
    """A folder of executed notebooks.

    Arguments:
        folder: where they lie; entries are `<profile>/<page>.<key>.ipynb` below it.
    """

    folder: Path

    def path(self, page: str, profile: str, key: str) -> Path:
        """Where an entry lies, whether or not it exists."""
        return self.folder / profile / f"{page}.{key}.ipynb"

    def load(self, page: str, profile: str, key: str) -> Any | None:
        """Read an entry, or None where there is none (a damaged file counts as none)."""
        import nbformat

        path = self.path(page, profile, key)
        try:
            text = path.read_text(encoding="utf-8")
            nbformat.validate(json.loads(text))  # first, because reading complains of what it finds
            notebook = nbformat.reads(text, as_version=4)
        except Exception:  # whatever lies there instead: nbformat fails on each kind of damage in another way
            return None
        with suppress(OSError):
            os.utime(path)  # so that what was used last is pruned last
        return notebook

    def latest(self, page: str, profile: str) -> Any | None:
        """Read the entry of a chapter that was used last, whatever its key; None where there is none."""
        name = page.rsplit("/", 1)[-1]
        like = self.path(page, profile, "key")
        entries = [path for path in like.parent.glob(f"{name}.*.ipynb") if _is_entry(path, like)]
        newest = max(entries, key=lambda path: path.stat().st_mtime, default=None)
        return None if newest is None else self.load(page, profile, newest.name.split(".")[-2])

    def store(self, page: str, profile: str, key: str, notebook: Any) -> None:
        """Write an entry in one step: readers see the whole of it or nothing, whatever is killed when."""
        import nbformat

        path = self.path(page, profile, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():  # no work of ours; a file could not take its place
            shutil.rmtree(path)
        write_whole(path, nbformat.writes(notebook, version=4))
        entries = sorted(
            (entry for entry in path.parent.glob("*.ipynb") if _is_entry(entry, path)),
            key=lambda entry: entry.stat().st_mtime,
        )
        for old in entries[:-KEPT]:
            old.unlink(missing_ok=True)


def _is_entry(entry: Path, like: Path) -> bool:
    """Whether two files are entries of the same chapter: the same name up to the key."""
    return entry.is_file() and entry.name.split(".")[:-2] == like.name.split(".")[:-2]
