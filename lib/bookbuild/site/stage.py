"""The tree that Jupyter Book is given: one file a page, executed notebooks in the place of their texts.

Jupyter Book warns where `x.md` lies beside `x.ipynb`, and builds the wrong one; the tree holds each name once.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from bookbuild.error import BookError

CONFIG = ("_config.yml", "_toc.yml")
SOURCES = ("lib", "data")
"""Folders a page may include from (`literalinclude`); linked, never built."""

PAGE_SUFFIXES = {".md", ".ipynb", ".py"}


def site_files(root: Path) -> list[Path]:
    """List what a site is made of beside its pages: settings, references, styles, and pictures next to the chapters.

    Raises:
        BookError: `_config.yml` is missing.
    """
    if not (root / "_config.yml").is_file():
        raise BookError(f"{root / '_config.yml'}: expected the settings of the book, found no such file")
    files = [root / name for name in CONFIG] + sorted(root.glob("*.bib"))
    for folder in (root / "_static", root / "_templates", root / "images"):
        files += sorted(path for path in folder.glob("**/*") if path.is_file())
    files += [
        path
        for path in sorted((root / "chapters").glob("**/*"))
        if path.is_file() and path.suffix not in PAGE_SUFFIXES and ".ipynb_checkpoints" not in path.parts
    ]
    return files


def write_stage(stage: Path, root: Path, texts: Mapping[str, str], notebooks: Mapping[str, str]) -> None:
    """Lay the tree out.

    Arguments:
        stage: an empty folder.
        root: folder of the book.
        texts: page name -> MyST source of pages without code.
        notebooks: page name -> JSON of executed chapters.
    """
    for path in site_files(root):
        target = stage / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    for suffix, pages in ((".md", texts), (".ipynb", notebooks)):
        for name, content in pages.items():
            target = stage / f"{name}{suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content, encoding="utf-8")
    for name in SOURCES:
        if (root / name).is_dir():
            (stage / name).symlink_to((root / name).resolve(), target_is_directory=True)
