"""Self-attention of whole sequences, from normalised rows to the output projection, forward and backward.

A sequence is finished before the next begins, so that its queries, keys and values stay in a core's own cache. Kept
for backward are the projections before norm and rotation, the heads' outputs, and a logarithm a query.

Shape suffixes: B sequences, T time, D model width, H heads; R = B T rows.
"""

import math

from moelaws.kernels.heads import head_backward, head_forward, head_numbers
from moelaws.kernels.memory import F32, floats, part, view
from moelaws.kernels.products import SPARE, add_outer, fill, pack, packed_size, times
from moelaws.kernels.sums import dot
from moelaws.kernels.tiles import VECTOR

BLOCK = 96  # rows of a sequence that a gradient of weights takes at a time


def working_numbers(time: int, width: int, heads: int) -> int:
    """float32 of working memory that a layer needs."""
    packed = packed_size.py_func
    weights = packed(3 * width, width) + packed(width, width)
    rows = time * (6 * width + VECTOR)
    return SPARE + BLOCK * VECTOR + weights + rows + head_numbers(time, width // heads)


@part
def prepare(y, y_at, x, x_at, gain, turn, turn_at, width, epsilon):
    """A row of queries or keys, normalised if there is a gain, and rotated. Returns the norm's factor."""
    y, x, turn = view(y, y_at, width), view(x, x_at, width), view(turn, turn_at, width)
    factor = F32(1)
    if len(gain) > 0:
        factor = F32(1) / math.sqrt(dot(x, 0, x, 0, width) / F32(width) + epsilon)
        for i in range(width):
            y[i] = x[i] * factor * gain[i]
    else:
        for i in range(width):
            y[i] = x[i]
    for i in range(0, width - 1, 2):
        a, b = y[i], y[i + 1]
        y[i] = a * turn[i] - b * turn[i + 1]
        y[i + 1] = a * turn[i + 1] + b * turn[i]
    return factor


@part
def prepare_backward(by, by_at, x, x_at, gain, by_gain, turn, turn_at, width, epsilon):
    """In place: the gradient of a row before ``prepare`` from the one after it."""
    by, x, turn = view(by, by_at, width), view(x, x_at, width), view(turn, turn_at, width)
    for i in range(0, width - 1, 2):
        a, b = by[i], by[i + 1]
        by[i] = a * turn[i] + b * turn[i + 1]
        by[i + 1] = b * turn[i] - a * turn[i + 1]
    if len(gain) > 0:
        factor = F32(1) / math.sqrt(dot(x, 0, x, 0, width) / F32(width) + epsilon)
        for i in range(width):
            by_gain[i] += by[i] * x[i] * factor
            by[i] *= gain[i]
        along = dot(by, 0, x, 0, width) * (factor * factor / F32(width))
        for i in range(width):
            by[i] = factor * (by[i] - x[i] * along)


def forward(x, w_qkv, w_out, q_gain, k_gain, turn, qkv, o, logs, y, work, sequences, time, width, heads, epsilon):
    """All addresses: y = attention of x, R x D; ``qkv`` R x 3D, ``o`` R x D and ``logs`` B x H x T are kept.

    Gains 0: no norm of queries and keys.
    """
    gains = width if q_gain != 0 else 0
    q_gain, k_gain = view(floats(q_gain), 0, gains), view(floats(k_gain), 0, gains)
    x, w_qkv, w_out, turn = floats(x), floats(w_qkv), floats(w_out), floats(turn)
    qkv, o, logs, y, work = floats(qkv), floats(o), floats(logs), floats(y), floats(work)
    epsilon = F32(epsilon)
    three, head = 3 * width, width // heads
    scale = F32(1 / math.sqrt(head))
    qkv_at = SPARE
    out_at = qkv_at + packed_size(width, three)
    q_at = out_at + packed_size(width, width)
    k_at = q_at + time * width
    head_at = k_at + time * width
    pack(work, qkv_at, w_qkv, 0, 1, width, width, three)
    pack(work, out_at, w_out, 0, 1, width, width, width)
    for b in range(sequences):
        row = b * time
        times(qkv, row * three, three, x, row * width, width, work, qkv_at, time, width, three, work, 0)
        for t in range(time):
            at = (row + t) * three
            prepare(work, q_at + t * width, qkv, at, q_gain, turn, t * width, width, epsilon)
            prepare(work, k_at + t * width, qkv, at + width, k_gain, turn, t * width, width, epsilon)
        for h in range(heads):
            head_forward(o, row * width + h * head, width, logs, (b * heads + h) * time, work, q_at + h * head, width,
                         work, k_at + h * head, width, qkv, row * three + 2 * width + h * head, three, time, head,
                         scale, work, head_at)  # fmt: skip
        times(y, row * width, width, o, row * width, width, work, out_at, time, width, width, work, 0)


def backward(by_y, x, w_qkv, w_out, q_gain, k_gain, turn, qkv, o, logs, by_x, by_w_qkv, by_w_out, by_q_gain, by_k_gain,
             work, sequences, time, width, heads, epsilon):  # fmt: skip
    """All addresses: gradients of ``forward`` by its rows, weights and gains."""
    gains = width if q_gain != 0 else 0
    q_gain, k_gain = view(floats(q_gain), 0, gains), view(floats(k_gain), 0, gains)
    by_q_gain, by_k_gain = view(floats(by_q_gain), 0, gains), view(floats(by_k_gain), 0, gains)
    by_y, x, w_qkv, w_out, turn = floats(by_y), floats(x), floats(w_qkv), floats(w_out), floats(turn)
    qkv, o, logs, by_x, work = floats(qkv), floats(o), floats(logs), floats(by_x), floats(work)
    by_w_qkv, by_w_out = floats(by_w_qkv), floats(by_w_out)
    epsilon = F32(epsilon)
    three, head = 3 * width, width // heads
    step = three + VECTOR
    scale = F32(1 / math.sqrt(head))
    qkv_at = SPARE + BLOCK * VECTOR
    out_at = qkv_at + packed_size(three, width)
    q_at = out_at + packed_size(width, width)
    k_at = q_at + time * width
    by_o_at = k_at + time * width
    by_qkv_at = by_o_at + time * width
    head_at = by_qkv_at + time * step
    pack(work, qkv_at, w_qkv, 0, width, 1, three, width)
    pack(work, out_at, w_out, 0, width, 1, width, width)
    fill(by_w_qkv, 0, three * width)
    fill(by_w_out, 0, width * width)
    for i in range(gains):
        by_q_gain[i] = F32(0)
        by_k_gain[i] = F32(0)
    for b in range(sequences):
        row = b * time
        times(work, by_o_at, width, by_y, row * width, width, work, out_at, time, width, width, work, 0)
        for t in range(time):
            at = (row + t) * three
            prepare(work, q_at + t * width, qkv, at, q_gain, turn, t * width, width, epsilon)
            prepare(work, k_at + t * width, qkv, at + width, k_gain, turn, t * width, width, epsilon)
        for h in range(heads):
            first = h * head
            head_backward(work, by_qkv_at + first, work, by_qkv_at + width + first, work, by_qkv_at + 2 * width + first,
                          step, work, by_o_at + first, o, row * width + first, width, logs, (b * heads + h) * time,
                          work, q_at + first, width, work, k_at + first, width, qkv, row * three + 2 * width + first,
                          three, time, head, scale, work, head_at)  # fmt: skip
        for t in range(time):
            at, by_at = (row + t) * three, by_qkv_at + t * step
            prepare_backward(work, by_at, qkv, at, q_gain, by_q_gain, turn, t * width, width, epsilon)
            prepare_backward(work, by_at + width, qkv, at + width, k_gain, by_k_gain, turn, t * width, width, epsilon)
        times(by_x, row * width, width, work, by_qkv_at, step, work, qkv_at, time, three, width, work, 0)
        for first in range(0, time, BLOCK):
            rows = BLOCK if time - first > BLOCK else time - first
            at = (row + first) * width
            add_outer(by_w_qkv, 0, width, work, by_qkv_at + first * step, step, x, at, width, rows, three, width,
                      work, 0)  # fmt: skip
            add_outer(by_w_out, 0, width, by_y, at, width, o, at, width, rows, width, width, work, 0)
