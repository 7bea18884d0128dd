"""Program text: the rule on collapsed routers, the valley that designs share, and what the chapters say of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from howmany.programs import (
    program_forecasts,
    program_pictures,
    program_tables,
    program_text,
    program_verdicts,
)
from howmany.programs.collapse import LIMIT, above_neighbours, collapsed, concentration, kept, worst
from howmany.programs.valley import valley
from howmany.study import PLAIN
from howmany.verdicts.on_pages import different
from moelaws.fitting.objective import FitError
from moelaws.runs import finished, read_runs
from repository import ROOT

RUNS = str(ROOT / "data/runs/packages.csv")
CLAIMS = [str(ROOT / f"data/published/{name}_claims.csv") for name in ("abnar", "krajewski")]


def known_valley(noise: float, seed: int = 0, gain: float = 0.1, sizes: int = 7) -> pd.DataFrame:
    """Dense models and 16 experts, whole and in halves: lowest at 1e5 active parameters, 4 nats less the gain."""
    rng, rows = np.random.default_rng(seed), []
    for e, k, level in ((1, 1, 4.0), (16, 1, 4.0 - gain), (32, 2, 4.0 - 2 * gain)):
        for step in range(sizes):
            size = 1e5 * 1.4 ** (step - sizes // 2)
            loss = level + 0.1 * np.log(size / 1e5) ** 2 + noise * rng.normal()
            about = {"n_experts": e, "top_k": k, "granularity": float(k), "sparsity": 1 - k / e, "budget": 1e12}
            rows.append(about | {"active_params": size, "total_params": size * e / k, "loss": loss})
    return pd.DataFrame(rows)


def test_a_valley_without_noise_is_found_exactly() -> None:
    found = valley(known_valley(1e-9), 50)
    assert found.keys == [(1, 1, 1.0), (16, 1, 1.0), (32, 2, 2.0)]
    np.testing.assert_allclose(found.loss[:, 0], [4.0, 3.9, 3.8], atol=1e-4)
    np.testing.assert_allclose(np.exp(found.size[:, 0]), 1e5, rtol=0.02)
    assert found.edges == ["", "", ""]
    np.testing.assert_allclose(found.total(known_valley(0), 2)[0], 1.6e6, rtol=0.02)
    np.testing.assert_allclose(found.placebo[:7], found.placebo[7:14], atol=1e-6)


def test_intervals_of_a_gain_cover() -> None:
    inside = 0
    for seed in range(200):
        found = valley(known_valley(0.02, seed), 300, seed)
        low, high = np.quantile(found.loss[0, 1:] - found.loss[1, 1:], [0.025, 0.975])
        inside += low <= 0.1 <= high
    assert 0.9 <= inside / 200 <= 0.99


def test_two_sizes_have_no_optimum_and_one_run_a_design_no_valley() -> None:
    found = valley(known_valley(0.001, sizes=2), 50)
    assert set(found.edges) == {"low", "high"} or set(found.edges) <= {"low", "high"}
    assert found.widths == [2, 2, 2]
    with pytest.raises(FitError, match="expected more sizes of each"):
        valley(known_valley(0.001, sizes=1), 50)


def test_the_rule_looks_at_loads_and_names_one_run() -> None:
    even = pd.DataFrame({"load_imbalance": [1.0, 4.0, 2.5, 1.0], "n_experts": [4, 4, 8, 1], "top_k": [1, 1, 2, 1]})
    assert concentration(even).tolist() == [0.0, 1.0, 0.5, 0.0]
    every = finished(read_runs(RUNS))
    bad = every[collapsed(every)]
    assert bad[["budget", "n_experts", "d_model"]].values.tolist() == [[1e14, 4, 160]]
    assert above_neighbours(every).iloc[0] > 0.5
    assert len(kept(every)) == len(every) - 1
    assert len(kept(every, all_runs=True)) == len(every)
    # A higher loss alone is no collapse, and a collapse of a good loss is one.
    moved = every.assign(loss=every["loss"] + 3)
    assert collapsed(moved).equals(collapsed(every))


def test_no_other_recorded_run_comes_near_the_rule() -> None:
    files = [str(file) for file in sorted((ROOT / "data/runs").glob("*.csv"))]
    found = worst(files, count=5)
    assert (found["concentration"] > LIMIT).sum() == 1
    assert found["concentration"].iloc[1] < LIMIT - 0.1


@pytest.fixture(scope="module")
def found() -> program_text.Programs:
    return program_text.programs(RUNS, 400)


def test_the_page_says_what_the_runs_say(found: program_text.Programs) -> None:
    numbers = program_tables.numbers(found, program_text.loads([RUNS]))
    assert numbers["pt_runs"] == 97
    assert numbers["pt_confirmed"] == "confirmed"
    assert numbers["pt_epochs"] == "0.87"
    assert (numbers["pt_loses"], numbers["pt_wins"]) == ("1e12", "1e14")
    table = program_text.gains(found)
    assert table.loc[table["budget"] == 1e15, "edge"].eq("low").all()
    # The lowest losses are near the lowest runs: the valley adds no optimum of its own making.
    for each in found.valleys:
        runs = found.runs[found.runs["budget"] == each.budget]
        assert abs(each.loss[:, 0].min() - runs["loss"].min()) < 3 * each.scatter
    assert program_tables.collapse_table(found).shape[0] == 2
    for figure in (
        program_pictures.valley_figure(found),
        program_pictures.gain_figure(table),
        program_pictures.load_figure(program_text.loads([RUNS])),
    ):
        assert figure.to_dict()


def test_experts_that_do_nothing_gain_nothing(found: program_text.Programs) -> None:
    rng, apart = np.random.default_rng(5), []
    for each in found.valleys[:2]:
        runs = found.runs[found.runs["budget"] == each.budget].reset_index(drop=True)
        other = valley(runs.assign(loss=each.placebo + each.scatter * rng.normal(size=len(runs))), 400)
        gain = other.loss[0] - other.loss[1:].min(axis=0)
        apart.append(gain[0])
        assert gain[0] < 2 * each.scatter
    said = program_verdicts.judged(found, CLAIMS, 1, 40)
    assert {each.claim.key for each in said} == set(program_verdicts.CLAIMS)
    assert program_verdicts.words(said)["pt_word_g_one_whole"] == "reproduced"
    assert {each.by for each in said} == {"program text, K = 1, G = 1", "program text, K = 2, G = 2"}
    assert different({}) == []


def test_the_finer_designs_are_named_by_their_idle_experts() -> None:
    assert program_text.key_of(16, program_text.FINE) == (32, 2, 2.0)
    assert program_text.key_of(1, PLAIN) == (1, 1, 1.0)


def test_scores_of_committed_forecasts() -> None:
    files = {c: str(ROOT / f"data/forecasts/packages_{name}.csv") for c, name in ((1e14, "1e14"), (1e15, "1e15"))}
    near, far = program_forecasts.told(RUNS, files)
    assert len(near.scores) == 34 - 0
    assert (near.scores["runs"] == 16).all()
    assert (far.scores["rmse"] - far.scores["rmse_all"]).abs().max() == 0
    laws = program_forecasts.laws_of(near)
    assert (laws["rmse"] > program_forecasts.BAR).all()
    assert laws["rmse"].between(laws["low"], laws["high"]).all()
    best = program_forecasts.laws_of(far).sort_values("rmse").iloc[0]
    assert (best["law"], round(best["rmse"], 3)) == ("gadre2024", 0.028)
    steps = program_forecasts.falls(RUNS)
    assert steps["mixture"].iloc[1] > steps["mixture"].iloc[0]
    assert program_forecasts.error_figure([near, far]).to_dict()
    assert "RMSE, collapsed too" in program_forecasts.score_table(near)
    assert "RMSE, collapsed too" not in program_forecasts.score_table(far)


def test_a_perfect_forecast_has_no_error_and_decides_rightly(tmp_path: Path) -> None:
    told = pd.read_csv(ROOT / "data/forecasts/packages_1e14.csv")
    runs = finished(read_runs(RUNS))
    keys = ["budget", "n_experts", "top_k", "granularity", "d_model"]
    true = told.merge(runs[[*keys, "loss"]], on=keys)
    file = tmp_path / "told.csv"
    true.assign(predicted=true["loss"], low=true["loss"] * 0.99, high=true["loss"] * 1.01).drop(columns="loss").to_csv(
        file, index=False
    )
    scores = program_forecasts.told(RUNS, {1e14: str(file)})[0].scores
    assert scores["rmse"].max() < 1e-5
    assert (scores["coverage"] == 1).all()
    assert (scores["regret"] == 0).all()
