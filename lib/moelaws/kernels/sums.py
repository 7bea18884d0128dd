"""Sums of rows in an order that is written here: by lanes of a vector, then the lanes together.

A plain loop that adds cannot be vectorised unless the compiler may reorder it, and then it reorders as it likes: other
orders in the versions of a loop that it chooses between by where arrays lie, and other last bits. Here four vectors of
``VECTOR`` sums are under way at once, whatever lies where; what fills no vector is added number by number, last.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from moelaws.kernels.arithmetic import multiply_add
from moelaws.kernels.tiles import VECTOR, WIDE

_I32, _I64, _FLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType()
_POINTER, _LANES = ir.PointerType(), ir.VectorType(ir.FloatType(), VECTOR)

_Join = Callable[[ir.IRBuilder, ir.Value, list[ir.Value]], ir.Value]
"""What a sum, or the like, becomes with one more number of each row."""


def _add(builder: ir.IRBuilder, total: ir.Value, numbers: list[ir.Value]) -> ir.Value:
    return builder.fadd(total, numbers[0])


def _add_product(builder: ir.IRBuilder, total: ir.Value, numbers: list[ir.Value]) -> ir.Value:
    x, y = numbers
    return multiply_add(builder, x, y, total)


def _greater(builder: ir.IRBuilder, total: ir.Value, numbers: list[ir.Value]) -> ir.Value:
    return builder.select(builder.fcmp_ordered(">", numbers[0], total), numbers[0], total)


def _fold(module: ir.Module, name: str, rows: int, start: float, join: _Join, merge: _Join) -> ir.Function:
    """The function (row, ..., numbers in each) that joins all numbers to ``start`` by lanes, and merges the lanes."""
    name = f"moelaws_{name}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(_FLOAT, [_POINTER] * rows + [_I64]), name)
    function.linkage = "linkonce_odr"
    *pointers, count = function.args
    blocks = {key: function.append_basic_block(key) for key in ("entry", "wide", "narrow", "single", "done")}
    builder = ir.IRBuilder(blocks["entry"])
    at, single = builder.alloca(_I64), builder.alloca(_FLOAT)
    totals = [builder.alloca(_LANES) for _ in range(WIDE)]
    builder.store(_I64(0), at)
    builder.store(_FLOAT(start), single)
    for total in totals:
        builder.store(ir.Constant(_LANES, [start] * VECTOR), total)
    builder.branch(blocks["wide"])

    def loop(head: str, after: str, places: list[Any], kind: Any, step: int) -> None:
        builder.position_at_end(blocks[head])
        begin = builder.load(at, typ=_I64)
        end = builder.add(begin, _I64(step * len(places)))
        body = function.append_basic_block(f"{head}_body")
        builder.cbranch(builder.icmp_signed("<=", end, count), body, blocks[after])
        builder.position_at_end(body)
        for number, place in enumerate(places):
            index = builder.add(begin, _I64(step * number))
            where = [builder.gep(pointer, [index], source_etype=_FLOAT) for pointer in pointers]
            numbers = [builder.load(pointer, typ=kind, align=4) for pointer in where]
            builder.store(join(builder, builder.load(place, typ=kind), numbers), place)
        builder.store(end, at)
        builder.branch(blocks[head])

    loop("wide", "narrow", totals, _LANES, VECTOR)
    loop("narrow", "single", totals[:1], _LANES, VECTOR)
    loop("single", "done", [single], _FLOAT, 1)
    builder.position_at_end(blocks["done"])
    whole = [builder.load(total, typ=_LANES) for total in totals]
    while len(whole) > 1:
        whole = [merge(builder, whole[i], [whole[i + 1]]) for i in range(0, len(whole), 2)]
    (lanes,) = whole
    half = VECTOR // 2
    while half:
        order = ir.Constant(ir.VectorType(_I32, VECTOR), [(lane + half) % VECTOR for lane in range(VECTOR)])
        lanes = merge(builder, lanes, [builder.shuffle_vector(lanes, lanes, order)])
        half //= 2
    first = builder.extract_element(lanes, _I32(0))
    builder.ret(merge(builder, first, [builder.load(single, typ=_FLOAT)]))
    return function


def _call(rows: tuple[Any, ...], name: str, start: float, join: _Join, merge: _Join) -> tuple[Any, Any]:
    """The signature and the code of an intrinsic whose arguments are rows, each an array and a place, and a count."""
    places = [kind for row in rows for kind in (row, types.int64)]

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointers = []
        for number in range(0, 2 * len(rows), 2):
            array = context.make_array(signature.args[number])(context, builder, arguments[number])
            pointers.append(builder.gep(array.data, [arguments[number + 1]], source_etype=_FLOAT))
        function = _fold(builder.module, name, len(rows), start, join, merge)
        return builder.call(function, [*pointers, arguments[-1]])

    return types.float32(*places, types.int64), lower


@intrinsic
def summed(typing: Any, x: Any, x_at: Any, count: Any) -> Any:
    """The sum of a row."""
    return _call((x,), "summed", 0.0, _add, _add)


@intrinsic
def dot(typing: Any, x: Any, x_at: Any, y: Any, y_at: Any, count: Any) -> Any:
    """The sum of the products of two rows."""
    return _call((x, y), "dot", 0.0, _add_product, _add)


@intrinsic
def largest(typing: Any, x: Any, x_at: Any, count: Any) -> Any:
    """The greatest number of a row; what is not a number is not looked at."""
    return _call((x,), "largest", -3e38, _greater, _greater)
