"""Text read again, settings across sparsity, another device: against truths that are put in, and on the tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from howmany.neighbours.words import words
from howmany.programs import other_device, repeats, tuning_grid
from repository import ROOT

RUNS = ROOT / "data/runs"
CLAIMS = ROOT / "data/published"


@pytest.fixture(scope="module")
def read_again() -> repeats.Repeats:
    return repeats.repeats(str(RUNS / "repeats.csv"), 400)


def test_a_crossing_lies_straight_between_what_was_tried() -> None:
    at, lines = np.log2([1, 2, 4]), np.array([[0.0, 0.0, 0.6], [0.1, 0.0, 0.7], [0.3, 0.0, 0.8]])
    np.testing.assert_allclose(repeats._crossing(at, lines, 0.2), [2 * 2**0.5, 4.0, 1.0])


def test_mixtures_bear_fewer_readings_and_dense_runs_again_do_not(read_again: repeats.Repeats) -> None:
    assert read_again.experts == [1, 8, 64]
    assert read_again.epochs == [1, 2, 4, 8, 16]
    measured = read_again.runs[read_again.runs["n_experts"] == 64].groupby("reading")["loss"].mean()
    np.testing.assert_allclose(read_again.loss[2, :, 0], measured)
    assert read_again.borne(0, 0.05)[0] > read_again.borne(2, 0.05)[0]
    said = repeats.judged(read_again, str(CLAIMS / "repeats_claims.csv"), 4)
    assert words(said)["mixtures-sooner"] == "reproduced"
    assert words(said)["sparsity-postpones"] == "contradicted"
    assert "says nothing" in words(said)["four-are-fine"]
    numbers = repeats.numbers(read_again, said)
    assert numbers["rp_runs"] == 30
    assert numbers["rp_gain"].startswith("0.092")
    assert repeats.cost_figure(read_again).to_dict()
    assert repeats.gap_figure(read_again).to_dict()
    assert list(repeats.cost_table(read_again)) == ["E = 1", "E = 8", "E = 64"]


def test_a_sweep_of_repeats_with_a_hole_is_refused(tmp_path: Path) -> None:
    table = pd.read_csv(RUNS / "repeats.csv")
    file = tmp_path / "repeats.csv"
    table[~((table["n_experts"] == 8) & (table["epochs"] > 15) & (table["seed"] == 1))].to_csv(file, index=False)
    with pytest.raises(ValueError, match="every number of readings with two seeds or more"):
        repeats.repeats(str(file), 10)


def settings(exponent: float, batch_exponent: float, noise: float, seed: int = 0) -> pd.DataFrame:
    """Losses of a bowl in ln rate and ln batch, whose lowest place goes with (K/E) to known powers."""
    rng, rows = np.random.default_rng(seed), []
    for budget, batch in ((3e11, 4), (1e12, 8)):
        for e in (1, 4, 16, 64):
            for rate in (0.35, 0.7, 1.4, 2.8):
                for times in (0.5, 1, 2):
                    a = np.log(1 / e)
                    u, v = np.log(rate) - exponent * a, np.log(times) - batch_exponent * a
                    loss = 4 - 0.1 * (budget > 5e11) + 0.1 * u * u - 0.08 * u * v + 0.09 * v * v + noise * rng.normal()
                    rows.append((budget, e, 1, 0.01 * rate, round(batch * times), 128, 1_000_000, loss))
    names = ["budget", "n_experts", "top_k", "learning_rate", "batch_sequences", "context", "tokens", "loss"]
    return pd.DataFrame(rows, columns=names)


def test_exponents_that_are_put_in_are_found() -> None:
    found = tuning_grid._fit(tuning_grid._coordinates(settings(0.1, -0.08, 1e-9)), 20)
    rate, batch = found.free_exponents
    assert rate[0] == pytest.approx(0.1, abs=1e-6)
    assert batch[0] == pytest.approx(-0.08, abs=1e-6)
    # At a batch that stays, the rate takes over part of what the batch would have done.
    assert found.rate_exponent[0] == pytest.approx(0.1 + 0.4 * 0.08, abs=1e-6)


def test_intervals_of_the_exponent_cover() -> None:
    inside = 0
    for seed in range(120):
        found = tuning_grid._fit(tuning_grid._coordinates(settings(0.1, 0.0, 0.02, seed)), 200)
        low, high = np.quantile(found.rate_exponent[1:], [0.025, 0.975])
        inside += low <= 0.1 <= high
    assert 0.9 <= inside / 120 <= 1.0


def test_the_rate_falls_with_sparsity_and_a_placebo_does_not() -> None:
    found = tuning_grid.grid(str(RUNS / "tuning.csv"), 300)
    said = tuning_grid.judged(found, str(CLAIMS / "settings_claims.csv"), 4, 200)
    by = {each.claim.key: each for each in said}
    assert by["rate-falls-with-sparsity"].text == "reproduced"
    assert by["rate-falls-with-sparsity"].alike == 0
    assert by["batch-exponent"].text == "not resolved"
    numbers = tuning_grid.numbers(found, said)
    assert numbers["tg_runs"] == 96
    assert numbers["tg_rate"].startswith("+0.103")
    assert numbers["tg_bowls"] == "0 of 8"
    assert len(tuning_grid.cell_table(found)) == 8
    assert tuning_grid.rate_figure(found).to_dict()
    assert len(tuning_grid.exponent_table(found)) == 5


def test_another_device_is_compared_run_by_run() -> None:
    first = [str(RUNS / name) for name in ("isoflop.csv", "finer.csv", "largest.csv")]
    found = other_device.differences(str(RUNS / "other_device.csv"), first)
    assert found.loc["mixtures", "pairs"] + found.loc["E = 1", "pairs"] == 68
    assert found.loc["E = 1", ["least", "most"]].abs().max() < 0.006
    assert found.loc["mixtures", "low"] < 0 < found.loc["mixtures", "high"]
    same = other_device.differences(first[0], [first[0], first[0]])
    assert (same["mean"] == 0).all()
    assert len(other_device.device_table(found)) == len(found)
    assert other_device.device_numbers(found)["od_pairs"] == found.loc["mixtures", "pairs"]
    with pytest.raises(ValueError, match=r"no run_id of .*other_device\.csv stands in .*repeats\.csv"):
        other_device.differences(str(RUNS / "other_device.csv"), [str(RUNS / "repeats.csv")])
