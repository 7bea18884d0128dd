"""Execution of one chapter by papermill, in a process of its own, with a progress line for each cell."""

import os
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bookbuild.execution.nursery import Nursery, nursed
from bookbuild.inputs.named import sources_of
from bookbuild.inputs.seen import NOTHING, Seen, read_log, watching
from bookbuild.pages.outputs import cell_numbers, draw_charts

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

CELL_TIMEOUT_S = 1800
"""A cell that runs longer is stopped: a build that hangs tells nobody anything."""

KERNEL_TIMEOUT_S = 180
"""Time for a kernel to start on a busy machine."""

TRACEBACK_LINES = 12

MANY = 5
"""Chapters from which on a nursery saves more than it takes."""


@dataclass(frozen=True)
class Job:
    """A chapter to execute.

    Arguments:
        page: page name, for example `chapters/counting`.
        notebook: the chapter as JSON text, without outputs.
        parameters: values that replace defaults of the parameters cell.
        profile: name of the profile they belong to.
        root: folder of the book; the kernel works in that of the chapter.
        loaded: modules that its kernel shares with those of other chapters; None for a kernel by itself.
    """

    page: str
    notebook: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    profile: str = "full"
    root: Path = Path()
    loaded: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Executed:
    """What became of a job: either a notebook or a failure.

    Arguments:
        page: page name.
        seconds: wall-clock time of all cells.
        notebook: the executed chapter as JSON text, None where it failed.
        failure: chapter, cell and cause in words, None where it succeeded.
        seen: what it read.
    """

    page: str
    seconds: float
    notebook: str | None = None
    failure: str | None = None
    seen: Seen = NOTHING


def execute(job: Job, scratch: Path) -> Executed:
    """Execute a chapter from a fresh kernel. Call it in a process of its own: it changes directory and environment.

    Arguments:
        job: what to execute.
        scratch: folder for what the kernel needs; its path must be short, for the kernel's sockets lie there.

    Returns:
        The executed notebook, or the failure; a failing cell raises nothing.
    """
    import nbformat
    import papermill
    from papermill.engines import papermill_engines
    from papermill.exceptions import PapermillExecutionError

    papermill_engines.register("announcing", _announcing_engine())
    notebook = nbformat.reads(job.notebook, as_version=4)
    begin, started = time.perf_counter(), [0]
    with tempfile.TemporaryDirectory(dir=scratch) as private:
        log = Path(private) / "read.log"
        os.environ.update(_kernel_environment(private) | watching(log, sources_of(job.root)))
        try:
            done = papermill.execute_notebook(
                notebook,
                None,
                parameters=dict(job.parameters),
                engine_name="announcing",
                kernel_name="python3",
                language="python",
                progress_bar=False,
                cwd=(job.root / job.page).parent,
                execution_timeout=CELL_TIMEOUT_S,
                announce=job.page.rsplit("/", 1)[-1],
                started=started,
                **_kernels(job),
                config=_kernel_transport(private),
                start_timeout=KERNEL_TIMEOUT_S,
            )
        except PapermillExecutionError as error:
            failure = _cell_failure(job, started[-1], error)
        except Exception as error:  # a kernel that dies or hangs is this chapter's failure, not the build's crash
            failure = f"{_where(job, started[-1])} failed: {type(error).__name__}: {str(error)[:600]}"
        else:
            seconds = time.perf_counter() - begin
            undrawn = draw_charts(job.page, done)
            if undrawn is None:
                return Executed(job.page, seconds, notebook=_plain(done, job), seen=read_log(log, job.root))
            failure = undrawn
    return Executed(job.page, time.perf_counter() - begin, failure=failure)


def hush(_: int) -> None:
    """Let nothing be seen of what this process and its kernels print on standard error.

    What is wrong in a cell stands in its outputs, and what is wrong with a kernel in the failure. The rest is what
    libraries print behind Python's back, such as ZeroMQ's assertions in a kernel that is ended while it ends.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)


def end_children() -> None:
    """End the kernels and programs that this process has started: none of them may outlive the build."""
    import psutil

    while children := [child for child in psutil.Process().children(recursive=True) if _is_running(child)]:
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=1)


def _is_running(process: Any) -> bool:
    import psutil

    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _kernel_transport(private: str) -> Any:
    """Talk to the kernel through private sockets: ports of the machine are open to all, and parallel kernels race."""
    from traitlets.config import Config

    if os.name != "posix":
        return Config()
    # Named, because the default is a name in the working directory, which all chapters of a folder share.
    return Config({"KernelManager": {"transport": "ipc", "ip": f"{private}/kernel"}})


_nurseries: list[Nursery] = []
"""That of this process, once there is one."""


def _kernels(job: Job) -> dict[str, Any]:
    """Where the kernel comes from: of many, from a nursery, if this system divides processes that have loaded much."""
    if job.loaded is None or sys.platform != "linux":
        return {}
    if not (_nurseries and _nurseries[-1].is_alive):
        _nurseries.append(Nursery([sys.executable, "-Xfrozen_modules=off"], job.loaded))
    return {"kernel_manager_class": nursed(_nurseries[-1])}


def _kernel_environment(private: str) -> dict[str, str]:
    """Settings the kernel inherits: the same on every machine, whatever its owner configured."""
    return {
        **dict.fromkeys(THREADS, "1"),
        "MOELAWS_CHARTS": "later",
        "MPLBACKEND": "agg",
        "PYTHONHASHSEED": "0",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        # A reader's own IPython start-up files would run in every chapter, and parallel kernels lock one history.
        "IPYTHONDIR": private,
        "JUPYTER_RUNTIME_DIR": private,
        "JUPYTER_PREFER_ENV_PATH": "1",
    }


def _announcing_engine() -> Any:
    """Papermill's own engine, which prints a line when a cell is done."""
    from papermill.engines import NBClientEngine

    class AnnouncingEngine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **kwargs: Any) -> Any:
            name, started = kwargs.pop("announce"), kwargs.pop("started")
            numbers, begin = cell_numbers(nb_man.nb), time.perf_counter()
            begun, complete = nb_man.cell_start, nb_man.cell_complete

            def start(cell: Any, cell_index: int, **more: Any) -> None:
                nonlocal begin
                begin = time.perf_counter()
                started.append(numbers.get(cell_index, 0))
                begun(cell, cell_index, **more)

            def finish(cell: Any, cell_index: int | None = None, **more: Any) -> None:
                complete(cell, cell_index=cell_index, **more)
                if cell_index in numbers:
                    seconds = time.perf_counter() - begin
                    label = f"cell {numbers[cell_index]}/{len(numbers)}"
                    print(f"{name}  {label}  {seconds:.1f} s", flush=True)

            nb_man.cell_start, nb_man.cell_complete = start, finish
            return super().execute_managed_notebook(nb_man, kernel_name, **kwargs)

    return AnnouncingEngine


def _where(job: Job, number: int) -> str:
    """Name a cell by its number; 0 stands for what comes before the author's cells."""
    import nbformat

    cells = len(cell_numbers(nbformat.reads(job.notebook, as_version=4)))
    return f"{job.page}.md: " + (f"cell {number}/{cells}" if number else f"setting up profile '{job.profile}'")


def _cell_failure(job: Job, number: int, error: Any) -> str:
    first_line = next((line for line in error.source.splitlines() if line.strip()), "")
    trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback)).splitlines()[-TRACEBACK_LINES:]
    lines = [f"{_where(job, number)} failed: {error.ename}: {error.evalue}", f"    first line: {first_line}"]
    return "\n".join(lines + [f"    | {line}" for line in trace])


def _plain(notebook: Any, job: Job) -> str:
    """Drop papermill's own records (run ids, dates, paths): two executions should differ only in what they found."""
    import nbformat

    for key in ("papermill", "moelaws", "jupytext", "widgets"):
        notebook.metadata.pop(key, None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "profile"
            cell.source = cell.source.replace("# Parameters", f"# Profile '{job.profile}' sets", 1)
    return nbformat.writes(notebook, version=4)
