"""A fit ends with a result or with a sentence, whatever the law and the table; a failed fit is not a wrong input."""

from itertools import product

import numpy as np
import pytest

from moelaws.cli import main
from moelaws.fitting.engine.descent import FitFailed, Found, find_minimum
from moelaws.fitting.engine.linear import eigen, solve_all
from moelaws.fitting.engine.problem import bind
from moelaws.fitting.fit import fit
from moelaws.fitting.objective import FitError, Objective
from moelaws.fitting.quality import quality
from moelaws.fitting.table import prepare
from moelaws.laws import LAWS, LawError, law, law_from_formula
from moelaws.runs import derive, read_runs
from repository import ROOT

RUNS = ROOT / "data" / "runs"
TABLES = sorted(path.stem for path in RUNS.glob("*.csv"))
OBJECTIVES = ("huber-log", "lsq-log", "lsq")
# Laws meet tables here that were never meant for them; tests/fitting/test_foresight.py says when a fit has to warn.
pytestmark = pytest.mark.filterwarnings("ignore::moelaws.fitting.foresight.OpenDesignWarning")


def runs_of(table):
    return derive(read_runs(RUNS / f"{table}.csv"))[0]


def ends_well(name, runs, objective, seed, starts):
    """Fit; a complaint must be one sentence."""
    try:
        result = fit(name, runs, objective, seed=seed, starts=starts)
    except (FitError, LawError, FitFailed) as error:
        result = str(error)
    if isinstance(result, str):
        assert 20 < len(result) < 400
        return
    assert np.isfinite(result.search.objective_value)
    assert all(np.isfinite(value) for value in result.params.values())


@pytest.mark.parametrize(
    ("name", "table", "objective", "seed"),
    [
        ("yun2024", "experts", "huber-log", 1),  # once a singular matrix
        ("clark2022", "isoflop", "huber-log", 1),  # once still on its way down a long valley
        ("frantar2023", "spot_checks", "huber-log", 0),  # once an overflow
        ("ludziejewski2025", "granularity", "lsq", 0),
    ],
)
def test_fits_that_once_failed_end(name, table, objective, seed):
    runs = runs_of(table)
    result = fit(name, runs.assign(dense_params=runs["active_params"]), objective, seed=seed, starts=24)
    assert np.isfinite(result.search.objective_value)


@pytest.mark.validate
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("table", TABLES)
def test_every_law_on_every_table_ends_with_a_fit_or_a_sentence(table):
    runs = runs_of(table)
    for name, objective, seed in product(LAWS, OBJECTIVES, (0, 1, 2)):
        ends_well(name, runs, objective, seed, 24)
    for name in LAWS:
        ends_well(name, runs, "huber-log", 0, None)


@pytest.mark.parametrize("table", TABLES)
def test_a_law_on_each_table_ends_with_a_fit_or_a_sentence(table):
    runs = runs_of(table)
    for name in ("abnar2025", "saturating", "krajewski2024"):
        ends_well(name, runs, "huber-log", 0, 6)


def dense_table(tmp_path):
    rng = np.random.default_rng(0)
    size, tokens = np.exp(rng.uniform(17, 22, 30)), np.exp(rng.uniform(20, 25, 30))
    loss = 1.7 + 400 / size**0.34 + 410 / tokens**0.28
    path = tmp_path / "runs.csv"
    rows = zip(size, tokens, loss, strict=True)
    path.write_text("active_params,tokens,loss\n" + "".join(f"{n},{d},{found}\n" for n, d, found in rows))
    return path


def test_a_failed_fit_has_an_exit_code_and_words_of_its_own(tmp_path, capsys, monkeypatch):
    still_moving = lambda problem, theta, rng, more=True: Found(  # noqa: E731
        problem.coordinates(dict(zip("AB", (400.0, 410.0), strict=True)) | {"E": 1.7, "alpha": 0.34, "beta": 0.28})[0],
        1.0, False, 1, 64,
    )  # fmt: skip
    monkeypatch.setattr("moelaws.fitting.fit.find_minimum", still_moving)
    out = tmp_path / "out.json"
    assert main(["fit", str(dense_table(tmp_path)), "--law", "hoffmann2022", "--json", str(out)]) == 3
    error = capsys.readouterr().err
    assert error.startswith("moelaws: the fit failed: runs.csv: law 'hoffmann2022' on 30 runs: the best of 64 starts")
    assert "More starts, another seed" in error
    assert error.count("\n") == 1
    assert len(error) < 400
    assert not out.exists()


def test_starts_without_a_finite_objective_are_a_failed_fit():
    growth = law_from_formula("growth", "A*exp(b*N)", {"N": "active_params"})
    runs = {"active_params": np.array([1e8, 2e8, 4e8]), "loss": np.array([3.0, 2.5, 2.2])}
    prepared = prepare(growth, runs)
    problem = bind(growth, prepared.data, prepared.target, Objective("lsq"))
    starts = np.array([[0.0, 9.0], [1.0, 8.0]])
    with pytest.raises(FitFailed, match=r"law 'growth' on 3 runs: none of 2 starts has a finite objective.*active_par"):
        find_minimum(problem, starts, np.random.default_rng(0), more=False)


def test_a_singular_system_costs_no_other_its_solution():
    matrices = np.array([np.eye(2), np.zeros((2, 2)), [[1.0, 1.0], [1.0, 1.0]], [[np.nan, 0.0], [0.0, 0.0]]])
    found = solve_all(matrices, np.array([[1.0, 2.0], [1.0, 1.0], [2.0, 2.0], [1.0, 1.0]]))
    assert found[:3] == pytest.approx(np.array([[1.0, 2.0], [0.0, 0.0], [1.0, 1.0]]))
    assert np.isnan(found[3]).all()
    assert np.isfinite(eigen(np.array([[np.inf, np.nan], [np.nan, 1.0]]))[0]).all()


def test_every_law_predicts_alike_in_a_fit_and_outside():
    """A program of steps is the law: values and slopes, at published or plausible coefficients."""
    rng = np.random.default_rng(1)
    for each in LAWS.values():
        table = {c: rng.uniform(2.0, 60.0, 20) for v in each.variables for c in v.columns[:1]}
        table = {c: rng.uniform(0.1, 0.9, 20) if c == "sparsity" else values for c, values in table.items()}
        start = {p.name: float(np.sqrt(np.prod(p.start)) if p.positive else np.mean(p.start)) for p in each.parameters}
        predicted = each.predict(start, table)
        keep = np.isfinite(predicted) & (predicted > 0)
        table = {c: values[keep] for c, values in table.items()} | {each.target: predicted[keep]}
        prepared = prepare(each, table)
        problem = bind(each, prepared.data, prepared.target, Objective("lsq"))
        residuals, slopes = problem.linearise(problem.coordinates(start))
        assert residuals == pytest.approx(0.0, abs=1e-9 * float(np.abs(predicted[keep]).max())), each.name
        gradient = law(each.name).gradient(start, table)
        for i, parameter in enumerate(each.parameters):
            chain = start[parameter.name] if parameter.positive else 1.0
            assert slopes[0, i] == pytest.approx(gradient[parameter.name] * chain, rel=1e-8, abs=1e-12), each.name


def test_a_law_that_foretells_what_no_number_holds_is_measured_without_a_word():
    """Warnings are errors in these tests; a reader's formula may give 1e300 where a loss is 3."""
    far = law_from_formula("far", "E * (1e300 + D)", {"D": "tokens"})
    measured = quality(far, {"E": 1.0}, {"loss": [3.0, 2.9, 2.8], "tokens": [1e9, 2e9, 4e9]})
    assert (measured.n, measured.mse, measured.r2) == (3, np.inf, -np.inf)
