"""What follows from what: dense tables, mixtures, and that a column of the file is never replaced."""

from pathlib import Path

import pandas as pd
import pytest

from moelaws.fitting.table import complete
from moelaws.laws import law
from moelaws.runs import RunTableError, derive, read_runs
from moelaws.runs.derive import dense, derivable
from repository import ROOT


def table(**columns: list) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_a_table_without_a_word_of_experts_is_dense() -> None:
    runs, derived = derive(table(total_params=[1e8], tokens=[2e9], loss=[3.0]))
    assert derived == {
        "sparsity": "0, dense",
        "n_experts": "1, dense",
        "top_k": "1, dense",
        "active_params": "N, dense",
        "train_flops": "6 N_a D",
    }
    assert runs.loc[0, ["sparsity", "n_experts", "top_k"]].tolist() == [0, 1, 1]
    assert runs["active_params"].tolist() == [1e8]
    assert runs["train_flops"].tolist() == [6 * 1e8 * 2e9]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"total_params": [1e8]}, True),
        ({"active_params": [1e8]}, True),
        ({"total_params": [1e8], "active_params": [1.001e8]}, True),
        ({"total_params": [8e8], "active_params": [1e8]}, False),
        ({"total_params": [1e8], "num_experts": [8]}, False),
        ({"total_params": [1e8], "MoE": ["yes"]}, False),
        ({"total_params": [1e8], "router": ["Hash"]}, False),
        ({"total_params": [1e8], "granularity": [2]}, False),
        ({"total_params": [1e8, 2e8], "n_experts": [1, 1]}, True),
        ({"total_params": [1e8, 2e8], "n_experts": [1, 8]}, False),
        ({"total_params": [1e8, 2e8], "sparsity": [0, 0]}, True),
        ({"total_params": [1e8], "sparsity": [float("nan")]}, True),  # a column of nothing says nothing
        ({"loss": [3.0]}, False),
    ],
)
def test_what_counts_as_dense(columns: dict, expected: bool) -> None:
    assert dense(table(**columns)) is expected


def test_the_tokens_of_a_mixture_are_not_counted_from_all_its_parameters() -> None:
    _, derived = derive(table(total_params=[8e8], n_experts=[8], top_k=[1], train_flops=[6e18]))
    assert derived == {"sparsity": "(E - K) / E"}


def test_a_law_reads_the_size_of_the_file_whatever_could_be_derived() -> None:
    runs = table(total_params=[1e8, 2e8], tokens=[1e10, 2e10], train_flops=[9e18, 36e18], loss=[3.0, 2.9])
    completed, derived = complete(law("hoffmann2022"), runs)
    assert law("hoffmann2022").columns(completed) == {"N": "total_params", "D": "tokens"}
    assert derived == {}
    # A mixture with its total size only: that size, not one from the FLOPs.
    completed, derived = complete(law("hoffmann2022"), runs.assign(n_experts=8))
    assert law("hoffmann2022").columns(completed)["N"] == "total_params"
    assert derived == {}
    completed, derived = complete(law("hoffmann2022"), runs.drop(columns="total_params"))
    assert derived == {"active_params": "C / (6 D)"}
    empty = runs.assign(active_params=float("nan"))
    assert law("hoffmann2022").columns(complete(law("hoffmann2022"), empty)[0])["N"] == "total_params"


def test_a_law_of_experts_takes_a_dense_table_as_one_expert() -> None:
    completed, derived = complete(law("abnar2025"), table(total_params=[1e8], tokens=[1e10], loss=[3.0]))
    assert completed["sparsity"].tolist() == [0.0]
    assert derived == {"sparsity": "0, dense"}


def test_what_a_derived_column_follows_from_is_named_too() -> None:
    runs = table(total_params=[1e8], train_flops=[6e18], loss=[3.0])
    runs, derived = derive(runs, ["tokens"])
    assert derived == {"active_params": "N, dense", "tokens": "C / (6 N_a)"}
    assert runs["tokens"].tolist() == [1e10]
    _, derived = derive(table(sparsity=[0.5]), ["activation_ratio"])
    assert derived == {"activation_ratio": "1 - S"}
    assert derive(table(sparsity=[0.5]))[1] == {}


def test_the_active_share_of_experts_gives_the_sparsity_where_nothing_else_does() -> None:
    found, formulas = derive(pd.DataFrame({"activation_ratio": [0.25, 1.0], "loss": [3.0, 3.1]}))
    assert found["sparsity"].tolist() == [0.75, 0.0]
    assert formulas["sparsity"] == "1 - A"
    found, formulas = derive(pd.DataFrame({"activation_ratio": [0.3], "n_experts": [8], "top_k": [2]}))
    assert found["sparsity"].tolist() == [0.75]  # shared experts may count as active


def test_budgets_are_told_from_the_flops_where_they_are_asked_for() -> None:
    runs = read_runs(ROOT / "data" / "runs" / "isoflop.csv")
    bare = runs.drop(columns="budget")
    told, derived = derive(bare, ["budget"])
    assert derived == {"budget": "runs of about equal C"}
    assert told["budget"].tolist() == runs["budget"].tolist()
    assert derive(bare.drop(columns="train_flops"), ["budget"])[1]["train_flops"] == "6 N_a D"
    assert "budget" not in derive(bare)[0].columns
    assert derivable(bare, "budget") is not None


def test_a_table_that_names_its_budgets_is_taken_at_its_word() -> None:
    runs, derived = derive(table(budget=[1e9, 2e9], train_flops=[1e12, 1e13], loss=[3.0, 2.9]), ["budget"])
    assert (runs["budget"].tolist(), derived) == ([1e9, 2e9], {})


def test_flops_that_scatter_are_no_budgets_and_the_reader_is_told(tmp_path: Path) -> None:
    scattered = table(total_params=[1e8] * 40, train_flops=[1e18 * 1.05**i for i in range(40)], loss=[3.0] * 40)
    assert "budget" not in derive(scattered, ["budget"])[0].columns
    scattered.to_csv(tmp_path / "runs.csv", index=False)
    with pytest.raises(RunTableError, match=r"no column 'budget'.*without a gap of 12%: too scattered for budgets"):
        read_runs(tmp_path / "runs.csv", required=("loss", "budget"))
