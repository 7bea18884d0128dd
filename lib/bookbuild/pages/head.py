"""What a page says of itself where it is linked from: a Sphinx extension that writes a description and Open Graph tags.

No picture is named: its address would have to hold the host, and the same site is served from several.
"""

import html
import re
from typing import Any

from docutils import nodes

LONGEST = 200
"""Letters of a description; search engines show no more."""


def setup(app: Any) -> dict[str, Any]:
    """Tell Sphinx of the extension."""
    app.connect("html-page-context", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def description(page: nodes.document) -> str:
    """What a page is about: its first paragraph, cut between words where it is long."""
    first = next((each.astext() for each in page.findall(nodes.paragraph)), "")
    words = " ".join(first.split())
    return words if len(words) <= LONGEST else words[: LONGEST - 1].rsplit(" ", 1)[0] + " …"


def tags(title: str, words: str, book: str) -> str:
    """Elements for the head of a page.

    Arguments:
        title: of the page.
        words: its description.
        book: title of the site.
    """
    said = {"og:title": title, "og:description": words, "og:site_name": book, "og:type": "article"}
    graph = [f'<meta property="{name}" content="{html.escape(text)}" />' for name, text in said.items() if text]
    plain = [f'<meta name="description" content="{html.escape(words)}" />'] * bool(words)
    return "\n".join(["", *plain, *graph, '<meta name="twitter:card" content="summary" />', ""])


def _write(app: Any, name: str, template: str, context: dict[str, Any], page: nodes.document | None) -> None:
    if page is not None:
        title = _plain(context.get("title", ""))
        context["metatags"] = context.get("metatags", "") + tags(title, description(page), app.config.html_title)


def _plain(title: str) -> str:
    """A title without the tags that a theme is given."""
    return html.unescape(re.sub(r"<[^>]+>", "", title))
