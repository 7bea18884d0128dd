"""Writes down which files a process opens and which folders it lists, from its start on.

Python imports a module of this name before anything else. The builder puts this folder on the path of the kernels and,
through their environment, of every Python that they start. Only builtin modules and what Python itself has loaded by
then is imported here: each kernel and each of its children pays for it.
"""

import _thread
import importlib.util
import os
import sys
import zlib
from importlib.machinery import PathFinder

LOG = ""
ROOTS: tuple[str, ...] = ("",)
EVENTS = {"open": "file", "os.listdir": "folder", "os.scandir": "folder"}
PASSING = {"__pycache__", ".ipynb_checkpoints"}

seen: set[tuple[str, str]] = set()
looking: set[int] = set()
"""Threads that look into byte code, which is no reading of the chapter's."""


def signature(path: str, listed: bool = False) -> str:
    """What tells whether a file, or the list of a folder's names, has changed since; `absent` where there is none."""
    try:
        if listed:
            names = sorted(name for name in os.listdir(path) if name not in PASSING)
            return f"{len(names)}:{zlib.crc32(os.fsencode(os.sep.join(names)))}"
        state = os.stat(path)
    except OSError:
        return "absent"
    return f"{state.st_mtime_ns}:{state.st_size}:{state.st_ino}"


def note(line: str) -> None:
    """Add a line to the log: the whole of it or nothing, from however many processes."""
    file = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, os.fsencode(line))
    finally:
        os.close(file)


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """Note the first time that each file is opened (which it need not be there for), or each folder listed."""
    kind = EVENTS.get(event)
    if kind is None or _thread.get_ident() in looking:
        return
    try:
        path = os.path.abspath(os.fsdecode(arguments[0]))  # type: ignore[arg-type]
        if path == LOG or not path.startswith(ROOTS) or (kind, path) in seen:
            return
        # Python's search for modules lists the folders on its path; what it found is seen when it opens that.
        if kind == "folder" and "importlib" in sys._getframe(1).f_code.co_filename:
            return
        if not path.endswith(".pyc"):
            seen.add((kind, path))
            note(f"{kind}\t{signature(path, kind == 'folder')}\t{path}\n")
    except (OSError, TypeError, ValueError):
        return  # a descriptor in the place of a name, or a name that no file can have
    if path.endswith(".pyc") and not knows_its_source(path):
        # Other byte code may be that of the version before. Python takes the source where it cannot be had.
        raise FileNotFoundError(f"{path}: the source counts")


def knows_its_source(path: str) -> bool:
    """Whether byte code holds a hash of its source, and not only its size and whole seconds."""
    looking.add(_thread.get_ident())
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            return os.read(file, 8)[4:] == b"\x03\0\0\0"
        finally:
            os.close(file)
    except OSError:
        return False
    finally:
        looking.discard(_thread.get_ident())


def others() -> None:
    """Load the module of this name that would have been loaded in the place of this one, if there is one."""
    here = os.path.dirname(os.path.abspath(__file__))
    spec = PathFinder.find_spec("sitecustomize", [place for place in sys.path if os.path.abspath(place) != here])
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def begin() -> None:
    """Watch from now on, if the environment says where to write."""
    global LOG, ROOTS
    LOG = os.environ.get("MOELAWS_BOOK_LOG", "")
    ROOTS = tuple(os.environ.get("MOELAWS_BOOK_ROOTS", "").split(os.pathsep))
    if LOG:
        note("watching\n")
        sys.addaudithook(watch)


if __name__ == "sitecustomize":
    begin()
    others()
