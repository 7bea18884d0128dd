"""The repository's address: said in one place, repeated by a command."""

import shutil
import subprocess
from pathlib import Path

import pytest

from bookbuild.error import BookError
from bookbuild.pages.address import REPEATED, repository_address, stale_addresses, write_addresses
from repository import ROOT


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for name in (*REPEATED, "_toc.yml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_one_edit_moves_the_book(copied: Path) -> None:
    assert stale_addresses(copied) == []
    old, new = repository_address(copied), "https://git.example.org/lab/sparse"
    project = copied / "pyproject.toml"
    project.write_text(project.read_text().replace(f'Repository = "{old}"', f'Repository = "{new}"'))
    assert len(stale_addresses(copied)) == len(REPEATED)
    assert set(write_addresses(copied)) == set(REPEATED)
    assert stale_addresses(copied) == []
    for name in REPEATED:
        text = (copied / name).read_text()
        assert new in text
        assert old not in text


def test_no_other_file_says_it() -> None:
    address = repository_address(ROOT)
    found = subprocess.run(
        ["git", "grep", "-lI", "-e", address.removeprefix("https://"), "--", ":!*.ipynb"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    if found:  # a copy without git has nothing to search
        assert set(found) == set(REPEATED)


def test_a_project_without_an_address_is_a_sentence(copied: Path) -> None:
    (copied / "pyproject.toml").write_text("[project]\n")
    with pytest.raises(BookError, match=r"expected project\.urls\.Repository"):
        write_addresses(copied)
