"""A sweep of seconds, for the tests of sweeps: its runs, its undisturbed result, and processes to disturb it with."""

import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

from moelaws.config import ModelConfig, RunConfig, TrainConfig
from moelaws.sweeping import sweep
from moelaws.sweeping.sweep import SweepRun, run_sweep, train_row

HERE = Path(__file__).parent
RUNS = 6

# What differs between two trainings of the same run.
PROVENANCE = ("seconds", "tokens_per_second", "finished_at")


def tiny_sweep(steps: int = 12, runs: int = RUNS) -> list[SweepRun]:
    """Runs of a fraction of a second, in the order shortest first."""
    model = ModelConfig(d_model=16, n_heads=2, d_ff=32, n_experts=4, context=32)
    batch = {"batch_sequences": 4, "validation_tokens": 512}
    trains = [TrainConfig(tokens=32 * 4 * (steps + i), seed=i, **batch) for i in range(runs)]
    return [SweepRun(RunConfig(model, train), "tiny", budget=1e9) for train in trains]


def endless_sweep() -> list[SweepRun]:
    """Runs of an hour, of which none is awaited."""
    return tiny_sweep(steps=1_000_000, runs=2)


def tiny_and_endless_sweep() -> list[SweepRun]:
    """The tiny sweep, and one run that keeps it from ending."""
    return [*tiny_sweep(), *endless_sweep()[:1]]


def long_sweep() -> list[SweepRun]:
    """One run of some seconds, long enough to be killed in."""
    return tiny_sweep(steps=400, runs=1)


def rows(path: Path) -> dict[str, dict[str, str]]:
    """Run id -> row as it stands in the file, without provenance; refuses a doubled row."""
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    table = {row["run_id"]: {name: row[name] for name in row if name not in PROVENANCE} for row in found}
    assert len(table) == len(found), "a run has two rows"
    return table


@lru_cache
def undisturbed() -> dict[str, dict[str, str]]:
    """The rows of the tiny sweep when nothing happens to it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.csv"
        assert run_sweep(tiny_sweep(), path, executor=Inline()) == RUNS
        return rows(path)


class Inline(Executor):
    """Runs each call at once, here, and keeps the order: any executor will do."""

    def __init__(self) -> None:
        self.submitted: list[SweepRun] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future:
        self.submitted.append(args[0])
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def deadly_row(item: SweepRun, device: str) -> dict[str, Any]:
    """A run that costs its worker its life, as one that takes all memory would; the others are trained."""
    if item.run.train.seed == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return train_row(item, device)


def imported(name: str) -> bool:
    """Whether this process has imported a module."""
    return name in sys.modules


class Gate:
    """What keeps the runs of ``gated_row`` in their middle until it is opened: a test has all the time it needs.

    Attributes:
        folder: where the processes of a sweep meet; named in their environment.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def closed(self) -> Iterator["Gate"]:
        """Keep it closed, for the processes that are started meanwhile."""
        self.folder.mkdir()
        with mock.patch.dict(os.environ, {_GATE: str(self.folder)}):
            yield self

    def close(self) -> None:
        """Keep it closed from now on, whatever a test before has left there."""
        for mark in self.folder.iterdir():
            mark.unlink(missing_ok=True)

    def open(self) -> None:
        """Let all runs go on."""
        (self.folder / "open").touch()

    def one_waiting(self) -> int:
        """Wait until a process has a run in its middle, and name that process."""
        until(lambda: any(self.folder.glob("[0-9]*")), "a run at the gate")
        return int(next(self.folder.glob("[0-9]*")).name)

    def wait(self) -> bool:
        """Whether this process must wait."""
        mark = self.folder / str(os.getpid())
        if (self.folder / "open").exists():
            mark.unlink(missing_ok=True)
            return False
        mark.touch()
        time.sleep(0.01)
        return True


_GATE = "MOELAWS_TESTS_GATE"


def gated_row(item: SweepRun, device: str) -> dict[str, Any]:
    """A run that waits in its middle for the gate to open; only the longest, which comes first, does not."""
    watch = sweep.step_watch()
    gate = Gate(Path(os.environ[_GATE]))

    def on_step(step: int, steps: int, loss: float) -> None:
        waits = item.run.train.seed < RUNS - 1 and step == steps // 2
        while (watch is None or watch(step, steps, loss) is None) and waits and gate.wait():
            pass

    with mock.patch.object(sweep, "step_watch", return_value=on_step):
        return train_row(item, device)


COORDINATOR = """
import os, resource, signal, sys
from pathlib import Path
import small_sweep
from moelaws.sweeping import sweep
from moelaws.sweeping.sweep import SweepError, run_sweep

sweep.train_row = {run}

def on_row(row, progress):
    print(row["run_id"], flush=True)
    {on_row}

if __name__ == "__main__":
    try:
        run_sweep(
            small_sweep.tiny_sweep(), {path!r}, workers={workers}, scheduler={scheduler!r}, on_row=on_row,
            on_event=lambda sentence: print("event:", sentence, flush=True),
        )
    except SweepError as error:
        sys.exit(str(error))
"""


def coordinator(
    path: Path, run: str = "train_row", on_row: str = "pass", scheduler: str | None = None, workers: int = 2
) -> subprocess.Popen[str]:
    """Another process that runs the tiny sweep, with workers of its own or on a cluster, and prints the id of each row.

    Args:
        path: the table.
        run: the function of this module that trains a run.
        on_row: a statement to execute after each row.
        scheduler: address of a Dask scheduler.
        workers: of its own; each takes seconds to start.
    """
    values = {"path": str(path), "on_row": on_row, "scheduler": scheduler, "workers": workers}
    values["run"] = f"small_sweep.{run}"
    script = path.parent / "coordinator.py"
    script.write_text(COORDINATOR.format(**values))
    return _start([sys.executable, str(script)])


def command(*arguments: str) -> subprocess.Popen[str]:
    """``moelaws sweep`` in a process group of its own, as a terminal would start it."""
    line = [sys.executable, "-m", "moelaws.cli", "sweep", *arguments]
    return _start(line, cwd=HERE, start_new_session=True)


_STARTED: list[subprocess.Popen[str]] = []


def _start(line: list[str], **options: Any) -> subprocess.Popen[str]:
    # Where tests run in the background of a shell, Ctrl-C is ignored, and so it would be in what they start.
    pipe, heard = subprocess.PIPE, partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    started = subprocess.Popen(line, env=with_tests(), text=True, stdout=pipe, stderr=pipe, preexec_fn=heard, **options)
    _STARTED.append(started)
    return _STARTED[-1]


def end_all() -> None:
    """End what a test has started and, because it failed, not ended."""
    while _STARTED:
        process = _STARTED.pop()
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def with_tests() -> dict[str, str]:
    """An environment whose Python finds this module."""
    paths = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}


def first_row(process: subprocess.Popen[str]) -> str:
    """Wait until a coordinator has a row on the disk."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    return line.strip()


def workers_of(process: int) -> list[int]:
    """The worker processes that a coordinator has started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command_line = (entry / "cmdline").read_text()
            except OSError:
                continue
            if parent == process and "spawn_main" in command_line:
                found.append(int(entry.name))
    return found


def alive(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(true: Any, what: str, seconds: float = 120) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"after {seconds} s: not {what}"
        time.sleep(0.05)
