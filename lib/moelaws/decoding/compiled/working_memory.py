"""What a compiled step writes to besides the cache: allocated once for the largest step, and laid out here.

Shape suffixes: R rows, D model width, K experts a token, E experts, F hidden width, L columns of the cache.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from moelaws.config import ModelConfig
from moelaws.decoding.compiled.packed import Packed, padded
from moelaws.decoding.compiled.places import HIDDEN_STEP, N_EXPERTS, ROUTER, SHARED, SHARED_STEP
from moelaws.kernels.tiles import MOST_ROWS, PANEL

_SCORES = {"softmax": 0, "sigmoid": 1}
"""What makes scores of a router's logits, and how ``dispatch.route`` is told."""
SCORES = frozenset(_SCORES)


@dataclass(frozen=True)
class WorkingMemory:
    """Memory of a step.

    Attributes:
        rows, columns: the largest step that it is enough for.
        sizes: of the model and of the parts below, ``places.SIZES``.
        floats, ints: the parts.
        chosen: experts of each row in each routed layer.
    """

    rows: int
    columns: int
    sizes: NDArray[np.int64]
    floats: NDArray[np.float32]
    ints: NDArray[np.int64]
    chosen: NDArray[np.int64]


def working_memory(config: ModelConfig, model: Packed, rows: int, columns: int, threads: int) -> WorkingMemory:
    """Allocate.

    Args:
        config: of the model.
        model: its weights.
        rows: R, tokens of all requests in one step.
        columns: L.
        threads: each of which has some memory to itself.
    """
    width, plan = padded(config.d_model), model.plan
    experts = int(plan[:, N_EXPERTS].max())
    hidden = int(max(plan[:, HIDDEN_STEP].max(), plan[:, SHARED_STEP].max()))
    of_experts = rows * (config.top_k + int((plan[:, SHARED] >= 0).any()))
    shared_by_threads = (
        rows * width, rows * width, rows * padded(3 * config.d_model), rows * width, rows * config.top_k,
        of_experts * hidden, of_experts * width,
    )  # fmt: skip
    scores = max(columns + PANEL, MOST_ROWS * padded(experts))
    *places, own = _behind_each_other(*shared_by_threads)
    _, own_scores, own_tile, own_step = _behind_each_other(
        rows * config.top_k * width, scores, MOST_ROWS * PANEL + padded(config.head_dim)
    )
    ints = experts + 1 + rows * config.top_k
    sizes = [
        config.d_model, config.n_heads, config.top_k, config.vocab_size, int(config.renormalize_top_k),
        _SCORES[config.router_scores], model.embedding, model.shift_gain, model.unembedding, experts,
        width, padded(3 * config.d_model), padded(config.vocab_size), hidden, padded(experts),
        *places, own, own_step, own_scores, own_tile, ints,
    ]  # fmt: skip
    return WorkingMemory(
        rows,
        columns,
        np.array(sizes, np.int64),
        torch.zeros(own + threads * own_step).numpy(),  # torch's memory begins at a cache line
        np.zeros(threads * ints, np.int64),
        np.zeros(max(1, int((plan[:, ROUTER] >= 0).sum()) * rows * config.top_k), np.int64),
    )


def _behind_each_other(*lengths: int) -> list[int]:
    """Where parts of these lengths begin, each at the beginning of a cache line, and where the last one ends."""
    begins = [0]
    for length in lengths:
        begins.append(begins[-1] + -(-length // PANEL) * PANEL)
    return begins
