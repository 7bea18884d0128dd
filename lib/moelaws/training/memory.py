"""Memory of the process between training steps."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEEP = 2**31 - 1


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks for the next step, for the rest of the process.

    By default it gives every large block back to the kernel when it is freed, and a training step frees and takes
    the same blocks over and over: the page faults are a tenth to a fifth of the step. Does nothing on other systems.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # a C library without it, such as musl
        return
    mallopt(_M_MMAP_THRESHOLD, _KEEP // 2)
    mallopt(_M_TRIM_THRESHOLD, _KEEP)
