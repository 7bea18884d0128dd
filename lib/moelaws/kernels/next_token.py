"""Unembedding and cross-entropy, with their gradients, a block of rows at a time.

Shape suffixes: R rows, D model width, V vocabulary.
"""

import math

from moelaws.kernels.arithmetic import exponential
from moelaws.kernels.memory import F32, floats, part, view, whole_numbers
from moelaws.kernels.products import SPARE, add_outer, fill, pack, packed_size, times
from moelaws.kernels.sums import largest, summed
from moelaws.kernels.tiles import VECTOR

BLOCK = 96  # rows whose logits fit a core's own cache


def working_numbers(width: int, vocabulary: int) -> int:
    """float32 of working memory that the loss needs."""
    packed = packed_size.py_func
    return SPARE + BLOCK * (vocabulary + 2 * VECTOR) + packed(width, vocabulary) + packed(vocabulary, width)


@part
def surprise(logits, at, target, count, share):
    """The cross-entropy of a row; its logits become the gradient times ``share``."""
    row = view(logits, at, count)
    greatest = largest(row, 0, count)
    chosen = row[target]
    for i in range(count):
        row[i] = exponential(row[i] - greatest)
    total = summed(row, 0, count)
    factor = share / total
    for i in range(count):
        row[i] *= factor
    row[target] -= share
    return math.log(total) + (greatest - chosen)


def losses_and_slopes(x, w, targets, losses, by_x, by_w, work, rows, width, vocabulary):
    """All addresses: the loss of each row, and the gradients of their mean by features and unembedding.

    ``by_x`` 0: no gradients.
    """
    slopes = by_x != 0
    x, w, targets, losses = floats(x), floats(w), whole_numbers(targets), floats(losses)
    by_x, by_w, work = floats(by_x), floats(by_w), floats(work)
    step = vocabulary + VECTOR
    spare = 0
    logits_at = SPARE + BLOCK * VECTOR
    across_at = logits_at + BLOCK * step
    along_at = across_at + packed_size(width, vocabulary)
    pack(work, across_at, w, 0, 1, width, width, vocabulary)
    if slopes:
        pack(work, along_at, w, 0, width, 1, vocabulary, width)
        fill(by_w, 0, vocabulary * width)
    share = F32(1) / F32(rows)
    for first in range(0, rows, BLOCK):
        count = BLOCK if rows - first > BLOCK else rows - first
        times(work, logits_at, step, x, first * width, width, work, across_at, count, width, vocabulary, work, spare)
        for r in range(count):
            losses[first + r] = surprise(work, logits_at + r * step, targets[first + r], vocabulary, share)
        if slopes:
            times(by_x, first * width, width, work, logits_at, step, work, along_at, count, vocabulary, width,
                  work, spare)  # fmt: skip
            add_outer(by_w, 0, width, work, logits_at, step, x, first * width, width, count, vocabulary, width,
                      work, spare)  # fmt: skip
