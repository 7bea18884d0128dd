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
"""Of one call: addresses of arrays, then its numbers.

The arrays are the model's weights and plan and the sizes; working memory, real and whole; keys, layers x B x H x P x L,
and values, layers x B x H x L x P, filled further; rotations of queries and keys, 2 x (B if ragged, else 1) x L x D;
each request's first column; the embedding of its last token; the tokens, B x T; the experts chosen in each routed
layer, R x K, which are there already if ``FORCED``; the logits after the last tokens, B rows of a whole number of
vectors; a counter for waiting, 0 at first.

The numbers are those of layers, B and T, the first column to fill, L, 1 or 0 for requests that begin in different
columns, 1 or 0 for experts that are given, and how many threads run the step.
"""

DONE, WRONG_EXPERT = -1, -2
"""What a step returns; or else the row whose token is none of the vocabulary."""
