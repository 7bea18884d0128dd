"""The run table: what is read, what is refused and in which words, and that nothing is lost or doubled."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pandas as pd
import pytest

from moelaws.runs import (
    COLUMNS,
    ConditionError,
    RunTable,
    RunTableError,
    TableInUseError,
    derive,
    finished,
    read_runs,
    select,
)
from moelaws.runs.reading.where import rows_where


def _csv(folder: Path, text: str) -> Path:
    path = folder / "runs.csv"
    path.write_text(textwrap.dedent(text).lstrip())
    return path


GOOD = """
    loss,tokens,n_experts,top_k,router,note
    3.5,1000,8,1,Hash,
    3.4,2000,8,2,Top,0.5
"""


def test_numbers_become_numbers_and_other_columns_stay(tmp_path: Path) -> None:
    runs = read_runs(_csv(tmp_path, GOOD))
    assert runs["loss"].tolist() == [3.5, 3.4]
    assert runs["n_experts"].dtype == "int64"
    assert runs["router"].tolist() == ["Hash", "Top"]
    assert runs["note"].tolist()[1] == 0.5
    assert runs.index.tolist() == [2, 3]  # rows as an editor numbers them


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss,tokens\n3.5,10\nabc,20\n", "runs.csv: row 3, column 'loss': found 'abc', expected a finite number > 0"),
        ("loss,tokens\n3.5,10\n,20\n", "row 3, column 'loss': found nothing, expected"),
        ("loss,tokens\nnan,10\n", "row 2, column 'loss': found 'nan', expected"),
        ("loss,tokens\ninf,10\n", "row 2, column 'loss': found 'inf', expected a finite number > 0"),
        ("loss,tokens\n3,10\n-3,20\n", "row 3, column 'loss': found '-3', expected a finite number > 0"),
        ("loss,tokens\n3,0\n", "row 2, column 'tokens': found '0', expected a finite number > 0"),
        ("loss,n_experts\n3,2.5\n", "row 2, column 'n_experts': found '2.5', expected a whole number >= 1"),
        ("loss,tokens\n3,10\n4,10\n3,10\n", "row 4 repeats row 2 in every column"),
        ("loss,tokens\n\n3,10\n4,-1\n", "row 4, column 'tokens'"),
        ("run_id,loss\na,3\na,4\n", "row 3, column 'run_id': 'a' occurs twice"),
        ("tokens\n3\n", "no column 'loss'; the file has 'tokens'"),
        ("loss,tokens\n", "the table has a header but no rows"),
        ("", "the file is empty"),
        ("loss,tokens\n3,10\n3,10,7\n", "not a CSV table"),
    ],
)
def test_a_bad_table_is_refused_with_row_and_column(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(text)
    with pytest.raises(RunTableError) as refusal:
        read_runs(path)
    assert message in str(refusal.value)


def test_a_file_that_is_no_text_is_refused_with_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes(b"loss,tokens\n3,\xff\n")
    with pytest.raises(RunTableError, match="not UTF-8 text at byte"):
        read_runs(path)
    with pytest.raises(RunTableError, match="no such file"):
        read_runs(tmp_path / "absent.csv")
    not_parquet = tmp_path / "runs.parquet"
    not_parquet.write_text("loss")
    with pytest.raises(RunTableError, match="not a Parquet table"):
        read_runs(not_parquet)


def test_seed_replicates_are_not_duplicates(tmp_path: Path) -> None:
    runs = read_runs(_csv(tmp_path, "loss,tokens,seed\n3,10,0\n3,10,1\n"))
    assert len(runs) == 2


def test_a_diverged_run_is_a_row_without_a_loss(tmp_path: Path) -> None:
    runs = read_runs(_csv(tmp_path, "status,reason,loss\nfinished,,3\ndiverged,step 7: training loss is nan,\n"))
    assert len(runs) == 2
    assert finished(runs)["loss"].tolist() == [3.0]
    with pytest.raises(RunTableError, match="row 3, column 'loss'"):
        read_runs(_csv(tmp_path, "status,loss\nfinished,3\nfinished,\n"))


def test_columns_of_other_names_are_renamed(tmp_path: Path) -> None:
    path = _csv(tmp_path, "val_loss,loss\n3.5,9\n")
    assert read_runs(path, rename={"loss": "val_loss"})["loss"].tolist() == [3.5]
    with pytest.raises(RunTableError, match="no column 'valid' to use as 'loss'; the file has 'val_loss', 'loss'"):
        read_runs(path, rename={"loss": "valid"})


def test_parquet_reads_as_csv_does(tmp_path: Path) -> None:
    table = pd.DataFrame({"loss": [3.5, 3.25], "n_experts": [8, 16], "router": ["Hash", "Top"]})
    table.to_parquet(tmp_path / "runs.parquet")
    runs = read_runs(tmp_path / "runs.parquet")
    assert runs["loss"].tolist() == [3.5, 3.25]
    assert runs.index.tolist() == [1, 2]


def test_missing_columns_are_derived_and_named() -> None:
    runs, derived = derive(
        pd.DataFrame({"n_experts": [8.0], "top_k": [2.0], "train_flops": [6e9], "active_params": [10.0]})
    )
    assert runs["sparsity"].tolist() == [0.75]
    assert runs["tokens"].tolist() == [1e8]
    assert derived == {"sparsity": "(E - K) / E", "tokens": "C / (6 N_a)"}


def test_conditions_choose_rows() -> None:
    runs = pd.DataFrame({"sparsity": [0.0, 0.5, 0.98], "router": ["Hash", "Top", "Hash"]})
    assert rows_where(runs, "sparsity > 0.4 and router == 'Hash'").tolist() == [False, False, True]
    assert rows_where(runs, "not (router == 'Hash') or sparsity * 2 >= 1.9").tolist() == [False, True, True]
    assert rows_where(runs, "0.1 < sparsity <= 0.5").tolist() == [False, True, False]
    assert rows_where(runs, "router in ['Top', 'None']").tolist() == [False, True, False]
    assert rows_where(runs, "sparsity > -1").all()


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("sparsity >", "not readable"),
        ("density > 1", "the table has no column 'density'"),
        ("__import__('os').system('true')", "is not allowed in a condition"),
        ("sparsity.max() > 1", "is not allowed in a condition"),
        ("sparsity", "gives no yes or no for a row"),
        ("router > 1", "compares text with a number"),
        ("(lambda: 1)()", "is not allowed in a condition"),
    ],
)
def test_a_condition_is_parsed_never_run(condition: str, message: str) -> None:
    runs = pd.DataFrame({"sparsity": [0.0, 0.5], "router": ["Hash", "Top"]})
    with pytest.raises(ConditionError) as refusal:
        rows_where(runs, condition)
    assert message in str(refusal.value)


def test_a_selection_keeps_its_reasons() -> None:
    runs = pd.DataFrame(
        {"sparsity": [0.0, 0.5, 0.98, 0.99], "status": ["finished", "diverged", "finished", "finished"]}
    )
    chosen = select(runs, {"diverged": "status == 'finished'", "held out": "sparsity < 0.97"})
    assert chosen.runs.index.tolist() == [0]
    assert chosen.summary()["runs"].tolist() == [1, 2, 1]


def test_appended_rows_come_back(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    row = {"run_id": "a", "loss": 0.1 + 0.2, "reason": 'with, comma and "quote"', "status": "diverged", "seed": 0}
    with RunTable(path) as table:
        table.append(row)
        with pytest.raises(RunTableError, match="'a' has a row already"):
            table.append(row)
        with pytest.raises(RunTableError, match="no column 'lose'"):
            table.append({"run_id": "b", "lose": 1})
    with RunTable(path) as table:
        assert table.done == {"a"}
    runs = read_runs(path)
    assert list(runs.columns) == list(COLUMNS)
    assert runs["loss"].tolist() == [0.1 + 0.2]  # every digit
    assert runs["reason"].tolist() == ['with, comma and "quote"']


def test_a_torn_last_line_is_cut_off_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    with RunTable(path) as table:
        table.append({"run_id": "a", "loss": 3.0})
    whole = path.read_bytes()
    path.write_bytes(whole + b"b,sweep,fini")
    with pytest.warns(UserWarning, match=r"runs\.csv: line 3 was cut short"), RunTable(path) as table:
        assert table.done == {"a"}
    assert path.read_bytes() == whole


def test_a_torn_header_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("run_id,swe")
    with pytest.warns(UserWarning, match="line 1 was cut short"), RunTable(path) as table:
        table.append({"run_id": "a", "status": "diverged", "loss": 3.0})
    assert read_runs(path)["loss"].tolist() == [3.0]


def test_another_header_is_refused(tmp_path: Path) -> None:
    path = _csv(tmp_path, "run_id,loss\na,3\n")
    with pytest.raises(RunTableError, match=r"its header differs from this version's in .*write to a new file"):
        RunTable(path)
    assert path.read_text() == "run_id,loss\na,3\n"


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs.csv"
    with RunTable(path) as table:
        table.append({"run_id": "a", "loss": 3.0})
        whole = path.read_bytes()

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            table.append({"run_id": "b", "loss": 3.0})
        monkeypatch.undo()
        assert path.read_bytes() == whole
        assert table.done == {"a"}
        table.append({"run_id": "b", "loss": 3.0})
        assert table.done == {"a", "b"}


def test_one_writer_at_a_time_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    code = f"""
        import time
        from moelaws.runs import RunTable
        table = RunTable({str(path)!r})
        print("open", flush=True)
        time.sleep(60)
    """
    writer = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        with pytest.raises(TableInUseError, match=r"runs\.csv: another process is writing to this table"):
            RunTable(path)
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    for _ in range(50):
        try:
            with RunTable(path) as table:
                assert table.done == frozenset()
            break
        except TableInUseError:
            time.sleep(0.1)
    else:
        pytest.fail("the lock outlived its process")


def test_every_column_says_what_it_is() -> None:
    for name, column in COLUMNS.items():
        assert column.name == name
        assert len(column.meaning) > 3
        assert column.kind == "text" or column.minimum is not None


def test_only_optional_results_may_be_missing_in_a_finished_run(tmp_path: Path) -> None:
    runs = read_runs(_csv(tmp_path, "loss,loss_se,budget\n3,,\n4,0.1,1e9\n"))
    assert runs["loss_se"].isna().tolist() == [True, False]
