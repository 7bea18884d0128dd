"""What a chapter was seen to read while it was executed, as the hook in `watch` wrote it down."""

import os
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bookbuild.inputs.watch.sitecustomize import signature

WATCH = Path(__file__).parent / "watch"

_NOT_READ = ("_build", ".git")
"""Folders of a book that a chapter may use and that it does not depend on."""


@dataclass(frozen=True)
class Seen:
    """What a chapter opened below the folders of its book and library.

    Arguments:
        files: path relative to the root of the book, `/` behind a folder whose names were listed -> a signature of what
            it was like then.
        whole: whether the hook was at work. If not, nothing is known.
    """

    files: Mapping[str, str]
    whole: bool

    def names(self) -> list[str]:
        """The files, and packages that would be loaded in the place of modules if they came."""
        modules = [name for name in self.files if name.endswith(".py") and not name.endswith("/__init__.py")]
        return [*self.files, *(f"{name.removesuffix('.py')}/__init__.py" for name in modules)]

    def touched(self, root: Path) -> list[str]:
        """Files that are no longer as they were when they were first opened: by the chapter itself, or by others."""
        return [
            name for name, before in self.files.items() if signature(str(root / name), name.endswith("/")) != before
        ]


NOTHING = Seen({}, whole=False)


def watching(log: Path, roots: Iterable[Path]) -> dict[str, str]:
    """Environment of a kernel that is watched.

    Arguments:
        log: file to write to.
        roots: folders of which it is written down.
    """
    others = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place and place != str(WATCH)]
    return {
        "PYTHONPATH": os.pathsep.join([str(WATCH), *others]),
        "MOELAWS_BOOK_LOG": str(log),
        "MOELAWS_BOOK_ROOTS": os.pathsep.join(f"{root}{os.sep}" for root in roots),
    }


def read_log(log: Path, root: Path) -> Seen:
    """Read what was written down.

    Arguments:
        log: the file that the kernel and its children wrote to.
        root: folder of the book, which the paths become relative to.
    """
    try:
        lines = os.fsdecode(log.read_bytes()).splitlines()
    except OSError:
        return NOTHING
    installed = {os.path.abspath(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")}
    files: dict[str, str] = {}
    for line in lines:
        kind, _, rest = line.partition("\t")
        before, _, path = rest.partition("\t")
        if not path or any(path.startswith(folder + os.sep) for folder in installed):
            continue
        name = os.path.relpath(path, root)
        parts = Path(name).parts
        if not parts or parts[0] in _NOT_READ or {"__pycache__", ".ipynb_checkpoints"} & set(parts):
            continue
        name = name.replace(os.sep, "/") + "/" * (kind == "folder")
        # The first time counts: what is read later may be what the chapter itself has written.
        files.setdefault(name, before)
    return Seen(files, whole="watching" in lines)
