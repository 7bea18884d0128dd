"""Races in equal FLOPs and in equal seconds: a machine without a tax, one with it, and bands."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

import moelaws as ml
from moelaws.pacing.equal_time import Race, race
from moelaws.pacing.step_model import StepError, StepModel
from moelaws.pacing.step_work import WORK
from moelaws.pacing.timed_runs import predict_seconds
from repository import ROOT

BUDGETS = (1e19, 3e19, 1e20)


def machine(scatter: float = 0.0, **seconds: float) -> StepModel:
    return StepModel(
        "made", {name: seconds.get(name.replace(" ", "_"), 0.0) for name in WORK}, "measured", scatter=scatter
    )


def run(device: StepModel, law: ml.Forecaster | None = None) -> Race:
    models = {e: [ml.tiny_model(d, e) for d in range(256, 16_384, 256)] for e in (1, 4, 16)}
    return race(law or ml.Forecaster("abnar2025"), device, models, BUDGETS, lambda flops: 1e6)


def test_where_seconds_are_flops_both_races_end_alike() -> None:
    found = run(machine(flops=1e-14))
    for lane in found.lanes.values():
        np.testing.assert_allclose(lane.by_seconds, lane.by_flops)
        np.testing.assert_allclose(lane.worth_seconds, lane.worth_flops, rtol=1e-6)
    assert found.lanes[1].worth_flops[0, found.within] == pytest.approx(1)
    assert (found.lanes[16].worth_flops[0, found.within] > 2).all()
    assert found.break_even()[0] == pytest.approx(16)
    assert (found.best_experts()[0] == 16).all()


def test_the_worth_is_what_a_dense_model_needs() -> None:
    found = run(machine(flops=1e-14))
    lane, dense = found.lanes[16], found.lanes[1]
    flops = np.array([each.flops for each in found.purses])
    needed = lane.worth_flops[0] * flops
    np.testing.assert_allclose(
        np.interp(np.log(needed[found.within]), np.log(flops), dense.by_flops[0]), lane.by_flops[0, found.within]
    )


def test_a_tax_on_idle_experts_brings_an_inner_best_and_a_break_even() -> None:
    found = run(machine(flops=1e-14, parameters=2e-9, scores=1e-7))
    free = run(machine(flops=1e-14))
    assert (found.lanes[16].worth_seconds[0] < free.lanes[16].worth_seconds[0])[found.within].all()
    assert (found.break_even()[0] < 16).all()
    hopeless = run(machine(flops=1e-16, experts=1.0))
    assert (hopeless.break_even()[0] == 1).all()
    assert (hopeless.best_experts()[0] == 1).all()


def replicated(law: ml.Forecaster, spread: float) -> Mapping[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: value * np.exp(spread * rng.standard_normal(40)) for name, value in law.params.items()}


def test_bands_hold_the_laws_doubt_and_that_of_the_steps() -> None:
    law = ml.Forecaster("abnar2025")
    drawn = ml.Forecaster(law.law, law.params, law.family, replicated(law, 1e-3))
    exact, loose = run(machine(flops=1e-14), drawn), run(machine(0.1, flops=1e-14), drawn)
    spread = [np.log(each.lanes[16].worth_seconds[1:, each.within]).std(axis=0) for each in (exact, loose)]
    assert (spread[1] > 1.5 * spread[0]).all()
    assert (spread[0] > 0).all()
    np.testing.assert_allclose(exact.lanes[16].worth_seconds[0], loose.lanes[16].worth_seconds[0])


def test_what_is_no_race_is_refused() -> None:
    models = {4: [ml.tiny_model(256, 4)]}
    with pytest.raises(StepError, match="needs dense models"):
        race(ml.Forecaster("abnar2025"), machine(flops=1e-14), models, BUDGETS, lambda flops: 1e6)


def test_runs_are_given_the_seconds_of_a_device() -> None:
    runs = ml.read_runs(ROOT / "data" / "runs" / "isoflop.csv").head(3)
    device = ml.step_model("h200")
    found = predict_seconds(runs, device)
    row = runs.iloc[0]
    steps = row["tokens"] / (row["batch_sequences"] * row["context"])
    step = device.seconds(ml.tiny_model(int(row["d_model"]), int(row["n_experts"])), 128 * row["batch_sequences"])
    assert found["seconds"].iloc[0] == pytest.approx(steps * step)
    assert (found["device"] == "NVIDIA H200").all()
    with pytest.raises(StepError, match="no column 'd_ff'"):
        predict_seconds(pd.DataFrame(runs).drop(columns="d_ff"), device)
