"""A run table while it is written to: deleted, changed, contended for, and its writers killed."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moelaws.runs import RunTable, RunTableError, TableInUseError, read_runs
from moelaws.runs.writing.append import TableChangedError, recorded_runs
from small_table import HEADER, alone, ids, row, table_of

# What happens to the file while it is written to


def test_a_table_that_was_deleted_is_made_again_with_all_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "runs.csv"
    table_of(path, "a")
    path.chmod(0o640)
    said: list[str] = []
    with RunTable(path, on_event=said.append) as table:
        table.append(row("b"))
        path.unlink()
        table.append(row("c"))
        path.rename(path.with_name("moved.csv"))
        table.append(row("d"))
        for file in path.parent.iterdir():
            file.unlink()
        path.parent.rmdir()
        table.append(row("e"))
    assert ids(path) == list("abcde")
    assert path.stat().st_mode & 0o777 == 0o640
    assert [sentence.partition(" while")[0] for sentence in said] == [
        "runs.csv was deleted or moved",
        "runs.csv was deleted or moved",
        "runs.csv: the table's lock was deleted",
        "runs.csv was deleted or moved",
    ]
    with RunTable(path) as table:
        assert table.done == set("abcde")


def test_a_table_that_was_cut_short_is_made_whole(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    older = table_of(path, "a")
    said: list[str] = []
    with RunTable(path, on_event=said.append) as table:
        table.append(row("b"))
        for content in (b"", HEADER, older, older + b"b,", path.read_bytes()[:-1]):
            path.write_bytes(content)
            table.append(row(f"after {len(content)}"))
        # An older state from a version control system is another file, too.
        other = tmp_path / "other"
        other.write_bytes(older)
        other.replace(path)
        table.append(row("z"))
    assert ids(path)[:2] == ["a", "b"]
    assert len(ids(path)) == 8
    assert len(said) == 6
    assert all("was cut short while it was written to; what is missing is written again" in s for s in said)


@pytest.mark.parametrize("change", ["another file", "a row changed", "a row more", "a row gone"])
def test_a_table_that_was_changed_otherwise_is_left_and_all_rows_are_saved(tmp_path: Path, change: str) -> None:
    path = tmp_path / "runs.csv"
    whole = table_of(path, "a", "b")
    content = {
        "another file": b"precious",
        "a row changed": whole.replace(b"3.25", b"9.99", 1),
        "a row more": whole + whole.split(b"\n")[1].replace(b"a,", b"x,", 1) + b"\n",
        "a row gone": b"\n".join(line for line in whole.split(b"\n") if not line.startswith(b"a,")),
    }[change]
    (tmp_path / "runs.saved-1.csv").write_text("an earlier one")
    with RunTable(path) as table:
        path.write_bytes(content)
        with pytest.raises(TableChangedError, match=r"another program changed the table .* are in runs\.saved-2\.csv"):
            table.append(row("c"))
    assert path.read_bytes() == content
    assert ids(tmp_path / "runs.saved-2.csv") == ["a", "b", "c"]
    assert (tmp_path / "runs.saved-1.csv").read_text() == "an earlier one"


def test_rows_that_cannot_be_saved_are_said_to_be_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs.csv"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("moelaws.runs.writing.rescue.create_file", full)
    for lose, message in (
        (lambda: path.write_text("precious"), r"cannot be saved beside it \(No space left on device\)"),
        (path.unlink, r"deleted or moved .* cannot be made again .* \(No space left on device\)"),
    ):
        with RunTable(path) as table:
            table.append(row("a"))
            lose()
            with pytest.raises(TableChangedError, match=message):
                table.append(row("b"))
        path.unlink(missing_ok=True)


def test_a_table_that_was_only_touched_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    whole = table_of(path, "a")
    with RunTable(path) as table:
        os.utime(path, (1, 1))
        table.append(row("b"))
        copy = tmp_path / "copy"
        copy.write_bytes(path.read_bytes())
        copy.replace(path)
        table.append(row("c"))
    assert path.read_bytes().startswith(whole)
    assert ids(path) == list("abc")


def test_a_deleted_lock_lets_no_second_writer_in(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    lock = tmp_path / "runs.csv.lock"
    said: list[str] = []
    with RunTable(path, on_event=said.append) as table:
        table.append(row("a"))
        lock.unlink()
        table.append(row("b"))
        with pytest.raises(TableInUseError):
            RunTable(path)
        lock.unlink()
        with RunTable(path) as second:
            second.append(row("x"))
            with pytest.raises(TableInUseError, match=r"all rows of this one are in runs\.saved-1\.csv"):
                table.append(row("c"))
    assert len(said) == 1
    assert ids(path) == ["a", "b", "x"]
    assert ids(tmp_path / "runs.saved-1.csv") == ["a", "b", "c"]


def test_two_names_of_one_table_have_one_lock(tmp_path: Path) -> None:
    path, link = tmp_path / "runs.csv", tmp_path / "link.csv"
    link.symlink_to(path)
    with RunTable(link) as table:
        table.append(row("a"))
        with pytest.raises(TableInUseError):
            RunTable(path)
    assert link.is_symlink()
    assert ids(path) == ["a"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link.csv", "runs.csv"]


@pytest.mark.parametrize("content", [b"my own notes\n", b"process 1 on here\nand more"])
def test_a_file_of_the_locks_name_is_not_written_over(tmp_path: Path, content: bytes) -> None:
    lock = tmp_path / "runs.csv.lock"
    lock.write_bytes(content)
    with pytest.raises(RunTableError, match=r"runs\.csv\.lock: a file of this name, which is no lock of moelaws"):
        RunTable(tmp_path / "runs.csv")
    assert lock.read_bytes() == content
    assert alone(lock)
    lock.unlink()
    os.mkfifo(lock)
    with pytest.raises(RunTableError, match="no lock of moelaws"):
        RunTable(tmp_path / "runs.csv")


def test_a_file_system_that_cannot_lock_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(RunTableError, match=r"cannot lock the table \(No locks available\).*write to a local disk"):
        RunTable(tmp_path / "runs.csv")


def test_the_longest_name_has_a_lock_too(tmp_path: Path) -> None:
    path = tmp_path / f"{'n' * 251}.csv"
    with RunTable(path) as table:
        table.append(row("a"))
        with pytest.raises(TableInUseError):
            RunTable(path)
        path.write_text("changed")
        with pytest.raises(TableChangedError):
            table.append(row("b"))


# Killed at any moment

WRITER = """
import sys
from moelaws.runs import RunTable
path, start = sys.argv[1], int(sys.argv[2])
with RunTable(path, on_event=lambda sentence: print(sentence, file=sys.stderr, flush=True)) as table:
    print("open", flush=True)
    for number in range(start, start + 100_000):
        row = {"run_id": f"{number:016x}", "status": "diverged", "loss": 3.25, "expert_load": "[[0.5, 0.5]]" * 40}
        table.append(row | {"finished_at": "2026-11-25T15:00:00+00:00"})
        print(number, flush=True)
"""


def _kill_writers(path: Path, times: int, dice: random.Random) -> None:
    """Kill a process that appends rows at a random moment, again and again; every row it said is there is there."""
    told: set[str] = set()
    for turn in range(times):
        line = [sys.executable, "-c", WRITER, str(path), str(turn * 1_000_000)]
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first == "open\n", process.communicate()[1]
            time.sleep(dice.uniform(0, 0.05))
        finally:
            process.send_signal(signal.SIGKILL)
            printed, errors = process.communicate()
        assert "Traceback" not in errors
        told |= {f"{int(number):016x}" for number in printed.split("\n")[:-1]}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("warnings.warn", lambda *_, **__: None)
            with RunTable(path) as table:
                assert table.done >= told
        assert path.read_bytes().endswith(b"\n")
        assert len(ids(path)) == len(set(ids(path))) == len(recorded_runs(path))
    assert len(told) > times
    assert len(read_runs(path, required=())) == len(ids(path))


def test_a_writer_killed_at_random_leaves_a_whole_table(tmp_path: Path) -> None:
    _kill_writers(tmp_path / "runs.csv", 4, random.Random(0))


CONTENDER = """
import sys, time
from moelaws.runs import RunTable, TableInUseError
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
for number in range(count):
    while True:
        try:
            with RunTable(path) as table:
                table.append({"run_id": f"{name}{number}", "status": "diverged"})
            break
        except TableInUseError:
            time.sleep(0.001)
"""


def test_writers_that_take_turns_lose_and_double_nothing(tmp_path: Path) -> None:
    """The lock's file comes and goes with each of them."""
    path = tmp_path / "runs.csv"
    lines = [[sys.executable, "-W", "error", "-c", CONTENDER, str(path), name, "20"] for name in "abc"]
    for process in [subprocess.Popen(line, stderr=subprocess.PIPE) for line in lines]:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert sorted(ids(path)) == sorted(f"{name}{number}" for name in "abc" for number in range(20))
    assert alone(path)


@pytest.mark.validate
@pytest.mark.timeout(1800)
def test_a_writer_killed_a_hundred_times_leaves_a_whole_table(tmp_path: Path) -> None:
    _kill_writers(tmp_path / "runs.csv", 100, random.Random(1))
