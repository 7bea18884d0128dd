"""Public names on one page: a Sphinx extension that shows each with its first sentence, and folds the rest behind it.

Nobody reads a hundred names from end to end. What is folded opens by a click, by a link to it, and on paper.
"""

from typing import Any

from docutils import nodes
from sphinx import addnodes

OPENING = '<details class="described"><summary>'


def setup(app: Any) -> dict[str, Any]:
    """Tell Sphinx of the extension."""
    app.connect("doctree-resolved", _fold)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def fold(document: nodes.document) -> None:
    """Fold what is said of each public name, but its first paragraph; members are folded with what they belong to.

    Args:
        document: a page; changed.
    """
    for described in list(document.findall(addnodes.desc)):
        content = described.children[-1] if described.children else None
        within = isinstance(described.parent.parent, addnodes.desc)
        if within or not isinstance(content, addnodes.desc_content) or len(content.children) < 2:
            continue
        first, *rest = content.children
        if not isinstance(first, nodes.paragraph):
            continue
        said = nodes.inline("", "", *first.children)
        content.children = []
        content += [_html(OPENING), said, _html("</summary>"), *_made_of(described), *rest, _html("</details>")]


def _made_of(described: addnodes.desc) -> list[nodes.Node]:
    """What a class is made of, taken from its name's line: a result's fields are read where they are explained."""
    lists = list(described.children[0].findall(addnodes.desc_parameterlist)) if described["objtype"] == "class" else []
    for each in lists:
        each.parent.remove(each)
    fields = [", ".join(field.astext() for field in each.children) for each in lists]
    return [nodes.paragraph("", "Fields: ", nodes.literal("", text)) for text in fields if text]


def _html(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")


def _fold(app: Any, document: nodes.document, name: str) -> None:
    fold(document)
