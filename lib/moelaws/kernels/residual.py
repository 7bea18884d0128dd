"""A branch added to the residual stream, and the sum normalised for the next: one pass forward, one backward.

Shape suffixes: R rows, D model width.
"""

import math

from moelaws.kernels.memory import F32, floats, part, view
from moelaws.kernels.sums import dot


@part
def normalise_row(y, x, gain, width, epsilon):
    """y = gain x / rms(x)."""
    factor = F32(1) / math.sqrt(dot(x, 0, x, 0, width) / F32(width) + epsilon)
    for i in range(width):
        y[i] = x[i] * factor * gain[i]


def forward(x, branch, gain, total, y, rows, width, epsilon):
    """All addresses: ``total`` = x + branch, y = its norm; ``branch`` 0: x alone, and no total."""
    epsilon = F32(epsilon)
    adds = branch != 0
    x, branch, gain, total, y = floats(x), floats(branch), view(floats(gain), 0, width), floats(total), floats(y)
    for r in range(rows):
        row = view(x, r * width, width)
        if adds:
            row_of_branch, row_of_total = view(branch, r * width, width), view(total, r * width, width)
            for i in range(width):
                row_of_total[i] = row[i] + row_of_branch[i]
            row = row_of_total
        normalise_row(view(y, r * width, width), row, gain, width, epsilon)


def backward(by_y, by_total, total, gain, by_x, by_gain, rows, width, epsilon):
    """All addresses: the gradient by x (and by the branch) and by the gain; ``by_total`` 0: nothing comes that way."""
    epsilon = F32(epsilon)
    adds = by_total != 0
    by_y, by_total, total, by_x = floats(by_y), floats(by_total), floats(total), floats(by_x)
    gain, by_gain = view(floats(gain), 0, width), view(floats(by_gain), 0, width)
    for i in range(width):
        by_gain[i] = F32(0)
    for r in range(rows):
        by, x, to = view(by_y, r * width, width), view(total, r * width, width), view(by_x, r * width, width)
        factor = F32(1) / math.sqrt(dot(x, 0, x, 0, width) / F32(width) + epsilon)
        for i in range(width):
            by_gain[i] += by[i] * x[i] * factor
            to[i] = by[i] * gain[i]
        along = dot(to, 0, x, 0, width) * (factor * factor / F32(width))
        if adds:
            passed = view(by_total, r * width, width)
            for i in range(width):
                to[i] = passed[i] + factor * (to[i] - x[i] * along)
        else:
            for i in range(width):
                to[i] = factor * (to[i] - x[i] * along)
