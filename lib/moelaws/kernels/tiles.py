"""Products of a few rows, a tile in registers at a time: the inner loop of decoding and training, as LLVM sees it.

numba compiles plain loops, and whether they end up in vector registers is LLVM's choice. Here the choice is ours: a
tile's sums are vectors from its first multiplication to its last. LLVM still picks the instructions, so the same
lines serve AVX-512, AVX2 and NEON.

A tile is up to ``MOST_ROWS`` rows by ``WIDE`` or 1 vectors of ``VECTOR`` numbers; y[r, n] = sum_k x[r, k] w[k, n],
or, across, y[r, n] += sum_k x[k, r] w[k, n].
"""

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

from moelaws.kernels.arithmetic import multiply_add

_FEATURES = llvm.get_host_cpu_features()


def _shape() -> tuple[int, int]:
    """Numbers in a vector register, and rows whose sums of four vectors each fit the registers that there are."""
    if _FEATURES.get("avx512f"):
        return 16, 6
    if _FEATURES.get("avx"):
        return 8, 3
    return 4, 4 if _FEATURES.get("neon") else 2


VECTOR, MOST_ROWS = _shape()
WIDE = 4
"""Vectors side by side in a panel of weights: so many sums are under way at once that none waits for the last."""
PANEL = WIDE * VECTOR
"""Columns of a panel."""

# A core's own prefetching ends with every page of 4 KiB. One line of each row is asked for, so many bytes ahead and
# into the second level of its caches: that tells it which page comes next, and it fetches the other lines itself. To
# ask for all of them takes the loads' own turns: a tenth of a step of decoding, more where weights lie in its caches.
_AHEAD = 8192

_I32, _I64, _FLOAT, _VOID = ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.VoidType()
_POINTER = ir.PointerType()
_LANES = ir.VectorType(_FLOAT, VECTOR)
_TILE = ir.FunctionType(_VOID, [_POINTER, _I64, _POINTER, _I64, _POINTER, _I64, _I64])
_TILES = ir.FunctionType(_VOID, [*_TILE.args, _I64, _I64])
_NAMES = ("tile", "tile_across")


def _float_at(builder: ir.IRBuilder, base: ir.Value, index: ir.Value) -> ir.Value:
    return builder.gep(base, [index], source_etype=_FLOAT)


def _splat(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    one = builder.insert_element(ir.Constant(_LANES, ir.Undefined), number, _I32(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_I32, VECTOR), [0] * VECTOR))


def _tile(module: ir.Module, rows: int, vectors: int, across: bool) -> ir.Function:
    """The function for tiles of one shape: (y, step of y, x, step of x, w, step of w, depth)."""
    name = f"moelaws_{_NAMES[across]}_{rows}_{vectors}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, _TILE, name)
    function.linkage = "linkonce_odr"
    for word in ("noinline", "optsize"):  # what is unrolled is unrolled here
        function.attributes.add(word)
    y, y_step, x, x_step, w, w_step, depth = function.args
    for pointer in (y, x, w):
        pointer.add_attribute("noalias")
    prefetch = get_or_insert_function(module, ir.FunctionType(_VOID, [_POINTER] + [_I32] * 3), "llvm.prefetch.p0")
    # Few sums would each wait for their last multiplication: then several steps of k have sums of their own.
    unroll = max(1, WIDE // (rows * vectors))
    entry, head, body, done = (function.append_basic_block(name) for name in ("entry", "head", "body", "done"))
    rest, tail = (function.append_basic_block(n) for n in ("rest", "tail")) if unroll > 1 else (done, done)
    builder = ir.IRBuilder(entry)
    zero = ir.Constant(_LANES, [0.0] * VECTOR)
    sums = [builder.alloca(_LANES) for _ in range(unroll * rows * vectors)]
    k_at = builder.alloca(_I64)
    builder.store(_I64(0), k_at)
    x_rows = [_float_at(builder, x, _I64(r) if across else builder.mul(x_step, _I64(r))) for r in range(rows)]
    places = [
        _float_at(builder, _float_at(builder, y, builder.mul(y_step, _I64(r))), _I64(v * VECTOR))
        for r in range(rows)
        for v in range(vectors)
    ]
    for number, total in enumerate(sums):
        added = across and number < len(places)
        builder.store(builder.load(places[number], typ=_LANES, align=4) if added else zero, total)
    builder.branch(head)

    def advance(k: ir.Value, slot: int) -> None:
        row_of_w = _float_at(builder, w, builder.mul(k, w_step))
        if vectors == WIDE:
            ahead = _float_at(builder, row_of_w, _I64(_AHEAD // 4))
            builder.call(prefetch, [ahead, _I32(0), _I32(2), _I32(1)])  # read, to level 2, data
        at = builder.mul(k, x_step) if across else k
        factors = [_splat(builder, builder.load(_float_at(builder, row, at), typ=_FLOAT, align=4)) for row in x_rows]
        for v in range(vectors):
            weight = builder.load(_float_at(builder, row_of_w, _I64(v * VECTOR)), typ=_LANES, align=4)
            for r, factor in enumerate(factors):
                total = sums[(slot * rows + r) * vectors + v]
                builder.store(multiply_add(builder, factor, weight, builder.load(total, typ=_LANES)), total)

    def loop(head: ir.Block, body: ir.Block, after: ir.Block, steps: int) -> None:
        builder.position_at_end(head)
        end = builder.add(builder.load(k_at, typ=_I64), _I64(steps))
        builder.cbranch(builder.icmp_signed("<=", end, depth), body, after)
        builder.position_at_end(body)
        k = builder.load(k_at, typ=_I64)
        for slot in range(steps):
            advance(builder.add(k, _I64(slot)), slot)
        builder.store(builder.add(k, _I64(steps)), k_at)
        builder.branch(head)

    loop(head, body, rest, unroll)
    if unroll > 1:
        loop(rest, tail, done, 1)
    builder.position_at_end(done)
    for number, place in enumerate(places):
        total = builder.load(sums[number], typ=_LANES)
        for slot in range(1, unroll):
            total = builder.fadd(total, builder.load(sums[slot * len(places) + number], typ=_LANES))
        builder.store(total, place, align=4)
    builder.ret_void()
    return function


def _tiles(module: ir.Module, across: bool) -> ir.Function:
    """The function for tiles of any shape: the same, and (rows, vectors)."""
    name = f"moelaws_{_NAMES[across]}s"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, _TILES, name)
    function.linkage = "linkonce_odr"
    for word in ("noinline", "optsize"):  # what is unrolled is unrolled here
        function.attributes.add(word)
    *arguments, rows, vectors = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    done = function.append_basic_block("done")
    shape = builder.add(builder.mul(rows, _I64(WIDE + 1)), vectors)
    switch = builder.switch(shape, done)
    for count in range(1, MOST_ROWS + 1):
        for width in (1, WIDE):
            case = function.append_basic_block(f"tile_{count}_{width}")
            switch.add_case(_I64(count * (WIDE + 1) + width), case)
            builder.position_at_end(case)
            builder.call(_tile(module, count, width, across), arguments)
            builder.branch(done)
    builder.position_at_end(done)
    builder.ret_void()
    return function


def _transpose(module: ir.Module) -> ir.Function:
    """The function that transposes a square: (y, step of y, x, step of x)."""
    name = "moelaws_transpose"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(_VOID, [_POINTER, _I64, _POINTER, _I64]), name)
    function.linkage = "linkonce_odr"
    y, y_step, x, x_step = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    rows = [_float_at(builder, x, builder.mul(x_step, _I64(r))) for r in range(VECTOR)]
    lanes = [builder.load(row, typ=_LANES, align=4) for row in rows]
    # Squares of half the size change places, corner by corner, until they are single numbers.
    half = VECTOR // 2
    while half:
        for r in (r for r in range(VECTOR) if not r & half):
            pair = lanes[r], lanes[r + half]
            for number, shift in ((r, 0), (r + half, half)):
                order = [(i & ~half | shift) + (VECTOR if i & half else 0) for i in range(VECTOR)]
                lanes[number] = builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(_I32, VECTOR), order))
        half //= 2
    for r, lane in enumerate(lanes):
        builder.store(lane, _float_at(builder, y, builder.mul(y_step, _I64(r))), align=4)
    builder.ret_void()
    return function


def _lowered(arrays: tuple[Any, Any, Any], across: bool) -> tuple[Any, Any]:
    """The signature and the code of an intrinsic."""
    y, x, w = arrays
    signature = types.void(y, types.int64, types.int64, x, types.int64, types.int64, w, types.int64, types.int64,
                           types.int64, types.int64, types.int64)  # fmt: skip

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        places = []
        for first in (0, 3, 6):
            array = context.make_array(signature.args[first])(context, builder, arguments[first])
            base = builder.bitcast(array.data, _POINTER)
            places += [_float_at(builder, base, arguments[first + 1]), arguments[first + 2]]
        builder.call(_tiles(builder.module, across), [*places, *arguments[9:]])
        return context.get_dummy_value()

    return signature, lower


@intrinsic
def tile(typing: Any, y: Any, y_at: Any, y_step: Any, x: Any, x_at: Any, x_step: Any, w: Any, w_at: Any, w_step: Any,
         depth: Any, rows: Any, vectors: Any) -> Any:  # fmt: skip
    """y = x w for one tile.

    Args:
        y, y_at, y_step: flat memory, where the tile's first number goes, and numbers from one row to the next.
        x, x_at, x_step: the same of the inputs.
        w, w_at, w_step: the same of the weights, rows of k.
        depth: how many k.
        rows: 1 to ``MOST_ROWS``.
        vectors: 1 or ``WIDE``.
    """
    return _lowered((y, x, w), across=False)


@intrinsic
def tile_across(typing: Any, y: Any, y_at: Any, y_step: Any, x: Any, x_at: Any, x_step: Any, w: Any, w_at: Any,
                w_step: Any, depth: Any, rows: Any, vectors: Any) -> Any:  # fmt: skip
    """y += x^T w for one tile: ``x_step`` leads from one k to the next, and the rows' numbers lie side by side."""
    return _lowered((y, x, w), across=True)


@intrinsic
def transpose(typing: Any, y: Any, y_at: Any, y_step: Any, x: Any, x_at: Any, x_step: Any) -> Any:
    """y = x^T for a square of ``VECTOR`` rows and columns."""
    signature = types.void(y, types.int64, types.int64, x, types.int64, types.int64)

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        places = []
        for first in (0, 3):
            array = context.make_array(signature.args[first])(context, builder, arguments[first])
            places += [_float_at(builder, array.data, arguments[first + 1]), arguments[first + 2]]
        builder.call(_transpose(builder.module), places)
        return context.get_dummy_value()

    return signature, lower
