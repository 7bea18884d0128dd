"""Sweeps, texts and tables that cannot be trained on: refused in a sentence before a worker starts."""

import os
from pathlib import Path

import pandas as pd
import pytest

from command_line import exit_code
from moelaws.config import ConfigError
from moelaws.training.record import run_of
from small_sweep import tiny_sweep

MODULES = {
    "divides": ("1 / 0\n", "'divides' cannot be imported: ZeroDivisionError: division by zero (divides.py, line 1)"),
    "unreadable": ("def f(:\n", "'unreadable' cannot be imported: SyntaxError: invalid syntax (unreadable.py, line 1)"),
    "leaves": ("import sys; sys.exit(3)\n", "'leaves' cannot be imported: SystemExit: 3 (leaves.py, line 1)"),
    "lacks": ("import no_such_package\n", "no module 'no_such_package'"),
    "long": ("raise RuntimeError('x' * 87_000)\n", "'long' cannot be imported: RuntimeError: xxx"),
    "coloured": ("raise RuntimeError('\\x1b[31m')\n", "RuntimeError: \\x1b[31m"),
    "empty": ("import os\n", "empty has no function of its own"),
    "fails": ("def f():\n    return [][0]\n", "fails: IndexError: list index out of range (fails.py, line 2)"),
    "wants": ("def f(x):\n    return []\n", "fails: TypeError: f() missing 1 required positional argument"),
    "nothing": ("def f():\n    pass\n", "the function fails: TypeError: 'NoneType' object is not iterable"),
    "ints": ("def f():\n    return [1]\n", "found 1 (int) among its runs, expected SweepRun"),
    "endless": ("import itertools\ndef f():\n    return itertools.count()\n", "more than 1000000 runs"),
    "hollow": (
        "from moelaws.sweeping.sweep import SweepRun\ndef f():\n    return [SweepRun(None, 's')]\n",
        "run of a run is None (NoneType), expected a RunConfig",
    ),
    "poor": (
        "from moelaws.config import RunConfig\nfrom moelaws.sweeping.sweep import SweepRun\n"
        "def f():\n    return [SweepRun(RunConfig(), 's', budget='x')]\n",
        "budget = 'x': expected None or a number > 0",
    ),
    "odd": (
        "from moelaws.config import ModelConfig\ndef f():\n    return [ModelConfig(d_model=63)]\n",
        "n_heads = 4: expected a divisor of d_model = 63",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "text", "message"), [(name, *rest) for name, rest in MODULES.items()])
def test_a_sweep_that_is_none_is_one_sentence(
    name: str, text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert exit_code(["sweep", f"{name}:f", "--out", "out.csv"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert len(captured.err) <= 400
    assert captured.err[:-1].isprintable()
    assert not Path("out.csv").exists()


@pytest.mark.parametrize("name", ["", ":", "a:", ":b", "..:f", ".a:f", "a b:f", "os:_exit", "x" * 87_000, "\x1b[31m:f"])
def test_a_name_that_is_no_sweep(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["sweep", name]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("moelaws: error: sweep '")
    assert captured.err.count("\n") == 1
    assert len(captured.err) <= 400


def _corpora(folder: Path) -> dict[str, str]:
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    (folder / "binary.txt").write_bytes(b"\x80\x81")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "blank.txt").write_bytes(b" \n" * 100)
    (folder / "short.txt").write_bytes(b"one word")
    (folder / "letter.txt").write_bytes(b"a")
    with open(folder / "giant.txt", "wb") as file:
        file.truncate(10**13)
    return {
        "": "corpus: no name",
        "pipe": "pipe: a pipe or device; expected a text file or a folder",
        "/dev/zero": "/dev/zero: a pipe or device",
        "folder": "the folder has no .txt or .md file",
        "binary.txt": "not UTF-8 text: byte 0 is 0x80",
        "empty.txt": "the file is empty",
        "blank.txt": "the file is empty",
        "short.txt": "too few for one batch",
        "letter.txt": "too few for one batch",
        "giant.txt": "giant.txt: its text needs",
        "absent": "absent: no such file or folder",
        "n" * 300: "File name too long",
        "zipf-markov:V=0": "expected",
        "zipf-markov:V=" + "9" * 5000: "expected a whole number",
        "zipf-markov:order2=nan": "expected",
    }


def test_a_text_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MOELAWS_CACHE", str(tmp_path / "cache"))
    corpora = _corpora(tmp_path)
    functions = [f"def f{i}():\n    return one({corpus!r})\n" for i, corpus in enumerate(corpora)]
    Path("texts.py").write_text(
        "from moelaws.config import ModelConfig, RunConfig, TrainConfig\n"
        "from moelaws.sweeping.sweep import SweepRun\n"
        "def one(corpus):\n    return [SweepRun(RunConfig(ModelConfig(), TrainConfig(), corpus=corpus), 's')]\n"
        + "".join(functions)
    )
    for i, (corpus, message) in enumerate(corpora.items()):
        assert exit_code(["sweep", f"texts:f{i}", "--out", "out.csv"]) == 2, corpus
        captured = capsys.readouterr()
        assert message in captured.err, corpus
        assert captured.err.count("\n") == 1
        assert len(captured.err) <= 400
    assert not Path("out.csv").exists()


@pytest.mark.parametrize("command", [["rerun"], ["probe"], ["probe", "--dry-run"]])
def test_a_readers_table_cannot_be_trained_again(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("loss,tokens,n_experts,top_k\n3.5,1000,8,1\n")
    assert exit_code([command[0], str(table), *command[1:]]) == 2
    said = capsys.readouterr().err
    assert "mine.csv: no column 'vocab_size', 'd_model', 'n_layers', 'n_heads', 'd_ff', 'granularity', " in said
    assert " more; only a table that moelaws sweep wrote says enough" in said
    assert len(said) <= 400


def _row() -> dict[str, object]:
    run = tiny_sweep()[0].run
    return {**run.model.to_dict(), **run.train.to_dict(), "corpus": "sotu", "corpus_sha256": ""}


@pytest.mark.parametrize("word", ["TRUE", "true", "True", "1", "1.0", 1.0])
def test_spreadsheets_write_truth_their_own_way(word: object) -> None:
    assert run_of(_row() | {"qk_norm": word}).model.qk_norm is True
    assert run_of(_row() | {"tied_embeddings": "FALSE"}).model.tied_embeddings is False


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"qk_norm": "maybe"}, "qk_norm = 'maybe': expected true or false"),
        ({"d_model": float("nan")}, "d_model = nan: expected a whole number"),
        ({"d_model": "x"}, "d_model = 'x': expected a whole number"),
        ({"d_model": 16.5}, "d_model = 16.5: expected a whole number"),
        ({"d_model": 1e300}, "d_model = 10000"),
        ({"tokens": "inf"}, "tokens = 'inf': expected a whole number"),
        ({"learning_rate": ""}, "learning_rate = '': expected a number"),
    ],
)
def test_a_row_with_another_kind_of_cell_is_refused(cells: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        run_of(_row() | cells)


def test_rerun_looks_at_device_and_folder_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "ours.csv"
    row = _row() | {"run_id": "a", "status": "finished", "loss": 3.0, "train_flops": 1e9}
    pd.DataFrame([row]).to_csv(table, index=False)
    for arguments, message in (
        (["--device", "tpu"], "device 'tpu': expected auto, cpu"),
        (["--device", "cuda:99"], "PyTorch sees"),
        (["--save", str(table)], "a file; expected a folder"),
    ):
        assert exit_code(["rerun", str(table), *arguments]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "tpu"], "device 'tpu': expected auto, cpu"),
        (["--scheduler", "tcp://127.0.0.1:1"], "no Dask scheduler answers at tcp://127.0.0.1:1"),
        (["--scheduler", "pipe.json"], "pipe.json: is a pipe or device; expected a JSON file"),
        (["--scheduler", "list.json"], "list.json: expected a JSON object, found a list"),
        (["--scheduler", "address.json"], "address.json: 'address': expected text, found 3"),
    ],
)
def test_a_sweep_that_is_refused_leaves_no_table(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("moelaws.sweeping.cluster._CONNECT_SECONDS", 0.5)
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.json")
    Path("list.json").write_text("[]")
    Path("address.json").write_text('{"address": 3}')
    assert exit_code(["sweep", "small_sweep:tiny_sweep", "--out", "out.csv", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not Path("out.csv").exists()
