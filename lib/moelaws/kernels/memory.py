"""Flat memory, for compiled functions only: a place is an array and where in it, and arrays carry no shape."""

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

# Functions that only compiled ones call: no way in from Python is made. Arithmetic is that of the source, in its order
# (no ``fastmath``): the compiler makes several versions of a loop and chooses by where its arrays lie, and if it may
# reorder, a row of gains that happens to lie just before the output changes last bits.
part: Any = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)

F32 = np.float32
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
