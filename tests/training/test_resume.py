"""Runs that save their state: killed and trained again, they end with the bits of one that nobody disturbed."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from moelaws.config import ModelConfig, RunConfig, TrainConfig
from moelaws.sweeping import sweep
from moelaws.sweeping.sweep import SweepRun, run_sweep
from moelaws.text.text import load_text
from moelaws.training import saving as saving_module
from moelaws.training import state
from moelaws.training.saving import Saving, saving_beside
from moelaws.training.train import TrainingResult, train
from small_sweep import Inline, command, end_all, rows, tiny_sweep, undisturbed, until, with_tests, workers_of

STEPS = 12
LANGUAGE = "zipf-markov:V=256"


@pytest.fixture(autouse=True)
def after_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps this short would be saved but now and then."""
    monkeypatch.setattr(state, "_SHARE", 0)


def small_run(n_experts: int = 4, bias: float = 1e-3, corpus: str = "sotu") -> RunConfig:
    """Twelve steps, with everything that a step moves: moments, balance biases, the order of the data."""
    vocab_size = 1024 if corpus == "sotu" else 256
    model = ModelConfig(
        vocab_size=vocab_size, d_model=16, n_heads=2, d_ff=32, n_experts=n_experts, context=32,
        top_k=min(2, n_experts),
    )  # fmt: skip
    recipe = TrainConfig(
        tokens=32 * 4 * STEPS, batch_sequences=4, validation_tokens=512, balance_bias_rate=bias, router_lr_factor=0.3
    )
    return RunConfig(model, recipe, corpus)


def bits(result: TrainingResult) -> tuple[object, ...]:
    """All that a run gives, as it is."""
    weights = {name: tensor.numpy().tobytes() for name, tensor in result.model.state_dict().items()}
    return result.train_loss, result.validation, result.status, weights


class Stopped(Exception):
    """A run that ends in its middle, as if killed."""


def stop_at(step: int) -> object:
    """An ``on_step`` that ends the run after a step."""

    def on_step(done: int, steps: int, loss: float) -> None:
        if done == step:
            raise Stopped

    return on_step


def interrupted(run: RunConfig, saving: Saving, step: int = 7) -> None:
    """Train a run up to a step."""
    with pytest.raises(Stopped):
        train(run, load_text(run.corpus, run.model.vocab_size), device="cpu", on_step=stop_at(step), saving=saving)


def resumed(run: RunConfig, saving: Saving) -> tuple[TrainingResult, list[int]]:
    """Train it to its end, and say which steps were made."""
    made: list[int] = []
    text = load_text(run.corpus, run.model.vocab_size)
    result = train(run, text, device="cpu", on_step=lambda step, *_: made.append(step), saving=saving)
    return result, made


@pytest.mark.parametrize(
    "run",
    [small_run(), small_run(n_experts=1, bias=0.0), small_run(corpus=LANGUAGE)],
    ids=["experts", "dense", "language"],
)
def test_a_run_goes_on_bit_for_bit(run: RunConfig, tmp_path: Path) -> None:
    whole = train(run, load_text(run.corpus, run.model.vocab_size), device="cpu")
    saving = Saving(tmp_path / "states", every=0)
    for step in (3, 7, 11):
        interrupted(run, saving, step)
    result, made = resumed(run, saving)
    assert made == [12]
    assert bits(result) == bits(whole)


CHILD = """
import os, signal, sys
sys.path.insert(0, {here!r})
from pathlib import Path
from moelaws.training import state
from moelaws.training.saving import Saving
from moelaws.text.text import load_text
from moelaws.training.train import train
from test_resume import small_run

state._SHARE = 0

def on_step(step, steps, loss):
    if step == {step}:
        os.kill(os.getpid(), signal.SIGKILL)

run = small_run()
train(run, load_text(run.corpus), device="cpu", on_step=on_step, saving=Saving(Path({folder!r}), every=0))
"""


def test_a_process_killed_in_mid_run_costs_what_was_not_saved(tmp_path: Path) -> None:
    folder = tmp_path / "states"
    for step in (4, 9):
        code = CHILD.format(here=str(Path(__file__).parent), step=step, folder=str(folder))
        killed = subprocess.run([sys.executable, "-c", code], env=with_tests(), check=False)
        assert killed.returncode == -signal.SIGKILL
    run = small_run()
    result, made = resumed(run, Saving(folder, every=0))
    assert made == [10, 11, 12]  # the ninth was saved before the kill
    assert bits(result) == bits(train(run, load_text(run.corpus), device="cpu"))


def test_seconds_before_the_kill_count(tmp_path: Path) -> None:
    run, saving = small_run(), Saving(tmp_path, every=0)

    def slow(step: int, steps: int, loss: float) -> None:
        time.sleep(0.1)
        if step == 8:
            raise Stopped

    with pytest.raises(Stopped):
        train(run, load_text(run.corpus), device="cpu", on_step=slow, saving=saving)
    result, _ = resumed(run, saving)
    assert result.seconds >= result.training_seconds > 0.7


def test_a_short_run_never_saves(tmp_path: Path) -> None:
    run = small_run()
    interrupted(run, Saving(tmp_path / "states", every=60))
    assert not (tmp_path / "states").exists()


def test_saving_takes_a_hundredth_of_the_time_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_SHARE", 100)
    clock = {"now": 1000.0}
    writes = []

    def slow_write(*_: object) -> None:
        writes.append(clock["now"])
        clock["now"] += 5.0

    monkeypatch.setattr(state, "_write", slow_write)
    monkeypatch.setattr(state.time, "perf_counter", lambda: clock["now"])

    def on_step(step: int, steps: int, loss: float) -> None:
        clock["now"] += 100.0

    run = small_run()
    train(run, load_text(run.corpus), device="cpu", on_step=on_step, saving=Saving(tmp_path, every=150))
    assert writes == [1200.0, 1705.0]  # the second one 100 times as long after the first as that took


@pytest.fixture
def saved(tmp_path: Path) -> tuple[RunConfig, Saving, list[str]]:
    """A run that was left after seven steps, and what is told when it goes on."""
    told: list[str] = []
    run, saving = small_run(), Saving(tmp_path / "states", every=0, tell=told.append)
    interrupted(run, saving)
    return run, saving, told


def begins_again(run: RunConfig, saving: Saving, told: list[str], why: str) -> None:
    """The state is of no use, which is told in a sentence; the run is the undisturbed one."""
    result, made = resumed(run, replace(saving, every=60))
    assert made == list(range(1, STEPS + 1))
    assert bits(result) == bits(train(run, load_text(run.corpus), device="cpu"))
    (sentence,) = told
    assert why in sentence
    assert sentence.endswith("it begins again")
    assert len(sentence) < 400
    assert "\n" not in sentence


@pytest.mark.parametrize("part", ["empty", "cut", "flipped", "header", "other", "text"])
def test_a_damaged_state_is_not_used(saved: tuple[RunConfig, Saving, list[str]], part: str) -> None:
    run, saving, told = saved
    file = saving.file(run.run_id)
    data = bytearray(file.read_bytes())
    if part == "empty":
        data = bytearray()
    elif part == "cut":
        data = data[: len(data) // 2]
    elif part == "flipped":
        data[-100] ^= 1
    elif part == "header":
        data[4:8] = b"\xff\xff\xff\xff"
    elif part == "text":
        data = bytearray(b"PK\x03\x04 no state at all")
    else:
        save_file({"model.embedding": torch.zeros(3)}, file)
        data = bytearray(file.read_bytes())
    file.write_bytes(data)
    begins_again(run, saving, told, "not a state that this run can go on from")


@pytest.mark.parametrize("name", ["run", "text", "code", "torch", "device", "machine", "threads"])
def test_a_foreign_state_is_not_used(saved: tuple[RunConfig, Saving, list[str]], name: str) -> None:
    run, saving, told = saved
    file = saving.file(run.run_id)
    header = _header(file)
    header["identity"][name] = "another"
    save_file(load_file(file), file, metadata={"state": json.dumps(header)})
    begins_again(run, saving, told, f"its {name} is another, expected")


def test_a_state_without_moments_is_not_used(saved: tuple[RunConfig, Saving, list[str]]) -> None:
    run, saving, told = saved
    file = saving.file(run.run_id)
    header = _header(file)
    tensors = {name: tensor for name, tensor in load_file(file).items() if not name.startswith("optimiser.1.")}
    header["check"] = state._check(tensors)
    save_file(tensors, file, metadata={"state": json.dumps(header)})
    begins_again(run, saving, told, "other tensors than the model's")


def _header(file: Path) -> dict[str, dict[str, str]]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        return json.loads(opened.metadata()["state"])


def test_a_run_that_cannot_save_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state, "_write", full)
    run = small_run()
    result, made = resumed(run, Saving(tmp_path, every=0, tell=told.append))
    assert len(made) == STEPS
    assert result.status == "finished"
    (sentence,) = told
    assert "No space left on device; the run goes on and is not saved any more" in sentence


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    interrupted(small_run(), Saving(tmp_path / "no" / "states", every=0, tell=told.append))
    (sentence,) = told
    assert "No such file or directory" in sentence
    assert not (tmp_path / "no").exists()


def test_a_folder_that_is_not_the_coordinators_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "runs.csv.partial"
    saving = Saving(folder, every=0, mark="right")
    run = small_run()
    interrupted(run, saving)
    assert not folder.exists()  # no such folder here: another machine
    folder.mkdir()
    (folder / "sweep").write_text("of another sweep")
    interrupted(run, saving)
    assert not saving.file(run.run_id).exists()
    saving.open()
    interrupted(run, saving)
    assert saving.file(run.run_id).exists()
    saving.close()
    assert folder.exists()
    saving.forget(run.run_id)
    saving.close()
    assert not folder.exists()


def test_a_sweep_goes_on_in_mid_run_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs.csv"
    trained = sweep.train_row

    def killed(item: SweepRun, device: str) -> dict[str, object]:
        assert item.saving is not None
        interrupted(item.run, item.saving)
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "train_row", killed)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(tiny_sweep(), path, executor=Inline(), save_every=0)
    (left,) = (tmp_path / "runs.csv.partial").glob("*.safetensors")
    steps: list[int] = []

    def watched(item: SweepRun, device: str) -> dict[str, object]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sweep, "step_watch", lambda: lambda step, *_: steps.append(step))
            return trained(item, device)

    monkeypatch.setattr(sweep, "train_row", watched)
    run_sweep(tiny_sweep(), path, executor=Inline(), save_every=60)
    assert steps[0] == 8  # the longest run, which was left after seven
    assert left.stem in rows(path)
    assert rows(path) == undisturbed()
    assert [file.name for file in tmp_path.iterdir() if not file.name.endswith(".lock")] == ["runs.csv"]


def test_states_of_recorded_runs_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    folder = tmp_path / "runs.csv.partial"
    folder.mkdir()
    for name in ("recorded", "waiting"):
        (folder / f"{name}.safetensors").touch()
    (folder / ".recorded.abc").touch()
    with saving_beside(path, 180, {"recorded"}, False, lambda _: None):
        assert [file.name for file in folder.iterdir()] == ["waiting.safetensors"]
    (folder / "waiting.safetensors").unlink()
    with saving_beside(path, 180, {"recorded"}, True, lambda _: None):
        assert [file.name for file in folder.iterdir()] == ["sweep"]
    assert not folder.exists()


def test_a_sweep_that_saves_nothing_makes_no_folder(tmp_path: Path) -> None:
    with saving_beside(tmp_path / "runs.csv", None, (), True, lambda _: None) as saving:
        assert saving is None
    blocked = tmp_path / "blocked.csv.partial"
    blocked.write_text("a file")
    told: list[str] = []
    with saving_beside(tmp_path / "blocked.csv", 180, (), True, told.append) as saving:
        assert saving is None
    assert "runs are not saved before their end" in told[0]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes through /proc")
def test_a_killed_command_goes_on_where_its_workers_were(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    line = ("small_sweep:long_sweep", "--out", str(path), "--workers", "1", "--save-every", "0.01")
    try:
        process = command(*line)
        until(lambda: any(path.with_name("runs.csv.partial").glob("*.safetensors")), "a saved state")
        workers = workers_of(process.pid)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for worker in workers:
            until(lambda worker=worker: not Path(f"/proc/{worker}").exists(), "the end of a worker")
        (file,) = path.with_name("runs.csv.partial").glob("*.safetensors")
        done = load_file(file)["losses"].numel()
        assert done > 0
        process = command(*line)
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    finally:
        end_all()
    from small_sweep import long_sweep

    (item,) = sweep.pin(long_sweep()).values()
    whole = train(item.run, load_text(item.run.corpus), device="cpu")
    with path.open(newline="") as opened:
        (row,) = csv.DictReader(opened)
    assert whole.validation is not None
    assert float(row["loss"]) == whole.validation.loss
    last = whole.train_loss[-len(whole.train_loss) // 10 :]
    assert math.isclose(float(row["train_loss"]), sum(last) / len(last), rel_tol=0.01)
    assert not path.with_name("runs.csv.partial").exists()


def test_the_default_is_three_minutes() -> None:
    assert saving_module.SAVE_EVERY == 180
    assert Saving(Path()).every == 180
