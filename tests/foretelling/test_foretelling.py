"""Forecasts: the rolling origin, its decisions, and forecasts written down before their runs."""

import numpy as np
import pandas as pd
import pytest

from moelaws.fitting.fit import fit
from moelaws.fitting.objective import FitError
from moelaws.foretelling.decisions import multiplier, valleys
from moelaws.foretelling.foretold import foretold, together
from moelaws.foretelling.planned import foretell, score_forecasts
from moelaws.foretelling.rivals import CONSTANT, GROWING, MEAN, QUADRATIC, asked_laws, constant, quadratic
from moelaws.foretelling.rolling import SCORES, rolling_origin
from moelaws.laws import law

BUDGETS = 1e18 * 4.0 ** np.arange(4)
TRUTH = {"c": 1.6, "A": 60.0, "delta": 0.05, "alpha": 0.24, "B": 40.0, "omega": 0.02, "kappa": 0.03, "beta": 0.2}


def runs_of(error=0.0, noise=0.001, seed=0, experts=(1, 4, 16)):
    """Runs of four budgets, seven sizes and some numbers of experts, on ``GROWING`` but for a smooth error."""
    rows = pd.DataFrame(
        [(c, size * np.sqrt(c / 120), e) for c in BUDGETS for e in experts for size in np.geomspace(0.25, 4, 7)],
        columns=["budget", "active_params", "n_experts"],
    )
    rows["tokens"] = rows["budget"] / (6 * rows["active_params"])
    rows["sparsity"] = 1 - 1 / rows["n_experts"]
    wave = error * np.sin(0.5 * np.log(rows["active_params"] * rows["tokens"]))
    exact = np.log(GROWING.predict(TRUTH, rows)) + wave
    return rows.assign(loss=np.exp(exact + noise * np.random.default_rng(seed).normal(size=len(rows))))


def at_largest(runs):
    return runs[runs["budget"] == runs["budget"].max()].reset_index(drop=True)


@pytest.fixture(scope="module")
def ladder():
    return rolling_origin(runs_of(0.04), ["hoffmann2022", GROWING], first=3, starts=8)


def test_each_law_is_asked_alone_and_beside_its_process(ladder):
    assert list(ladder.columns) == list(SCORES)
    assert sorted(set(ladder["law"])) == sorted({"hoffmann2022", "growing", QUADRATIC, CONSTANT, MEAN})
    assert (ladder.groupby("law")["process"].nunique() == 2).all()
    assert set(ladder["steps"]) == {1}
    error = ladder.set_index(["law", "process"])["rmse"]
    assert error["growing", True] < 0.5 * error["growing", False]
    assert error[CONSTANT, True] < 0.5 * error[CONSTANT, False]


def test_scores_are_those_of_the_fit_itself(ladder):
    runs = runs_of(0.04)
    largest = at_largest(runs)
    result = fit("hoffmann2022", runs[runs["budget"] < BUDGETS[-1]], "lsq-log", starts=8)
    for process, use in ((False, "none"), (True, "always")):
        row = ladder[(ladder["law"] == "hoffmann2022") & (ladder["process"] == process)].iloc[0]
        band = result.predict(largest, "run", discrepancy=use)
        errors = np.log(band["loss"] / largest["loss"])
        assert row["rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-3)
        assert row["bias"] == pytest.approx(errors.mean(), rel=1e-3)
        assert row["coverage"] == pytest.approx(largest["loss"].between(band["low"], band["high"]).mean(), abs=0.05)
        assert row["admitted"] == result.discrepancy.admitted


def test_decisions_of_a_true_law_are_those_of_its_runs():
    found = rolling_origin(runs_of(), GROWING, first=3, starts=8)
    row = found[(found["law"] == "growing") & ~found["process"]].iloc[0]
    assert row["regret"] <= 2e-3
    assert row["gain"] == pytest.approx(row["gain_seen"], abs=4e-3)
    assert row["gain_low"] < row["gain_seen"] < row["gain_high"]
    assert row["size_factor"] == pytest.approx(1, abs=0.15)
    assert row["multiplier"] == pytest.approx(row["multiplier_seen"], rel=0.1)
    # What the true law itself says of the gain: the lowest losses of a fine grid of sizes.
    fine = np.geomspace(0.25, 4, 400) * np.sqrt(BUDGETS[-1] / 120)
    least = [
        float(np.min(GROWING.predict(TRUTH, {"active_params": fine, "tokens": BUDGETS[-1] / 6 / fine, "n_experts": e})))
        for e in (1, 16)
    ]
    assert row["gain_seen"] == pytest.approx(least[0] - least[1], abs=4e-3)


def test_a_multiplier_is_read_off_the_mixtures_line():
    # L falls by .1 a factor of four in FLOPs, and 16 experts save .05: they are worth half of such a step.
    runs = runs_of(noise=0.0)
    size = np.log(runs["active_params"] / np.sqrt(runs["budget"] / 120))
    flat = 3 - 0.1 * np.log(runs["budget"] / 1e18) / np.log(4) - 0.05 * np.log(runs["n_experts"]) / np.log(16)
    runs["loss"] = flat + 0.02 * size**2
    each = {c: valleys(rows, rows["loss"].to_numpy()[None]) for c, rows in runs.groupby("budget")}
    last = each.pop(BUDGETS[-1])
    np.testing.assert_allclose(last.gain, 0.05, atol=1e-6)
    np.testing.assert_allclose(multiplier(each, BUDGETS[-1], last), 2.0, rtol=1e-4)
    # No smaller budget, no line to read it off; no gain, no more than one.
    assert np.isnan(multiplier({}, BUDGETS[-1], last)).all()
    worse = at_largest(runs).assign(loss=lambda t: t["loss"] + 0.1 * (t["n_experts"] == 16))
    np.testing.assert_allclose(multiplier(each, BUDGETS[-1], valleys(worse, worse["loss"].to_numpy()[None])), 1.0)


def test_a_lucky_seed_does_not_choose_the_experts():
    runs = at_largest(runs_of(noise=0.0, experts=(1, 2, 4, 8, 16, 32)))
    before = valleys(runs, runs["loss"].to_numpy()[None])
    lucky = runs["loss"] - 0.004 * (runs["n_experts"] == 2) * (runs["active_params"].rank() % 7 == 3)
    after = valleys(runs, lucky.to_numpy()[None])
    assert before.experts[before.best[0]] == after.experts[after.best[0]] == 32


def test_forecasts_together_are_as_unsure_as_they_disagree():
    runs = runs_of(0.04)
    seen, new = runs[runs["budget"] < BUDGETS[-1]], at_largest(runs)
    one, other = (foretold(fit(name, seen, "lsq-log", starts=8), new, "none") for name in ("hoffmann2022", GROWING))
    both = together([one, other])
    np.testing.assert_allclose(both.log_loss, 0.5 * (one.log_loss + other.log_loss))
    apart = np.abs(one.log_loss - other.log_loss)
    assert (np.log(both.high / both.low) > apart).all()
    drawn = np.log(one.draws(4000))
    np.testing.assert_allclose(drawn.mean(axis=0), one.log_loss, atol=5e-3)
    expected = np.sqrt(np.diag(one.covariance) + one.noise**2)
    np.testing.assert_allclose(drawn.std(axis=0), expected, rtol=0.1)


def test_the_baselines_are_what_they_say():
    runs = runs_of()
    by_hand = np.polynomial.polynomial.polyvander(np.log(runs["tokens"]), 2)
    bent = runs.assign(loss=np.exp(by_hand @ [3.0, -0.2, 0.003]))
    assert fit(quadratic(bent), bent, "lsq-log", starts=4).quality.rmse_log < 1e-6
    assert len(quadratic(runs).parameters) == 10
    assert len(quadratic(runs.assign(n_experts=1)).parameters) == 6
    flat = fit(constant(runs), runs, "lsq-log", starts=2)
    assert flat.params["m"] == pytest.approx(np.exp(np.log(runs["loss"]).mean()), rel=1e-6)
    names = [each.name for each in asked_laws(None, runs)[0]]
    assert {"hoffmann2022", "growing"} <= set(names)
    assert names.count("growing") == 1
    assert "growing" not in [each.name for each in asked_laws(None, runs.assign(n_experts=1, sparsity=0.0))[0]]


def test_forecasts_are_written_down_and_scored(tmp_path):
    runs = runs_of(0.04)
    planned = at_largest(runs).drop(columns="loss").assign(run_id=[f"r{i}" for i in range(21)])
    told = foretell(runs[runs["budget"] < BUDGETS[-1]], planned, "hoffmann2022", starts=8)
    assert len(told) == 21 * 2 * 3
    assert (told["low"] < told["predicted"]).all()
    file = tmp_path / "forecasts.csv"
    told.to_csv(file, index=False, float_format="%.7g")
    for made in (at_largest(runs).assign(run_id=planned["run_id"]), at_largest(runs)):
        scores = score_forecasts(pd.read_csv(file), made.assign(status="finished"))
        assert (scores["runs"] == 21).all()
        row = scores[(scores["law"] == "hoffmann2022") & scores["process"]].iloc[0]
        by_hand = told[(told["law"] == "hoffmann2022") & told["process"]]
        assert row["rmse"] == pytest.approx(
            np.sqrt(np.mean(np.log(by_hand["predicted"].to_numpy() / made["loss"].to_numpy()) ** 2)), rel=1e-5
        )
        assert scores["rmse"].is_monotonic_increasing
    some = score_forecasts(told, at_largest(runs).head(5))
    assert (some["runs"] == 5).all()


def test_what_cannot_be_asked_is_said():
    runs = runs_of()
    with pytest.raises(FitError, match="4 budgets; expected more than first = 4"):
        rolling_origin(runs, "hoffmann2022", first=4)
    with pytest.raises(FitError, match="no column 'active_params'"):
        rolling_origin(runs[["budget", "n_experts", "loss"]], "hoffmann2022")
    with pytest.raises(FitError, match="no planned runs"):
        foretell(runs, runs.head(0), "hoffmann2022")
    told = pd.DataFrame({"law": ["a"], "process": False, "predicted": 3.0, "low": 2.0, "high": 4.0})
    with pytest.raises(FitError, match="share no column"):
        score_forecasts(told, runs)
    with pytest.raises(FitError, match="none of 84 runs was foretold"):
        score_forecasts(told.assign(active_params=1.0), runs)
    with pytest.raises(FitError, match="no column 'law'"):
        score_forecasts(told.assign(active_params=1.0).drop(columns="law"), runs)


def test_a_law_of_another_size_reads_its_own_column():
    runs = runs_of().assign(total_params=lambda t: t["active_params"] * t["n_experts"])
    found = rolling_origin(runs, law("abnar2025"), first=3, starts=8)
    assert found.loc[found["law"] == "abnar2025", "rmse"].notna().all()
