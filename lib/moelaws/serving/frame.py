"""What the compiled step is called with: one array of numbers, most of them addresses.

Each argument that is an array costs a call some tenths of a microsecond, as much as a layer of a small model.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from moelaws.serving.kernels import step
from moelaws.serving.packed import FIELDS

FRAME = (
    WEIGHTS, PLAN, SIZES, FLOATS, INTS, KEYS, VALUES, TURNS, BEGINS, LAST, IDS, CHOSEN, LOGITS, COUNTER,
    LAYERS, BATCH, TIME, START, CAPACITY, RAGGED, FORCED, TEAM,
) = range(22)  # fmt: skip
"""The first fourteen are addresses of arrays, see ``kernels.step``."""

_LONG = 1 << 40
"""Of memory whose length nobody looks at."""


@intrinsic  # type: ignore[misc, unused-ignore]
def _pointer(typing: Any, address: Any) -> Any:
    """An address as a pointer."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(address), lower


def run(f, thread):  # type: ignore[no-untyped-def]
    """``kernels.step`` on what a frame says; as one thread of the team."""
    return step(
        carray(_pointer(f[WEIGHTS]), (_LONG,), np.float32),
        carray(_pointer(f[PLAN]), (f[LAYERS], FIELDS), np.int64),
        carray(_pointer(f[SIZES]), (_LONG,), np.int64),
        carray(_pointer(f[FLOATS]), (_LONG,), np.float32),
        carray(_pointer(f[INTS]), (_LONG,), np.int64),
        carray(_pointer(f[KEYS]), (_LONG,), np.float32),
        carray(_pointer(f[VALUES]), (_LONG,), np.float32),
        carray(_pointer(f[TURNS]), (_LONG,), np.float32),
        carray(_pointer(f[BEGINS]), (_LONG,), np.int64),
        carray(_pointer(f[LAST]), (_LONG,), np.float32),
        carray(_pointer(f[IDS]), (_LONG,), np.int64),
        carray(_pointer(f[CHOSEN]), (_LONG,), np.int64),
        carray(_pointer(f[LOGITS]), (_LONG,), np.float32),
        carray(_pointer(f[COUNTER]), (_LONG,), np.int64),
        f[BATCH], f[TIME], f[START], f[CAPACITY], f[RAGGED], f[FORCED], thread, f[TEAM],
    )  # fmt: skip
