"""A lesson as its author wrote it: slides parted by `---`, and notes that only the teacher sees."""

import re
from dataclasses import dataclass
from pathlib import Path

from bookbuild.error import BookError

_RULE = re.compile(r"^---\s*$", re.MULTILINE)
_NOTE = re.compile(r"^Note: (.+(?:\n(?!\n).+)*)\n?", re.MULTILINE)
_NAME = re.compile(r"(\d+)_[a-z_]+")


@dataclass(frozen=True)
class Slide:
    """One slide.

    Arguments:
        text: Markdown.
        notes: for the teacher; may be empty.
    """

    text: str
    notes: str = ""


@dataclass(frozen=True)
class Lesson:
    """The slides of a lesson.

    Arguments:
        name: of its file, without suffix; a number comes first, which puts lessons in order.
        title: heading of its first slide.
        slides: in order.
    """

    name: str
    title: str
    slides: tuple[Slide, ...]


def read_lessons(folder: Path) -> list[Lesson]:
    """All lessons of a folder, in order.

    Raises:
        BookError: there is none, a name without a number, or a lesson whose first slide has no title.
    """
    paths = sorted(folder.glob("*.md"), key=lambda path: (len(path.stem.partition("_")[0]), path.name))
    if not paths:
        raise BookError(f"{folder}: expected lessons such as 1_question.md, found none")
    return [_lesson(path) for path in paths]


def _lesson(path: Path) -> Lesson:
    if not _NAME.fullmatch(path.stem):
        raise BookError(f"{path}: expected a name such as 1_question.md, with the lesson's number first")
    slides = tuple(_slide(text) for text in _RULE.split(path.read_text(encoding="utf-8")))
    title = re.match(r"\s*# (.+)", slides[0].text)
    if title is None:
        raise BookError(f"{path}: the first slide has no title; it begins with `# `")
    if empty := [place for place, slide in enumerate(slides, start=1) if not slide.text.strip()]:
        raise BookError(f"{path}: slide {empty[0]} of {len(slides)} is empty")
    return Lesson(path.stem, title[1].strip(), slides)


def _slide(text: str) -> Slide:
    notes = " ".join(" ".join(found.split()) for found in _NOTE.findall(text))
    return Slide(_NOTE.sub("", text).strip(), notes)
