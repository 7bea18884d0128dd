"""Runs of a sweep from a table of runs to be made."""

import pandas as pd
import pytest

import moelaws as ml
from command_line import exit_code
from moelaws.sweeping.planned_table import runs_of_table
from repository import ROOT


def test_what_next_proposes_can_be_trained(tmp_path):
    runs = ml.read_runs(ROOT / "data" / "runs" / "isoflop.csv")
    found = ml.next_runs(runs[runs["budget"] <= 3e11], "budget=1e12", 1e12, options=ml.ChoosingOptions(most=5))
    found.save(tmp_path / "planned.csv")
    planned = runs_of_table(tmp_path / "planned.csv")
    assert len(planned) == len(found.table)
    for item, row in zip(planned, found.table.to_dict("records"), strict=True):
        assert item.train_flops == pytest.approx(row["train_flops"], rel=0.02)
        assert (item.run.model.d_model, item.run.model.n_experts) == (row["d_model"], row["n_experts"])
        # The sizes that the choice was made by are those of the models that are built.
        assert ml.count_parameters(item.run.model).active == pytest.approx(row["active_params"], rel=0.03)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"train_flops": [1e10]}, "no column 'd_model'"),
        ({"d_model": [16]}, "no column 'train_flops'"),
        ({"d_model": [15], "train_flops": [1e10]}, "row 2"),
        ({"d_model": [16, 16.5], "train_flops": [1e10, 1e10]}, "row 3, column 'd_model'"),
        ({"d_model": [16], "train_flops": [1e10], "n_experts": [2], "top_k": [4]}, "row 2"),
    ],
)
def test_what_is_none_of_our_runs_is_refused_in_a_sentence(table, says, tmp_path):
    pd.DataFrame(table).to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(ValueError, match=says):
        runs_of_table(tmp_path / "p.csv")


def test_the_command_wants_to_know_where_its_rows_go(tmp_path, capsys):
    pd.DataFrame({"d_model": [16], "train_flops": [1e10]}).to_csv(tmp_path / "p.csv", index=False)
    assert exit_code(["sweep", str(tmp_path / "p.csv")]) == 2
    assert "--out" in capsys.readouterr().err
