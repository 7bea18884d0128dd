"""What a teacher gives out: the chapters as notebooks without answers, the answers by themselves, and the data."""

import posixpath
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bookbuild.error import BookError
from bookbuild.pages.chapter import Page, read_page
from bookbuild.pages.pairs import notebook_text, plain_notebook, text_of
from bookbuild.pages.readable import Book, read_book, readable
from bookbuild.pages.toc import read_toc
from moelaws.files import check_beginning, write_whole

_ANSWER = re.compile(
    r"^(?P<fence>:{3,})\{(?:solution-start\} *(?P<about>\S+)[^\n]*\n.*?^(?P=fence)\{solution-end\}\n(?P=fence)"
    r"|solution\} *(?P<whose>\S+)[^\n]*\n.*?^(?P=fence)"
    r"|(?:dropdown|admonition)\} *(?:Answer|Hint|Solution)\b[^\n]*\n.*?^(?P=fence))[ ]*$\n?",
    re.MULTILINE | re.DOTALL,
)
_EXERCISE = re.compile(
    r"^(?P<fence>:{3,})\{exercise(?P<apart>-start)?\}[^\n]*\n(?::label: *(?P<label>\S+) *\n)?(?P<text>.*?)"
    r"^(?(apart)(?P=fence)\{exercise-end\}\n(?P=fence)|(?P=fence))[ ]*$\n?",
    re.MULTILINE | re.DOTALL,
)
_ANSWER_CELL = re.compile(
    r"^```\{code-cell\}(?:(?!^```$).)*?\bsolution_numbers\((?:(?!^```$).)*^```[ ]*$\n?", re.M | re.S
)
"""A cell that works out the numbers of an answer."""

MARK = '{"kind": "moelaws handout"}\n'


@dataclass(frozen=True)
class Answer:
    """The answer of an exercise.

    Arguments:
        label: of the exercise; empty where a box only says that it is an answer.
        text: as the chapter has it, box and code cells included.
    """

    label: str
    text: str


def answers(page: Page) -> list[Answer]:
    """All answers of a chapter, in its order."""
    return [Answer(found["about"] or found["whose"] or "", found[0]) for found in _ANSWER.finditer(page.text)]


def without_answers(page: Page) -> Page:
    """The chapter with its questions only."""
    return replace(page, text=_ANSWER_CELL.sub("", _ANSWER.sub("", page.text)))


def write_handout(root: Path, folder: Path) -> list[str]:
    """Write the chapters without answers, one notebook with all answers, and the data that they read.

    Arguments:
        root: folder of the book.
        folder: new, empty, or an older handout, which is replaced.

    Returns:
        Names of what was written, relative to the folder.

    Raises:
        BookError: the folder holds something else, or an answer has no exercise.
    """
    mark = folder / "handout.json"
    if folder.exists() and any(folder.iterdir()):
        try:
            check_beginning(mark, MARK)
            if not mark.is_file():
                raise OSError("it is not empty")
        except OSError as error:
            raise BookError(f"{folder}: expected an empty folder or an older handout ({error})") from None
    book, written = read_book(root), []
    pages = [page for page in (read_page(root, name) for name in read_toc(root)) if page.is_notebook]
    texts = {f"{page.name}.ipynb": notebook_text(without_answers(page), book) for page in pages}
    texts["solutions/solutions.ipynb"] = _solutions(pages, book)
    for name in [page for page in read_toc(root) if f"{page}.ipynb" not in texts]:
        page = read_page(root, name)
        texts[f"{name}.md"] = readable(without_answers(page).text, name, book) + "\n"
        if answers(page):
            texts[f"solutions/{page.stem}.md"] = _moved(readable(page.text, name, book), name) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(mark, MARK)
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_whole(folder / name, text)
        written.append(name)
    shutil.copytree(root / "data", folder / "data", dirs_exist_ok=True)
    for name in _named_besides(root, pages):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, folder / name)
    return written


def _named_besides(root: Path, pages: list[Page]) -> Iterator[str]:
    """Files of the book that chapters name and that are not among its data."""
    root = root.resolve()
    for page in pages:
        for path in re.findall(r"""["'](\.\./[\w./-]+)["']""", page.text):
            file = (root / page.name).parent.joinpath(path).resolve()
            if file.is_file() and file.is_relative_to(root) and not file.is_relative_to(root / "data"):
                yield file.relative_to(root).as_posix()


def _moved(text: str, page: str) -> str:
    """A page's text with its links as they are to be in the folder of the solutions."""
    folder = posixpath.dirname(page)
    return re.sub(
        r"(?<=\]\()(?![a-z]+:|#)([^)\s]+)",
        lambda found: posixpath.relpath(posixpath.join(folder, found[0]), "solutions"),
        text,
    )


def _solutions(pages: list[Page], book: Book) -> str:
    """One notebook: for each chapter its exercises, each with its answer and the code that belongs to it.

    That code asks for what the cells of its chapter have computed, so it is shown: it runs in the chapter's notebook.
    """
    from nbformat.v4 import new_markdown_cell

    whole: Any = None
    for page in pages:
        if known := answers(page):
            header = page.text[: page.text.index("\n---\n", 4) + 5]
            text = f"{header}\n## {book.titles[page.name][0]}\n\n" + "\n".join(_pairs(page, known))
            notebook = plain_notebook(replace(page, text=text), book)
            for number, cell in enumerate(notebook.cells):
                if cell.cell_type == "markdown":
                    cell.source = _moved(cell.source, page.name)
                else:
                    shown = new_markdown_cell(f"```python\n{cell.source}\n```", id=cell.id)
                    notebook.cells[number] = shown
            if whole is None:
                whole = notebook
            else:
                whole.cells += notebook.cells
    return text_of(whole)


def _pairs(page: Page, known: list[Answer]) -> Iterator[str]:
    questions = {found["label"]: found[0] for found in _EXERCISE.finditer(page.text) if found["label"]}
    for answer in known:
        if answer.label and answer.label not in questions:
            raise BookError(f"{page.name}.md: the answer of '{answer.label}' has no exercise of that label")
        yield questions.get(answer.label, "") + "\n" + answer.text
