"""The book's machinery: what stops a build, what is executed again, and what a finished site holds."""

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from bookbuild.build import Order, build_book
from bookbuild.command import main
from bookbuild.error import BookError
from bookbuild.execution.cache import KEPT, Cache
from bookbuild.pages.address import repository_address
from bookbuild.pages.chapter import read_page
from bookbuild.site.place import check_place, is_current
from books import pages_of
from repository import ROOT

HEADER = "---\nkernelspec: {name: python3, display_name: Python 3, language: python}\n---\n\n# Title\n\n"


def chapter(*cells: str) -> str:
    """Text of a chapter with a parameters cell and the cells given."""
    code = [":tags: [parameters]\n\nsize = 1", *cells]
    return HEADER + "\n\n".join(f"```{{code-cell}} ipython3\n{cell}\n```" for cell in code) + "\n"


def only_pages(book: Path, **pages: str) -> None:
    """Replace the chapters of a book by those given."""
    for path in book.glob("chapters/*"):
        path.unlink()
    for name, text in pages.items():
        (book / "chapters" / f"{name}.md").write_text(text)
    entries = "".join(f"  - file: chapters/{name}\n" for name in pages)
    (book / "_toc.yml").write_text(f"format: jb-book\nroot: index\nchapters:\n{entries}  - file: tables\n")
    (book / "index.md").write_text("# Front\n\nText {cite:t}`small2026`.\n")


def build(book: Path, *options: str) -> int:
    return main(["build", "--root", str(book), *options])


def test_an_entry_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cache, notebook = Cache(tmp_path), nbformat.v4.new_notebook()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            cache.store("chapters/x", "full", "k", notebook)
    assert cache.load("chapters/x", "full", "k") is None
    assert not [path for path in tmp_path.glob("**/*") if path.is_file()]
    cache.store("chapters/x", "full", "k", notebook)
    assert cache.load("chapters/x", "full", "k") == notebook
    cache.path("chapters/x", "full", "k").write_text('{"cells": [')
    assert cache.load("chapters/x", "full", "k") is None


def test_old_entries_of_a_chapter_are_dropped(tmp_path: Path):
    cache = Cache(tmp_path)
    cache.store("chapters/y", "full", "0", nbformat.v4.new_notebook())
    for number in range(KEPT + 3):
        cache.store("chapters/x", "full", str(number), nbformat.v4.new_notebook())
        os.utime(cache.path("chapters/x", "full", str(number)), (number, number))
    assert len(list((tmp_path / "full" / "chapters").glob("x.*"))) == KEPT
    assert cache.load("chapters/x", "full", str(KEPT + 2)) is not None
    assert cache.load("chapters/y", "full", "0") is not None


def test_small_book_says_how_it_was_made_and_shows_no_path(small_site: Path):
    page = (small_site / "chapters" / "lines.html").read_text(encoding="utf-8")
    assert "How this page was made" in page
    assert re.search(r"Profile <code[^>]*><span class=\"pre\">smoke</span></code>", page)
    assert "20 runs &lt;/script&gt; at 2e+09 FLOPs" in page
    root = str(small_site.parent.parent)
    assert not [p for p in small_site.glob("**/*") if p.is_file() and root.encode() in p.read_bytes()]


def test_nothing_changed_takes_no_time(small_site: Path, capsys: pytest.CaptureFixture[str]):
    begin = time.perf_counter()
    assert build(small_site.parent.parent, "--profile", "smoke") == 0
    assert time.perf_counter() - begin < 3
    assert "nothing changed" in capsys.readouterr().out


def test_a_site_that_lost_a_file_is_not_current(tmp_path: Path):
    for name in ("index.html", "style.css"):
        (tmp_path / name).write_text("text")
    (tmp_path / ".book.json").write_text(
        json.dumps({"inputs": "d", "read": {}, "files": {"index.html": 4, "style.css": 4}})
    )
    assert is_current(tmp_path, "d", ["index"], tmp_path)
    assert not is_current(tmp_path, "other", ["index"], tmp_path)
    (tmp_path / "style.css").unlink()
    assert not is_current(tmp_path, "d", ["index"], tmp_path)


def content(site: Path) -> dict[str, bytes]:
    """All files of a site; without the stamp, which holds no content of its own, and how long a page took."""
    files = (path for path in site.glob("**/*") if path.is_file() and path.name != ".book.json")
    return {path.relative_to(site).as_posix(): re.sub(rb"executed in \d+ s", b"", path.read_bytes()) for path in files}


def words(site: Path, page: str) -> str:
    """What is written on a page of a chapter."""
    return re.sub(r"<[^>]*>", "", (site / "chapters" / f"{page}.html").read_text())


DRAWING = """
import pathlib
import struct
import zlib
from IPython.display import Image

exponent = float(pathlib.Path("../lib/law.py").read_text().split()[-1])
print("the exponent", exponent)
sizes, shade = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0), zlib.compress(bytes([0, int(255 * exponent)]))
parts = [(b"IHDR", sizes), (b"IDAT", shade), (b"IEND", b"")]
lay = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
Image(b"\\x89PNG\\r\\n\\x1a\\n" + b"".join(lay(*part) for part in parts), alt="a shade")
"""


TWO = """
# Two

{word} {{term}}`law`, {{doc}}`one`, an indexed {{index}}`word`, {{ref}}`{title}`.

## Title

{{cite:t}}`small2026`

:::{{exercise}} {title}
:label: {title}
Which?
:::
"""

THREE = """# {title}

{{doc}}`two`

## Title

```{{literalinclude}} ../lib/law.py
```
{more}"""


def test_what_an_edit_can_change_is_made_again_and_the_site_is_that_of_a_fresh_build(
    small_book: Path, capfd: pytest.CaptureFixture[str]
):
    """Chapters are executed again, and pages written, where something changed that they can show; no other page is."""
    site, law, toc = small_book / "_build" / "html", small_book / "lib" / "law.py", small_book / "_toc.yml"
    glossary, explained = small_book / "glossary.md", "# Glossary\n\n:::{glossary}\nlaw\n  What holds.\n:::\n"

    def laid(one: str, two: str, three: str, **more: str) -> None:
        """Lay the chapters out, and the glossary behind them."""
        only_pages(small_book, one=one, two=two, three=three, **more)
        toc.write_text(toc.read_text() + "  - file: glossary\n")

    def written_by(edit: Callable[[], object]) -> set[str]:
        """Pages of the book that a build after an edit writes."""
        pages = {path.relative_to(site).with_suffix("").as_posix() for path in site.glob("**/*.html")}
        pages -= {"genindex", "search"}
        before = {page: (site / f"{page}.html").stat().st_mtime_ns for page in pages}
        edit()
        assert build(small_book) == 0
        left = (page for page in before if (site / f"{page}.html").exists())
        return {page for page in left if (site / f"{page}.html").stat().st_mtime_ns != before[page]}

    glossary.write_text(explained)
    download = "\n{download}`../references.bib`\n"
    one, two = chapter(DRAWING), TWO.format(word="Of", title="first")
    three, alike = THREE.format(title="Three", more=download), "# Alike\n\n{doc}`two`\n"
    laid(one, two, three, alike=alike, four="# Four\n\n{ref}`first`\n")
    assert build(small_book) == 0
    assert re.search(r"^one  cell 2/2  \d+\.\d s$", capfd.readouterr().out, flags=re.MULTILINE)
    assert "the exponent 0.5" in words(site, "one")
    assert "exponent = 0.5" in words(site, "three")
    everything = {"index", "tables", "glossary", *(f"chapters/{name}" for name in ("one", "two", "three", "alike"))}
    assert written_by(lambda: glossary.write_text(explained.replace("holds", "is said"))) == {
        *everything,
        "chapters/four",
    }
    # New titles, of a page and of an exercise, and a page that went: they stand on the pages beside them, too.
    two, three = TWO.format(word="Of", title="second"), THREE.format(title="Other", more=download)
    assert written_by(lambda: laid(one, two, three, alike=alike)) == everything
    assert "Other" in words(site, "two")
    assert not (site / "chapters" / "four.html").exists()
    assert list(site.glob("_downloads/*/references.bib"))
    capfd.readouterr()

    pictures = {path.name for path in site.glob("_images/*.png")}

    def another_law_and_other_words() -> None:
        law.write_text("exponent = 0.75\n")
        os.utime(law, (0, 0))  # contents count, not dates
        laid(one, two.replace("Of", "On"), THREE.format(title="Other", more=""), alike=alike)

    # The front page lists them.
    assert written_by(another_law_and_other_words) == {"index", "chapters/one", "chapters/two", "chapters/three"}
    assert "cell 2/2" in capfd.readouterr().out
    assert "the exponent 0.75" in words(site, "one")
    assert "exponent = 0.75" in words(site, "three")
    assert {path.name for path in site.glob("_images/*.png")}.isdisjoint(pictures)
    assert not list(site.glob("_downloads/*/references.bib"))
    kept = content(site)
    assert build(small_book, "--force") == 0
    assert content(site) == kept


def test_a_failing_cell_fails_this_build_and_the_next(small_book: Path, capfd: pytest.CaptureFixture[str]):
    # As a library in C does at a kernel's end, when nobody takes what it prints for an output any more.
    behind = "import os\nhidden = os.system(f'echo Assertion failed > /proc/{os.getppid()}/fd/2')"
    only_pages(small_book, fine=chapter(behind), broken=chapter("x = 1", "# why\ny = x / 0", "z = 2"))
    assert build(small_book) == 1
    printed = capfd.readouterr()
    assert "chapters/broken.md: cell 3/4 failed: ZeroDivisionError: division by zero" in printed.err
    assert "first line: # why" in printed.err
    assert "y = x / 0" in printed.err
    assert "Assertion failed" not in printed.err
    assert re.search(r"^fine  done in", printed.out, flags=re.MULTILINE)
    assert not (small_book / "_build" / "html").exists()

    assert build(small_book) == 1
    printed = capfd.readouterr()
    assert "cell 3/4 failed" in printed.err
    assert "fine  as executed before" in printed.out


def test_a_kernel_that_dies_is_named_with_its_cell(small_book: Path, capfd: pytest.CaptureFixture[str]):
    only_pages(small_book, dying=chapter("x = 1", "import os\nos._exit(1)"))
    assert build(small_book) == 1
    assert "chapters/dying.md: cell 3/3 failed: DeadKernelError" in capfd.readouterr().err


def test_a_warning_fails_this_build_and_the_next_and_keeps_the_old_site(
    small_book: Path, capfd: pytest.CaptureFixture[str]
):
    site = small_book / "_build" / "html"
    site.mkdir(parents=True)
    (site / "index.html").write_text("old")
    (site / ".book.json").write_text(json.dumps({"inputs": "old", "read": {}, "files": {"index.html": 3}}))
    only_pages(small_book, words="# Words\n\nSee {doc}`nowhere`.\n")
    for _ in range(2):
        capfd.readouterr()
        assert build(small_book) == 1
        said = capfd.readouterr().err
        assert re.search(r"chapters/words\.md:3: WARNING: .*nowhere", said), said
        assert str(small_book) not in said
    assert (site / "index.html").read_text() == "old"


def test_a_page_that_writes_into_the_data_is_refused(small_book: Path, capfd: pytest.CaptureFixture[str]):
    only_pages(small_book, writer=chapter("open('../data/x.csv', 'w').write('1')"))
    assert build(small_book) == 1
    assert (
        "chapters/writer.md: data/x.csv changed while it was executed (chapters must not write into the book)"
        in capfd.readouterr().err
    )


def test_a_missing_page_fails_before_anything_is_executed(small_book: Path, capfd: pytest.CaptureFixture[str]):
    (small_book / "tables.md").unlink()
    assert build(small_book) == 1
    printed = capfd.readouterr()
    assert "'tables' is listed, but there is no tables.md" in printed.err
    assert "cell" not in printed.out


def test_a_folder_with_other_things_is_never_replaced(small_book: Path, tmp_path: Path):
    place = tmp_path / "precious"
    place.mkdir()
    (place / "thesis.txt").write_text("mine")
    with pytest.raises(BookError, match="not empty and not a site made by this command"):
        build_book(Order(root=small_book, place=place))
    assert (place / "thesis.txt").read_text() == "mine"


def test_a_site_with_a_file_of_somebodys_among_its_pages_is_not_replaced(tmp_path: Path):
    (tmp_path / "index.html").write_text("page")
    (tmp_path / ".book.json").write_text(json.dumps({"inputs": "d", "files": {"index.html": 4}}))
    check_place(tmp_path)
    (tmp_path / "CNAME").write_text("book.example")
    with pytest.raises(BookError, match="CNAME and perhaps more lies among the pages"):
        check_place(tmp_path)
    (tmp_path / "CNAME").unlink()
    (tmp_path / ".DS_Store").write_text("")  # a file manager's, worth nothing
    check_place(tmp_path)


@pytest.mark.parametrize(("names", "said"), [([], "''"), (["line"], "'line'"), (["lines", "\x1b[31m"], "'\\x1b[31m'")])
def test_a_page_that_the_book_lacks_is_named(
    names: list[str], said: str, small_book: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chapter", "--root", str(small_book), *names]) == 1
    assert f"error: page {said}: expected one of index, lines, bars, tables" in capsys.readouterr().err


def test_a_page_alone_answers_for_its_own_warnings(small_book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And refers to the others, which are read for that alone: nothing is written of them, nor imported for them."""
    page, site = small_book / "tables.md", small_book / "_build" / "chapter"
    documented = "```{eval-rst}\n.. autofunction:: absent.line\n\n.. autoclass:: absent.Law\n   :members:\n```"
    page.write_text(f"{page.read_text()}\n{{doc}}`nowhere`\n\n{documented}\n")
    (small_book / "words.md").write_text(
        "# Words\n\n{py:func}`absent.line`, {py:class}`absent.Law`, {doc}`chapters/lines`\n"
    )
    with (small_book / "_toc.yml").open("a") as toc:
        toc.write("  - file: words\n")
    # Nor for the front page, which quotes a chapter that nobody has executed.
    assert main(["chapter", "--root", str(small_book), "words"]) == 0
    written = (site / "words.html").read_text()
    assert all(f'href="{there}"' in written for there in ("tables.html#absent.line", "tables.html#absent.Law"))
    assert 'href="chapters/lines.html"' in written
    assert not any((site / f"{name}.html").exists() for name in ("tables", "chapters/lines"))
    assert main(["chapter", "--root", str(small_book), "words", "tables"]) == 1
    assert "tables.md" in capsys.readouterr().err


def test_launch_buttons_open_the_committed_notebooks(book_site: Path):
    repository = repository_address(ROOT).removeprefix("https://github.com/")
    for name in (path.relative_to(book_site).with_suffix("").as_posix() for path in pages_of(book_site)):
        if not (ROOT / f"{name}.md").is_file() or not read_page(ROOT, name).is_notebook:
            continue
        page = (book_site / f"{name}.html").read_text(encoding="utf-8")
        colab = re.search(rf'href="https://colab\.research\.google\.com/github/{repository}/([^"]+)"', page)
        assert colab, f"{name}: no button for Colab"
        assert colab[1] == f"blob/main/{name}.ipynb"
        assert f"%2F{name.rsplit('/')[-1]}.ipynb" in page or f"/{name}.ipynb" in page
        assert (ROOT / f"{name}.ipynb").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--root", "a\0b"], "expected the name of a folder"),
        (["--root", "loop"], "expected the name of a folder"),
        (["--root", "absent"], "expected the table of contents of the book, found no such file"),
        (["--root", "\x1b[31m"], "\\x1b[31m/_toc.yml: expected the table of contents"),
        (["--root", ".", "--jobs", "999999999999"], "--jobs 999999999999: expected from 1 to 64 chapters at a time"),
        (["--root", ".", "--out", "a\0b"], "--out 'a\\x00b': expected the name of a folder"),
    ],
)
def test_a_folder_that_is_no_book_is_a_sentence(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    assert main(["build", *arguments]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert all(line.isprintable() and len(line) <= 400 for line in said.splitlines())
