"""The chapter on seconds: races whose end is known, placebos that say the opposite, and the recorded tables."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from howmany.serving import wall_clock as chapter
from howmany.serving import wall_clock_figures as figures
from howmany.serving import wall_clock_tables as tables
from moelaws.charts.theme import themed
from moelaws.pacing.step_work import WORK
from repository import ROOT

STEPS = str(ROOT / "data" / "timings" / "training_steps.csv")
CLAIMS = str(ROOT / "data" / "published" / "wall_clock_claims.csv")


@pytest.fixture(scope="module")
def steps() -> pd.DataFrame:
    return chapter.table_of_steps(STEPS)


@pytest.fixture(scope="module")
def found(steps: pd.DataFrame) -> list[chapter.Track]:
    runs = ROOT / "data" / "runs"
    courses = [
        chapter.Course("CPU", str(runs / "isoflop.csv"), "cpu", (1e12, 1e13), (16, 160)),
        chapter.Course("H200", str(runs / "packages.csv"), "h200", (1e14, 1e15), (24, 480)),
    ]
    return chapter.tracks(courses, steps, 3, 4)


def test_a_gain_in_flops_is_smaller_in_seconds(found: list[chapter.Track]) -> None:
    for track in found:
        inside = track.race.within
        for e in (4, 16, 64):
            lane = track.race.lanes[e]
            assert (lane.worth_seconds[0, inside] < lane.worth_flops[0, inside]).all()
            free = track.free.lanes[e]
            np.testing.assert_allclose(free.worth_seconds[0, inside], free.worth_flops[0, inside], rtol=1e-6)
    assert found[1].dropped == 1  # a run that broke down
    assert max(track.error for track in found) < 0.006


def test_placebos_are_asked_where_a_claim_has_nothing_to_say(found: list[chapter.Track], steps: pd.DataFrame) -> None:
    made = {each.claim.key: each for each in chapter.judged(found, steps, CLAIMS)}
    assert [each.placebos[0].word for each in (made["tax-of-a-step"], made["tax-eats-gain"])] == ["contradicted"] * 2
    assert made["gain-in-flops"].placebos[0].word == "reproduced"
    assert made["no-inner-optimum"].placebos[0].word == "not resolved"
    said = tables.numbers(found, steps, list(made.values()))
    assert said["wc_word_tax_eats_gain"] == made["tax-eats-gain"].text


def test_a_ruinous_tax_is_said_to_eat_the_gain(found: list[chapter.Track], steps: pd.DataFrame) -> None:
    track = found[1]
    dear = replace(track.race.device, seconds_per={name: float(name == "parameters") for name in WORK})
    raced = chapter.race(track.law, dear, track.race.models, track.budgets, chapter.batch)
    made = chapter.judged([replace(track, race=raced)], steps, CLAIMS)
    words = {each.claim.key: each.word for each in made}
    assert words["tax-eats-gain"] == "reproduced"
    assert (raced.break_even()[0] == 1).all()


def test_tables_and_figures_hold_what_was_found(found: list[chapter.Track], steps: pd.DataFrame) -> None:
    table = tables.purse_table(found, {"H200": "h200"})
    assert len(table) == 6
    ends = table[["best E by FLOPs", "best E by seconds"]].stack().str.findall(r"[\d.]+").explode().astype(float)
    assert set(np.log2(ends) % 1) == {0.0}, "only numbers of experts that were raced are ends of an interval"
    assert (chapter.break_even_rows(found)["low"] <= chapter.break_even_rows(found)["n_experts"]).all()
    prices = chapter.price_rows(steps, {"H200": 8192}, {"H200": (512,)})
    whole = prices[prices["n_experts"] == 16]["share"].sum()
    row = steps[(steps["d_model"] == 512) & (steps["n_experts"] == 16) & (steps["tokens"] == 8192)].iloc[0]
    assert whole == pytest.approx(row["step_ms"] / row["dense_step_ms"] - 1)
    assert len(tables.recorded_check(found)) == 9
    for figure in (
        figures.isotime_figure(found[0]), figures.price_figure(steps), figures.worth_figure(found),
        figures.break_even_figure(found),
    ):  # fmt: skip
        assert themed(figure)["description"]
