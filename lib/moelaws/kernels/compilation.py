"""Functions compiled once, then read from the disk.

numba keeps what it has compiled beside the source, which may be a folder that nobody may write, and looks for changes
in the one file of the function alone. So the place is ours: the library's cache folder (or ``$NUMBA_CACHE_DIR``), a
folder for each state of all the sources and each width of vector.

What compiles are other processes, whose memory goes with them, and which an interrupt ends at once. Parts that several
functions share are in memory several times, and the linker takes one of them; all of them compute the same bits, since
none may reorder arithmetic (``memory.part``).
"""

import contextlib
import hashlib
import importlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numba

from moelaws.files import cache_folder
from moelaws.kernels import tiles
from moelaws.stages import stage

_PATIENCE = 600  # seconds that another process may take


def compiled(
    functions: Mapping[Callable[..., Any], str], what: str, sources: Iterable[Path] = (), **states: object
) -> dict[Callable[..., Any], Callable[..., Any]]:
    """Functions as machine code for this processor: compiled in seconds, or found on the disk.

    Args:
        functions: of modules, in the part of Python that numba knows, each with the one signature that it is compiled
            for, such as ``(int64, float64)``.
        what: is compiled, for the user who waits.
        sources: folders whose modules they are made of, besides this one.
        states: other things that the machine code depends on.

    Returns:
        What to call instead of each.
    """
    folder = _folder(sources, states)
    mark = None if folder is None else folder / f"{_stamp(functions)}.ready"
    with stage(f"compiling {what}, once on this machine"):
        if folder is not None and mark is not None and not mark.exists():
            with _alone(folder):
                if not mark.exists() and _compile_elsewhere(functions, folder):
                    mark.touch()
        return {function: _made(function, signature, folder) for function, signature in functions.items()}


def _made(function: Callable[..., Any], signature: str, folder: Path | None) -> Callable[..., Any]:
    """The compiled function: from the folder if it is there, else made, and put there."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder or "")
    try:
        ready: Any = numba.njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True, cache=folder is not None)(
            function
        )
    finally:
        numba.config.CACHE_DIR = before
    ready.compile(signature)
    ready.disable_compile()
    return ready


def _compile_elsewhere(functions: Mapping[Callable[..., Any], str], folder: Path) -> bool:
    """Have other processes fill the folder; where that cannot be, this one will."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    line = [sys.executable, "-c", f"from {__name__} import main; main()", str(folder)]
    quiet, until = subprocess.DEVNULL, time.monotonic() + _PATIENCE
    started: list[subprocess.Popen[bytes]] = []
    try:
        for names in _shares(functions):
            started.append(subprocess.Popen([*line, *names], env=environment, stdin=quiet, stdout=quiet, stderr=quiet))
        return all([process.wait(max(until - time.monotonic(), 0)) == 0 for process in started])
    except (OSError, subprocess.SubprocessError):
        return False
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait()


def _shares(functions: Mapping[Callable[..., Any], str]) -> list[list[str]]:
    """Functions as MODULE:NAME:SIGNATURE, in two shares where two can be compiled at a time.

    Those of one module stay together, for they are made of the same parts, which one process compiles but once.
    """
    modules = list(dict.fromkeys(function.__module__ for function in functions))
    first = modules[: len(modules) // 2] if (os.cpu_count() or 1) > 1 else []
    shares: tuple[list[str], list[str]] = [], []
    for function, signature in functions.items():
        share = shares[function.__module__ not in first]
        share.append(f"{function.__module__}:{function.__name__}:{signature}")
    return [share for share in shares if share]


def main() -> None:
    """What each other process does: compile functions, given as MODULE:NAME:SIGNATURE, into a folder."""
    folder, *names = sys.argv[1:]
    for name in names:
        module, function, signature = name.split(":", 2)
        _made(getattr(importlib.import_module(module), function), signature, Path(folder))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Other processes wait, where they can be made to: else several compile the same."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _stamp(functions: Mapping[Callable[..., Any], str]) -> str:
    """What numba asks of the files of functions before it trusts what it kept, and which functions these are."""
    digest = hashlib.sha256()
    for function, signature in functions.items():
        file = Path(function.__code__.co_filename)
        state = file.stat()
        digest.update(
            f"{file.resolve()} {state.st_mtime_ns} {state.st_size} {function.__name__} {signature}\n".encode()
        )
    return digest.hexdigest()[:16]


def _folder(sources: Iterable[Path], states: dict[str, object]) -> Path | None:
    """Where the compiled code of these sources lies, or ``None`` if no such folder can be written."""
    digest = hashlib.sha256(f"{numba.__version__} {tiles.VECTOR} {tiles.MOST_ROWS} {states}".encode())
    try:
        for folder in (Path(__file__).parent, *sources):
            for source in sorted(folder.glob("*.py")):
                digest.update(source.read_bytes())
        folder = Path(numba.config.CACHE_DIR or cache_folder()) / "compiled" / digest.hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None
