"""The best size at a budget, for every set of coefficients of a forecaster at once."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from moelaws.optimum.family import Memory
from moelaws.optimum.forecaster import LOG_SIZE, Forecaster
from moelaws.optimum.search import crossing, minimise

Array = Any


def best_sizes(
    forecaster: Forecaster,
    train_flops: Array,
    n_experts: float,
    top_k: float,
    memory: Memory | None,
    inference_tokens: float,
) -> dict[str, Array]:
    """The best run for every row of coefficients; ``train_flops`` is one number or one a row."""
    params = forecaster.rows()
    flops = np.broadcast_to(np.asarray(train_flops, float), (forecaster.count,))
    low, high = forecaster.log_sizes(flops, n_experts, top_k)
    fitting = high
    if memory:
        log_memory = crossing(
            lambda x: forecaster.family.memory_bytes(np.exp(x), n_experts, top_k, memory) - memory.bytes, *LOG_SIZE
        )
        fitting = np.minimum(high, log_memory)

    def run(x: Array) -> dict[str, Array]:
        return forecaster.run(params, np.exp(x), n_experts, top_k, flops[:, None], inference_tokens)

    at, value, edge = minimise(lambda x: run(x)["loss"], low, np.maximum(fitting, low))
    best = column(run(at[:, None]))
    best["loss"] = np.where(fitting > low, value, np.inf)
    best["edge"] = np.where((edge == 1) & (fitting < high), 2, edge)
    return best


def column(run: Mapping[str, Array]) -> dict[str, Array]:
    """A run of one size a row, as flat columns."""
    rows = np.shape(run["loss"])[0]
    return {name: np.broadcast_to(values, (rows, 1))[:, 0] for name, values in run.items()}
