"""The tree that Jupyter Book is given: one file a page, executed notebooks in the place of their texts.

Jupyter Book warns where `x.md` lies beside `x.ipynb`, and builds the wrong one; the tree holds each name once.
"""

from collections.abc import Iterator, Mapping
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
    """Lay the tree out, so that the folder holds this and nothing else but Sphinx's own.

    A file whose content is right already is left as it is, with its date: Sphinx reads what is younger again.

    Arguments:
        stage: a folder, empty or as this function left it before.
        root: folder of the book.
        texts: page name -> MyST source of pages without code.
        notebooks: page name -> JSON of executed chapters.
    """
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in site_files(root)}
    files |= {f"{name}.md": text.encode() for name, text in texts.items()}
    files |= {f"{name}.ipynb": text.encode() for name, text in notebooks.items()}
    links = {name: (root / name).resolve() for name in SOURCES if (root / name).is_dir()}
    for name, target in links.items():
        if not (stage / name).is_symlink():
            (stage / name).symlink_to(target, target_is_directory=True)
    for path in _files_of(stage):
        if path.relative_to(stage).as_posix() not in files.keys() | links.keys():
            path.unlink()
    for name, content in files.items():
        path = stage / name
        if not (path.is_file() and path.read_bytes() == content):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _files_of(stage: Path) -> Iterator[Path]:
    for path in stage.iterdir():
        if path.is_dir() and not path.is_symlink():
            if path != stage / "_build":
                yield from (found for found in path.rglob("*") if not found.is_dir())
        else:
            yield path
