"""Tables that were once read wrongly, or not at all: each as its right.txt says."""

import json
import re
import shlex
from pathlib import Path

import pytest

from command_line import exit_code
from repository import TESTS

CASES = TESTS / "cases"
HOFFMANN = {"A": 406.4, "B": 410.7, "E": 1.69, "alpha": 0.34, "beta": 0.28}


def commands(case: str) -> list[list[str]]:
    """The command lines of a case, without the command's name."""
    lines = (CASES / case / "cmd.txt").read_text().splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("moelaws ")]


def fitted(arguments: list[str], out: Path) -> dict:
    """What a fit writes."""
    assert exit_code([*arguments, "--json", str(out)]) == 0
    return json.loads(out.read_text())


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence on standard error."""
    assert exit_code(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert len(captured.err) <= 400
    assert captured.err.rstrip("\n").isprintable()
    return captured.err


@pytest.mark.parametrize(
    ("case", "line"),
    [
        *(("names_not_python", i) for i in (0, 1)),
        *(("other_separators", i) for i in (0, 1, 2)),
        *(("space_in_header", i) for i in (0, 1)),
        *(("status_words", i) for i in (0, 1, 2, 3)),
        ("own_size_column_ignored", 0),
        ("unfinished_nan", 0),
        ("where_after_check", 0),
    ],
)
def test_the_law_that_made_the_table_is_found(
    case: str, line: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CASES / case)
    record = fitted(commands(case)[line], tmp_path / "fit.json")
    assert record["n_runs"] == 12
    assert record["params"] == pytest.approx(HOFFMANN, rel=1e-4)
    assert record["derived"] == {}


def test_a_size_of_the_file_is_not_replaced_and_the_gap_to_the_flops_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(CASES / "own_size_replaced")
    record = fitted(commands("own_size_replaced")[0], tmp_path / "fit.json")
    truth = {"A": 400, "B": 2000, "E": 1.8, "alpha": 0.34, "beta": 0.37}
    assert record["params"] == pytest.approx(truth, rel=1e-4)
    assert record["columns"] == {"N": "total_params", "D": "tokens"}
    said = [line for line in capsys.readouterr().out.splitlines() if "train_flops" in line]
    assert len(said) == 1
    assert re.match(r"train_flops is not 6 N D in 8 of 8 runs, row 2 first: it is 1\.47 times that", said[0])


def test_two_columns_of_one_name_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(CASES / "duplicate_header")
    assert "columns 1 and 4 are both called 'loss'" in refusal(commands("duplicate_header")[0], capsys)


def test_a_comma_in_a_name_is_refused_with_the_way_to_write_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(CASES / "names_not_python")
    arguments = commands("names_not_python")[2]
    said = refusal(arguments, capsys)
    assert "a name with a comma goes between backticks: `lr=0.01, wd=0.1 - val/loss`" in said
    assert exit_code([*arguments[:2], "--map", "loss=`lr=0.01, wd=0.1 - val/loss`"]) == 0
    assert re.search(r"\b3\.2\b", capsys.readouterr().out)


def test_ragged_rows_never_shift(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(CASES / "ragged_rows")
    decimal_comma, trailing_comma = commands("ragged_rows")
    assert "row 2 has 4 cells where the header has 3" in refusal(decimal_comma, capsys)
    assert exit_code(trailing_comma) == 0
    first = capsys.readouterr().out.splitlines()[-3]
    assert {"18257419.0", "9.128709e+09", "3.738333"} <= set(first.split())


@pytest.mark.parametrize("command", ["runs", "fit", "isoflop", "rerun", "probe"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bad_gz.csv.gz", "not a gzip file"),
        ("trunc_gz.csv.gz", "damaged, or cut short: not readable as gzip"),
        ("bad.csv.zip", "damaged, or cut short: not readable as zip"),
        ("bad.csv.bz2", "damaged, or cut short: not readable as bzip2"),
        ("bad.csv.xz", "damaged, or cut short: not readable as xz"),
        ("dup.parquet", "columns 1 and 12 are both called 'loss'"),
    ],
)
def test_a_hostile_file_is_refused_by_every_command(
    command: str, name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    law = ["--law", "hoffmann2022"] if command == "fit" else []
    said = refusal([command, str(CASES / "hostile" / name), *law], capsys)
    assert name in said
    assert message in said


@pytest.mark.parametrize("name", ["list.parquet", "struct.parquet"])
def test_a_column_of_lists_is_refused_only_where_it_is_needed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(CASES / "hostile" / name)
    assert exit_code(["runs", path]) == 0
    assert "332 runs, 332 finished" in capsys.readouterr().out
    said = refusal(["runs", path, "--map", "tokens=l"], capsys)
    assert "row 1, column 'tokens': found" in said
    assert "expected a finite number > 0" in said


@pytest.mark.parametrize("name", ["ansi.csv", "ansi_header.csv", "onecol.csv"])
def test_a_terminal_never_sees_an_escape_of_the_file(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(CASES / "hostile" / name)
    assert exit_code(["runs", path]) == 0
    for arguments in (
        ["fit", path, "--law", "hoffmann2022"],
        ["runs", path, "--map", "tokens=corpus"],
        ["rerun", path],
    ):
        assert exit_code(arguments) == 2
    captured = capsys.readouterr()
    assert all(line.isprintable() for line in (captured.out + captured.err).splitlines())
    if name != "onecol.csv":
        assert "\\x1b" in captured.out


def test_nor_does_it_where_a_column_is_known_by_its_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "runs.csv"
    table.write_text("Val \u202eloss,params,tokens \x1b[31m (B)\n3,1e8,1\n2.9,2e8,2\n", encoding="utf-8")
    assert exit_code(["runs", str(table)]) == 0
    said = capsys.readouterr().out
    assert "loss = Val \\u202eloss" in said
    assert all(line.isprintable() for line in said.splitlines())


def test_two_hundred_more_columns_give_no_warning(capsys: pytest.CaptureFixture[str]) -> None:
    # Warnings are errors in these tests.
    assert exit_code(["runs", str(CASES / "hostile" / "wandb.csv")]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "and 192 more" in captured.out


def test_options_may_name_a_column_as_the_file_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES / "names_not_python")
    line = ["fit", "runs.csv", "--map", "loss=val/loss,total_params=Model Size * 1,tokens=tokens"]
    for size, where in (("Model Size", "`Model Size` > 1e6"), ("total_params", "total_params > 1e6")):
        formula = ["--formula", "E + A/N^alpha + B/D^beta", "--variables", f"N={size},D=tokens"]
        options = ["--where", where, "--weights", size, "--holdout", "val/loss < 2.5", "--objective", "lsq-log"]
        record = fitted([*line, *formula, *options], tmp_path / f"{size}.json")
        assert record["columns"]["N"] == "total_params"
        assert record["params"]["alpha"] == pytest.approx(0.34, rel=1e-3)
