"""Two folders change their names, in one step where the system can do that."""

import ctypes
import os
import sys
from pathlib import Path

_HERE = -100  # AT_FDCWD on Linux: names are relative to the working directory
_EXCHANGE = 2  # RENAME_EXCHANGE on Linux, RENAME_SWAP on macOS


def exchange(one: Path, other: Path) -> None:
    """Give each of two folders the name of the other.

    A reader, and a process that is killed, finds a whole folder under either name at any time. File systems that
    know no exchange see two renamings, between which ``other`` is missing for an instant.

    Args:
        one: a folder.
        other: a folder on the same file system.

    Raises:
        OSError: one is missing, or the folder they lie in cannot be written.
    """
    if _exchanged(os.fsencode(one), os.fsencode(other)):
        return
    aside = one.with_name(f"{one.name}.aside")
    other.rename(aside)
    try:
        one.rename(other)
    except BaseException:
        aside.rename(other)
        raise
    aside.rename(one)


def _exchanged(one: bytes, other: bytes) -> bool:
    """Whether the system made the exchange; where it did not, nothing has changed."""
    try:
        library = ctypes.CDLL(None)
        if sys.platform == "darwin":
            return bool(library.renamex_np(one, other, _EXCHANGE) == 0)
        return bool(library.renameat2(_HERE, one, _HERE, other, _EXCHANGE) == 0)
    except (AttributeError, OSError, TypeError):  # no such function in this C library
        return False
