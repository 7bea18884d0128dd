"""Tables of several people as one."""

from pathlib import Path

import pandas as pd
import pytest

import moelaws as ml
from moelaws.cli import main

RUNS = 12


@pytest.fixture
def recorded() -> pd.DataFrame:
    return pd.read_csv(ml.datasets.place("isoflop")).head(RUNS)


def written(folder: Path, **tables: pd.DataFrame) -> list[Path]:
    paths = [folder / f"{name}.csv" for name in tables]
    for path, table in zip(paths, tables.values(), strict=True):
        table.to_csv(path, index=False)
    return paths


def test_each_run_stands_once(tmp_path: Path, recorded: pd.DataFrame) -> None:
    paths = written(tmp_path, anna=recorded.head(8), ben=recorded.tail(8))
    together = ml.merge_runs(paths)
    assert sorted(together["run_id"]) == sorted(recorded["run_id"])
    assert set(recorded.columns) <= set(together.columns)


def test_a_finished_record_comes_before_one_that_is_not(tmp_path: Path, recorded: pd.DataFrame) -> None:
    broken = recorded.head(1).assign(status="diverged", loss=float("nan"), reason="loss is nan")
    together = ml.merge_runs(written(tmp_path, anna=broken, ben=recorded))
    assert len(together) == RUNS
    assert together["status"].eq("finished").all()


def test_one_run_has_one_loss(tmp_path: Path, recorded: pd.DataFrame) -> None:
    other = recorded.head(3).copy()
    other.loc[1, "loss"] += 0.3
    with pytest.raises(ml.RunTableError, match=rf"ben\.csv: run_id {recorded.loc[1, 'run_id']} ends with loss"):
        ml.merge_runs(written(tmp_path, anna=recorded, ben=other))


def test_last_digits_of_another_machine_are_no_contradiction(tmp_path: Path, recorded: pd.DataFrame) -> None:
    other = recorded.assign(loss=recorded["loss"] * 1.0001)
    together = ml.merge_runs(written(tmp_path, anna=recorded, ben=other))
    assert list(together["loss"]) == list(recorded["loss"])


def test_one_name_for_two_texts_is_refused(tmp_path: Path, recorded: pd.DataFrame) -> None:
    other = recorded.assign(corpus_sha256="0" * 64, run_id=recorded["run_id"] + "x")
    with pytest.raises(ml.RunTableError, match="is not that of anna"):
        ml.merge_runs(written(tmp_path, anna=recorded, ben=other))


def test_without_run_ids_equal_rows_are_one_run(tmp_path: Path, recorded: pd.DataFrame) -> None:
    plain = recorded[["loss", "total_params", "active_params", "tokens", "n_experts", "top_k"]]
    together = ml.merge_runs(written(tmp_path, anna=plain, ben=plain.tail(3)))
    assert len(together) == len(plain)


def test_no_table_is_no_table() -> None:
    with pytest.raises(ml.RunTableError, match="found none"):
        ml.merge_runs([])


def test_the_command_writes_one_table(
    tmp_path: Path, recorded: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = written(tmp_path, anna=recorded.head(8), ben=recorded.tail(8))
    out = tmp_path / "class.csv"
    assert main(["runs", *map(str, paths), "--write", str(out)]) == 0
    said = capsys.readouterr().out
    assert "anna.csv: 8 runs" in said
    assert "4 records of runs that stand in another table left out" in said
    assert len(ml.read_runs(out)) == RUNS
    assert main(["runs", str(paths[0]), str(paths[0])]) == 2
    assert "named twice" in capsys.readouterr().err
    assert main(["runs", *map(str, paths), "--upgrade"]) == 2
    assert main(["runs", *map(str, paths), "--write", str(paths[1])]) == 2
