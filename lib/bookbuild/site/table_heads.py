"""Tables of a chapter's cells as print has them: one row of headings, and words in columns wide enough to be read.

pandas gives the name of an index a row of its own below the other headings; here it stands in the corner above them.
"""

import re
from html import unescape
from typing import Any

WORDS = 14
"""Letters from which a cell counts as words: on a phone it breaks into two or three lines, and not at each space."""

_TABLE = re.compile(r'<table\b[^>]*class="[^"]*\bdataframe\b[^"]*"[^>]*>.*?</table>', re.DOTALL)
_HEAD = re.compile(r"<thead>\s*<tr[^>]*>(?P<above>.*?)</tr>\s*<tr[^>]*>(?P<below>.*?)</tr>\s*</thead>", re.DOTALL)
_HEADING = re.compile(r"<th\b[^>]*>(.*?)</th>", re.DOTALL)
_CELL = re.compile(r"<(t[dh])(?P<rest>[^>]*)>(?P<inner>.*?)(?=</\1>)", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")


def setup(app: Any) -> dict[str, Any]:
    """Tell Sphinx of the extension."""
    app.connect("html-page-context", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def headed(body: str) -> str:
    """A page's HTML with its tables of data rewritten; all else as it is.

    Two rows of headings become one where no column has a heading in both; a cell of many letters gets the class
    ``words``.
    """
    return _TABLE.sub(lambda table: _CELL.sub(_marked, _HEAD.sub(_one_row, table[0])), body)


def _one_row(head: re.Match[str]) -> str:
    above, below = (_HEADING.findall(head[part]) for part in ("above", "below"))
    spans = "colspan" in head["above"] or "rowspan" in head["above"]
    if spans or len(above) != len(below):
        return head[0]
    if any(one.strip() and two.strip() for one, two in zip(above, below, strict=True)):
        return head[0]
    cells = "".join(f"<th>{one if one.strip() else two}</th>" for one, two in zip(above, below, strict=True))
    return f"<thead><tr>{cells}</tr></thead>"


def _marked(cell: re.Match[str]) -> str:
    said = unescape(_TAG.sub("", cell["inner"])).strip()
    if len(said) < WORDS or " " not in said or "class=" in cell["rest"]:
        return cell[0]
    return f'<{cell[1]}{cell["rest"]} class="words">{cell["inner"]}'


def _write(app: Any, name: str, template: str, context: dict[str, Any], page: Any) -> None:
    if "body" in context:
        context["body"] = headed(context["body"])
