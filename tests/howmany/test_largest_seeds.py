"""More seeds at the largest budget: what is a seed there, and what the gain from experts is with its interval."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind

from howmany.measured import largest_seeds
from moelaws.runs import finished, read_runs

RUNS = Path(__file__).parents[2] / "data" / "runs"


def test_three_seeds_of_two_sizes_say_what_experts_gain() -> None:
    study = finished(read_runs(RUNS / "isoflop.csv"))
    found = largest_seeds.seeds(study, str(RUNS / "largest.csv"))
    assert found["n_experts"].tolist() == [1, 4, 16, 64]
    assert (found["seeds"] == 3).all()  # the runs with half and twice the rate are no seeds
    assert (found["high"][1:] < 0).all()
    assert len(largest_seeds.seed_table(found)) == 4
    assert largest_seeds.seed_numbers(found)["ls_most"] == 64


def test_with_one_size_each_the_interval_is_welchs(tmp_path: Path) -> None:
    study = finished(read_runs(RUNS / "isoflop.csv"))
    other = pd.read_csv(RUNS / "largest.csv")
    here = other[(other["d_model"] == 80) & other["n_experts"].isin([1, 64]) & (other["seed"] > 0)]
    here.to_csv(tmp_path / "two.csv", index=False)
    found = largest_seeds.seeds(study, str(tmp_path / "two.csv"))
    first = study[(study["budget"] == 1e13) & (study["d_model"] == 80)]
    losses = [np.append(part.loc[part["n_experts"] == e, "loss"], first.loc[first["n_experts"] == e, "loss"])
              for e in (1, 64) for part in [here]]  # fmt: skip
    expected = ttest_ind(losses[1], losses[0], equal_var=False).confidence_interval()
    assert found[["low", "high"]].iloc[1].tolist() == pytest.approx([expected.low, expected.high])


def test_runs_of_somebody_else_have_no_other_seeds_here() -> None:
    study = finished(read_runs(RUNS / "isoflop.csv"))
    for theirs in (study.drop(columns="learning_rate"), study.assign(budget=2 * study["budget"])):
        found = largest_seeds.seeds(theirs, str(RUNS / "largest.csv"))
        assert found.empty
        assert len(largest_seeds.seed_table(found)) == 1
        assert largest_seeds.seed_numbers(found)["ls_change"] == "(not known)"
