"""The book on paper: two small pages become one PDF, and nothing of them is lost."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from layout import BEYOND

from bookbuild.command import main
from bookbuild.error import BookError
from bookbuild.pages.toc import read_parts
from bookbuild.printing.leaves import Cover, Part, anchor, document
from bookbuild.printing.paper import FIT, SHEET_PX, Printed, print_book
from bookbuild.site.place import STAMP

LONG = "total = " + " + ".join(f"term_{n:03d}" for n in range(60))
WIDE = "".join(f"<td>column{n:02d}</td>" for n in range(20))

PAGE = """<!DOCTYPE html><html data-theme="auto"><head>
<link rel="stylesheet" href="{up}_static/style.css"></head><body><aside>Search this book</aside>
<article class="bd-article"><section id="{first}"><h1>{title}<a class="headerlink" href="#{first}">#</a></h1>{body}
</section></article><script>{script}</script></body></html>"""

DRAWS = """for (const chart of document.querySelectorAll('div.chart')) {
  chart.querySelector('.chart-view').innerHTML =
    '<svg class="marks" xmlns="http://www.w3.org/2000/svg"><text y="20">drawn</text></svg>';
  chart.dataset.state = 'drawn';
}"""

STYLE = (
    "pre { overflow: auto; white-space: pre; width: 300px } .bd-article table { overflow-x: auto; max-width: 300px }"
)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """The root of a book of two pages that are built: one with what is wide, one folded."""
    site = tmp_path / "_build" / "html"
    (site / "chapters").mkdir(parents=True)
    (site / "_static").mkdir()
    (site / "_static" / "style.css").write_text(STYLE)
    front = (
        '<p>See <a href="chapters/one.html#summary">the summary</a>.</p><p id="summary">Not this one.</p>'
        '<section id="take-it-with-you"><h2>Take it</h2><ul class="simple"><li>Notebooks</li></ul></section>'
    )
    one = (
        f"<pre>{LONG}</pre><table><tr>{WIDE}</tr></table><details><summary>All</summary><p>folded words</p></details>"
        '<p id="summary">What we found.</p><a href="../index.html">Back</a>, <a href="../_sources/x.ipynb">a file</a>'
        '<div class="chart"><div class="chart-view"></div><noscript><img class="chart-image" alt="a line" '
        'src="data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4="></noscript></div>'
    )
    (site / "index.html").write_text(PAGE.format(up="", first="front", title="Front", body=front, script=""))
    (site / "chapters" / "one.html").write_text(
        PAGE.format(up="../", first="one", title="1. One", body=one, script=DRAWS)
    )
    files = {path.relative_to(site).as_posix(): path.stat().st_size for path in site.rglob("*") if path.is_file()}
    (site / STAMP).write_text(json.dumps({"inputs": "x", "read": {}, "files": files}))
    (tmp_path / "chapters").mkdir()
    (tmp_path / "index.md").write_text("# Front\n")
    (tmp_path / "chapters" / "one.md").write_text("# One\n")
    (tmp_path / "_config.yml").write_text("title: A small book\nauthor: Some people\n")
    toc = "format: jb-book\nroot: index\nparts:\n  - caption: Beginnings\n    chapters:\n      - file: chapters/one\n"
    (tmp_path / "_toc.yml").write_text(toc)
    return tmp_path


def printed(book: Path) -> str:
    """What the command says, in a process of its own: one process drives one browser."""
    done = subprocess.run(
        [sys.executable, "-m", "bookbuild", "pdf", "--root", str(book)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def parts_of(book: Path) -> list[Part]:
    return [Part(caption, pages) for caption, pages in read_parts(book)]


def test_the_parts_are_those_of_the_contents(book: Path) -> None:
    assert read_parts(book) == [("", ("index",)), ("Beginnings", ("chapters/one",))]


def test_addresses_lead_to_places_in_the_document(book: Path) -> None:
    text = document(book / "_build" / "html", parts_of(book), Cover("Book", ("by us",)), {}, {"index": 3})
    there = anchor("chapters/one", "summary")
    assert f'href="#{there}"' in text
    assert text.count(f'id="{there}"') == 1
    assert f'id="{anchor("index", "summary")}"' in text
    assert f'href="#{anchor("index")}"' in text
    assert "_sources" not in text  # a file that is not on paper
    assert 'data-theme="light"' in text
    assert "headerlink" not in text
    assert "Search this book" not in text
    assert re.search(r"<details open", text)
    assert '<span class="sheet">3</span>' in text
    assert (book / "_build" / "html" / "_static" / "style.css").as_uri() in text


def test_charts_stand_as_they_were_drawn(book: Path) -> None:
    site, charts = book / "_build" / "html", {"chapters/one": ["data:image/svg+xml;base64,AAAA"]}
    assert 'src="data:image/svg+xml;base64,AAAA"' in document(site, parts_of(book), Cover("Book", ()), charts)
    assert 'src="data:image/svg+xml;base64,PHN2' in document(site, parts_of(book), Cover("Book", ()), {})


def test_a_page_that_is_missing_is_named(book: Path) -> None:
    with pytest.raises(BookError, match=r"two\.html: expected a page of the built site"):
        document(book / "_build" / "html", [Part("", ("two",))], Cover("Book", ()), {})


@pytest.mark.browser
def test_nothing_runs_off_a_sheet(book: Path, browser: Any) -> None:
    text = book / "print.html"
    text.write_text(document(book / "_build" / "html", parts_of(book), Cover("Book", ()), {}))
    page = browser.new_page(viewport={"width": SHEET_PX, "height": 980})
    page.emulate_media(media="print")
    page.goto(text.as_uri())
    before = page.evaluate(BEYOND)
    page.evaluate(FIT)
    assert page.evaluate(BEYOND) == []
    assert any("table" in words or "column" in words for words in before), "the test's table is not wide enough"
    page.close()


@pytest.mark.browser
def test_two_pages_are_printed(book: Path, browser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pypdf import PdfReader

    site, out = book / "_build" / "html", book / "_build" / "moelaws.pdf"
    before = (site / "index.html").read_text()
    assert "moelaws.pdf" not in before
    assert f"{out}: 4 pages" in printed(book)
    read = PdfReader(out)
    sheets = [page.extract_text() for page in read.pages]
    assert "A small book" in sheets[0]
    assert re.search(r"Front\D*3\b", sheets[1]), sheets[1]
    assert re.search(r"1\. One\D*4\b", sheets[1]), sheets[1]
    assert "Front" in sheets[2]
    whole = re.sub(r"\s", "", sheets[3])
    assert re.sub(r"\s", "", LONG) in whole
    assert all(f"column{n:02d}" in whole for n in range(20))
    assert "foldedwords" in whole
    assert "drawn" in whole
    assert [sheet.strip().splitlines()[-1].strip() for sheet in sheets] == ["1", "2", "3", "4"]
    left, right = float(read.pages[3].mediabox.left), float(read.pages[3].mediabox.right)
    places: list[float] = []
    read.pages[3].extract_text(visitor_text=lambda text, cm, tm, *_: places.append(cm[4]) if text.strip() else None)
    assert places
    assert all(left <= x <= right for x in places)
    assert [str(item["/Title"]) for item in read.outline if isinstance(item, dict)]
    # The front page offers it, once, and the site is whole as before; also where it is printed again.
    monkeypatch.setattr("bookbuild.printing.book.print_book", lambda *_: Printed(out, 4, {}))
    for again in (False, True):
        if again:
            assert main(["pdf", "--root", str(book)]) == 0
        index = (site / "index.html").read_text()
        assert index.count('href="moelaws.pdf"') == 1
        assert (site / "moelaws.pdf").read_bytes() == out.read_bytes()
        stamp = json.loads((site / STAMP).read_text())["files"]
        assert all((site / name).stat().st_size == size for name, size in stamp.items())


def test_what_cannot_be_printed_is_said(book: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    assert main(["pdf", "--root", str(book), "--site", str(book)]) == 1
    assert "expected a built site, found none" in capsys.readouterr().err
    (book / "mine.pdf").write_text("a letter")
    assert main(["pdf", "--root", str(book), "--out", str(book / "mine.pdf")]) == 1
    assert "expected a PDF to replace" in capsys.readouterr().err
    assert (book / "mine.pdf").read_text() == "a letter"
    assert main(["pdf", "--root", str(book), "--out", str(book / "book.doc")]) == 1
    assert "ends in .pdf" in capsys.readouterr().err
    monkeypatch.setattr("bookbuild.printing.paper.shutil.which", lambda name: None)
    with pytest.raises(BookError, match="no browser to print with"):
        print_book(book / "_build" / "html", parts_of(book), Cover("Book", ()), book / "new.pdf")
    assert not (book / "new.pdf").exists()
