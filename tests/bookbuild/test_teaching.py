"""The page for teachers: its table is what the chapters say of themselves."""

import re
from pathlib import Path

import pytest

from bookbuild.command import main
from bookbuild.error import BookError
from bookbuild.pages.toc import read_toc
from bookbuild.teaching import stale_teaching, write_teaching
from repository import ROOT

TABLE = "| Chapter | Students know | Lessons | Exercises, minutes |\n|---|---|---|---|\n"
HEADER = "---\nmoelaws:\n  teaching: {know: %s, lessons: %s}\n---\n\n# A chapter\n"
EXERCISES = ":::{exercise} 10 minutes, easy\n:label: a\n:::\n\n::::{exercise-start} 25 minutes, hard\n:label: b\n::::\n"


def book(folder: Path, *chapters: str) -> Path:
    (folder / "chapters").mkdir()
    (folder / "index.md").write_text("# Book\n")
    for number, text in enumerate(chapters):
        (folder / "chapters" / f"c{number}.md").write_text(text)
    listed = "".join(f"      - file: chapters/c{number}\n" for number in range(len(chapters)))
    (folder / "_toc.yml").write_text(
        f"format: jb-book\nroot: index\nparts:\n  - caption: Part\n    chapters:\n{listed}"
    )
    (folder / "teaching.md").write_text(f"# Teaching\n\n{TABLE}\n| Day | Chapter |\n|---|---|\n| 1 | one |\n")
    return folder


def test_the_page_for_teachers_has_a_row_for_each_chapter_of_the_book() -> None:
    names = read_toc(ROOT)
    assert stale_teaching(ROOT, names) == []
    rows = re.findall(
        r"^\| \{doc\}`(chapters/\w+)` \|.*\| \d \| \S+ \|$", (ROOT / "teaching.md").read_text(), flags=re.M
    )
    assert rows == [name for name in names if name.startswith("chapters/")]


def test_sync_writes_the_table_and_check_says_when_it_is_old(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = book(tmp_path, HEADER % ("sums", 2) + EXERCISES, HEADER % ("nothing", 1))
    assert main(["sync", "--check", "--root", str(root)]) == 1
    assert "teaching.md: its table is not what the chapters say" in capsys.readouterr().err
    assert main(["sync", "--root", str(root)]) == 0
    text = (root / "teaching.md").read_text()
    rows = "| {doc}`chapters/c0` | sums | 2 | 35 |\n| {doc}`chapters/c1` | nothing | 1 | - |\n"
    assert TABLE + rows + "\n| Day | Chapter |" in text, "other tables stay"
    assert write_teaching(root, read_toc(root)) == []
    assert main(["sync", "--check", "--root", str(root)]) == 0


@pytest.mark.parametrize(
    "text", ["# A chapter\n", HEADER % ("sums", 0), HEADER % ("sums", "many"), HEADER % ("'a | b'", 1), HEADER % (3, 1)]
)
def test_a_chapter_that_does_not_say_what_it_needs_is_refused(tmp_path: Path, text: str) -> None:
    root = book(tmp_path, text)
    with pytest.raises(BookError, match=r"chapters/c0\.md: expected moelaws: teaching"):
        write_teaching(root, read_toc(root))


def test_a_page_for_teachers_without_the_table_is_refused_and_a_book_without_the_page_needs_none(
    tmp_path: Path,
) -> None:
    root = book(tmp_path, HEADER % ("sums", 1))
    (root / "teaching.md").write_text("# Teaching\n")
    with pytest.raises(BookError, match=r"teaching\.md: expected one table"):
        write_teaching(root, read_toc(root))
    (root / "teaching.md").unlink()
    assert write_teaching(root, read_toc(root)) == []
