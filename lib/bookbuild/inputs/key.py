"""Names of executed notebooks: hashes of all that can be known before a chapter is executed.

Jupyter Book's own cache sees only the code cells; a chapter shows what the library, the data and the pinned packages
make of them.
"""

import hashlib
import json
import platform
import re
from importlib import metadata
from pathlib import Path

from bookbuild.inputs.named import BUILDER, Named, imported_by, library_of
from bookbuild.inputs.states import States, state_of
from bookbuild.pages.chapter import Page

EXECUTES = (
    "bookbuild.execution.execute",
    "bookbuild.execution.colophon",
    "bookbuild.pages.outputs",
    "bookbuild.pages.pairs",
    "bookbuild.pages.sizes",
)
"""Modules of the builder that a notebook goes through on its way into the cache."""


def ground_digest(root: Path) -> str:
    """Hash what all chapters stand on: the pins, the installed packages, Python itself, and how the builder executes.

    Arguments:
        root: folder of the book.

    Returns:
        A hexadecimal digest that changes with any of them.
    """
    pins = root / "constraints.txt"
    builder = imported_by(BUILDER, EXECUTES, library_of(root))
    parts = [f"python {platform.python_version()}", state_of(pins), *_installed(pins), json.dumps(builder)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def chapter_key(page: Page, named: Named, states: States, ground: str, profile: str) -> str:
    """Name of a cache entry.

    Arguments:
        page: the chapter.
        named: what it imports and names.
        states: what these files are like.
        ground: hash of what all chapters stand on.
        profile: sizes that it runs at.
    """
    inputs = json.dumps([dict(named.lookups), dict(states)], sort_keys=True)
    return hashlib.sha256("\n".join([page.name, profile, ground, page.text, inputs]).encode()).hexdigest()[:20]


def _installed(constraints: Path) -> list[str]:
    """Versions of the pinned packages as installed: an environment made otherwise must not pass for this one."""
    if not constraints.is_file():
        return []
    pinned = re.findall(r"^([A-Za-z0-9._-]+)==", constraints.read_text(encoding="utf-8"), flags=re.MULTILINE)
    versions = []
    for name in pinned:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{name} absent")
    return versions
