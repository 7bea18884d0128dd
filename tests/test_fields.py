"""One description of a field: a new one is declared in one place, and tables, checkpoints and timings all follow."""

import csv
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import moelaws
from moelaws.cli import main
from moelaws.config import ModelConfig, RunConfig, TrainConfig
from moelaws.field import Described, Field, Place, Record, added, described, identity, original
from moelaws.models import Transformer
from moelaws.models.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from moelaws.runs import COLUMNS, RunTable, RunTableError
from moelaws.runs.configured import LATER_FIELDS, with_later_columns
from moelaws.runs.schema import LATER
from moelaws.runs.timings import SETTING, TIMINGS, model_of
from moelaws.runs.upgrade import upgrade
from moelaws.runs.writing.lock import TableInUseError, TableLock
from moelaws.runs.writing.measured import record_measured
from moelaws.training.record import run_of
from repository import ROOT

RECORDED = ROOT / "data" / "runs" / "batches.csv"
TIMED = ROOT / "data" / "timings" / "cpu.csv"
BASE = ModelConfig(
    vocab_size=96, d_model=32, n_layers=2, n_heads=2, d_ff=64, n_experts=8, top_k=2, granularity=2, context=64
)

# What a newcomer adds to ``ModelConfig``: one declaration, whose old value is not its default.
NEW = """
    stretch: float = added(
        2.0, "how far the router's logits are stretched", before=1.0, exclusive=True,
        place=Place("moelaws.stretch", absent=1.0, foreign=True),
    )
"""
# And what is added for a result: one declaration too, beside the code that finds the value.
NEW_RESULT = '    Column("spikes", "integer", "", "steps with a loss spike", 0, before=""),\n'


def _other(field: Field, value: Any) -> Any:
    """Another value that a model of ``BASE`` may have in this field."""
    if field.kind is bool:
        return not value
    if field.kind is str:
        return next(choice for choice in field.choices if choice != value)
    return value * 2 or field.kind(1)


OTHERS = {
    field.name: replace(BASE, **{field.name: _other(field, getattr(BASE, field.name))})
    for field in described(ModelConfig)
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_field_of_a_model_comes_back_from_each_place_where_it_is_kept(name: str, tmp_path: Path) -> None:
    """From a row, from a timing, from a checkpoint, which also may refuse it by name; and it is another run."""
    other = OTHERS[name]
    row = {field: str(value) for field, value in (other.to_dict() | TrainConfig().to_dict()).items()}
    run = run_of(row | {"corpus": "sotu", "corpus_sha256": ""})
    assert run.model == other
    assert run.run_id == RunConfig(other).run_id != RunConfig(BASE).run_id
    assert model_of(pd.Series(other.to_dict())) == other
    assert name in SETTING
    assert name in COLUMNS
    place = {field.name: field for field in described(ModelConfig)}[name].place
    assert place is not None
    if place.key:
        save_checkpoint(Transformer(other), tmp_path)
        assert load_checkpoint(tmp_path).config == other
        foreign = place.foreign and getattr(other, name) != place.absent
        kind = json.loads((tmp_path / "config.json").read_text())["model_type"]
        assert kind == ("moelaws" if foreign else "olmoe")
    else:
        with pytest.raises(CheckpointError, match=f"{name} = {getattr(other, name)}: the OLMoE layout has no place"):
            save_checkpoint(Transformer(other), tmp_path)


def test_every_field_of_a_recipe_comes_back_from_a_row() -> None:
    for field in described(TrainConfig):
        value = getattr(TrainConfig(), field.name)
        other = replace(TrainConfig(), **{field.name: value / 2 if field.most == 1 else _other(field, value)})
        row = BASE.to_dict() | other.to_dict() | {"corpus": "sotu", "corpus_sha256": ""}
        run = run_of({name: str(cell) for name, cell in row.items()})
        assert run.train == other
        assert run.run_id != RunConfig(BASE).run_id


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("3", "Wider.new: not described"),
        ("original(3, 'a meaning')", "Wider.new: no place in a checkpoint"),
        ("added(3, '', before=1, place=Place('new'))", "Wider.new: no meaning"),
        ("added(3, 'a meaning', place=Place('new'))", "before"),
        ("added(3, 'a meaning', before='one', place=Place('new'))", "Wider.new: before = 'one', expected a int"),
    ],
)
def test_a_field_that_lacks_a_part_is_refused_when_its_class_is_made(declared: str, message: str) -> None:
    names = {"ModelConfig": ModelConfig, "original": original, "added": added, "Place": Place}
    with pytest.raises(TypeError, match=message):
        exec(f"class Wider(ModelConfig):\n    new: int = {declared}", names)


def test_every_configuration_is_described() -> None:
    for kind in (ModelConfig, TrainConfig, RunConfig):
        assert issubclass(kind, Described)
    with pytest.raises(TypeError, match=r"New\.corpus: not described"):

        class New(RunConfig):
            corpus: str = "sotu"


def test_a_field_that_came_later_is_no_part_of_the_identity_at_its_old_value_only() -> None:
    @dataclass(frozen=True)
    class Recipe(Record):
        first: int = original(1, "there from the first")
        second: int = added(5, "came later", before=2)

    assert identity(Recipe()) == {"first": 1, "second": 5}
    assert identity(Recipe(second=2)) == {"first": 1}
    assert [field.later for field in described(Recipe)] == [False, True]


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the library with one field of ``ModelConfig`` and one column of results more, each just declared."""
    lib = tmp_path_factory.mktemp("newer") / "lib"
    shutil.copytree(Path(moelaws.__file__).parent, lib / "moelaws", ignore=shutil.ignore_patterns("__pycache__"))
    config = lib / "moelaws" / "config.py"
    before, mark, after = config.read_text().partition("\n    def __post_init__(self) -> None:\n        super()")
    assert mark
    config.write_text(before + NEW + mark + after)
    schema = lib / "moelaws" / "runs" / "schema.py"
    before, mark, after = schema.read_text().partition('    _positive("train_loss"')
    assert mark
    schema.write_text(before + NEW_RESULT + mark + after)
    return lib


def _run(newer: Path, code: str, *arguments: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(newer)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def old_runs(tmp_path: Path) -> Path:
    """Recorded runs, without any column that came later."""
    return _without_later(RECORDED, tmp_path / "runs.csv")


def _without_later(source: Path, target: Path) -> Path:
    table = pd.read_csv(source, dtype=str, keep_default_na=False).head(8)
    table.drop(columns=[name for name in LATER if name in table]).to_csv(target, index=False, lineterminator="\n")
    return target


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="") as file:
        yield from csv.DictReader(file)


def test_a_new_field_needs_one_declaration(newer: Path, old_runs: Path, tmp_path: Path) -> None:
    """The three ways that once broke, and the tables, in a library with one field more."""
    timings, models = _without_later(TIMED, tmp_path / "timings.csv"), tmp_path / "models"
    _run(
        newer,
        """
        import csv, json, sys
        from dataclasses import replace
        from pathlib import Path
        from moelaws.cli import main
        from moelaws.config import ModelConfig, RunConfig
        from moelaws.models import Transformer
        from moelaws.models.checkpoint import load_checkpoint, save_checkpoint
        from moelaws.runs import COLUMNS, RunTable, RunTableError, read_runs
        from moelaws.runs.dictionary import field_table
        from moelaws.runs.schema import LATER
        from moelaws.measuring.rows import record_rows
        from moelaws.runs.timings import TIMINGS, model_of, read_timings
        from moelaws.training.record import check_rows, make_row, require_recorded, run_of

        runs, timings, models = map(Path, sys.argv[1:])
        rows = lambda path: list(csv.DictReader(path.open(newline="")))
        assert ModelConfig().stretch == 2.0
        assert COLUMNS["stretch"].expected == "a finite number > 0"
        assert "how far the router's logits are stretched" in field_table()

        # Rows recorded before run again, under their own ids, with the value of that time.
        old = rows(runs)
        for row in old:
            assert run_of(row).run_id == row["run_id"]
            assert run_of(row).model.stretch == 1.0
            assert run_of(row | {"stretch": "3"}).run_id != row["run_id"]
            assert run_of(row | {"stretch": ""}).run_id == row["run_id"]
        table = read_runs(runs)
        require_recorded(table.columns, "runs.csv")
        check_rows(table, "runs.csv")

        # A model comes back as itself.
        for stretch in (1.0, 2.0):
            config = ModelConfig(n_experts=4, d_model=32, stretch=stretch)
            save_checkpoint(Transformer(config), models)
            assert load_checkpoint(models).config == config
            kind = json.loads((models / "config.json").read_text())["model_type"]
            assert kind == ("olmoe" if stretch == 1 else "moelaws")

        # What is measured again takes the old row's place; what is another model does not.
        measured = rows(timings)
        assert model_of(read_timings(timings).iloc[0]).stretch == 1.0
        again = TIMINGS.before | measured[0] | {"repeats": 77}
        record_rows(timings, [again])
        found = rows(timings)
        assert len(found) == len(measured) and found[0]["repeats"] == "77" and found[1:] == measured[1:]
        record_rows(timings, [again | {"stretch": 2.0, "repeats": 78}])
        found = rows(timings)
        assert len(found) == len(measured) + 1 and {row["stretch"] for row in found[:-1]} == {"1.0"}
        record_rows(timings, [again | {"repeats": 79}])
        assert [row["repeats"] for row in rows(timings)] == ["79", *(row["repeats"] for row in measured[1:]), "78"]

        # The run table gets the column, and new rows go into it.
        try:
            RunTable(runs)
        except RunTableError as refusal:
            assert "which came later; moelaws runs --upgrade" in str(refusal), refusal
            assert "'spikes'" in str(refusal)
        else:
            raise AssertionError("an older table was taken for one of this version")
        assert main(["runs", "--upgrade", str(runs)]) == 0
        new = rows(runs)
        assert list(new[0]) == list(COLUMNS)
        assert (LATER["stretch"], LATER["spikes"]) == ("1.0", "")
        assert all(row == before | LATER for row, before in zip(new, old))
        assert [run_of(row).run_id for row in new] == [row["run_id"] for row in old]
        with RunTable(runs) as out:
            out.append(new[0] | {"run_id": "new", "stretch": 2.0})
        assert rows(runs)[-1]["stretch"] == "2.0"
        assert read_runs(runs)["spikes"].isna().all()
        """,
        old_runs, timings, models,
    )  # fmt: skip


def test_an_upgraded_table_has_every_column_and_the_same_cells(
    old_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = list(_rows(old_runs))
    old_runs.chmod(0o640)
    link = tmp_path / "link.csv"
    link.symlink_to(old_runs)
    assert main(["runs", "--upgrade", str(link)]) == 0
    added = [name for name in COLUMNS if name in LATER and name not in before[0]]
    assert f"{', '.join(added)} added" in capsys.readouterr().out
    after = list(_rows(old_runs))
    assert list(after[0]) == list(COLUMNS)
    assert after == [row | LATER for row in before]
    assert link.is_symlink()
    assert old_runs.stat().st_mode & 0o777 == 0o640
    whole = old_runs.read_bytes()
    assert main(["runs", "--upgrade", str(old_runs)]) == 0
    assert "nothing is new" in capsys.readouterr().out
    assert old_runs.read_bytes() == whole
    assert sorted(os.listdir(tmp_path)) == ["link.csv", "runs.csv"]
    with RunTable(old_runs) as table:
        assert table.done == {row["run_id"] for row in before}


def test_rows_of_before_are_the_same_runs_before_and_after_the_upgrade(
    old_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = {row["run_id"] for row in _rows(old_runs)}
    assert {run_of(dict(row)).run_id for row in _rows(old_runs)} == ids
    models = [run_of(dict(row)).model for row in _rows(old_runs)]
    upgrade(old_runs)
    assert {run_of(dict(row)).run_id for row in _rows(old_runs)} == ids
    assert [run_of(dict(row)).model for row in _rows(old_runs)] == models


def test_a_timing_table_is_upgraded_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = _without_later(TIMED, tmp_path / "timings.csv")
    before = list(_rows(table))
    assert main(["runs", "--upgrade", str(table)]) == 0
    new = {name: str(value) for name, value in TIMINGS.before.items()}
    assert list(_rows(table)) == [new | row for row in before]
    assert main(["runs", "--upgrade", str(table)]) == 0
    assert "nothing is new" in capsys.readouterr().out
    record_measured(table, [new | before[3] | {"passes": 99}], TIMINGS)
    assert [row["passes"] for row in _rows(table)].index("99") == 3


def test_a_table_of_probes_has_nothing_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "probes.csv"
    table.write_bytes((ROOT / "data" / "probes" / "isoflop.csv").read_bytes()[:2000])
    assert main(["runs", "--upgrade", str(table)]) == 0
    assert "nothing is new" in capsys.readouterr().out
    assert table.stat().st_size == 2000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it begins with ''"),
        (b'{"mine": 1}\n', "not a run table of moelaws"),
        (b"loss,tokens\n1,2\n", "not a run table of moelaws"),
        (b"run_id,loss\nab,2\n", "its header differs from this version's"),
        (b"run,probe,domain,metric\n", "it is a table of probes"),
        (b"\xff\xfe\n", "not a run table of moelaws"),
    ],
)
def test_what_is_not_ours_is_not_upgraded(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(RunTableError) as refusal:
        upgrade(path, (TIMINGS,))
    assert message in str(refusal.value)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["table.csv"]


def test_a_damaged_row_or_another_writer_leaves_a_table_as_it_is(old_runs: Path) -> None:
    whole = old_runs.read_bytes()
    lock = TableLock(old_runs)
    with pytest.raises(TableInUseError):
        upgrade(old_runs)
    lock.close()
    assert old_runs.read_bytes() == whole
    lines = whole.splitlines(keepends=True)
    damaged = b"".join([*lines[:2], lines[2].replace(b",", b";", 3), *lines[3:]])
    old_runs.write_bytes(damaged)
    with pytest.raises(RunTableError, match="row 3 is damaged"):
        upgrade(old_runs)
    assert old_runs.read_bytes() == damaged
    assert os.listdir(old_runs.parent) == ["runs.csv"]
    for name in ("missing.csv", "."):
        with pytest.raises(RunTableError):
            upgrade(old_runs.parent / name)


def test_a_last_line_that_was_cut_short_is_said_and_removed(old_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = [row["run_id"] for row in _rows(old_runs)]
    whole = old_runs.read_bytes()
    old_runs.write_bytes(whole[:-200])
    assert main(["runs", "--upgrade", str(old_runs)]) == 0
    assert f"line 9 was cut short by a crash; it is removed and run '{ids[-1]}'" in capsys.readouterr().err
    assert [row["run_id"] for row in _rows(old_runs)] == ids[:-1]
    old_runs.write_bytes(whole[:-1])  # the line end alone is missing
    upgrade(old_runs)
    assert [row["run_id"] for row in _rows(old_runs)] == ids


@pytest.mark.parametrize("option", [["--where", "loss > 3"], ["--map", "loss=L"], ["--write", "new.csv"]])
def test_a_part_of_a_table_is_not_upgraded(
    old_runs: Path, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = old_runs.read_bytes()
    assert main(["runs", str(old_runs), "--upgrade", *option]) == 2
    assert f"leave {option[0]} out" in capsys.readouterr().err
    assert old_runs.read_bytes() == whole


def test_rows_without_a_later_column_have_the_value_of_their_time() -> None:
    table = with_later_columns(pd.DataFrame({"token_shift": [True, None, ""], "loss": [1.0, 2.0, 3.0]}))
    assert table["token_shift"].tolist() == [True, False, False]
    assert set(LATER_FIELDS) <= set(table.columns)
    assert with_later_columns(table) is table
