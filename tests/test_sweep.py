"""Sweeps: resumable whatever is killed, no row lost or doubled, losses equal to those of an undisturbed sweep."""

import concurrent.futures
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from moelaws.config import ModelConfig, RunConfig, TrainConfig
from moelaws.runs import TableInUseError, read_runs
from moelaws.training import sweep, sweeps
from moelaws.training.corpus import CorpusError
from moelaws.training.recipe import learning_rate, tiny_model
from moelaws.training.record import run_of
from moelaws.training.sweep import SweepError, SweepRun, run_sweep


def tiny_sweep(runs: int = 6, steps: int = 12) -> list[SweepRun]:
    """Runs of a fraction of a second, in the order shortest first."""
    model = ModelConfig(d_model=16, n_heads=2, d_ff=32, n_experts=4, context=32)
    return [
        SweepRun(
            RunConfig(
                model, TrainConfig(tokens=32 * 4 * (steps + i), batch_sequences=4, validation_tokens=512, seed=i)
            ),
            "tiny",
            budget=1e9,
        )
        for i in range(runs)
    ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    path = tmp_path_factory.mktemp("sweep") / "runs.csv"
    assert run_sweep(tiny_sweep(), path, executor=_Inline()) == 6
    return _losses(path)


class _Inline(concurrent.futures.Executor):
    """Runs each call at once, here, and keeps the order: any executor will do."""

    def __init__(self) -> None:
        self.submitted: list[SweepRun] = []

    def submit(self, fn, /, *args, **kwargs):
        self.submitted.append(args[0])
        future: concurrent.futures.Future = concurrent.futures.Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _losses(path: Path) -> dict[str, float]:
    runs = read_runs(path)
    assert runs["run_id"].is_unique
    return dict(zip(runs["run_id"], runs["loss"], strict=True))


def test_worker_processes_give_the_same_bits(tmp_path: Path, undisturbed: dict[str, float]) -> None:
    path = tmp_path / "runs.csv"
    assert run_sweep(tiny_sweep(), path, workers=2) == 6
    assert _losses(path) == undisturbed


def test_what_is_recorded_is_not_run_again(tmp_path: Path, undisturbed: dict[str, float]) -> None:
    path = tmp_path / "runs.csv"
    runs = tiny_sweep()
    assert run_sweep(runs, path, limit=2, executor=_Inline()) == 2
    first = path.read_text()
    assert run_sweep(runs + runs, path, executor=_Inline()) == 4
    assert path.read_text().startswith(first)
    assert _losses(path) == undisturbed
    assert run_sweep(runs, path, executor=_Inline()) == 0


def test_the_longest_runs_come_first_and_progress_is_told(tmp_path: Path) -> None:
    executor = _Inline()
    seen: list[tuple[int, float]] = []
    run_sweep(
        tiny_sweep(3), tmp_path / "runs.csv", executor=executor,
        on_row=lambda _, progress: seen.append((progress.runs, progress.seconds_left)),
    )  # fmt: skip
    flops = [item.train_flops for item in executor.submitted]
    assert flops == sorted(flops, reverse=True)
    assert [runs for runs, _ in seen] == [1, 2, 3]
    assert seen[-1][1] == 0


COORDINATOR = """
import sys
sys.path.append({tests!r})
from moelaws.training.sweep import run_sweep
from test_sweep import tiny_sweep

if __name__ == "__main__":
    run_sweep(tiny_sweep(steps={steps}), {path!r}, workers=2, on_row=lambda row, _: print(row["run_id"], flush=True))
"""


def _coordinator(folder: Path, path: Path, steps: int = 12) -> subprocess.Popen:
    script = folder / "coordinator.py"
    script.write_text(COORDINATOR.format(tests=str(Path(__file__).parent), path=str(path), steps=steps))
    return subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)


def _children(process: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_text()
            except OSError:
                continue
            if int(fields[1]) == process and "spawn_main" in command:
                found.append(int(entry.name))
    return found


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes through /proc")
def test_a_killed_coordinator_loses_and_doubles_nothing(tmp_path: Path, undisturbed: dict[str, float]) -> None:
    path = tmp_path / "runs.csv"
    coordinator = _coordinator(tmp_path, path)
    assert coordinator.stdout is not None
    coordinator.stdout.readline()  # one row is on the disk
    workers = _children(coordinator.pid)
    assert workers
    coordinator.send_signal(signal.SIGKILL)
    coordinator.communicate()
    deadline = time.time() + 20
    while any(Path(f"/proc/{worker}/task").exists() and _alive(worker) for worker in workers):
        assert time.time() < deadline, "workers outlive their killed coordinator"
        time.sleep(0.1)
    recorded = _losses(path)
    assert 1 <= len(recorded) <= 6
    with path.open("ab") as file:
        file.write(b"0123,tiny,fin")  # and it was in the middle of a row
    with pytest.warns(UserWarning, match="was cut short by a crash"):
        run_sweep(tiny_sweep(), path, executor=_Inline())
    assert _losses(path) == undisturbed


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes through /proc")
def test_a_killed_worker_is_replaced(tmp_path: Path, undisturbed: dict[str, float]) -> None:
    path = tmp_path / "runs.csv"
    coordinator = _coordinator(tmp_path, path)
    assert coordinator.stdout is not None
    coordinator.stdout.readline()
    for worker in _children(coordinator.pid)[:1]:
        os.kill(worker, signal.SIGKILL)
    coordinator.communicate(timeout=120)
    assert coordinator.returncode == 0
    assert _losses(path) == undisturbed


def test_a_second_sweep_on_the_table_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    first = _coordinator(tmp_path, path, steps=400)
    try:
        assert first.stdout is not None
        first.stdout.readline()
        with pytest.raises(TableInUseError, match=r"runs\.csv: another process is writing"):
            run_sweep(tiny_sweep(), path, executor=_Inline())
    finally:
        first.kill()
        first.communicate()


def test_a_failing_run_does_not_take_the_others_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, bad = sweep.train_row, tiny_sweep()[2].run.train.seed

    def sometimes(item: SweepRun, device: str) -> dict:
        if item.run.train.seed == bad:
            raise MemoryError("not enough")
        return real(item, device)

    monkeypatch.setattr(sweep, "train_row", sometimes)
    path = tmp_path / "runs.csv"
    with pytest.raises(
        SweepError, match=r"1 runs ended in an error, the first: run [0-9a-f]{16}: MemoryError: not enough"
    ):
        run_sweep(tiny_sweep(), path, executor=_Inline())
    assert len(_losses(path)) == 5
    monkeypatch.undo()
    assert run_sweep(tiny_sweep(), path, executor=_Inline()) == 1  # the failed run is tried again


def test_a_diverged_run_is_recorded_once(tmp_path: Path) -> None:
    item = tiny_sweep(1)[0]
    hot = replace(item, run=replace(item.run, train=replace(item.run.train, learning_rate=1e30)))
    path = tmp_path / "runs.csv"
    assert run_sweep([hot], path, executor=_Inline()) == 1
    row = read_runs(path).iloc[0]
    assert row["status"] == "diverged"
    assert "nan" in row["reason"]
    assert run_sweep([hot], path, executor=_Inline()) == 0


def test_a_sweep_on_a_missing_text_runs_nothing(tmp_path: Path) -> None:
    item = tiny_sweep(1)[0]
    astray = replace(item, run=replace(item.run, corpus=str(tmp_path / "absent.txt")))
    with pytest.raises(CorpusError, match=r"absent\.txt: no such file"):
        run_sweep([astray], tmp_path / "runs.csv")
    assert not (tmp_path / "runs.csv").exists()


RECORDED = Path(__file__).parent.parent / "data" / "runs" / "isoflop_first.csv"


def test_the_recorded_sweep_is_the_one_the_code_describes() -> None:
    recorded = read_runs(RECORDED)
    wanted = {sweep._pin(item).run.run_id: item for item in sweeps.isoflop_first()}
    assert set(recorded["run_id"]) == set(wanted)
    for _, row in recorded.iterrows():
        assert run_of(dict(row)).run_id == row["run_id"]
        assert row["train_flops"] == wanted[row["run_id"]].train_flops
        assert row["train_flops"] == pytest.approx(row["budget"], rel=0.02)


def test_recorded_runs_can_be_run_again() -> None:
    """Bit-equal where machine and torch are the recorded ones, else within three seed standard deviations."""
    recorded = read_runs(RECORDED)
    seeds = recorded[recorded.groupby(["budget", "n_experts", "d_model"])["loss"].transform("size") >= 3]
    noise = seeds.groupby(["budget", "n_experts", "d_model"])["loss"].std().max()
    shortest = recorded.sort_values("seconds").iloc[0]
    wanted = {sweep._pin(item).run.run_id: item for item in sweeps.isoflop_first()}
    again = sweep.train_row(wanted[shortest["run_id"]], "cpu")
    same = all(again[name] == shortest[name] for name in ("machine", "torch_version", "threads"))
    assert again["loss"] == (shortest["loss"] if same else pytest.approx(shortest["loss"], abs=3 * noise))


def test_the_recipe_scales_with_width() -> None:
    assert learning_rate(16) > learning_rate(32) > learning_rate(64)
    for width in (16, 24, 40, 64, 96):
        model = tiny_model(width, 8)
        assert model.d_ff == 4 * width
        assert model.head_dim in (8, 16)
