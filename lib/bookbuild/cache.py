"""Executed notebooks, kept under a key of everything that can change what they show.

Jupyter Book's own cache sees only the code cells; a chapter shows what the library, the data and the pinned packages
make of them. Keys are hashes of contents, never times, so a fresh clone and a switched branch are judged rightly, too.
"""

import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from bookbuild.pages.chapter import Page
from moelaws.files import write_whole

KEPT = 4
"""Entries kept for each chapter and profile: enough to switch between branches without executing again."""

IGNORED = {"__pycache__", ".ipynb_checkpoints", ".DS_Store"}


def digest_files(root: Path, paths: Iterable[Path]) -> str:
    """Hash names (relative to `root`) and contents of files; folders are walked, what is missing counts as empty."""
    total = hashlib.sha256()
    for path in sorted(set(_walk(paths))):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    return total.hexdigest()


def shared_digest(root: Path) -> str:
    """Hash what all chapters stand on: the library, the data, the pins, the installed packages, Python itself.

    Arguments:
        root: folder of the book.

    Returns:
        A hexadecimal digest that changes with any of them.
    """
    files = digest_files(root, [root / "lib", root / "data", root / "constraints.txt"])
    machine = [f"python {platform.python_version()}", *_installed(root / "constraints.txt")]
    return hashlib.sha256("\n".join([files, *machine]).encode()).hexdigest()


def chapter_key(page: Page, shared: str, profile: str) -> str:
    """Name of a cache entry: the chapter's text, what all chapters stand on, and the profile."""
    return hashlib.sha256("\n".join([page.name, profile, shared, page.text]).encode()).hexdigest()[:20]


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


def _walk(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        if path.name in IGNORED or path.name.endswith(".egg-info"):
            continue
        if path.is_dir():
            yield from _walk(path.iterdir())
        elif path.is_file():
            yield path


def _installed(constraints: Path) -> list[str]:
    """Versions of the pinned packages as installed: an environment made otherwise must not pass for this one."""
    if not constraints.is_file():
        return []
    pinned = re.findall(r"^([A-Za-z0-9._-]+)==", constraints.read_text(encoding="utf-8"), flags=re.MULTILINE)
    versions = []
    for name in pinned:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{name} absent")
    return versions
