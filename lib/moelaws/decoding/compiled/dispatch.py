"""The experts of a step: chosen for each row, and each one's rows together, so that its weights are read once.

Shape suffixes: R rows, D model width, E experts, K experts a token, M = R K rows of experts, F hidden width.
"""

from moelaws.decoding.compiled.places import (
    ACT_STEP,
    AT_ACT,
    AT_GATES,
    AT_H,
    AT_OWN,
    AT_X,
    AT_Y,
    BIAS,
    EXPERTS,
    HIDDEN,
    HIDDEN_STEP,
    INTS_STEP,
    MOST_EXPERTS,
    N_EXPERTS,
    OWN_SCORES,
    OWN_STEP,
    OWN_TILE,
    RENORMALISE,
    ROUTER,
    ROW_STEP,
    SCORES_STEP,
    SHARED,
    SHARED_HIDDEN,
    SHARED_STEP,
    SIGMOID,
    STRIDE,
    TOP_K,
    D,
)
from moelaws.decoding.compiled.vectors import add, copy, gate, normalise, product, softmax
from moelaws.decoding.compiled.waiting import wait_for_all
from moelaws.kernels.arithmetic import exponential
from moelaws.kernels.memory import F32, LEAST, part
from moelaws.kernels.tiles import MOST_ROWS, PANEL, VECTOR, WIDE, tile


@part
def choose(scores, scores_at, count, w, bias_at, top_k, chosen, chosen_at, forced):
    """The K best of a row of scores, bias included, unless they are forced; the first of equals."""
    for k in range(top_k):
        if forced:
            return
        best, which = LEAST, 0
        for e in range(count):
            score = scores[scores_at + e] + (w[bias_at + e] if bias_at >= 0 else F32(0))
            taken = False
            for other in range(k):
                taken |= chosen[chosen_at + other] == e
            if score > best and not taken:
                best, which = score, e
        chosen[chosen_at + k] = which


@part
def route(s, row_of_plan, w, scratch, chosen, chosen_at, rows, forced, thread, team):
    """Attention's result added, the sum normalised, and the experts of each row chosen and weighted."""
    width, step, top_k = s[D], s[ROW_STEP], s[TOP_K]
    router, experts, bias = row_of_plan[ROUTER], row_of_plan[N_EXPERTS], row_of_plan[BIAS]
    scores, scores_step = s[AT_OWN] + thread * s[OWN_STEP] + s[OWN_SCORES], s[SCORES_STEP]
    for first in range(thread * MOST_ROWS, rows, team * MOST_ROWS):
        count = MOST_ROWS if rows - first > MOST_ROWS else rows - first
        for row in range(first, first + count):
            x, h = s[AT_X] + row * step, s[AT_H] + row * step
            add(scratch, x, scratch, s[AT_Y] + row * step, width, F32(1))
            normalise(scratch, h, scratch, x, width)
        if router < 0:
            continue
        product(scratch, scores, scores_step, scratch, s[AT_H] + first * step, step, w, router, count, width,
                experts, 0, 1)  # fmt: skip
        for row in range(first, first + count):
            at, ids, gates = scores + (row - first) * scores_step, chosen_at + row * top_k, s[AT_GATES] + row * top_k
            if s[SIGMOID] > 0:
                for e in range(experts):
                    scratch[at + e] = F32(1) / (F32(1) + exponential(-scratch[at + e]))
            else:
                factor = softmax(scratch, at, experts)
                for e in range(experts):
                    scratch[at + e] *= factor
            choose(scratch, at, experts, w, bias, top_k, chosen, ids, forced)
            total = F32(0)
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
def expert_in(s, scratch, x_at, w, w_at, hidden, hidden_step, rows, act_at, thread, turn, team):
    """Gate and up projections of some rows, and their SwiGLU, a panel at a time."""
    width, step, act_step = s[D], s[ROW_STEP], s[ACT_STEP]
    up_at, up = w_at + width * hidden_step, s[AT_OWN] + thread * s[OWN_STEP] + s[OWN_TILE]
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
    routed, experts, shared = row_of_plan[ROUTER] >= 0, row_of_plan[N_EXPERTS], row_of_plan[SHARED]
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
            inner = row_of_plan[HIDDEN] if e < experts else row_of_plan[SHARED_HIDDEN]
            inner_step = row_of_plan[HIDDEN_STEP] if e < experts else row_of_plan[SHARED_STEP]
            from_x = x + begin * step if e < experts else s[AT_H]
            act = s[AT_ACT] + begin * act_step
            if stage == 0:
                turn = expert_in(s, scratch, from_x, w, w_at, inner, inner_step, count, act, thread, turn, team)
            else:
                turn = product(scratch, s[AT_Y] + begin * step, step, scratch, act, act_step, w,
                               w_at + 2 * width * inner_step, count, inner, width, turn, team)  # fmt: skip
        wait_for_all(counter, team)


@part
def combine(s, row_of_plan, scratch, ints, rows, thread, team):
    """The experts' results added to each row, and the sum normalised for what comes next."""
    width, step, top_k = s[D], s[ROW_STEP], s[TOP_K]
    place = thread * s[INTS_STEP] + s[MOST_EXPERTS] + 1
    for row in range(thread, rows, team):
        x = s[AT_X] + row * step
        if row_of_plan[ROUTER] < 0:
            add(scratch, x, scratch, s[AT_Y] + row * step, width, F32(1))
        else:
            for m in range(row * top_k, (row + 1) * top_k):
                add(scratch, x, scratch, s[AT_Y] + ints[place + m] * step, width, scratch[s[AT_GATES] + m])
            if row_of_plan[SHARED] >= 0:
                add(scratch, x, scratch, s[AT_Y] + (rows * top_k + row) * step, width, F32(1))
        normalise(scratch, s[AT_H] + row * step, scratch, x, width)
