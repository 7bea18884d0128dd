"""Byte code that a kernel may take: it knows its source by a hash, not by size and whole seconds.

The hook in `watch` keeps every other from a kernel, which would then compile the library anew: half a second of each.
"""

import importlib.util
import py_compile
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

CHECKED = b"\x03\0\0\0"
"""Flags of byte code that holds a hash of its source, which Python compares before it takes it."""


def compile_sources(sources: Iterable[Path]) -> None:
    """Write byte code for sources that have none of this kind, or an old one.

    What cannot be read, compiled or written is passed over: whoever imports it will say so.

    Arguments:
        sources: Python files.
    """
    if sys.dont_write_bytecode:
        return
    for source in sources:
        place = importlib.util.cache_from_source(source)
        with suppress(OSError, py_compile.PyCompileError):
            if not _is_of(Path(place), source.read_bytes()):
                mode = py_compile.PycInvalidationMode.CHECKED_HASH
                py_compile.compile(str(source), place, doraise=True, invalidation_mode=mode)


def _is_of(place: Path, source: bytes) -> bool:
    """Whether byte code was made of this very source, and by this Python."""
    try:
        with place.open("rb") as file:
            head = file.read(16)
    except OSError:
        return False
    return head == importlib.util.MAGIC_NUMBER + CHECKED + importlib.util.source_hash(source)
