"""Fits: the true optimum, a status, clear refusals."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import least_squares, minimize

from moelaws.fitting.engine.minimise import minimise
from moelaws.fitting.engine.problem import bind
from moelaws.fitting.engine.starts import dispersed, grid
from moelaws.fitting.fit import default_starts, fit
from moelaws.fitting.foresight import OpenDesignWarning
from moelaws.fitting.objective import FitError, Objective
from moelaws.fitting.report.fit_record import record_of
from moelaws.fitting.selection import aicc, extrapolate, leave_one_out
from moelaws.fitting.table import prepare
from moelaws.laws import LAWS, LawError, law, law_from_formula
from published_runs import runs_of, truth
from repository import ROOT


def huber(residuals, delta=1e-3):
    size = np.abs(residuals)
    return np.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta)).sum()


@pytest.mark.parametrize("name", sorted(LAWS))
def test_noiseless_runs_give_the_parameters_back(name):
    result = fit(name, runs_of(name, 60, 0.0), ["huber-log", "lsq-log", "lsq"][len(name) % 3])
    params = truth(name)
    known = [letter for letter, identified in result.identified.items() if identified]
    assert result.quality.rmse_log < 1e-9
    assert set(params) - set(known) <= {"A_max"}  # Tian's published limit is no limit: 5e16
    for letter in known:
        assert result.params[letter] == pytest.approx(params[letter], rel=1e-4), letter


@pytest.mark.parametrize("objective", ["huber-log", "lsq-log", "lsq"])
def test_the_dense_optimum_is_scipys_from_the_truth(objective):
    """An independent objective, hand-written, minimised by SciPy from the true parameters."""
    runs = runs_of("hoffmann2022", 120, 0.01, 4)
    n, d, loss = (runs[name].to_numpy() for name in ("active_params", "tokens", "loss"))

    def residuals(x):
        predicted = np.exp(x[2]) + np.exp(x[0] - x[3] * np.log(n)) + np.exp(x[1] - x[4] * np.log(d))
        return predicted - loss if objective == "lsq" else np.log(predicted / loss)

    start = np.array([np.log(406.4), np.log(410.7), np.log(1.69), 0.34, 0.28])
    if objective == "huber-log":
        best = least_squares(residuals, start, loss="huber", f_scale=1e-3, x_scale="jac", xtol=1e-15, ftol=1e-15)
        value = huber(residuals(minimize(lambda x: huber(residuals(x)), best.x, method="Nelder-Mead").x))
        value = min(value, best.cost)
    else:
        value = 2 * least_squares(residuals, start, x_scale="jac", xtol=1e-15, ftol=1e-15).cost
    result = fit("hoffmann2022", runs, objective)
    assert result.status == "converged"
    assert result.search.objective_value <= value * (1 + 1e-6)
    recomputed = np.log(result.predict(runs) / loss) if objective != "lsq" else result.predict(runs) - loss
    direct = huber(recomputed) if objective == "huber-log" else float((recomputed**2).sum())
    assert result.search.objective_value == pytest.approx(direct, rel=1e-9)


@pytest.mark.parametrize("name", ["clark2022", "krajewski2024", "abnar2025"])
def test_no_start_of_scipy_finds_a_lower_objective(name):
    runs = runs_of(name, 40, 0.01, 2)
    result = fit(name, runs, "lsq-log")
    problem = result.solved.problem
    starts = dispersed(problem, 5, np.random.default_rng(9))
    starts[0] = problem.coordinates(truth(name))[0]
    for theta in starts:
        found = least_squares(
            lambda x: np.nan_to_num(problem.residuals(x[None])[0], nan=1e3, posinf=1e3, neginf=-1e3),
            np.clip(theta, problem.lower + 1e-6, problem.upper - 1e-6),
            lambda x: np.nan_to_num(problem.linearise(x[None])[1][0].T),
            bounds=(problem.lower, problem.upper), x_scale="jac", max_nfev=50,
        )  # fmt: skip
        assert result.search.objective_value <= 2 * found.cost * (1 + 1e-6)


def test_same_seed_same_result_and_other_seed_same_optimum():
    runs = runs_of("gadre2024", 60)
    first, again, other = (fit("gadre2024", runs, seed=seed) for seed in (0, 0, 1))
    assert first.params == again.params
    assert other.search.objective_value == pytest.approx(first.search.objective_value, rel=1e-8)
    assert first.search.starts_at_optimum >= 2


def test_the_sum_is_weighted():
    runs = runs_of("hoffmann2022", 60)
    doubled = pd.concat([runs, runs.iloc[:20]], ignore_index=True)
    weights = np.r_[np.full(20, 2.0), np.ones(40)]
    by_weight = fit("hoffmann2022", runs, "lsq-log", weights=weights)
    by_row = fit("hoffmann2022", doubled, "lsq-log")
    assert by_weight.search.objective_value == pytest.approx(by_row.search.objective_value, rel=1e-9)
    assert by_weight.params["alpha"] == pytest.approx(by_row.params["alpha"], rel=1e-5)
    column = fit("hoffmann2022", runs.assign(w=weights), "lsq-log", weights="w")
    assert column.search.objective_value == pytest.approx(by_weight.search.objective_value, rel=1e-12)


def test_an_asymmetric_objective_predicts_lower():
    runs = runs_of("hoffmann2022", 120, 0.02)
    plain, wary = fit("hoffmann2022", runs), fit("hoffmann2022", runs, over=9.0)
    above = [np.mean(result.predict(runs) > runs["loss"]) for result in (plain, wary)]
    assert above[0] == pytest.approx(0.5, abs=0.1)
    assert above[1] == pytest.approx(0.1, abs=0.06)  # a tenth of the runs: one in 1 + 9


def test_fixed_parameters_stay_and_bounds_hold():
    runs = runs_of("hoffmann2022", 80)
    held = fit("hoffmann2022", runs, fixed={"alpha": 0.34, "E": 1.69})
    assert held.params["alpha"] == 0.34
    assert held.params["E"] == pytest.approx(1.69)
    bounded = fit("hoffmann2022", runs, bounds={"E": (2.0, 3.0)})
    assert bounded.params["E"] == pytest.approx(2.0)
    assert bounded.status == "bound hit"
    assert not bounded.identified["E"]
    assert "E ended at a bound" in bounded.message


def test_what_the_runs_cannot_tell_is_said():
    runs = runs_of("clark2022", 60, 0.01)
    few = runs[runs["n_experts"].isin([1.0, 2.0, 4.0])]
    with pytest.warns(OpenDesignWarning, match="E_max.*column 'n_experts' has 3 values"):
        result = fit("clark2022", few, "lsq-log")
    assert result.status in {"not identified", "bound hit"}
    assert not result.identified["E_max"]


def test_runs_that_did_not_finish_are_left_out_and_columns_derived():
    runs = runs_of("hoffmann2022", 40)
    runs["train_flops"] = 6 * runs["active_params"] * runs["tokens"]
    broken = pd.DataFrame({"loss": [np.nan], "active_params": [1e8], "train_flops": [1e19], "status": ["diverged"]})
    table = pd.concat([runs.drop(columns="tokens").assign(status="finished"), broken], ignore_index=True)
    result = fit("hoffmann2022", table)
    assert result.n_runs == 40
    assert result.origin.derived == {"tokens": "C / (6 N_a)"}
    assert result.params == pytest.approx(fit("hoffmann2022", runs).params, rel=1e-6)


def test_a_dense_table_with_compute_and_size_is_enough():
    runs = runs_of("hoffmann2022", 40)
    table = pd.DataFrame(
        {"total_params": runs["active_params"], "train_flops": 6 * runs["active_params"] * runs["tokens"],
         "loss": runs["loss"]}
    )  # fmt: skip
    assert fit("hoffmann2022", table).origin.derived == {"active_params": "N, dense", "tokens": "C / (6 N_a)"}


def test_a_reader_fits_a_law_of_their_own():
    own = law_from_formula("own", "E + A/N^alpha + B/D^beta", {"N": "active_params", "D": "tokens"})
    runs = runs_of("hoffmann2022", 60)
    assert fit(own, runs).search.objective_value == pytest.approx(
        fit("hoffmann2022", runs).search.objective_value, rel=1e-8
    )


def test_a_grid_of_starts_is_run_in_full():
    runs = runs_of("hoffmann2022", 40)
    axes = {"A": [1.0, 1e4], "B": [1.0, 1e4], "E": [1.0], "alpha": [0.0, 0.5], "beta": [0.0, 0.5, 1.0]}
    result = fit("hoffmann2022", runs, starts=axes)
    assert result.search.starts == 2 * 2 * 2 * 3
    assert result.search.objective_value == pytest.approx(fit("hoffmann2022", runs).search.objective_value, rel=1e-8)
    theta = grid(result.solved.problem, axes)
    assert theta.shape == (24, 5)
    assert np.exp(theta[:, 0]).min() == pytest.approx(1.0)


def test_a_huge_grid_is_merged_on_the_way_and_finds_the_same_minimum(monkeypatch):
    monkeypatch.setattr("moelaws.fitting.engine.descent._MANY", 50_000)
    runs = runs_of("hoffmann2022", 150)
    axes = {name: list(np.exp([0.0, 5.0, 10.0, 15.0])) for name in "AB"}
    axes |= {"E": [1.0], "alpha": [0.0, 0.3, 0.6, 0.9, 1.2, 1.5], "beta": [0.0, 0.3, 0.6, 0.9, 1.2, 1.5]}
    result = fit("hoffmann2022", runs, starts=axes)
    assert result.search.starts == 4 * 4 * 36
    assert result.search.starts_at_optimum > 10
    assert result.search.objective_value == pytest.approx(fit("hoffmann2022", runs).search.objective_value, rel=1e-8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(tokens=1e9), r"column 'tokens' is 1e\+09 in all 30 rows"),
        (lambda t: t.drop(columns="tokens"), "needs a column 'tokens'"),
        (lambda t: t.drop(columns="loss"), "predicts a column 'loss'"),
        (lambda t: t.iloc[:4], "4 runs for 5 free parameters"),
        (lambda t: t.iloc[:0], "no finished runs"),
        (lambda t: t.assign(loss=t["loss"].where(t.index != 7, np.nan)), "row 7, column 'loss': found nan"),
        (lambda t: t.assign(tokens=t["tokens"].where(t.index != 3, -1.0)), r"row 3, column 'tokens': found -1,"),
        (lambda t: t.assign(loss=t["loss"].where(t.index != 2, 0.0)), "row 2, column 'loss': found 0, expected"),
        (lambda t: t.assign(loss=t["loss"].astype(object).where(t.index != 5, "n/a")), "row 5, column 'loss'"),
    ],
)
def test_tables_that_cannot_be_fitted_are_refused_by_row_and_column(change, message):
    with pytest.raises((FitError, LawError), match=message):
        fit("hoffmann2022", change(runs_of("hoffmann2022", 30)))


def test_a_run_at_which_the_law_is_undefined_is_named():
    runs = runs_of("abnar2025", 40)
    runs.loc[11, "sparsity"] = 1.0
    with pytest.raises(FitError, match=r"row 11: law 'abnar2025' has no value there .*sparsity = 1"):
        fit("abnar2025", runs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "mse"}, "objective 'mse': expected one of huber-log, lsq-log, lsq"),
        ({"delta": 0.0}, "delta = 0.0"),
        ({"delta": 1e-320}, "delta = 1e-320: expected 1e-12 or more"),
        ({"over": -1.0}, "over = -1.0"),
        ({"fixed": {"zeta": 1.0}}, "has no parameter 'zeta'; it has A, B, E"),
        ({"fixed": {"A": -1.0}}, "fixed A = -1.0: expected a positive number"),
        ({"bounds": {"alpha": (1.0, 0.5)}}, r"bounds of alpha = \(1, 0.5\)"),
        ({"fixed": dict.fromkeys(["A", "B", "E", "alpha", "beta"], 1.0)}, "every parameter is fixed"),
        ({"starts": {"A": [1.0]}}, "no starting values for parameter 'B'"),
        ({"starts": 0}, "starts = 0"),
        ({"weights": "se"}, "no column 'se' to weigh the runs by"),
        ({"weights": np.ones(3)}, "3 weights for 30 runs"),
        ({"weights": np.zeros(30)}, "every run has weight 0"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(options, message):
    with pytest.raises(FitError, match=message):
        fit("hoffmann2022", runs_of("hoffmann2022", 30), **options)


@pytest.mark.parametrize("name", ["huber-log", "lsq-log"])
def test_one_pass_over_the_residuals_equals_three(name):
    rng = np.random.default_rng(0)
    objective = Objective(name, 0.5, over=3.0)
    residuals, weights = rng.normal(size=(4, 50)), rng.random((1, 50))
    value, slopes, majorants = objective.measure(residuals, weights)
    assert value == pytest.approx(objective.terms(residuals, weights).sum(axis=1), rel=1e-12)
    assert slopes == pytest.approx(objective.slopes(residuals, weights), rel=1e-12)
    assert majorants * residuals == pytest.approx(slopes, rel=1e-12)  # a parabola about zero with the same slope


@pytest.mark.parametrize("kind", ["majorant", "slopes", "exact"])
def test_every_hessian_leads_to_the_minimum_and_held_coordinates_stay(kind):
    result = fit("hoffmann2022", runs_of("hoffmann2022", 80, 0.01, 1))
    theta = np.repeat(result.solved.theta[None], 300, axis=0)
    theta += 0.003 * np.random.default_rng(0).standard_normal(theta.shape)
    free = minimise(result.solved.problem, theta, steps=400, tolerance=1e-12, hessian=kind)
    assert np.median(free.value) == pytest.approx(result.search.objective_value, rel=1e-4)
    assert free.value.min() == pytest.approx(result.search.objective_value, rel=1e-6)
    held = np.zeros(theta.shape, dtype=bool)
    held[:, 3] = True
    kept = minimise(result.solved.problem, theta, steps=400, tolerance=1e-12, hessian=kind, held=held)
    assert (kept.theta[:, 3] == theta[:, 3]).all()
    assert (kept.theta[:, 4] != theta[:, 4]).all()
    i = int(np.abs(theta[:, 3] - result.solved.theta[3]).argmax())
    again = fit("hoffmann2022", runs_of("hoffmann2022", 80, 0.01, 1), fixed={"alpha": theta[i, 3]})
    assert kept.value[i] == pytest.approx(again.search.objective_value, rel=1e-4)


@pytest.mark.parametrize("name", ["hoffmann2022", "clark2022", "yun2024"])
def test_second_derivatives_are_exact(name):
    runs = runs_of(name, 25)
    prepared = prepare(law(name), runs)
    problem = bind(law(name), prepared.data, prepared.target, Objective("lsq-log"))
    theta = problem.coordinates(truth(name)) * 1.01
    residuals, slopes = problem.linearise(theta)
    full = 2 * slopes[0] @ slopes[0].T + problem.expand(theta)[1].bend(2 * residuals)[0]
    for i in range(theta.shape[1]):
        step = np.zeros_like(theta)
        step[0, i] = 1e-6
        ends = []
        for sign in (1, -1):
            r, s = problem.linearise(theta + sign * step)
            ends.append(2 * s[0] @ r[0])
        numeric = (ends[0] - ends[1]) / 2e-6
        assert full[i] == pytest.approx(numeric, rel=1e-4, abs=1e-6 * np.abs(full).max())


def test_cutting_the_runs_into_blocks_changes_nothing():
    runs = runs_of("abnar2025", 12_000)
    prepared = prepare(law("abnar2025"), runs)
    problem = bind(law("abnar2025"), prepared.data, prepared.target, Objective())
    assert len(problem.blocks) == 3
    theta = problem.coordinates(truth("abnar2025"))
    whole = problem.value(problem.residuals(theta))
    parts = sum(block.value(block.residuals(theta)) for block in problem.blocks)
    assert parts == pytest.approx(whole, rel=1e-12)
    assert minimise(problem, theta, steps=3).value[0] <= whole[0]


def test_more_parameters_more_starts():
    counts = []
    for name in ("hoffmann2022", "clark2022", "abnar2025"):
        prepared = prepare(law(name), runs_of(name, 30))
        counts.append(default_starts(bind(law(name), prepared.data, prepared.target, Objective())))
    assert counts == sorted(counts)


def test_leaving_one_out_is_refitting_without_it():
    runs = runs_of("hoffmann2022", 25, 0.01)
    result = fit("hoffmann2022", runs, "lsq-log")
    errors = leave_one_out(result)
    without = fit("hoffmann2022", runs.drop(index=6), "lsq-log")
    by_hand = np.log(without.predict(runs.loc[[6]]) / runs.loc[6, "loss"])[0]
    assert errors[6] == pytest.approx(by_hand, rel=1e-4)
    assert aicc(result) == pytest.approx(25 * np.log(result.quality.rmse_log**2) + 12 + 84 / 18)


def test_extrapolation_holds_out_the_largest():
    runs = runs_of("abnar2025", 80, 0.003)
    result = extrapolate("abnar2025", runs, largest="sparsity")
    assert result.n_runs + result.holdout.n == 80
    assert result.holdout.n == int((runs["sparsity"] == 0.98).sum())
    assert result.holdout.rmse_log < 0.02
    dense = extrapolate("hoffmann2022", runs.assign(active_params=runs["total_params"]), "sparsity > 0.97")
    assert dense.holdout.rmse_log > 3 * result.holdout.rmse_log
    with pytest.raises(FitError, match="the split holds out 0 of 80 runs"):
        extrapolate("abnar2025", runs, "sparsity > 0.99")


def test_the_result_is_what_the_schema_says():
    schema = json.loads((ROOT / "data" / "fit.schema.json").read_text())
    record = record_of(fit("hoffmann2022", runs_of("hoffmann2022", 30)))
    always = {
        "positive",
        "ranges",
        "interval_level",
        "covariance",
    }  # since files hold a whole fit; older ones lack them
    assert set(record) == set(schema["required"]) | always
    # What a fit has only where there is something to say.
    others = {"kind", "design", "replicates", "family", "definitions", "target"}
    assert set(schema["properties"]) - set(record) == others
    json.dumps(record, allow_nan=False)


def test_published_coefficients_in_data_are_the_librarys():
    table = pd.read_csv(ROOT / "data" / "published" / "coefficients.csv", keep_default_na=False)
    listed = {(r.law, r.set, r.parameter): (r.value, r.tag, r.source) for r in table.itertuples()}
    held = {
        (each.name, key, name): (value, coefficients.tag, coefficients.source)
        for each in LAWS.values()
        for key, coefficients in each.published.items()
        for name, value in coefficients.items()
    }
    assert listed == held
