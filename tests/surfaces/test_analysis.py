"""The isoFLOP analysis of a whole table by one call."""

import numpy as np
import pandas as pd
import pytest

import moelaws
from moelaws.surfaces.polynomial import SurfaceError


def _two_budgets() -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for flops, best in ((1e18, 1e8), (1e19, 3e8)):
        for size in best * np.geomspace(0.1, 10, 9):
            loss = 3 - 0.1 * np.log10(flops / 1e18) + 0.02 * np.log(size / best) ** 2 + 1e-4 * rng.normal()
            rows.append({"total_params": size, "loss": loss, "train_flops": flops, "status": "finished"})
    rows += [{"total_params": 1e8, "loss": 2.0, "train_flops": 1e20, "status": "finished"}]
    return pd.DataFrame([*rows, {"total_params": 1e8, "loss": np.nan, "train_flops": 1e18, "status": "diverged"}])


def test_one_call_finds_the_optimum_of_every_budget() -> None:
    found = moelaws.isoflop(_two_budgets(), bootstrap=50)
    optima = found.optima.set_index("budget")
    assert list(found.surfaces) == [1e18, 1e19]
    assert optima["n"].tolist() == pytest.approx([1e8, 3e8, np.nan], rel=0.02, nan_ok=True)
    assert (optima["n_low"] < optima["n"])[:2].all()
    assert optima["status"].iloc[2] == "few sizes"
    assert found.unfinished == 1
    assert found.has_optimum
    record = found.to_dict()
    assert [each["budget"] for each in record["budgets"]] == [1e18, 1e19, 1e20]
    assert record["budgets"][0]["optima"][0]["n"] == optima["n"].iloc[0]
    said = str(found)
    assert said.startswith("1 runs did not finish and are left out")
    assert "C = 1e+19 FLOPs: 9 runs" in said
    assert "C = 1e+20 FLOPs: 1 run, too few sizes for any optimum" in said


def test_a_budget_that_is_not_there_is_refused() -> None:
    with pytest.raises(SurfaceError, match=r"no runs of budget 5e\+20; the table has 1e\+18, 1e\+19, 1e\+20 FLOPs"):
        moelaws.isoflop(_two_budgets(), budgets=(1e18, 5e20), bootstrap=0)
