"""Formulas of pages, as MathML."""

import re

import pytest

from bookbuild.pages.chapter import read_page
from bookbuild.pages.mathml import mathml
from bookbuild.pages.toc import read_toc
from books import pages_of
from repository import ROOT


def test_a_formula_keeps_what_was_written() -> None:
    made = mathml(r"a < \hat{b}")
    assert made.startswith('<math alttext="a &lt; \\hat{b}" ')
    assert "<mover" in made
    assert 'display="inline"' in made
    assert 'display="block"' in mathml("a", "block")


@pytest.mark.parametrize("environment", ["", "aligned", "split"])
def test_lines_are_aligned(environment: str) -> None:
    text = r"a &= b \\ c &= d"
    made = mathml(rf"\begin{{{environment}}}{text}\end{{{environment}}}" if environment else text)
    assert made.count("<mtr>") == 2
    assert ">&<" not in made


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (r"\frac{1}{", "NoAvailableTokens"),
        (r"\foo{x}", r"no command \\foo"),
        ("a^2^3", "DoubleSuperscripts"),
        (r"\left( x", "MissingRight"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        mathml(text)


@pytest.mark.parametrize("name", read_toc(ROOT))
def test_every_formula_of_the_book_can_be_read(name: str) -> None:
    text = re.sub(r"```+\{?code.*?```+|`[^`\n]*`", "", read_page(ROOT, name).text, flags=re.DOTALL)
    for one, other in re.findall(r"\$\$(.+?)\$\$|(?<![\\$\w])\$([^$\n]+?)\$(?!\w)", text, flags=re.DOTALL):
        mathml(one or other)


@pytest.mark.parametrize("book", ["small_site", "whole_site"])
def test_an_equation_has_the_number_that_references_to_it_say(book: str, request: pytest.FixtureRequest) -> None:
    referred = 0
    for path in pages_of(request.getfixturevalue(book)):
        text = path.read_text(encoding="utf-8")
        numbers = set(re.findall(r'<span class="eqno">(\([\d.]+\))', text))
        said = set(re.findall(r'href="#equation-[\w-]+">(?:<[^>]*>)*(\([\d.]+\))', text))
        assert said <= numbers, path.stem
        referred += len(said)
    assert referred
