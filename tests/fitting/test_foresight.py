"""What a fit says before it begins: that the runs cannot pin its law down, whatever their losses."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest

from moelaws.cli import main
from moelaws.fitting.engine.problem import bind
from moelaws.fitting.fit import fit
from moelaws.fitting.foresight import OpenDesignWarning, foreseen
from moelaws.fitting.objective import Objective
from moelaws.fitting.report.fit_record import record_of
from moelaws.fitting.table import prepare
from moelaws.laws import LAWS, law, law_from_formula
from moelaws.runs import derive, read_runs
from published_runs import runs_of
from repository import ROOT

RUNS = ROOT / "data" / "runs"


def said(chosen, runs, objective="huber-log"):
    """What is foreseen of a law, or the name of one, on runs."""
    chosen = law(chosen) if isinstance(chosen, str) else chosen
    prepared = prepare(chosen, runs, objective=objective)
    problem = bind(chosen, prepared.data, prepared.target, Objective(objective, 1e-3), prepared.weights)
    return foreseen(problem, prepared.data, prepared.columns)


def chinchilla(runs):
    """Twenty tokens for each parameter."""
    return runs.assign(tokens=20 * runs["active_params"])


@pytest.mark.parametrize("objective", ["huber-log", "lsq-log", "lsq"])
@pytest.mark.parametrize("name", sorted(LAWS))
def test_a_design_that_spreads_its_variables_raises_no_alarm(name, objective):
    assert said(name, runs_of(name, 40), objective) == ""


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ("isoflop", "abnar2025 clark2022 saturating separable bilinear hoffmann2022 yun2024 frantar2023"),
        ("experts", "clark2022 yun2024 abnar2025 hoffmann2022 saturating ludziejewski2025"),
        ("synthetic", "abnar2025 hoffmann2022 clark2022"),
        ("granularity", "krajewski2024"),
        ("finer", "krajewski2024"),
    ],
)
def test_no_alarm_on_a_recorded_table_and_its_usual_laws(table, names):
    runs = derive(read_runs(RUNS / f"{table}.csv"))[0]
    runs = runs.assign(dense_params=runs["active_params"])
    assert {name: said(name, runs) for name in names.split()} == dict.fromkeys(names.split(), "")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("hoffmann2022", chinchilla, "'active_params', 'tokens' move together, as powers of one another: .* apart"),
        ("clark2022", lambda t: t[t["n_experts"].isin([1, 2, 4])], "pin down .*E_max.*column 'n_experts' has 3 values"),
        ("hoffmann2022", lambda t: t.assign(tokens=1e10 * (1 + 1e-4 * np.arange(len(t)))), "pin down .*beta"),
        ("abnar2025", lambda t: t[t["sparsity"].isin([0.5, 0.75])], "column 'sparsity' has 2 values"),
        ("gadre2024", lambda t: pd.concat([t[:3]] * 4), "3 design points, for 4 free parameters"),
    ],
)
def test_a_design_that_cannot_tell_is_named_with_its_reason(name, change, message):
    runs = change(runs_of(name, 150))
    with pytest.warns(OpenDesignWarning, match=message) as caught:
        result = fit(name, runs, "lsq-log", starts=16)
    assert result.status != "converged"
    assert result.origin.design == str(caught[0].message)
    assert record_of(result)["design"] == result.origin.design
    assert len(result.origin.design) < 400


def test_few_values_are_enough_for_a_law_that_needs_no_more():
    """Three coefficients of ln E and of its product with ln N: two values of E tell them."""
    runs = runs_of("bilinear", 60)
    assert said("bilinear", runs[runs["n_experts"].isin([1, 2])]) == ""


def test_columns_that_follow_from_others_are_no_reason_for_alarm():
    """C is 6 N D, but its term has an exponent of its own."""
    own = law_from_formula("own", "E + A/N^alpha + B*D/C", {"N": "active_params", "D": "tokens", "C": "train_flops"})
    runs = runs_of("hoffmann2022", 60)
    assert said(own, runs.assign(train_flops=6 * runs["active_params"] * runs["tokens"])) == ""


def test_the_design_is_judged_not_the_starts():
    """A published grid's starts may all lie far from the runs."""
    runs = runs_of("hoffmann2022", 60)
    far = {"A": [1.0, 1e6], "B": [1.0, 1e6], "E": [1.0], "alpha": [0.0, 1.5], "beta": [0.0, 1.5]}
    assert fit("hoffmann2022", runs, starts=far).origin.design == ""
    assert fit("hoffmann2022", runs, starts=1).origin.design == ""


def test_what_is_held_needs_no_runs():
    """Held at the truth, E_max is no question any more."""
    runs = runs_of("clark2022", 150)
    few = runs[runs["n_experts"].isin([1, 2, 4])]
    with pytest.warns(OpenDesignWarning, match="E_max"):
        fit("clark2022", few, "lsq-log", starts=16)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit("clark2022", few, "lsq-log", starts=16, fixed={"E_max": 300.0, "E_start": 1.9})
    assert not [each for each in caught if issubclass(each.category, OpenDesignWarning)]


def test_two_coefficients_of_one_term_are_foreseen():
    """A formula of one's own whose A and B only ever appear as a product."""
    own = law_from_formula("own", "E + A*B/N^alpha", {"N": "active_params"})
    runs = runs_of("hoffmann2022", 40)
    assert "can hardly pin down A, B" in said(own, runs)


def test_the_command_says_it_before_the_fit(tmp_path, capsys):
    table, out = tmp_path / "runs.csv", tmp_path / "out.json"
    chinchilla(runs_of("hoffmann2022", 40)).to_csv(table, index=False)
    assert main(["fit", str(table), "--law", "hoffmann2022", "--starts", "8", "--json", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("moelaws: law 'hoffmann2022': ")
    assert "move together" in printed.err
    assert printed.err.count("\n") == 1
    assert "move together" in json.loads(out.read_text())["design"]
