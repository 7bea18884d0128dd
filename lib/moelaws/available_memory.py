"""Memory that there is on this machine, asked before something large is made."""

import os
import sys
from pathlib import Path

SHARE = 0.9
"""Of the memory that is available, what one computation may take."""


class TooLargeError(ValueError):
    """What was asked for does not fit the memory that is available; nothing was made."""


def require_memory(needed: float, what: str) -> None:
    """Refuse what does not fit, in place of a machine that swaps or a process that is killed.

    Args:
        needed: bytes, at least.
        what: for the message, as in ``a model of 6.92e+09 parameters``.

    Raises:
        TooLargeError: fewer bytes are available.
    """
    there = available_bytes()
    if needed > SHARE * there:
        raise TooLargeError(f"{what} needs {_gigabytes(needed)} of memory; {_gigabytes(there)} are available here")


def available_bytes() -> float:
    """Bytes that this process may still take: the least of what the machine, its container and limits leave.

    Infinite where nothing says.
    """
    return min(_of_machine(), _of_container(), _of_limits())


def _of_machine() -> float:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    try:  # what there is at all, where nobody says how much of it is free
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return float("inf")


def _of_container() -> float:
    """What a container's limit leaves (control groups, version 2 or 1)."""
    root = Path("/sys/fs/cgroup")
    for most, used, cached in (
        (root / "memory.max", root / "memory.current", root / "memory.stat"),
        (root / "memory/memory.limit_in_bytes", root / "memory/memory.usage_in_bytes", root / "memory/memory.stat"),
    ):
        try:
            limit, taken = int(most.read_text()), int(used.read_text())
            names = dict(line.split() for line in cached.read_text().splitlines())
            # Files kept in memory are given up when something else is in need of it.
            freed = int(names.get("total_inactive_file", names.get("inactive_file", 0)))
            return float(max(0, limit - taken + freed))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return float("inf")


def _of_limits() -> float:
    """What ``ulimit -v`` leaves."""
    if sys.platform == "win32":
        return float("inf")
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return float("inf")
    try:
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        mapped = 0
    return float(max(0, limit - mapped))


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.3g} GB"
