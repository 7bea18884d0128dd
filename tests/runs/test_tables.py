"""Tables that people have: how they write cells, names, outcomes and numbers, and what of it is refused."""

import bz2
import gzip
import io
import lzma
import os
import resource
import stat
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from command_line import exit_code
from moelaws.runs import RunTableError, RunTableWarning, finished, load_runs, read_runs
from moelaws.runs.reading.records import read_records
from moelaws.runs.reading.rename import parse_map
from repository import ROOT

TWO = {"loss": [3.5, 3.25], "tokens": [1000.0, 2000.0]}


def put(folder: Path, content: str | bytes, name: str = "runs.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            # The same bytes at any second: they are part of the tests' names, which two processes must agree on.
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def gzipped(data: bytes) -> bytes:
    """Without the time: it would stand in a test's name, which two test processes must agree on."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("runs.csv", "loss,tokens\n3.5,1000\n3.25,2000\n"),
        ("runs.csv", "loss,tokens\r\n3.5,1000\r\n3.25,2000\r\n"),
        ("runs.csv", "loss,tokens\r3.5,1000\r3.25,2000\r"),
        ("runs.csv", "loss , tokens\n 3.5 , 1000\n3.25, 2000"),
        ("runs.csv", '"loss","tokens"\n"3.5","1000"\n"3.25","2000"\n'),
        ("runs.csv", "loss;tokens\n3.5;1000\n3.25;2000\n"),
        ("runs.csv", "loss;tokens\n3,5;1000\n3,25;2000\n"),
        ("runs.csv", "loss;tokens\n3,5;1.000\n3,25;2.000\n"),
        ("runs.csv", 'loss,tokens\n"3,5",1000\n"3,25",2000\n'),
        ("runs.csv", 'loss,tokens\n3.5,1000\n3.25,"2000"\n'),
        ("runs.tsv", "loss\ttokens\n3.5\t1000\n3.25\t2000\n"),
        ("runs.txt", "loss|tokens\n3.5|1000\n3.25|2000\n"),
        ("runs.csv", "sep=;\nloss;tokens\n3,5;1000\n3,25;2000\n"),
        ("runs.csv", "# by me\n\n#on Monday\nloss,tokens\n3.5,1000\n3.25,2000\n"),
        ("runs.csv", "# by me\nloss;tokens\n3,5;1000\n3,25;2000\n"),
        ("runs.csv", "\ufeffloss,tokens\n3.5,1000\n3.25,2000\n"),
        ("runs.csv", "loss,tokens\n3.5,1000\n3.25,2000\n".encode("utf-16")),
        ("runs.csv", "loss\ttokens\n3.5\t1000\n3.25\t2000\n".encode("utf-16-le")),
        ("runs.csv", "\n\nloss,tokens,\n3.5,1000,\n\n3.25,2000,,\n,\n"),
        ("runs.jsonl", '{"loss": 3.5, "tokens": 1000}\n\n{"tokens": 2000, "loss": 3.25}\n'),
        ("runs.json", '[{"loss": 3.5, "tokens": 1000},\n {"loss": 3.25, "tokens": 2e3}]'),
        ("runs.json", '{"loss": [3.5, 3.25], "tokens": [1000, 2000]}'),
        (
            "runs.json",
            '{"made": "on a Monday", "runs": [{"loss": 3.5, "tokens": 1000}, {"loss": 3.25, "tokens": 2000}]}',
        ),
        ("runs.json", '{"columns": ["loss", "tokens"], "index": [0, 1], "data": [[3.5, 1000], [3.25, 2000]]}'),
        ("runs.json", '{"a": {"loss": 3.5, "tokens": 1e3, "e": 1}, "b": {"loss": 3.25, "tokens": 2e3, "e": 1}}'),
        ("runs.json", '{"loss": {"a": 3.5, "b": 3.25}, "tokens": {"a": 1000, "b": 2000}}'),
        ("runs.csv.gz", gzipped(b"loss,tokens\n3.5,1000\n") + gzipped(b"3.25,2000\n")),
        ("runs.csv.bz2", bz2.compress(b"loss,tokens\n3.5,1000\n3.25,2000\n")),
        ("runs.csv.xz", lzma.compress(b"loss,tokens\n3.5,1000\n3.25,2000\n")),
        ("runs.csv.zip", zipped(**{"runs.csv": b"loss,tokens\n3.5,1000\n3.25,2000\n", "__MACOSX/._runs": b"x"})),
    ],
)
def test_a_table_is_read_as_it_was_meant(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert load_runs(put(tmp_path, content, name)).runs[["loss", "tokens"]].to_dict("list") == TWO


@pytest.mark.parametrize(
    "content",
    [
        '{"config": {"n": 1e8, "tokens": 1e9}, "summary": {"loss": 3.5, "epoch": 1}}',
        '{"loss": 3.5, "tokens": 1e9, "history": [{"step": 1, "loss": 9.0}, {"step": 2, "loss": 8.0}]}',
        '{"config": {"n": 1e8}, "summary": {"loss": 3.5}, "history": [{"step": 1, "loss": 9}]}',
        '{"train": {"loss": 3.4, "epoch": 1}, "test": {"loss": 3.5, "epoch": 1, "steps": 7}}',
    ],
)
def test_one_nested_record_is_one_run(content: str) -> None:
    assert len(read_records(content, "runs.json")) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("runs.csv", "loss,tokens\n3,10,7\n", "row 2 has 3 cells where the header has 2"),
        ("runs.csv", "loss,tokens,n\n3,10\n", "row 2 has 2 cells where the header has 3"),
        ("runs.csv", "loss,tokens\n3,1000\n\n4\n", "row 4 has 1 cell where the header has 2"),
        ("runs.csv", "loss;tokens\n3;1000;5\n", "row 2 has 3 cells where the header has 2"),
        ("runs.csv", " loss,tokens,loss \n3,10,4\n", "columns 1 and 3 are both called 'loss'"),
        ("runs.csv", 'loss,note\n3,"open\n4,x\n', "a quote is not closed"),
        (
            "runs.csv",
            "loss;tokens\n3,738;1000\n3,512;2000\n",
            "found '3,738', expected a finite number > 0; is it 3.738",
        ),
        ("runs.csv", 'loss,tokens\n3,"10,000"\n', "row 2, column 'tokens': found '10,000'"),
        ("runs.csv", "loss tokens n\n3 1000 2\n", "another separator than"),
        ("runs.csv", "| loss | n |\n|---|--:|\n| 3 | 1 |\n", "a table in Markdown"),
        ("runs.csv", "<!DOCTYPE html><p>404", "a page of HTML"),
        ("runs.csv", b"loss\n\x00\n", "not text (a zero byte"),
        ("runs.csv", b"loss,n\xe4me\n3,1\n", "not UTF-8 text at byte 6"),
        ("runs.csv", b"\xd0\xcf\x11\xe0rest", "an old Excel workbook"),
        ("runs.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        ("runs.csv", zipped(**{"[Content_Types].xml": b"", "xl/a.xml": b""}), "an Excel workbook"),
        ("runs.zip", zipped(a=b"loss\n3\n", b=b"loss\n3\n"), "expected one table in the zip file, found 'a', 'b'"),
        ("runs.csv.gz", gzipped(gzipped(b"loss\n3\n")), "holds another gzip file"),
        ("runs.jsonl", '{"loss": 3}\n{"loss": }\n', "line 2: not JSON"),
        ("runs.json", "[1, 2]", "row 1: expected a JSON object"),
        ("runs.json", "17", "row 1: expected a JSON object, found '17'"),
        ("runs.jsonl", '"a"\n', "row 1: expected a JSON object"),
        ("runs.json", '{"loss": 3, "loss": 4}', "a record has the key 'loss' twice"),
        ("runs.json", "[" * 100_000, "nested too deeply"),
        ("runs.json", '{"a":' * 100_000, "nested too deeply"),
        (
            "runs.csv",
            "loss,sparsity\n3,0.5\n4,2\n",
            "row 3, column 'sparsity': found '2', expected a finite",
        ),
        ("runs.csv", "loss,sparsity\n3,1\n", "row 2, column 'sparsity': found '1'"),
        ("runs.csv", "loss,sparsity\n3,-0.5\n", "row 2, column 'sparsity': found '-0.5'"),
        (
            "runs.csv",
            "loss,n_experts,top_k\n3,8,2\n3,2,4\n",
            "row 3, column 'top_k': found 4, expected at most n",
        ),
        ("runs.csv", "loss,n_experts\n3,0\n", "row 2, column 'n_experts': found '0'"),
        ("runs.csv", "loss\n1_000\n", "row 2, column 'loss': found '1_000'"),
    ],
)
def test_what_is_no_table_or_says_two_things_is_refused(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(RunTableError) as refused:
        load_runs(put(tmp_path, content, name))
    assert message in str(refused.value)
    assert name in str(refused.value)
    assert len(str(refused.value)) < 380


def test_a_list_of_numbers_is_no_decimal_comma(tmp_path: Path) -> None:
    runs = read_runs(put(tmp_path, 'loss,layers\n3.5,"1,3"\n3.25,"2,4"\n'))
    assert runs["layers"].tolist() == ["1,3", "2,4"]
    with pytest.raises(RunTableError, match="row 2, column 'loss': found '3,5'"):
        read_runs(put(tmp_path, "loss;lr\n3,5;0.1\n3,25;0.2\n"))


def test_nothing_is_waited_for_and_nothing_is_read_without_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, "/dev/zero", "", "a\0b", "x" * 5000, tmp_path / "none.csv"):
        began = time.process_time()
        with pytest.raises(RunTableError) as refused:
            read_runs(path)
        assert time.process_time() - began < 1
        assert len(str(refused.value)) < 380
    for arguments in (["runs", ""], ["runs", str(pipe)], ["isoflop", str(tmp_path)]):
        assert exit_code(arguments) == 2


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zip"])
def test_a_bomb_is_refused_before_it_fills_the_memory(tmp_path: Path, suffix: str) -> None:
    path, chunk = tmp_path / f"bomb.csv.{suffix}", b"loss,tokens\n" + bytes(1 << 20)
    if suffix == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("runs.csv", "w") as file:
            file.writelines(chunk for _ in range(450))
    elif suffix == "gz":
        with gzip.open(path, "wb", compresslevel=6) as file:
            file.writelines(chunk for _ in range(450))
    else:
        # Made in no time: compressed files that follow each other are one.
        path.write_bytes({"bz2": bz2.compress, "xz": lzma.compress}[suffix](chunk * 9) * 50)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RunTableError, match=r"holds more than \d\d MB when decompressed"):
        read_runs(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10


@pytest.mark.parametrize("word", ["finished", "Finished", "done", "COMPLETED", "success", "Succeeded", " OK ", ""])
def test_words_for_finished_count(tmp_path: Path, word: str) -> None:
    runs = read_runs(put(tmp_path, f"loss,status,n\n3,{word},1\n4,crashed,2\n"))
    assert finished(runs)["loss"].tolist() == [3.0]
    assert runs["status"].tolist() == ["finished", "crashed"]


@pytest.mark.parametrize(
    "word", ["running", "CRASHED", "failed (oom)", "Killed", "diverged", "preempted", "CANCELLED by 1000", "TIMEOUT",
             "OUT_OF_MEMORY", "not started", "in progress", "error: nan"],
)  # fmt: skip
def test_rows_that_did_not_finish_may_hold_anything(tmp_path: Path, word: str) -> None:
    rows = "\n".join(f"{loss},{word},{n}" for n, loss in enumerate(["", "NaN", "Infinity", "-inf", "null", "x", "-3"]))
    runs = read_runs(put(tmp_path, f"loss,status,tokens\n{rows}\n3,done,1000\n"))
    assert finished(runs)["loss"].tolist() == [3.0]
    assert len(runs) == 8


def test_a_status_of_another_name_is_asked_for(tmp_path: Path) -> None:
    path = put(tmp_path, "loss,State,tokens\n3,finished,1e9\n,crashed,2e9\n")
    with pytest.raises(
        RunTableError, match=r"row 3, .*the column 'State' says which runs did not finish: status=State"
    ):
        read_runs(path)
    assert len(finished(read_runs(path, rename={"status": "State"}))) == 1
    path = put(tmp_path, "loss,State,tokens\n3,finished,1e9\n5,crashed,2e9\n")
    with pytest.warns(RunTableWarning, match="did not finish, as the column 'State' says, count like others"):
        read_runs(path)
    read_runs(put(tmp_path, "loss,State,tokens\n3,Ohio,1e9\n5,Texas,2e9\n"))


@pytest.mark.parametrize("word", ["stage 2", "1", "terminated", "finished with errors", "fertig"])
def test_words_that_say_too_little_are_named(tmp_path: Path, word: str) -> None:
    path = put(tmp_path, f"loss,status\n3,{word}\n4,done\n")
    with pytest.raises(RunTableError) as refused:
        read_runs(path)
    assert f"row 2, column 'status': found '{word}'" in str(refused.value)
    # The way out that the message names; a run without a loss needs none.
    assert len(load_runs(path, {"word": "status"}, f"status == '{word}'").runs) == 1
    assert len(finished(read_runs(put(tmp_path, f"loss,status\n,{word}\n4,done\n")))) == 1


def test_an_empty_cell_is_refused_only_where_a_law_would_miss_it(tmp_path: Path) -> None:
    runs = read_runs(put(tmp_path, "loss,seed,epochs,lr\n3,,nan,\n4,1,1.5,0.1\n"))
    assert runs["seed"].isna().tolist() == runs["epochs"].isna().tolist() == runs["lr"].isna().tolist() == [True, False]
    with pytest.raises(RunTableError, match="row 2, column 'tokens': found nothing"):
        read_runs(put(tmp_path, "loss,tokens\n3,\n4,1000\n"))


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("loss=val/loss", {"loss": "val/loss"}),
        (" loss = Val Loss , tokens= D ", {"loss": "Val Loss", "tokens": "D"}),
        ("loss=`a, b = c`,tokens=`D``s`", {"loss": "a, b = c", "tokens": "D`s"}),
        ("`my, x`=lr=0.1,tokens=`D` * 1e9", {"my, x": "lr=0.1", "tokens": "D * 1e9"}),
        ("", {}),
    ],
)
def test_names_of_all_kinds_reach_the_map(text: str, pairs: dict[str, str]) -> None:
    assert parse_map(text) == pairs


@pytest.mark.parametrize("text", ["loss", "loss=", "=a", "loss=a,", "loss=`a", "loss=`a` b", "a=b,,c=d", "x" * 9999])
def test_what_is_no_map_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected OURS=THEIRS") as refused:
        parse_map(text)
    assert len(str(refused.value)) < 380
    with pytest.raises(ValueError, match="'a' is given twice"):
        parse_map("a=b,a=c")


def test_one_column_may_have_two_names_and_a_factor(tmp_path: Path) -> None:
    path = put(tmp_path, "loss,N (M),old,total_params\n3,124,7,1\n4,350,8,2\n")
    runs = load_runs(path, {"total_params": "N (M) * 1e6", "active_params": "N (M)*1e6"}).runs
    assert runs.columns.tolist() == ["loss", "total_params", "active_params", "old"]
    assert runs["total_params"].tolist() == runs["active_params"].tolist() == [124e6, 350e6]
    with pytest.raises(RunTableError, match="no column 'M' to use as 'tokens'; the file has 'loss'"):
        load_runs(path, {"tokens": "M"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss,total_params,tokens\n3,124,3e11\n", "124 parameters are too few for a model"),
        ("loss,active_params\n3,0.124\n", "0.124 parameters are too few"),
        ("loss,total_params,tokens\n3,1.24e8,300\n", "300 tokens are too few"),
        ("loss,total_params,tokens\n3,7e9,15000\n", "15000 tokens are too few for 7e+09 parameters"),
        ("loss,total_params,tokens\n3,70000,3e11\n", "70000 parameters are too few for 3e+11 tokens"),
        ("loss,total_params,tokens,train_flops\n3,1e8,1e10,6\n", "6 FLOPs, but 6 N D is 6e+18"),
        ("loss,total_params,tokens,train_flops\n3,1e8,1e7,6e18\n", "6e+18 FLOPs, but 6 N D is 6e+15"),
    ],
)
def test_a_unit_that_cannot_be_is_asked_about(tmp_path: Path, text: str, message: str) -> None:
    path = put(tmp_path, text)
    with pytest.raises(RunTableError) as refused:
        load_runs(path)
    said = str(refused.value)
    assert "row 2, column" in said
    assert message in said
    # Both ways out that the message names.
    option = said.partition("--map '")[2].partition("'")[0]
    load_runs(path, parse_map(option.rpartition("*")[0] + "*1"))


def test_what_a_file_says_twice_is_compared_and_the_gap_is_said(tmp_path: Path) -> None:
    def notes(text: str) -> tuple[str, ...]:
        return load_runs(put(tmp_path, text)).notes

    header = "loss,total_params,active_params,n_experts,top_k,sparsity,tokens,train_flops\n"
    good = "3,8e8,1e8,8,1,0.875,1e10,6e18\n4,16e8,2e8,8,1,0.875,1e10,12.1e18\n"
    assert notes(header + good) == ()
    (flops,) = notes(header + good.replace("12.1e18", "15e18"))
    assert flops.startswith("train_flops is not 6 N_a D in 1 of 2 runs, row 3 first: it is 1.25 times that")
    (sparsity,) = notes(header + good.replace("1,0.875,1e10,6e18", "1,0.93,1e10,6e18"))
    assert sparsity.startswith("sparsity is not 1 - K / E in 1 of 2 runs, row 2 first: 1 minus sparsity is 0.56 times")
    (larger,) = notes(header + good.replace("8e8,1e8", "8e8,9e8").replace("6e18", "54e18"))
    assert larger.startswith("active_params is more than total_params in 1 of 2 runs, row 2 first: 9e+08 and 8e+08")
    (smaller,) = notes(header + good.replace("8e8,1e8", "20e8,1e8"))
    assert smaller.startswith("active_params is less than its share of total_params")
    # FLOPs that were counted otherwise, as the table says, are no gap; nor is a row that did not finish.
    assert notes(header.strip() + ",flops_convention\n" + "3,8e8,1e8,8,1,0.875,1e10,9e18,exact\n") == ()
    assert notes(header.strip() + ",status\n" + "3,8e8,1e8,8,1,0.875,1e10,9e18,crashed\n") == ()
    (guessed,) = notes("loss,total_params,tokens\n" + "20,1e8,1e10\n22,2e8,1e10\n3,3e8,1e10\n")
    assert guessed.startswith("loss is 20 in the median, where guessing among a million token ids gives 13.8 nats")


def test_a_gap_and_what_is_derived_are_said_in_python_too(tmp_path: Path) -> None:
    path = put(tmp_path, "loss,total_params,tokens,train_flops\n3,1e8,1e10,9e18\n")
    with pytest.warns(RunTableWarning) as said:
        runs = read_runs(path, required=("loss", "sparsity"))
    assert runs["sparsity"].tolist() == [0.0]
    texts = [str(each.message) for each in said]
    assert "train_flops is not 6 N D" in texts[0]
    assert texts[1] == "runs.csv: sparsity: not in the file, derived as 0, dense"
    with pytest.raises(RunTableError, match="no column 'd_model'"):
        read_runs(path, required=("loss", "d_model"))


def test_many_columns_and_many_rows_are_read_in_seconds(tmp_path: Path) -> None:
    numbers = (np.random.default_rng(0).random((30, 20_000)) + 1).astype(str)
    numbers[:, 7] = "text"
    names = ",".join(f"val/c{number}" for number in range(20_000))
    (tmp_path / "wide.csv").write_text(f"loss,{names}\n" + "".join(f"3.0,{','.join(row)}\n" for row in numbers))
    rows = [f"{','.join(row)},3.0,Hash" for row in numbers[:, 10:370].reshape(1200, 9)]
    lines = [",".join(f"c{number}" for number in range(10)) + ",loss,router"]
    lines += [f"{number},{row}" for number, row in enumerate(80 * rows)]
    (tmp_path / "long.csv").write_text("\n".join(lines))
    # Processor time, as other work may share the machine.
    for name, condition, most in (("wide.csv", "`val/c3` > 1.5", 5), ("long.csv", "router == 'Hash'", 3)):
        began = time.process_time()
        loaded = load_runs(tmp_path / name, where=condition)
        assert time.process_time() - began < most
        assert len(loaded.runs) > 10
    assert exit_code(["runs", str(tmp_path / "wide.csv")]) == 0


def test_losses_below_zero_are_for_a_law_of_ones_own_under_least_squares(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    d = np.geomspace(1e6, 1e9, 12)
    table = pd.DataFrame({"tokens": d, "loss": 20 / d**0.2 - 1})
    table.to_csv(tmp_path / "runs.csv", index=False)
    path, out = str(tmp_path / "runs.csv"), tmp_path / "fit.json"
    formula = ["--formula", "A/D^a - B", "--variables", "D=tokens"]
    assert exit_code(["fit", path, *formula, "--objective", "lsq", "--json", str(out)]) == 0
    assert '"B": 1.0' in out.read_text() or '"B": 0.99' in out.read_text()
    assert "nan" not in capsys.readouterr().out
    for arguments in ([*formula], ["--law", "hoffmann2022", "--objective", "lsq"]):
        assert exit_code(["fit", path, *arguments]) == 2
        said = capsys.readouterr().err
        assert "column 'loss': found " in said
        assert "expected a" in said
    assert exit_code(["fit", path, *formula]) == 2
    assert "as objective 'huber-log' takes logarithms" in capsys.readouterr().err


def test_the_table_that_was_read_is_written_and_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 4)))
    table = pd.DataFrame({"val/loss": 1.69 + 406.4 / n**0.34 + 410.7 / d**0.28, "N (M)": n / 1e6, "D": d})
    table["state"] = "COMPLETED"
    table.loc[len(table)] = [np.nan, 1.0, 1e9, "crashed"]
    table.to_csv(tmp_path / "theirs.csv", index=False)
    read = ["runs", str(tmp_path / "theirs.csv"), "--map", "loss=val/loss,total_params=N (M)*1e6,tokens=D,status=state"]
    for name in ("ours.csv", "ours.parquet"):
        out = tmp_path / name
        assert exit_code([*read, "--where", "D < 1e11", "--write", str(out)]) == 0
        assert exit_code([*read, "--write", str(out)]) == 0  # ours, so it may be replaced
        assert f"21 rows written to {out}" in capsys.readouterr().out
        runs = load_runs(out)
        assert {"loss", "total_params", "active_params", "tokens", "train_flops", "sparsity"} <= set(runs.runs.columns)
        assert runs.runs["total_params"].tolist()[:20] == pytest.approx(n.tolist(), rel=1e-12)
        assert len(finished(runs.runs)) == 20
        assert "train_flops: not in the file, derived as 6 N_a D" in runs.earlier
        assert exit_code(["fit", str(out), "--law", "hoffmann2022"]) == 0
        assert "20 runs" in capsys.readouterr().out
        assert exit_code(["runs", str(out), "--write", str(tmp_path / f"again-{name}")]) == 0
        assert load_runs(tmp_path / f"again-{name}").earlier == runs.earlier
        assert exit_code(["runs", str(out), "--where", "loss < 0", "--write", str(tmp_path / f"none-{name}")]) == 2
        assert not (tmp_path / f"none-{name}").exists()
        capsys.readouterr()


@pytest.mark.parametrize("chapter", ["question", "isoflop", "isoflop_optima"])
def test_a_chapter_takes_the_table_that_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chapter: str
) -> None:
    jupytext = pytest.importorskip("jupytext")
    ours = pd.read_csv(ROOT / "data" / "runs" / "isoflop.csv")
    theirs = ours.rename(columns={"loss": "val/loss", "n_experts": "E", "total_params": "N (K)"})
    theirs["N (K)"] /= 1e3
    theirs.drop(columns=["sparsity", "status"]).to_csv(tmp_path / "theirs.csv", index=False)
    names = "loss=val/loss,n_experts=E,total_params=N (K)*1e3"
    written = tmp_path / "mine.csv"
    assert exit_code(["runs", str(tmp_path / "theirs.csv"), "--map", names, "--write", str(written)]) == 0
    monkeypatch.chdir(ROOT / "chapters")
    monkeypatch.setattr("myst_nb.glue", lambda *_, **__: None)
    cells = [cell.source for cell in jupytext.read(f"{chapter}.md").cells if cell.cell_type == "code"]
    space: dict = {}
    for cell in cells:
        exec(cell, space)
        space["runs_file"] = str(written)  # as papermill would, after the cell of the parameters
        if "read_runs(runs_file" in cell:
            break
    runs = space["runs"] if chapter == "question" else space["chosen"].runs if chapter == "isoflop" else space["runs"]
    assert len(runs) == len(ours)
    assert runs["total_params"].tolist() == pytest.approx(ours["total_params"].tolist(), rel=1e-12)
    assert runs["sparsity"].tolist() == pytest.approx(ours["sparsity"].tolist(), abs=1e-12)


@pytest.mark.parametrize("name", ["precious.csv", "precious.json", "precious.txt", "theirs.csv"])
def test_what_is_not_ours_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    theirs = put(tmp_path, "loss,total_params\n3,1e8\n", "theirs.csv")
    out = tmp_path / name
    if not out.exists():
        out.write_text("a,b\n1,2")
    before = out.read_bytes()
    assert exit_code(["runs", str(theirs), "--write", str(out)]) == 2
    assert "--write" in capsys.readouterr().err
    assert out.read_bytes() == before
    mode = stat.S_IMODE(out.stat().st_mode)
    (tmp_path / "link.csv").symlink_to(out)
    assert exit_code(["runs", str(theirs), "--write", str(tmp_path / "link.csv")]) == 2
    assert (out.read_bytes(), stat.S_IMODE(out.stat().st_mode)) == (before, mode)
