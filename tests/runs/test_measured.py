"""Tables of measurements: what is ours to rewrite, and that older rows and other people's files stay as they are."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moelaws.cli import main
from moelaws.runs import RunTableError
from moelaws.runs.writing.lock import TableLock
from moelaws.runs.writing.measured import Measured, check_measured, record_measured
from repository import ROOT, TESTS

CASES = TESTS / "cases" / "hostile"
DATA = ROOT / "data"
SMALL = Measured("table of tests", ("name", "size", "seconds", "load"), ("name", "size"), frozenset({"load"}))
HEADER = b"name,size,seconds\n"


def row(name: str, size: int, seconds: float, **others: Any) -> dict[str, Any]:
    return {"name": name, "size": size, "seconds": seconds} | others


def test_a_row_measured_again_takes_the_older_ones_place_and_nothing_else_moves(tmp_path: Path) -> None:
    path = tmp_path / "new" / "times.csv"
    record_measured(path, [row("a", 1, 0.1), row("b", 2, 0.25), row("b", 2, 0.5)], SMALL)
    assert path.read_bytes() == HEADER + b"a,1,0.1\nb,2,0.5\n"
    # As another program may have written them: the same number otherwise, a cell between quotes.
    path.write_bytes(HEADER + b'"a, \xc3\x97",1.0,1e-1\na,2.0,0.10\nb,2,0.5\n')
    record_measured(path, [row("c", 3, 1 / 3), row("a", 2, 7.0)], SMALL)
    assert path.read_bytes() == HEADER + b'"a, \xc3\x97",1.0,1e-1\na,2,7.0\nb,2,0.5\nc,3,0.3333333333333333\n'
    assert os.listdir(path.parent) == ["times.csv"]


def test_a_column_that_comes_late_leaves_the_older_rows_empty_there(tmp_path: Path) -> None:
    path = tmp_path / "times.csv"
    path.write_bytes(b"size,name,seconds\n1,a,0.1")  # an order of its own, and no last line end
    record_measured(path, [row("b", 2, 0.5, load="[1, 2]")], SMALL)
    assert path.read_bytes() == b'size,name,seconds,load\n1,a,0.1,\n2,b,0.5,"[1, 2]"\n'


def test_a_row_with_a_column_of_no_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunTableError, match=r"times\.csv: no column 'note' in a table of tests"):
        record_measured(tmp_path / "times.csv", [row("a", 1, 0.1, note="x")], SMALL)
    assert not any(tmp_path.iterdir())


def test_rows_measured_twice_before_stay_both(tmp_path: Path) -> None:
    path = tmp_path / "times.csv"
    path.write_bytes(HEADER + b"a,1,0.1\na,1,0.2\n")
    record_measured(path, [row("b", 1, 0.5)], SMALL)
    assert path.read_bytes() == HEADER + b"a,1,0.1\na,1,0.2\nb,1,0.5\n"


def test_links_modes_and_devices(tmp_path: Path, devices: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, link = tmp_path / "times.csv", tmp_path / "link.csv"
    record_measured(path, [row("a", 1, 0.1)], SMALL)
    path.chmod(0o600)
    link.symlink_to(path)
    record_measured(link, [row("b", 1, 0.1)], SMALL)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes().count(b"\n") == 3
    record_measured(Path("/dev/stdout"), [row("a", 1, 0.1)], SMALL)
    assert capfd.readouterr().out == "name,size,seconds,load\na,1,0.1,\n"
    record_measured(devices / "null", [row("a", 1, 0.1)], SMALL)
    assert (devices / "null").is_char_device()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"precious": 1}', "not a table of tests of moelaws: it begins with '{\"precious\": 1}'"),
        (b"name,seconds\na,1\n", "its header differs from this version's in 'size', 'load' (it lacks 2)"),
        (b"name,size,seconds,note\na,1,2,x\n", "in 'load', 'note' (it lacks 1, it has 1 others)"),
        (b"name,size,seconds,seconds\na,1,2,3\n", "its header differs from this version's in 'load'"),
        (b"\xef\xbb\xbfname,size,seconds,load\n", "another program saved it"),
        (b"name,size,seconds,load\r\n", "another program saved it"),
        (b"run_id,name,size\n", "it is a run table, expected a table of tests"),
        (HEADER + b"a,1\nb,1,2\n", "row 2 is damaged: found 2 cells, expected 3; mend or delete that line"),
        (HEADER + b"a,1,2\nb,1", "row 3 is damaged: found 2 cells"),
        (HEADER + b"a,1,\0\0\n", "row 2 is damaged: it holds NUL bytes"),
        (HEADER + b"a,1,\xff\n", "row 2 is damaged: no row of a CSV table"),
        (HEADER + b'a,1,"2\n', "row 2 is damaged: no row of a CSV table"),
    ],
)
def test_what_is_not_ours_and_whole_is_refused_untouched(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "times.csv"
    path.write_bytes(content)
    for write in (check_measured, lambda path, kind: record_measured(path, [row("a", 1, 2.0)], kind)):
        with pytest.raises(RunTableError) as refusal:
            write(path, SMALL)
        assert message in str(refusal.value)
        assert len(str(refusal.value)) < 400
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["times.csv"]


_PIECES = st.sampled_from([HEADER, b"a,1,0.1\n", b"a,1\n", b'"', b"b,2,,\n", b"\n", b"\0"]) | st.binary(max_size=8)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.lists(_PIECES, min_size=1, max_size=6).map(b"".join))
def test_any_content_is_added_to_rightly_or_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "times.csv"
    path.write_bytes(content)
    try:
        record_measured(path, [row("new", 9, 0.5)], SMALL)
    except RunTableError:
        assert path.read_bytes() == content
    else:
        assert content == b"" or content.startswith(HEADER)
        before = [line for line in content.split(b"\n")[1:] if line.strip()]
        assert path.read_bytes() == HEADER + b"".join(line + b"\n" for line in [*before, b"new,9,0.5"])
    assert os.listdir(tmp_path) == ["times.csv"]


def test_a_place_where_no_table_can_be_made_is_known_before(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "times.csv.lock").write_text("mine")
    for path, message in (
        (tmp_path / "file" / "times.csv", "Not a directory"),
        (tmp_path / "file" / "below" / "times.csv", "Not a directory"),
        (tmp_path / ("n" * 256), "File name too long"),
        (tmp_path / "times.csv", "is no lock of moelaws"),
    ):
        for write in (check_measured, lambda path, kind: record_measured(path, [row("a", 1, 2.0)], kind)):
            with pytest.raises((OSError, RunTableError), match=message):
                write(path, SMALL)
    check_measured(tmp_path / "new" / "deep" / "times.csv", SMALL)
    assert sorted(os.listdir(tmp_path)) == ["file", "times.csv.lock"]


def test_another_writer_is_waited_for(tmp_path: Path) -> None:
    import threading

    path = tmp_path / "times.csv"
    record_measured(path, [row("a", 1, 0.1)], SMALL)
    lock = TableLock(path)
    threading.Timer(0.3, lock.close).start()
    record_measured(path, [row("b", 1, 0.1)], SMALL)
    assert path.read_bytes() == HEADER + b"a,1,0.1\nb,1,0.1\n"


MEASURE = ["measure", "tiny:d=32,E=8,V=96", "--batch", "1", "--prompt", "8", "--new", "2", "--repeats", "1"]


NOT_TIMINGS = (
    CASES / "precious.json",
    CASES / "own_no_newline.csv",
    DATA / "runs" / "batches.csv",
    DATA / "timings" / "experts_touched.csv",
    DATA / "probes" / "isoflop.csv",
)


@pytest.mark.parametrize("source", NOT_TIMINGS, ids=lambda path: path.name)
@pytest.mark.parametrize("command", [MEASURE, ["measure", "--grid"], ["measure", "--calibrate"]], ids=len)
def test_measure_refuses_a_file_of_somebodys_before_it_measures(
    source: Path, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / source.name
    out.write_bytes(source.read_bytes())
    assert main([*command, "--out", str(out)]) == 2
    captured = capsys.readouterr()
    assert f"{source.name}: " in captured.err
    assert "write to a new file" in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert out.read_bytes() == source.read_bytes()
    assert os.listdir(tmp_path) == [source.name]


def test_measure_adds_to_the_recorded_table_and_keeps_its_rows(tmp_path: Path) -> None:
    out = tmp_path / "cpu.csv"
    recorded = (DATA / "timings" / "cpu.csv").read_bytes()
    out.write_bytes(recorded)
    assert main([*MEASURE, "--out", str(out)]) == 0
    assert out.read_bytes().startswith(recorded)
    assert out.read_bytes().count(b"\n") == recorded.count(b"\n") + 1


def test_measure_writes_one_table_to_a_pipe(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*MEASURE, "--passes", "2", "--out", "/dev/stdout"]) == 0
    printed = capfd.readouterr().out.splitlines()
    assert len([line for line in printed if line.startswith("vocab_size,d_model,")]) == 1
    assert len([line for line in printed if line.startswith("96,32,")]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*MEASURE, "--json", "machine.json"], "--json: goes with --calibrate"),
        (["measure", "--calibrate", "--out", "one", "--json", "./one"], "both name one; a table and a machine need"),
        (["measure", "--grid", "--out", "/dev/stdout"], "found a device or pipe, expected a file"),
    ],
)
def test_places_that_cannot_be_are_refused(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_the_grids_other_table_is_looked_at_first_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "mine_experts_touched.csv"
    other.write_bytes((CASES / "own_no_newline.csv").read_bytes())
    assert main(["measure", "--grid", "--out", str(tmp_path / "mine.csv")]) == 2
    assert "mine_experts_touched.csv: not a table of experts touched of moelaws" in capsys.readouterr().err
    assert other.read_bytes() == (CASES / "own_no_newline.csv").read_bytes()
    assert os.listdir(tmp_path) == [other.name]
