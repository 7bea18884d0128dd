"""Operations on single rows, for compiled functions only: loops that LLVM turns into vector instructions.

Memory is flat and arrays carry no shape: a place is an array and where in it.
"""

import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from moelaws.decoding.compiled.tiles import MOST_ROWS, PANEL, VECTOR, WIDE, exponential, tile
from moelaws.models.norm import NORM_EPSILON

# Functions that only compiled ones call: sums may be reordered, and no way in from Python is made.
part: Any = njit(fastmath=True, nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)

F32 = np.float32
_EPSILON = np.float32(NORM_EPSILON)
LEAST = np.float32(-3e38)


def _array(context: Any, builder: Any, kind: Any, first: Any, count: Any) -> Any:
    """A flat array that owns nothing: ``count`` numbers from the pointer on."""
    array = context.make_array(kind)(context, builder)
    size = context.get_constant(types.intp, kind.dtype.bitwidth // 8)
    populate_array(array, data=first, shape=[count], strides=[size], itemsize=size, meminfo=None)
    return array._getvalue()


@intrinsic
def view(typing: Any, x: Any, at: Any, count: Any) -> Any:
    """``x[at : at + count]``, unchecked: what a compiler can see through."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = context.make_array(signature.return_type)(context, builder, arguments[0])
        number = context.get_data_type(signature.return_type.dtype)
        first = builder.gep(whole.data, [arguments[1]], source_etype=number)
        return _array(context, builder, signature.return_type, first, arguments[2])

    return x(x, types.int64, types.int64), lower


def _memory(dtype: Any) -> Any:
    @intrinsic
    def memory(typing: Any, address: Any) -> Any:
        kind = types.Array(dtype, 1, "C")

        def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], context.get_data_type(dtype).as_pointer())
            return _array(context, builder, kind, pointer, context.get_constant(types.intp, _LONG))

        return kind(address), lower

    return memory


_LONG = 1 << 40  # of memory whose length nobody looks at
floats, whole_numbers = _memory(types.float32), _memory(types.int64)
"""The memory at an address, as an array of such numbers."""


@part
def product(y, y_at, y_step, x, x_at, x_step, w, w_at, rows, depth, columns, turn, team):
    """y = x w for packed weights; the panels dealt to one thread, the first to thread ``turn`` of ``team``.

    Returns:
        The thread to begin with next.
    """
    wide = columns // PANEL
    narrow = (columns - wide * PANEL + VECTOR - 1) // VECTOR
    for panel in range(wide + narrow):
        if turn == 0:
            begin = panel * PANEL if panel < wide else wide * PANEL + (panel - wide) * VECTOR
            step, vectors = (PANEL, WIDE) if panel < wide else (VECTOR, 1)
            for r in range(0, rows, MOST_ROWS):
                count = MOST_ROWS if rows - r > MOST_ROWS else rows - r
                tile(y, y_at + r * y_step + begin, y_step, x, x_at + r * x_step, x_step,
                     w, w_at + begin * depth, step, depth, count, vectors)  # fmt: skip
        turn = turn - 1 if turn > 0 else team - 1
    return turn


@part
def weigh(y, y_at, x, x_at, w, w_at, w_step, depth, columns):
    """y = x w for one row and weights of any step; what is written is a whole number of vectors."""
    wide = columns // PANEL * PANEL
    for begin in range(0, wide, PANEL):
        tile(y, y_at + begin, 0, x, x_at, 0, w, w_at + begin, w_step, depth, 1, WIDE)
    for begin in range(wide, columns, VECTOR):
        tile(y, y_at + begin, 0, x, x_at, 0, w, w_at + begin, w_step, depth, 1, 1)


@part
def normalise(y, y_at, x, x_at, width):
    """A row over its root mean square."""
    x, y = view(x, x_at, width), view(y, y_at, width)
    squares = F32(0)
    for i in range(width):
        squares += x[i] * x[i]
    factor = F32(1) / math.sqrt(squares / F32(width) + _EPSILON)
    for i in range(width):
        y[i] = x[i] * factor


@part
def copy(y, y_at, x, x_at, width):
    """y = x."""
    x, y = view(x, x_at, width), view(y, y_at, width)
    for i in range(width):
        y[i] = x[i]


@part
def add(x, x_at, y, y_at, width, factor):
    """x += factor y."""
    x, y = view(x, x_at, width), view(y, y_at, width)
    for i in range(width):
        x[i] += factor * y[i]


@part
def turn_pairs(x, x_at, turns, turns_at, width):
    """Rotate the pairs of a row."""
    x, turns = view(x, x_at, width), view(turns, turns_at, width)
    for i in range(0, width - 1, 2):
        a, b, c, s = x[i], x[i + 1], turns[i], turns[i + 1]
        x[i] = a * c - b * s
        x[i + 1] = a * s + b * c


@part
def softmax(x, x_at, count):
    """Exponentials of a row less its greatest, in place; returns one over their sum."""
    x = view(x, x_at, count)
    greatest = LEAST
    for i in range(count):
        greatest = x[i] if x[i] > greatest else greatest
    total = F32(0)
    for i in range(count):
        x[i] = exponential(x[i] - greatest)
        total += x[i]
    return F32(1) / total


@part
def gate(act, act_at, up, up_at, width):
    """SwiGLU, in place of the gate."""
    act, up = view(act, act_at, width), view(up, up_at, width)
    for i in range(width):
        act[i] = act[i] * up[i] / (F32(1) + exponential(-act[i]))
