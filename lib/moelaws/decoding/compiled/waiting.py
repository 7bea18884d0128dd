"""Threads that work on one step wait for each other: a counter in memory that each adds one to.

Nothing here is asked of the operating system as long as a wait is short; a thread that waits longer gives its core to
others between two looks, so that more threads than cores are slow and not stuck.
"""

import os
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

_PATIENCE = 20_000
"""Looks at the counter before a core is given away, some tens of microseconds."""
_I32, _I64 = ir.IntType(32), ir.IntType(64)
_CAN_YIELD = os.name == "posix"


def _address(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return builder.bitcast(context.make_array(kind)(context, builder, array).data, ir.PointerType())


@intrinsic
def _add_one(typing: Any, counter: Any) -> Any:
    """Add one to the first number of the array; returns what it was. Whoever sees it sees all written before."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature.args[0], arguments[0])
        return builder.atomic_rmw("add", address, _I64(1), "seq_cst")

    return types.int64(counter), lower


@intrinsic
def _look(typing: Any, counter: Any) -> Any:
    """The first number of the array as it is now."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature.args[0], arguments[0])
        return builder.load_atomic(address, "acquire", 8, typ=_I64)

    return types.int64(counter), lower


@intrinsic
def _give_way(typing: Any) -> Any:
    """Let another thread have the core."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _CAN_YIELD:
            builder.call(get_or_insert_function(builder.module, ir.FunctionType(_I32, []), "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), lower


@njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
def wait_for_all(counter, team):
    """Go on when all threads of the team have come here; alone, at once, and when the second number is not 0, too."""
    if team == 1:
        return
    wanted = (_add_one(counter) // team + 1) * team
    looks = 0
    while _look(counter) < wanted:
        looks += 1
        if looks > _PATIENCE:
            if counter[1] != 0:
                return
            _give_way()
