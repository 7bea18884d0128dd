"""Files of fits that are none: each is refused in one sentence that names the file, before anything is made of it."""

import json
import os
from pathlib import Path

import pytest

from command_line import exit_code
from moelaws.serving.forecasters import read_fit
from repository import TESTS

CASES = TESTS / "cases" / "hostile"
GOOD = {
    "law": "x",
    "formula": "E + A/N^a",
    "params": {"E": 1.5, "A": 400.0, "a": 0.3},
    "columns": {"N": "total_params"},
}


def _file(folder: Path, content: object) -> Path:
    file = folder / "mine.json"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return file


WRONG = {
    "numbers for everything": ((CASES / "bad3.json").read_bytes(), "'law': expected text, found 1"),
    "a list for the law": ((CASES / "bad8.json").read_bytes(), "'law': expected text, found a list"),
    "empty": (b"", "not JSON"),
    "not UTF-8": (b'{"law": "\xff"}', "not JSON (not UTF-8 text at byte 9)"),
    "a list": ([], "expected a JSON object, found a list"),
    "NaN": (b'{"law": NaN}', "NaN is no number of JSON"),
    "Infinity": (b'{"law": -Infinity}', "-Infinity is no number of JSON"),
    "deep": (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    "digits": (b'{"law": ' + b"9" * 5000 + b"}", "not JSON"),
    "null law": (GOOD | {"law": None}, "'law': expected text, found null"),
    "formula of numbers": (GOOD | {"formula": 2}, "'formula': expected text, found 2"),
    "deep formula": (GOOD | {"formula": "(" * 900 + "N" + ")" * 900}, "nested too deeply"),
    "long formula": (GOOD | {"formula": "+".join(["A"] * 50_000)}, "99999 characters; expected at most 2000"),
    "params list": (GOOD | {"params": [1, 2]}, "params must map parameters to numbers"),
    "params null": (GOOD | {"params": None}, "params must map parameters to numbers"),
    "params of text": (GOOD | {"params": {"E": "1", "A": 1, "a": 1}}, "'params.E': expected a finite number"),
    "params true": (GOOD | {"params": {"E": True, "A": 1, "a": 1}}, "'params.E': expected a finite number, found true"),
    "params null value": (GOOD | {"params": {"E": None, "A": 1, "a": 1}}, "expected a finite number, found null"),
    "params giant": (
        GOOD | {"params": {"E": 10**400, "A": 1, "a": 1}},
        "'params.E': expected a finite number, found a whole number of more than 60 digits",
    ),
    "params endless": (b'{"law":"x","formula":"E/N","params":{"E":1e999},"columns":{"N":"tokens"}}', "found inf"),
    "params negative": (GOOD | {"params": {"E": -1, "A": 1, "a": 1}}, "params.E = -1: expected a number >= 0"),
    "params missing": (GOOD | {"params": {"E": 1, "A": 1}}, "do not agree on the parameter 'a'"),
    "columns list": (GOOD | {"columns": ["N"]}, "'columns': expected an object, found a list"),
    "columns of numbers": (GOOD | {"columns": {"N": 3}}, "'N': expected text, found 3"),
    "no columns": (GOOD | {"columns": {}}, "do not agree on the parameter 'N'"),
    "an unused letter": (GOOD | {"columns": {"N": "total_params", "Q": "tokens"}}, "'Q' does not occur in the formula"),
    "another variable": (
        GOOD | {"columns": {"N": "learning_rate"}},
        "a function of 'learning_rate', which a plan does not choose",
    ),
    "replicates text": (GOOD | {"replicates": {"E": "x"}}, "replicates must hold equally many values"),
    "replicates list": (GOOD | {"replicates": [1]}, "'replicates': expected an object, found a list"),
    "replicates uneven": (
        GOOD | {"replicates": {"E": [1], "A": [1, 2], "a": [1]}},
        "replicates must hold equally many values",
    ),
    "replicates null": (
        GOOD | {"replicates": {"E": [None], "A": [1], "a": [1]}},
        "'replicates.E': expected a finite number, found null",
    ),
    "ranges text": (GOOD | {"ranges": "wide"}, "'ranges': expected an object, found 'wide'"),
    "ranges number": (GOOD | {"ranges": {"train_flops": 3}}, "ranges must map columns to two numbers"),
    "ranges of three": (GOOD | {"ranges": {"train_flops": [1, 2, 3]}}, "ranges must map columns to two numbers"),
    "ranges turned": (GOOD | {"ranges": {"train_flops": [2, 1]}}, "ranges must map columns to two numbers"),
    "escapes": (GOOD | {"law": "\x1b[31m", "params": {"\x1b[31m": 1}}, "'\\x1b[31m'"),
    "long names": (GOOD | {"params": {"p" * 87_000: 1}}, "do not agree on the parameter"),
}


@pytest.mark.parametrize(("content", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_file_that_is_no_fit_is_one_sentence(
    content: object, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _file(tmp_path, content)
    assert exit_code(["plan", "--train-flops", "1e21", "--law-fit", str(file)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("moelaws: error: mine.json: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert len(captured.err) <= 400
    assert captured.err[:-1].isprintable()


def test_what_is_no_file_is_refused_unread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "giant.json", "wb") as file:
        file.truncate(100_000_000_000)
    for place, message in (
        (tmp_path, "is a folder; expected a JSON file"),
        (tmp_path / "pipe", "is a pipe or device"),
        (Path("/dev/zero"), "is a pipe or device"),
        (tmp_path / "giant.json", "100000 MB; expected a JSON file of at most 16 MB"),
        (tmp_path / "absent.json", "cannot be read (No such file or directory)"),
        (tmp_path / ("n" * 300), "cannot be read (File name too long)"),
    ):
        assert exit_code(["plan", "--train-flops", "1e21", "--law-fit", str(place)]) == 2
        assert message in capsys.readouterr().err


def test_nulls_stand_for_what_is_not_there(tmp_path: Path) -> None:
    found = read_fit(_file(tmp_path, GOOD | {"replicates": None, "ranges": None}))
    assert found.params == GOOD["params"]
    assert found.replicates == {}
