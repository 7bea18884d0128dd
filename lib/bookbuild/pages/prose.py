"""A search that finds what is said: a Sphinx extension that keeps code, formulas and digits out of the index."""

import html
import re
from typing import Any

from docutils import nodes

_UNREAD = re.compile(r"<(script|style|svg|noscript)\b.*?</\1>", re.DOTALL | re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{3,}")


def setup(app: Any) -> dict[str, Any]:
    """Tell Sphinx of the extension."""
    app.connect("builder-inited", _take_over)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def prose(page: nodes.document) -> nodes.document:
    """A page as its reader remembers it: without blocks of code and formulas; of tables and figures, their words."""
    said = page.deepcopy()
    for node in [*said.findall(_is_no_prose)]:
        if node.parent is None:
            continue
        words = _WORD.findall(html.unescape(re.sub(r"<[^>]+>", " ", _UNREAD.sub(" ", node.astext()))))
        kept = [nodes.Text(" ".join(words))] if isinstance(node, nodes.raw) and words else []
        node.parent.replace(node, kept)
    return said


def _is_no_prose(node: nodes.Node) -> bool:
    return isinstance(node, nodes.literal_block | nodes.doctest_block | nodes.raw | nodes.math | nodes.math_block)


def _take_over(app: Any) -> None:
    whole = getattr(app.builder, "index_page", None)
    if whole is None:
        return  # a builder without a search

    def index_page(name: str, page: nodes.document, title: str) -> None:
        whole(name, prose(page), title)

    app.builder.index_page = index_page
