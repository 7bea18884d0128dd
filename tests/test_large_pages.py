"""Memory in large pages is memory: zeros, of the size asked for, at the beginning of a page, alive while it is seen."""

import gc

import numpy as np
import pytest

from moelaws.allocator import in_large_pages


@pytest.mark.parametrize("size", [1, 4096, (1 << 21) + 3])
def test_memory_in_large_pages_is_memory(size: int) -> None:
    memory = in_large_pages(size)
    assert len(memory) == size
    array = np.frombuffer(memory, np.uint8)
    assert not array.any()
    assert array.ctypes.data % (1 << 21) == 0
    del memory
    gc.collect()
    array[:] = 7
    assert in_large_pages(size)[0] == 0
    assert (array == 7).all()


def test_the_kernel_is_asked_for_large_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    mmap = pytest.importorskip("mmap")
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        pytest.skip("a system without them")
    in_use = in_large_pages(1 << 22)
    np.frombuffer(in_use, np.uint8)[:] = 1
    address = np.frombuffer(in_use, np.uint8).ctypes.data
    flags, inside = "", False
    with open("/proc/self/smaps") as maps:
        for line in maps:
            span = line.split()[0]
            if "-" in span and not span.endswith(":"):
                begin, end = (int(part, 16) for part in span.split("-"))
                inside = begin <= address < end
            elif inside and line.startswith("VmFlags"):
                flags = line
    assert "hg" in flags.split()
