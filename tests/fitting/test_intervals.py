"""Intervals that cover: few runs, unequal and shared noise, bounds, floors that vanish; what counts as identified."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from moelaws.cli import main
from moelaws.fitting.fit import fit
from moelaws.fitting.foresight import OpenDesignWarning
from moelaws.fitting.intervals.covariance import covariance
from moelaws.fitting.intervals.groups import Groups
from moelaws.fitting.intervals.profile import profile
from moelaws.fitting.intervals.uncertainty import bootstrap, large_sample, likelihood, refit
from moelaws.fitting.objective import FitError
from moelaws.laws import law, law_from_formula
from repository import TESTS

FIVE_RUNS = TESTS / "cases" / "five_runs" / "runs.csv"
DENSE = law("hoffmann2022").published["approach3"]


def dense_runs(n, noise, seed=0):
    """Runs of Hoffmann's law; ``noise`` is a number or one for each run."""
    rng = np.random.default_rng(seed)
    runs = pd.DataFrame(
        {
            "active_params": np.exp(rng.uniform(np.log(3e7), np.log(1e10), n)),
            "tokens": np.exp(rng.uniform(np.log(1e9), np.log(3e11), n)),
        }
    )
    return runs.assign(loss=law("hoffmann2022").predict(DENSE, runs) * np.exp(noise * rng.standard_normal(n)))


def width(result, name):
    low, high = result.intervals[name]
    return np.log(high / low)


# ---- degrees of freedom


def test_five_runs_and_four_parameters_have_one_degree_of_freedom(tmp_path, capsys):
    """t(1) is 12.7 and not 1.96: today's intervals covered 68 to 71 times in 100, and all was called pinned down."""
    out = tmp_path / "fit.json"
    arguments = ["fit", str(FIVE_RUNS), "--law", "gadre2024", "--objective", "lsq", "--json", str(out)]
    assert main(arguments) == 0
    record = json.loads(out.read_text())
    assert record["status"] == "not identified"
    assert "leave 1 degree of freedom" in record["message"]
    assert not any(record["identified"].values())
    result = fit("gadre2024", pd.read_csv(FIVE_RUNS), "lsq")
    error = covariance(result.solved.problem, result.solved.theta).error
    wide = large_sample(result)
    for i, name in enumerate(("a", "b", "E")):
        assert width(wide, name) == pytest.approx(2 * t.ppf(0.975, 1) * error[i], rel=1e-6)
    # On an almost straight law the likelihood must agree; the floor is as good as open.
    assert width(likelihood(result), "eta") == pytest.approx(width(wide, "eta"), rel=0.5)
    assert "t with 1 degree of freedom" in capsys.readouterr().out


def test_without_a_degree_of_freedom_there_is_no_interval(tmp_path, capsys):
    four = pd.read_csv(FIVE_RUNS).head(4)
    four.to_csv(tmp_path / "four.csv", index=False)
    out = tmp_path / "fit.json"
    assert (
        main(["fit", str(tmp_path / "four.csv"), "--law", "gadre2024", "--objective", "lsq", "--json", str(out)]) == 0
    )
    record = json.loads(out.read_text())
    assert record["intervals"] == {}
    assert record["interval_ends"] == {}
    assert record["status"] == "not identified"
    assert not any(record["identified"].values())
    shown = capsys.readouterr().out
    assert shown.count("no interval  not identified") == 4
    result = fit("gadre2024", four, "lsq")
    assert large_sample(result).intervals == {}
    with pytest.raises(FitError, match="no degree of freedom"):
        profile(result, "eta")


def test_fixed_parameters_and_unequal_weights_count_in_the_degrees_of_freedom():
    runs = dense_runs(12, 0.01)
    result = fit("hoffmann2022", runs, "lsq-log")
    assert covariance(result.solved.problem, result.solved.theta).freedom == 7
    held = fit("hoffmann2022", runs, "lsq-log", fixed={"E": 1.69, "beta": 0.28})
    assert covariance(held.solved.problem, held.solved.theta).freedom == 9
    weights = np.repeat([1.0, 0.0], 6)
    weights[6:8] = 0.5
    weighed = fit("hoffmann2022", runs, "lsq-log", weights=weights, fixed={"E": 1.69, "beta": 0.28})
    effective = weights.sum() ** 2 / (weights**2).sum()  # Kish's
    assert covariance(weighed.solved.problem, weighed.solved.theta).freedom == pytest.approx(effective - 3)


def test_a_perfect_fit_is_no_proof_of_anything_with_few_runs():
    result = likelihood(fit("hoffmann2022", dense_runs(6, 0.0), "lsq-log"))
    assert result.status == "not identified"
    assert not any(result.identified.values())
    many = likelihood(fit("hoffmann2022", dense_runs(40, 0.0), "lsq-log"))
    assert many.status == "converged"
    assert all(
        low <= DENSE[name] * (1 + 1e-6) and DENSE[name] * (1 - 1e-6) <= high
        for name, (low, high) in many.intervals.items()
    )


# ---- unequal, robust and shared noise


def at(result, theta, value):
    """The result, had its descent ended elsewhere."""
    return replace(
        result,
        solution=replace(result.solved, theta=theta),
        search=replace(result.search, objective_value=value),
    )


def jackknife(result, groups):
    """Covariance of refits without one group each: what the sandwich must be for a law that is almost straight."""
    problem = result.solved.problem
    count = int(groups.max()) + 1
    weights = problem.weights * (groups[None] != np.arange(count)[:, None])
    theta, fine = refit(problem.reweighted(weights), np.tile(result.solved.theta, (count, 1)))
    assert fine.all()
    moved = theta - result.solved.theta
    return moved.T @ moved


def test_unequal_noise_is_told_by_leaving_runs_out():
    noise = np.where(np.arange(120) < 60, 0.001, 0.01)
    result = fit("hoffmann2022", dense_runs(120, noise), "lsq-log")
    spread = covariance(result.solved.problem, result.solved.theta)
    assert spread.words == "unequal noise"
    np.testing.assert_allclose(spread.error, np.sqrt(np.diag(jackknife(result, np.arange(120)))), rtol=0.03)


def test_replicates_of_a_design_point_are_left_out_together():
    runs = pd.concat([dense_runs(40, 0.01)] * 3, ignore_index=True)
    runs["loss"] *= np.exp(0.001 * np.random.default_rng(1).standard_normal(120))
    result = fit("hoffmann2022", runs, "lsq-log")
    spread = covariance(result.solved.problem, result.solved.theta, result.solved.groups)
    assert spread.freedom == 35
    assert spread.observed == "120 runs at 40 design points"
    codes = np.tile(np.arange(40), 3)
    np.testing.assert_allclose(spread.error, np.sqrt(np.diag(jackknife(result, codes))), rtol=0.03)
    # Three copies of a run say no more than one: as wide as the fit to one copy alone.
    one = likelihood(fit("hoffmann2022", runs.head(40), "lsq-log"))
    assert width(likelihood(result), "A") == pytest.approx(width(one, "A"), rel=0.15)
    alone = covariance(result.solved.problem, result.solved.theta)
    assert (spread.error > 1.4 * alone.error).all()


def test_a_small_delta_sees_the_noise_and_not_the_delta():
    """Far below the noise, the Huber threshold must not matter: the fit is one of least absolute values."""
    errors = []
    for delta in (1e-5, 5e-4):
        result = fit("hoffmann2022", dense_runs(240, 0.01), delta=delta)
        errors.append(covariance(result.solved.problem, result.solved.theta).error)
    np.testing.assert_allclose(errors[0], errors[1], rtol=0.15)
    # And the variance of a median is pi / 2 that of a mean, for normal noise.
    mean = fit("hoffmann2022", dense_runs(240, 0.01), "lsq-log")
    ratio = errors[0] / covariance(mean.solved.problem, mean.solved.theta).error
    assert np.median(ratio) == pytest.approx(np.sqrt(np.pi / 2), rel=0.15)


def test_a_wide_delta_is_least_squares():
    errors = []
    for objective in ("lsq-log", "huber-log"):
        result = fit("hoffmann2022", dense_runs(60, 0.01), objective, delta=1.0)
        errors.append(covariance(result.solved.problem, result.solved.theta).error)
    np.testing.assert_allclose(errors[0], errors[1], rtol=1e-4)


def by_seed(shift, seed=0):
    """240 runs in blocks of size, each block of one seed whose runs share a shift."""
    rng = np.random.default_rng(seed)
    runs = dense_runs(240, 0.005, seed).sort_values("active_params", ignore_index=True)
    runs["seed"] = np.repeat(np.arange(8), 30)
    return runs.assign(loss=runs["loss"] * np.exp(shift * rng.standard_normal(8)[runs["seed"]]))


def test_a_shift_that_seeds_share_is_found_and_said():
    shifted = likelihood(fit("hoffmann2022", by_seed(0.02), "lsq-log"))
    assert "a shift shared by the runs of one seed (8 of them)" in shifted.uncertainty.method
    blind = likelihood(fit("hoffmann2022", by_seed(0.02).drop(columns="seed"), "lsq-log"))
    assert width(shifted, "A") > 1.5 * width(blind, "A")
    spread = covariance(shifted.solved.problem, shifted.solved.theta, shifted.solved.groups)
    assert spread.degrees[0] < 8 < 100 < spread.freedom
    # Without a shift, looking for one must cost next to nothing.
    even = likelihood(fit("hoffmann2022", by_seed(0.0), "lsq-log"))
    without = likelihood(fit("hoffmann2022", by_seed(0.0).drop(columns="seed"), "lsq-log"))
    assert width(even, "A") < 1.5 * width(without, "A")


def test_clusters_are_named_and_refused_where_they_say_nothing(tmp_path, capsys):
    runs = by_seed(0.0).assign(machine=np.arange(240) // 4, place="here")
    result = fit("hoffmann2022", runs, "lsq-log", clusters="machine", intervals=0.95)
    assert "60 clusters by machine" in result.uncertainty.method
    codes = runs["machine"].to_numpy()
    spread = covariance(result.solved.problem, result.solved.theta, result.solved.groups)
    assert (spread.error >= 0.97 * np.sqrt(np.diag(jackknife(result, codes)))).all()
    with pytest.raises(FitError, match="no column 'node'"):
        fit("hoffmann2022", runs, "lsq-log", clusters="node")
    with pytest.raises(FitError, match="240 runs are all of one place"):
        fit("hoffmann2022", runs, "lsq-log", clusters="place")
    runs.to_csv(tmp_path / "runs.csv", index=False)
    arguments = ["fit", str(tmp_path / "runs.csv"), "--law", "hoffmann2022", "--objective", "lsq-log"]
    assert main([*arguments, "--cluster", "machine"]) == 0
    assert "60 clusters by machine" in capsys.readouterr().out
    assert main([*arguments, "--cluster", "node"]) == 2
    assert main([*arguments, "--stratify", "machine"]) == 2


def test_a_column_of_seeds_that_all_differ_groups_nothing():
    table = dense_runs(20, 0.01).assign(seed=np.arange(20))
    data = {"N": table["active_params"].to_numpy(), "D": table["tokens"].to_numpy()}
    assert Groups.of_runs(data, table).shared is None
    assert Groups.of_runs(data, table.assign(seed=1)).shared is None
    assert Groups.of_runs(data, table.assign(seed=np.arange(20) % 4)).n_shared == 4


# ---- bounds and open ends


@pytest.mark.parametrize("intervals", [likelihood, large_sample])
def test_an_interval_never_passes_a_bound(intervals, capsys):
    runs = dense_runs(40, 0.02)
    free = fit("hoffmann2022", runs, "lsq-log")
    low, high = likelihood(free).intervals["E"]
    bound = {"E": (0.5 * (low + free.params["E"]), 0.5 * (high + free.params["E"])), "alpha": (-1.0, 0.35)}
    result = intervals(fit("hoffmann2022", runs, "lsq-log", bounds=bound))
    assert result.intervals["E"] == pytest.approx(bound["E"])
    assert result.uncertainty.ends["E"] == ("bound", "bound")
    assert not result.identified["E"]
    for name, (least, most) in bound.items():
        assert least - 1e-12 <= result.intervals[name][0] <= result.intervals[name][1] <= most + 1e-12


def test_a_law_s_own_bounds_hold_too():
    """Runs at one size say nothing of its exponent: the interval ends at the law's bounds, -10 and 10."""
    runs = dense_runs(30, 0.01)
    runs["active_params"] = 1e9 * np.exp(1e-4 * np.arange(30))
    with pytest.warns(OpenDesignWarning, match="A, E, alpha"):
        result = likelihood(fit("hoffmann2022", runs, "lsq-log"))
    low, high = result.intervals["alpha"]
    assert -10 <= low < high <= 10
    assert not result.identified["alpha"]


def test_bounds_are_printed(tmp_path, capsys):
    dense_runs(40, 0.02).to_csv(tmp_path / "runs.csv", index=False)
    arguments = ["fit", str(tmp_path / "runs.csv"), "--law", "hoffmann2022", "--objective", "lsq-log"]
    assert main([*arguments, "--bound", "E=1.65:1.75"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("E "))
    assert "at its bound" in line
    assert "not identified" in line


# ---- floors


@pytest.fixture(scope="module")
def no_floor():
    """Runs of a law without a floor: a fit with one takes it to zero."""
    runs = dense_runs(80, 0.0)
    exact = 20.0 / runs["active_params"] ** 0.13 + 30.0 / runs["tokens"] ** 0.15
    return runs.assign(loss=exact * np.exp(0.003 * np.random.default_rng(5).standard_normal(80)))


def test_a_floor_that_vanished_is_one_thing_under_all_objectives(no_floor):
    found = {name: fit("hoffmann2022", no_floor, name, intervals=0.95) for name in ("huber-log", "lsq-log", "lsq")}
    assert {result.status for result in found.values()} == {"not identified"}
    for result in found.values():
        assert result.params["E"] < 0.3
        assert not result.identified["E"]
        assert result.uncertainty.ends["E"] == ("open", "found")


def test_a_profile_that_starts_from_nothing_finds_its_end(no_floor):
    """The walk by factors of 1.6 from a floor of 1e-31 jumped over the end and returned a midpoint, unconverged."""
    best = fit("hoffmann2022", no_floor, "lsq-log")
    i = best.solved.problem.free.index("E")
    gone = at(best, np.where(np.arange(5) == i, np.log(1e-31), best.solved.theta), best.search.objective_value)
    from moelaws.fitting.engine.race import polish

    minimum = polish(best.solved.problem, gone.solved.theta[None])
    gone = at(gone, minimum.theta[0], float(minimum.value[0]))
    assert np.exp(gone.solved.theta[i]) < 1e-9
    found = profile(gone, "E")
    assert found.ends == ("open", "found")
    assert not found.bounded
    end = found.interval[1]
    assert 0.01 < end < 2
    # An independent fit with the floor held there: the rise is the limit.
    spread = covariance(gone.solved.problem, gone.solved.theta, gone.solved.groups)
    limit = 0.5 * spread.unit[i] * spread.quantile(0.95)[i] ** 2
    held = fit("hoffmann2022", no_floor, "lsq-log", fixed={"E": end})
    assert (held.search.objective_value - gone.search.objective_value) / limit == pytest.approx(1, rel=0.03)


def test_a_floor_is_known_only_with_what_stands_in_for_it():
    """Where a second term is all but constant, the floor and it share one level: neither is known from few runs."""
    two = law_from_formula("two floors", "e + c/D^g + A/N^alpha", {"N": "active_params", "D": "tokens"})
    runs = dense_runs(100, 0.0)
    truth = {"e": 1.2, "c": 1.0, "g": 0.02, "A": 400.0, "alpha": 0.34}
    runs["loss"] = two.predict(truth, runs) * np.exp(0.01 * np.random.default_rng(2).standard_normal(100))
    result = fit(two, runs, "lsq-log", intervals=0.95)
    assert not result.identified["e"]
    assert result.identified["alpha"]
    known = fit(two, runs, "lsq-log", fixed={"c": 1.0, "g": 0.02}, intervals=0.95)
    assert known.identified["e"]


def test_what_is_identified_has_a_bounded_interval():
    for seed in range(4):
        runs = dense_runs(9 + 3 * seed, 0.02, seed)
        for result in (fit("hoffmann2022", runs, "lsq-log", intervals=0.95), large_sample(fit("hoffmann2022", runs))):
            for name, known in result.identified.items():
                if known:
                    low, high = result.intervals[name]
                    assert 0 < high - low < np.inf
                    assert result.uncertainty.ends[name] == ("found", "found")


@pytest.mark.parametrize("objective", ["huber-log", pytest.param("lsq-log", marks=pytest.mark.validate)])
def test_losses_that_are_all_equal_leave_no_noise_to_divide_by(objective):
    """Without noise every rise of the objective is beyond its limit; once it was divided by zero."""
    size, experts = (each.ravel() for each in np.meshgrid([1e8, 3e8, 1e9, 2e9], [1.0, 2, 4, 8, 16, 32]))
    runs = pd.DataFrame({"dense_params": size, "n_experts": experts, "loss": 3.0})
    best = fit("saturating", runs, objective, starts=8)
    result = bootstrap(likelihood(best), 3).result
    assert result.status != "converged"
    assert all(low <= high for low, high in result.intervals.values())
