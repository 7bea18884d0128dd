"""Memory of a measurement: where it starts from, and the most that it took."""

import ctypes
import gc
import resource
import sys
from pathlib import Path

import torch


def settle(device: torch.device) -> None:
    """Give back what earlier measurements left, and let the peak be counted from here."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        try:
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")
        except (AttributeError, OSError):  # another C library, or a kernel that keeps its peaks: an upper bound then
            pass


def peak_bytes(device: torch.device) -> int:
    """Most memory in use since ``settle``: of the process on a CPU, of torch's tensors on CUDA."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
