"""How far laws see on the book's runs: what the chapter on forecasts says, asked of the tables."""

import numpy as np
import pytest

from howmany.forecasts import further, how_far
from repository import ROOT


@pytest.fixture(scope="module")
def made(monkeypatch_module):
    monkeypatch_module.setattr(how_far, "LAWS", ("hoffmann2022", how_far.GROWING))
    files = {"text": "isoflop", "language": "synthetic"}
    return how_far.ladders({name: str(ROOT / f"data/runs/{file}.csv") for name, file in files.items()}, starts=12)


@pytest.fixture(scope="module")
def monkeypatch_module():
    patch = pytest.MonkeyPatch()
    yield patch
    patch.undo()


def test_laws_beside_their_process_see_the_next_budget(made):
    for each in made:
        near = each.next_budget[each.next_budget["law"].isin(["hoffmann2022", "growing"])]
        beside, alone = near[near["process"]], near[~near["process"]]
        assert (beside["rmse"] <= how_far.BAR).all()
        assert (alone["rmse"] > how_far.BAR).all()
        assert (beside["regret"] <= 0.005).all()
        assert 0.9 <= np.average(beside["coverage"], weights=beside["runs"]) <= 1
        assert beside["gain_seen"].between(beside["gain_low"], beside["gain_high"]).all()


def test_the_page_says_what_the_ladder_says(made):
    numbers = how_far.error_numbers(made)
    beside = [
        rmse
        for each in made
        for rmse in each.next_budget.loc[
            each.next_budget["process"] & each.next_budget["law"].isin(["hoffmann2022", "growing"]), "rmse"
        ]
    ]
    assert numbers["hf_low"] == f"{min(beside):.4f}"
    assert numbers["hf_high"] == f"{max(beside):.4f}"
    assert numbers["hf_over"] == "none"
    table = how_far.error_table(made)
    assert list(table.index) == ["hoffmann2022", "growing", "mean of the laws", "quadratic", "constant"]
    assert len(how_far.decisions(made)) == 8
    assert set(how_far.decision_numbers(made)) == {
        f"hf_{a}_{b}" for a in ("gain", "regret", "in") for b in ("alone", "beside")
    }
    assert {"law alone", "in its band"} <= set(further.table(made).columns)
