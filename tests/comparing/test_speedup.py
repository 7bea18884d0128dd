"""Compute multipliers: read from runs with a known answer, by a law, and of the recorded study."""

import json

import jsonschema
import numpy as np
import pandas as pd
import pytest

import moelaws as ml
from moelaws.comparing.configuration import Configuration, CurveOptions
from moelaws.comparing.speedup import speedup
from moelaws.document import plain
from moelaws.fitting.objective import FitError
from repository import ROOT

SCHEMA = json.loads((ROOT / "data" / "speedup.schema.json").read_text())
FAST = CurveOptions(bootstrap=60)


def made(
    gain: float = 0.1, noise: float = 0.001, budgets: tuple[float, ...] = (1e18, 3e18, 1e19, 3e19)
) -> pd.DataFrame:
    """Runs whose best loss falls as C^-0.05, with 8 experts by a share ``gain`` less, at the same sizes."""
    rng = np.random.default_rng(0)
    rows = []
    for budget in budgets:
        for experts in (1, 8):
            best = 3.0 * (budget / 1e18) ** -0.05 * np.exp(-gain * (experts > 1))
            for size in 1e8 * (budget / 1e18) ** 0.5 * np.geomspace(0.2, 5, 7):
                off = np.log(size / 1e8 / (budget / 1e18) ** 0.5)
                rows.append(
                    {
                        "loss": (best + 0.03 * off**2) * np.exp(noise * rng.normal()), "active_params": size,
                        "total_params": size * experts, "train_flops": budget, "n_experts": experts, "top_k": 1,
                        "seconds": budget / (2e17 if experts == 1 else 1e17), 
                        "router": "Hash" if experts > 1 else "none",
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_a_known_multiplier_is_found_within_the_runs_and_beyond() -> None:
    for budget, beyond in ((3e18, False), (3e19, True)):
        found = speedup(made(0.05), budget, of=8, options=FAST)
        assert found.flops.low < np.exp(0.05 / 0.05) < found.flops.high
        assert found.flops.value == pytest.approx(np.exp(1.0), rel=0.1)
        assert found.extrapolated == beyond
        # Twice as slow: what is gained in FLOPs is halved in seconds.
        assert found.seconds.value == pytest.approx(found.flops.value / 2, rel=0.02)
    same = speedup(made(), 3e18, of=8, over="router == 'Hash'", options=FAST)
    assert same.flops.value == pytest.approx(1.0, rel=0.01)


def test_the_interval_covers_and_narrows() -> None:
    inside = 0
    for seed in range(12):
        runs = made(0.05, 0.0)
        runs["loss"] *= np.exp(0.002 * np.random.default_rng(seed).normal(size=len(runs)))
        found = speedup(runs, 1e19, of=8, options=FAST).flops
        inside += found.low <= np.exp(1.0) <= found.high
    assert inside >= 10
    wide, narrow = (speedup(made(0.05, noise), 1e19, 8, options=FAST).flops for noise in (0.004, 0.0005))
    assert wide.high / wide.low > narrow.high / narrow.low


def test_the_recorded_study_is_worth_what_was_found_by_hand() -> None:
    runs = ml.read_runs(ROOT / "data" / "runs" / "isoflop.csv")
    found = speedup(runs, 1e13, of=64)
    assert found.flops.low < 1.68 < found.flops.high
    assert found.extrapolated
    assert found.seconds.value < found.flops.value
    record = json.loads(json.dumps({"kind": "moelaws speedup"} | plain(found.to_dict()), allow_nan=False))
    jsonschema.validate(record, SCHEMA)
    assert len(record["losses"]) == 10
    assert "1.8" in str(found) or "1.7" in str(found)
    assert found.plot().to_dict()["description"].startswith("Best loss of E = 64")


def test_curves_without_freedom_give_no_interval_rather_than_none_of_any_width() -> None:
    few = made().groupby(["train_flops", "n_experts"]).head(5).groupby(["train_flops", "n_experts"]).tail(3)
    found = speedup(few, 3e18, of=8, options=FAST)
    assert np.isnan([found.flops.low, found.flops.high, found.seconds.low]).all()
    assert "no interval" in str(found)
    record = json.loads(json.dumps({"kind": "moelaws speedup"} | plain(found.to_dict()), allow_nan=False))
    jsonschema.validate(record, SCHEMA)
    assert record["flops"]["low"] is None


def test_without_times_the_seconds_are_said_to_be_unknown() -> None:
    found = speedup(made().drop(columns="seconds"), 3e18, 8, options=FAST)
    assert found.seconds is None
    assert "no measured times" in found.seconds_why
    several = speedup(made().assign(machine=["a", "b"] * 28), 3e18, 8, options=FAST)
    assert several.seconds is None
    assert "several machines" in several.seconds_why
    timed = speedup(made().drop(columns="seconds"), 3e18, 8, options=FAST, timed=made())
    assert timed.seconds is not None


def test_a_law_answers_with_its_own_doubt() -> None:
    law = ml.Forecaster("abnar2025")
    found = speedup(law, 1e20, of=8)
    assert found.flops.value == pytest.approx(law.speedup(1e20, 8).value)
    assert (found.seconds, found.method) == (None, "abnar2025")
    best, dense = law.best(budget=1e20, experts=8), law.best(budget=1e20, experts=1)
    assert best.speedup(dense).value == pytest.approx(found.flops.value)
    assert best.speedup().value == pytest.approx(found.flops.value)
    with pytest.raises(ValueError, match="bounded by a memory"):
        law.best(1e20, 8, memory=ml.Memory(80e9)).speedup(dense)
    with pytest.raises(FitError, match="by E and K"):
        speedup(law, 1e20, of="router == 'Hash'")
    with pytest.raises(FitError, match="no observed losses"):
        found.plot()


@pytest.mark.parametrize(
    ("change", "asked", "said"),
    [
        (lambda t: t, {"of": 4}, "no run with E = 4"),
        (lambda t: t, {"of": "0"}, "expected E >= 1"),
        (lambda t: t, {"of": "8,9"}, "K from 1 to E"),
        (lambda t: t, {"of": ""}, "found nothing"),
        (lambda t: t, {"of": 8, "budget": 1e21}, "1e\\+21 is outside"),
        (lambda t: t[t["train_flops"] == 1e18], {"of": 8}, "has an optimum at 1 budgets"),
        (lambda t: t.drop(columns=["n_experts", "top_k"]).assign(sparsity=0.5), {"of": 8}, "numbers of experts"),
        (lambda t: t, {"of": "active_params > 0"}, "several sparsities"),
        (lambda t: t.assign(top_k=1 + (t["n_experts"] > 1) * (t.index % 2)), {"of": 8}, "name one"),
        (lambda t: t, {"of": 8, "level": 2.0}, "level"),
    ],
)
def test_what_has_no_multiplier_is_one_sentence(change: object, asked: dict, said: str) -> None:
    with pytest.raises(FitError, match=said) as error:
        speedup(change(made()), **({"budget": 3e18, "options": FAST} | asked))
    assert len(str(error.value)) < 400


def test_configurations_are_read_as_they_are_written() -> None:
    assert Configuration.read("64") == Configuration.read(64)
    assert Configuration.read("64,2").words == "E = 64, K = 2"
    assert Configuration.read("1").words == Configuration.read("dense").words == "dense"
    assert Configuration.read("n_experts == 64").n_experts is None
