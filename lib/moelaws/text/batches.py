"""The order in which training text is read, and the fixed held-out windows."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Windows = NDArray[np.int64]


def training_batches(tokens: NDArray[np.uint16], batch_sequences: int, context: int, seed: int) -> Iterator[Windows]:
    """Batches of windows of ``context + 1`` tokens, without end.

    Each epoch cuts the text into windows from a new random offset and reads them in a new random order, so a
    token is read at most once an epoch. The order depends on the arguments alone, never on the model: runs that
    share them see the same batches and can be compared in pairs.

    Args:
        tokens: the training tokens.
        batch_sequences: windows in a batch.
        context: tokens predicted in a window.
        seed: draws offsets and orders.

    Yields:
        Token ids, batch_sequences x (context + 1): the first ``context`` are read, the last ``context`` predicted.
    """
    rng = np.random.default_rng([seed, 0x0DA7A])
    span = np.arange(context + 1)
    waiting = np.empty(0, dtype=np.int64)
    while True:
        while len(waiting) < batch_sequences:
            offset = rng.integers(min(context, len(tokens) - context))
            starts = np.arange(offset, len(tokens) - context, context)
            waiting = np.concatenate([waiting, rng.permutation(starts)])
        batch, waiting = waiting[:batch_sequences], waiting[batch_sequences:]
        yield tokens[batch[:, None] + span].astype(np.int64)


def validation_windows(tokens: NDArray[np.uint16], context: int, validation_tokens: int) -> Windows:
    """The held-out windows every run is measured on: evenly spaced over the held-out text, without overlap.

    Args:
        tokens: the held-out tokens.
        context: tokens predicted in a window.
        validation_tokens: how many tokens to predict; fewer where the text is shorter.

    Returns:
        Token ids, windows x (context + 1).
    """
    available = (len(tokens) - 1) // context
    wanted = min(available, max(1, validation_tokens // context))
    starts = (np.arange(wanted) * available // wanted) * context
    return tokens[starts[:, None] + np.arange(context + 1)].astype(np.int64)


def pool_tokens(tokens: NDArray[np.uint16], context: int) -> int:
    """Tokens that one epoch predicts at most."""
    return (len(tokens) - 1) // context * context
