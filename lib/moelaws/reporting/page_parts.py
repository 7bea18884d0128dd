"""What a page is made of: sections with a finding, words, tables and figures; and figures as inline SVG."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from moelaws.charts.chart_file import ChartFileError, svg_of
from moelaws.charts.theme import themed

_POWER = re.compile(r"(?<![\w.,'/-])(-?\d(?:\.\d+)?)e([+-]?)(\d{1,3})(?![\w'])")
_ACTIVE = re.compile(r"\bN_a\b")
_SHARE = re.compile(r"(?<=\d)%(?![\w'])")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_LARGEST = 600_000
"""Bytes of a figure beyond which it is left out: a page is to be sent."""


def written(text: str) -> str:
    """A sentence as a page has it: it begins with a capital, and 3e+11 is 3 × 10¹¹."""
    text = _SHARE.sub("\N{NO-BREAK SPACE}%", typeset(text).replace(" R2 ", " R² "))
    # Names of columns and laws stay as they are.
    first = text.split(" ", 1)[0].rstrip(",:;")
    return text[:1].upper() + text[1:] if first.isalpha() else text


def typeset(text: str) -> str:
    """Numbers and letters as on paper: 3 × 10¹¹ for 3e+11, and the index of N_a below the line."""
    return _ACTIVE.sub("Nₐ", _POWER.sub(_power, text))


def _power(match: re.Match[str]) -> str:
    exponent = str(int(match[3])).translate(_RAISED)
    times = "" if match[1] == "1" else f"{match[1]}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}"
    return f"{times}10{'⁻' if match[2] == '-' else ''}{exponent}"


@dataclass(frozen=True)
class Figure:
    """A chart on the page.

    Attributes:
        svg: the drawing, to stand in the page.
        words: what it shows, for those who do not see it.
        caption: below it.
        width: of the drawing, in pixels.
    """

    svg: str
    words: str
    caption: str
    width: float


@dataclass(frozen=True)
class Table:
    """A table on the page: text, numbers written out.

    Attributes:
        columns: heads.
        rows: cells.
        caption: above it.
        numbers: which columns are numbers, and stand to the right.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    numbers: tuple[bool, ...] = ()

    @classmethod
    def of(cls, shown: pd.DataFrame, caption: str = "") -> "Table":
        """A table of text; columns of which every cell begins like a number stand to the right."""
        rows = tuple(tuple(typeset(str(cell)) for cell in row) for row in shown.itertuples(index=False))
        numbers = tuple(
            all(re.match(r"[-+−<>≈]?\s?[\d.]|[-–]$|$", row[i]) for row in rows) for i in range(shown.shape[1])
        )
        heads = tuple(re.sub(r"\bR2$", "R²", typeset(str(column))) for column in shown.columns)
        return cls(heads, rows, caption, numbers)


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        key: its anchor.
        title: its heading.
        finding: what it says, in a sentence or two; first.
        words: paragraphs.
        tables, figures: what they say.
        formulas: plain text to be set apart.
        laws: name and formula, as MathML that this library wrote.
    """

    key: str
    title: str
    finding: str
    words: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    formulas: Sequence[str] = field(default_factory=tuple)
    laws: Sequence[tuple[str, str]] = field(default_factory=tuple)


def figure(chart: Any, caption: str, key: str) -> Figure | None:
    """A chart as a figure of the page; ``None`` where nothing draws, or the drawing would be too large.

    Args:
        chart: an Altair chart with a width of its own.
        caption: below it.
        key: different for each figure of a page: names inside the drawing begin with it.
    """
    spec = themed(chart)
    # Where the page's font is wider than the one that was measured with, its words need room.
    spec = {**spec, "background": None, "padding": 14}
    spec["config"] = {**spec.get("config", {}), "background": None}
    try:
        svg = svg_of(spec)
    except ChartFileError:
        return None
    if len(svg) > _LARGEST:
        return None
    # What stands between tags is text of the drawing.
    svg = re.sub(r">([^<>]+)</text>", lambda found: f">{typeset(found[1])}</text>", svg)
    # Two drawings on one page must not share the names that they refer to.
    svg = re.sub(r'\bid="', f'id="{key}-', svg)
    svg = re.sub(r"url\(#", f"url(#{key}-", svg)
    svg = re.sub(r'(xlink:)?href="#', f'href="#{key}-', svg)
    size = re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+) ([\d.]+)"', svg)
    width = float(size[1]) if size else 400.0
    svg = re.sub(r' width="[\d.]+" height="[\d.]+"', "", svg, count=1)
    return Figure(svg, str(spec.get("description", "")), caption, width)
