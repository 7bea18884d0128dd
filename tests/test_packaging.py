"""What an index gets: the library alone, whole, and usable without torch."""

import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

import moelaws
from repository import ROOT

BUILD = """
import os, sys
from setuptools import build_meta
os.chdir({root!r})
print(getattr(build_meta, "build_" + {kind!r})({place!r}))
"""


def _built(kind: str, root: Path, place: Path) -> Path:
    code = BUILD.format(root=str(root), kind=kind, place=str(place))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return place / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source package, unpacked: what is built from it is built by somebody who has no clone."""
    place = tmp_path_factory.mktemp("sdist")
    with tarfile.open(_built("sdist", ROOT, place)) as archive:
        archive.extractall(place, filter="data")
    return next(path for path in place.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built("wheel", source, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_is_the_library_alone_and_whole(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.split("/")[0].endswith(".dist-info")}
    here = ROOT / "lib"
    files = [
        file
        for file in (here / "moelaws").rglob("*")
        if file.suffix in (".py", ".pyi", ".css", ".jinja", ".toml") or file.name == "py.typed"
    ]
    tables = {f"moelaws/datasets/tables/{path.name}" for path in (ROOT / "data" / "runs").glob("*.csv")}
    tables |= {"moelaws/pacing/training_steps.csv"}
    assert names == {file.relative_to(here).as_posix() for file in files} | tables


def test_its_metadata_name_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        found = message_from_string(archive.read(name).decode())
    assert (found["Name"], found["Version"]) == ("moelaws", moelaws.__version__)
    assert found["License-Expression"] == "MIT"
    assert "mixture-of-experts" in found.get_payload()
    needed = [line for line in found.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert not [line for line in needed if line.startswith(("torch", "jupyter", "sphinx"))]


def test_it_works_from_its_own_folder_without_the_rest(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    (tmp_path / "runs.csv").write_text("loss,total_params,tokens\n3.1,1e6,1e7\n3.0,2e6,2e7\n")
    code = """
import sys
sys.path[:] = [sys.argv[1], *(path for path in sys.path if not path.endswith("/lib"))]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
sys.modules["torch"] = None
from moelaws.cli import main
assert main(["runs", "runs.csv"]) == 0
import moelaws
assert moelaws.__file__.startswith(sys.argv[1])
assert len(moelaws.datasets.load("synthetic")) == 252
assert "tables" in str(moelaws.datasets.place("isoflop"))
assert moelaws.plan(1e20, laws=["abnar2025"], experts=(1, 8)).laws
main(["sweep", "isoflop"])
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(tmp_path / "installed")], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert "2 runs, 2 finished" in done.stdout, done.stderr
    assert done.returncode == 0, done.stderr
