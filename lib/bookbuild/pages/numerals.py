"""Numbers that stay on one line: a Sphinx extension, for browsers break 2.1e-04 behind its minus."""

import re
from typing import Any

_NUMBER = re.compile(r"(?<![\w.])[-+−]?\d[\d.]*e[-+−]\d+(?!\w)", re.IGNORECASE)
_TAG = re.compile(r"(<[^>]*>)")
_OPENS = re.compile(r"<(/?)(pre|script|style|math|svg|textarea)\b")
"""Elements whose text is not the author's to set, or that break no line."""


def setup(app: Any) -> dict[str, Any]:
    """Tell Sphinx of the extension."""
    app.connect("html-page-context", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def unbroken(body: str) -> str:
    """A page's HTML with each number that has a signed exponent in an element of its own."""
    parts, inside = _TAG.split(body), 0
    for place, part in enumerate(parts):
        if place % 2:
            if tag := _OPENS.match(part):
                inside += -1 if tag[1] else 1
        elif not inside:
            parts[place] = _NUMBER.sub(r'<span class="number">\g<0></span>', part)
    return "".join(parts)


def _write(app: Any, name: str, template: str, context: dict[str, Any], page: Any) -> None:
    if "body" in context:
        context["body"] = unbroken(context["body"])
