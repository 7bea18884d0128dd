"""Where and with what a row was made: the machine, and this code."""

import os
import platform
import re
import subprocess
from functools import lru_cache
from pathlib import Path

from moelaws import __version__


@lru_cache(maxsize=1)
def code_version() -> str:
    """The release, and where it runs from a clone, the commit: ``0.2.0+896681e``, with ``.changed`` after edits of it.

    Rows name it, so that what made them can be checked out and run again.
    """
    here = Path(__file__).resolve()
    root = here.parents[2]
    if not (root / ".git").exists():
        archived = root / ".git_archival.txt"  # git writes the commit into it where it makes an archive
        found = re.search(r"^node: ([0-9a-f]{7})", archived.read_text(), re.MULTILINE) if archived.exists() else None
        return f"{__version__}+{found[1]}" if found else __version__
    try:
        commit = _git(root, "rev-parse", "--short=7", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "lib", "constraints.txt")
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__}+{commit}{'.changed' if changed else ''}"


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


@lru_cache(maxsize=1)
def machine() -> str:
    """The processor's name and core count, for the record; on Linux also its family and model numbers.

    Processors sold under one name may multiply matrices with different instructions, and then round differently.
    """
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        fields = dict(re.findall(r"^([^\t:\n]+?)\s*: (.*)$", cpuinfo.read_text(), re.MULTILINE))
        numbers = [f"{key} {fields[field]}" for key, field in _NUMBERS if field in fields]
        name = " ".join([fields.get("model name", name), *([f"({', '.join(numbers)})"] if numbers else [])])
    return f"{name}, {os.cpu_count()} cores"


_NUMBERS = (("family", "cpu family"), ("model", "model"), ("stepping", "stepping"))
