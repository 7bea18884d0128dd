"""Seconds of training steps: found again where they are known, foreseen where they were left out, and refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import moelaws as ml
from moelaws.config import ModelConfig
from moelaws.counting import count_parameters
from moelaws.pacing.step_model import StepError, StepModel, fit_steps, sheet_steps, step_model
from moelaws.pacing.step_work import FEW, WORK, seconds_per_amount, step_work, work_table
from moelaws.runs import RunTableError
from moelaws.runs.step_table import read_steps, stepped_model
from moelaws.serving.calibration import Errors
from moelaws.serving.hardware import accelerator
from moelaws.training.recipe import tiny_model
from repository import ROOT

STEPS = ROOT / "data" / "timings" / "training_steps.csv"
TRUE = dict(zip(WORK, (1e-3, 1e-4, 2e-6, 2e-13, 1e-10, 5e-10, 3e-11, 2e-10, 1e-9, 1e-10), strict=True))


def made(noise: float = 0.0, device: str = "made") -> pd.DataFrame:
    """A table of steps whose times are a known sum."""
    rng = np.random.default_rng(0)
    rows = []
    for width in (64, 128, 256):
        for experts, top_k in ((1, 1), (4, 1), (16, 1), (64, 1), (32, 2)):
            for tokens in (1024, 16_384):
                model = tiny_model(width, experts, top_k, top_k)
                seconds = sum(TRUE[name] * amount for name, amount in step_work(model, tokens).items())
                rows.append(
                    {"device": device, "d_model": width, "n_layers": 2, "n_experts": experts, "top_k": top_k,
                     "granularity": top_k, "tokens": tokens, "step_ms": 1e3 * seconds * np.exp(noise * rng.normal())}
                )  # fmt: skip
    return pd.DataFrame(rows)


def errors(found: StepModel) -> tuple[Errors, Errors]:
    assert found.held_out is not None
    assert found.unseen_width is not None
    return found.held_out, found.unseen_width


def test_a_known_sum_is_found_again_and_foreseen() -> None:
    found = fit_steps(made(), "made")
    assert errors(found)[0].p90 < 1e-3
    model = tiny_model(96, 8)
    seconds = sum(TRUE[name] * amount for name, amount in step_work(model, 4096).items())
    assert found.seconds(model, 4096) == pytest.approx(seconds, rel=1e-3)
    assert sum(found.parts(model, 4096).values()) == pytest.approx(found.seconds(model, 4096))
    assert errors(fit_steps(made(0.03), "made"))[0].median == pytest.approx(0.03, rel=0.7)


def test_recorded_steps_are_foreseen_within_a_tenth() -> None:
    table = read_steps(STEPS)
    for device in table["device"].unique():
        found = fit_steps(table, device)
        assert max(each.median for each in errors(found)) <= 0.10, str(found)
        assert min(found.seconds_per.values()) >= 0


def test_recorded_prices_add_up() -> None:
    table = read_steps(STEPS)
    price = table["step_ms"] - table["dense_step_ms"]
    parts = table[["router_ms", "gather_ms", "products_ms", "optimiser_ms", "rest_ms"]].sum(axis=1)
    np.testing.assert_allclose(parts, price, atol=1e-9)
    assert (table.loc[table["n_experts"] == 1, "rest_ms"].abs() < 1e-9).all()


def test_the_models_of_the_table_are_those_that_were_counted() -> None:
    for _, row in read_steps(STEPS).iterrows():
        assert count_parameters(stepped_model(row)).total == float(row["total_params"])


def test_amounts_are_of_the_model() -> None:
    dense, sparse = (ModelConfig(d_model=64, n_heads=4, d_ff=256, n_experts=e) for e in (1, 8))
    none, some = step_work(dense, 1000), step_work(sparse, 1000)
    assert {name for name in WORK if none[name] == 0} == {"routed layers", "routed rows", "choices", "scores"}
    assert some["choices"] == 1000 * some["routed layers"]
    assert some["parameters"] > none["parameters"]
    assert work_table([(sparse, 1000)], FEW).shape == (1, len(FEW))


def test_nothing_takes_less_than_nothing() -> None:
    work = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 4.0]])
    assert (seconds_per_amount(work, np.array([3.0, 2.0, 1.0])) >= 0).all()


def test_a_device_without_measurements_is_told_from_one_with_them() -> None:
    sheet = step_model("b200")
    assert (sheet.source, sheet.held_out, sheet.scatter) == ("data sheet", None, 0.0)
    assert "not measured" in str(sheet)
    assert step_model("H200").device == "NVIDIA H200"
    assert ml.predict_step_seconds(tiny_model(512, 64), 8192, sheet) < ml.predict_step_seconds(
        tiny_model(512, 64), 8192, "h200"
    )
    fast = sheet_steps(accelerator("b200"), step_model("h200"))
    assert fast.seconds_per == sheet.seconds_per


def test_steps_beyond_those_measured_are_named() -> None:
    found = fit_steps(made(), "made")
    assert found.beyond(tiny_model(128, 16), 4096) == ""
    assert found.beyond(tiny_model(512, 256), 10) == (
        "width 512 and tokens a step 10 and experts 256 outside the steps measured on made"
    )


@pytest.mark.parametrize(
    ("table", "device", "said"),
    [
        (made(), "tpu", "no measured steps of device 'tpu'"),
        (made().head(10), "made", "found 10 steps of 1 widths"),
        (pd.concat([made(device="cpu: a"), made(device="cpu: b")]), "cpu", "several devices"),
    ],
)
def test_what_is_no_device_is_one_sentence(table: pd.DataFrame, device: str, said: str) -> None:
    with pytest.raises(StepError, match=said) as error:
        fit_steps(table, device)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="step_ms"), "no column 'step_ms'"),
        (lambda t: t.assign(step_ms=[0.0, *t["step_ms"].iloc[1:]]), "row 2, column 'step_ms'.*expected a number > 0"),
        (lambda t: t.assign(tokens=["many", *t["tokens"].iloc[1:]]), "row 2, column 'tokens': found 'many'"),
        (lambda t: t.assign(n_experts=[1.5, *t["n_experts"].iloc[1:]]), "expected a whole number"),
        (lambda t: t.head(0), "no rows"),
    ],
)
def test_a_table_that_is_none_is_refused_with_its_place(
    tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], said: str
) -> None:
    file = tmp_path / "steps.csv"
    change(made()).to_csv(file, index=False)
    with pytest.raises(RunTableError, match=said) as error:
        read_steps(file)
    assert str(error.value).startswith("steps.csv")
    assert len(str(error.value)) < 400
