"""What the compiled step is called with: one array of numbers, most of them addresses.

Each argument that is an array costs a call some tenths of a microsecond, as much as a layer of a small model.
"""

from typing import Any

import numpy as np
from numba import carray, types
from numba.extending import intrinsic

from moelaws.serving.compiled.places import (
    AT_BEGINS,
    AT_CHOSEN,
    AT_COUNTER,
    AT_FLOATS,
    AT_IDS,
    AT_INTS,
    AT_KEYS,
    AT_LAST,
    AT_LOGITS,
    AT_PLAN,
    AT_SIZES,
    AT_TURNS,
    AT_VALUES,
    AT_WEIGHTS,
    BATCH,
    CAPACITY,
    FORCED,
    LAYERS,
    PLAN_FIELDS,
    RAGGED,
    START,
    TEAM,
    TIME,
)
from moelaws.serving.compiled.step import step

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
        carray(_pointer(f[AT_WEIGHTS]), (_LONG,), np.float32),
        carray(_pointer(f[AT_PLAN]), (f[LAYERS], PLAN_FIELDS), np.int64),
        carray(_pointer(f[AT_SIZES]), (_LONG,), np.int64),
        carray(_pointer(f[AT_FLOATS]), (_LONG,), np.float32),
        carray(_pointer(f[AT_INTS]), (_LONG,), np.int64),
        carray(_pointer(f[AT_KEYS]), (_LONG,), np.float32),
        carray(_pointer(f[AT_VALUES]), (_LONG,), np.float32),
        carray(_pointer(f[AT_TURNS]), (_LONG,), np.float32),
        carray(_pointer(f[AT_BEGINS]), (_LONG,), np.int64),
        carray(_pointer(f[AT_LAST]), (_LONG,), np.float32),
        carray(_pointer(f[AT_IDS]), (_LONG,), np.int64),
        carray(_pointer(f[AT_CHOSEN]), (_LONG,), np.int64),
        carray(_pointer(f[AT_LOGITS]), (_LONG,), np.float32),
        carray(_pointer(f[AT_COUNTER]), (_LONG,), np.int64),
        f[BATCH], f[TIME], f[START], f[CAPACITY], f[RAGGED], f[FORCED], thread, f[TEAM],
    )  # fmt: skip
