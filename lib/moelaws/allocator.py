"""What the C library does with memory that arrays no longer need."""

import ctypes
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
