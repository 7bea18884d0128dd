"""The command line: what it prints, and that wrong input ends in one sentence and exit code 2."""

from pathlib import Path

import pytest

from moelaws.cli import main
from moelaws.cli.sweep import find_sweep
from moelaws.training.sweeps import isoflop_first

TABLE = "loss,tokens,n_experts,top_k\n3.5,1000,8,1\n3.4,2000,8,2\n"


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "runs.csv"
    path.write_text(TABLE)
    return str(path)


def test_runs_summarises_a_table(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", table, "--where", "top_k == 2"]) == 0
    printed = capsys.readouterr().out
    assert "1 runs, 1 finished" in printed
    assert "sparsity: not in the file, derived as (E - K) / E" in printed
    assert "0.75" in printed


def test_runs_prints_the_field_dictionary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--columns"]) == 0
    assert "bits_per_byte" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs"], "name a run table"),
        (["runs", "absent.csv"], "absent.csv: no such file"),
        (["runs", "TABLE", "--where", "density > 1"], "the table has no column 'density'"),
        (["runs", "TABLE", "--map", "loss"], "--map 'loss': expected OURS=THEIRS"),
        (["runs", "TABLE", "--map", "loss=nats"], "no column 'nats' to use as 'loss'"),
        (["sweep", "nothing"], "sweep 'nothing': moelaws.training.sweeps has isoflop_first"),
        (["sweep", "no.such.module:sweep"], "no module 'no'"),
        (["sweep", "isoflop_first", "--workers", "0"], "--workers 0: expected a whole number >= 1"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(
    table: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([table if a == "TABLE" else a for a in arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_dry_run_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "runs.csv"
    assert main(["sweep", "isoflop_first", "--dry-run", "--out", str(out)]) == 0
    assert f"\n{len(isoflop_first())} runs, " in capsys.readouterr().out
    assert not out.exists()


def test_a_sweep_on_a_table_in_use_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from moelaws.runs import RunTable

    out = tmp_path / "runs.csv"
    with RunTable(out):
        assert main(["sweep", "isoflop_first", "--out", str(out), "--limit", "1"]) == 2
    assert "another process is writing to this table" in capsys.readouterr().err


def test_a_readers_sweep_is_found_in_the_folder_they_are_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reader_sweeps.py").write_text("def small():\n    return []\n")
    monkeypatch.chdir(tmp_path)
    assert find_sweep("reader_sweeps:small")() == []
