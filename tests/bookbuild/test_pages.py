"""The pages before they are built: table of contents, headers, profiles, and what an output may show."""

import re
from pathlib import Path

import nbformat
import pytest

from bookbuild.error import BookError
from bookbuild.pages.chapter import Page, read_page
from bookbuild.pages.outputs import objections
from bookbuild.pages.pairs import to_notebook
from bookbuild.pages.sizes import check_profile, overrides
from bookbuild.pages.toc import read_toc
from bookbuild.site.place import check_site


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
        (
            nbformat.v4.new_output("display_data", data={"text/html": "<table><td>the law has no val...</td></table>"}),
            "a table whose sentences pandas has cut",
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
