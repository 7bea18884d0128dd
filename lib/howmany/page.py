"""What a chapter's cells leave on their page: numbers for its sentences, and tables with words in them."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

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


def html(table: pd.DataFrame, escape: bool = True) -> "HTML":
    """A table of sentences as a page shows it, with lines that break and without an index.

    Args:
        table: texts.
        escape: whether ``<`` means itself; texts that bring tags of their own have escaped the rest.
    """
    from IPython.display import HTML

    return HTML(table.to_html(index=False, border=0, escape=escape))


def rows(records: Iterable[Sequence[Any]], columns: Sequence[str]) -> "HTML":
    """Records as such a table, one a row."""
    return html(pd.DataFrame(list(records), columns=list(columns)))


def listed(names: Iterable[str], none: str = "none", between: str = ", ") -> str:
    """Names as a sentence lists them, and a word where there is none."""
    return between.join(names) or none
