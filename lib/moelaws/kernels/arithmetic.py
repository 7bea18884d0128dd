"""Arithmetic on numbers and on vectors of them, as LLVM is given it: each step is rounded in one way only."""

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

_FEATURES = llvm.get_host_cpu_features()
_FUSED = bool(_FEATURES.get("fma") or _FEATURES.get("neon"))
_I32, _FLOAT = ir.IntType(32), ir.FloatType()


def multiply_add(builder: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
    """x y + z, rounded once where the processor can: never as the compiler sees fit, so that bits are one machine's."""
    if not _FUSED:
        return builder.fadd(builder.fmul(x, y), z)
    kind = x.type
    name = "llvm.fma.f32" if kind == _FLOAT else f"llvm.fma.v{kind.count}f32"
    return builder.call(get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name), [x, y, z])


@intrinsic
def exponential(typing: Any, x: Any) -> Any:
    """e to the x for one float32, relative error 2e-7, no branch and no call: loops of it stay in vector registers.

    2^n times a polynomial on half an octave around 1; below e^-87 it is that, above e^88 that; of nan it is nan.
    """

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def fused(x: Any, y: Any, z: Any) -> Any:
            return multiply_add(builder, x, y, z)

        floor = get_or_insert_function(builder.module, ir.FunctionType(_FLOAT, [_FLOAT]), "llvm.floor.f32")
        x = arguments[0]
        # Comparisons, not minnum and maxnum: what is not a number stays so, and is found at the end of a step.
        for relation, limit in ((">", 88.0), ("<", -87.0)):
            x = builder.select(builder.fcmp_ordered(relation, x, _FLOAT(limit)), _FLOAT(limit), x)
        n = builder.call(floor, [fused(x, _FLOAT(1.44269504), _FLOAT(0.5))])
        r = fused(n, _FLOAT(-0.693359375), x)  # ln 2 in two parts: the first times n is exact
        r = fused(n, _FLOAT(2.12194440e-4), r)
        y = _FLOAT(1.9875691500e-4)
        for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
            y = fused(y, r, _FLOAT(c))
        y = builder.fadd(fused(y, builder.fmul(r, r), r), _FLOAT(1.0))
        power = builder.shl(builder.add(builder.fptosi(n, _I32), _I32(127)), _I32(23))
        return builder.fmul(y, builder.bitcast(power, _FLOAT))

    return types.float32(types.float32), lower
