"""`make slides`: each lesson as one HTML file that needs no host, no network and, to be read, no script.

A deck of our own rather than one of the large frameworks: what a lesson needs of them, slides that snap, keys, notes
and print, is the style and the thirty lines of script beside this module; a framework would be a megabyte to ship.
"""

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bookbuild.error import BookError
from bookbuild.pages.mathml import mathml
from bookbuild.pages.numerals import printed
from bookbuild.pages.readable import quoted, read_book
from bookbuild.slides.figures import Figures
from bookbuild.slides.lesson import Lesson, read_lessons
from moelaws.files import check_beginning, write_whole

MARK = "<!-- a lesson of moelaws, made by make slides -->\n"


def write_slides(root: Path, site: Path, folder: Path) -> list[Path]:
    """Write every lesson, and a page that lists them.

    Arguments:
        root: folder of the book, with its lessons in `slides`.
        site: the built site, whose figures are shown.
        folder: where to write.

    Returns:
        What was written; nothing is, unless all of it can be.

    Raises:
        BookError: a lesson cannot be read, a number or figure that it shows is not there, or a file is not ours.
    """
    lessons, book, figures = read_lessons(root / "slides"), read_book(root), Figures(site)
    texts = {f"{lesson.name}.html": deck(lesson, book, figures) for lesson in lessons}
    texts["index.html"] = _list(lessons)
    for name in texts:
        try:
            check_beginning(folder / name, MARK)
        except FileExistsError:
            raise BookError(f"{folder / name}: expected a lesson to replace, found another file") from None
        except FileNotFoundError:
            pass  # the folder is made below
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_whole(folder / name, text)
    return [folder / name for name in texts]


def deck(lesson: Lesson, book: Any, figures: Figures) -> str:
    """One lesson as HTML, with the recorded numbers and the figures of a built site."""
    sections = []
    for place, slide in enumerate(lesson.slides, start=1):
        where = f"slides/{lesson.name}.md, slide {place}"
        body = _rendered(quoted(slide.text, f"slides/{lesson.name}", book), figures, where)
        notes = f'<aside class="notes">{html.escape(slide.notes)}</aside>' if slide.notes else ""
        number = f'<p class="number-of">{place} / {len(lesson.slides)}</p>'
        kind = "slide first" if place == 1 else "slide"
        sections.append(
            f'<section class="{kind}" id="s{place}"><div class="inner">{body}</div>{notes}{number}</section>'
        )
    return _page(lesson.title, f"<main>{''.join(sections)}</main><script>{_beside('deck.js')}</script>")


def _rendered(text: str, figures: Figures, where: str) -> str:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    def formula(content: str, options: dict[str, Any]) -> str:
        try:
            return mathml(content, "block" if options.get("display_mode") else "inline")
        except ValueError as error:
            raise BookError(f"{where}: a formula cannot be read: {error}") from None

    reader = MarkdownIt("commonmark", {"html": False}).enable("table").use(dollarmath_plugin, renderer=formula)
    made = str(reader.render(text))

    def figure(found: re.Match[str]) -> str:
        page, words = html.unescape(found["page"]), html.unescape(found["words"])
        source, described = figures.find(page, words, where)
        return f'<img class="figure" src="{source}" alt="{html.escape(described)}" />'

    return printed(re.sub(r'<img src="(?P<page>[^"]*)" alt="(?P<words>[^"]*)" />', figure, made))


def _list(lessons: Sequence[Lesson]) -> str:
    items = "".join(f'<li><a href="{each.name}.html">{html.escape(each.title)}</a></li>' for each in lessons)
    words = "Arrow keys or space go on, N shows the notes, and printing makes a page of each slide."
    return _page("Lessons", f'<main class="list"><h1>Lessons</h1><ol>{items}</ol><p>{words}</p></main>')


def _page(title: str, body: str) -> str:
    head = '<meta charset="utf-8" /><meta name="viewport" content="width=device-width, initial-scale=1" />'
    return (
        f'{MARK}<!DOCTYPE html>\n<html lang="en"><head>{head}<title>{html.escape(title)}</title>'
        f"<style>{_beside('deck.css')}</style></head><body>{body}</body></html>\n"
    )


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
