"""One step of the model as one compiled function: everything between token ids and logits.

Memory is flat and arrays carry no shape: a place is a number. With several threads all of them run ``step`` together:
a product's panels and the rows of everything else are dealt to them in turn, and they wait for each other where a part
needs all of the one before.

Shape suffixes: B requests, T time steps, R = B T rows, D model width, H heads, P head width, K experts a token,
L columns of the cache, V vocabulary.
"""

from moelaws.decoding.compiled.cached_attention import attend, place_keys
from moelaws.decoding.compiled.dispatch import combine, feed, route
from moelaws.decoding.compiled.places import (
    AT_BEGINS,
    AT_CHOSEN,
    AT_COUNTER,
    AT_FLOATS,
    AT_H,
    AT_IDS,
    AT_INTS,
    AT_KEYS,
    AT_LAST,
    AT_LOGITS,
    AT_MIXED,
    AT_PLAN,
    AT_QKV,
    AT_SIZES,
    AT_TURNS,
    AT_VALUES,
    AT_WEIGHTS,
    AT_X,
    AT_Y,
    BATCH,
    CAPACITY,
    DONE,
    EMBEDDING,
    FORCED,
    LAYERS,
    LOGITS_STEP,
    N_EXPERTS,
    OUT,
    PLAN_FIELDS,
    QK_GAIN,
    QKV,
    QKV_STEP,
    RAGGED,
    ROUTER,
    ROW_STEP,
    SHIFT_GAIN,
    START,
    TEAM,
    TIME,
    TOP_K,
    UNEMBEDDING,
    VOCABULARY,
    WRONG_EXPERT,
    D,
)
from moelaws.decoding.compiled.vectors import normalise, product
from moelaws.decoding.compiled.waiting import wait_for_all
from moelaws.kernels.memory import F32, floats, part, view, whole_numbers


@part
def embed(s, w, scratch, last, ids, begins, batch, time, start, thread, team):
    """Embeddings of the rows, each with the previous token's share if the model shifts tokens."""
    width, step, gain = s[D], s[ROW_STEP], s[SHIFT_GAIN]
    for row in range(thread, batch * time, team):
        b, t = row // time, row % time
        x = view(scratch, s[AT_X] + row * step, width)
        token = view(w, s[EMBEDDING] + ids[row] * width, width)
        # With a shift padding is nothing: a request's first token has it before itself.
        seen = F32(1) if gain < 0 or start + t >= begins[b] else F32(0)
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
        seen = F32(1) if start + time - 1 >= begins[b] else F32(0)
        for i in range(width):
            last[b * width + i] = seen * w[token + i]


def step(f, thread):
    """Read some more tokens of every request.

    Args:
        f: the frame, see ``places.FRAME``. An array argument costs a call some tenths of a microsecond, as much as
            half a layer of a small model; so there is one, which holds the addresses of the others.
        thread: which of the team this is.

    Returns:
        ``DONE``; or, and nothing is done, ``WRONG_EXPERT`` or the row whose token is none of the vocabulary.
    """
    w, plan, s = floats(f[AT_WEIGHTS]), whole_numbers(f[AT_PLAN]), whole_numbers(f[AT_SIZES])
    scratch, ints, counter = floats(f[AT_FLOATS]), whole_numbers(f[AT_INTS]), whole_numbers(f[AT_COUNTER])
    keys, values, turns = floats(f[AT_KEYS]), floats(f[AT_VALUES]), floats(f[AT_TURNS])
    begins, last = whole_numbers(f[AT_BEGINS]), floats(f[AT_LAST])
    ids, chosen, logits = whole_numbers(f[AT_IDS]), whole_numbers(f[AT_CHOSEN]), floats(f[AT_LOGITS])
    batch, time, start, capacity, ragged = f[BATCH], f[TIME], f[START], f[CAPACITY], f[RAGGED]
    forced, team = f[FORCED], f[TEAM]
    width, rows = s[D], batch * time
    row_step, chosen_at = s[ROW_STEP], 0
    for row in range(rows):
        if ids[row] < 0 or ids[row] >= s[VOCABULARY]:
            return row
    if forced:
        for layer in range(f[LAYERS]):
            row_of_plan = view(plan, layer * PLAN_FIELDS, PLAN_FIELDS)
            if row_of_plan[ROUTER] >= 0:
                for m in range(chosen_at, chosen_at + rows * s[TOP_K]):
                    if chosen[m] < 0 or chosen[m] >= row_of_plan[N_EXPERTS]:
                        return WRONG_EXPERT
                chosen_at += rows * s[TOP_K]
        chosen_at = 0
    embed(s, w, scratch, last, ids, begins, batch, time, start, thread, team)
    for row in range(thread, rows, team):
        normalise(scratch, s[AT_H] + row * row_step, scratch, s[AT_X] + row * row_step, width)
    wait_for_all(counter, team)
    if thread == 0 and s[SHIFT_GAIN] >= 0:
        remember(s, w, last, ids, begins, batch, time, start)
    for layer in range(f[LAYERS]):
        row_of_plan = view(plan, layer * PLAN_FIELDS, PLAN_FIELDS)
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
    return DONE
