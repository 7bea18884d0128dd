"""The experts of a layer, forward and backward: rows brought together, computed block by block, and sent back.

What passes between the products of a block stays in a core's own cache. A dense layer is one expert of every token.

Shape suffixes: T tokens, K experts a token, M = T K rows, those of one expert side by side; D model width, F hidden
width, N = 2 F (gate and up), E experts.
"""

from moelaws.kernels.arithmetic import exponential
from moelaws.kernels.memory import F32, floats, part, view, whole_numbers
from moelaws.kernels.products import SPARE, add_outer, fill, pack, packed_size, times
from moelaws.kernels.sums import dot
from moelaws.kernels.tiles import VECTOR

BLOCK = 96
"""Rows that are computed together, a multiple of every ``MOST_ROWS``: their hidden layers fit a core's own cache."""


def working_numbers(width: int, hidden: int) -> int:
    """float32 of working memory that a layer needs."""
    packed = packed_size.py_func
    weights = max(packed(width, 2 * hidden) + packed(hidden, width), packed(2 * hidden, width) + packed(width, hidden))
    return SPARE + BLOCK * (4 * hidden + 2 * width + 4 * VECTOR) + weights


@part
def bring_together(ids, order, counts, choices, experts):
    """Numbers of the choices, those of one expert side by side and in order, and how many each expert has."""
    for e in range(experts):
        counts[e] = 0
    for c in range(choices):
        counts[ids[c]] += 1
    begin = 0
    for e in range(experts):
        begin += counts[e]
        counts[e] = begin - counts[e]
    for c in range(choices):
        order[counts[ids[c]]] = c
        counts[ids[c]] += 1
    begin = 0
    for e in range(experts):
        end = counts[e]
        counts[e] = end - begin
        begin = end


@part
def gather(y, y_at, x, order, order_at, top_k, rows, width):
    """The tokens of some choices, side by side."""
    for r in range(rows):
        to, source = view(y, y_at + r * width, width), view(x, order[order_at + r] // top_k * width, width)
        for i in range(width):
            to[i] = source[i]


@part
def activate(act, act_at, hidden, hidden_at, width):
    """SwiGLU of a row."""
    act, gate, up = view(act, act_at, width), view(hidden, hidden_at, width), view(hidden, hidden_at + width, width)
    for i in range(width):
        act[i] = gate[i] * up[i] / (F32(1) + exponential(-gate[i]))


@part
def activate_backward(by_hidden, by_hidden_at, act, act_at, by_act, by_act_at, hidden, hidden_at, width, weight):
    """The row's gradient by gate and up, and what was active, from the gradient before the weight."""
    gate, up = view(hidden, hidden_at, width), view(hidden, hidden_at + width, width)
    by_gate, by_up = view(by_hidden, by_hidden_at, width), view(by_hidden, by_hidden_at + width, width)
    act, by_act = view(act, act_at, width), view(by_act, by_act_at, width)
    for i in range(width):
        sigmoid = F32(1) / (F32(1) + exponential(-gate[i]))
        silu = gate[i] * sigmoid
        by = by_act[i] * weight
        by_up[i] = by * silu
        by_gate[i] = by * up[i] * (sigmoid + silu * (F32(1) - sigmoid))
        act[i] = silu * up[i]


def moves(x, ids, order, counts, out, work, tokens, top_k, width, experts):
    """All addresses: what ``forward`` moves, with nothing computed between; out is each token K times over."""
    x, ids, order, counts = floats(x), whole_numbers(ids), whole_numbers(order), whole_numbers(counts)
    out, work = floats(out), floats(work)
    bring_together(ids, order, counts, tokens * top_k, experts)
    fill(out, 0, tokens * width)
    for first in range(0, tokens * top_k, BLOCK):
        rows = BLOCK if tokens * top_k - first > BLOCK else tokens * top_k - first
        gather(work, 0, x, order, first, top_k, rows, width)
        for r in range(rows):
            to = view(out, order[first + r] // top_k * width, width)
            source = view(work, r * width, width)
            for i in range(width):
                to[i] += source[i]


def forward(x, gates, ids, order, counts, w_in, w_out, out, hidden, work, tokens, top_k, width, inner, experts):
    """All addresses: out = sum over a token's experts of gate times network; ``hidden`` M x N is kept for backward.

    ``gates`` 0 stands for a dense layer: no choice and no weights.
    """
    routed = gates != 0
    x, gates, ids = floats(x), floats(gates), whole_numbers(ids)
    order, counts = whole_numbers(order), whole_numbers(counts)
    w_in, w_out, out, hidden, work = floats(w_in), floats(w_out), floats(out), floats(hidden), floats(work)
    if routed:
        bring_together(ids, order, counts, tokens * top_k, experts)
        fill(out, 0, tokens * width)
    both, act_step = 2 * inner, inner + VECTOR
    spare = 0
    rows_at = SPARE
    y_at = rows_at + BLOCK * width
    act_at = y_at + BLOCK * width
    in_at = act_at + BLOCK * act_step
    out_at = in_at + packed_size(width, both)
    begin = 0
    for e in range(experts):
        end = begin + (counts[e] if routed else tokens)
        if end > begin:
            pack(work, in_at, w_in, e * width * both, both, 1, width, both)
            pack(work, out_at, w_out, e * inner * width, width, 1, inner, width)
        for first in range(begin, end, BLOCK):
            rows = BLOCK if end - first > BLOCK else end - first
            if routed:
                gather(work, rows_at, x, order, first, top_k, rows, width)
                times(hidden, first * both, both, work, rows_at, width, work, in_at, rows, width, both, work, spare)
            else:
                times(hidden, first * both, both, x, first * width, width, work, in_at, rows, width, both, work, spare)
            for r in range(rows):
                activate(work, act_at + r * act_step, hidden, (first + r) * both, inner)
            if routed:
                times(work, y_at, width, work, act_at, act_step, work, out_at, rows, inner, width, work, spare)
                for r in range(rows):
                    choice = order[first + r]
                    to, y = view(out, choice // top_k * width, width), view(work, y_at + r * width, width)
                    for i in range(width):
                        to[i] += gates[choice] * y[i]
            else:
                times(out, first * width, width, work, act_at, act_step, work, out_at, rows, inner, width, work, spare)
        begin = end


def backward(by_out, x, gates, order, counts, w_in, w_out, hidden, by_x, by_gates, by_w_in, by_w_out, work, tokens,
             top_k, width, inner, experts):  # fmt: skip
    """All addresses: gradients of ``forward`` by its tokens, gates and weights."""
    routed = gates != 0
    by_out, x, gates = floats(by_out), floats(x), floats(gates)
    order, counts = whole_numbers(order), whole_numbers(counts)
    w_in, w_out, hidden, work = floats(w_in), floats(w_out), floats(hidden), floats(work)
    by_x, by_gates, by_w_in, by_w_out = floats(by_x), floats(by_gates), floats(by_w_in), floats(by_w_out)
    both, act_step = 2 * inner, inner + VECTOR
    both_step = both + VECTOR
    if routed:
        fill(by_x, 0, tokens * width)
    spare = 0
    rows_at = SPARE + BLOCK * VECTOR
    by_y_at = rows_at + BLOCK * width
    by_act_at = by_y_at + BLOCK * width
    act_at = by_act_at + BLOCK * act_step
    by_hidden_at = act_at + BLOCK * act_step
    in_at = by_hidden_at + BLOCK * both_step
    out_at = in_at + packed_size(both, width)
    begin = 0
    for e in range(experts):
        end = begin + (counts[e] if routed else tokens)
        # Just before they are added to: an expert's gradients fit a core's own cache, all experts' do not.
        fill(by_w_in, e * width * both, width * both)
        fill(by_w_out, e * inner * width, inner * width)
        if end > begin:
            pack(work, in_at, w_in, e * width * both, 1, both, both, width)
            pack(work, out_at, w_out, e * inner * width, 1, width, width, inner)
        for first in range(begin, end, BLOCK):
            rows = BLOCK if end - first > BLOCK else end - first
            if routed:
                gather(work, rows_at, x, order, first, top_k, rows, width)
                gather(work, by_y_at, by_out, order, first, top_k, rows, width)
            else:
                for i in range(rows * width):
                    work[rows_at + i] = x[first * width + i]
                for i in range(rows * width):
                    work[by_y_at + i] = by_out[first * width + i]
            times(work, by_act_at, act_step, work, by_y_at, width, work, out_at, rows, width, inner, work, spare)
            for r in range(rows):
                choice = order[first + r] if routed else 0
                weight = gates[choice] if routed else F32(1)
                active_at, by_active_at = act_at + r * act_step, by_act_at + r * act_step
                activate_backward(work, by_hidden_at + r * both_step, work, active_at, work, by_active_at,
                                  hidden, (first + r) * both, inner, weight)  # fmt: skip
                if routed:
                    by_gates[choice] = dot(work, by_active_at, work, active_at, inner)
                    active = view(work, active_at, inner)
                    for i in range(inner):
                        active[i] *= weight
            add_outer(by_w_in, e * width * both, both, work, rows_at, width, work, by_hidden_at, both_step,
                      rows, width, both, work, spare)  # fmt: skip
            add_outer(by_w_out, e * inner * width, width, work, act_at, act_step, work, by_y_at, width,
                      rows, inner, width, work, spare)  # fmt: skip
            if routed:
                times(work, rows_at, width, work, by_hidden_at, both_step, work, in_at, rows, both, width, work, spare)
                for r in range(rows):
                    to = view(by_x, order[first + r] // top_k * width, width)
                    source = view(work, rows_at + r * width, width)
                    for i in range(width):
                        to[i] += source[i]
            else:
                times(by_x, first * width, width, work, by_hidden_at, both_step, work, in_at, rows, both, width,
                      work, spare)  # fmt: skip
        begin = end
