"""How long a chapter takes, and where to look in a hurry: a Sphinx extension that writes both into its overview."""

from math import ceil
from typing import Any

from docutils import nodes

BOX = "Overview"
"""Title of the box at a chapter's head."""

HURRIED = ("What this shows, and what it does not", "Summary")
"""Sections that hold a chapter's result."""

EXERCISES = "Exercises"
WORDS_PER_MINUTE = 200

_SILENT = (nodes.literal_block, nodes.math, nodes.math_block, nodes.raw, nodes.comment, nodes.table)


def setup(app: Any) -> dict[str, Any]:
    """Tell Sphinx of the extension."""
    app.connect("doctree-read", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def reading(page: nodes.document) -> nodes.paragraph | None:
    """The sentence for a page's overview.

    Words of running text count, exercises and what code prints do not.

    Returns:
        A paragraph, or nothing for a page without an overview.
    """
    if _overview(page) is None:
        return None
    sections = {_title(each): each for each in page.findall(nodes.section)}
    minutes = max(1, ceil(_words(page, sections.get(EXERCISES)) / WORDS_PER_MINUTE))
    cells = [each for each in page.findall(nodes.container) if each.get("nb_element") == "cell_code_source"]
    lines = sum(each.astext().count("\n") + 1 for each in cells)
    aside = [f"{lines} lines of code"] * bool(lines) + ["the exercises"] * (EXERCISES in sections)
    text = f"{minutes} minute{'s' * (minutes > 1)} to read" + (f", {' and '.join(aside)} aside" if aside else "")
    said = nodes.paragraph("", "", nodes.strong("", text), nodes.Text("."), classes=["reading-time"])
    links = [(title, sections[title]) for title in HURRIED if title in sections]
    for place, (title, section) in enumerate(links):
        said += nodes.Text(", " if place else " In a hurry: ")
        said += nodes.reference("", title, refid=section["ids"][0], internal=True)
    if links:
        said += nodes.Text(".")
    return said


def _write(app: Any, page: nodes.document) -> None:
    said, box = reading(page), _overview(page)
    if said is not None and box is not None:
        box += said


def _overview(page: nodes.document) -> nodes.admonition | None:
    return next((each for each in page.findall(nodes.admonition) if _title(each) == BOX), None)


def _title(node: nodes.Element) -> str:
    title = next(iter(node.findall(nodes.title)), None)
    return "" if title is None else title.astext()


def _words(page: nodes.document, aside: nodes.Element | None) -> int:
    return sum(len(text.split()) for text in page.findall(nodes.Text) if _is_read(text, aside))


def _is_read(text: nodes.Node, aside: nodes.Element | None) -> bool:
    above = text.parent
    while above is not None:
        if above is aside or isinstance(above, _SILENT) or above.get("nb_element", "").startswith("cell_code"):
            return False
        above = above.parent
    return True
