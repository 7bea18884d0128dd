"""The table of contents: which pages the book has, and which files they come from."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from bookbuild.error import BookError


def read_toc(root: Path) -> tuple[str, ...]:
    """List the pages of the book in reading order.

    Arguments:
        root: folder of the book, the one that holds `_toc.yml`.

    Returns:
        Page names without suffix, relative to `root`, for example `chapters/counting`; the first one is the front page.

    Raises:
        BookError: `_toc.yml` is missing or malformed, a page is listed twice or has no file, or a text below
            `chapters/` is listed nowhere (names that start with an underscore are drafts).
    """
    toc = _toc(root)
    pages = [_without_suffix(name) for name in _files(toc)]

    reasons = [f"_toc.yml: '{page}' is listed twice" for page in sorted({p for p in pages if pages.count(p) > 1})]
    reasons += [f"_toc.yml: '{page}' is listed, but there is no {page}.md" for page in pages if not _text(root, page)]
    listed = set(pages)
    for text in sorted((root / "chapters").glob("**/*.md")):
        page = text.relative_to(root).with_suffix("").as_posix()
        if page not in listed and not text.name.startswith("_"):
            reasons.append(
                f"{page}.md: in no entry of _toc.yml; list it, or begin its name with an underscore (a draft)"
            )
    if reasons:
        raise BookError(*reasons)
    return tuple(pages)


def read_parts(root: Path) -> list[tuple[str, tuple[str, ...]]]:
    """The parts of the book, each a caption and its pages; the front page is the first, without a caption.

    Raises:
        BookError: as for `read_toc`.
    """
    listed, toc = set(read_toc(root)), _toc(root)
    front = _without_suffix(toc["root"])
    parts: list[tuple[str, tuple[str, ...]]] = [("", (front,))]
    for part in toc.get("parts") or [toc]:
        pages = tuple(_without_suffix(name) for name in _files(part))
        parts.append((str(part.get("caption", "")), tuple(page for page in pages if page in listed and page != front)))
    return parts


def _toc(root: Path) -> dict[str, Any]:
    path = root / "_toc.yml"
    if not path.is_file():
        raise BookError(f"{path}: expected the table of contents of the book, found no such file")
    try:
        toc = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise BookError(f"_toc.yml: not valid YAML: {error}") from error
    if not isinstance(toc, dict) or not isinstance(toc.get("root"), str):
        raise BookError("_toc.yml: expected a mapping with the key 'root' that names the front page")
    return toc


def _files(entry: Any) -> Iterator[str]:
    """Walk parts, chapters and sections in the order they are written."""
    if isinstance(entry, dict):
        for key in ("root", "file"):
            if isinstance(entry.get(key), str):
                yield entry[key]
        for key in ("parts", "chapters", "sections", "subtrees", "entries"):
            for child in entry.get(key) or ():
                yield from _files(child)


def _without_suffix(name: str) -> str:
    return name.removesuffix(".md").removesuffix(".ipynb")


def _text(root: Path, page: str) -> bool:
    return (root / f"{page}.md").is_file()
