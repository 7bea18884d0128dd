"""The pairs: text and notebook say the same, and cells keep their ids."""

import json
from pathlib import Path

import pytest

from bookbuild.command import main
from bookbuild.error import BookError
from bookbuild.pages.chapter import read_page
from bookbuild.pages.pairs import stale_pairs, to_notebook, write_pairs
from bookbuild.pages.toc import read_toc
from repository import ROOT


def test_each_chapter_of_the_book_is_in_step_with_its_notebook():
    assert stale_pairs(ROOT, read_toc(ROOT)) == []


def test_committed_notebooks_carry_no_outputs():
    for path in sorted((ROOT / "chapters").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), path.name


def test_sync_writes_pairs_once_and_then_finds_nothing_to_do(small_book: Path):
    names = read_toc(small_book)
    assert len(stale_pairs(small_book, names)) == 2
    assert write_pairs(small_book, names) == ["chapters/lines.ipynb", "chapters/bars.ipynb"]
    assert write_pairs(small_book, names) == []
    assert stale_pairs(small_book, names) == []


def test_notebook_keeps_profiles_and_tags(small_book: Path):
    notebook = to_notebook(read_page(small_book, "chapters/lines"))
    assert notebook.metadata["moelaws"]["profiles"]["smoke"]["points"] == 5
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1


def test_an_edit_changes_the_id_of_its_own_cell_only(small_book: Path):
    before = to_notebook(read_page(small_book, "chapters/lines")).cells
    text = small_book / "chapters" / "lines.md"
    text.write_text(text.read_text().replace("points = 20", "points = 21"))
    after = to_notebook(read_page(small_book, "chapters/lines")).cells
    changed = [a.source for a, b in zip(after, before, strict=True) if a.id != b.id]
    assert len(changed) == 1
    assert "points = 21" in changed[0]


def test_equal_cells_have_different_ids(small_book: Path):
    text = small_book / "chapters" / "bars.md"
    text.write_text(text.read_text() + "\n```{code-cell} ipython3\n1 + 1\n```\n" * 2)
    ids = [cell.id for cell in to_notebook(read_page(small_book, "chapters/bars")).cells]
    assert len(set(ids)) == len(ids)


def test_check_names_the_pair_that_is_out_of_step(small_book: Path, capsys: pytest.CaptureFixture[str]):
    write_pairs(small_book, read_toc(small_book))
    text = small_book / "chapters" / "bars.md"
    text.write_text(text.read_text().replace("views = 2", "views = 3"))
    assert main(["sync", "--check", "--root", str(small_book)]) == 1
    said = capsys.readouterr().err
    assert "chapters/bars.ipynb: not what chapters/bars.md says" in said
    assert "lines" not in said
    assert main(["sync", "--root", str(small_book)]) == 0
    assert main(["sync", "--check", "--root", str(small_book)]) == 0


def test_a_notebook_without_text_is_named_and_never_deleted(small_book: Path):
    stray = small_book / "chapters" / "stray.ipynb"
    stray.write_text("{}")
    with pytest.raises(BookError, match=r"chapters/stray\.ipynb: no chapter of that name"):
        write_pairs(small_book, read_toc(small_book))
    assert stray.exists()
