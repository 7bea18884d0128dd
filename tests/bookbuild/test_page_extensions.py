"""What Sphinx adds to pages for this book: reading times, descriptions, and definitions of terms."""

import re
from pathlib import Path

import pytest
from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import new_document
from sphinx import addnodes

from bookbuild.pages.definitions import definitions
from bookbuild.pages.head import LONGEST, description, tags
from bookbuild.pages.numerals import printed
from bookbuild.pages.prose import prose
from bookbuild.pages.reading_time import reading
from bookbuild.site.described import OPENING, fold
from bookbuild.site.table_heads import headed


def document(text: str) -> nodes.document:
    page = new_document("page", get_default_settings(Parser))
    Parser().parse(text, page)
    return page


def chapter(words: int, exercises: int = 0) -> nodes.document:
    return document(
        ".. admonition:: Overview\n\n   - What is found.\n\n"
        f"Words\n=====\n\n{'word ' * words}\n\nSummary\n=======\n\n- Short.\n\n"
        + (f"Exercises\n=========\n\n{'more ' * exercises}\n" if exercises else "")
    )


@pytest.mark.parametrize(("words", "minutes"), [(20, "1 minute "), (390, "2 minutes "), (1990, "10 minutes ")])
def test_a_chapter_says_how_long_it_takes(words: int, minutes: str) -> None:
    said = reading(chapter(words))
    assert said is not None
    assert said.astext() == f"{minutes}to read. In a hurry: Summary."
    assert [each["refid"] for each in said.findall(nodes.reference)] == ["summary"]


def test_exercises_and_code_are_left_aside() -> None:
    page = chapter(390, exercises=900)
    cell = nodes.container(nb_element="cell_code_source")
    cell += nodes.literal_block("", "a = 1\nb = 2\n" + "c = 3  # word word word\n" * 200)
    page.children[1] += cell
    said = reading(page)
    assert said is not None
    assert said.astext().startswith("2 minutes to read, 203 lines of code and the exercises aside.")


def test_a_page_without_an_overview_says_nothing() -> None:
    assert reading(document("Words\n=====\n\nWord.\n")) is None


def test_a_description_is_the_first_paragraph_cut_between_words() -> None:
    assert description(document("Title\n=====\n\nOne\ntwo.\n\nThree.")) == "One two."
    cut = description(document("word " * 100))
    assert len(cut) <= LONGEST
    assert cut.endswith("word …")


def test_what_is_said_of_a_page_is_no_markup() -> None:
    said = tags('a "b"', "<c> & d", "Book")
    assert '<meta property="og:title" content="a &quot;b&quot;" />' in said
    assert '<meta name="description" content="&lt;c&gt; &amp; d" />' in said


def test_terms_are_found_by_their_anchors() -> None:
    page = document("expert\n  One of several\n  networks.\n")
    for term in page.findall(nodes.term):
        term["ids"].append("term-expert")
    assert definitions(page) == {"term-expert": "One of several networks."}


def test_numbers_are_written_as_print_has_them() -> None:
    kept = '<span class="number">{}</span>'
    assert printed("<td>2.1e-04</td>") == f"<td>{kept.format('2.1e−4')}</td>"
    assert printed("<p>[-1E-5, 3e+02]</p>") == f"<p>[{kept.format('−1e−5')}, 3e2]</p>"
    assert printed("<td>1.32e+10</td><td>-0.5 [-1, -.2]</td>") == "<td>1.32e10</td><td>−0.5 [−1, −.2]</td>"
    assert printed("<td>-0.00 [-0.02, −0], -0.001</td>") == f"<td>0.00 {kept.format('[−0.02, 0]')}, −0.001</td>"
    assert printed("<p>N_a and E_max</p>") == "<p>N<sub>a</sub> and E<sub>max</sub></p>"
    assert printed("<td>D1 = 1e10</td>") == "<td>D1\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}1e10</td>"
    assert printed("<tr><th>lambda</th><td>mu</td></tr>") == "<tr><th>λ</th><td>μ</td></tr>"
    for same in (
        "<p>lambda, eta</p><td>alpha version</td><td>eta_0 of</td>",
        "<p><code>N_a</code>, d_model</p>",
        "<pre>a = 1e-3</pre>",
        '<a title="1e-3" href="x1e-3.html">1e-13</a>',
        "<script>{'a': 1e-3}</script>",
        "<p>v1e-3x, 12-13, 1e-3a, CC-BY-4.0, 2024-05-01, <em>GPT</em>-2, <code>-1</code></p>",
    ):
        assert printed(same) == same
    after = "<p><code>x</code><pre>1e-3</pre> 1e-3</p>"
    assert printed(after) == f"<p><code>x</code><pre>1e-3</pre> {kept.format('1e−3')}</p>"


def test_a_search_knows_prose_and_no_code() -> None:
    page = document("Words\n=====\n\nSaid in a ``sentence``.\n\n::\n\n   hidden_name = 3\n")
    page += nodes.math_block("", "beta")
    page += nodes.raw("", "<table><tr><td>told 0.123</td></tr></table><script>unsaid</script>", format="html")
    text = prose(page).astext()
    assert "Said in a sentence." in text
    assert "told" in text
    for absent in ("hidden_name", "beta", "0.123", "unsaid", "table"):
        assert absent not in text
    assert "hidden_name" in page.astext(), "the page itself keeps its code"


@pytest.mark.browser
def test_pages_of_the_book_say_it(book_site: Path) -> None:
    page = (book_site / "chapters" / "serving_cost.html").read_text(encoding="utf-8")
    assert re.search(r"<strong>\d+ minutes to read, \d+ lines of code", page)
    assert re.search(r'<meta property="og:title" content="[^"<]*Predicting cost', page)
    notation = (book_site / "notation.html").read_text(encoding="utf-8")
    assert re.search(r'<a [^>]*href="[^"]*glossary\.html#term-[^>]*title="[^"]{20,}"', notation)


def test_what_is_said_of_a_public_name_is_folded_behind_its_first_sentence() -> None:
    page = document("Words\n=====\n")
    described = addnodes.desc(objtype="class")
    fields = addnodes.desc_parameterlist("", "", addnodes.desc_parameter("", "a=1"), addnodes.desc_parameter("", "b"))
    member = addnodes.desc(objtype="method")
    member += [addnodes.desc_signature(), addnodes.desc_content("", nodes.paragraph("", "a"), nodes.paragraph("", "b"))]
    content = addnodes.desc_content("", nodes.paragraph("", "Do it."), nodes.paragraph("", "At length."), member)
    described += [addnodes.desc_signature("", "", addnodes.desc_name("", "Law"), fields), content]
    short = addnodes.desc(objtype="function")
    short += [addnodes.desc_signature(), addnodes.desc_content("", nodes.paragraph("", "No more."))]
    page += [described, short]
    fold(page)
    opening, first, after, *rest, closing = content.children
    assert (opening.astext(), after.astext(), closing.astext()) == (OPENING, "</summary>", "</details>")
    assert described.children[0].astext() == "Law"
    assert (first.astext(), [each.astext() for each in rest[:2]], rest[2]) == (
        "Do it.",
        ["Fields: a=1, b", "At length."],
        member,
    )
    assert len(short.children[-1].children) == 1
    assert len(member.children[-1].children) == 2


@pytest.mark.parametrize("kept", ["[−0.074, −0.047]", "[638 k, 702 k]", "[1 to 8]", "(1.23–3.03)", "[+0.084, +0.124]"])
def test_an_interval_stays_on_its_line(kept: str) -> None:
    assert printed(f"<td>1.2 {kept} nats</td>") == f'<td>1.2 <span class="number">{kept}</span> nats</td>'


@pytest.mark.parametrize("said", ["[Kwon et al., 2023]", "(a, b)", "runs[1, 2", "[2, 4, 8]", "(Sec. 3, Eq. 4)"])
def test_what_is_no_interval_may_break(said: str) -> None:
    assert printed(f"<p>{said}</p>") == f"<p>{said}</p>"


def test_a_share_and_a_factor_stay_with_their_number() -> None:
    assert printed("<p>in 95 % of them, by × 0.5</p>") == "<p>in 95\u00a0% of them, by ×\u00a00.5</p>"
    assert printed("<p><strong>95</strong> % of</p>") == "<p><strong>95</strong>\u00a0% of</p>"
    assert printed("<p><strong>many</strong> % of</p>") == "<p><strong>many</strong> % of</p>"
    assert printed("<th>E = 64, N_a = 4.7B</th>") == "<th>E\u00a0=\u00a064, N<sub>a</sub>\u00a0=\u00a04.7B</th>"
    assert printed("<td>2.9 M of 10 MB, C = 6 N D</td>") == "<td>2.9\u00a0M of 10 MB, C\u00a0=\u00a06 N D</td>"
    assert printed("<p>a = 5; <code>E = 64</code></p>") == "<p>a = 5; <code>E = 64</code></p>"
    assert printed("<pre>95 % 2</pre>") == "<pre>95 % 2</pre>"


def frame(above: str, below: str) -> str:
    body = "<tbody><tr><th>small</th><td>1</td></tr></tbody>"
    return f'<table class="dataframe"><thead><tr>{above}</tr><tr>{below}</tr></thead>{body}</table>'


def test_the_name_of_an_index_stands_beside_the_other_headings() -> None:
    made = headed(frame("<th></th><th>loss</th>", "<th>size</th><th></th>"))
    assert "<thead><tr><th>size</th><th>loss</th></tr></thead>" in made


@pytest.mark.parametrize(
    "table",
    [
        frame("<th>experts</th><th>4</th>", "<th>size</th><th></th>"),
        frame('<th></th><th colspan="2">loss</th>', "<th>size</th><th>a</th><th>b</th>"),
    ],
)
def test_headings_of_two_rows_stay_where_both_say_something(table: str) -> None:
    assert headed(table) == table


def test_cells_of_words_are_told_from_numbers() -> None:
    row = "<tr><th>the oracle of another text</th><td>1</td></tr>"
    made = headed(f'<table class="dataframe">{row}</table>')
    assert '<th class="words">the oracle' in made
    assert "<td>1</td>" in made
    assert headed(f'<table class="docutils">{row}</table>') == f'<table class="docutils">{row}</table>'
