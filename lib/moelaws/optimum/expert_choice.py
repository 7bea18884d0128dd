"""The best of several numbers of experts, each at its own best size."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import numpy as np

from moelaws.optimum.allocation import Allocation, Choice
from moelaws.optimum.family import Memory
from moelaws.optimum.forecaster import Forecaster
from moelaws.optimum.known_coefficients import OptimumError
from moelaws.optimum.minimum import tails
from moelaws.optimum.sizes import best_sizes


def best_experts(
    forecaster: Forecaster,
    train_flops: float,
    choices: Iterable[float],
    top_k: float = 1,
    memory: Memory | None = None,
    inference_tokens: float = 0,
    level: float = 0.95,
) -> Choice:
    """The best of several expert counts, each at its own best size.

    Args:
        choices: values of E to compare.
        Others: as in ``best_size``.

    Raises:
        OptimumError: none of them fits.
    """
    found = [best_sizes(forecaster, train_flops, e, top_k, memory, inference_tokens) for e in choices]
    found = [each for each in found if np.isfinite(each["loss"][0])]
    if not found:
        raise OptimumError("no model with any of these expert counts fits the memory and the budget")
    losses = np.array([each["loss"] for each in found])
    candidates = tuple(Allocation.of_rows(each, level) for each in found)
    preferred = np.argmin(losses[:, 1:], axis=0)
    return Choice(
        best=candidates[int(np.argmin(losses[:, 0]))],
        candidates=candidates,
        support=tuple(float(np.mean(preferred == k)) for k in range(len(found))) if len(preferred) else (),
    )


def best_model(
    forecaster: Forecaster,
    train_flops: float,
    choices: Iterable[float],
    top_k: float = 1,
    memory: Memory | None = None,
    inference_tokens: float = 0,
    level: float = 0.95,
) -> Allocation:
    """The best size and the best of several expert counts: see ``Forecaster.best``, which asks this."""
    compared = sorted(set(choices))
    found = [best_sizes(forecaster, train_flops, e, min(top_k, e), memory, inference_tokens) for e in compared]
    losses = np.array([each["loss"] for each in found])
    chosen = np.argmin(losses, axis=0)
    rows = np.arange(forecaster.count)
    best = {name: np.array([each[name] for each in found])[chosen, rows] for name in found[0]}
    if not np.isfinite(best["loss"][0]):
        raise OptimumError("no model with any of these expert counts fits the memory and the budget")
    answer = replace(Allocation.of_rows(best, level), experts_edge=_end_of(compared, int(chosen[0])))
    if not answer.intervals:
        return answer
    # Between two numbers of experts there is none: an end is one of those compared.
    whole = {}
    for name in ("n_experts", "top_k", "sparsity"):
        low, high = np.quantile(best[name][1:], tails(level), method="inverted_cdf")
        whole[name] = (float(low), float(high))
    return replace(answer, intervals={**answer.intervals, **whole})


def _end_of(compared: list[float], position: int) -> Literal["", "low", "high"]:
    """Which end of what was compared a choice is; a single one, or dense models with nothing below, is none."""
    if position and position == len(compared) - 1:
        return "high"
    return "low" if len(compared) > 1 and not position and compared[0] > 1 else ""
