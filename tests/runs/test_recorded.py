"""Tables that moelaws appends to: whose a file is, whether it is whole, and that nothing of anybody's is lost."""

import csv
import io
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from moelaws.cli import main
from moelaws.runs import COLUMNS, RunTable, RunTableError, read_runs
from moelaws.runs.probed import METRICS, PROBE_COLUMNS, complete_probes
from moelaws.runs.upgrade import upgrade
from moelaws.runs.writing.append import recorded_runs
from moelaws.runs.writing.recorded import read_recorded, read_rows
from repository import ROOT, TESTS
from small_table import HEADER, alone, ids, row, table_of

CASES = TESTS / "cases" / "hostile"


# Whose a file is


@pytest.mark.parametrize("command", [["sweep", "isoflop_3e11"], ["sweep", "isoflop_3e11", "--dry-run"], ["probe"]])
@pytest.mark.parametrize("name", ["precious.json", "own_no_newline.csv"])
def test_a_file_of_somebodys_is_refused_byte_for_byte(
    command: list[str], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if command[0] == "sweep":  # before any text is tokenized
        monkeypatch.setenv("MOELAWS_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("moelaws.text.corpus.build", None)
    out = tmp_path / name
    out.write_bytes((CASES / name).read_bytes())
    recorded = ROOT / "data" / "runs" / "isoflop.csv"
    table = [str(recorded), "--where", "budget == 1e11 and seed == 0"] if command == ["probe"] else []
    assert main([*command, *table, "--out", str(out)]) == 2
    errors = capsys.readouterr().err
    assert f"{name}: not a {'table of probes' if table else 'run table'} of moelaws: it begins with" in errors
    assert "write to a new file" in errors
    assert errors.count("\n") == 1
    assert len(errors) < 400
    assert out.read_bytes() == (CASES / name).read_bytes()
    assert alone(out)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xef\xbb\xbf" + HEADER, "another program saved it, with other quotes, line ends or a byte order mark"),
        (HEADER.replace(b"\n", b"\r\n"), "another program saved it"),
        (b'"' + HEADER.replace(b",", b'","').replace(b"\n", b'"\n'), "another program saved it"),
        (b",".join(reversed(HEADER.strip().split(b","))) + b"\n", "in the order of the columns"),
        (
            HEADER.replace(b",token_shift", b""),
            "it lacks 'token_shift', which came later; moelaws runs --upgrade TABLE adds",
        ),
        (HEADER.replace(b"\n", b",note\n"), "version's in 'note' (it has 1 others)"),
        (b"run_id,loss\na,3\n", "in 'sweep', 'status', 'reason', 'loss_se' and"),
        (b"run_id," + HEADER, "in 'repeated columns' (each is there)"),
        (",".join(PROBE_COLUMNS).encode() + b"\n", "it is a table of probes, expected a run table"),
        (HEADER.upper(), "not a run table of moelaws: it begins with 'RUN_ID,SWEEP"),
        (b"\n" + HEADER, "not a run table of moelaws: it begins with ''"),
        (b" " + HEADER, "not a run table of moelaws"),
        (b"r", "not a run table of moelaws: it begins with 'r'"),
        (b"\0" * 900, "not a run table of moelaws"),
        (b"PK\x03\x04\xff\xfe binary", "not a run table of moelaws"),
        (b"a" * 300_000, "not a run table of moelaws"),
        (b"\x1b[2J\x1b[31mred", "begins with '\\x1b[2J"),
    ],
)
def test_what_is_not_exactly_ours_is_refused_untouched(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes(content)
    for look in (RunTable, recorded_runs):
        with pytest.raises(RunTableError) as refusal:
            look(path)
        assert message in str(refusal.value)
        assert len(str(refusal.value)) < 400
    assert path.read_bytes() == content
    assert alone(path)


def test_folders_devices_and_pipes_hold_no_table(tmp_path: Path, devices: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path, "found a folder, expected the file of a run table"),
        (devices / "null", "/null: found a device or pipe, expected a file: a run table is read back"),
        (tmp_path / "pipe", "found a device or pipe"),
    ):
        with pytest.raises(RunTableError, match=message):
            RunTable(path)
    assert not (devices / "null.lock").exists()


# Any bytes at all: nearly tables of ours, with lines of ours among them.
_ID = st.sampled_from(["a", "b", "c", ""])
_LINES = _ID.map(lambda run_id: f"{run_id}{',' * (len(COLUMNS) - 1)}\n".encode()) | st.binary(max_size=30)
_BODIES = st.lists(_LINES, max_size=4).map(b"".join)
_CONTENTS = st.binary() | st.tuples(
    st.sampled_from([HEADER, HEADER[:-1], HEADER[:40], HEADER[:3], b"\xef\xbb\xbf" + HEADER, b"loss\n"]), _BODIES
).map(b"".join)


def _whole_rows(content: bytes) -> list[list[str]] | None:
    """What a careful reader finds: the rows of a table of ours, or nothing."""
    whole = content[: content.rfind(b"\n") + 1]
    if not whole.startswith(HEADER) or b"\0" in whole:
        return None
    try:
        lines = [list(csv.reader(io.StringIO(line.decode(), newline=""))) for line in whole.split(b"\n")[1:-1]]
    except (UnicodeDecodeError, csv.Error):
        return None
    found = [line[0] for line in lines if line and line[0]]
    if any(len(line) > 1 for line in lines) or any(len(cells) != len(COLUMNS) for cells in found):
        return None
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=_CONTENTS)
@example(content=HEADER + b"a" + b"," * (len(COLUMNS) - 1))
@example(content=HEADER[:40])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_any_content_is_appended_to_rightly_or_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "runs.csv"
    path.write_bytes(content)
    try:
        with RunTable(path) as table:
            before = table.done
            table.append(row("new"))
    except RunTableError:
        assert path.read_bytes() == content
    else:
        now = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole:
            # Every whole line stays; what was torn is a prefix of nothing that stays.
            assert now.startswith(whole)
            found = _whole_rows(content)
            assert found is not None
            assert before >= {cells[0] for cells in found}
        else:
            assert HEADER.startswith(content)
        assert now.endswith(b"\n")
        assert ids(path)[-1] == "new"
        assert recorded_runs(path) == before | {"new"}
    assert alone(path)


# A last line without its end


def test_a_torn_row_is_cut_off_and_named(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    whole = table_of(path, "a", "b")
    said: list[str] = []
    for torn in (
        b"c",
        b"0123456789abcdef,isoflop,fini",
        b"c,s,finished,,3.25,",
        b'c,"half a quo',
        b"\0\0\0\0",
        b"\xc3",
    ):
        path.write_bytes(whole + torn)
        with RunTable(path, on_event=said.append) as table:
            assert table.done == {"a", "b"}
        assert path.read_bytes() == whole
    assert said[0] == "runs.csv: line 4 was cut short by a crash; it is removed and its run will be run again"
    assert "run '0123456789abcdef' will be run again" in said[1]


def test_every_cut_of_a_row_is_found_and_a_whole_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    whole = table_of(path, "a")
    line = table_of(path, "b")[len(whole) :]
    said: list[str] = []
    for length in range(1, len(line)):
        path.write_bytes(whole + line[:length])
        with RunTable(path, on_event=said.append) as table:
            table.append(row("c"))
        rows = ids(path)
        # Only the line end is missing: the row was on the disk, and its run is done.
        assert rows == (["a", "b", "c"] if length == len(line) - 1 else ["a", "c"]), length
    assert "line 3 lacked its line end only; it is a whole row and stays" in said[-1]
    assert len(said) == len(line) - 1


def test_a_torn_header_is_completed_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    for length in (7, 40, len(HEADER) - 1):
        path.write_bytes(HEADER[:length])
        said: list[str] = []
        with RunTable(path, on_event=said.append):
            pass
        assert path.read_bytes() == HEADER
        assert said == ["runs.csv: line 1 was cut short by a crash; the header is written to its end"]


# Damaged rows


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda line: line[: len(line) // 2], f"cells, expected {len(COLUMNS)}"),
        (lambda line: line[:5] + b"\0\0\0" + line[8:], "it holds NUL bytes"),
        (lambda line: b"\0" * len(line), "it holds NUL bytes"),
        (lambda line: line + b",1", f"found {len(COLUMNS) + 1} cells, expected {len(COLUMNS)}"),
        (lambda line: line[: len(line) // 2] + line, f"cells, expected {len(COLUMNS)}"),
        (lambda line: line.replace(b"b,", b",", 1), "column 'run_id': found '', expected what names the row"),
        (lambda line: line.replace(b"b,", b"\x07,", 1), "column 'run_id': found '\\x07'"),
        (lambda line: line.replace(b"b,", b"\xff,", 1), "no UTF-8 text at its byte 0"),
        (lambda line: line.replace(b"3.25", b"3.#5"), "column 'loss': found '3.#5', expected a number"),
        (lambda line: line.replace(b"3.25", b""), "column 'loss': found nothing, expected the loss of a finished run"),
        (lambda line: line.replace(b"b,", b'"b,', 1), "no row of a CSV table"),
        (lambda line: HEADER.strip(), "column 'run_id': found 'run_id'"),
    ],
)
def test_a_damaged_row_in_the_middle_is_named_and_never_counts_as_done(tmp_path: Path, damage: Any, why: str) -> None:
    path = tmp_path / "runs.csv"
    table_of(path, "a", "b", "c")
    lines = path.read_bytes().split(b"\n")
    lines[2] = damage(lines[2])
    path.write_bytes(damaged := b"\n".join(lines))
    for look in (RunTable, recorded_runs):
        with pytest.raises(RunTableError, match=r"runs\.csv: row 3 is damaged: ") as refusal:
            look(path)
        assert why in str(refusal.value)
        assert "mend or delete that line: a run without a row is run again" in str(refusal.value)
    assert path.read_bytes() == damaged
    # As the message says.
    path.write_bytes(b"\n".join(lines[:2] + lines[3:]))
    with RunTable(path) as table:
        assert table.done == {"a", "c"}


def test_a_run_that_is_there_twice_is_named(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    whole = table_of(path, "a", "b")
    path.write_bytes(whole + whole.split(b"\n")[1] + b"\n")
    with pytest.raises(RunTableError, match=r"row 4 repeats row 2, column 'run_id': 'a'; delete one of the two lines"):
        RunTable(path)


def test_empty_lines_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    whole = table_of(path, "a")
    path.write_bytes(whole + b"\n  \n")
    with RunTable(path) as table:
        table.append(row("b"))
    assert recorded_runs(path) == {"a", "b"}


def test_a_cell_of_any_length_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    limit = csv.field_size_limit()
    load = str([[round(1 / 30_000, 5)] * 30_000])
    assert len(load) > 131_072
    table_of(path, "a", expert_load=load, status="diverged")
    with RunTable(path) as table:
        assert table.done == {"a"}
        assert table.values("run_id", "expert_load") == {("a", load)}
        table.append(row("b", status="diverged"))
    assert recorded_runs(path) == {"a", "b"}
    assert read_runs(path)["expert_load"].tolist() == [load, ""]
    assert csv.field_size_limit() == limit


def test_no_value_can_break_a_line(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    with RunTable(path) as table:
        table.append(row("a", reason='two\nlines, a "quote",\r\n a NUL \0 and × \u2028 '))
        with pytest.raises(RunTableError, match="a row needs run_id"):
            table.append({"loss": 3.0})
    with RunTable(path) as table:
        assert table.done == {"a"}
    assert path.read_bytes().count(b"\n") == 2


# Probes


def test_a_probe_with_one_of_two_metrics_is_not_done() -> None:
    rows = [("a", "cloze", "t", "accuracy"), ("a", "cloze", "t", "margin"), ("b", "cloze", "t", "accuracy"),
            ("b", "text", "t", "bits/byte"), ("b", "a probe of tomorrow", "t", "score")]  # fmt: skip
    done = {("a", "cloze", "t"), ("b", "text", "t"), ("b", "a probe of tomorrow", "t")}
    assert complete_probes(rows) == done


def test_the_recorded_probes_have_the_metrics_that_are_expected() -> None:
    path = ROOT / "data" / "probes" / "isoflop.csv"
    rows = read_rows(read_recorded(path, PROBE_COLUMNS).data, PROBE_COLUMNS, path.name)
    found = {(cells[1], cells[3]) for _, cells in rows}
    assert found == {(probe, metric) for probe, metrics in METRICS.items() for metric in metrics}


@pytest.mark.parametrize("path", sorted((ROOT / "data" / "runs").glob("*.csv")), ids=lambda p: p.stem)
def test_the_recorded_tables_are_ours_and_whole(path: Path, tmp_path: Path) -> None:
    """As they are, or once they have the columns that came since: each run keeps its row and its name."""
    runs = read_runs(path)["run_id"]
    newest = tmp_path / path.name
    newest.write_bytes(path.read_bytes())
    upgrade(newest)
    assert recorded_runs(newest) == set(runs)
