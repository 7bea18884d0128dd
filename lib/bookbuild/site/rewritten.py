"""Which pages are written again: a Sphinx extension that leaves those whose every part is as it was.

A page shows its own text, and of the others their titles, numbers, labels and terms. Sphinx keeps all that in one
environment; while nothing in it differs but what pages keep for themselves, only pages that were read again can differ.
The folder of the site that Sphinx wrote last must still be there, as it was left; see `bookbuild.site.kept`.
"""

import hashlib
import pickle
import shutil
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from types import FunctionType
from typing import Any

from docutils import nodes

from bookbuild.pages.definitions import GLOSSARY

WRITTEN = "written.pickle"
"""File beside what Sphinx has read: what pages shared when they were written, and the words of each for the search."""

ONLY = "pages_written"
"""Sphinx's setting for a site of some pages: their names. The front page, which holds the contents, is always one."""

OWN = {
    "all_docs",
    "dependencies",
    "dlfiles",
    "images",
    "included",
    "nb_metadata",
    "original_image_uri",
    "page_states",
    "sphinx_exercise_gated_registry",
    "titles_old",
}
"""Parts of the environment of which a page takes nothing but its own; any other counts for all pages."""

GROUND = {"app", "config", "config_status", "config_status_extra", "domains", "events", "settings", "temp_data"}
"""Parts that hold settings, of which `Kept.ground` is the hash, or what lasts no longer than a build."""

_GATHERED = "citation_refs"
"""A list in the order in which pages happened to be read. What follows from it, in an order of its own, counts too."""

_WORDS = ("_titles", "_filenames", "_all_titles", "_index_entries", "_mapping", "_title_mapping")
"""What Sphinx's index holds. The one that it writes for readers lacks some of it."""


def setup(app: Any) -> dict[str, Any]:
    """Tell Sphinx of the extension."""
    app.add_config_value(ONLY, [], "", list)
    app.connect("builder-inited", _take_over)
    app.connect("build-finished", _note)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def shared(env: Any) -> str:
    """Hash of all that pages show of each other.

    Arguments:
        env: Sphinx's environment, when all pages are read.
    """
    parts = {name: part for name, part in vars(env).items() if name not in OWN | GROUND and not name.startswith("_")}
    return hashlib.sha256(_said(parts, ()).encode()).hexdigest()


def _said(part: Any, above: tuple[int, ...], gathered: bool = False) -> str:
    """A text that is the same for equal parts, in whatever order and process they were made."""
    if part is None or isinstance(part, str | int | float | bytes):
        return repr(part)
    if isinstance(part, Path):
        return repr(str(part))  # what else it holds is a cache
    if isinstance(part, nodes.Node):
        return part.pformat()
    if isinstance(part, type | FunctionType):
        return f"{part.__module__}.{part.__qualname__}"
    if id(part) in above:
        return "above"
    above = (*above, id(part))
    if isinstance(part, Mapping):
        items = ((_said(key, above), _said(value, above, key == _GATHERED)) for key, value in part.items())
        return _lines(map(":".join, items))
    if isinstance(part, Set) or gathered:
        return _lines(_said(each, above) for each in part)
    if isinstance(part, list | tuple):
        return f"[{','.join(_said(each, above) for each in part)}]"
    slots = [name for kind in type(part).__mro__ for name in getattr(kind, "__slots__", ())]
    fields = {name: getattr(part, name) for name in slots if hasattr(part, name)} | getattr(part, "__dict__", {})
    bare = "" if type(part).__repr__ is object.__repr__ else repr(part)  # that one tells an address
    return type(part).__qualname__ + (_said(fields, above) if fields else bare)


def _lines(texts: Iterable[str]) -> str:
    return f"{{{','.join(sorted(texts))}}}"


def _take_over(app: Any) -> None:
    builder = app.builder
    if builder.name != "html":
        return
    write, site, words = builder.write, Path(app.outdir), {}

    def write_changed(pages: Iterable[str] | None, read: Sequence[str], method: str = "update") -> None:
        if app.config[ONLY]:
            write(app.config[ONLY], [], "specific")
            return
        app.pages_shared, before = shared(app.env), _noted(app)
        if before["shared"] == app.pages_shared and GLOSSARY not in read and site.is_dir():
            # What is no page is laid out again whole. A page names some styles by their content, where they are there.
            shutil.rmtree(site / "_static")
            shutil.rmtree(site / "_downloads", ignore_errors=True)
            _drop_pictures(site, app.env)
            words.update(before["words"])
            write(list(read), [], "specific")
        else:
            shutil.rmtree(site, ignore_errors=True)  # pages that were removed since are no pages
            site.mkdir(parents=True)
            write(None, read, "all")

    def load_indexer(pages: Iterable[str]) -> None:
        for name, value in words.items():
            setattr(builder.indexer, name, value)
        _prune(builder.indexer, set(app.env.found_docs) - set(pages))

    builder.write, builder.load_indexer = write_changed, load_indexer


def _noted(app: Any) -> Mapping[str, Any]:
    """What was noted when pages were written last; nothing where they never were, or that did not end well."""
    path = Path(app.doctreedir, WRITTEN)
    if not path.is_file():
        return {"shared": None}
    written = path.read_bytes()
    path.unlink()
    try:
        noted: Mapping[str, Any] = pickle.loads(written)  # our own, beside what Sphinx pickles
        return noted if {"shared", "words"} <= set(noted) else {"shared": None}
    except Exception:  # a build that was killed left a part of it: whatever is amiss, it counts as none
        return {"shared": None}


def _note(app: Any, error: Exception | None) -> None:
    if error is None and hasattr(app, "pages_shared"):
        words = {name: getattr(app.builder.indexer, name) for name in _WORDS}
        noted = pickle.dumps({"shared": app.pages_shared, "words": words})
        Path(app.doctreedir, WRITTEN).write_bytes(noted)


def _prune(index: Any, pages: set[str]) -> None:
    """Leave the words of these pages alone in an index."""
    index.prune(pages)
    index._index_entries = {page: entries for page, entries in index._index_entries.items() if page in pages}
    for words in (index._mapping, index._title_mapping):
        for word in [word for word, found in words.items() if not found]:
            del words[word]


def _drop_pictures(site: Path, env: Any) -> None:
    """Drop pictures that no page shows any more."""
    shown = {name for _, name in env.images.values()}
    for picture in site.glob("_images/*"):
        if picture.name not in shown:
            picture.unlink()
