"""Causal attention of one head of one sequence, forward and backward: no score is kept, and none of the future made.

Shape suffixes: T time, P head width; both are padded to whole vectors in working memory, U and Q.
"""

import math

from moelaws.kernels.arithmetic import exponential
from moelaws.kernels.memory import F32, part, view
from moelaws.kernels.products import columns_of, fill, turned
from moelaws.kernels.sums import dot, largest, summed
from moelaws.kernels.tiles import MOST_ROWS, PANEL, VECTOR, WIDE, tile, tile_across

KEYS = 96
"""Keys whose gradients of scores are held at a time, a multiple of every ``MOST_ROWS``."""


@part
def whole(count):
    """So many numbers in whole vectors."""
    return (count + VECTOR - 1) // VECTOR * VECTOR


def head_numbers(time: int, width: int) -> int:
    """float32 of working memory that a head needs."""
    across, step = whole.py_func(time), whole.py_func(width)
    return (2 * width + MOST_ROWS + KEYS + 2) * across + (4 * time + MOST_ROWS) * step


@part
def padded(y, y_at, x, x_at, x_step, time, width, factor):
    """Rows of P as rows of whole vectors, times a factor."""
    step = whole(width)
    for t in range(time):
        to, source = view(y, y_at + t * step, width), view(x, x_at + t * x_step, width)
        for i in range(width):
            to[i] = factor * source[i]
        for i in range(width, step):
            y[y_at + t * step + i] = F32(0)


@part
def scores(y, y_at, y_step, x, x_at, x_step, w, w_at, w_step, depth, rows, begin, end):
    """Columns ``begin`` to ``end``, whole vectors, of y = x w."""
    while begin < end:
        wide = end - begin >= PANEL
        tile(y, y_at + begin, y_step, x, x_at, x_step, w, w_at + begin, w_step, depth, rows, WIDE if wide else 1)
        begin += PANEL if wide else VECTOR


@part
def head_forward(o, o_at, o_step, logs, logs_at, q, q_at, q_step, k, k_at, k_step, v, v_at, v_step, time, width, scale,
                 work, at):  # fmt: skip
    """Outputs T x P, and the logarithm of each row's sum of exponentials."""
    across, step = whole(time), whole(width)
    keys_at = at
    values_at = keys_at + width * across
    scores_at = values_at + time * step
    out_at = scores_at + MOST_ROWS * across
    turned(work, keys_at, across, k, k_at, k_step, time, width)
    padded(work, values_at, v, v_at, v_step, time, width, F32(1))
    for first in range(0, time, MOST_ROWS):
        rows = MOST_ROWS if time - first > MOST_ROWS else time - first
        seen = whole(first + rows)
        scores(work, scores_at, across, q, q_at + first * q_step, q_step, work, keys_at, across, width, rows, 0, seen)
        for r in range(rows):
            count = first + r + 1
            row = view(work, scores_at + r * across, seen)
            greatest = largest(row, 0, count)
            for i in range(count):
                row[i] = exponential((row[i] - greatest) * scale)
            total = summed(row, 0, count)
            share = F32(1) / total
            for i in range(count):
                row[i] *= share
            for i in range(count, seen):
                row[i] = F32(0)
            logs[logs_at + first + r] = greatest * scale + F32(math.log(total))
        scores(work, out_at, step, work, scores_at, across, work, values_at, step, first + rows, rows, 0, step)
        for r in range(rows):
            to, source = view(o, o_at + (first + r) * o_step, width), view(work, out_at + r * step, width)
            for i in range(width):
                to[i] = source[i]


@part
def head_backward(by_q, by_q_at, by_k, by_k_at, by_v, by_v_at, by_step, by_o, by_o_at, o, o_at, o_step, logs, logs_at,
                  q, q_at, q_step, k, k_at, k_step, v, v_at, v_step, time, width, scale, work, at):  # fmt: skip
    """Gradients by queries, keys and values, each T x P; scores are computed again, transposed."""
    across, step = whole(time), whole(width)
    turned_q_at = at
    turned_by_at = turned_q_at + width * across
    q_rows_at = turned_by_at + width * across
    k_rows_at = q_rows_at + time * step
    by_rows_at = k_rows_at + time * step
    by_q_rows_at = by_rows_at + time * step
    shares_at = by_q_rows_at + time * step
    slopes_at = shares_at + MOST_ROWS * across
    logs_row_at = slopes_at + KEYS * across
    means_at = logs_row_at + across
    out_at = means_at + across
    padded(work, q_rows_at, q, q_at, q_step, time, width, scale)
    padded(work, k_rows_at, k, k_at, k_step, time, width, F32(1))
    padded(work, by_rows_at, by_o, by_o_at, o_step, time, width, F32(1))
    turned(work, turned_q_at, across, work, q_rows_at, step, time, width)
    turned(work, turned_by_at, across, by_o, by_o_at, o_step, time, width)
    fill(work, by_q_rows_at, time * step)
    for t in range(time):
        work[means_at + t] = dot(o, o_at + t * o_step, by_o, by_o_at + t * o_step, width)
        work[logs_row_at + t] = logs[logs_at + t]
    for t in range(time, across):
        work[means_at + t] = F32(0)
        work[logs_row_at + t] = F32(0)
    for first_key in range(0, time, KEYS):
        end_key = first_key + KEYS if first_key + KEYS < time else time
        for first in range(first_key, end_key, MOST_ROWS):
            rows = MOST_ROWS if end_key - first > MOST_ROWS else end_key - first
            begin = first // VECTOR * VECTOR
            slopes_row_at = slopes_at + (first - first_key) * across
            scores(work, shares_at, across, work, k_rows_at + first * step, step, work, turned_q_at, across, width,
                   rows, begin, across)  # fmt: skip
            scores(work, slopes_row_at, across, v, v_at + first * v_step, v_step, work, turned_by_at, across, width,
                   rows, begin, across)  # fmt: skip
            for r in range(rows):
                count = across - begin
                share = view(work, shares_at + r * across + begin, count)
                slope = view(work, slopes_row_at + r * across + begin, count)
                log, mean = view(work, logs_row_at + begin, count), view(work, means_at + begin, count)
                for i in range(count):
                    share[i] = exponential(share[i] - log[i])
                    slope[i] = share[i] * (slope[i] - mean[i])
                for i in range(begin, first + r):
                    work[shares_at + r * across + i] = F32(0)
                for i in range(begin - VECTOR if begin else 0, first + r):
                    work[slopes_row_at + r * across + i] = F32(0)
            depth = time - begin
            scores(work, out_at, step, work, shares_at + begin, across, work, by_rows_at + begin * step, step, depth,
                   rows, 0, step)  # fmt: skip
            columns_of(by_v, by_v_at + first * by_step, by_step, work, out_at, step, rows, width, F32(1))
            scores(work, out_at, step, work, slopes_row_at + begin, across, work, q_rows_at + begin * step, step,
                   depth, rows, 0, step)  # fmt: skip
            columns_of(by_k, by_k_at + first * by_step, by_step, work, out_at, step, rows, width, F32(1))
        for first in range(first_key // MOST_ROWS * MOST_ROWS, time, MOST_ROWS):
            rows = MOST_ROWS if time - first > MOST_ROWS else time - first
            end = first + rows if first + rows < end_key else end_key
            for column in range(0, step, VECTOR):
                tile_across(work, by_q_rows_at + first * step + column, step, work, slopes_at + first, across,
                            work, k_rows_at + first_key * step + column, step, end - first_key, rows, 1)  # fmt: skip
    columns_of(by_q, by_q_at, by_step, work, by_q_rows_at, step, time, width, scale)
