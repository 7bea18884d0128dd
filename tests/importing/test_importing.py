"""Runs as other programs leave them."""

import json
from pathlib import Path

import pandas as pd
import pytest

import moelaws
from command_line import exit_code
from importing import layouts
from moelaws import RunTableError, import_runs
from moelaws.importing.import_runs import Asked, load
from moelaws.importing.preset import letters, names, presets
from moelaws.reporting.report import About
from moelaws.runs import COLUMNS, RunTableWarning
from moelaws.runs import read_runs as runs_of_the_book
from repository import ROOT


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_preset_names_columns_and_fields_that_there_are() -> None:
    ours = {*COLUMNS, "dense_params", "activation_ratio"}
    for columns in (names(), letters(), *(part for p in presets().values() for part in (p.columns, p.patterns))):
        assert set(columns) <= ours
    for preset in presets().values():
        assert preset.about
        assert preset.reads in ("table", "wandb", "trainer", "tensorboard")
        assert set(preset.config) <= set(layouts.MODEL)


def test_the_table_of_runs_of_wandb(tmp_path: Path) -> None:
    found = import_runs(_write(tmp_path, "export.csv", layouts.RUNS_CSV), "wandb")
    assert found.runs["loss"].tolist()[0::2] == [3.1, 3.3]
    assert found.runs["tokens"].tolist()[0] == 20_000_000
    assert len(moelaws.finished(found.runs)) == 2
    assert "loss = val/loss" in found.notes[0]
    assert "total_params = num_params" in found.notes[0]
    mapped = import_runs(tmp_path / "export.csv", "wandb", {"loss": "train/loss", "n_experts": "model.n_experts"})
    assert mapped.runs["loss"].tolist() == [3.0, 3.5, 3.2]
    assert mapped.runs["n_experts"].tolist() == [8, 8, 1]


def test_a_chart_of_wandb_gives_the_last_value_of_each_run(tmp_path: Path) -> None:
    found = import_runs(_write(tmp_path, "chart.csv", layouts.CHART_CSV), "wandb").runs
    assert found[["name", "loss", "Step"]].values.tolist() == [["amber-1", 3.1, 100], ["b - x", 3.3, 200]]


def test_mappings_in_cells_are_read_and_never_evaluated(tmp_path: Path) -> None:
    found = import_runs(_write(tmp_path, "project.csv", layouts.FRAME_CSV), "wandb", {"n_experts": "model.n_experts"})
    assert found.runs["n_experts"].tolist() == [8, 1]
    assert found.runs["loss"].tolist() == [3.1, 3.3]
    records = [
        {"name": "a", "config": {"num_params": 10**6}, "summary": {"val/loss": 3.1}},
        {"name": "b", "config": {"num_params": {"value": 10**6, "desc": None}}, "summary": {"val/loss": 3.2}},
    ]
    nested = import_runs(_write(tmp_path, "project.json", json.dumps(records)), "wandb")
    assert nested.runs["loss"].tolist() == [3.1, 3.2]
    marker = tmp_path / "evaluated"
    for cell in (f"__import__('pathlib').Path({str(marker)!r}).touch()", "{'a': f()}", "[1]", "{" * 5000, "{'a': 1"):
        bad = pd.DataFrame({"name": ["a"], "summary": [cell], "config": ["{}"]})
        bad.to_csv(tmp_path / "bad.csv", index=False)
        with pytest.raises(RunTableError, match=r"row 2, column 'summary'.*expected a mapping"):
            import_runs(tmp_path / "bad.csv", "wandb")
    assert not marker.exists()


def test_histories_of_wandb_give_a_row_a_run(tmp_path: Path) -> None:
    found = import_runs(layouts.history(tmp_path / "runs"), "auto")
    assert found.runs[["name", "loss", "tokens", "total_params", "seconds"]].values.tolist() == [
        ["amber-1", 3.1, 2e7, 1e6, 7.0], ["cedar-3", 3.3, 2e7, 1e6, 7.0]
    ]  # fmt: skip
    one = "".join(
        json.dumps({"run": run, "_step": step, "eval/loss": 5 - step - (run == "b") / 10}) + "\n"
        for step in (2, 1, 0)
        for run in "ab"
    )
    assert import_runs(_write(tmp_path, "all.jsonl", one), "wandb").runs["loss"].tolist() == [3.0, 2.9]


def test_several_exports_are_joined_by_the_name_of_the_run(tmp_path: Path) -> None:
    _write(tmp_path, "a.csv", "Name,num_params\namber-1,1000000\nb - x,2000000\n")
    _write(tmp_path, "chart.csv", layouts.CHART_CSV)
    found = import_runs(tmp_path, "wandb").runs
    assert found[["name", "total_params", "loss"]].values.tolist() == [["amber-1", 1e6, 3.1], ["b - x", 2e6, 3.3]]


def test_a_folder_of_trainer(tmp_path: Path) -> None:
    found = import_runs(layouts.trainer(tmp_path / "runs"))
    runs = found.runs
    model = moelaws.count(layouts.MODEL)
    assert runs["status"].tolist() == ["finished", "finished", "unfinished"]
    assert runs["loss"].tolist()[:2] == pytest.approx([4.1, 4.0])
    assert runs["total_params"].tolist()[0] == model.total_params
    assert runs["active_params"].nunique() == 3  # the router grows
    assert runs["n_experts"].tolist() == [8, 4, 2]
    assert runs["top_k"].tolist() == [2, 2, 2]
    assert runs["tokens"].tolist()[0] == 50_000
    sizes = moelaws.count(layouts.MODEL | {"num_local_experts": 4}).parameters
    assert runs["tokens"].tolist()[1] == pytest.approx(7e12 / (6 * (sizes.total - sizes.embedding)))
    assert any("counted from the model's configuration" in note for note in found.notes)
    assert any(note.startswith("tokens: total_flos") for note in found.notes)


def test_a_folder_of_levanter_and_of_marin(tmp_path: Path) -> None:
    folder = layouts.tracker(tmp_path / "checkpoints")
    found = import_runs(folder, "marin")
    runs = found.runs
    assert runs["loss"].tolist() == [3.5, 3.5]
    assert runs["budget"].tolist() == [1e18, 3e18]
    assert runs["train_flops"].tolist() == [1.5e13, 2.95e13]
    assert runs["tokens"].tolist() == [8_192_000] * 2
    assert runs["status"].tolist() == ["finished", "unfinished"]
    # Six of eight experts idle, in two layers, of three matrices.
    assert runs["active_params"].tolist() == [600_000 - 2 * 6 * 3 * 64 * 128, 600_000]
    assert runs["top_k"].tolist() == [2, 1]
    assert import_runs(folder).runs["loss"].tolist() == [3.2, 3.2]  # by its files, Levanter's
    assert import_runs(folder, "levanter").runs["n_experts"].tolist() == [8, 1]


def test_a_folder_of_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import summary_v2 as hparams
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    for run, loss in (("a", 3.1), ("b", 3.3)):
        writer = EventFileWriter(str(tmp_path / "logs" / run))
        for step, value in ((1, 6.0), (9, loss)):
            scalars = [
                Summary.Value(tag="val/loss", simple_value=value),
                Summary.Value(tag="tokens", simple_value=step * 1e6),
            ]
            writer.add_event(Event(step=step, summary=Summary(value=scalars)))
        writer.close()
        writer = EventFileWriter(str(tmp_path / "logs" / run / "1700000000.5"))
        writer.add_event(Event(summary=hparams.hparams_pb({"num_params": 1e6, "num_experts": 8 if run == "a" else 1})))
        writer.close()
    found = import_runs(tmp_path / "logs")
    assert found.runs[["name", "tokens", "total_params", "n_experts"]].values.tolist() == [
        ["a", 9e6, 1e6, 8],
        ["b", 9e6, 1e6, 1],
    ]
    assert found.runs["loss"].tolist() == pytest.approx([3.1, 3.3])


def test_tensorboard_without_its_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, "events.out.tfevents.1", "")
    monkeypatch.setattr("moelaws.importing.tensorboard_folder.find_spec", lambda name: None)
    with pytest.raises(RunTableError, match=r"pip install 'moelaws\[tensorboard\]'"):
        import_runs(tmp_path, "tensorboard")


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        ("N (M),D_B,E,k,final loss", "33,2.5,8,2,3.1",
         {"total_params": 33e6, "tokens": 2.5e9, "n_experts": 8, "top_k": 2, "loss": 3.1}),
        ("Params,Activated params,Activation ratio,Tokens (billions),C (EFLOPs),Test Loss",
         "1.3B,350M,6.25%,20,0.042,2.9",
         {"total_params": 1.3e9, "active_params": 3.5e8, "activation_ratio": 0.0625, "tokens": 2e10, "loss": 2.9,
          "train_flops": 4.2e16}),
        ("num_experts,dense_parameter_count,loss_validation", "8,1000000,3",
         {"dense_params": 1e6, "n_experts": 8, "loss": 3}),
        ("N_active (1e6),total tokens (10^9),valid_loss,val_loss", "5,3,9,3",
         {"active_params": 5e6, "tokens": 3e9, "loss": 3}),
        ("params [B],training_tokens_B,loss", "1.5,30,3", {"total_params": 1.5e9, "tokens": 3e10, "loss": 3}),
    ],
)  # fmt: skip
def test_names_that_people_use(tmp_path: Path, header: str, row: str, expected: dict[str, float]) -> None:
    runs = import_runs(_write(tmp_path, "table.csv", f"{header}\n{row}\n")).runs
    assert {name: runs[name].iloc[0] for name in expected} == pytest.approx(expected)


def test_what_is_not_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    table = _write(tmp_path, "table.csv", "loss,N\n3,1000000\n")
    for path, preset, words in (
        (empty, "auto", "a folder without runs; expected trainer_state.json"),
        (empty, "trainer", "no trainer_state.json"),
        (empty, "tensorboard", "no event files"),
        (empty, "wandb", "no CSV or JSON files"),
        (table, "trainer", "a file; --map trainer reads a folder"),
        (table, "wandbb", "no such preset; there are"),
        (tmp_path / "nothing", "wandb", "no such file"),
        (tmp_path / "nothing", "trainer", "no such file"),
    ):
        with pytest.raises(RunTableError, match=words) as caught:
            import_runs(path, preset)
        assert len(str(caught.value)) < 400
    for text in ("[1]", "{", "[" * 100_000, '{"global_step": "many", "log_history": {"a": 1}}', "\x00"):
        broken = tmp_path / "broken"
        broken.mkdir(exist_ok=True)
        _write(broken, "trainer_state.json", text)
        with pytest.raises(RunTableError) as caught:
            import_runs(broken)
        assert len(str(caught.value)) < 400


def test_a_number_that_all_runs_share(tmp_path: Path) -> None:
    table = _write(tmp_path, "table.csv", "loss,num_experts\n3,8\n2,16\n")
    runs = import_runs(table, "auto", {"top_k": "2", "tokens": "130e9"}).derived()[0]
    assert runs["top_k"].tolist() == [2, 2]
    assert runs["tokens"].tolist() == [130e9] * 2
    assert runs["sparsity"].tolist() == [0.75, 0.875]
    with pytest.raises(RunTableError, match="no column '2x' to use as 'top_k'"):
        import_runs(table, "auto", {"top_k": "2x"})


def test_without_a_preset_the_complaint_names_the_one_that_would_read_it(tmp_path: Path) -> None:
    table = _write(tmp_path, "table.csv", "val_loss,N\n3,1000000\n")
    with pytest.raises(RunTableError, match=r"no column .loss.; .*; --map auto would take loss = val_loss"):
        load(table, Asked())
    with pytest.raises(RunTableError, match="--map wandb would take loss = val/loss"):
        load(_write(tmp_path, "chart.csv", layouts.CHART_CSV), Asked())


def test_commands_take_a_folder(tmp_path: Path) -> None:
    folder = layouts.tracker(tmp_path / "checkpoints")
    assert exit_code(["runs", str(folder), "--map", "marin", "--write", str(tmp_path / "mine.csv")]) == 0
    assert moelaws.read_runs(tmp_path / "mine.csv")["active_params"].tolist() == [305_088, 600_000]
    assert About.of_file(folder).name == "checkpoints"


def test_a_word_counts_as_a_size_only_beside_a_unit(tmp_path: Path) -> None:
    place = tmp_path / "sheet.csv"
    place.write_text("Active (M),Model size (B),active,Loss\n33,0.22,yes,3.4\n66,0.44,no,3.2\n")
    found = import_runs(place)
    assert found.runs["active_params"].tolist() == [33e6, 66e6]
    assert found.runs["total_params"].tolist() == [0.22e9, 0.44e9]
    assert "active" in found.runs.columns


def test_names_are_guessed_where_a_stranger_says_nothing(tmp_path: Path) -> None:
    place = tmp_path / "sheet.csv"
    place.write_text("val_loss,params,E\n3.4,1e7,1\n3.2,2e7,8\n")
    assert load(place, Asked(guess=True)).runs["total_params"].tolist() == [1e7, 2e7]
    mixed = load(place, Asked(rename={"top_k": "1"}, guess=True)).runs
    assert (mixed["top_k"].tolist(), mixed["n_experts"].tolist()) == ([1, 1], [1, 8])
    with pytest.raises(RunTableError, match="--map auto would take"):
        load(place, Asked())
    ours = tmp_path / "ours.csv"
    ours.write_text("loss,total_params\n3.4,1e7\n")
    assert load(ours, Asked(guess=True)).notes == load(ours, Asked()).notes


def test_the_door_finds_names_and_says_so(tmp_path: Path) -> None:
    table = tmp_path / "results.csv"
    table.write_text("Params (M),D (B),val/loss\n33,1,3.46\n220,9,2.9\n")
    with pytest.warns(RunTableWarning, match=r"loss = val/loss, total_params = Params \(M\) \* 1e\+06"):
        runs = moelaws.read_runs(table)
    pd.testing.assert_frame_equal(runs, moelaws.import_runs(table).runs)
    with pytest.warns(RunTableWarning) as said:
        assert "train_flops" in moelaws.read_runs(table, required=("loss", "train_flops"))
    assert "preset auto" in str(said[0].message)
    assert "train_flops: not in the file, derived as" in str(said[-1].message)


def test_the_door_guesses_nothing_of_a_table_under_the_books_names(recwarn: pytest.WarningsRecorder) -> None:
    table = ROOT / "data" / "runs" / "isoflop.csv"
    pd.testing.assert_frame_equal(moelaws.read_runs(table), runs_of_the_book(table))
    assert not [each for each in recwarn if "preset" in str(each.message)]


def test_cells_carry_their_units_whether_a_column_was_guessed_named_or_ours(tmp_path: Path) -> None:
    place = tmp_path / "sheet.csv"
    place.write_text("val_loss,total_params,seen,S\n3.4,1.3B,2e10 tokens,50%\n3.2,350M,5B tokens,87.5 %\n")
    runs = load(place, Asked(rename={"tokens": "seen", "sparsity": "S", "loss": "val_loss"})).runs
    assert runs["total_params"].tolist() == [1.3e9, 350e6]
    assert runs["tokens"].tolist() == [2e10, 5e9]
    assert runs["sparsity"].tolist() == [0.5, 0.875]


def test_of_cells_with_units_the_one_that_is_no_number_is_named(tmp_path: Path) -> None:
    place = tmp_path / "sheet.csv"
    place.write_text("loss,total_params\n3.4,1.3B\n3.3,big\n3.2,350M\n")
    with pytest.raises(RunTableError, match="row 3, column 'total_params': found 'big'"):
        load(place, Asked())


def test_the_logarithm_of_a_perplexity_is_a_loss_guessed_or_named(tmp_path: Path) -> None:
    place = tmp_path / "sheet.csv"
    place.write_text("val_ppl,test_ppl,total_params\n20.0,30.0,1e7\n10.0,15.0,2e7\n")
    named = load(place, Asked(rename={"loss": "ln(test_ppl)"})).runs
    assert named["loss"].tolist() == pytest.approx([3.401197, 2.708050])
    assert named["test_ppl"].tolist() == [30.0, 15.0]
    assert load(place, Asked(guess=True)).runs["loss"].tolist() == pytest.approx([2.995732, 2.302585])
    place.write_text("ppl on c4,ppl on wiki,total_params\n20.0,30.0,1e7\n10.0,15.0,2e7\n")
    with pytest.raises(RunTableError, match=r"loss could be 'ln\(ppl on c4\)', 'ln\(ppl on wiki\)'"):
        load(place, Asked(guess=True))
    place.write_text("loss,total_params\n0.5,1e7\n")
    with pytest.raises(RunTableError, match=r"found 'ln\(0.5\)', expected a finite number > 0"):
        load(place, Asked(rename={"loss": "ln(loss)"}))
