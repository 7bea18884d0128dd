"""The notebook that a reader opens: plain Markdown, with numbers in the text and links for references."""

import inspect
import json
import re
from pathlib import Path

import pytest

from bookbuild.error import BookError
from bookbuild.pages.chapter import read_page
from bookbuild.pages.readable import UNKNOWN, Book, quoted, read_book, readable
from bookbuild.pages.toc import read_toc
from books import copy_small_book
from repository import ROOT

PAGE = "chapters/counting"
BOOK = Book(
    ROOT, {PAGE: {"share": "'94%'", "loss": "3.14159", "quoted": '"it\'s"'}, "chapters/isoflop": {"slope": "-0.02"}}
)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("It is {glue:text}`share`, or {glue:text}`loss:.2f`.", "It is 94%, or 3.14."),
        ("{glue:text}`quoted` {glue:text}`absent`", f"it's {UNKNOWN}"),
        ("{glue:text}`chapters/isoflop:slope` {glue:text}`chapters/isoflop:none`", f"-0.02 {UNKNOWN}"),
        ("[below](#what-this-shows-and-what-it-does-not)", "[below](#What-this-shows,-and-what-it-does-not)"),
        ("See {doc}`isoflop`.", "See [IsoFLOP surfaces](isoflop.ipynb)."),
        ("{doc}`/running` {doc}`how <../teaching>`", "[Running the book](../running.md) [how](../teaching.md)"),
        ("{cite:t}`yun2024` says", "[Yun et al. (2024)](https://arxiv.org/abs/2404.02852) says"),
        ("so {cite:p}`yun2024`", "so [(Yun et al., 2024)](https://arxiv.org/abs/2404.02852)"),
        ("by {eq}`eq9`", "by equation (1)"),
        ("{ref}`question-ratio`", "[`question-ratio`](question.ipynb)"),
        ("an {term}`expert`, {term}`two <expert>`", "an expert, two"),
        ("(here)=\n## Title\n\n$$\na\n$$ (eq9)\n", "## Title\n\n$$\na\n$$"),
        (":::{admonition} Note this\n:class: tip\n- one\n\n- two\n:::", "> **Note this**\n>\n> - one\n>\n> - two"),
        (":::{exercise-start}\n:label: a\n:::\nWhy?\n:::{exercise-end}\n:::", "**Exercise.**\n\nWhy?"),
        (":::{exercise} 5 minutes, easy\n:label: a\nWhy?\n:::", "**Exercise (5 minutes, easy).**\n\nWhy?"),
        (
            ":::{solution-start} a\n:class: dropdown\n:::\nSo.\n:::{solution-end}\n:::",
            "<details><summary>Solution</summary>\n\nSo.\n\n</details>",
        ),
        (":::{solution-start} a\n:::\nSo, with code:", "**Solution.**\n\nSo, with code:"),
        (":::{solution-end}\n:::", ""),
        (
            "So:\n\n```{literalinclude} ../lib/bookbuild/error.py\n:pyobject: BookError\n:language: python\n```",
            f"So:\n\n```python\n{inspect.getsource(BookError).rstrip()}\n```",
        ),
    ],
)
def test_what_only_sphinx_knows_has_a_plain_form(text: str, plain: str) -> None:
    assert readable(text, PAGE, BOOK) == plain


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{kbd}`x`", "the role 'kbd'"),
        ("```{mermaid}\nx\n```", "a box of the kind 'mermaid'"),
        ("{doc}`nowhere`", "the page 'nowhere'"),
        ("{cite:t}`nobody1999`", "cites 'nobody1999'"),
        ("{eq}`none`", "the equation 'none'"),
        ("{ref}`none`", "the exercise 'none'"),
        ("[below](#none)", "the heading '#none'"),
        ("```{literalinclude} ../lib/none.py\n```", "the code of ../lib/none.py"),
        ("```{literalinclude} ../lib/bookbuild/error.py\n:pyobject: None_\n```", "the code None_ of"),
    ],
)
def test_what_has_none_is_said(text: str, reason: str) -> None:
    with pytest.raises(BookError, match=f"{PAGE}.md.*{reason}"):
        readable(text, PAGE, BOOK)


@pytest.mark.parametrize("page", [name for name in read_toc(ROOT) if read_page(ROOT, name).is_notebook])
def test_no_notebook_of_the_book_holds_what_only_sphinx_knows(page: str) -> None:
    notebook = json.loads((ROOT / f"{page}.ipynb").read_text(encoding="utf-8"))
    text = "\n\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    assert re.findall(r"\{[a-z:-]+\}`[^`]*`|^:::.*|^```\{.*|^\([\w-]+\)=", text, flags=re.MULTILINE) == []
    for link in re.findall(r"\]\(((?!https?:)[^)#]+)\)", text):
        assert (ROOT / page).parent.joinpath(link).exists(), link


def test_a_page_quotes_numbers_of_another(small_site: Path) -> None:
    assert "Three is more than two." in (small_site / "index.html").read_text(encoding="utf-8")
    assert quoted("{glue:text}`share` {glue:text}`chapters/isoflop:slope`", PAGE, BOOK) == "{glue:text}`share` -0.02"
    with pytest.raises(BookError, match=r"index.md: quotes 'none' of chapters/isoflop"):
        quoted("{glue:text}`chapters/isoflop:none`", "index", BOOK)


def test_a_download_holds_the_numbers_of_its_build(small_site: Path, tmp_path: Path) -> None:
    book = read_book(copy_small_book(tmp_path / "book"))
    assert book.numbers == {}
    downloads = sorted((small_site / "_sources").glob("**/*.ipynb"))
    assert downloads
    for path in downloads:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        assert not any(cell.get("outputs") for cell in notebook["cells"])
        assert UNKNOWN not in "".join("".join(cell["source"]) for cell in notebook["cells"])
