"""``--json``: what may be overwritten, and that everything else is as it was, byte for byte."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from moelaws.cli import main
from moelaws.document import check_json, write_json
from repository import ROOT, TESTS

CASES = TESTS / "cases" / "hostile"
DATA = ROOT / "data"
PLAN = ["plan", "--train-flops", "1e20", "--serve-tokens", "1e10", "--laws", "abnar2025"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run table that fits and surfaces can be made of in no time."""
    rng = np.random.default_rng(0)
    rows = ["loss,budget,total_params,active_params,tokens,n_experts,top_k,seed"]
    for experts in (1, 4, 16):
        for size in (1e4, 2e4, 4e4, 8e4):
            loss = 4 - 0.02 * experts**0.5 + 0.05 * (size / 3e4 - 1) ** 2 + 0.001 * rng.normal()
            rows.append(f"{loss},1e11,{size * experts},{size},{1e11 / 6 / size},{experts},1,0")
    path = tmp_path_factory.mktemp("runs") / "runs.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def _command(kind: str, table: Path, out: Path) -> list[str]:
    line = {
        "fit": ["fit", str(table), "--law", "kaplan2020", "--starts", "4"],
        "isoflop": ["isoflop", str(table), "--bootstrap", "20", "--degree", "2,1,0"],
        "plan": PLAN,
    }[kind]
    return [*line, "--json", str(out)]


@pytest.mark.parametrize("kind", ["fit", "isoflop", "plan"])
@pytest.mark.parametrize("name", ["precious.json", "own_no_newline.csv"])
def test_a_file_of_somebodys_is_refused_before_the_work_and_untouched(
    kind: str, name: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / name
    out.write_bytes((CASES / name).read_bytes())
    assert main(_command(kind, table, out)) == 2
    captured = capsys.readouterr()
    assert "the file holds no result that moelaws wrote" in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert out.read_bytes() == (CASES / name).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("kind", ["isoflop", "plan"])
def test_a_result_of_the_same_kind_is_replaced(
    kind: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    assert main(_command(kind, table, out)) == 0
    first = json.loads(out.read_text())
    assert first["kind"] == f"moelaws {kind}"
    out.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to(out)
    assert main(_command(kind, table, link)) == 0
    assert json.loads(out.read_text()) == first
    assert link.is_symlink()
    assert out.stat().st_mode & 0o777 == 0o640
    other = "plan" if kind == "isoflop" else "isoflop"
    before = out.read_bytes()
    assert main(_command(other, table, out)) == 2
    assert f"holds what 'moelaws {kind}' wrote" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_the_table_itself_is_not_written_over(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = table.read_bytes()
    assert main(_command("isoflop", table, table)) == 2
    assert "the file holds no result that moelaws wrote" in capsys.readouterr().err
    assert table.read_bytes() == before


def test_documents_from_before_they_said_what_they_are_are_known(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    recorded = json.loads((DATA / "fits" / "ours.json").read_text())
    recorded.pop("kind", None)
    machine = {"machine": {"bytes_per_second": 1e9}, "held_out": {"median": 0.1}}
    surfaces = {"variable": "total_params", "bootstrap": 10, "budgets": [], "versions": {"moelaws": "0.2.0"}}
    for kind, document in (("fit", recorded), ("machine", machine), ("isoflop", surfaces)):
        for other in ("fit", "isoflop", "plan", "machine"):
            out.write_text(json.dumps(document))
            if other == kind:
                check_json(out, other)
            else:
                with pytest.raises(ValueError, match="name a new file"):
                    check_json(out, other)
    out.write_text(json.dumps(surfaces | {"versions": "mine"}))
    with pytest.raises(ValueError, match="no result that moelaws wrote"):
        check_json(out, "isoflop")


def test_nothing_yet_an_empty_file_and_devices_are_written_to(tmp_path: Path, devices: Path) -> None:
    empty = tmp_path / "empty.json"
    empty.touch()
    for path in (empty, tmp_path / "new.json", devices / "null"):
        check_json(path, "plan")
        write_json(path, "plan", {"a": np.float64(1), "b": np.nan, "c": (np.int64(2),)})
    assert json.loads(empty.read_text()) == {"kind": "moelaws plan", "a": 1.0, "b": None, "c": [2]}
    assert empty.read_text() == (tmp_path / "new.json").read_text()
    check_json(None, "plan")
    assert (devices / "null").is_char_device()


def test_a_place_that_cannot_be_written_to_is_said_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for path, why in (
        (tmp_path, "Is a directory"),
        (tmp_path / "no" / "plan.json", "No such file or directory"),
        (tmp_path / "file" / "plan.json", "Not a directory"),
        (tmp_path / ("n" * 256), "File name too long"),
    ):
        assert main([*PLAN, "--json", str(path)]) == 2
        captured = capsys.readouterr()
        assert f"cannot be written ({why})" in captured.err
        assert captured.err.count("\n") == 1
        assert captured.out == ""


def test_standard_output_gets_the_document_before_what_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """First: where it cannot be written, nothing is printed either."""
    assert main([*PLAN, "--json", "/dev/stdout"]) == 0
    printed = capfd.readouterr().out
    document, end = json.JSONDecoder().raw_decode(printed)
    assert document["kind"] == "moelaws plan"
    assert "FLOPs to train" in printed[end:]


def test_a_full_device_is_one_sentence(devices: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PLAN, "--json", str(devices / "full")]) == 1
    assert "/full: cannot be written (No space left on device)" in capsys.readouterr().err


# Arbitrary bytes, and texts that are nearly documents of ours.
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_DOCUMENTS = st.dictionaries(
    st.sampled_from(["kind", "machine", "held_out", "versions", "budgets", "variable", "bootstrap", "mine"]),
    _JSON | st.sampled_from(["moelaws plan", "moelaws fit", "plan"]) | st.just({"moelaws": "0.2.0"}),
).map(lambda value: json.dumps(value).encode())
_CONTENTS = st.binary(min_size=1) | _DOCUMENTS | st.tuples(_DOCUMENTS, st.binary(max_size=3)).map(b"".join)


def _no_number(name: str) -> None:
    raise ValueError(name)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(content=_CONTENTS)
@example(content=b'{"kind":"moelaws plan","":Infinity}')
def test_any_content_is_replaced_only_if_it_says_it_is_a_plan(tmp_path: Path, content: bytes) -> None:
    out = tmp_path / "out.json"
    out.write_bytes(content)
    try:
        found = json.loads(content, parse_constant=_no_number)  # a document of ours is JSON, which has no Infinity
    except ValueError:
        found = None
    ours = isinstance(found, dict) and found.get("kind") == "moelaws plan"
    if ours:
        write_json(out, "plan", {"a": 1})
        assert json.loads(out.read_text()) == {"kind": "moelaws plan", "a": 1}
    else:
        with pytest.raises(ValueError, match="name a new file"):
            write_json(out, "plan", {"a": 1})
        assert out.read_bytes() == content
    assert os.listdir(tmp_path) == ["out.json"]
