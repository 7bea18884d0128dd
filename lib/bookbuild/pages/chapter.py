"""One page as its author wrote it: a MyST text, with a notebook header where it holds code."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bookbuild.error import BookError

FULL = "full"
"""Name of the profile that takes the defaults of the parameters cell."""


@dataclass(frozen=True)
class Page:
    """A page of the book before anything was done with it.

    Arguments:
        name: page name without suffix, relative to the root, for example `chapters/counting`.
        text: the whole source, header included.
        header: the YAML front matter, empty where there is none.
    """

    name: str
    text: str
    header: Mapping[str, Any]

    @property
    def stem(self) -> str:
        """Last part of the name, the one that progress lines show."""
        return self.name.rsplit("/", 1)[-1]

    @property
    def is_notebook(self) -> bool:
        """Whether the page holds code to execute: such a text names its kernel in the header."""
        return "kernelspec" in self.header

    @property
    def profiles(self) -> Mapping[str, Mapping[str, Any]]:
        """Overrides of the parameters cell by profile name, from `moelaws: profiles:` in the header."""
        profiles = (self.header.get("moelaws") or {}).get("profiles") or {}
        return {name: overrides or {} for name, overrides in profiles.items()}


def read_page(root: Path, name: str) -> Page:
    """Read the text of a page.

    Arguments:
        root: folder of the book.
        name: page name without suffix.

    Raises:
        BookError: the file is missing, is not UTF-8, has a header that is not YAML, or describes its profiles in
            another shape than name -> {variable: value}.
    """
    path = root / f"{name}.md"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BookError(f"{name}.md: no such file") from error
    except UnicodeDecodeError as error:
        raise BookError(f"{name}.md: not UTF-8, byte {error.start} cannot be read") from error
    header = _header(name, text)
    page = Page(name=name, text=text, header=header)
    _check_profiles(page)
    return page


def _header(name: str, text: str) -> Mapping[str, Any]:
    lines = text.splitlines()
    if not lines or lines[0].strip() != "---":
        return {}
    ends = [number for number, line in enumerate(lines[1:], start=1) if line.strip() == "---"]
    if not ends:
        raise BookError(f"{name}.md: line 1 opens a header with '---', and no later line closes it")
    try:
        header = yaml.safe_load("\n".join(lines[1 : ends[0]]))
    except yaml.YAMLError as error:
        raise BookError(f"{name}.md: the header is not valid YAML: {error}") from error
    if header is None:
        return {}
    if not isinstance(header, dict):
        raise BookError(f"{name}.md: expected the header to be a mapping, found {type(header).__name__}")
    return header


def _check_profiles(page: Page) -> None:
    own = page.header.get("moelaws") or {}
    profiles = own.get("profiles") if isinstance(own, dict) else own
    if profiles is None:
        return
    shaped = isinstance(profiles, dict) and all(isinstance(o, dict | None) for o in profiles.values())
    if not shaped:
        raise BookError(
            f"{page.name}.md: expected moelaws.profiles in the header to map a profile name to"
            f" {{variable: value}}, found {profiles!r}"
        )
    if FULL in profiles:
        raise BookError(
            f"{page.name}.md: the profile '{FULL}' is the defaults of the parameters cell; change them there"
        )
