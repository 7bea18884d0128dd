"""Memory of large arrays: what the C library does with it when it is freed, and how large its pages are."""

import contextlib
import ctypes
import mmap
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEEP = 2**31 - 1


@cache
def keep_freed_memory() -> None:
    """Let glibc keep freed blocks for the next array, for the rest of the process.

    By default it gives every large block back to the kernel when it is freed. A training step, or the step of a fit,
    frees and takes the same blocks over and over: the page faults are a tenth to a fifth of a training step, and cost
    some fits more than their arithmetic. Does nothing on other systems.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # a C library without it, such as musl
        return
    mallopt(_M_MMAP_THRESHOLD, _KEEP // 2)
    mallopt(_M_TRIM_THRESHOLD, _KEEP)


_LARGE_PAGE = 1 << 21


def in_large_pages(size: int) -> memoryview:
    """So many bytes of new memory, zeros, in pages of 2 MB where the kernel has them.

    What reads all over an array of tens of megabytes otherwise looks up a page of 4 KB every 64 cache lines, and a core
    asks ahead for nothing beyond its page: a decode step of a model with 50 MB of weights takes a third less in large
    ones. The memory is freed with the last array that shows it.

    Args:
        size: at least 1.
    """
    room = -(-size // _LARGE_PAGE) * _LARGE_PAGE + _LARGE_PAGE
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    memory = mmap.mmap(-1, room, **private)  # shared memory, the default, has small pages
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel built without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    begin = -first % _LARGE_PAGE
    return memoryview(memory)[begin : begin + size]
