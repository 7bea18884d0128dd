"""Which runs next: what is chosen tells more than what chance would choose, limits hold, refusals are sentences."""

import numpy as np
import pandas as pd
import pytest

import moelaws as ml
from fuzz.good import runs
from moelaws.choosing.asked import Question
from moelaws.choosing.belief import Belief, Beliefs
from moelaws.choosing.candidates import TRAINING_BYTES
from moelaws.choosing.run_places import Frame
from moelaws.choosing.scatter import NOISE
from moelaws.choosing.weak_laws import weak_laws
from moelaws.fitting.objective import FitError
from published_runs import runs_of
from repository import ROOT


@pytest.fixture(scope="module")
def text():
    table = ml.finished(ml.read_runs(ROOT / "data" / "runs" / "isoflop.csv"))
    return table[table["top_k"] == 1]


@pytest.mark.parametrize("law", weak_laws(2), ids=lambda law: law.name)
def test_slopes_of_a_weak_law_are_its_differences(law):
    rng = np.random.default_rng(0)
    theta, logs = law.mean + 0.3 * law.spread * rng.normal(size=len(law.mean)), rng.normal(size=(5, 4))
    value, slopes = law.slopes(theta, logs)
    np.testing.assert_allclose(value, law.value(theta, logs))
    for i, step in enumerate(1e-6 * np.eye(len(theta))):
        by_difference = (law.value(theta + step, logs) - law.value(theta - step, logs)) / 2e-6
        np.testing.assert_allclose(slopes[i], by_difference, rtol=1e-5, atol=1e-8)


def test_variances_foretold_are_those_that_come_when_the_run_is_made():
    """Conditioning on a run before it is made gives the variance that it leaves when it comes out as expected."""
    table = runs().iloc[::3].reset_index(drop=True)
    frame = Frame.of(table)
    places, logs = frame.places(table), np.log(table["loss"].to_numpy())
    law = weak_laws(1)[3]  # linear in its coefficients within exp: the posterior is exact
    held = np.arange(12)
    belief = Belief.of(law, places[held], logs[held], noise=NOISE)
    covariance = belief.covariance(places)
    new = 15
    expected = covariance - np.outer(covariance[:, new], covariance[new]) / (covariance[new, new] + NOISE**2)
    both = np.append(held, new)
    after = Belief.of(law.moved(0.0), places[both], np.append(logs[held], belief.mean(places)[new]), noise=NOISE)
    np.testing.assert_allclose(np.diag(after.covariance(places)), np.diag(expected), rtol=0.02)


def test_what_is_chosen_foretells_better_than_chance_and_than_the_grid(text):
    options = ml.ReplayOptions(replays=6)
    found = ml.replay_choices(text, "budget == 1e13", (0.1,), ("designed", "random", "grid"), options)
    error = found.groupby("strategy")["rmse_log"].median()
    assert error["designed"] < 0.013
    assert error["designed"] < 0.8 * error["random"]
    assert error["designed"] < error["grid"] / 5
    assert found[found["strategy"] == "designed"]["coverage"].mean() > 0.9


def test_a_replay_spends_what_it_may_and_never_what_is_asked(text):
    found = ml.replay_choices(
        text, "budget == 1e13", (0.05,), options=ml.ReplayOptions(replays=2, start="budget == 1e11")
    )
    pool = text[text["budget"] < 1e13]["train_flops"].sum()
    assert set(found["strategy"]) == {"designed", "random", "cheapest first", "grid", "D-optimal"}
    assert found["flops"].between(0.03 * pool, 0.05 * pool).all()


@pytest.mark.parametrize("name", ["clark2022", "ludziejewski2025", "krajewski2024"])
def test_on_noisy_runs_of_other_laws_a_tenth_of_the_cost_nearly_does(name):
    """No seeds, no budgets, other ranges and other columns: noise is found, and no process is fitted to it."""
    table = runs_of(name, n=220, noise=0.03).assign(top_k=1)
    if "active_params" not in table.columns:
        table["active_params"] = table[next(c for c in table.columns if c.endswith("_params"))]
    if "tokens" not in table.columns:
        table["tokens"] = 2e10
    table["train_flops"] = 6 * table["active_params"] * table["tokens"]
    ask = f"train_flops > {table['train_flops'].quantile(0.87)}"
    found = ml.replay_choices(table, ask, (0.1, 1.0), ("designed",), ml.ReplayOptions(replays=3))
    error = found.groupby("share")["rmse_log"].median()
    assert error[0.1] < 1.5 * error[1.0]
    assert found["coverage"].mean() > 0.85


@pytest.mark.parametrize(
    "ask",
    [
        "budget=1e20",
        "best: budget=1e20",
        "gain: budget=1e20,n_experts=16,over=4",
        "exponent: budget=1e20",
        "active_params=1e9,tokens=2e10,n_experts=4",
    ],
)
def test_each_kind_of_question_gets_runs_that_lower_its_error(ask):
    found = ml.next_runs(runs(), ask, 3e19)
    assert 0 < found.after < found.before
    assert found.flops <= 3e19
    assert (np.diff(found.table["error_after"]) <= 0).all()
    assert (found.answer["low"] < found.answer["value"]).all()
    assert found.asked in str(found)
    page = found._repr_html_()
    assert found.asked in page
    assert page.count("<table") == 2


def test_from_nothing_a_design_is_within_the_limits():
    limits = ml.Limits((1e7, 3e8), (1.0, 8.0), 1, 1e16, 1e19, 5e9 * TRAINING_BYTES, at_once=4)
    found = ml.next_runs(None, "budget=1e21", 5e19, limits)
    table = found.table
    assert found.held == 0
    assert table["active_params"].between(0.99e7, 3.01e8).all()
    assert set(table["n_experts"]) <= {1.0, 8.0}
    assert table["train_flops"].between(0.99e16, 1.01e19).all()
    assert table["total_params"].max() <= 5e9
    assert table["wave"].tolist()[:5] == [1, 1, 1, 1, 2]


def test_too_few_runs_are_warned_of_and_enough_are_not():
    few = ml.next_runs(None, "budget=1e21", 1e20, options=ml.ChoosingOptions(most=5))
    assert "below 2 runs a parameter" in " ".join(few.warnings)
    assert ml.next_runs(runs(), "budget=1e20", 1e19).warnings == ()


def test_runs_are_known_to_be_enough():
    """Held in hundreds about the very point that is asked, runs leave nothing that ten more would tell."""
    held = pd.concat([runs()] * 3, ignore_index=True)
    found = ml.next_runs(held, "active_params=1e8,tokens=1e9,n_experts=4", 1e18)
    assert found.stop


def test_runs_of_our_family_are_of_widths_that_can_be_built(text):
    found = ml.next_runs(text, "budget=1e13", 3e12, options=ml.ChoosingOptions(most=8))
    assert (found.table["d_model"] % 4 == 0).all()
    assert found.table["train_flops"].max() <= 3e12


def test_without_a_process_the_laws_alone_are_asked_and_said():
    alone = ml.next_runs(runs(), "budget=1e20", 1e19, options=ml.ChoosingOptions(discrepancy="none"))
    assert "alone" in alone.discrepancy
    beside = ml.next_runs(runs(), "budget=1e20", 1e19)
    assert "process" in beside.discrepancy
    assert alone.before < beside.before


def test_noise_is_read_off_the_runs():
    quiet, noisy = (
        Beliefs.of(Frame.of(t).places(t), np.log(t["loss"].to_numpy())).noise
        for t in (runs(), runs_of("abnar2025", noise=0.04).assign(n_experts=2, top_k=1))
    )
    assert quiet == pytest.approx(NOISE, rel=0.5)
    assert 0.03 < noisy < 0.06


def test_a_dense_table_without_a_word_of_experts_is_enough():
    table = runs()[["loss", "active_params", "tokens"]][lambda t: t.index % 3 == 0].rename(
        columns={"active_params": "total_params"}
    )
    found = ml.next_runs(table, "budget=1e20", 1e19)
    assert set(found.table["n_experts"]) == {1.0}


@pytest.mark.parametrize(
    ("change", "ask", "says"),
    [
        ({}, "nothing", "expected NAME=NUMBER"),
        ({}, "worst: budget=1e20", "expected one of loss, best, gain, exponent"),
        ({}, "gain: budget=1e20", "gain needs n_experts"),
        ({}, "gain: budget=1e20,n_experts=1", "as many"),
        ({}, "best: budget=1e20,loss=3", "knows no 'loss'"),
        ({}, "budget=1e20,budget=1e21", "twice"),
        ({}, "budget=-1", "number > 0"),
        ({"loss": 0.0}, "budget=1e20", "no number above zero"),
        ({"status": "diverged"}, "budget=1e20", "none of 63 runs finished"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(change, ask, says):
    with pytest.raises(FitError, match=says):
        ml.next_runs(runs().assign(**change), ask, 1e19)


def test_a_hole_in_a_table_is_named():
    table = runs()
    table.loc[6, "tokens"] = np.nan
    table = table.drop(columns=["train_flops", "budget"])
    with pytest.raises(FitError, match="row 7"):
        ml.next_runs(table, "budget=1e20", 1e19)


@pytest.mark.parametrize("held", [True, False])
def test_a_budget_that_trains_nothing_is_refused_and_a_very_small_one_is_said(held):
    table = runs() if held else None
    for budget in (1e3, 1e7):
        with pytest.raises(FitError, match="too few for a model of 1,000 active parameters"):
            ml.next_runs(table, "budget=1e20", budget)
    said = " ".join(ml.next_runs(table, "budget=1e20", 1e13).warnings)
    assert ("times less than the cheapest of the table" in said) == held
    assert "cheapest of the table" not in " ".join(ml.next_runs(table, "budget=1e20", 1e19).warnings)


def test_limits_that_leave_nothing_are_said():
    with pytest.raises(FitError, match="within the limits"):
        ml.next_runs(runs(), "budget=1e20", 1e19, ml.Limits(memory=1.0))
    with pytest.raises(FitError, match="experts"):
        ml.Limits(experts=(1.0,), top_k=2)


def test_a_question_is_read_as_it_was_written():
    assert Question.of(" gain : budget = 1e21 , n_experts=64") == Question("gain", {"budget": 1e21, "n_experts": 64})


def test_a_file_of_somebodys_is_not_replaced(tmp_path):
    found = ml.next_runs(runs(), "budget=1e20", 1e19)
    found.save(tmp_path / "next.csv")
    found.save(tmp_path / "next.csv")
    assert pd.read_csv(tmp_path / "next.csv")["next_run"].tolist() == found.table["next_run"].tolist()
    (tmp_path / "mine.csv").write_text("a,b\n")
    with pytest.raises(FileExistsError):
        found.save(tmp_path / "mine.csv")
