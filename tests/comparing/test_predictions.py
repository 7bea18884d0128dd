"""Predictions of new runs: both intervals, what lies beyond the runs, and a record that a test can hold on to."""

import json

import jsonschema
import numpy as np
import pandas as pd
import pytest

from moelaws.comparing.compare import compare
from moelaws.comparing.predictions import predict
from moelaws.document import plain
from moelaws.fitting.fit import fit
from moelaws.fitting.objective import FitError
from moelaws.laws import LawError
from published_runs import runs_of
from repository import ROOT

SCHEMA = json.loads((ROOT / "data" / "predict.schema.json").read_text())
RUNS = runs_of("hoffmann2022", 60, 0.005)
FIT = fit("hoffmann2022", RUNS, "lsq-log")


def test_a_run_is_less_sure_than_the_law_and_both_are_as_the_fit_says() -> None:
    points = {"active_params": [1e9, 1e9], "tokens": [1e10, 5e11]}
    found = predict(FIT, points, 0.9)
    table = found.table
    assert (table["run_low"] < table["mean_low"]).all()
    assert (table["mean_high"] < table["run_high"]).all()
    pd.testing.assert_series_equal(table["run_high"], FIT.predict(points, "run", 0.9)["high"], check_names=False)
    assert table["beyond"].tolist() == [(), ("tokens",)]
    jsonschema.validate({"kind": "moelaws predict"} | json.loads(json.dumps(plain(found.to_dict()))), SCHEMA)
    assert "90 % of a run" in str(found)


def test_points_may_hold_what_columns_follow_from() -> None:
    one = predict(FIT, {"active_params": 1e9, "train_flops": 6e19})
    other = predict(FIT, {"active_params": 1e9, "tokens": 1e10})
    assert one.table["loss"][0] == pytest.approx(other.table["loss"][0])
    assert one.derived == {"tokens": "C / (6 N_a)"}


def test_what_the_law_misses_may_stand_beside_it_and_is_said() -> None:
    flops, size = (
        each.ravel() for each in np.meshgrid([1e18, 4e18, 1.6e19, 6.4e19, 2.56e20], np.geomspace(5e7, 5e8, 8))
    )
    tokens = flops / 6 / size
    loss = (1.7 + 400 / size**0.34 + 410 / tokens**0.28) * np.exp(0.05 * np.sin(0.5 * np.log(flops)))
    off = fit("hoffmann2022", {"active_params": size, "tokens": tokens, "train_flops": flops, "loss": loss}, "lsq-log")
    point = {"active_params": 2e8, "tokens": 1e20 / 6 / 2e8}
    alone, beside = (predict(off, point, discrepancy=use) for use in ("none", "auto"))
    assert alone.discrepancy == ""
    assert "a process stands beside the law" in str(beside)
    true = (1.7 + 400 / 2e8**0.34 + 410 / point["tokens"] ** 0.28) * np.exp(0.05 * np.sin(0.5 * np.log(1e20)))
    assert abs(beside.table["loss"][0] - true) < abs(alone.table["loss"][0] - true)
    assert beside.to_dict()["discrepancy"] == off.discrepancy.reason


def test_several_laws_answer_together() -> None:
    both = compare(["hoffmann2022", "gadre2024"], RUNS, starts=16)
    found = predict(both, {"active_params": 1e9, "tokens": 1e10})
    assert found.law.startswith("mean of") or found.law in ("hoffmann2022", "gadre2024")
    assert np.isnan(found.table["mean_low"][0])
    assert found.table["run_low"][0] < found.table["loss"][0] < found.table["run_high"][0]
    assert found.to_dict()["points"][0]["at"] == {"active_params": 1e9, "tokens": 1e10}


def test_of_a_wide_table_of_many_points_a_screenful_is_printed() -> None:
    points = RUNS.assign(**{f"note {i}": "x" * 500 for i in range(9)})
    text = str(predict(FIT, pd.concat([points] * 2, ignore_index=True)))
    assert max(map(len, text.splitlines())) < 200
    assert text.splitlines()[-1] == "(the first 40 of 120)"
    assert "tokens" in text
    assert "note" not in text
    assert "why" in str(predict(FIT, {"active_params": 1e9, "tokens": 1e10, "why": "mine"}))
    far = str(predict(FIT, {"active_params": 1e-200, "tokens": 1e-200}))
    assert max(map(len, far.splitlines())) < 200
    assert "e+" in far


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ({"active_params": [], "tokens": []}, "no points"),
        ({"active_params": 1e9}, "needs a column 'tokens'"),
        ({"active_params": 1e9, "tokens": -1.0}, "point 0, column 'tokens': found -1"),
        ({"active_params": 1e9, "tokens": "many"}, "column 'tokens': found many"),
    ],
)
def test_what_cannot_be_predicted_is_one_sentence(points: dict, said: str) -> None:
    with pytest.raises((FitError, LawError), match=said):
        predict(FIT, points)
