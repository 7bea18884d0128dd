"""Recorded runs trained again: equal bits here, a disagreement found and said, a model kept."""

import concurrent.futures
from pathlib import Path

import pandas as pd
import pytest

from command_line import exit_code
from moelaws import __version__
from moelaws.cli import main
from moelaws.config import ModelConfig, RunConfig, TrainConfig
from moelaws.models.checkpoint import load_checkpoint
from moelaws.runs import read_runs
from moelaws.runs.configured import LATER_FIELDS
from moelaws.sweeping.sweep import SweepRun, run_sweep
from moelaws.text.corpus import load_corpus
from moelaws.training.validation import validate


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = ModelConfig(d_model=16, n_heads=2, d_ff=32, n_experts=4, context=32)
    wanted = [
        SweepRun(
            RunConfig(model, TrainConfig(tokens=32 * 4 * steps, batch_sequences=4, validation_tokens=512, seed=seed)),
            "tiny",
            budget=1e9,
        )
        for steps in (10, 20)
        for seed in (0, 1, 2)
    ]
    path = tmp_path_factory.mktemp("runs") / "runs.csv"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        run_sweep(wanted, path, executor=pool)
    return path


def test_what_was_recorded_here_comes_out_equal(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rerun", str(table), "--sample", "3", "--exact"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(line.endswith("equal") for line in lines)


def test_the_smallest_are_chosen_and_their_models_kept(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rerun", str(table), "--smallest", "--sample", "2", "--save", str(tmp_path)]) == 0
    runs = read_runs(table)
    smallest = set(runs.nsmallest(2, "train_flops")["run_id"])
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == smallest
    for run_id in smallest:
        model = load_checkpoint(tmp_path / run_id)
        again = validate(model, load_corpus("sotu"), 512)
        assert again.loss == pytest.approx(runs.set_index("run_id").loc[run_id, "loss"], abs=1e-6)
        assert (tmp_path / run_id / "tokenizer.json").exists()


def test_a_row_of_another_release_says_why_it_is_not_equal(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = pd.read_csv(table)
    runs["code_version"] = "0.1.0+1234567"
    runs["loss"] += 1e-9
    old = tmp_path / "old.csv"
    runs.to_csv(old, index=False)
    assert main(["rerun", str(old), "--smallest", "--sample", "1"]) == 0
    row, why = capsys.readouterr().out.splitlines()
    assert row.endswith("within three seed deviations")
    assert why == f"not equal by moelaws: recorded with 0.1.0, at whose commit the bits are equal; here {__version__}"


def test_a_wrong_record_is_found(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = pd.read_csv(table)
    runs.loc[0, "loss"] += 0.5
    wrong = tmp_path / "wrong.csv"
    runs.to_csv(wrong, index=False)
    run_id = runs.loc[0, "run_id"]
    assert main(["rerun", str(wrong), "--where", f"run_id == '{run_id}'"]) == 1
    printed = capsys.readouterr().out
    assert "DISAGREES" in printed
    assert "1 of the runs are not what wrong.csv says" in printed


def test_a_choice_of_nothing_is_refused(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rerun", str(table), "--where", "train_flops > 1e20"]) == 2
    assert "runs.csv: no run meets 'train_flops > 1e20'" in capsys.readouterr().err
    assert exit_code(["rerun", str(table), "--sample", "0"]) == 2


def test_a_row_that_was_changed_is_not_trained_under_its_old_name(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = pd.read_csv(table)
    runs.loc[1, "learning_rate"] *= 2
    changed = tmp_path / "changed.csv"
    runs.to_csv(changed, index=False)
    run_id = runs.loc[1, "run_id"]
    for command in ("rerun", "probe"):
        assert main([command, str(changed), "--where", f"run_id == '{run_id}'"]) == 2
        said = capsys.readouterr().err
        assert f"changed.csv: row 3 is named run '{run_id}', but its columns describe run " in said


def test_models_are_not_saved_into_a_folder_of_somebodys(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And that is known before anything is trained."""
    run_id = read_runs(table)["run_id"].iloc[0]
    folder = tmp_path / "models" / run_id
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    line = ["rerun", str(table), "--where", f"run_id == '{run_id}'", "--save", str(tmp_path / "models")]
    assert main(line) == 2
    captured = capsys.readouterr()
    assert f"{run_id}: not empty, and not a checkpoint that moelaws saved" in captured.err
    assert captured.out == ""
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]


def test_runs_recorded_before_a_field_was_there_run_again_bit_equal(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether the table was upgraded since or not."""
    cells = pd.read_csv(table, dtype=str, keep_default_na=False).drop(columns=list(LATER_FIELDS))
    old = tmp_path / "old.csv"
    cells.to_csv(old, index=False, lineterminator="\n")
    assert main(["rerun", str(old), "--smallest", "--sample", "1", "--exact"]) == 0
    assert main(["runs", "--upgrade", str(old)]) == 0
    assert main(["rerun", str(old), "--smallest", "--sample", "1", "--exact"]) == 0
    assert [line.endswith("equal") for line in capsys.readouterr().out.splitlines()] == [True, False, True]


@pytest.mark.parametrize(("true", "false"), [("TRUE", "FALSE"), ("true", "false"), ("1", "0")])
def test_a_table_that_went_through_a_spreadsheet_is_read_alike(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], true: str, false: str
) -> None:
    cells = pd.read_csv(table, dtype=str, keep_default_na=False).replace({"True": true, "False": false})
    spreadsheet = tmp_path / "spreadsheet.csv"
    cells.to_csv(spreadsheet, index=False, sep=";")
    assert main(["rerun", str(spreadsheet), "--sample", "1", "--exact"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("equal")
