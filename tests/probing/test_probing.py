"""Recorded runs probed again: every row once, whatever is interrupted, and the command that does it."""

import concurrent.futures
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from command_line import exit_code
from moelaws.cli import main
from moelaws.config import ModelConfig, RunConfig, TrainConfig
from moelaws.probing.probing import Probed, ProbingError, probe_runs
from moelaws.runs import RunTableError, TableInUseError, read_runs
from moelaws.runs.probed import PROBE_COLUMNS, read_probes
from moelaws.runs.writing.append import RunTable
from moelaws.sweeping.sweep import SweepRun, run_sweep

ITEMS = 30


def _stories(folder: Path) -> Path:
    """Documents of sentences of made-up words, enough for questions about order and last words."""
    rng = random.Random(0)
    syllables = ("ba", "do", "mi", "ru", "ke", "lo", "sta", "ven")
    words = ["".join(rng.choices(syllables, k=rng.choice((2, 3)))) for _ in range(150)]
    folder.mkdir()
    for number in range(24):
        sentences = (" ".join(rng.choices(words, k=rng.randint(9, 14))).capitalize() + "." for _ in range(60))
        (folder / f"{number:02}.txt").write_text(" ".join(sentences) + "\n")
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    text = _stories(folder / "stories")
    model = ModelConfig(vocab_size=300, d_model=16, n_heads=2, d_ff=32, context=64)
    train = TrainConfig(tokens=64 * 4 * 10, batch_sequences=4, validation_tokens=512)
    wanted = [
        SweepRun(RunConfig(ModelConfig(**{**model.to_dict(), "n_experts": e}), train, str(text)), "tiny", 1e9)
        for e in (1, 4)
    ]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        run_sweep(wanted, folder / "runs.csv", executor=pool)
    return folder / "runs.csv"


@pytest.fixture(autouse=True)
def beside_the_text(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row names its text without the folder, so a text of one's own is found from where it lies."""
    monkeypatch.chdir(table.parent)


def _rows(table: Path) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in read_runs(table).to_dict("records")]


def _probe(table: Path, out: Path, **others: Any) -> int:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return probe_runs(_rows(table), out, ITEMS, executor=pool, **others)


def test_every_run_is_asked_everything_once(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "probes.csv"
    seen: list[Probed] = []
    count = _probe(table, out, on_run=lambda found, number, total: seen.append(found))
    found = read_probes(out, read_runs(table))
    assert len(found) == count > 0
    assert found["equal"].all()  # trained again on the same machine: the same bits
    assert [one.equal for one in seen] == [True, True]
    by_run = {run: set(zip(rows["probe"], rows["metric"], strict=True)) for run, rows in found.groupby("run")}
    dense, sparse = by_run.values()
    assert dense == sparse
    assert {
        ("word order", "accuracy"),
        ("word order", "margin"),
        ("same order", "nats/token"),
        ("text", "bits/byte"),
    } <= dense
    loads = found[found["probe"] == "text"].set_index("n_experts")["expert_load"]
    assert loads[1] == "[]"
    assert loads[4].count("0.") == 4 * ModelConfig().n_layers
    before = out.read_bytes()
    assert _probe(table, out) == 0
    assert out.read_bytes() == before


def test_what_is_missing_is_made_and_nothing_else(table: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole.csv", tmp_path / "probes.csv"
    _probe(table, whole)
    assert _probe(table, out, names=["word order"]) == 4
    assert _probe(table, out) == len(pd.read_csv(whole)) - 4
    key = ["run", "probe", "domain", "metric"]
    a, b = (pd.read_csv(path).drop(columns="finished_at").sort_values(key, ignore_index=True) for path in (whole, out))
    pd.testing.assert_frame_equal(a, b)


def test_a_probe_that_a_crash_left_half_is_made_whole(table: Path, tmp_path: Path) -> None:
    """The first of two metrics on the disk, the second not: the probe is asked again, and no row is there twice."""
    whole, out = tmp_path / "whole.csv", tmp_path / "probes.csv"
    _probe(table, whole, names=["word order", "text"])
    lines = whole.read_text().splitlines(keepends=True)
    (second,) = (n for n, line in enumerate(lines) if ",word order,stories,margin," in line and n > len(lines) // 2)
    out.write_text("".join(lines[:second]))
    assert _probe(table, out, names=["word order", "text"]) == len(lines) - second
    key = ["run", "probe", "domain", "metric"]
    a, b = (pd.read_csv(path).drop(columns="finished_at").sort_values(key, ignore_index=True) for path in (whole, out))
    pd.testing.assert_frame_equal(a, b)


def test_a_place_that_cannot_be_written_is_one_sentence(table: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunTableError, match=r"probes\.csv: (Not a directory|File exists); nothing was probed"):
        _probe(table, tmp_path / "file" / "probes.csv")


def test_an_interrupt_keeps_what_is_done(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "probes.csv"

    def stop(found: Probed, number: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _probe(table, out, on_run=stop)
    assert pd.read_csv(out)["run"].nunique() == 1
    _probe(table, out)
    rows = pd.read_csv(out)
    assert rows["run"].nunique() == 2
    assert not rows.duplicated(["run", "probe", "domain", "metric"]).any()


def test_a_run_that_fails_is_named_and_the_others_are_recorded(table: Path, tmp_path: Path) -> None:
    rows = _rows(table)
    rows[0] = {**rows[0], "corpus_sha256": "0" * 64}
    with concurrent.futures.ThreadPoolExecutor(1) as pool, pytest.raises(ProbingError, match="1 run could not be"):
        probe_runs(rows, tmp_path / "probes.csv", ITEMS, executor=pool)
    assert pd.read_csv(tmp_path / "probes.csv")["run"].nunique() == 1


def test_two_writers_are_refused(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "probes.csv"
    with RunTable(out, PROBE_COLUMNS), pytest.raises(TableInUseError):
        _probe(table, out)


def test_the_command_probes_what_is_chosen(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "probes.csv"
    common = ["probe", str(table), "--where", "n_experts == 4", "--out", str(out), "--items", str(ITEMS)]
    assert main([*common, "--dry-run"]) == 0
    assert "1 run, " in capsys.readouterr().out
    assert not out.exists()
    assert main([*common, "--probe", "text"]) == 0
    printed = capsys.readouterr().out
    assert "E 4" in printed
    assert "equal to the recorded one; 1 row" in printed
    assert main([*common, "--probe", "text"]) == 0
    assert "has all its rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--items", "0"], "--items: expected a whole number from 1 to 1000000, found '0'"),
        (["--workers", "0"], "--workers: expected a whole number from 1 to 256, found '0'"),
        (["--probe", "chess"], "--probe 'chess': expected one of cloze, recall"),
        (["--where", "n_experts == 99"], "runs.csv: no finished run meets 'n_experts == 99'"),
        (["--device", "tpu"], "device 'tpu': expected auto, cpu"),
    ],
)
def test_wrong_input_is_one_sentence(
    table: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(["probe", str(table), "--out", str(tmp_path / "probes.csv"), *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
