"""Seed noise and paired differences against values made by hand."""

import numpy as np
import pandas as pd
import pytest

from moelaws.runs import paired_differences, pooled_noise, seed_spread

RUNS = pd.DataFrame(
    [
        (1e11, 32, 1, 0, 4.00), (1e11, 32, 1, 1, 4.02), (1e11, 32, 1, 2, 4.04),
        (1e11, 32, 16, 0, 3.90), (1e11, 32, 16, 1, 3.92),
        (1e11, 48, 1, 0, 4.10),
    ],
    columns=["budget", "d_model", "n_experts", "seed", "loss"],
)  # fmt: skip


def test_spread_over_seeds_at_each_point() -> None:
    spread = seed_spread(RUNS)
    assert spread["n_experts"].tolist() == [1, 16]  # a single seed has no spread
    assert spread["seeds"].tolist() == [3, 2]
    assert spread["mean"].tolist() == pytest.approx([4.02, 3.91])
    assert spread["std"].tolist() == pytest.approx([0.02, 0.02 / np.sqrt(2)])
    assert pooled_noise(spread) == pytest.approx(np.sqrt((2 * 0.02**2 + 0.02**2 / 2) / 3))
    assert np.isnan(pooled_noise(spread[:0]))


def test_differences_are_taken_seed_by_seed() -> None:
    pairs = paired_differences(RUNS, (1, 16))
    assert pairs["seed"].tolist() == [0, 1]
    assert pairs["difference"].tolist() == pytest.approx([-0.1, -0.1])


def test_a_field_that_came_later_tells_designs_apart() -> None:
    """Runs recorded before have its value of that time; another router is no other seed."""
    early, late = (
        RUNS.assign(router_scores=["softmax", "", "softmax", "", "", ""]),
        RUNS.assign(router_scores="sigmoid"),
    )
    both = pd.concat([early, late.assign(loss=late["loss"] - 1)], ignore_index=True)
    spread = seed_spread(both)
    assert spread["router_scores"].tolist() == ["sigmoid", "softmax"] * 2
    assert pooled_noise(spread) == pytest.approx(pooled_noise(seed_spread(RUNS)))
    pairs = paired_differences(both, (1, 16))
    assert len(pairs) == 4
    assert pairs["difference"].tolist() == pytest.approx([-0.1] * 4)


def test_another_learning_rate_or_batch_is_no_other_seed() -> None:
    """Only the recipe tells these apart: once their distance was taken for the noise between seeds."""
    rates = [RUNS.assign(learning_rate=rate, loss=RUNS["loss"] + rate) for rate in (1, 2)]
    for column in ("learning_rate", "batch_sequences"):
        both = pd.concat(rates, ignore_index=True).rename(columns={"learning_rate": column})
        assert pooled_noise(seed_spread(both)) == pytest.approx(pooled_noise(seed_spread(RUNS)))


def test_runs_without_a_budget_have_seeds_too() -> None:
    assert seed_spread(RUNS.assign(budget=np.nan))["seeds"].tolist() == [3, 2]
