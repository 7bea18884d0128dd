"""One command in a forked process: how it ended, what it printed, how long and how much it took, what it changed."""

import concurrent.futures.process
import multiprocessing.util
import os
import resource
import signal
import stat
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fuzz.command import Input

LONGEST = 60.0
"""Seconds after which a command counts as hung, those in which it waited for a processor aside."""
_MOST_PATIENCE = 10 * LONGEST
"""Seconds after which it does so on any machine."""
_ADDRESS_SPACE = 6_000_000_000
"""Bytes that a command may map on top of what is loaded already: its own limit, should it really take too much."""
_LARGEST_FILE = 200_000_000
_UNCAUGHT = 99


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Attributes:
        code: exit code; minus the signal that killed it.
        out, err: what it printed.
        seconds: wall time.
        megabytes: most memory that was resident, what was loaded before it began included.
        changed: files that it made, changed or removed.
        hung: whether it had to be killed.
        left: whether processes of its own were still there.
    """

    code: int
    out: str
    err: str
    seconds: float
    megabytes: float
    changed: tuple[str, ...]
    hung: bool
    left: bool


def load() -> None:
    """Import what the commands import, once for all of them."""
    import importlib
    import pkgutil

    import bookbuild
    import moelaws

    for package in (moelaws, bookbuild):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for name in ("distributed", "scipy.optimize", "pyarrow.parquet", "rich.progress"):
        importlib.import_module(name)


def run(one: Input, folder: Path, prints: Path) -> Ending:
    """Carry out a command in a process of its own.

    Args:
        one: the command.
        folder: working folder, filled by ``files.build``; put back as it was only by whoever built it.
        prints: another folder, for what it prints.
    """
    for name, content in one.files:
        (folder / name).write_bytes(content)
    before = state(folder)
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_the_command(one, folder, prints)
    hung = False
    while True:
        ended, status, used = os.wait4(child, os.WNOHANG)
        if ended:
            break
        if _is_hung(child, time.monotonic() - start):
            hung = True
            os.killpg(child, signal.SIGKILL)
            _, status, used = os.wait4(child, 0)
            break
        time.sleep(0.002)
    seconds = time.monotonic() - start
    left = _kill_the_rest(child)
    after = state(folder)
    changed = tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))
    out, err = ((prints / name).read_text(errors="surrogateescape") for name in ("out", "err"))
    return Ending(
        os.waitstatus_to_exitcode(status), out, err, seconds, used.ru_maxrss / 1024, changed, hung, left and not hung
    )


def _is_hung(group: int, seconds: float) -> bool:
    return seconds > LONGEST and (seconds > _MOST_PATIENCE or seconds - _starved(group) > LONGEST)


def _starved(group: int) -> float:
    """Seconds in which the processes of a group could have gone on and others had the processor (Linux; else 0)."""
    found = 0.0
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            if int((place / "stat").read_text().rpartition(")")[2].split()[2]) == group:
                found += int((place / "schedstat").read_text().split()[1]) / 1e9
    return found


def state(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything in a folder, by name: what no write and no replacement leaves as it was (a file's times among it)."""
    found: dict[str, tuple[object, ...]] = {}
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in (*folders, *files):
            path = os.path.join(place, name)
            status = os.lstat(path)
            is_file = stat.S_ISREG(status.st_mode)
            times = (status.st_size, status.st_mtime_ns, status.st_ctime_ns) if is_file else ()
            found[os.path.relpath(path, folder)] = (status.st_mode, status.st_ino, *times)
    return found


def _be_the_command(one: Input, folder: Path, prints: Path) -> None:
    """Become the command: its own session, folder and streams; never returns."""
    code = _UNCAUGHT
    try:
        os.setsid()
        os.chdir(folder)
        for number, name in ((1, "out"), (2, "err")):
            handle = os.open(prints / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(handle, number)
            os.close(handle)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
        sys.path.insert(0, "")
        # It reserves more addresses than the limit below, and aborts without them; charts are drawn in other tests.
        sys.modules["vl_convert"] = None  # type: ignore[assignment]
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + _ADDRESS_SPACE,) * 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE,) * 2)
        from fuzz.programs import main

        try:
            code = main(list(one.argv))
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        sys.stdout.flush()
        sys.stderr.flush()
        # What Python does at the end, without what the process that forked has registered there.
        concurrent.futures.process._python_exit()
        multiprocessing.util._exit_function()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _kill_the_rest(group: int) -> bool:
    """End what a command left behind; whether there was anything."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    for _ in range(100):  # what is on its way out
        time.sleep(0.1)
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
    os.killpg(group, signal.SIGKILL)
    return True
