"""What a chapter's cells leave on their page: numbers for its sentences, and tables with words in them."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from howmany.verdict import Judged

if TYPE_CHECKING:
    from IPython.display import HTML


def glue(**numbers: Any) -> None:
    """Hand numbers and words to the text around a cell, where ``{glue:text}`name` `` shows them.

    Args:
        numbers: name -> what stands in its place: a text as it is to be read, or a whole number.
    """
    # myst_nb belongs to the book; tables and figures are made without it.
    import myst_nb

    for name, value in numbers.items():
        myst_nb.glue(name, value, display=False)


def folded(title: str, table: pd.DataFrame, markup: bool = False, index: bool = True) -> "HTML":
    """A table that a reader opens by its title, where a sentence or a figure says what most want of it.

    Args:
        title: what is in the table, as a line to click.
        table: its numbers already written out, as ``charts.readable`` does.
        markup: whether its texts are HTML, and have escaped what is not.
        index: whether the index is a part of it.
    """
    from IPython.display import HTML

    written = table.to_html(border=0, escape=not markup, index=index)
    return HTML(f'<details class="folded"><summary>{escape(title)}</summary>{written}</details>')


def html(table: pd.DataFrame, escape: bool = True, index: bool = False) -> "HTML":
    """A table of sentences as a page shows it, whole, with lines that break.

    Args:
        table: texts.
        escape: whether ``<`` means itself; texts that bring tags of their own have escaped the rest.
        index: whether the index is a part of it.
    """
    from IPython.display import HTML

    return HTML(table.to_html(index=index, border=0, escape=escape))


def rows(records: Iterable[Sequence[Any]], columns: Sequence[str]) -> "HTML":
    """Records as such a table, one a row."""
    return html(pd.DataFrame(list(records), columns=list(columns)))


def listed(names: Iterable[str], none: str = "none", between: str = ", ") -> str:
    """Names as a sentence lists them, and a word where there is none."""
    return between.join(names) or none


def verdict_table(found: Iterable[Judged]) -> pd.DataFrame:
    """Claims with what was measured and their one word, as a page shows them; texts are HTML.

    Of several findings the last stands, which is that of the largest budget; the others unfold.
    """
    return pd.DataFrame(
        {
            "claim": f"{escape(each.claim.statement)} ({escape(each.claim.where)})",
            "measured": _measured(each),
            "verdict": verdict_line(each),
        }
        for each in found
    )


def _measured(found: Judged) -> str:
    lines = [escape(f"{one.where}: {one.text or one.open}".removeprefix(": ")) for one in found.findings]
    if not lines:
        return escape(found.reason)
    *others, last = lines
    if not others:
        return last
    return f"<details><summary>{last}; {len(others)} more</summary>{'<br>'.join(others)}</details>"


def verdict_line(found: Judged) -> str:
    """A verdict with how many findings lead to it and how often a placebo gets it; HTML."""
    return ", ".join(part for part in (verdict_html(found), found.share, found.asked_placebo) if part)


def verdict_cell(found: Judged, *more: str) -> str:
    """A verdict in a table of many: the word, behind which the rest unfolds; HTML.

    Args:
        found: the verdict.
        more: what else is said of it, each on a line of its own, as HTML.
    """
    asked = ", ".join(part for part in (found.share, found.asked_placebo) if part)
    lines = [part for part in (asked, *more) if part]
    if not lines:
        return verdict_html(found)
    return f"<details><summary>{verdict_html(found)}</summary><small>{'<br>'.join(lines)}</small></details>"


def verdict_html(found: Judged) -> str:
    """A verdict as every page shows it: the word, marked with its claim and with whose verdict it is.

    ``verdicts.on_pages`` reads the marks back, and finds a claim that is judged differently on two pages.
    """
    mark = f'data-claim="{escape(found.claim.key)}" data-by="{escape(found.by)}"'
    return f"<b {mark}>{escape(found.text)}</b>"
