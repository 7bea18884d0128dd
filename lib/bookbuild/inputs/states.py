"""States of files: hashes of contents, never times, so a fresh clone and a switched branch are judged rightly, too."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

IGNORED = {"__pycache__", ".ipynb_checkpoints", ".DS_Store"}

ABSENT = "absent"
"""State of a file that is not there; it may come."""

States = Mapping[str, str]
"""Path relative to the root of the book (with a `/` behind a folder that was listed) -> its state."""


def state_of(path: Path, listed: bool = False) -> str:
    """State of a file, or of a folder's list of names.

    Arguments:
        path: the file or folder.
        listed: whether the names in a folder are meant.
    """
    try:
        if listed:
            return _digest("\n".join(sorted(set(os.listdir(path)) - IGNORED)).encode())
        return _digest(path.read_bytes())
    except IsADirectoryError:
        return "folder"
    except OSError:
        return ABSENT


def states_of(root: Path, names: Iterable[str]) -> dict[str, str]:
    """States of several files and listed folders, by their names."""
    return {name: state_of(root / name, name.endswith("/")) for name in sorted(set(names))}


def digest_files(root: Path, paths: Iterable[Path]) -> str:
    """Hash names (relative to `root`) and contents of files; folders are walked, what is missing counts as empty."""
    files = sorted(set(walk(paths)))
    return _digest("\n".join(f"{path.relative_to(root).as_posix()}\0{state_of(path)}" for path in files).encode())


def walk(paths: Iterable[Path]) -> Iterable[Path]:
    """Files at or below the paths, without byte code and what file managers leave."""
    for path in paths:
        if path.name in IGNORED or path.name.endswith(".egg-info"):
            continue
        if path.is_dir():
            yield from walk(path.iterdir())
        elif path.is_file():
            yield path


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
