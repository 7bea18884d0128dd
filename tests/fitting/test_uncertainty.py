"""Intervals: bootstrap, large sample, profile; what they say of identifiability; seeds; floors."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from moelaws.fitting.engine.starts import revived
from moelaws.fitting.fit import fit
from moelaws.fitting.intervals.covariance import covariance
from moelaws.fitting.intervals.profile import profile
from moelaws.fitting.intervals.resampling import draw_counts
from moelaws.fitting.intervals.uncertainty import bootstrap, large_sample, likelihood
from moelaws.fitting.objective import FitError
from moelaws.fitting.weights import seed_weights
from moelaws.laws import LAWS, law
from moelaws.laws.own import floor_of

TRUTH = law("hoffmann2022").published["approach3"]


def dense_runs(n=120, noise=0.01, seed=0):
    rng = np.random.default_rng(seed)
    table = {
        "active_params": np.exp(rng.uniform(np.log(3e7), np.log(1e10), n)),
        "tokens": np.exp(rng.uniform(np.log(1e9), np.log(3e11), n)),
    }
    loss = law("hoffmann2022").predict(TRUTH, table) * np.exp(noise * rng.normal(size=n))
    return pd.DataFrame(table | {"loss": loss, "budget": rng.choice([1e18, 1e19, 1e20], n)})


@pytest.fixture(scope="module")
def squares():
    return fit("hoffmann2022", dense_runs(), "lsq-log")


@pytest.fixture(scope="module")
def huber():
    return fit("hoffmann2022", dense_runs())


def test_three_ways_to_an_interval_agree(squares):
    """With 120 runs and normal noise the bootstrap, the curvature and the profile must nearly coincide."""
    by_bootstrap = bootstrap(squares, 600).result.intervals
    by_curvature = large_sample(squares).intervals
    for name in ("alpha", "beta", "E"):
        by_profile = profile(squares, name).interval
        width = by_profile[1] - by_profile[0]
        for low, high in (by_bootstrap[name], by_curvature[name]):
            assert low == pytest.approx(by_profile[0], abs=0.25 * width)
            assert high == pytest.approx(by_profile[1], abs=0.25 * width)


def test_intervals_hold_the_truth_and_the_fit(huber):
    result = bootstrap(huber, 300).result
    assert "bootstrap over runs, 300 refits" in result.uncertainty.method
    for name, (low, high) in result.intervals.items():
        assert low < result.params[name] < high
        assert 0.8 * low < TRUTH[name] < 1.25 * high
    assert all(result.identified.values())


def test_more_runs_narrower_intervals():
    widths = []
    for n in (60, 240):
        low, high = large_sample(fit("hoffmann2022", dense_runs(n), "lsq-log")).intervals["alpha"]
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0] / 2, rel=0.4)


def test_bootstrap_is_seeded(squares):
    first, again, other = (bootstrap(squares, 50, seed) for seed in (1, 1, 2))
    assert (first.theta == again.theta).all()
    assert (first.theta != other.theta).any()


def test_a_band_widens_away_from_the_runs(squares):
    refits = bootstrap(squares, 200)
    far = {"active_params": np.array([1e9, 1e13]), "tokens": np.array([3e10, 1e14])}
    low, high = refits.band(far)
    assert (low < high).all()
    assert (high - low)[1] > 2 * (high - low)[0]
    assert low[0] < squares.predict(far)[0] < high[0]


def test_strata_keep_their_size_and_clusters_stay_together(squares):
    rng = np.random.default_rng(0)
    strata = np.array([0] * 10 + [1] * 5)
    counts = draw_counts(15, 40, rng, strata, None)
    assert (counts[:, :10].sum(axis=1) == 10).all()
    assert (counts[:, 10:].sum(axis=1) == 5).all()
    clusters = np.repeat(np.arange(5), 3)
    counts = draw_counts(15, 40, rng, None, clusters)
    assert (counts.reshape(40, 5, 3).std(axis=2) == 0).all()
    budgets = dense_runs()["budget"].to_numpy()
    assert "stratified bootstrap" in bootstrap(squares, 20, strata=budgets).result.uncertainty.method
    with pytest.raises(FitError, match="3 labels of clusters for 120 runs"):
        bootstrap(squares, 20, clusters=[1, 2, 3])
    with pytest.raises(FitError, match="strata: run 4 has no label"):
        bootstrap(squares, 20, strata=np.where(np.arange(120) == 4, np.nan, 1.0))


def test_clustered_seeds_give_wider_intervals_than_pretending_they_are_new_runs():
    """Three copies of every run, as seeds whose noise is shared, carry the information of one."""
    runs = dense_runs(50)
    copies = pd.concat([runs] * 3, ignore_index=True)
    result = fit("hoffmann2022", copies, "lsq-log")
    naive = bootstrap(result, 200, clusters=np.arange(150)).result.intervals["alpha"]
    honest = bootstrap(result, 200, clusters=np.tile(np.arange(50), 3)).result.intervals["alpha"]
    assert honest[1] - honest[0] > 1.4 * (naive[1] - naive[0])
    # Nobody has to ask for it: runs at one design point are drawn together.
    plain = bootstrap(result, 200).result
    assert plain.uncertainty.method.startswith("bootstrap over design points")
    low, high = plain.intervals["alpha"]
    assert high - low == pytest.approx(honest[1] - honest[0], rel=0.3)


@pytest.fixture(scope="module")
def low_floor():
    """Sixty runs at 3 % noise of a law whose floor is 0.17: they do not tell it from zero."""
    runs = dense_runs(60)
    low = law("sardana2024").published["up-to-100"]
    rng = np.random.default_rng(3)
    return runs.assign(loss=law("sardana2024").predict(low, runs) * np.exp(0.03 * rng.normal(size=60)))


@pytest.mark.parametrize("objective", ["huber-log", "lsq-log", "lsq"])
def test_likelihood_intervals_end_where_refits_say(objective, low_floor):
    """Independent fits with the parameter fixed just inside and just outside the end, from starts of their own.

    The floor ends at zero here, where its term has no slope to come back by as the other parameters move away.
    """
    result = fit("sardana2024", low_floor, objective, intervals=0.95)
    assert result.uncertainty.method == "likelihood, 95 %, t with 55 degrees of freedom; unequal noise"
    assert result.intervals["E"][0] == 0
    assert result.uncertainty.ends["E"] == ("open", "found")
    assert not result.identified["E"]
    units = covariance(result.solved.problem, result.solved.theta).unit
    for (name, ends), unit in zip(result.intervals.items(), units, strict=True):
        limit = 0.5 * unit * t.ppf(0.975, 55) ** 2
        for sign, end in zip((-1, 1), ends, strict=True):
            if end == 0:
                continue
            away = 0.05 * (end - result.params[name])
            assert np.sign(away) == sign
            for beyond in (-1, 1):
                held = fit("sardana2024", low_floor, objective, fixed={name: end + beyond * away})
                assert (held.search.objective_value - result.search.objective_value > limit) == (beyond > 0), (
                    name,
                    end,
                    beyond,
                )


def test_likelihood_intervals_are_the_profiles(huber):
    made = likelihood(huber)
    for name in ("A", "alpha", "E"):
        assert made.intervals[name] == pytest.approx(profile(huber, name).interval, rel=0.01)
    assert made.status == "converged"
    narrow = likelihood(huber, 0.5).intervals["alpha"]
    assert made.intervals["alpha"][0] < narrow[0] < narrow[1] < made.intervals["alpha"][1]
    with pytest.raises(FitError, match="level = 95: expected a number between 0 and 1"):
        likelihood(huber, 95)


def test_a_profile_without_an_end_means_not_identified(low_floor):
    result = fit("sardana2024", low_floor, "lsq-log")
    found = profile(result, "E")
    assert found.interval[0] == 0
    assert not found.bounded
    refits = bootstrap(result, 100).result
    assert not refits.identified["E"]
    assert refits.status in {"not identified", "bound hit"}


def test_where_refits_pile_up_at_a_boundary_the_likelihood_speaks(low_floor, squares):
    result = fit("sardana2024", low_floor, "lsq-log")
    refits = bootstrap(result, 100)
    assert refits.result.uncertainty.method.startswith("likelihood, 95 %")
    assert refits.result.uncertainty.method.endswith(", as bootstrap refits leave E open")
    assert refits.result.intervals == likelihood(result).intervals
    assert len(refits.theta) == 100
    # Runs that depend on each other have no such likelihood.
    clustered = bootstrap(result, 100, clusters=np.arange(60) // 2).result
    assert clustered.uncertainty.method.startswith("clustered bootstrap over runs, 100 refits, percentiles")
    assert not clustered.identified["E"]
    assert "percentiles" in bootstrap(squares, 50).result.uncertainty.method


def test_a_term_at_zero_comes_back_in_sight(low_floor):
    problem = fit("sardana2024", low_floor, "lsq-log").solved.problem
    params = {"A": 5.0, "B": 9.0, "E": 1e-30, "alpha": 0.1, "beta": 0.1}
    theta = problem.coordinates(params)
    back = revived(problem, theta)
    moved = back != theta
    assert moved.sum() == 1
    assert moved[0, problem.free.index("E")]
    share = np.exp(back[0, 2]) / (np.exp(problem.residuals(theta)[0] + problem.observed[0]))
    assert share.mean() == pytest.approx(0.1, rel=0.01)


def test_profile_rise_is_chi_squared_for_few_runs_and_squares(squares):
    """At the interval's end the sum of squares is up by a quantile of F(1, n - P), in residual variances."""
    few = fit("hoffmann2022", dense_runs(18), "lsq-log")
    found = profile(few, "beta")
    held = fit("hoffmann2022", dense_runs(18), "lsq-log", fixed={"beta": found.interval[1]})
    variance = few.search.objective_value / (few.n_runs - 5)
    assert (held.search.objective_value - few.search.objective_value) / variance == pytest.approx(
        t.ppf(0.975, 13) ** 2, rel=0.01
    )
    assert found.points["rise"].min() == 0
    with pytest.raises(FitError, match="'gamma' was not fitted"):
        profile(squares, "gamma")
    with pytest.raises(FitError, match=r"level = 0\.5"):
        profile(squares, "beta", 0.5)


def test_floor_of_each_law():
    floors = {name: floor_of(each) for name, each in LAWS.items()}
    assert floors["hoffmann2022"] == floors["gadre2024"] == floors["liew2025"] == "E"
    assert floors["abnar2025"] == "e"
    assert floors["krajewski2024"] == floors["frantar2023"] == floors["ludziejewski2025"] == "c"
    assert floors["clark2022"] is None


def test_seed_weights_follow_the_spread_between_seeds():
    rng = np.random.default_rng(0)
    config = np.repeat(np.arange(40), 4)
    spread = np.where(config < 20, 0.002, 0.02)
    runs = pd.DataFrame({"config": config, "loss": 3 * np.exp(spread * rng.normal(size=160))})
    weights = seed_weights(runs, ["config"])
    assert weights.mean() == pytest.approx(1)
    assert weights[config < 20].mean() > 2 * weights[config >= 20].mean()
    with pytest.raises(FitError, match="no two runs share 'loss'"):
        seed_weights(runs, ["loss"])
    with pytest.raises(FitError, match="no column 'seedless'"):
        seed_weights(runs, ["seedless"])


def test_results_from_elsewhere_have_no_runs_to_resample(squares):
    from dataclasses import replace

    with pytest.raises(FitError, match="holds no runs"):
        bootstrap(replace(squares, solution=None), 10)
