"""The table of chapters on the page for teachers, written from what the chapters say of themselves."""

import re
from collections.abc import Iterable
from pathlib import Path

from bookbuild.error import BookError
from bookbuild.pages.chapter import Page, read_page
from moelaws.files import write_whole

PAGE = "teaching.md"

_TABLE = re.compile(r"(^\| Chapter \| Students know \|[^\n]*\n\|[-|]+\|\n)((?:\|[^\n]*\n)*)", re.MULTILINE)
_EXERCISE = re.compile(r"^:::+\{exercise(?:-start)?\} (\d+) minutes", re.MULTILINE)


def write_teaching(root: Path, names: Iterable[str]) -> list[str]:
    """Write the table anew where chapters say something else.

    Args:
        root: folder of the book; one without a page for teachers needs none.
        names: pages of the book, in reading order.

    Returns:
        The page, if it was written.

    Raises:
        BookError: a chapter does not say what students know before it, or the page has no such table.
    """
    text, new = _texts(root, names)
    if text == new:
        return []
    write_whole(root / PAGE, new)
    return [PAGE]


def stale_teaching(root: Path, names: Iterable[str]) -> list[str]:
    """Say, in a sentence or none, that the table is not what the chapters say; errors as for ``write_teaching``."""
    text, new = _texts(root, names)
    return [] if text == new else [f"{PAGE}: its table is not what the chapters say; `make sync` writes it anew"]


def _texts(root: Path, names: Iterable[str]) -> tuple[str, str]:
    """The page as it is, and as it should be."""
    path = root / PAGE
    if not path.is_file():
        return "", ""
    text = path.read_text(encoding="utf-8")
    rows = "".join(row(read_page(root, name)) for name in names if name.startswith("chapters/"))
    new, count = _TABLE.subn(lambda found: found[1] + rows, text)
    if count != 1:
        raise BookError(f"{PAGE}: expected one table with the columns Chapter and Students know, found {count}")
    return text, new


def row(page: Page) -> str:
    """A chapter's line of the table.

    Raises:
        BookError: its header lacks ``moelaws: teaching: {know: TEXT, lessons: NUMBER}``.
    """
    said = (page.header.get("moelaws") or {}).get("teaching")
    known, lessons = (said.get("know"), said.get("lessons")) if isinstance(said, dict) else (None, None)
    if not isinstance(known, str) or not known or "|" in known or type(lessons) is not int or not 1 <= lessons <= 9:
        raise BookError(
            f"{page.name}.md: expected moelaws: teaching: {{know: what students know before, lessons: 1 to 9}} in the"
            f" header, found {said!r}"
        )
    minutes = sum(map(int, _EXERCISE.findall(page.text)))
    return f"| {{doc}}`{page.name}` | {known} | {lessons} | {minutes or '-'} |\n"
