"""What may happen to a sweep: starting it again gives the table of an undisturbed one, bit by bit.

Every fault is a real one, of a real process, signal or file system.
"""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moelaws.runs import RunTableError, TableInUseError
from moelaws.sweeping import sweep
from moelaws.sweeping.executors import LocalWorkers, WorkerLostError
from moelaws.sweeping.progress import Progress
from moelaws.sweeping.sweep import SweepError, run_sweep
from small_sweep import (
    RUNS,
    Gate,
    Inline,
    alive,
    command,
    coordinator,
    deadly_row,
    end_all,
    first_row,
    rows,
    tiny_sweep,
    undisturbed,
    until,
    with_tests,
    workers_of,
)  # fmt: skip

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes through /proc")

# The next row is cut off after 300 of its bytes.
LEAVE_300_BYTES = "resource.setrlimit(resource.RLIMIT_FSIZE, (Path({path!r}).stat().st_size + 300, -1))"


def test_a_second_coordinator_is_refused_by_name_and_a_worker_killed_in_mid_run_is_replaced(
    gate: Gate, tmp_path: Path
) -> None:
    path = tmp_path / "runs.csv"
    process = coordinator(path, "gated_row", workers=1)
    first_row(process)
    with pytest.raises(TableInUseError, match=rf"runs\.csv: another process .* \(process {process.pid} on .*\); wait"):
        run_sweep(tiny_sweep(), path, executor=Inline())
    os.kill(gate.one_waiting(), signal.SIGKILL)
    gate.open()
    printed, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert "event: a worker process was killed; what it was doing is begun again" in printed
    assert rows(path) == undisturbed()
    assert run_sweep(tiny_sweep(), path, executor=Inline()) == 0


@pytest.mark.validate
def test_a_run_that_kills_its_workers_does_not_take_the_others_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.csv"
    events: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "train_row", deadly_row)
        with pytest.raises(SweepError, match=r"1 run ended in an error.*WorkerLostError: its worker process was kil"):
            run_sweep(tiny_sweep(), path, workers=2, on_event=events.append)
    assert sum("begun again" in event for event in events) == 2
    assert len(rows(path)) == RUNS - 1
    assert run_sweep(tiny_sweep(), path, executor=Inline()) == 1
    assert rows(path) == undisturbed()


def test_a_coordinator_killed_in_mid_run_takes_its_workers_with_it(gate: Gate, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    process = coordinator(path, "gated_row")
    first_row(process)
    workers = workers_of(process.pid)
    assert workers
    process.kill()
    process.communicate()
    until(lambda: not any(map(alive, workers)), "the end of the workers of a killed coordinator")
    assert len(rows(path)) == 1
    run_sweep(tiny_sweep(), path, executor=Inline())
    assert rows(path) == undisturbed()


@pytest.mark.validate
def test_a_coordinator_killed_again_and_again_gets_there(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    dice = random.Random(0)
    for _ in range(2):
        process = coordinator(path, workers=1)
        assert process.stdout is not None
        process.stdout.readline()  # a row, or the end of a sweep that had nothing left to do
        time.sleep(dice.uniform(0, 0.3))
        process.kill()
        process.communicate()
        recorded = rows(path)
        assert recorded.items() <= undisturbed().items()
    run_sweep(tiny_sweep(), path, executor=Inline())
    assert rows(path) == undisturbed()


def test_a_coordinator_killed_in_mid_append_leaves_a_line_that_is_repaired(tmp_path: Path) -> None:
    """The system writes 300 bytes of the second row and then kills the process, by a signal that cannot be missed."""
    path = tmp_path / "runs.csv"
    limit = LEAVE_300_BYTES.format(path=str(path))
    kill = "signal.signal(signal.SIGXFSZ, signal.SIG_DFL); resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
    process = coordinator(path, on_row=kill + limit, workers=1)
    process.communicate(timeout=240)
    assert process.returncode == -signal.SIGXFSZ
    *_, torn = path.read_bytes().split(b"\n")
    assert len(torn) == 300
    with pytest.warns(UserWarning, match=r"runs\.csv: line 3 was cut short by a crash"):
        assert run_sweep(tiny_sweep(), path, executor=Inline()) == RUNS - 1
    assert rows(path) == undisturbed()


def test_a_file_that_may_not_grow_ends_the_sweep_with_whole_rows(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    process = coordinator(path, on_row=LEAVE_300_BYTES.format(path=str(path)), workers=1)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 1
    assert f"{path}: File too large; the recorded runs are safe" in errors
    assert "Traceback" not in errors
    assert path.read_bytes().endswith(b"\n")
    assert len(rows(path)) == 1
    assert run_sweep(tiny_sweep(), path, executor=Inline()) == RUNS - 1
    assert rows(path) == undisturbed()


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    yield
    end_all()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 kB: two pages, one for the table's lock."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if _mount("-t", "tmpfs", "-o", "size=8k", "tmpfs", str(disk)) != 0:
        pytest.skip("mounting a small file system needs root; the test before covers what can be had without")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def _mount(*arguments: str) -> int:
    try:
        return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode
    except FileNotFoundError:
        return 1


def test_a_full_disk_ends_the_sweep_with_whole_rows(small_disk: Path) -> None:
    path = small_disk / "runs.csv"
    with pytest.raises(SweepError, match=r"runs\.csv: No space left on device; the recorded runs are safe"):
        run_sweep(tiny_sweep(), path, executor=Inline())
    assert path.read_bytes().endswith(b"\n")
    assert 1 <= len(rows(path)) < RUNS
    with pytest.raises(SweepError, match="No space left"):
        run_sweep(tiny_sweep(), path, executor=Inline())
    assert _mount("-o", "remount,size=1m", str(small_disk)) == 0
    run_sweep(tiny_sweep(), path, executor=Inline())
    assert rows(path) == undisturbed()


def test_a_disk_that_is_full_from_the_start_is_said_to_be(small_disk: Path) -> None:
    (small_disk / "other").write_bytes(bytes(8192))
    with pytest.raises(SweepError, match=r"runs\.csv: No space left on device; nothing was run"):
        run_sweep(tiny_sweep(), small_disk / "runs.csv", executor=Inline())


@pytest.mark.parametrize("loss", ["deleted", "moved", "emptied", "an older state", "its lock deleted"])
def test_a_table_that_is_lost_during_a_sweep_is_whole_at_its_end(tmp_path: Path, loss: str) -> None:
    path = tmp_path / "runs.csv"
    events: list[str] = []

    def lose(row: dict[str, Any], progress: Progress) -> None:
        if progress.runs == 3:
            if loss == "deleted":
                path.unlink()
            elif loss == "moved":
                path.rename(tmp_path / "moved.csv")
            elif loss == "emptied":
                path.write_text("")
            elif loss == "an older state":
                path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
            else:
                (tmp_path / "runs.csv.lock").unlink()

    assert run_sweep(tiny_sweep(), path, executor=Inline(), on_row=lose, on_event=events.append) == RUNS
    assert rows(path) == undisturbed()
    assert len(events) == 1
    assert events[0].startswith("runs.csv")
    assert run_sweep(tiny_sweep(), path, executor=Inline()) == 0


def test_a_table_that_is_changed_during_a_sweep_is_left_and_no_row_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"

    def change(row: dict[str, Any], progress: Progress) -> None:
        if progress.runs == 3:
            path.write_text("precious")

    with pytest.raises(SweepError, match=r"another program changed the table .* are in runs\.saved-1\.csv beside it"):
        run_sweep(tiny_sweep(), path, executor=Inline(), on_row=change)
    assert path.read_text() == "precious"
    saved = tmp_path / "runs.saved-1.csv"
    assert len(rows(saved)) == 4
    assert run_sweep(tiny_sweep(), saved, executor=Inline()) == RUNS - 4
    assert rows(saved) == undisturbed()


def test_a_damaged_row_is_named_before_anything_is_run_and_run_again_once_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    run_sweep(tiny_sweep(), path, executor=Inline())
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[3][: len(lines[3]) // 2] + b"\n", *lines[4:]]))
    executor = Inline()
    with pytest.raises(RunTableError, match=r"runs\.csv: row 4 is damaged: found \d+ cells, expected"):
        run_sweep(tiny_sweep(), path, executor=executor)
    assert not executor.submitted
    path.write_bytes(b"".join([*lines[:3], *lines[4:]]))
    assert run_sweep(tiny_sweep(), path, executor=Inline()) == 1
    assert rows(path) == undisturbed()


def test_a_run_whose_loss_becomes_nan_is_a_row_and_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    runs = tiny_sweep()
    hot = replace(runs[2].run, train=replace(runs[2].run.train, learning_rate=1e30))
    runs.append(replace(runs[2], run=hot))
    assert run_sweep(runs, path, executor=Inline()) == RUNS + 1
    table = rows(path)
    (diverged,) = (row for row in table.values() if row["status"] != "finished")
    assert diverged["status"] == "diverged"
    assert "nan" in diverged["reason"]
    assert diverged["loss"] == ""
    assert undisturbed().items() <= table.items()
    assert run_sweep(runs, path, executor=Inline()) == 0


def test_ctrl_c_ends_with_a_sentence_and_safe_rows_and_does_not_wait_for_a_run_of_an_hour(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    process = command("small_sweep:tiny_and_endless_sweep", "--out", str(path))
    first_row(process)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    _until_works(workers)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "safe in" in errors
    assert "Traceback" not in errors
    assert errors.strip().count("\n") == 0
    assert not any(map(alive, workers))
    run_sweep(tiny_sweep(), path, executor=Inline())
    assert rows(path) == undisturbed()


def _until_works(processes: list[int]) -> None:
    """Wait until workers are at work: between two runs they use no processor time."""

    def ticks() -> int:
        return sum(int(Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[11]) for each in processes)

    before = ticks()
    until(lambda: ticks() - before >= 5, "workers at work")


def test_workers_that_do_not_start_are_said_not_to(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(f"import small_sweep, sys\nfrom moelaws.sweeping.sweep import run_sweep\n"
                      f"run_sweep(small_sweep.tiny_sweep(), {str(tmp_path / 'runs.csv')!r})\n")  # fmt: skip
    result = subprocess.run(
        [sys.executable, str(script)], env=with_tests(), capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 1
    assert "WorkersError: the worker processes do not start" in result.stderr.strip().splitlines()[-1]


def test_a_worker_killed_while_idle_is_replaced() -> None:
    with LocalWorkers(1, device="cpu") as workers:
        first = workers.submit(os.getpid).result()
        os.kill(first, signal.SIGKILL)
        until(lambda: not alive(first), "its end")
        second = workers.submit(os.getpid).result()
        assert second != first
        with pytest.raises(WorkerLostError, match="killed 3 times"):
            workers.submit(os.abort).result()
        assert workers.submit(os.getpid).result() != second


def test_no_limit_is_left_behind() -> None:
    """The tests above limit other processes, never this one."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
