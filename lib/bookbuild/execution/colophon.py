"""The lines at the foot of a page that say how it was made."""

import os
import platform
from importlib import metadata
from typing import Any

PACKAGES = ("moelaws", "torch", "numpy", "scipy", "altair")


def colophon(profile: str, seconds: float) -> str:
    """Describe an execution in MyST.

    Arguments:
        profile: name of the profile.
        seconds: wall-clock time of all cells.

    Returns:
        An admonition: profile, versions, cores of the machine, duration.
    """
    versions = [f"Python {platform.python_version()}", *_versions()]
    cores = os.cpu_count() or 1
    return "\n".join(
        [
            ":::{admonition} How this page was made",
            ":class: colophon",
            f"Profile `{profile}`, executed in {seconds:.0f} s on a machine with {cores} core{'s' * (cores > 1)}",
            f"({platform.system()}, {platform.machine()}), with {', '.join(versions)}.",
            ":::",
        ]
    )


def add_colophon(notebook: Any, profile: str, seconds: float) -> None:
    """Put the colophon behind the last cell of an executed chapter."""
    import nbformat

    cell = nbformat.v4.new_markdown_cell(colophon(profile, seconds), id="colophon")
    notebook.cells.append(cell)


def _versions() -> list[str]:
    found = []
    for name in PACKAGES:
        try:
            # A local version, such as +cpu, names a build and not what readers install.
            found.append(f"{name} {metadata.version(name).split('+')[0]}")
        except metadata.PackageNotFoundError:
            continue
    return found
