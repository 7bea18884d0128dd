"""Laws against each other: who can be asked, what is held out, who foresees it, and what they say together."""

import json

import jsonschema
import numpy as np
import pandas as pd
import pytest

import moelaws as ml
from moelaws.comparing.compare import compare
from moelaws.comparing.contestants import SAME_FORM
from moelaws.comparing.paper_fits import PAPER_FITS, fit_as_published
from moelaws.comparing.unseen import held_out
from moelaws.document import plain
from moelaws.fitting.fit import fit
from moelaws.fitting.objective import FitError
from moelaws.laws import LAWS, law, law_from_formula
from published_runs import runs_of
from repository import ROOT

SCHEMA = json.loads((ROOT / "data" / "compare.schema.json").read_text())


def grid_of_runs(noise: float = 0.002) -> pd.DataFrame:
    """Runs of a dense law at five budgets."""
    size = np.tile(np.geomspace(1e7, 1e9, 6), 5)
    flops = np.repeat([1e18, 3e18, 1e19, 3e19, 1e20], 6)
    tokens = flops / (6 * size)
    loss = 1.7 + 400 / size**0.34 + 410 / tokens**0.28
    loss *= np.exp(noise * np.random.default_rng(0).normal(size=size.size))
    return pd.DataFrame({"loss": loss, "total_params": size, "tokens": tokens, "train_flops": flops})


def test_the_first_screen_runs_as_printed() -> None:
    runs = grid_of_runs().assign(n_experts=[1, 4] * 15, top_k=1, active_params=lambda t: t["total_params"])
    my_law = law_from_formula("mine", "E + A/N^a", {"N": "total_params"})
    table = compare(["hoffmann2022", "abnar2025", my_law], runs, hold_out="budget", starts=8)
    assert table.table["law"][0] != "mine"
    assert set(table.table["law"]) == {"hoffmann2022", "abnar2025", "mine"}
    assert table.unseen[0].count == 6
    assert table.table.set_index("law").loc["hoffmann2022", "budget_r2"] > 0.9 > table.table["budget_r2"].min()


def test_every_law_that_the_table_can_identify_and_why_not_the_others() -> None:
    found = compare(None, grid_of_runs(), starts=8)
    assert [each.law.name for each in found.contenders] == ["hoffmann2022", "gadre2024"]
    assert set(found.refused) | {"hoffmann2022", "gadre2024"} == {
        n for n, each in LAWS.items() if each.target == "loss"
    }
    assert found.refused["clark2022"] == "column 'n_experts' does not vary"
    assert found.refused["liew2025"] == "no column 'dense_tokens'"
    assert "hoffmann2022" in found.refused["sardana2024"]
    assert found.missing == {"sparsity": "column 'sparsity' has one value: no highest to hold out"}
    assert "not asked, column 'n_experts' does not vary: clark2022" in str(found)


def test_a_law_that_nothing_of_a_run_enters_is_refused() -> None:
    found = compare([law_from_formula("constant", "E*F", {}), "hoffmann2022"], grid_of_runs(), hold_out=(), starts=2)
    assert found.refused == {"constant": "it has no variable: nothing of a run enters it"}


def test_laws_of_one_form_are_one_fit() -> None:
    runs = grid_of_runs().assign(active_params=lambda t: t["total_params"], dense_params=lambda t: t["total_params"])
    for name, twin in SAME_FORM.items():
        ours, theirs = (fit(each, runs, "lsq-log").quality.rmse_log for each in (name, twin))
        assert ours == pytest.approx(theirs, rel=1e-6)


def test_what_is_held_out_of_other_tables() -> None:
    runs = grid_of_runs()
    (scattered,), _ = held_out(runs.assign(train_flops=np.geomspace(1e18, 1e20, 30)), "budget")
    assert 3 <= scattered.count <= 6
    assert "train_flops, from" in scattered.words
    (sizes,), _ = held_out(runs[["loss", "total_params"]].rename(columns={"total_params": "dense_params"}), "budget")
    assert sizes.words.startswith("the largest dense_params")
    (mine,), _ = held_out(runs, "total_params > 5e8")
    assert mine.count == 5
    (most,), _ = held_out(runs.assign(n_experts=[1, 8] * 15), "sparsity")
    assert most.words == "the highest n_experts, 8"
    with pytest.raises(FitError, match="holds out 0 of 30 runs"):
        held_out(runs, "total_params > 1e12")
    with pytest.raises(FitError, match="one value"):
        held_out(runs, "sparsity")
    with pytest.raises(ml.runs.ConditionError):
        held_out(runs, "nothing > 3")


def test_a_power_law_above_a_floor_foresees_the_largest_size() -> None:
    """What a table of sizes and experts alone identifies, asked for the largest sizes."""
    rng = np.random.default_rng(1)
    size, experts = (each.ravel() for each in np.meshgrid(np.geomspace(1.5e7, 1.3e9, 8), 2.0 ** np.arange(9)))
    loss = 1.6 + 43 / (size**0.2 * experts**0.07) + 0.01 * rng.normal(size=size.size)
    runs = pd.DataFrame({"loss": loss, "dense_params": size, "n_experts": experts})
    found = compare(None, runs, hold_out="budget").table.set_index("law")
    assert {"floored", "interacting", "bilinear", "clark2022", "separable", "saturating"} == set(found.index)
    assert found.loc["floored", "budget_r2"] > 0.83
    assert found.loc["floored", "rmse_log"] <= found.loc["separable", "rmse_log"]
    assert found.loc["interacting", "rmse_log"] <= found.loc["floored", "rmse_log"] * (1 + 1e-6)


def test_each_law_is_at_its_optimum_and_its_forecast_too() -> None:
    runs = runs_of("abnar2025", 80, 0.003)
    found = compare(["abnar2025"], runs, hold_out="sparsity == 0.98")
    ours = found.contenders[0].forecasts["sparsity == 0.98"].result
    best = fit("abnar2025", runs[runs["sparsity"] != 0.98], "lsq-log")
    assert ours.search.objective_value <= best.search.objective_value * (1 + 1e-6)


def test_law_and_fitter_are_held_apart() -> None:
    runs = grid_of_runs(0.01)
    found = compare(["hoffmann2022"], runs, "budget", "published").table.iloc[0]
    assert found["published_rmse_log"] > found["rmse_log"]
    assert {"published_budget_rmse_log", "published_budget_r2"} <= set(found.index)
    assert set(PAPER_FITS) <= set(LAWS)
    for name, recipe in PAPER_FITS.items():
        assert set(recipe.grid or {}) <= set(law(name).parameter_names)
        values = np.concatenate([np.asarray(each) for each in (recipe.grid or {"": [0.0]}).values()])
        assert np.isfinite(values).all()
    assert fit_as_published(law("separable"), runs_of("separable", 40), starts=4).search.starts == 4


def test_laws_together() -> None:
    runs = grid_of_runs()
    found = compare(["hoffmann2022", "gadre2024"], runs, "budget")
    assert sum(found.weights.values()) == pytest.approx(1)
    both = found.predict({"total_params": [2e8], "tokens": [3e10]})
    assert both["low"][0] < both["loss"][0] < both["high"][0]
    assert found.averages["budget"].laws == sum(weight > 0 for weight in found.weights.values())
    wide = found.predict({"total_params": [2e8], "tokens": [3e10]}, level=0.99)
    assert wide["high"][0] > both["high"][0]
    with pytest.raises(FitError, match="level"):
        found.predict({"total_params": [2e8], "tokens": [3e10]}, level=1.0)


def test_bands_of_laws_together_hold_new_runs() -> None:
    """At the next budget, over tables with other noise: nine in ten of the runs, at least."""
    inside = []
    for seed in range(6):
        runs = grid_of_runs(0)
        runs["loss"] *= np.exp(0.004 * np.random.default_rng(seed).normal(size=len(runs)))
        found = compare(["hoffmann2022", "gadre2024"], runs, "budget", starts=16)
        inside.append(found.averages["budget"].coverage)
    assert np.mean(inside) >= 0.9


def test_the_record_is_what_the_schema_says() -> None:
    found = compare(None, grid_of_runs(), ("budget", "total_params > 5e8"), "published", starts=4)
    record = json.loads(json.dumps({"kind": "moelaws compare"} | plain(found.to_dict()), allow_nan=False))
    jsonschema.validate(record, SCHEMA)
    assert {"budget_rmse_log", "total_params > 5e8_coverage", "published_budget_r2"} <= set(record["laws"][0])
    assert found._repr_html_().count("<tr") == 3
    assert found.plot().to_dict()["description"].startswith("Errors of 2 laws")


def test_model_selection_finds_the_law_that_made_the_runs() -> None:
    runs = runs_of("bilinear", 80, 0.005)
    table = compare(["separable", "bilinear", "saturating", "clark2022"], runs, hold_out=()).table
    assert table["law"][0] in {"bilinear", "clark2022"}
    assert table.set_index("law").loc["bilinear", "delta_aicc"] < 8
    assert table.set_index("law").loc["separable", "delta_aicc"] > 20
    assert (table["loo_rmse"] >= table["rmse_log"]).all()
    with pytest.raises(FitError, match="must predict the same column"):
        compare(["hoffmann2022", "tian2025"], runs)


@pytest.mark.parametrize(
    ("laws", "change", "said"),
    [
        (None, lambda t: t.drop(columns="tokens").assign(train_flops=np.nan), "none of 17 laws can be fitted"),
        (None, lambda t: t.head(5), "5 runs for 5 parameters and the noise: at least 7 are needed"),
        (["hoffmann2022", "hoffmann2022"], lambda t: t, "two laws are called 'hoffmann2022'"),
        (["hoffmann2022", "tian2025"], lambda t: t, "must predict the same column"),
        ([], lambda t: t, "there must be one"),
        (None, lambda t: t.assign(status="crashed"), "no finished runs"),
        ("clark2022", lambda t: t, "needs a column 'n_experts'|needs it to vary"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(laws: object, change: object, said: str) -> None:
    with pytest.raises(FitError, match=said) as error:
        compare(laws, change(grid_of_runs()))
    assert len(str(error.value)) < 400
