"""The command line: what it prints, and that wrong input ends in one sentence and exit code 2."""

import re
from functools import partial
from pathlib import Path

import pytest

from command_line import exit_code
from moelaws.cli import main
from moelaws.cli.sweep import find_sweep
from moelaws.sweeping import estimate
from moelaws.sweeping.sweep import run_sweep
from small_sweep import Inline, tiny_sweep

TABLE = "loss,tokens,n_experts,top_k\n3.5,1000,8,1\n3.4,2000,8,2\n"


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "runs.csv"
    path.write_text(TABLE)
    return str(path)


def test_runs_summarises_a_table(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", table, "--where", "top_k == 2"]) == 0
    printed = capsys.readouterr().out
    assert "1 run, 1 finished" in printed
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
        (["runs", "TABLE", "--map", "loss"], "argument --map: expected OURS=THEIRS"),
        (["runs", "TABLE", "--map", "loss=nats"], "no column 'nats' to use as 'loss'"),
        (["sweep", "nothing"], "sweep 'nothing': howmany.designs.sweeps has batches, experts, "),
        (["sweep", "no.such.module:sweep"], "no module 'no'"),
        (["sweep", "isoflop_3e11", "--workers", "0"], "--workers: expected a whole number from 1 to 256, found '0'"),
        (["sweep", "isoflop_3e11", "--limit", "0"], "--limit: expected a whole number from 1 to 1000000, found '0'"),
        (["sweep", "isoflop_3e11", "--workers", "2", "--scheduler", "x"], "--workers is for local processes"),
        (["sweep", "small_sweep:tiny_sweep", "--device", "gpu", "--out", "OUT"], "device 'gpu': expected auto, cpu"),
        (["sweep", "small_sweep:tiny_sweep", "--device", "cuda:99", "--out", "OUT"], "PyTorch sees"),
        (
            ["sweep", "small_sweep:tiny_sweep", "--scheduler", "tcp://127.0.0.1:1", "--out", "OUT"],
            "no Dask scheduler answers at tcp://127.0.0.1:1",
        ),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(
    table: str, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "moelaws.sweeping.cluster._CONNECT_SECONDS", 0.5
    )  # how long an address is tried that is refused
    places = {"TABLE": table, "OUT": table.replace("runs.csv", "out.csv")}
    assert exit_code([places.get(a, a) for a in arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_dry_run_forecasts_and_records_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(estimate, "estimate", partial(estimate.estimate, seconds=0.2))
    out = tmp_path / "runs.csv"
    dry = ["sweep", "small_sweep:tiny_sweep", "--dry-run", "--workers", "1", "--out", str(out)]
    assert main(dry) == 0
    printed = capsys.readouterr().out
    assert f"\n{len(tiny_sweep())} runs, " in printed
    assert re.search(r"\nabout \d+ s with 1 worker on this machine, each at [\d.]+ GFLOP/s \(from some", printed)
    assert not out.exists()


def test_a_sweep_tells_its_progress_and_a_dry_run_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["sweep", "small_sweep:tiny_sweep", "--workers", "1", "--out", str(tmp_path / "runs.csv")]
    assert main([*arguments, "--limit", "2"]) == 0
    first, second, last = capsys.readouterr().out.splitlines()
    assert re.match(r" +1/2  C .*  E 4 +d 16 +seed 5  loss \d\.\d{4}  \d+ s  5\d% of the FLOPs at [\d.]+ GF", first)
    assert second.endswith("100% of the FLOPs at" + second.partition("FLOPs at")[2])
    assert second.endswith(" 0 s left")
    assert last.startswith("2 runs trained, 6 in the sweep; table: ")
    assert run_sweep(tiny_sweep(), tmp_path / "runs.csv", executor=Inline()) == 4
    assert main([*arguments, "--dry-run"]) == 0
    assert "6 of them are in" in capsys.readouterr().out


def test_a_sweep_on_a_table_in_use_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from moelaws.runs import RunTable

    out = tmp_path / "runs.csv"
    with RunTable(out):
        assert main(["sweep", "small_sweep:tiny_sweep", "--out", str(out), "--limit", "1"]) == 2
    assert "another process is writing to this table" in capsys.readouterr().err


def test_a_readers_sweep_is_found_in_the_folder_they_are_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reader_sweeps.py").write_text("def small():\n    return []\n")
    monkeypatch.chdir(tmp_path)
    assert find_sweep("reader_sweeps:small")() == []
