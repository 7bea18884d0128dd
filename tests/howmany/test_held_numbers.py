"""Numbers that a test holds on to: intervals of two kinds, a multiplier by experts, and when a stated number falls."""

import pytest

from howmany.forecasts import held_numbers
from howmany.forecasts.held_numbers import AHEAD, ALONE, BESIDE, MIDST, Asked
from repository import ROOT

TEXT = str(ROOT / "data" / "runs" / "isoflop.csv")


@pytest.fixture(scope="module")
def made() -> Asked:
    return held_numbers.asked(TEXT, "hoffmann2022", 4)


def test_a_run_is_held_by_its_own_interval_and_not_by_the_laws(made: Asked) -> None:
    midst = made.tables[MIDST, ALONE]
    assert len(midst) == len(made.runs)
    assert 0.9 <= midst["seen"].between(midst["run_low"], midst["run_high"]).mean() <= 0.99
    assert midst["seen"].between(midst["mean_low"], midst["mean_high"]).mean() < 0.8
    ahead = made.tables[AHEAD, BESIDE]
    assert len(ahead) == (made.runs["budget"] == made.runs["budget"].max()).sum()
    table = held_numbers.coverage_table(made)
    assert table["runs"].tolist() == [str(len(each)) for each in made.tables.values()]
    assert "beyond" in held_numbers.bands_figure(made, 64).to_dict()["title"]


def test_a_stated_number_stands_until_the_runs_contradict_it(made: Asked) -> None:
    found = held_numbers.multipliers(made.runs, 1e13, (64,), 60)
    kept = held_numbers.changes(made.runs, (1e13, 64), 1.68, (0, 0.05), 60)
    assert [each.stands for each in kept] == [True, False, False]
    assert kept[0].found.flops.value == found[64].flops.value
    assert kept[1].found.flops.value < kept[0].found.flops.value
    assert kept[2].found.flops.low < 1 < kept[2].found.flops.high
    numbers = held_numbers.numbers(made, found, kept)
    assert numbers["tn_fails"] == "dense losses 5 % lower"
    assert numbers["tn_stands"] == "lies inside"
    assert held_numbers.changes_table(kept).iloc[:, 1].tolist() == ["passes", "fails", "fails"]
