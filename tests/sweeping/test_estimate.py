"""The forecast of a sweep's time: its schedule, its choice of configurations, and that it meets a real sweep."""

import time
from concurrent.futures import Executor, Future
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moelaws.config import RunConfig
from moelaws.sweeping import estimate as module
from moelaws.sweeping.estimate import estimate, makespan, representatives, time_steps
from moelaws.sweeping.sweep import SweepRun, pin, run_sweep
from moelaws.training.recipe import tiny_model
from small_sweep import Inline, tiny_sweep


def grid() -> list[SweepRun]:
    train = tiny_sweep(runs=1)[0].run.train
    models = [tiny_model(width, experts, context=32) for width, experts in product((16, 32, 64), (1, 4, 16, 64))]
    return [SweepRun(RunConfig(model, train), "grid") for model in models]


def test_the_longest_first_schedule_is_timed() -> None:
    assert makespan([1, 1, 1, 3], 2) == 3
    assert makespan([5, 4, 3, 3, 3], 2) == 10  # longest first is not always best; it is what a sweep does
    assert makespan([2, 2], 8) == 2
    assert makespan([2, 2], 1) == 4


def test_representatives_reach_the_corners_of_a_sweep() -> None:
    chosen = [(item.run.model.d_model, item.run.model.n_experts) for item in representatives(grid(), 5)]
    assert chosen[:2] == [(64, 64), (16, 1)]
    assert len(set(chosen)) == 5
    parts = np.array([module._parts(item) for item in grid()])
    reached = np.array([module._parts(item) for item in representatives(grid(), 5)])
    assert (reached.min(0) == parts.min(0)).all()
    assert (reached.max(0) == parts.max(0)).all()
    assert len(representatives(grid() + grid(), 50)) == 12
    assert len(representatives(tiny_sweep(), 8)) == 1  # the same model with other seeds


class _Law(Executor):
    """Workers whose steps take what a known law says."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future:
        item: SweepRun = args[0]
        future: Future = Future()
        future.set_result(_law(item))
        return future


def _law(item: SweepRun) -> float:
    experts = item.run.model.n_experts * item.run.model.n_layers
    return 1e-3 + item.train_flops / item.run.steps / 2e10 + 5e-5 * experts


def test_a_sweep_whose_steps_follow_the_law_is_forecast_exactly() -> None:
    runs = grid()
    found = estimate(runs, _Law(), workers=3)
    steps = [item.run.steps + item.run.train.validation_tokens / item.run.batch_tokens / 3 for item in runs]
    times = [_law(item) * n for item, n in zip(runs, steps, strict=True)]
    assert found.misfit == pytest.approx(0, abs=1e-6)
    assert found.seconds == pytest.approx(makespan(times, 3), rel=1e-6)
    assert found.rate == pytest.approx(sum(item.train_flops for item in runs) / sum(times), rel=1e-6)
    assert (found.workers, found.samples) == (3, 8)


def test_steps_are_trained_for_as_long_as_was_asked() -> None:
    (item,) = pin(tiny_sweep(steps=100_000, runs=1)).values()
    time_steps(item, "cpu", 0.1)  # loads the text
    began = time.perf_counter()
    step = time_steps(item, "cpu", 0.3)
    taken = time.perf_counter() - began
    assert 0 < step < taken
    assert taken > 0.3
    (short,) = pin(tiny_sweep(steps=1, runs=1)).values()
    assert 0 < time_steps(short, "cpu", 60.0) < 60


def test_the_forecast_meets_a_real_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a factor of two; by the processor's clock, since the machine may be busy with other things."""
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    runs = [
        replace(item, run=replace(item.run, train=replace(item.run.train, tokens=32 * 4 * steps)))
        for item, steps in zip(grid()[:8:2], (150, 100, 80, 120), strict=True)
    ]
    pinned = list(pin(runs).values())
    run_sweep(pinned, tmp_path / "warm.csv", limit=1, executor=Inline())
    before = estimate(pinned, Inline(), workers=1, seconds=2.0)
    seconds: list[float] = []
    run_sweep(pinned, tmp_path / "runs.csv", executor=Inline(), on_row=lambda row, _: seconds.append(row["seconds"]))
    after = estimate(pinned, Inline(), workers=1, seconds=2.0)
    low, high = sorted((before.seconds, after.seconds))
    assert low / 2 < sum(seconds) < high * 2
    assert module._SAMPLES >= before.samples == 4
