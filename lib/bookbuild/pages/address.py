"""The address of the repository: `pyproject.toml` says it, and what cannot read that file repeats it."""

import re
import tomllib
from pathlib import Path

from bookbuild.error import BookError
from moelaws.files import write_whole

REPEATED = {
    "_config.yml": r"(?m)^  url: (\S+)$",
    "index.md": r"(https://github\.com/[\w.-]+/[\w-]+)",
    "running.md": r"git clone (?:--depth 1 )?(\S+)",
    "lib/moelaws/datasets/descriptions.py": r'_HOME = "([^"]+)"',
    "CITATION.cff": r'repository-code: "([^"]+)"',
    "pyproject.toml": r'Changelog = "(\S+)/blob/main/CHANGELOG\.md"',
}
"""File -> what stands around the address there."""


def repository_address(root: Path) -> str:
    """The address that `pyproject.toml` names.

    Raises:
        BookError: it names none.
    """
    try:
        return str(
            tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
        )
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise BookError(f"pyproject.toml: expected project.urls.Repository, the book's address ({error})") from None


def stale_addresses(root: Path) -> list[str]:
    """One sentence for each file that repeats another address."""
    return [f"{name}: not the address that pyproject.toml says; `make sync` writes it anew" for name in _stale(root)]


def write_addresses(root: Path) -> list[str]:
    """Write the address where another one is repeated; the names of these files."""
    stale = _stale(root)
    for name, text in stale.items():
        write_whole(root / name, text)
    return list(stale)


def _stale(root: Path) -> dict[str, str]:
    """File -> what it should hold. A book without a `pyproject.toml` has no address to repeat."""
    if not (root / "pyproject.toml").is_file():
        return {}
    address, stale = repository_address(root), {}
    for name in (name for name in REPEATED if (root / name).is_file()):
        text = (root / name).read_text(encoding="utf-8")
        right = re.sub(REPEATED[name], lambda found: found[0].replace(found[1], address), text)
        if right != text:
            stale[name] = right
    return stale
