"""The recorded tables by name, and the archive of them: equal to the files, described as their validators want it."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest

import moelaws as ml
from bookbuild import command
from moelaws.datasets.archive import build, make_archive
from moelaws.datasets.descriptions import sha256, words_of
from moelaws.runs import COLUMNS, read_runs
from repository import ROOT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive, laid out."""
    place = tmp_path_factory.mktemp("archive") / "moelaws-runs"
    build(place)
    return place


def test_a_table_by_name_is_the_file() -> None:
    assert set(ml.datasets.names()) == {path.stem for path in (ROOT / "data" / "runs").glob("*.csv")}
    for name in ml.datasets.names():
        pd.testing.assert_frame_equal(ml.datasets.load(name), read_runs(ROOT / "data" / "runs" / f"{name}.csv"))
    by_path = ml.datasets.load(ROOT / "data" / "runs" / "batches.csv")
    pd.testing.assert_frame_equal(by_path, ml.datasets.load("batches"))
    assert ml.datasets.place("batches").read_bytes() == (ROOT / "data" / "runs" / "batches.csv").read_bytes()


def test_a_name_that_is_none_is_said_with_those_there_are() -> None:
    with pytest.raises(ml.datasets.DatasetError, match=r"no recorded table 'isoflip'; there are .*'isoflop'"):
        ml.datasets.load("isoflip")
    with pytest.raises(ml.RunTableError, match=r"nowhere\.csv"):
        ml.datasets.load("nowhere.csv")


def test_parquet_holds_the_rows_of_the_csv(folder: Path) -> None:
    for name in ml.datasets.names():
        ours = read_runs(folder / "tables" / f"{name}.parquet")
        theirs = ml.datasets.load(name)
        assert list(ours.columns) == list(theirs.columns)
        assert len(ours) == len(theirs)
        for column in ("loss", "tokens", "n_experts", "seed", "run_id"):
            assert ours[column].tolist() == theirs[column].tolist(), (name, column)


def test_each_column_of_each_table_is_described(folder: Path) -> None:
    package = json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))
    recipe = json.loads((folder / "croissant.json").read_text(encoding="utf-8"))
    words = words_of((ROOT / "data" / "README.md").read_text(encoding="utf-8"))
    assert set(words) == set(ml.datasets.names())
    tables = [each for each in package["resources"] if each["type"] == "table"]
    for resource, records in zip(tables, recipe["recordSet"], strict=True):
        header = list(ml.datasets.load(resource["name"]).columns)
        assert [field["name"] for field in resource["schema"]["fields"]] == header
        assert [field["name"] for field in records["field"]] == header
        assert resource["description"] == records["description"] == words[resource["name"]]
        for field in resource["schema"]["fields"]:
            assert field["description"].startswith(COLUMNS[field["name"]].meaning)
    for resource in package["resources"]:
        assert resource["hash"] == f"sha256:{sha256(folder / resource['path'])}"
        assert resource["bytes"] == (folder / resource["path"]).stat().st_size
    for file in recipe["distribution"]:
        assert file["sha256"] == sha256(folder / file["contentUrl"])
    assert package["version"] == recipe["version"] == ml.__version__
    zenodo = json.loads((folder / ".zenodo.json").read_text(encoding="utf-8"))
    assert (zenodo["upload_type"], zenodo["license"]) == ("dataset", "cc-by-4.0")
    assert "type: dataset" in (folder / "CITATION.cff").read_text(encoding="utf-8")
    assert "must not be used for" in (folder / "README.md").read_text(encoding="utf-8")


def test_the_same_tables_make_the_same_archive(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = make_archive(tmp_path / "a.zip"), make_archive(tmp_path / "b.zip")
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        names = {name.removeprefix("moelaws-runs/") for name in archive.namelist()}
    assert names == {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        total, _, name = line.partition("  ")
        assert total == sha256(folder / name)
    with pytest.raises(ml.datasets.DatasetError, match=r"ends in \.zip"):
        make_archive(tmp_path / "a.tar")
    made, somebodys = first.read_bytes(), tmp_path / "theirs.zip"
    with zipfile.ZipFile(somebodys, "w") as archive:
        archive.writestr("thesis.txt", "mine")
    theirs = somebodys.read_bytes()
    first.write_bytes(made[:1000])
    for out, code in ((first, 1), (somebodys, 1), (second, 0), (tmp_path / "new" / "c.zip", 0)):
        assert command.main(["dataset", "--root", str(ROOT), "--out", str(out)]) == code
    assert second.read_bytes() == made == (tmp_path / "new" / "c.zip").read_bytes()
    assert somebodys.read_bytes() == theirs
    assert "expected an archive of recorded tables to replace" in capsys.readouterr().err


def test_frictionless_finds_nothing_wrong(folder: Path) -> None:
    pytest.importorskip("frictionless")
    done = subprocess.run(
        [sys.executable, "-m", "frictionless", "validate", "datapackage.json", "--json"], cwd=folder,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert report["valid"], report["tasks"]
    assert report["stats"]["tasks"] == 2 * len(ml.datasets.names())


def test_croissant_reads_the_rows(folder: Path) -> None:
    pytest.importorskip("mlcroissant")
    code = f"""
import mlcroissant
found = mlcroissant.Dataset(jsonld={str(folder / "croissant.json")!r})
assert not found.metadata.issues.errors, found.metadata.issues.errors
rows = list(found.records(record_set="synthetic"))
print(len(rows), sum(row["synthetic/loss"] for row in rows))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, total = done.stdout.split()
    runs = ml.datasets.load("synthetic")
    assert int(count) == len(runs)
    assert float(total) == pytest.approx(runs["loss"].sum())
