"""Slides: the lessons of this book can be shown, and what they lack is said."""

from pathlib import Path
from typing import Any

import pytest

from bookbuild.command import main
from bookbuild.error import BookError
from bookbuild.pages.readable import Book
from bookbuild.slides.deck import MARK, deck, write_slides
from bookbuild.slides.figures import Figures
from bookbuild.slides.lesson import read_lessons
from repository import ROOT

LESSON = """# A lesson

Note: begin slowly,
and smile.

---

## Two

$x^2$ is {glue:text}`chapters/one:share`, or 2.1e-04.

![A rising](chapters/one)
"""


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A book with one lesson, one recorded number and one built page."""
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "1_first.md").write_text(LESSON)
    page = tmp_path / "_build" / "html" / "chapters" / "one.html"
    page.parent.mkdir(parents=True)
    image = '<noscript><img class="chart-image" alt="{}" src="data:image/svg+xml;base64,AA{}"></noscript>'
    page.write_text(image.format("A rising line.", "AA") + image.format("Another &amp; line.", "BB"))
    (tmp_path / "chapters").mkdir()
    (tmp_path / "chapters" / "numbers.json").write_text(
        '{"kind": "moelaws numbers", "chapters/one": {"share": "\'94 %\'"}}'
    )
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: index\n")
    (tmp_path / "index.md").write_text("# Front\n")
    return tmp_path


def test_a_lesson_has_the_figures_and_numbers_of_the_pages(book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["slides", "--root", str(book)]) == 0
    assert "1 lessons; begin with" in capsys.readouterr().out
    text = (book / "_build" / "slides" / "1_first.html").read_text()
    assert text.startswith(MARK)
    assert text.count("<section") == 2
    assert 'src="data:image/svg+xml;base64,AAAA"' in text
    assert 'alt="A rising line."' in text
    assert "94\N{NO-BREAK SPACE}%" in text
    assert "<msup>" in text
    assert '<span class="number">2.1e−4</span>' in text
    assert '<aside class="notes">begin slowly, and smile.</aside>' in text
    assert "Note:" not in text
    assert "http" not in text.replace("http://www.w3.org/1998/Math/MathML", "")
    assert 'href="1_first.html"' in (book / "_build" / "slides" / "index.html").read_text()
    assert main(["slides", "--root", str(book)]) == 0, "an older deck is replaced"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("No title\n", "the first slide has no title"),
        ("# T\n\n---\n\n---\n", "slide 2 of 3 is empty"),
        ("# T\n\n![A](chapters/one)\n", r"begins 'A', found 2: A rising line\.; Another & line\."),
        ("# T\n\n![A](chapters/two)\n", "which is no page of"),
        ("# T\n\n{glue:text}`chapters/one:gone`\n", "quotes 'gone' of chapters/one"),
        ("# T\n\n$\\nonsense$\n", "a formula cannot be read"),
    ],
)
def test_what_a_lesson_lacks_is_said(book: Path, text: str, words: str) -> None:
    (book / "slides" / "2_second.md").write_text(text)
    with pytest.raises(BookError, match=words):
        write_slides(book, book / "_build" / "html", book / "out")
    assert not (book / "out").exists()


def test_what_is_not_a_lesson_stays(book: Path) -> None:
    (book / "out").mkdir()
    (book / "out" / "index.html").write_text("mine")
    with pytest.raises(BookError, match="expected a lesson to replace"):
        write_slides(book, book / "_build" / "html", book / "out")
    assert [path.name for path in (book / "out").iterdir()] == ["index.html"]
    (book / "slides" / "first.md").write_text("# T\n")
    with pytest.raises(BookError, match="with the lesson's number first"):
        read_lessons(book / "slides")
    with pytest.raises(BookError, match="found none"):
        read_lessons(book / "chapters")


def test_the_lessons_of_this_book_can_be_shown(whole_site: Path, tmp_path: Path) -> None:
    written = write_slides(ROOT, whole_site, tmp_path / "slides")
    assert [path.name[0] for path in written] == ["1", "2", "3", "4", "5", "6", "i"]


@pytest.mark.browser
def test_keys_go_through_a_lesson(book: Path, browser: Any) -> None:
    lesson = read_lessons(book / "slides")[0]
    known = Book(book, {"chapters/one": {"share": "'94 %'"}})
    path = book / "deck.html"
    path.write_text(deck(lesson, known, Figures(book / "_build" / "html")))
    page = browser.new_page(viewport={"width": 1000, "height": 560})
    page.goto(path.as_uri())
    top = "id => Math.round(document.getElementById(id).getBoundingClientRect().top)"
    assert page.evaluate(top, "s1") == 0
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => Math.abs(document.getElementById('s2').getBoundingClientRect().top) < 2")
    page.keyboard.press("n")
    assert page.locator("#s1 .notes").evaluate("each => getComputedStyle(each).display") == "block"
    page.keyboard.press("Home")
    page.wait_for_function("() => Math.abs(document.getElementById('s1').getBoundingClientRect().top) < 2")
    for section in page.locator("section").all():
        assert section.evaluate("each => each.scrollHeight <= each.clientHeight + 1")
    page.close()
