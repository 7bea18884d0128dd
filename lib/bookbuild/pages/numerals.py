"""Numbers as print has them: a Sphinx extension.

A minus is no hyphen, 1.32e+10 is 1.32e10, and what belongs to a number stays on its line: 2.1e−4, [−0.02, 0.03],
(1.2–1.9), 95 %, × 1.5, E = 64, 2.9 M. A zero has no sign, and N_a has its index below the line.
A coefficient whose name fills a cell of a table, such as lambda, is written as its letter.
"""

import re
from html import unescape
from typing import Any

_NUMBER = re.compile(
    r"(?<![\w.])(?P<sign>[-+−]?)(?P<digits>\d[\d.]*)e(?P<side>[-+−]?)0*(?P<power>\d+)(?!\w)", re.IGNORECASE
)
_MINUS = re.compile(r"(?<![\w.)\]%/–−-])-(?=\.?\d)")
_ZERO = re.compile(r"(?<![\w.)\]%/–−-])[-−](?=0(?:\.0*)?(?![\w.]))")
_INDEX = re.compile(r"\b([A-Z])_([a-z]+)\b")
_VALUE = r"[-+−]?\d[\d.,]*(?<!,)(?:e[-+−]?\d+)?(?: ?[kMB%])?"
_BETWEEN = re.compile(rf"\[{_VALUE}(?:, | to ){_VALUE}\]|\({_VALUE}–{_VALUE}\)")
_SHARE = re.compile(r"(?<=\d) %")
_TIMES = re.compile(r"× (?=\d)")
_EQUAL = re.compile(r"\b([A-Z]\d?(?:_[a-z]+)?) = (?=[-−]?[.\d])")
_CELL = re.compile(r"<t[hd]\b")
_LETTER = re.compile("alpha|beta|gamma|delta|lambda|omega|zeta|eta|mu|kappa|rho|theta")
_UNIT = re.compile(r"(?<=\d) (?=[kMB]\b(?![]),–]))")  # but in intervals, which are kept whole below
_TAG = re.compile(r"(<[^>]*>)")
_OPENS = re.compile(r"<(/?)(pre|script|style|math|svg|textarea|code|a)\b")
"""Elements whose text is not the author's to set, or that break no line."""


def setup(app: Any) -> dict[str, Any]:
    """Tell Sphinx of the extension."""
    app.connect("html-page-context", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def printed(body: str) -> str:
    """A page's HTML with its numbers as print has them; those with a signed exponent in an element of their own."""
    parts, inside, last = _TAG.split(body), 0, ""
    for place, part in enumerate(parts):
        if place % 2:
            if tag := _OPENS.match(part):
                inside += -1 if tag[1] else 1
        elif not inside and part:
            # A hyphen right behind an element belongs to the word that it ends: <em>GPT</em>-2.
            word = part[: place > 0 and parts[place - 1].startswith("</") and part.startswith("-")]
            said = _MINUS.sub("−", _ZERO.sub("", part[len(word) :]))
            if last.isdigit() and said.startswith(" %"):  # behind a number in an element of its own
                said = f"\N{NO-BREAK SPACE}{said[1:]}"
            if place and _CELL.match(parts[place - 1]) and _LETTER.fullmatch(said):
                said = unescape(f"&{said};")
            said = _TIMES.sub("×\N{NO-BREAK SPACE}", _SHARE.sub("\N{NO-BREAK SPACE}%", said))
            said = _UNIT.sub("\N{NO-BREAK SPACE}", _EQUAL.sub("\\1\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}", said))
            said = _BETWEEN.sub(lambda interval: f'<span class="number">{interval[0]}</span>', said)
            said = _INDEX.sub(r"\1<sub>\2</sub>", _NUMBER.sub(_number, said))
            parts[place], last = word + said, part[-1]
    return "".join(parts)


def _number(found: re.Match[str]) -> str:
    sign, side = (found[name].replace("-", "−") for name in ("sign", "side"))
    text = f"{sign}{found['digits']}e{side.replace('+', '')}{found['power']}"
    return f'<span class="number">{text}</span>' if side == "−" else text


def _write(app: Any, name: str, template: str, context: dict[str, Any], page: Any) -> None:
    if "body" in context:
        context["body"] = printed(context["body"])
