"""The book's machinery: what stops a build, what is executed again, and what a finished site holds."""

import json
import os
import re
import time
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest

from conftest import ROOT
from moelaws.book.build import Order, build_book
from moelaws.book.cache import KEPT, Cache, chapter_key, shared_digest
from moelaws.book.chapter import Page, read_page
from moelaws.book.command import main
from moelaws.book.error import BookError
from moelaws.book.outputs import objections
from moelaws.book.pairs import to_notebook
from moelaws.book.parameters import check_profile, overrides
from moelaws.book.site import check_site, is_current
from moelaws.book.toc import read_toc

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


# --- the table of contents and the header -----------------------------------------------------------------------


def test_toc_lists_pages_in_reading_order(small_book: Path):
    assert read_toc(small_book) == ("index", "chapters/lines", "chapters/bars", "tables")


@pytest.mark.parametrize(
    ("toc", "message"),
    [
        ("root: index\nchapters:\n  - file: chapters/none\n", "'chapters/none' is listed, but there is no"),
        ("root: index\nchapters:\n  - file: tables\n  - file: tables\n", "'tables' is listed twice"),
        ("root: index\n", r"chapters/bars.md: in no entry of _toc.yml"),
        ("chapters: []\n", "expected a mapping with the key 'root'"),
        ("root: [\n", "_toc.yml: not valid YAML"),
    ],
)
def test_a_wrong_toc_is_explained(small_book: Path, toc: str, message: str):
    (small_book / "_toc.yml").write_text(toc)
    with pytest.raises(BookError, match=message):
        read_toc(small_book)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"---\nkernelspec: x\n", "line 1 opens a header with '---', and no later line closes it"),
        (b"---\na: [\n---\n", "the header is not valid YAML"),
        (b"---\nmoelaws: {profiles: [smoke]}\n---\n", "expected moelaws.profiles in the header to map"),
        (b"---\nmoelaws: {profiles: {full: {a: 1}}}\n---\n", "'full' is the defaults of the parameters cell"),
        (b"# \xff\n", "not UTF-8, byte 2"),
    ],
)
def test_a_wrong_page_is_explained(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "x.md").write_bytes(content)
    with pytest.raises(BookError, match=re.escape(message)):
        read_page(tmp_path, "x")


# --- profiles ---------------------------------------------------------------------------------------------------


def profile_of(values: object, cell: str = ":tags: [parameters]\n\na = 1.0\nb = 2\nc = [1, 2]\nd = 'x'") -> dict:
    text = f"---\nkernelspec: {{name: python3, display_name: P}}\n---\n```{{code-cell}} ipython3\n{cell}\n```\n"
    page = Page("chapters/x", text, {"kernelspec": {}, "moelaws": {"profiles": {"smoke": values}}})
    return dict(overrides(page, to_notebook(page), "smoke"))


def test_yaml_numbers_that_yaml_takes_for_text_become_numbers():
    values = profile_of({"a": "2e9", "b": "1e3", "c": ["8", 16], "d": "y"})
    assert values == {"a": 2e9, "b": 1000, "c": [8, 16], "d": "y"}
    assert isinstance(values["b"], int)


def test_an_override_of_an_unknown_variable_names_chapter_and_variable():
    with pytest.raises(BookError, match=r"chapters/x\.md: profile 'smoke' sets 'budgte', which the parameters cell"):
        profile_of({"budgte": 1})


def test_an_override_of_another_type_is_refused():
    with pytest.raises(BookError, match=r"sets 'a' to 'many'; expected a number"):
        profile_of({"a": "many"})


def test_the_first_code_cell_must_be_the_parameters_cell():
    with pytest.raises(BookError, match=r"expected the first code cell to be tagged 'parameters', found 'z = 1'"):
        profile_of({}, cell="z = 1")


def test_a_profile_that_no_chapter_defines_is_refused(small_book: Path):
    pages = [read_page(small_book, name) for name in read_toc(small_book)]
    check_profile("smoke", pages)
    with pytest.raises(BookError, match="profile 'smkoe': no chapter defines it; known are full, smoke"):
        check_profile("smkoe", pages)


# --- the cache --------------------------------------------------------------------------------------------------


def test_the_key_changes_with_everything_a_page_depends_on(small_book: Path):
    (small_book / "constraints.txt").write_text("numpy==2.0\n")
    page = read_page(small_book, "chapters/bars")
    keys = [chapter_key(page, shared_digest(small_book), "full")]
    for path in ("lib/law.py", "data/runs.csv", "constraints.txt"):
        (small_book / path).write_text("changed\n")
        keys.append(chapter_key(page, shared_digest(small_book), "full"))
    keys.append(chapter_key(page, shared_digest(small_book), "smoke"))
    keys.append(chapter_key(Page(page.name, page.text + "x", page.header), shared_digest(small_book), "smoke"))
    assert len(set(keys)) == len(keys)


def test_the_key_does_not_change_with_times_and_byte_code(small_book: Path):
    before = shared_digest(small_book)
    os.utime(small_book / "lib" / "law.py", (1, 1))
    (small_book / "lib" / "__pycache__").mkdir()
    (small_book / "lib" / "__pycache__" / "law.pyc").write_bytes(b"x")
    assert shared_digest(small_book) == before


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


# --- what a page may show ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (nbformat.v4.new_output("stream", name="stderr", text="UserWarning: old\n"), "standard error: .*UserWarning"),
        (nbformat.v4.new_output("stream", text="saved /books/mine/data"), "a path of this machine: /books/mine"),
        (
            nbformat.v4.new_output("display_data", data={"application/vnd.vegalite.v6+json": {"mark": "bar"}}),
            "a chart without words",
        ),
        (nbformat.v4.new_output("display_data", data={"text/html": "vegaEmbed(x)"}), r"call moelaws.charts.enable\(\)"),
        (
            nbformat.v4.new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}}),
            "a Jupyter widget",
        ),
    ],
)
def test_what_does_not_belong_on_a_page_is_named_with_its_cell(output: nbformat.NotebookNode, message: str):
    cells = [nbformat.v4.new_code_cell("a = 1"), nbformat.v4.new_code_cell("show", outputs=[output])]
    found = objections("chapters/x", nbformat.v4.new_notebook(cells=cells), Path("/books/mine"))
    assert len(found) == 1
    assert re.search(f"^chapters/x.md: cell 2/2 .*{message}", found[0])


def test_pages_that_ask_other_hosts_or_are_missing_are_found(tmp_path: Path):
    (tmp_path / "index.html").write_text('<a href="https://a.org">fine</a><img src="x.png"><link rel="next" href="y">')
    check_site(tmp_path, ["index"])
    (tmp_path / "bad.html").write_text('<script async src="https://cdn.org/x.js"></script>')
    with pytest.raises(BookError) as caught:
        check_site(tmp_path, ["index", "gone"])
    assert "gone.html was not built" in str(caught.value)
    assert "bad.html: loads from another host" in str(caught.value)


# --- whole builds -----------------------------------------------------------------------------------------------


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
    (tmp_path / ".book.json").write_text(json.dumps({"inputs": "d", "files": {"index.html": 4, "style.css": 4}}))
    assert is_current(tmp_path, "d", ["index"])
    assert not is_current(tmp_path, "other", ["index"])
    (tmp_path / "style.css").unlink()
    assert not is_current(tmp_path, "d", ["index"])


def test_library_changes_execute_again_and_removed_pages_go(small_book: Path, capfd: pytest.CaptureFixture[str]):
    code = "import pathlib\nprint(pathlib.Path('../lib/law.py').read_text())"
    only_pages(small_book, one=chapter(code), two="# Two\n")
    assert build(small_book) == 0
    assert re.search(r"^one  cell 2/2  \d+\.\d s$", capfd.readouterr().out, flags=re.MULTILINE)
    site = small_book / "_build" / "html" / "chapters"
    assert "exponent = 0.5" in (site / "one.html").read_text()

    (small_book / "lib" / "law.py").write_text("exponent = 0.75\n")
    (small_book / "chapters" / "two.md").unlink()
    only_pages(small_book, one=chapter(code))
    assert build(small_book) == 0
    assert "cell 2/2" in capfd.readouterr().out
    assert "exponent = 0.75" in (site / "one.html").read_text()
    assert not (site / "two.html").exists()


def test_a_failing_cell_fails_this_build_and_the_next(small_book: Path, capfd: pytest.CaptureFixture[str]):
    only_pages(small_book, fine=chapter("1 + 1"), broken=chapter("x = 1", "# why\ny = x / 0", "z = 2"))
    assert build(small_book) == 1
    printed = capfd.readouterr()
    assert "chapters/broken.md: cell 3/4 failed: ZeroDivisionError: division by zero" in printed.err
    assert "first line: # why" in printed.err
    assert "y = x / 0" in printed.err
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
    only_pages(small_book, words="# Words\n")
    assert build(small_book) == 0
    page = small_book / "chapters" / "words.md"
    page.write_text("# Words\n\nSee {doc}`nowhere`.\n")
    for _ in range(2):
        capfd.readouterr()
        assert build(small_book) == 1
        said = capfd.readouterr().err
        assert re.search(r"chapters/words\.md:3: WARNING: .*nowhere", said), said
        assert str(small_book) not in said
    assert "nowhere" not in (small_book / "_build" / "html" / "chapters" / "words.html").read_text()


def test_a_page_that_writes_into_the_data_is_refused(small_book: Path, capfd: pytest.CaptureFixture[str]):
    only_pages(small_book, writer=chapter("open('../data/x.csv', 'w').write('1')"))
    assert build(small_book) == 1
    assert "lib/, data/ or the pins changed while the book was executed" in capfd.readouterr().err


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


@pytest.mark.parametrize("site", ["small_site", "book_site"])
def test_links_within_the_site_lead_somewhere(site: str, request: pytest.FixtureRequest):
    folder: Path = request.getfixturevalue(site)
    dead = []
    for page in sorted(set(folder.glob("**/*.html")) - set(folder.glob("_static/**/*"))):
        for link in re.findall(r"""\s(?:href|src)=["']([^"'#?]+)""", page.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:|//", link):
                continue
            target = page.parent / unquote(link)
            if not target.exists():
                dead.append(f"{page.relative_to(folder)} -> {link}")
    assert dead == []


def test_launch_buttons_open_the_committed_notebooks(book_site: Path):
    for name in read_toc(ROOT):
        if not read_page(ROOT, name).is_notebook:
            continue
        page = (book_site / f"{name}.html").read_text(encoding="utf-8")
        colab = re.search(r'href="https://colab\.research\.google\.com/github/moelaws/moelaws/([^"]+)"', page)
        assert colab, f"{name}: no button for Colab"
        assert colab[1] == f"blob/main/{name}.ipynb"
        assert f"%2F{name.rsplit('/')[-1]}.ipynb" in page or f"/{name}.ipynb" in page
        assert (ROOT / f"{name}.ipynb").is_file()
