"""The best value of a setting, and what the chosen one gives away: against a law that is known."""

import numpy as np
import pandas as pd
import pytest

from howmany.figures.recipe_settings import changed_settings, loss_by_setting
from howmany.settings import TuningError, changed, tune


def _runs(best: dict[int, float], noise: float, seeds: int = 2, octaves: tuple[float, ...] = (-2, -1, 0, 1, 2)):
    """Losses 3 + 0.1 (log2 value - log2 best)^2 at widths with different best values."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"d_model": width, "rate": 2.0**z, "rule": 1.0, "seed": seed,
         "loss": 3 + 0.1 * (z - np.log2(value)) ** 2 + noise * rng.normal()}
        for width, value in best.items() for z in octaves for seed in range(seeds)
    )  # fmt: skip


def test_vertex_and_regret_of_an_exact_parabola() -> None:
    found = tune(_runs({16: 1.0, 32: 2**0.5, 64: 0.5}, 1e-9), "rate", "rule", ["d_model"]).set_index("d_model")
    np.testing.assert_allclose(found["best"], [1.0, 2**0.5, 0.5], rtol=1e-6)
    np.testing.assert_allclose(found["regret"], [0.0, 0.1 * 0.25, 0.1], atol=1e-7)
    assert found["bracketed"].all()
    assert (found["runs"] == 6).all()


def test_a_best_value_beyond_those_tried_is_not_bracketed() -> None:
    found = tune(_runs({16: 8.0}, 1e-9), "rate", "rule", ["d_model"]).iloc[0]
    assert not found["bracketed"]
    assert found["best"] == pytest.approx(8.0, rel=1e-5)


def test_errors_are_those_of_the_noise() -> None:
    rows = []
    for repetition in range(300):
        rng = np.random.default_rng(repetition)
        runs = _runs({16: 2**0.4}, 0.0, octaves=(-1, 0, 1))
        runs["loss"] += 0.01 * rng.normal(size=len(runs))
        rows.append(tune(runs, "rate", "rule", ["d_model"]).iloc[0])
    found = pd.DataFrame(rows)
    regret = found["regret"].astype(float)
    assert regret.mean() == pytest.approx(0.1 * 0.16, abs=0.002)
    # The noise is estimated from three pairs each: right on average, not every time.
    assert regret.std() == pytest.approx(np.sqrt((found["regret_se"].astype(float) ** 2).mean()), rel=0.2)
    inside = (found["best_low"] < 2**0.4) & (found["best_high"] > 2**0.4)
    assert 0.8 < inside.mean() <= 1


def test_runs_that_cannot_tell_are_refused() -> None:
    with pytest.raises(TuningError, match="no value of rate was run with two seeds"):
        tune(_runs({16: 1.0}, 0.01, seeds=1), "rate", "rule", ["d_model"])
    with pytest.raises(TuningError, match="a point with 2 values of rate: expected at least three"):
        tune(_runs({16: 1.0}, 0.01, octaves=(0, 1)), "rate", "rule", ["d_model"])


def _study_and_checks() -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = [(width, seed, 1.0, 8, 3 + 0.1 * seed) for width in (16, 32) for seed in (0, 1, 2)]
    study = pd.DataFrame(rows, columns=["d_model", "seed", "rate", "batch", "loss"])
    moved = {("rate", 0.5): 0.02, ("rate", 2.0): -0.03, ("batch", 0.5): 0.0, ("batch", 2.0): 0.01}
    wobble = {0: -0.004, 1: 0.0, 2: 0.004}  # standard deviation 0.004
    checks = pd.DataFrame(
        row | {name: row[name] * factor, "loss": row["loss"] + by + wobble[row["seed"]]}
        for row in study.to_dict("records") for (name, factor), by in moved.items()
    )  # fmt: skip
    return study, checks


def test_what_a_changed_setting_does_is_paired_by_seed() -> None:
    study, checks = _study_and_checks()
    found = changed(checks, study, ["rate", "batch"], ["d_model"])
    assert len(found) == 8
    assert (found["seeds"] == 3).all()
    at = found.set_index(["d_model", "setting", "factor"])["difference"]
    assert at[16, "rate", 0.5] == pytest.approx(0.02)
    assert at[32, "rate", 2.0] == pytest.approx(-0.03)
    assert at[32, "batch", 2.0] == pytest.approx(0.01)
    np.testing.assert_allclose(found["se"], 0.004 / 3**0.5)


def test_checks_without_their_run_or_of_two_settings_are_refused() -> None:
    study, checks = _study_and_checks()
    with pytest.raises(TuningError, match=r"a check at \{'d_model': 32, 'seed': 0\} has no run in the study"):
        changed(checks, study[study["d_model"] == 16], ["rate", "batch"], ["d_model"])
    with pytest.raises(TuningError, match="expected one of rate, batch to differ"):
        changed(checks.assign(rate=3.0), study, ["rate", "batch"], ["d_model"])


def test_the_figure_has_a_line_a_point_with_its_lowest_loss_at_zero() -> None:
    runs = _runs({16: 1.0, 32: 2.0}, 1e-9).assign(n_experts=4)
    chart = loss_by_setting(runs, "rate", "rule", ["n_experts", "d_model"], "rate", "title", "description")
    points = pd.concat(pd.DataFrame(data) for data in chart.to_dict()["datasets"].values())
    lowest = points.dropna(subset="above").groupby("d_model")["above"].min()
    assert lowest.to_dict() == {16: 0.0, 32: 0.0}
    assert chart.to_dict()["description"] == "description"


def test_the_figure_of_changes_counts_the_points_where_the_recipe_is_beaten() -> None:
    names = {"rate": "learning_rate", "batch": "batch_sequences"}
    study, checks = (table.rename(columns=names) for table in _study_and_checks())
    place = {"corpus": "text", "budget": 1e11, "n_experts": 4}
    moved = changed(checks.assign(**place), study.assign(**place), [*names.values()], [*place, "d_model"])
    said = {limit: changed_settings(moved, limit).to_dict()["title"] for limit in (0.01, 0.05)}
    assert said[0.01] == "No change wins by more than 0.01 nats at 0 of 2 points"
    assert said[0.05] == "At none of 2 points does a change win by more than 0.05 nats"
    drawn = pd.concat(map(pd.DataFrame, changed_settings(moved, 0.01).to_dict()["datasets"].values()))
    half = drawn[(drawn["change"] == "half the rate") & drawn["point"].str.contains("d = 16")].iloc[0]
    assert half["high"] - half["difference"] == pytest.approx(2 * 0.004 / 3**0.5)
    assert half["low"] == pytest.approx(0.02 - 2 * 0.004 / 3**0.5)
