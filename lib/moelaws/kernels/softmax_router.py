"""A softmax router, forward and backward: probabilities, the experts chosen, and what its two losses need.

Shape suffixes: T tokens, D model width, E experts, K experts a token.
"""

import math

from moelaws.kernels.arithmetic import exponential
from moelaws.kernels.memory import F32, LEAST, floats, part, view, whole_numbers
from moelaws.kernels.products import SPARE, add_outer, fill, pack, packed_size, times
from moelaws.kernels.sums import dot, largest, summed
from moelaws.kernels.tiles import VECTOR

BLOCK = 96


def working_numbers(width: int, experts: int) -> int:
    """float32 of working memory that a router needs."""
    packed = packed_size.py_func
    return SPARE + BLOCK * (VECTOR + experts) + max(packed(experts, width), packed(width, experts))


@part
def best(scores, at, bias, count, top_k, ids, ids_at):
    """The K best of a row, bias included; the first of equals."""
    for k in range(top_k):
        greatest, which = LEAST, 0
        for e in range(count):
            score = scores[at + e] + bias[e]
            taken = False
            for other in range(k):
                taken |= ids[ids_at + other] == e
            if score > greatest and not taken:
                greatest, which = score, e
        ids[ids_at + k] = which


def forward(x, w, bias, probs, gates, ids, logs, load, mean, work, tokens, width, experts, top_k):
    """All addresses: probabilities T x E, gates and ids T x K, log-partitions T; load and mean probability, E."""
    x, w, bias, probs, gates, ids = floats(x), floats(w), floats(bias), floats(probs), floats(gates), whole_numbers(ids)
    logs, load, mean, work = floats(logs), floats(load), floats(mean), floats(work)
    pack(work, SPARE, w, 0, 1, width, width, experts)
    times(probs, 0, experts, x, 0, width, work, SPARE, tokens, width, experts, work, 0)
    fill(load, 0, experts)
    fill(mean, 0, experts)
    for t in range(tokens):
        row = view(probs, t * experts, experts)
        greatest = largest(row, 0, experts)
        logs[t] = greatest
        for e in range(experts):
            row[e] -= greatest
    every = view(probs, 0, tokens * experts)
    for i in range(tokens * experts):
        every[i] = exponential(every[i])
    for t in range(tokens):
        row = view(probs, t * experts, experts)
        total = summed(row, 0, experts)
        logs[t] += F32(math.log(total))
        share = F32(1) / total
        for e in range(experts):
            row[e] *= share
        for e in range(experts):
            mean[e] += row[e]
        best(probs, t * experts, bias, experts, top_k, ids, t * top_k)
        for k in range(top_k):
            chosen = ids[t * top_k + k]
            gates[t * top_k + k] = row[chosen]
            load[chosen] += F32(1)
    for e in range(experts):
        mean[e] /= F32(tokens)
        load[e] /= F32(tokens * top_k)


def backward(by_gates, by_balance, by_z, x, w, probs, ids, logs, load, by_x, by_w, work, tokens, width, experts, top_k):
    """All addresses but ``by_balance`` and ``by_z``, numbers: gradients by tokens and weights."""
    by_gates, x, w, probs, ids = floats(by_gates), floats(x), floats(w), floats(probs), whole_numbers(ids)
    logs, load, by_x, by_w, work = floats(logs), floats(load), floats(by_x), floats(by_w), floats(work)
    weights_at = SPARE + BLOCK * VECTOR
    by_logits_at = weights_at + packed_size(experts, width)
    pack(work, weights_at, w, 0, width, 1, experts, width)
    fill(by_w, 0, experts * width)
    balance = F32(by_balance * experts / tokens)
    twice_z = F32(2 * by_z / tokens)
    for first in range(0, tokens, BLOCK):
        rows = BLOCK if tokens - first > BLOCK else tokens - first
        for r in range(rows):
            t = first + r
            row, to = view(probs, t * experts, experts), view(work, by_logits_at + r * experts, experts)
            for e in range(experts):
                to[e] = load[e] * balance
            for k in range(top_k):
                to[ids[t * top_k + k]] += by_gates[t * top_k + k]
            # d p_e / d logit_f = p_e (1[e = f] - p_f);  d log z / d logit_f = p_f
            shift = logs[t] * twice_z - dot(to, 0, row, 0, experts)
            for e in range(experts):
                to[e] = (to[e] + shift) * row[e]
        times(by_x, first * width, width, work, by_logits_at, experts, work, weights_at, rows, experts, width, work, 0)
        add_outer(by_w, 0, width, work, by_logits_at, experts, x, first * width, width, rows, experts, width, work, 0)
