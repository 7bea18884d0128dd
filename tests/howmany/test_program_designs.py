"""Five (K, G) on program text: which budgets count, and what their slopes say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from howmany.granularity import design_slopes, program_designs
from howmany.programs.valley import valley

RUNS = Path(__file__).parents[2] / "data" / "runs"
FILES = [str(RUNS / name) for name in ("packages.csv", "packages_seeds.csv", "designs.csv")]


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return program_designs.runs_of(FILES)


def test_only_budgets_with_each_design_whole_count(runs: pd.DataFrame) -> None:
    assert sorted(runs["budget"].unique()) == [1e13, 1e14]  # at 1e12 a part was made
    assert runs["load_imbalance"].max() < 0.9 * runs["n_experts"].max()  # the collapsed one is out


def test_the_sparsest_loses_at_the_smaller_budget_and_is_level_at_the_larger(runs: pd.DataFrame) -> None:
    found = program_designs.valleys(runs, draws=300)
    table = program_designs.slopes(found)
    assert len(table) == 10
    fine = table[table["design"] == "K = 2, G = 2"].set_index("budget")
    assert fine.loc[1e13, "last_low"] > 0
    assert fine.loc[1e14, "last_low"] < 0 < fine.loc[1e14, "last_high"]
    numbers = program_designs.numbers(found, table, runs)
    assert numbers["pd_runs"] == len(runs)
    assert numbers["pd_falling"] == "0 of 2"
    assert numbers["pd_word"] == "would stand"
    assert program_designs.path_figure(found).to_dict()
    assert design_slopes.slope_figure(table).to_dict()
    assert len(design_slopes.slope_table(table)) == 10


def test_where_experts_do_nothing_no_slope_is_found(runs: pd.DataFrame) -> None:
    here = runs[runs["budget"] == 1e13].reset_index(drop=True)
    rng = np.random.default_rng(3)
    blind = 3 + 0.2 * (np.log(here["active_params"]) - 12) ** 2 + rng.normal(0, 0.01, len(here))
    table = program_designs.slopes([valley(here.assign(loss=blind), 300)])
    assert ((table["low"] < 0) & (table["high"] > 0)).sum() >= len(table) - 1


def test_a_line_is_read_back() -> None:
    along = np.log([1.0, 4.0, 16.0, 64.0])
    loss = np.tile((3 - 0.05 * along / np.log(2))[:, None], 4)
    row = design_slopes.slope_row("K = 2, G = 2", 1e13, along, loss, np.ones(4, bool))
    assert row is not None
    assert row["slope"] == pytest.approx(-0.05)
    assert row["early"] == pytest.approx(-0.05)
    assert (row["from"], row["best"], row["edges"]) == (0.75, pytest.approx(63 / 64), 0)
    assert design_slopes.slope_row("few", 1e13, along[:3], loss[:3], np.ones(3, bool)) is None
