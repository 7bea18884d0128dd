"""What the chapter on experts rests on: gains, pairs, forecasts, and Eq. 4 on runs whose truth is known."""

import html
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from howmany.figures.expert_gains import (
    design_differences,
    forecast_errors,
    gain_trends,
    loss_curves,
    parameter_profiles,
)
from howmany.gains import free_levels, gains, trends, with_dense_params
from howmany.pairs import at_equal_size, mean_difference, pairs
from moelaws.charts.offline import static_spec, vegalite_version
from moelaws.config import ModelConfig
from moelaws.counting import count_parameters
from moelaws.fitting.fit import fit
from moelaws.fitting.holdouts import UNCHANGED, forecasts, unchanged
from moelaws.fitting.intervals.profile import profile
from moelaws.fitting.objective import FitError
from moelaws.fitting.scan import LIMIT, allowed, scan
from moelaws.laws import LawError, law
from moelaws.laws.saturation import endless, ends_of, saturating

YUN = law("yun2024")
TRUTH = {"A": 30.0, "B": 0.6, "C": 200.0, "F": 2.0, "d": -0.0015, "alpha": 0.35, "beta": 0.5, "gamma": 0.4,
         "E_start": 2.5, "E_max": 60.0}  # fmt: skip


def design(widths=(16, 24, 32, 48), experts=(1, 4, 8, 16, 32)) -> pd.DataFrame:
    """The experts sweep: sizes of the book's family with experts in every second layer, without losses."""
    rows = []
    for width in widths:
        for tokens in (300_000, 600_000, 1_200_000, 2_400_000):
            for n in experts:
                dense = ModelConfig(d_model=width, n_heads=2, d_ff=4 * width)
                model = replace(dense, n_experts=n, top_k=min(2, n), moe_every=2)
                size = count_parameters(model)
                rows.append(
                    {"d_model": width, "n_layers": 2, "tokens": tokens, "n_experts": n, "top_k": model.top_k, "seed": 0,
                     "non_embedding_params": size.total_non_embedding, "active_params": size.active,
                     "total_params": size.total, "sparsity": 1 - model.top_k / n}
                )  # fmt: skip
    return pd.DataFrame(rows)


def simulated(noise: float, seed: int = 0, params=TRUTH, **changes) -> pd.DataFrame:
    runs = with_dense_params(design(**changes))
    errors = np.random.default_rng(seed).normal(size=len(runs))
    return runs.assign(loss=YUN.predict(params, runs) * np.exp(noise * errors))


# --- the corresponding dense model, and gains -----------------------------------------------------------------------


def test_the_dense_model_of_a_run_has_its_shape_and_one_expert() -> None:
    runs = with_dense_params(design())
    for width, group in runs.groupby("d_model"):
        size = count_parameters(ModelConfig(d_model=width, n_heads=2, d_ff=4 * width))
        assert set(group["dense_params"]) == {size.total_non_embedding}
    whole = with_dense_params(design(), "total_params")
    assert whole["dense_params"].iloc[0] == count_parameters(ModelConfig(d_model=16, n_heads=2, d_ff=64)).total


def test_a_shape_without_a_dense_run_is_named() -> None:
    runs = design()
    with pytest.raises(FitError, match=r"row 1: the table has no dense run .* with d_model = 16, n_layers = 2"):
        with_dense_params(runs.drop(index=[0, 5, 10, 15]))
    odd = pd.concat([runs, runs.iloc[[0]].assign(non_embedding_params=1)], ignore_index=True)
    with pytest.raises(FitError, match="differ in non_embedding_params"):
        with_dense_params(odd)


def test_gains_are_shares_of_the_loss_and_average_seeds() -> None:
    runs = simulated(0.0)
    table = gains(pd.concat([runs.assign(loss=runs["loss"] * np.exp(s)) for s in (-0.01, 0.01)]))
    assert len(table) == 4 * 4 * 4
    assert (table["seeds"] == 2).all()
    row = table[(table["d_model"] == 24) & (table["tokens"] == 600_000) & (table["n_experts"] == 8)].iloc[0]
    cell = runs[(runs["d_model"] == 24) & (runs["tokens"] == 600_000)].set_index("n_experts")["loss"]
    assert row["gain"] == pytest.approx(np.log(cell[1] / cell[8]), abs=1e-12)
    in_nats = gains(runs, logs=False).set_index(["d_model", "tokens", "n_experts"])["gain"]
    assert in_nats[24, 600_000, 8] == pytest.approx(cell[1] - cell[8], abs=1e-12)
    with pytest.raises(FitError, match="has both a dense run"):
        gains(runs[runs["n_experts"] > 1])


def test_trends_are_the_planes_that_made_the_gains() -> None:
    runs = simulated(0.0)
    size, data = np.log2(runs["dense_params"]), np.log2(runs["tokens"])
    size, data = size - size.mean(), data - data.mean()
    gain = np.where(runs["n_experts"] > 1, 0.01 * np.log2(runs["n_experts"]) + 0.002 * size - 0.003 * data, 0.0)
    found = trends(gains(runs.assign(loss=4 * np.exp(-gain)))).set_index("n_experts")
    assert list(found.index) == [4, 8, 16, 32, 0]
    np.testing.assert_allclose(found["per_size"], 0.002, atol=1e-12)
    np.testing.assert_allclose(found["per_data"], -0.003, atol=1e-12)
    np.testing.assert_allclose(found.loc[[4, 8, 16, 32], "gain"], [0.02, 0.03, 0.04, 0.05], atol=1e-12)
    assert found.loc[0, "gain"] == pytest.approx(0.035)
    with pytest.raises(FitError, match="do not show how the gain moves"):
        trends(gains(runs[runs["d_model"] == 16]))


def test_without_d_losses_of_eq_4_are_parallel_and_their_logs_are_not() -> None:
    runs = simulated(0.0, params=TRUTH | {"d": 0.0})
    in_nats, shares = (trends(gains(runs, logs=logs)).set_index("n_experts").loc[0] for logs in (False, True))
    assert in_nats["per_size"] == pytest.approx(0, abs=1e-12)
    assert in_nats["per_data"] == pytest.approx(0, abs=1e-12)
    assert shares["per_size"] > 1e-3
    assert shares["per_data"] > 1e-3


@pytest.mark.parametrize("repetitions", [80, pytest.param(200, marks=pytest.mark.validate)])
def test_intervals_of_trends_hold_the_truth_as_often_as_they_say(repetitions: int) -> None:
    runs = with_dense_params(design(experts=(1, 8)))
    size = np.log2(runs["dense_params"])
    gain = np.where(runs["n_experts"] == 8, 0.02 + 0.004 * (size - size.mean()), 0.0)
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(repetitions):
        noisy = runs.assign(loss=4 * np.exp(-gain + 0.003 * rng.normal(size=len(runs))))
        row = trends(gains(noisy)).iloc[0]
        held += row["size_low"] < 0.004 < row["size_high"]
    assert 0.9 <= held / repetitions <= 0.99


def test_free_levels_find_the_interaction_that_is_there_whatever_the_levels() -> None:
    runs = with_dense_params(design())
    rng = np.random.default_rng(0)
    cell = runs.groupby(["d_model", "tokens"]).ngroup().to_numpy()
    data = np.log(runs["tokens"] / 8e5)
    experts = -0.01 * np.log(runs["n_experts"]) * (1 + 0.5 * data)
    noisy = rng.normal(size=16)[cell] + experts + 0.002 * rng.normal(size=len(runs))
    found = free_levels(runs.assign(loss=np.exp(noisy))).set_index("experts")
    assert found["aicc"].idxmin() == "tokens"
    assert found.loc["tokens", "error"] == pytest.approx(0.002, rel=0.2)
    assert found.loc["size", "error"] > 1.5 * found.loc["tokens", "error"]
    assert found["parameters"].tolist() == [18, 20, 20, 22]
    with pytest.raises(FitError, match="expected three more at least"):
        free_levels(runs[runs["n_experts"] == 1].assign(loss=1.0))


# --- Eq. 4 on runs of known truth -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clark2022", "yun2024", "ludziejewski2025"])
def test_the_other_coordinates_are_the_same_law(name) -> None:
    each = law(name)
    params = dict(next(iter(each.published.values()))) if each.published else TRUTH
    q, m = 1 / params["E_start"] - 1 / params["E_max"], 1 / params["E_max"]
    runs = simulated(0.0)
    np.testing.assert_allclose(saturating(each).predict(params | {"q": q, "m": m}, runs), each.predict(params, runs))
    assert ends_of({"q": q, "m": m}) == pytest.approx((params["E_start"], params["E_max"]))
    far = params | {"E_max": 1e12}
    last = endless(each).predict(params | {"q": 1 / params["E_start"]}, runs)
    np.testing.assert_allclose(last, each.predict(far, runs), rtol=1e-9)
    assert ends_of({"q": 0.5}) == (2.0, np.inf)


def test_a_law_that_does_not_saturate_is_refused() -> None:
    with pytest.raises(LawError, match="law 'abnar2025' has no parameters E_start and E_max; it has a, b"):
        saturating(law("abnar2025"))


def test_quiet_runs_give_the_truth_back_and_bound_e_max() -> None:
    result = fit(saturating(YUN), simulated(1e-4), "lsq-log", starts=16)
    assert result.quality.rmse_log < 1.1e-4
    for name, tolerance in (("alpha", 0.01), ("gamma", 0.01), ("d", 0.1)):
        assert result.params[name] == pytest.approx(TRUTH[name], rel=tolerance)
    assert ends_of(result.params) == pytest.approx((TRUTH["E_start"], TRUTH["E_max"]), rel=0.4)
    found = profile(result, "m")
    assert found.bounded
    assert found.interval[0] < 1 / 60 < found.interval[1] < 3 / 60


def test_runs_as_noisy_as_ours_leave_e_max_open() -> None:
    result = fit(saturating(YUN), simulated(3e-3), "lsq-log", starts=16)
    found = profile(result, "m")
    assert not found.bounded
    assert found.ends[0] == "bound"  # any number of experts, up to the most that the law asks of
    assert found.interval[0] == pytest.approx(1e-6)
    assert found.interval[1] > 1 / 60
    assert not all(result.identified.values())


def test_a_scan_from_many_starts_holds_the_truth_and_finds_its_valley_far_from_it() -> None:
    runs, form = simulated(1e-4), saturating(YUN)
    best = fit(form, runs, "lsq-log", starts=16)
    found = scan(best, form, runs, "m", [1 / 60, 0.5], starts=16)
    assert found["value"].is_monotonic_increasing
    rise = found.set_index("value")["rise"]
    assert rise[1 / 60] < LIMIT < rise[0.5]
    assert rise.min() == 0
    assert allowed(found) == tuple(sorted((1 / 60, best.params["m"])))
    walked = profile(best, "m")
    at_end = scan(best, form, runs, "m", [walked.interval[1]], starts=16)["rise"].iloc[1]
    assert at_end == pytest.approx(LIMIT, rel=0.05)


# --- forecasts ------------------------------------------------------------------------------------------------------


def test_the_law_that_made_the_runs_forecasts_them_and_one_without_experts_does_not() -> None:
    runs = simulated(1e-4)
    table = forecasts(
        [saturating(YUN), "hoffmann2022"], runs, ["n_experts"], ["d_model", "tokens", "n_experts"], starts=16
    )
    error = table.set_index("law")["rmse_log"]
    assert (table["runs"] == 16).all()
    assert error["yun2024"] < 5e-4
    assert error["hoffmann2022"] > 5 * error["yun2024"]
    at_16 = runs[runs["n_experts"] == 16]["loss"].to_numpy()
    at_32 = runs[runs["n_experts"] == 32]["loss"].to_numpy()
    assert error[UNCHANGED] == pytest.approx(np.sqrt(np.mean(np.log(at_16 / at_32) ** 2)))
    assert table.set_index("law").loc[UNCHANGED, "bias"] > 0


def test_a_forecast_that_needs_no_law_needs_a_run_beside() -> None:
    runs = simulated(0.0)
    point = ["d_model", "tokens", "n_experts"]
    with pytest.raises(FitError, match=r"n_experts' is 1 in all 16 rows"):
        unchanged(runs[runs["n_experts"] == 1], "n_experts", point)
    gap = runs[~((runs["n_experts"] == 16) & (runs["d_model"] == 24) & (runs["tokens"] == 300_000))]
    with pytest.raises(FitError, match="no run with n_experts = 16 at the same point"):
        unchanged(gap, "n_experts", point)


# --- designs in pairs -----------------------------------------------------------------------------------------------


def two_designs(noise: float, seed: int = 0, effect: float = -0.02) -> pd.DataFrame:
    """One budget: K = G = 1 and K = G = 2 at equal sizes, and a third design, larger by a quarter."""
    rng = np.random.default_rng(seed)
    rows = []
    for name, k, g, factor in (("one", 1, 1, 1.0), ("two", 2, 2, 1.0), ("wide", 2, 1, 1.25)):
        for s in (0.5, 0.75, 0.875):
            for width in (24, 32, 40):
                for run_seed in (0, 1):
                    x = np.log(factor * width**2 / 1000)
                    loss = 4 - 0.03 * np.log2(1 / (1 - s)) + 0.1 * (x - 0.1) ** 2 + 0.01 * x * s
                    loss += effect * (name == "two") + noise * rng.normal()
                    rows.append({"design": name, "top_k": k, "granularity": g, "sparsity": s, "d_model": width,
                                 "active_params": factor * width**2, "seed": run_seed, "loss": loss})  # fmt: skip
    return pd.DataFrame(rows)


def test_pairs_share_point_and_seed() -> None:
    runs = two_designs(0.0)
    first, second = {"top_k": 1, "granularity": 1}, {"top_k": 2, "granularity": 2}
    found = pairs(runs, first, second)
    assert len(found) == 18
    np.testing.assert_allclose(found["difference"], -0.02, atol=1e-12)
    without = runs[~((runs["seed"] == 1) & (runs["design"] == "one"))]
    assert len(pairs(without, first, second)) == 9
    with pytest.raises(FitError, match="has runs of both"):
        pairs(runs, first, {"top_k": 3})


def test_the_mean_difference_has_an_interval_that_holds_as_often_as_it_says() -> None:
    first, second = {"top_k": 1, "granularity": 1}, {"top_k": 2, "granularity": 2}
    held = []
    for seed in range(200):
        mean = mean_difference(pairs(two_designs(0.01, seed), first, second))
        held.append(mean["low"] < -0.02 < mean["high"])
    assert mean["points"] == 9
    assert mean["pairs"] == 18
    assert 0.9 <= np.mean(held) <= 0.99
    one = mean_difference(pairs(two_designs(0.01), first, second).head(1))
    assert np.isnan(one["low"])


def test_a_regression_finds_no_effect_of_a_design_that_is_only_larger() -> None:
    found = at_equal_size(two_designs(1e-4), "design", "one").set_index("design")
    means = found[found["sparsity"].isna()]
    assert means.loc["two", "difference"] == pytest.approx(-0.02, abs=3e-4)
    # The parabola's slope changes with S itself in these runs, with -ln(1 - S) in the regression: close, not equal.
    assert means.loc["wide", "difference"] == pytest.approx(0.0, abs=1e-3)
    assert (found["low"] < found["difference"]).all()
    assert found.loc["two", "sparsity"].dropna().tolist() == [0.5, 0.75, 0.875]
    with pytest.raises(FitError, match="no run of 'zero'"):
        at_equal_size(two_designs(0.0), "design", "zero")
    few = two_designs(0.0)
    with pytest.raises(FitError, match="expected more runs"):
        at_equal_size(few[few["d_model"] == 24], "design", "one")


# --- figures --------------------------------------------------------------------------------------------------------


def draw(chart) -> str:
    vl_convert = pytest.importorskip("vl_convert")
    version = vegalite_version(vl_convert.get_vegalite_versions())
    return html.unescape(vl_convert.vegalite_to_svg(static_spec(chart.to_dict()), vl_version=version))


def test_every_figure_is_drawn_with_its_words_axes_and_panels() -> None:
    runs = simulated(0.003).assign(size="8 k", panel="0.3 M tokens")
    text = draw(loss_curves(runs, runs, "A finding", "alt"))
    assert {"A finding", "experts E", "0.3 M tokens", "8 k"} <= set(_texts(text))
    points = pd.DataFrame({"panel": "E_max", "value": [10.0, 100.0, 1000.0], "rise": [5.0, 0.0, 99.0]})
    chart = parameter_profiles(points, "E_max", "Open above", "alt")
    assert "rise of the objective" in draw(chart)
    assert max(row["rise"] for rows in chart.to_dict()["datasets"].values() for row in rows) < 99
    table = gains(runs)
    shown = table.assign(panel="tokens", value=table["tokens"], low=table["gain"] - 0.01, high=table["gain"] + 0.01)
    assert "loss saved by the experts" in draw(gain_trends(shown, shown, "t", "alt"))
    errors = pd.DataFrame({"law": ["yun2024", "none"], "held_out": ["E", "E"], "rmse_log": [0.003, 0.02]})
    assert "yun2024" in draw(forecast_errors(errors, 0.003, "t", "alt"))
    found = at_equal_size(two_designs(0.01), "design", "one").dropna().assign(n_experts=2)
    assert {"two", "wide"} <= set(_texts(draw(design_differences(found, "t", "alt"))))


def _texts(svg: str) -> list[str]:
    return [part.split("<")[0] for part in svg.split(">") if part.split("<")[0].strip()]
