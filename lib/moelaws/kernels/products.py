"""Products of matrices, tile by tile: weights laid out in panels first, any number of columns.

Shape suffixes: R rows, K inputs, N outputs. Weights are packed as panels of ``PANEL`` columns, then of ``VECTOR``; the
last one is filled up with zeros.
"""

from moelaws.kernels.memory import F32, part, view
from moelaws.kernels.tiles import MOST_ROWS, PANEL, VECTOR, WIDE, tile, tile_across, transpose

SPARE = MOST_ROWS * VECTOR
"""Numbers of working memory that a product needs for columns that fill no vector."""


@part
def packed_size(depth, columns):
    """Numbers that packed weights take."""
    return depth * ((columns + VECTOR - 1) // VECTOR * VECTOR)


@part
def pack(p, p_at, w, w_at, k_step, n_step, depth, columns):
    """Weights K x N with any steps, as panels."""
    begin = 0
    while begin < columns:
        width = PANEL if columns - begin >= PANEL else VECTOR
        used = width if columns - begin >= width else columns - begin
        at = p_at + begin * depth
        if n_step == 1:
            for k in range(depth):
                to, source = view(p, at + k * width, width), view(w, w_at + k * k_step + begin, used)
                for n in range(used):
                    to[n] = source[n]
        else:
            squares = used // VECTOR * VECTOR if k_step == 1 else 0
            for k in range(0, depth - VECTOR + 1, VECTOR):
                for n in range(0, squares, VECTOR):
                    transpose(p, at + k * width + n, width, w, w_at + (begin + n) * n_step + k, n_step)
            for k in range(depth):
                first = squares if k < depth // VECTOR * VECTOR else 0
                for n in range(first, used):
                    p[at + k * width + n] = w[w_at + (begin + n) * n_step + k * k_step]
        for k in range(depth):
            for n in range(used, width):
                p[at + k * width + n] = F32(0)
        begin += width


@part
def times(y, y_at, y_step, x, x_at, x_step, p, p_at, rows, depth, columns, spare, spare_at):
    """y = x w for packed weights, R x N."""
    begin = 0
    while begin < columns:
        wide = columns - begin >= PANEL
        width, vectors = (PANEL, WIDE) if wide else (VECTOR, 1)
        used = columns - begin
        for r in range(0, rows, MOST_ROWS):
            count = MOST_ROWS if rows - r > MOST_ROWS else rows - r
            if used >= width:
                tile(y, y_at + r * y_step + begin, y_step, x, x_at + r * x_step, x_step,
                     p, p_at + begin * depth, width, depth, count, vectors)  # fmt: skip
            else:
                tile(spare, spare_at, VECTOR, x, x_at + r * x_step, x_step,
                     p, p_at + begin * depth, width, depth, count, 1)  # fmt: skip
                for i in range(count):
                    for n in range(used):
                        y[y_at + (r + i) * y_step + begin + n] = spare[spare_at + i * VECTOR + n]
        begin += width


@part
def add_outer(y, y_at, y_step, x, x_at, x_step, g, g_at, g_step, rows, inputs, columns, spare, spare_at):
    """y += x^T g, the gradient of weights K x N from rows R x K and gradients R x N.

    Columns that fill no vector are padded in ``spare``, which takes (R + ``MOST_ROWS``) ``VECTOR`` numbers.
    """
    begin = 0
    while begin < columns:
        wide = columns - begin >= PANEL
        width, vectors = (PANEL, WIDE) if wide else (VECTOR, 1)
        used = columns - begin
        if used >= width:
            for k in range(0, inputs, MOST_ROWS):
                count = MOST_ROWS if inputs - k > MOST_ROWS else inputs - k
                tile_across(y, y_at + k * y_step + begin, y_step, x, x_at + k, x_step,
                            g, g_at + begin, g_step, rows, count, vectors)  # fmt: skip
        else:
            padded = spare_at + SPARE
            for r in range(rows):
                for n in range(VECTOR):
                    spare[padded + r * VECTOR + n] = g[g_at + r * g_step + begin + n] if n < used else F32(0)
            for k in range(0, inputs, MOST_ROWS):
                count = MOST_ROWS if inputs - k > MOST_ROWS else inputs - k
                for i in range(SPARE):
                    spare[spare_at + i] = F32(0)
                tile_across(spare, spare_at, VECTOR, x, x_at + k, x_step, spare, padded, VECTOR, rows, count, 1)
                for i in range(count):
                    for n in range(used):
                        y[y_at + (k + i) * y_step + begin + n] += spare[spare_at + i * VECTOR + n]
        begin += width


@part
def fill(y, y_at, count):
    """Zeros."""
    y = view(y, y_at, count)
    for i in range(count):
        y[i] = F32(0)


@part
def columns_of(y, y_at, y_step, x, x_at, x_step, rows, columns, factor):
    """y = factor x, the first columns of some rows."""
    for r in range(rows):
        to, source = view(y, y_at + r * y_step, columns), view(x, x_at + r * x_step, columns)
        for i in range(columns):
            to[i] = factor * source[i]


@part
def turned(y, y_at, y_step, x, x_at, x_step, rows, columns):
    """y = x^T; ``y_step`` is a whole number of vectors, and what is beyond R is zero."""
    for r in range(0, y_step, VECTOR):
        squares = columns // VECTOR * VECTOR if r + VECTOR <= rows else 0
        for n in range(0, squares, VECTOR):
            transpose(y, y_at + n * y_step + r, y_step, x, x_at + r * x_step + n, x_step)
        for n in range(squares, columns):
            for i in range(r, r + VECTOR):
                y[y_at + n * y_step + i] = x[x_at + i * x_step + n] if i < rows else F32(0)
