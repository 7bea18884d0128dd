"""Operations on single rows, for compiled functions only: loops that LLVM turns into vector instructions.

Memory is flat and arrays carry no shape: a place is an array and where in it.
"""

import math

import numpy as np

from moelaws.kernels.arithmetic import exponential
from moelaws.kernels.memory import F32, part, view
from moelaws.kernels.sums import dot, largest, summed
from moelaws.kernels.tiles import MOST_ROWS, PANEL, VECTOR, WIDE, tile
from moelaws.models.norm import NORM_EPSILON

_EPSILON = np.float32(NORM_EPSILON)


@part
def product(y, y_at, y_step, x, x_at, x_step, w, w_at, rows, depth, columns, turn, team):
    """y = x w for packed weights; the panels dealt to one thread, the first to thread ``turn`` of ``team``.

    Returns:
        The thread to begin with next.
    """
    wide = columns // PANEL
    narrow = (columns - wide * PANEL + VECTOR - 1) // VECTOR
    for panel in range(wide + narrow):
        if turn == 0:
            begin = panel * PANEL if panel < wide else wide * PANEL + (panel - wide) * VECTOR
            step, vectors = (PANEL, WIDE) if panel < wide else (VECTOR, 1)
            for r in range(0, rows, MOST_ROWS):
                count = MOST_ROWS if rows - r > MOST_ROWS else rows - r
                tile(y, y_at + r * y_step + begin, y_step, x, x_at + r * x_step, x_step,
                     w, w_at + begin * depth, step, depth, count, vectors)  # fmt: skip
        turn = turn - 1 if turn > 0 else team - 1
    return turn


@part
def weigh(y, y_at, x, x_at, w, w_at, w_step, depth, columns):
    """y = x w for one row and weights of any step; what is written is a whole number of vectors."""
    wide = columns // PANEL * PANEL
    for begin in range(0, wide, PANEL):
        tile(y, y_at + begin, 0, x, x_at, 0, w, w_at + begin, w_step, depth, 1, WIDE)
    for begin in range(wide, columns, VECTOR):
        tile(y, y_at + begin, 0, x, x_at, 0, w, w_at + begin, w_step, depth, 1, 1)


@part
def normalise(y, y_at, x, x_at, width):
    """A row over its root mean square."""
    factor = F32(1) / math.sqrt(dot(x, x_at, x, x_at, width) / F32(width) + _EPSILON)
    x, y = view(x, x_at, width), view(y, y_at, width)
    for i in range(width):
        y[i] = x[i] * factor


@part
def copy(y, y_at, x, x_at, width):
    """y = x."""
    x, y = view(x, x_at, width), view(y, y_at, width)
    for i in range(width):
        y[i] = x[i]


@part
def add(x, x_at, y, y_at, width, factor):
    """x += factor y."""
    x, y = view(x, x_at, width), view(y, y_at, width)
    for i in range(width):
        x[i] += factor * y[i]


@part
def turn_pairs(x, x_at, turns, turns_at, width):
    """Rotate the pairs of a row."""
    x, turns = view(x, x_at, width), view(turns, turns_at, width)
    for i in range(0, width - 1, 2):
        a, b, c, s = x[i], x[i + 1], turns[i], turns[i + 1]
        x[i] = a * c - b * s
        x[i + 1] = a * s + b * c


@part
def softmax(x, x_at, count):
    """Exponentials of a row less its greatest, in place; returns one over their sum."""
    x = view(x, x_at, count)
    greatest = largest(x, 0, count)
    for i in range(count):
        x[i] = exponential(x[i] - greatest)
    return F32(1) / summed(x, 0, count)


@part
def gate(act, act_at, up, up_at, width):
    """SwiGLU, in place of the gate."""
    act, up = view(act, act_at, width), view(up, up_at, width)
    for i in range(width):
        act[i] = act[i] * up[i] / (F32(1) + exponential(-act[i]))
