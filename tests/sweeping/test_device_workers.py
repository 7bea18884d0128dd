"""Threads that share a GPU: what does not need one to be seen."""

import threading
from pathlib import Path
from typing import Any

import pytest

from moelaws.config import ModelConfig, RunConfig, TrainConfig
from moelaws.runs import read_runs
from moelaws.sweeping import executors
from moelaws.sweeping.executors import DeviceWorkers, on_gpu, thread_end
from moelaws.sweeping.sweep import SweepRun, run_sweep

MODEL = ModelConfig(d_model=16, n_heads=2, d_ff=32, n_experts=2, context=32)


def _runs(count: int, steps: int = 12) -> list[SweepRun]:
    trains = [
        TrainConfig(tokens=32 * 4 * steps, batch_sequences=4, validation_tokens=512, seed=s) for s in range(count)
    ]
    return [SweepRun(RunConfig(MODEL, train), "threads", budget=1e9) for train in trains]


def test_threads_make_the_rows_that_processes_make(tmp_path: Path) -> None:
    with DeviceWorkers(3, "cpu") as pool:
        assert run_sweep(_runs(4), tmp_path / "threads.csv", executor=pool, device="cpu") == 4
    assert run_sweep(_runs(4), tmp_path / "process.csv", workers=1, device="cpu") == 4
    threads, process = (
        read_runs(tmp_path / f"{name}.csv").set_index("run_id")["loss"] for name in ("threads", "process")
    )
    assert threads.sort_index().to_dict() == process.sort_index().to_dict()


def test_runs_end_soon_after_ctrl_c(tmp_path: Path) -> None:
    begun: list[Any] = []

    def interrupt(row: dict[str, Any], progress: object) -> None:
        begun.append(row)
        raise KeyboardInterrupt

    long = _runs(2, steps=2_000_000)[1:]  # would take hours
    with pytest.raises(KeyboardInterrupt), DeviceWorkers(2, "cpu") as pool:
        run_sweep([*_runs(1), *long], tmp_path / "runs.csv", executor=pool, device="cpu", on_row=interrupt)
    assert len(begun) == len(read_runs(tmp_path / "runs.csv")) == 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("moelaws")]


def test_only_their_threads_are_asked_to_end() -> None:
    assert thread_end() is None
    with DeviceWorkers(1, "cpu") as pool:
        end = pool.submit(thread_end).result()
    assert end is not None
    assert not end.is_set()


def test_a_machine_without_a_gpu_is_known_without_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(executors, "Path", lambda _: tmp_path)  # in place of /dev
    monkeypatch.setattr(executors.shutil, "which", lambda _: None)
    monkeypatch.setitem(__import__("sys").modules, "torch", None)  # an import of it would fail
    assert not on_gpu("auto")
    assert not on_gpu("cpu")
    assert on_gpu("cuda:1")
