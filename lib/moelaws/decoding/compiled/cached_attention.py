"""The attention of a step: keys and values put into the cache, and each row's query on all it may see.

Shape suffixes: B requests, T time steps, R = B T rows, D model width, H heads, P head width, L columns of the cache.
"""

from moelaws.decoding.compiled.places import (
    AT_MIXED,
    AT_OWN,
    AT_QKV,
    HEADS,
    OWN_SCORES,
    OWN_STEP,
    OWN_TILE,
    QKV_STEP,
    ROW_STEP,
    D,
)
from moelaws.decoding.compiled.vectors import normalise, softmax, turn_pairs, weigh
from moelaws.kernels.memory import part


@part
def place_keys(s, layer, w, scratch, keys, values, turns, ragged, batch, time, start, capacity, thread, team, gain):
    """Queries and keys normalised and turned; keys and values of the rows put into the cache."""
    width, heads = s[D], s[HEADS]
    head, step = width // heads, s[QKV_STEP]
    for row in range(thread, batch * time, team):
        b, t = row // time, row % time
        column, q = start + t, s[AT_QKV] + row * step
        k, v = q + width, q + 2 * width
        for which in range(2):
            at = q + which * width
            if gain >= 0:
                normalise(scratch, at, scratch, at, width)
                for i in range(width):
                    scratch[at + i] *= w[gain + which * width + i]
            request = b if ragged else 0
            requests = batch if ragged else 1
            turn_pairs(scratch, at, turns, ((which * requests + request) * capacity + column) * width, width)
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
