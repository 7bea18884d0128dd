"""Where errors end: one sentence, an exit code, and never a traceback unless it is asked for."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from command_line import exit_code
from moelaws.cli import main, plan
from moelaws.cli.values import number, path, whole, wholes

FAILURES = {
    "full disk": (lambda: _raise(OSError(28, "No space left on device", "/a/b.csv")), 1, "/a/b.csv: No space left"),
    "no such file": (lambda: Path("absent.txt").read_text(), 2, "absent.txt: No such file or directory"),
    "a folder": (lambda: Path("/").read_text(), 2, "/: Is a directory"),
    "a name too long": (lambda: Path("n" * 300).read_text(), 2, "File name too long"),
    "no memory": (lambda: _raise(MemoryError()), 1, "the memory of this machine does not suffice"),
    "torch has no memory": (
        lambda: _raise(RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes.")),
        1,
        "the memory of this machine does not suffice",
    ),
    "endless": (lambda: _endless(0), 2, "nested too deeply"),
    "a fault of ours": (lambda: {}["key"], 70, "internal error: KeyError: 'key' ("),
    "numpy's own ValueError": (lambda: np.linalg.inv(np.zeros((2, 2))), 70, "internal error: LinAlgError: Singular"),
}


def _raise(error: Exception) -> None:
    raise error


def _endless(depth: int) -> int:
    return _endless(depth + 1) + 1


@pytest.mark.parametrize(("fail", "code", "message"), FAILURES.values(), ids=FAILURES.keys())
def test_whatever_fails_is_one_sentence_and_an_exit_code(
    fail: Callable[[], object], code: int, message: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(plan, "run", lambda options: fail())
    assert main(["plan", "--train-flops", "1e21"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert len(captured.err) <= 400


def test_a_fault_of_ours_shows_where_it_came_from_on_demand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plan, "run", lambda options: {}["key"])
    monkeypatch.setenv("MOELAWS_DEBUG", "1")
    assert main(["plan", "--train-flops", "1e21"]) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "--train-flops", "nan"], "expected a number > 1 and at most 1e+40, found 'nan'"),
        (["plan", "--train-flops", "1e21", "--dollars-per-hour", "0"], "expected a number > 0"),
        (["plan", "--train-flops", "1e21", "--gpus", "999999999999"], "expected a whole number from 1 to 1024"),
        (["plan", "--train-flops", "1e21", "--json", ""], "expected the name of a file or folder, found nothing"),
        (["plan", "--train-flops", "1e21", "--experts", ",".join(["2"] * 100)], "expected at most 64 numbers"),
        (["fit", "x.csv", "--delta", "x"], "argument --delta: expected a number > 0 and at most 1e+06, found 'x'"),
        (["fit", "x.csv", "--starts", "999999999999"], "expected a whole number from 1 to 100000"),
        (["fit", "x.csv", "--bootstrap", "1"], "expected 0, or at least 2 refits"),
        (["isoflop", "x.csv", "--seed", "-1"], "expected a whole number from 0 to 4294967295, found '-1'"),
        (["isoflop", "x.csv", "--degree", "²,1,1"], "expected three whole numbers from 0 to 4"),
        (["measure", "tiny:", "--batch", "0"], "expected a whole number from 1 to 65536, found '0'"),
        (["runs", "x.csv", "--rows", "-1"], "expected a whole number from 1 to 1000000, found '-1'"),
        (["fit", "x.csv", "--starts=--"], "argument '--starts': expected a value, found '--'"),
        (["runs", "a\0b"], "no file can have the name 'a\\x00b'"),
        (["runs", "x.csv", "--no-such-option"], "unrecognized arguments: --no-such-option; see moelaws --help"),
        (["fit", "x.csv", "--starts", "\x1b[31m" + "9" * 87_000], "found '\\x1b[31m999"),
        (["\x1b[31m" + "x" * 87_000], "invalid choice: '\\x1b[31mxxx"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_an_option_that_is_wrong_is_one_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert len(captured.err) <= 400
    assert captured.err[:-1].isprintable()


def test_options_are_read() -> None:
    assert whole(0, 3)("3") == 3
    assert number(0, 1)("1") == 1.0
    assert number(0, 1, low_allowed=True)("0") == 0.0
    assert wholes(1, 8)("1,8") == (1, 8)
    assert path("a/b") == Path("a/b")
    for text in ("nan", "inf", "-inf", "1e999", "", "0"):
        with pytest.raises(argparse.ArgumentTypeError):
            number(0, 1e6)(text)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's device that is always full")
def test_an_output_that_is_full_is_one_sentence() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "moelaws.cli", "runs", "--columns"], stdout=full, stderr=subprocess.PIPE, text=True,
            env=os.environ, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "moelaws: error: No space left on device\n"
