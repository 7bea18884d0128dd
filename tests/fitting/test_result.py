"""What a fit tells: intervals and bands that cover, words and pages, and a file that says it all again."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from moelaws.cli import main
from moelaws.fitting.fit import fit
from moelaws.fitting.foresight import OpenDesignWarning
from moelaws.fitting.objective import FitError
from moelaws.fitting.report.fit_file import load_fit
from moelaws.fitting.result_parts import MOVED
from moelaws.json_file import JsonFileError
from moelaws.laws import LawError, amplitude, exponent, law, law_from_formula
from moelaws.optimum.family import FAMILIES, switch
from published_runs import runs_of, truth
from repository import ROOT

NEW = pd.DataFrame({"total_params": [1e8, 5e9, 3e10], "tokens": [1e10, 1e11, 1e12]}, index=["in", "edge", "beyond"])


def dense_runs(n=36, noise=0.002, seed=0):
    """A grid of dense runs with normal noise of ln L."""
    side = int(np.sqrt(n))
    size, tokens = (each.ravel() for each in np.meshgrid(np.geomspace(1e7, 1e10, side), np.geomspace(1e9, 3e11, side)))
    runs = pd.DataFrame({"total_params": size, "tokens": tokens})
    exact = law("hoffmann2022").predict(truth("hoffmann2022"), runs)
    return runs.assign(loss=exact * np.exp(noise * np.random.default_rng(seed).normal(size=len(runs))))


@pytest.fixture(scope="module")
def fitted():
    return fit("hoffmann2022", dense_runs(), "lsq-log")


def misses(tables, n, objective="lsq-log", refits=0):
    """How often bands of 95 % miss the law, and a new run, at each of ``NEW``: [2, 3]."""
    exact = np.asarray(law("hoffmann2022").predict(truth("hoffmann2022"), NEW))
    missed = np.zeros((2, len(NEW)))
    for seed in range(tables):
        runs = dense_runs(n, 0.005, seed)
        result = fit("hoffmann2022", runs, objective, starts=start_at_truth(runs, objective))
        result = result.bootstrap(refits, seed) if refits else result
        run = exact * np.exp(0.005 * np.random.default_rng(10_000 + seed).normal(size=len(NEW)))
        for row, (kind, value) in enumerate({"mean": exact, "run": run}.items()):
            band = result.predict(NEW, interval=kind)
            missed[row] += (value < band["low"]) | (value > band["high"])
    return missed


def start_at_truth(runs, objective):
    near = fit("hoffmann2022", runs, objective, starts=1)
    return near.solved.problem.coordinates(truth("hoffmann2022"))


def test_bands_cover_in_a_sample():
    assert (misses(40, 16) <= binom.ppf(0.9999, 40, 0.05)).all()


@pytest.mark.validate
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("n", "objective", "refits"), [(9, "lsq-log", 0), (36, "lsq-log", 0), (36, "huber-log", 0), (36, "lsq-log", 200)]
)
def test_bands_cover(n, objective, refits):
    tables = 400
    missed = misses(tables, n, objective, refits)
    assert (missed <= binom.ppf(0.9999, tables, 0.05)).all(), missed
    assert (missed >= binom.ppf(0.0001, tables, 0.05)).all(), missed  # nor are they wider than they say


def test_a_prediction_alone_is_the_laws(fitted):
    assert fitted.predict({"total_params": 1e9, "tokens": 2e10}) == law("hoffmann2022").predict(
        fitted.params, {"total_params": 1e9, "tokens": 2e10}
    )
    band = fitted.predict(NEW, interval="mean")
    assert list(band.columns) == ["loss", "low", "high"]
    assert list(band.index) == ["in", "edge", "beyond"]
    np.testing.assert_array_equal(fitted.predict(NEW), band["loss"])
    wide = fitted.predict(NEW, interval="run")
    assert (wide["low"] < band["low"]).all()
    assert (wide["high"] > band["high"]).all()
    away = band["high"] / band["loss"] - 1
    assert away["beyond"] > 1.5 * away["edge"]  # wider, the farther from the runs
    narrow = fitted.predict(NEW, interval="mean", level=0.5)
    assert (narrow["high"] < band["high"]).all()


def test_the_column_that_was_fitted_is_read(fitted):
    """A law of dense models reads N or N_a: whichever it was fitted to, also where a new table has both."""
    both = NEW.assign(active_params=NEW["total_params"] / 8)
    np.testing.assert_array_equal(fitted.predict(both), fitted.predict(NEW))
    assert (fitted.predict(both, interval="mean")["loss"] == fitted.predict(NEW)).all()
    derived = NEW.assign(train_flops=6 * NEW["total_params"] * NEW["tokens"]).drop(columns="tokens")
    np.testing.assert_allclose(fitted.predict(derived), fitted.predict(NEW))
    with pytest.raises(LawError, match="needs a column"):
        fitted.predict({"total_params": [1e9]}, interval="run")


def test_what_the_runs_leave_open_has_no_end():
    runs = dense_runs(25)
    runs = runs.assign(tokens=20 * runs["total_params"])
    exact = law("hoffmann2022").predict(truth("hoffmann2022"), runs)
    runs["loss"] = exact * np.exp(0.002 * np.random.default_rng(0).normal(size=len(runs)))
    with pytest.warns(OpenDesignWarning):
        result = fit("hoffmann2022", runs, "lsq-log", fixed={"alpha": 0.3, "beta": 0.3})
    assert result.status == "not identified"
    along = pd.DataFrame({"total_params": [3e8], "tokens": [6e9]})
    aside = pd.DataFrame({"total_params": [3e8], "tokens": [6e11]})
    assert float(np.ptp(result.predict(along, interval="mean")[["low", "high"]])) < 0.05
    ends = result.predict(aside, interval="mean").iloc[0]
    assert ends["low"] < 0.01 * ends["loss"]
    assert ends["high"] > 100 * ends["loss"]


def test_no_degree_of_freedom_no_band():
    with pytest.warns(OpenDesignWarning):
        result = fit("hoffmann2022", dense_runs(9).iloc[[0, 2, 4, 6, 8]], "lsq-log")
    band = result.predict(NEW, interval="run")
    assert (band["low"] == 0).all()
    assert np.isinf(band["high"]).all()
    assert result.conf_int().empty


def test_losses_of_any_sign_have_bands_too():
    rng = np.random.default_rng(0)
    runs = pd.DataFrame({"x": np.linspace(1, 9, 30)})
    runs["loss"] = 2 - 0.8 * runs["x"] + 0.1 * rng.normal(size=30)
    line = law_from_formula("line", "a + b*x", {"x": "x"}, parameters=(exponent("a"), exponent("b")))
    result = fit(line, runs, "lsq")
    band = result.predict({"x": [5.0]}, interval="run").iloc[0]
    assert band["low"] < band["loss"] < band["high"] < 0
    # The textbook's interval of a straight line.
    residual = runs["loss"] - np.polyval(np.polyfit(runs["x"], runs["loss"], 1), runs["x"])
    sd = np.sqrt((residual**2).sum() / 28)
    from scipy.stats import t

    expected = t.ppf(0.975, 28) * sd * np.sqrt(1 + 1 / 30)
    assert band["high"] - band["loss"] == pytest.approx(expected, rel=0.02)


def test_intervals_are_asked_for_once_and_at_any_level(fitted):
    table = fitted.conf_int()
    assert list(table.columns) == ["low", "high", "identified"]
    assert list(table.index) == ["A", "B", "E", "alpha", "beta"]
    assert table["identified"].all()
    assert fitted.with_intervals() is fitted.with_intervals()
    half = fitted.conf_int(0.5)
    assert (half["low"] > table["low"]).all()
    assert (half["high"] < table["high"]).all()
    profile = fitted.profile("alpha")
    assert profile.interval == pytest.approx(table.loc["alpha", ["low", "high"]].to_list(), rel=1e-3)
    for level in (0, 1, 2, float("nan")):
        with pytest.raises(FitError, match="between 0 and 1"):
            fitted.conf_int(level)
    with pytest.raises(FitError, match="expected 'mean', 'run' or None"):
        fitted.predict(NEW, interval="prediction")


def test_the_summary_is_what_the_command_prints(tmp_path, capsys):
    runs = dense_runs(36)
    runs.to_csv(tmp_path / "runs.csv", index=False)
    assert main(["fit", str(tmp_path / "runs.csv"), "--law", "hoffmann2022", "--objective", "lsq-log"]) == 0
    printed = capsys.readouterr().out.splitlines()
    summary = str(fit("hoffmann2022", runs, "lsq-log").summary()).splitlines()
    assert [line for line in printed if line in summary] == summary
    assert repr(fit("hoffmann2022", runs, "lsq-log").summary()) == "\n".join(summary)
    held = fit("hoffmann2022", runs, "lsq-log", fixed={"E": 1.7})
    assert "\nE                    1.7  fixed\n" in str(held)


def test_a_page_shows_it_in_its_own_colours(fitted):
    strange = replace(fitted.with_intervals(), message="<script>&")
    page = strange._repr_html_()
    assert "<script" not in page
    assert "&lt;script&gt;&amp;" in page
    assert not re.search(r"https?:|url\(|#[0-9a-f]{3}|rgb|white|black", page)
    assert page.count("<circle") == 2 * 36
    assert "aria-label" in page
    assert page.count("<tr>") == 6
    assert "<table" in fitted.summary()._repr_html_()
    assert repr(fitted) == "FitResult(hoffmann2022, 36 runs, lsq-log: converged)"


def test_names_of_the_last_version_say_where_they_went(fitted):
    for old, new in MOVED.items():
        part, name = new.split(".")
        with pytest.warns(DeprecationWarning, match=f"FitResult.{old} is FitResult.{new} now"):
            assert getattr(fitted, old) is getattr(getattr(fitted, part), name)
    with pytest.raises(AttributeError, match="no 'interval'"):
        fitted.interval  # noqa: B018


def test_the_chart_has_every_run(fitted):
    spec = fitted.plot().to_dict()
    assert "36 observed values" in spec["description"]
    rows = max(spec["datasets"].values(), key=len)
    assert len(rows) == 36
    observed = dense_runs()["loss"]
    np.testing.assert_allclose(sorted(row["observed"] for row in rows), sorted(observed))
    table = fitted.residuals()
    np.testing.assert_allclose(np.log(table["observed"] / table["predicted"]), table["residual"])


def same(one, other, digits=1e-9):
    assert other.law.predict(one.params, NEW) == pytest.approx(one.law.predict(one.params, NEW), rel=1e-14)
    assert (other.params, other.status, other.message) == (one.params, one.status, one.message)
    assert (other.objective, other.n_runs, other.search, other.origin) == (
        one.objective,
        one.n_runs,
        one.search,
        one.origin,
    )
    assert (other.quality, other.holdout) == (one.quality, one.holdout)
    assert dict(other.intervals) == dict(one.intervals)
    for name in ("identified", "method", "level", "ends"):
        assert getattr(other.uncertainty, name) == getattr(one.uncertainty, name)
    for kind in ("mean", "run"):
        pd.testing.assert_frame_equal(other.predict(NEW, interval=kind), one.predict(NEW, interval=kind), rtol=digits)


def test_a_file_says_it_all_again(fitted, tmp_path):
    out = tmp_path / "fit.json"
    whole = fitted.with_intervals().with_holdout(dense_runs(9, seed=5)).with_family(switch(vocab_size=256))
    text = whole.to_json(out)
    assert out.read_text() == text
    read = load_fit(out)
    same(whole, read)
    assert read.law is whole.law
    assert read.origin.family == {"name": "switch", "vocab_size": 256, "aspect": 64.0}
    assert json.loads(read.to_json()) == json.loads(text)
    assert str(read) == str(whole)
    assert read.conf_int(0.8).loc["alpha", "low"] == pytest.approx(fitted.conf_int(0.8).loc["alpha", "low"], rel=0.01)
    assert "<svg" not in read._repr_html_()
    for ask in (read.plot, read.residuals, lambda: read.profile("alpha"), lambda: read.bootstrap(5)):
        with pytest.raises(FitError, match="holds no runs"):
            ask()


def test_refits_go_along(fitted, tmp_path):
    refitted = fitted.bootstrap(60, seed=1)
    out = tmp_path / "fit.json"
    refitted.to_json(out)
    read = load_fit(out)
    same(refitted, read, 1e-5)  # a file holds six digits of each refit
    assert len(read.draws()["alpha"]) == 60
    band, straight = (each.predict(NEW, interval="mean") for each in (refitted, fitted))
    ratio = (band["high"] - band["low"]) / (straight["high"] - straight["low"])
    assert ratio.between(0.6, 1.6).all(), ratio


def test_a_law_of_ones_own_comes_back_as_it_was(tmp_path):
    runs = runs_of("hoffmann2022", 40).rename(columns={"active_params": "width", "loss": "bits"})
    own = law_from_formula(
        "mine", "E + A/M^alpha + B/D^beta", {"N": "width", "D": "tokens"}, {"M": "N / 1000"},
        (amplitude("E"), exponent("A"), amplitude("B"), exponent("alpha"), amplitude("beta")), "bits",
    )  # fmt: skip
    result = fit(own, runs, "lsq-log")
    result.to_json(tmp_path / "own.json")
    read = load_fit(tmp_path / "own.json")
    assert read.law.target == "bits"
    assert [each.positive for each in read.law.parameters] == [each.positive for each in own.parameters]
    for kind in ("mean", "run"):
        pd.testing.assert_frame_equal(read.predict(runs, interval=kind), result.predict(runs, interval=kind))


def test_files_of_older_versions_are_read():
    ours = load_fit(ROOT / "data" / "fits" / "ours.json")
    assert (ours.n_runs, ours.status) == (332, "not identified")
    assert ours.intervals["e"] == (0.0, pytest.approx(1.0628284987762664))
    assert not ours.identified["lambda"]
    at = {"total_params": [1e6], "tokens": [1e8], "sparsity": [0.5]}
    mean, run = (ours.predict(at, interval=kind).iloc[0] for kind in ("mean", "run"))
    assert run["low"] < mean["low"] < mean["loss"] < mean["high"] < run["high"]


def test_coefficients_alone_predict_and_say_that_there_is_no_more(tmp_path):
    file = tmp_path / "mine.json"
    mine = {"law": "mine", "formula": "E + A/N^a", "params": {"E": 1.5, "A": 400.0, "a": 0.3}}
    file.write_text(json.dumps(mine | {"columns": {"N": "total_params"}}))
    read = load_fit(file)
    assert read.predict({"total_params": [1e9]})[0] == pytest.approx(1.5 + 400 / 1e9**0.3)
    assert "tells nothing of their fit" in str(read)
    assert read.draws() == {}
    with pytest.raises(FitError, match="neither refits nor a covariance"):
        read.predict({"total_params": [1e9]}, interval="mean")
    with pytest.raises(FitError, match="neither refits nor a covariance"):
        read.conf_int()


GOOD_JOINT = {"parameters": ["A"], "matrix": [[1.0]], "degrees": 3, "noise": 0.1, "noise_degrees": 3}
WRONG = {
    "status": ({"status": "fine"}, "'status': expected one of converged, bound hit"),
    "objective": ({"objective": "mse"}, "'objective': expected one of huber-log"),
    "delta": ({"objective": "huber-log", "delta": -1}, "delta = -1.0: expected 1e-12 or more"),
    "runs": ({"n_runs": -3}, "'n_runs': expected a whole number"),
    "runs of text": ({"n_runs": "many"}, "'n_runs': expected a whole number"),
    "interval of one": ({"intervals": {"A": [1]}}, "expected two numbers"),
    "interval turned": ({"intervals": {"A": [2, 1]}}, "expected the lower end first"),
    "interval of another": ({"intervals": {"Q": [1, 2]}}, "names 'Q', which is no parameter of the law"),
    "level": ({"interval_level": 2}, "interval_level = 2: expected a number between 0 and 1"),
    "ends": ({"interval_ends": {"A": ["open", "shut"]}}, "expected two of found, open"),
    "identified": ({"identified": {"A": "yes"}}, "expected true or false"),
    "fixed": ({"fixed": {"A": 1}}, "'fixed': expected a list of parameters"),
    "fixed another": ({"fixed": ["Q"]}, "names 'Q', which is no parameter"),
    "seconds": ({"seconds": "long"}, "'seconds': expected a finite number"),
    "holdout": ({"holdout": {"n": 1.5}}, "'n': expected a whole number"),
    "quality": ({"r2": "good"}, "'r2': expected a finite number"),
    "derived": ({"derived": {"tokens": 3}}, "'tokens': expected text"),
    "family": ({"family": {"vocab_size": 3}}, "no field 'name'"),
    "family number": ({"family": {"name": "switch", "vocab_size": "big"}}, "'family.vocab_size': expected a finite"),
    "covariance list": ({"covariance": [1]}, "'covariance': expected an object"),
    "covariance names": ({"covariance": GOOD_JOINT | {"parameters": "A"}}, "expected a list of parameters"),
    "covariance another": ({"covariance": GOOD_JOINT | {"parameters": ["Q"]}}, "which is no parameter"),
    "covariance shape": ({"covariance": GOOD_JOINT | {"matrix": [[1.0, 2.0]]}}, "expected 1 rows of 1 numbers"),
    "covariance text": ({"covariance": GOOD_JOINT | {"matrix": [["x"]]}}, "'covariance.matrix': expected a finite"),
    "covariance negative": ({"covariance": GOOD_JOINT | {"matrix": [[-1.0]]}}, "variances on its diagonal"),
    "covariance noise": ({"covariance": GOOD_JOINT | {"noise": -1}}, "expected numbers >= 0"),
    "covariance part": ({"covariance": {"parameters": ["A"], "matrix": [[1.0]]}}, "'covariance.degrees': expected a"),
    "positive": ({"positive": ["Q"]}, "names 'Q', which is no parameter of the law"),
    "definitions": ({"definitions": {"M": 1}}, "'M': expected text"),
    "target": ({"target": 3}, "'target': expected text"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG.keys())
def test_every_field_is_checked(change, message, tmp_path):
    file = tmp_path / "mine.json"
    good = {"law": "x", "formula": "E + A/N^a", "params": {"E": 1.5, "A": 400.0, "a": 0.3}, "columns": {"N": "tokens"}}
    file.write_text(json.dumps(good))
    load_fit(file)
    file.write_text(json.dumps(good | change))
    with pytest.raises(JsonFileError, match=re.escape(message)) as refused:
        load_fit(file)
    assert str(refused.value).startswith("mine.json: ")
    assert len(str(refused.value)) < 400


def test_nothing_of_somebodys_is_written_over(fitted, tmp_path):
    out = tmp_path / "thesis.json"
    out.write_text("{}")
    with pytest.raises(ValueError, match="no result that moelaws wrote"):
        fitted.to_json(out)
    assert out.read_text() == "{}"


def test_the_schema_knows_the_families():
    schema = json.loads((ROOT / "data" / "fit.schema.json").read_text())
    assert schema["properties"]["family"]["properties"]["name"]["enum"] == list(FAMILIES)
