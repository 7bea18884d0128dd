"""One step of the model as one compiled function: everything between token ids and logits.

Memory is flat and arrays carry no shape: a place is a number. Every sum of products is tiles of ``tiles``; the loops
left are short. With several threads all of them run ``step`` together: a product's panels and the rows of everything
else are dealt to them in turn, and they wait for each other where a part needs all of the one before.

Shape suffixes: B requests, T time steps, R = B T rows, D model width, H heads, P head width, K experts a token,
E experts, F hidden width, M = R K rows of experts, L columns of the cache, V vocabulary.
"""

import math

import numpy as np
from numba import njit

from moelaws.models.norm import NORM_EPSILON
from moelaws.serving.packed import (
    BIAS,
    EXPERTS,
    HIDDEN,
    N_EXPERTS,
    OUT,
    QK_GAIN,
    QKV,
    ROUTER,
    SHARED,
    SHARED_HIDDEN,
    STRIDE,
)
from moelaws.serving.tiles import MOST_ROWS, PANEL, VECTOR, WIDE, exponential, tile
from moelaws.serving.waiting import wait_for_all

_F = np.float32
_EPSILON = np.float32(NORM_EPSILON)
_LEAST = np.float32(-3e38)

# Functions that only compiled ones call: sums may be reordered, and no way in from Python is made.
part = njit(fastmath=True, nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


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
    x, y = x[x_at : x_at + width], y[y_at : y_at + width]
    squares = _F(0)
    for i in range(width):
        squares += x[i] * x[i]
    factor = _F(1) / math.sqrt(squares / _F(width) + _EPSILON)
    for i in range(width):
        y[i] = x[i] * factor


@part
def copy(y, y_at, x, x_at, width):
    """y = x."""
    for i in range(width):
        y[y_at + i] = x[x_at + i]


@part
def add(x, x_at, y, y_at, width, factor):
    """x += factor y."""
    x, y = x[x_at : x_at + width], y[y_at : y_at + width]
    for i in range(width):
        x[i] += factor * y[i]


@part
def turn_pairs(x, x_at, turns, turns_at, width):
    """Rotate the pairs of a row."""
    x, turns = x[x_at : x_at + width], turns[turns_at : turns_at + width]
    for i in range(0, width - 1, 2):
        a, b, c, s = x[i], x[i + 1], turns[i], turns[i + 1]
        x[i] = a * c - b * s
        x[i + 1] = a * s + b * c


@part
def softmax(x, x_at, count):
    """Exponentials of a row less its greatest, in place; returns one over their sum."""
    x = x[x_at : x_at + count]
    greatest = _LEAST
    for i in range(count):
        greatest = x[i] if x[i] > greatest else greatest
    total = _F(0)
    for i in range(count):
        x[i] = exponential(x[i] - greatest)
        total += x[i]
    return _F(1) / total


@part
def choose(scores, scores_at, count, w, bias_at, top_k, chosen, chosen_at, forced):
    """The K best of a row of scores, bias included, unless they are forced; the first of equals."""
    for k in range(top_k):
        if forced:
            return
        best, which = _LEAST, 0
        for e in range(count):
            score = scores[scores_at + e] + (w[bias_at + e] if bias_at >= 0 else _F(0))
            taken = False
            for other in range(k):
                taken |= chosen[chosen_at + other] == e
            if score > best and not taken:
                best, which = score, e
        chosen[chosen_at + k] = which


@part
def gate(act, act_at, up, up_at, width):
    """SwiGLU, in place of the gate."""
    act, up = act[act_at : act_at + width], up[up_at : up_at + width]
    for i in range(width):
        act[i] = act[i] * up[i] / (_F(1) + exponential(-act[i]))


# Sizes and places that a step needs besides the plan of the weights.
SIZES = (
    D, HEADS, TOP_K, VOCABULARY, RENORMALISE, SIGMOID, EMBEDDING, SHIFT_GAIN, UNEMBEDDING, MOST_EXPERTS,
    ROW_STEP, QKV_STEP, LOGITS_STEP, ACT_STEP,
    AT_X, AT_H, AT_QKV, AT_MIXED, AT_GATES, AT_ACT, AT_Y, AT_OWN, OWN_STEP, OWN_SCORES, OWN_TILE, INTS_STEP,
) = range(26)  # fmt: skip


@part
def embed(s, w, scratch, last, ids, begins, batch, time, start, thread, team):
    """Embeddings of the rows, each with the previous token's share if the model shifts tokens."""
    width, step, gain = s[D], s[ROW_STEP], s[SHIFT_GAIN]
    for row in range(thread, batch * time, team):
        b, t = row // time, row % time
        x = scratch[s[AT_X] + row * step : s[AT_X] + row * step + width]
        token = w[s[EMBEDDING] + ids[row] * width : s[EMBEDDING] + ids[row] * width + width]
        # With a shift padding is nothing: a request's first token has it before itself.
        seen = _F(1) if gain < 0 or start + t >= begins[b] else _F(0)
        for i in range(width):
            x[i] = seen * token[i]
        if gain < 0:
            continue
        if t == 0:
            for i in range(width):
                x[i] += w[gain + i] * last[b * width + i]
        elif start + t - 1 >= begins[b]:
            before = s[EMBEDDING] + ids[row - 1] * width
            for i in range(width):
                x[i] += w[gain + i] * w[before + i]


@part
def remember(s, w, last, ids, begins, batch, time, start):
    """Keep the embeddings of the last tokens, for the next step's shift."""
    width = s[D]
    for b in range(batch):
        token = s[EMBEDDING] + ids[b * time + time - 1] * width
        seen = _F(1) if start + time - 1 >= begins[b] else _F(0)
        for i in range(width):
            last[b * width + i] = seen * w[token + i]


@part
def place_keys(s, layer, w, scratch, keys, values, turns, ragged, batch, time, start, capacity, thread, team, gain):
    """Queries and keys normalised and turned; keys and values of the rows put into the cache."""
    width, heads = s[D], s[HEADS]
    head, step = width // heads, s[QKV_STEP]
    for row in range(thread, batch * time, team):
        b, t = row // time, row % time
        column, q = start + t, s[AT_QKV] + row * step
        k, v = q + width, q + 2 * width
        for part in range(2):
            at = q + part * width
            if gain >= 0:
                normalise(scratch, at, scratch, at, width)
                for i in range(width):
                    scratch[at + i] *= w[gain + part * width + i]
            request = b if ragged else 0
            requests = batch if ragged else 1
            turn_pairs(scratch, at, turns, ((part * requests + request) * capacity + column) * width, width)
        for h in range(heads):
            place = (layer * batch + b) * heads + h
            for i in range(head):
                keys[(place * head + i) * capacity + column] = scratch[k + h * head + i]
                values[(place * capacity + column) * head + i] = scratch[v + h * head + i]


@part
def attend(s, layer, scratch, keys, values, begins, batch, time, start, capacity, thread, team):
    """Each row's query on its request's keys and values up to its own, a head at a time."""
    width, heads = s[D], s[HEADS]
    head, step = width // heads, s[QKV_STEP]
    own = s[AT_OWN] + thread * s[OWN_STEP]
    scores, mixed = own + s[OWN_SCORES], own + s[OWN_TILE]
    for unit in range(thread, batch * time * heads, team):
        row, h = unit // heads, unit % heads
        b, end = row // time, start + row % time + 1
        begin = begins[b] if begins[b] < end else end - 1
        place = (layer * batch + b) * heads + h
        weigh(scratch, scores, scratch, s[AT_QKV] + row * step + h * head,
              keys, place * head * capacity + begin, capacity, head, end - begin)  # fmt: skip
        factor = softmax(scratch, scores, end - begin)
        weigh(scratch, mixed, scratch, scores, values, (place * capacity + begin) * head, head, end - begin, head)
        out = s[AT_MIXED] + row * s[ROW_STEP] + h * head
        for i in range(head):
            scratch[out + i] = scratch[mixed + i] * factor


@part
def route(s, row_of_plan, w, scratch, chosen, chosen_at, rows, forced, thread, team):
    """Attention's result added, the sum normalised, and the experts of each row chosen and weighted."""
    width, step, top_k = s[D], s[ROW_STEP], s[TOP_K]
    router, experts, bias = row_of_plan[ROUTER], row_of_plan[N_EXPERTS], row_of_plan[BIAS]
    scores, scores_step = s[AT_OWN] + thread * s[OWN_STEP] + s[OWN_SCORES], _step_of(experts)
    for first in range(thread * MOST_ROWS, rows, team * MOST_ROWS):
        count = MOST_ROWS if rows - first > MOST_ROWS else rows - first
        for row in range(first, first + count):
            x, h = s[AT_X] + row * step, s[AT_H] + row * step
            add(scratch, x, scratch, s[AT_Y] + row * step, width, _F(1))
            normalise(scratch, h, scratch, x, width)
        if router < 0:
            continue
        product(scratch, scores, scores_step, scratch, s[AT_H] + first * step, step, w, router, count, width,
                experts, 0, 1)  # fmt: skip
        for row in range(first, first + count):
            at, ids, gates = scores + (row - first) * scores_step, chosen_at + row * top_k, s[AT_GATES] + row * top_k
            if s[SIGMOID] > 0:
                for e in range(experts):
                    scratch[at + e] = _F(1) / (_F(1) + exponential(-scratch[at + e]))
            else:
                factor = softmax(scratch, at, experts)
                for e in range(experts):
                    scratch[at + e] *= factor
            choose(scratch, at, experts, w, bias, top_k, chosen, ids, forced)
            total = _F(0)
            for k in range(top_k):
                scratch[gates + k] = scratch[at + chosen[ids + k]]
                total += scratch[gates + k]
            if s[RENORMALISE] > 0:
                for k in range(top_k):
                    scratch[gates + k] /= total


@part
def gather(s, experts, scratch, ints, chosen, chosen_at, rows, thread):
    """Rows side by side by expert, in this thread's own memory: which of them are whose, and where each choice went."""
    width, step, top_k = s[D], s[ROW_STEP], s[TOP_K]
    ends, place = thread * s[INTS_STEP], thread * s[INTS_STEP] + s[MOST_EXPERTS] + 1
    for e in range(experts + 1):
        ints[ends + e] = 0
    for m in range(rows * top_k):
        ints[ends + chosen[chosen_at + m] + 1] += 1
    for e in range(experts):
        ints[ends + e + 1] += ints[ends + e]
    for m in range(rows * top_k):
        # The end of the expert before is where this one's next row goes, until it is this one's end.
        e = chosen[chosen_at + m]
        to = ints[ends + e]
        ints[ends + e] += 1
        ints[place + m] = to
        at, row = s[AT_OWN] + thread * s[OWN_STEP] + to * step, s[AT_H] + (m // top_k) * step
        copy(scratch, at, scratch, row, width)


@part
def expert_in(s, scratch, x_at, w, w_at, hidden, rows, act_at, thread, turn, team):
    """Gate and up projections of some rows, and their SwiGLU, a panel at a time."""
    width, step, act_step = s[D], s[ROW_STEP], s[ACT_STEP]
    up_at, up = w_at + width * _step_of(hidden), s[AT_OWN] + thread * s[OWN_STEP] + s[OWN_TILE]
    wide = hidden // PANEL
    narrow = (hidden - wide * PANEL + VECTOR - 1) // VECTOR
    for panel in range(wide + narrow):
        if turn == 0:
            begin = panel * PANEL if panel < wide else wide * PANEL + (panel - wide) * VECTOR
            columns, vectors = (PANEL, WIDE) if panel < wide else (VECTOR, 1)
            for r in range(0, rows, MOST_ROWS):
                count = MOST_ROWS if rows - r > MOST_ROWS else rows - r
                act, x = act_at + r * act_step + begin, x_at + r * step
                tile(scratch, act, act_step, scratch, x, step, w, w_at + begin * width, columns, width, count, vectors)
                tile(scratch, up, columns, scratch, x, step, w, up_at + begin * width, columns, width, count, vectors)
                for i in range(count):
                    gate(scratch, act + i * act_step, scratch, up + i * columns, columns)
        turn = turn - 1 if turn > 0 else team - 1
    return turn


@part
def feed(s, row_of_plan, w, scratch, ints, chosen, chosen_at, rows, counter, thread, team):
    """The experts of every row, and the shared ones; their results are not added yet."""
    width, step, act_step, top_k = s[D], s[ROW_STEP], s[ACT_STEP], s[TOP_K]
    routed, experts, hidden = row_of_plan[ROUTER] >= 0, row_of_plan[N_EXPERTS], row_of_plan[HIDDEN]
    shared, shared_hidden = row_of_plan[SHARED], row_of_plan[SHARED_HIDDEN]
    many = rows * top_k if routed else rows
    ends, turn = thread * s[INTS_STEP], thread
    if routed:
        gather(s, experts, scratch, ints, chosen, chosen_at, rows, thread)
    else:
        ints[ends] = rows
    x = s[AT_OWN] + thread * s[OWN_STEP] if routed else s[AT_H]
    for stage in range(2):
        for e in range(experts + (1 if shared >= 0 else 0)):
            begin = (ints[ends + e - 1] if e > 0 else 0) if e < experts else many
            count = ints[ends + e] - begin if e < experts else rows
            if count == 0:
                continue
            w_at = row_of_plan[EXPERTS] + e * row_of_plan[STRIDE] if e < experts else shared
            inner = hidden if e < experts else shared_hidden
            from_x = x + begin * step if e < experts else s[AT_H]
            act = s[AT_ACT] + begin * act_step
            if stage == 0:
                turn = expert_in(s, scratch, from_x, w, w_at, inner, count, act, thread, turn, team)
            else:
                turn = product(scratch, s[AT_Y] + begin * step, step, scratch, act, act_step, w,
                               w_at + 2 * width * _step_of(inner), count, inner, width, turn, team)  # fmt: skip
        wait_for_all(counter, team)


@part
def combine(s, row_of_plan, scratch, ints, rows, thread, team):
    """The experts' results added to each row, and the sum normalised for what comes next."""
    width, step, top_k = s[D], s[ROW_STEP], s[TOP_K]
    place = thread * s[INTS_STEP] + s[MOST_EXPERTS] + 1
    for row in range(thread, rows, team):
        x = s[AT_X] + row * step
        if row_of_plan[ROUTER] < 0:
            add(scratch, x, scratch, s[AT_Y] + row * step, width, _F(1))
        else:
            for m in range(row * top_k, (row + 1) * top_k):
                add(scratch, x, scratch, s[AT_Y] + ints[place + m] * step, width, scratch[s[AT_GATES] + m])
            if row_of_plan[SHARED] >= 0:
                add(scratch, x, scratch, s[AT_Y] + (rows * top_k + row) * step, width, _F(1))
        normalise(scratch, s[AT_H] + row * step, scratch, x, width)


@part
def _step_of(width):
    """Numbers from a row to the next: a whole number of vectors."""
    return (width + VECTOR - 1) // VECTOR * VECTOR


@part
def step(w, plan, s, scratch, ints, keys, values, turns, begins, last, ids, chosen, logits, counter, batch, time, start,
         capacity, ragged, forced, thread, team):  # fmt: skip
    """Read ``time`` more tokens of every request.

    Args:
        w, plan: the model, see ``packed``.
        s: sizes and places, see ``SIZES``.
        scratch, ints: working memory.
        keys, values: the cache, filled further: layers x B x H x P x L and layers x B x H x L x P.
        turns: rotations of queries and keys by column, 2 x (B if ragged, else 1) x L x D.
        begins: first column of each request.
        last: embedding of each request's last token, B x D; for a token shift.
        ids: tokens, B x T.
        chosen: gets the experts of each routed layer, R x K; holds them already if ``forced``.
        logits: gets those after the last tokens, B rows of a whole number of vectors.
        counter: for waiting, 0 at first.
        batch, time, start, capacity: B, T, first column to fill, L.
        ragged, forced: 1 or 0.
        thread, team: which of how many threads this is.

    Returns:
        -1, or the row whose token is none of the vocabulary; nothing is done then.
    """
    width, rows = s[D], batch * time
    row_step, chosen_at = s[ROW_STEP], 0
    for row in range(rows):
        if ids[row] < 0 or ids[row] >= s[VOCABULARY]:
            return row
    embed(s, w, scratch, last, ids, begins, batch, time, start, thread, team)
    for row in range(thread, rows, team):
        normalise(scratch, s[AT_H] + row * row_step, scratch, s[AT_X] + row * row_step, width)
    wait_for_all(counter, team)
    if thread == 0 and s[SHIFT_GAIN] >= 0:
        remember(s, w, last, ids, begins, batch, time, start)
    for layer in range(len(plan)):
        row_of_plan = plan[layer]
        product(scratch, s[AT_QKV], s[QKV_STEP], scratch, s[AT_H], row_step, w, row_of_plan[QKV], rows, width,
                3 * width, thread, team)  # fmt: skip
        wait_for_all(counter, team)
        place_keys(s, layer, w, scratch, keys, values, turns, ragged, batch, time, start, capacity, thread, team,
                   row_of_plan[QK_GAIN])  # fmt: skip
        wait_for_all(counter, team)
        attend(s, layer, scratch, keys, values, begins, batch, time, start, capacity, thread, team)
        wait_for_all(counter, team)
        product(scratch, s[AT_Y], row_step, scratch, s[AT_MIXED], row_step, w, row_of_plan[OUT], rows, width, width,
                thread, team)  # fmt: skip
        wait_for_all(counter, team)
        route(s, row_of_plan, w, scratch, chosen, chosen_at, rows, forced, thread, team)
        wait_for_all(counter, team)
        feed(s, row_of_plan, w, scratch, ints, chosen, chosen_at, rows, counter, thread, team)
        combine(s, row_of_plan, scratch, ints, rows, thread, team)
        wait_for_all(counter, team)
        if row_of_plan[ROUTER] >= 0:
            chosen_at += rows * s[TOP_K]
    product(logits, 0, s[LOGITS_STEP], scratch, s[AT_H] + (time - 1) * row_step, time * row_step, w,
            s[UNEMBEDDING], batch, width, s[VOCABULARY], thread, team)  # fmt: skip
    wait_for_all(counter, team)
    return -1
