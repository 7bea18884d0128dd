"""Pairs: the MyST text of a chapter and the notebook without outputs that a reader opens, in Jupyter, Colab or Binder.

The text is the truth. The notebook is a pure function of it and of the recorded numbers, down to the cell ids, so that
"in step" means equal bytes, two people who write the pair get the same file, and an unchanged cell keeps its id. What
papermill executes is made of the text, too, but with all that Sphinx is to see.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bookbuild.error import BookError
from bookbuild.pages.chapter import Page, read_page
from bookbuild.pages.readable import Book, read_book, readable
from moelaws.files import write_whole


def to_notebook(page: Page) -> Any:
    """Turn the text of a chapter into a notebook without outputs.

    Returns:
        An nbformat notebook whose cell ids are hashes of the cells' contents.

    Raises:
        BookError: jupytext cannot read the text.
    """
    # Imported here: a build with nothing to do must not wait for it.
    import jupytext

    try:
        notebook = jupytext.reads(page.text, fmt="md:myst")
    except Exception as error:
        raise BookError(f"{page.name}.md: jupytext cannot read it: {error}") from error
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        content = f"{cell.cell_type}\n{cell.source}"
        seen[content] += 1
        cell["id"] = hashlib.sha256(f"{seen[content]}\n{content}".encode()).hexdigest()[:12]
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def notebook_text(page: Page, book: Book) -> str:
    """The exact content of the `.ipynb` file that a reader opens, see `plain_notebook`."""
    return text_of(plain_notebook(page, book))


def text_of(notebook: Any) -> str:
    """A notebook as the content of a file."""
    import nbformat

    return nbformat.writes(notebook, version=4) + "\n"


def plain_notebook(page: Page, book: Book) -> Any:
    """The notebook that a reader opens: references are links, and numbers stand in the text.

    Arguments:
        page: the chapter.
        book: what it refers to, and the numbers.

    Raises:
        BookError: the text has something that there is no plain form of.
    """
    notebook, cells = to_notebook(page), []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = readable(cell.source, page.name, book)
        if cell.source:
            cells.append(cell)
    notebook.cells = cells
    return notebook


def stale_pairs(root: Path, names: Iterable[str]) -> list[str]:
    """Say which notebooks are not what their text says.

    Arguments:
        root: folder of the book.
        names: pages of the book; those without code have no pair.

    Returns:
        One sentence for each pair that is out of step, empty where all is well.
    """
    reasons = []
    book, pages = read_book(root), [page for page in (read_page(root, name) for name in names) if page.is_notebook]
    for page in pages:
        path = root / f"{page.name}.ipynb"
        if not path.is_file():
            reasons.append(f"{page.name}.ipynb: missing; `make sync` writes it from {page.name}.md")
        elif path.read_text(encoding="utf-8") != notebook_text(page, book):
            reasons.append(f"{page.name}.ipynb: not what {page.name}.md says; `make sync` writes it anew")
    return reasons + _orphans(root, {page.name for page in pages})


def write_pairs(root: Path, names: Iterable[str]) -> list[str]:
    """Write the notebook of each chapter where it differs from the text.

    Returns:
        Paths written, relative to `root`.

    Raises:
        BookError: a notebook lies below `chapters/` that has no text. It is never deleted: it may be somebody's work.
    """
    book, pages = read_book(root), [page for page in (read_page(root, name) for name in names) if page.is_notebook]
    written = []
    for page in pages:
        path, text = root / f"{page.name}.ipynb", notebook_text(page, book)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_whole(path, text)
            written.append(f"{page.name}.ipynb")
    orphans = _orphans(root, {page.name for page in pages})
    if orphans:
        raise BookError(*orphans)
    return written


def _orphans(root: Path, names: set[str]) -> list[str]:
    """Notebooks below `chapters/` that no text of the book stands behind."""
    found = (path.relative_to(root) for path in sorted((root / "chapters").glob("**/*.ipynb")))
    return [
        f"{path.as_posix()}: no chapter of that name in the book; write {path.with_suffix('.md').as_posix()}"
        " (the text is the truth) and list it in _toc.yml, or delete the notebook"
        for path in found
        if path.with_suffix("").as_posix() not in names
        and not path.name.startswith("_")
        and ".ipynb_checkpoints" not in path.parts
    ]
