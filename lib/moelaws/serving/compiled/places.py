"""Which number stands where: in the plan of a model's weights, among the sizes of a step, in the frame of a call.

Compiled code gets three arrays of whole numbers; these are the names of their places.
"""

PLAN = (
    QKV, QK_GAIN, OUT, ROUTER, BIAS, EXPERTS, STRIDE, N_EXPERTS, HIDDEN, HIDDEN_STEP,
    SHARED, SHARED_HIDDEN, SHARED_STEP,
) = range(13)  # fmt: skip
"""Of a layer: where its parts begin (-1 where it has none), and their sizes.

An expert is its gate, up and down projections in turn; the experts of a layer lie ``STRIDE`` apart. A ``STEP`` is the
distance of one row from the next, a whole number of vectors.
"""
PLAN_FIELDS = len(PLAN)

SIZES = (
    D, HEADS, TOP_K, VOCABULARY, RENORMALISE, SIGMOID, EMBEDDING, SHIFT_GAIN, UNEMBEDDING, MOST_EXPERTS,
    ROW_STEP, QKV_STEP, LOGITS_STEP, ACT_STEP, SCORES_STEP,
    AT_X, AT_H, AT_QKV, AT_MIXED, AT_GATES, AT_ACT, AT_Y, AT_OWN, OWN_STEP, OWN_SCORES, OWN_TILE, INTS_STEP,
) = range(27)  # fmt: skip
"""Of the model, of rows of the working memory, and where its parts begin; ``OWN`` is what each thread has to itself."""

FRAME = (
    AT_WEIGHTS, AT_PLAN, AT_SIZES, AT_FLOATS, AT_INTS, AT_KEYS, AT_VALUES, AT_TURNS, AT_BEGINS, AT_LAST, AT_IDS,
    AT_CHOSEN, AT_LOGITS, AT_COUNTER,
    LAYERS, BATCH, TIME, START, CAPACITY, RAGGED, FORCED, TEAM,
) = range(22)  # fmt: skip
"""Addresses of arrays, and the numbers of a step: see ``step.step``."""
