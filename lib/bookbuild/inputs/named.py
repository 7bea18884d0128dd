"""What the text of a chapter says that it depends on: the modules it imports, and the files that it or they name."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bookbuild.inputs.modules import Library
from bookbuild.inputs.states import states_of
from bookbuild.inputs.uses import WHOLE, Uses, uses
from bookbuild.pages.chapter import Page

OURS = frozenset({"bookbuild", "howmany", "moelaws"})
"""Packages of the folder that this builder lies in; what else may lie there is installed, and pinned."""

BUILDER = Path(__file__).resolve().parents[2]

_PATH = re.compile(r"[\w@+.-]*(/[\w@+.-]+)+\.\w+")
_LONGEST = 300


def library_of(root: Path) -> Library:
    """The sources that chapters of a book can import, as they are now."""
    return Library(((root / "lib", None), (BUILDER, OURS)))


def sources_of(root: Path) -> tuple[Path, ...]:
    """Folders whose files count as inputs of a chapter: the book's, and the packages of this builder's library."""
    return (root, *(BUILDER / name for name in sorted(OURS)))


@dataclass(frozen=True)
class Named:
    """Inputs of a chapter that can be known before it is executed.

    Arguments:
        modules: files of the modules it imports, or these do, relative to the root of the book.
        lookups: names that it takes from a stub -> what they stand for there; folders that it can import from -> names
            of the modules in them.
        data: files that it or they name, whether or not these exist.
        packages: packages that it or they import, installed ones among them.
    """

    modules: frozenset[str]
    lookups: Mapping[str, str]
    data: frozenset[str]
    packages: frozenset[str]

    def states(self, root: Path) -> dict[str, str]:
        """What these files are like now."""
        return states_of(root, self.modules | self.data)


def named_inputs(root: Path, page: Page, notebook: Any, library: Library) -> Named:
    """Find what a chapter imports and names.

    Arguments:
        root: folder of the book.
        page: the chapter.
        notebook: the same as a notebook.
        library: sources it can import.
    """
    folder = (root / page.name).parent
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    code = _uses_of(sources)
    code = Uses(code.names, code.texts | frozenset(_texts(page.profiles)))
    closure = library.closure(code, beside=folder)
    data: set[str] = set()
    for place, texts in closure.texts.items():
        data.update(_files(texts, root, (folder, root), place))
    modules = {_relative(module.path, root) for module in closure.modules}
    folders = {_relative(Path(place), root): names for place, names in library.importable(folder).items()}
    return Named(frozenset(modules), {**closure.doors, **folders}, frozenset(data - modules), closure.packages)


def imported_by(root: Path, names: Iterable[str], library: Library) -> dict[str, str]:
    """States of the modules that are loaded with those named."""
    closure = library.closure(Uses(frozenset(names), frozenset()))
    return states_of(root, (_relative(module.path, root) for module in closure.modules))


def _uses_of(cells: Iterable[str]) -> Uses:
    """What cells use: together, because a later one uses what an earlier one has imported."""
    code = "\n".join(_python(cell) for cell in cells)
    try:
        return uses(code)
    except SyntaxError:  # the chapter will fail, or is written in something else
        return Uses(frozenset(f"{package}.{WHOLE}" for package in OURS), frozenset())


def _python(cell: str) -> str:
    """A cell as the kernel compiles it: magics are calls."""
    if not re.search(r"^\s*[%!?]|=\s*[%!]|\?\s*$", cell, re.MULTILINE):
        return cell
    from IPython.core.inputtransformer2 import TransformerManager

    return str(TransformerManager().transform_cell(cell))


def _texts(value: Any) -> Iterable[str]:
    """Strings in a value of a profile."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _files(texts: Iterable[str], root: Path, places: tuple[Path, ...], module: Path | None) -> Iterable[str]:
    """Files of the book that texts name: those that exist, and those that look like a path and may come to exist.

    A chapter names them from its folder or the root of the book (`places`), a module from its own folder, too.
    """
    for text in texts:
        if not text or len(text) > _LONGEST or not text.isprintable():
            continue
        likely = _PATH.fullmatch(text) is not None
        if not likely and (" " in text or "." not in text):
            continue
        for place in (*places, module) if module else places:
            name = _relative(place / text, root)
            if name.startswith(("../", "_build/", ".git/")):
                continue
            if (likely and place != module) or (root / name).is_file():
                yield name


def _relative(path: Path, root: Path) -> str:
    return os.path.relpath(path, root).replace(os.sep, "/")
