"""The best model under a budget, a memory, a size or a loss target, as a law sees it, with the law's uncertainty.

    abnar = Forecaster("abnar2025")
    best_size(abnar, 1e20, n_experts=8)
    best_sparsity(abnar, 1e20, total_params=1e9)
    compute_multiplier(abnar, 1e20, n_experts=8)

Every answer carries intervals when the forecaster holds bootstrap replicates of the coefficients: the question is
put to each replicate anew. An answer at the limit of the search says so; it is then the limit's, not the law's.
"""

from typing import Any

import numpy as np

from moelaws.optimum.allocation import Allocation, Choice, Estimate
from moelaws.optimum.expert_choice import best_experts, best_model
from moelaws.optimum.family import Memory
from moelaws.optimum.forecaster import Forecaster, size_of
from moelaws.optimum.known_coefficients import OptimumError
from moelaws.optimum.minimum import ends_of
from moelaws.optimum.search import crossing, minimise
from moelaws.optimum.sizes import best_sizes, column

__all__ = [
    "Allocation",
    "Choice",
    "Estimate",
    "Forecaster",
    "Memory",
    "OptimumError",
    "best_experts",
    "best_model",
    "best_size",
    "best_sparsity",
    "compute_multiplier",
    "least_compute",
    "smallest_size",
]

Array = Any


def best_size(
    forecaster: Forecaster,
    train_flops: float,
    n_experts: float = 1,
    top_k: float = 1,
    memory: Memory | None = None,
    inference_tokens: float = 0,
    level: float = 0.95,
) -> Allocation:
    """The size with the lowest loss at a budget: the compute-optimal model.

    Args:
        forecaster: law, coefficients and family.
        train_flops: C; with ``inference_tokens``, of training and inference together.
        n_experts: E; need not be whole, S = 0.9 is E = 10.
        top_k: K.
        memory: what weights and cache must fit into.
        inference_tokens: tokens served later, at 2 N_a FLOPs each (Sardana et al. 2024).
        level: of the intervals.

    Raises:
        OptimumError: no size of the family fits the memory or the budget.
    """
    found = best_sizes(forecaster, train_flops, n_experts, top_k, memory, inference_tokens)
    if not np.isfinite(found["loss"][0]):
        raise OptimumError(f"no model with E = {n_experts:g}, K = {top_k:g} fits the memory and the budget")
    return Allocation.of_rows(found, level)


def best_sparsity(
    forecaster: Forecaster,
    train_flops: float,
    total_params: float,
    top_k: float = 1,
    highest: float = 0.9999,
    level: float = 0.95,
) -> Allocation:
    """The sparsity with the lowest loss at a budget and a fixed total size: Abnar et al. 2025, Sec. 3, S*(N).

    Args:
        forecaster: law, coefficients and family.
        train_flops: C.
        total_params: N.
        top_k: K; E = K / (1 - S) takes any value.
        highest: limit of the search. An answer at its low limit, S = 0, is the dense model.
        level: of the intervals.
    """
    params, count = forecaster.rows(), forecaster.count

    def model(s_hat: Array) -> dict[str, Array]:
        n_experts = top_k * np.exp(s_hat)
        size = size_of(forecaster.family.total_params, total_params, n_experts, top_k)
        return forecaster.run(params, size, n_experts, top_k, train_flops)

    at, _, edge = minimise(lambda s_hat: model(s_hat)["loss"], np.zeros(count), np.full(count, -np.log1p(-highest)))
    return Allocation.of_rows(column(model(at[:, None])) | {"edge": edge}, level)


def smallest_size(
    forecaster: Forecaster,
    train_flops: float,
    loss: float,
    n_experts: float = 1,
    top_k: float = 1,
    level: float = 0.95,
) -> Allocation:
    """The smallest, longest-trained model that reaches a loss within a budget: cheap to serve, dear to train.

    Raises:
        OptimumError: the budget's best model does not reach the loss.
    """
    best = best_sizes(forecaster, train_flops, n_experts, top_k, None, 0)
    if best["loss"][0] > loss:
        raise OptimumError(
            f"the loss {loss:g} is out of reach at {train_flops:g} FLOPs: the best is {best['loss'][0]:.4f}"
        )
    params = forecaster.rows()
    low = forecaster.log_sizes(train_flops, n_experts, top_k)[0]

    def shortfall(x: Array) -> Array:
        run = forecaster.run(params, np.exp(x)[:, None], n_experts, top_k, train_flops)
        return loss - run["loss"][:, 0]

    log_size = crossing(shortfall, np.full(len(best["loss"]), low), np.log(best["size"]))
    run = column(forecaster.run(params, np.exp(log_size)[:, None], n_experts, top_k, train_flops))
    return Allocation.of_rows(run | {"edge": np.where(log_size < low + 1e-6, -1, 0)}, level)


def least_compute(
    forecaster: Forecaster,
    loss: float,
    n_experts: float = 1,
    top_k: float = 1,
    level: float = 0.95,
) -> Allocation:
    """The smallest training budget at which the best size reaches a loss.

    Raises:
        OptimumError: the law reaches the loss at no budget up to 1e40 FLOPs.
    """
    target = np.full(forecaster.count, loss)
    flops = _least_compute(forecaster, target, n_experts, top_k)
    if flops[0] > 0.99e40:
        raise OptimumError(f"law {forecaster.law.name!r} reaches the loss {loss:g} at no budget")
    return Allocation.of_rows(best_sizes(forecaster, flops, n_experts, top_k, None, 0), level)


def compute_multiplier(
    forecaster: Forecaster,
    train_flops: float,
    n_experts: float,
    top_k: float = 1,
    dense: tuple[float, float] = (1, 1),
    level: float = 0.95,
) -> Estimate:
    """How many times the compute a dense model needs to match the mixture, both at their best size.

    Args:
        forecaster: law, coefficients and family.
        train_flops: C of the mixture.
        n_experts, top_k: E and K of the mixture.
        dense: E and K of what it is compared with.
        level: of the interval.

    Raises:
        OptimumError: no budget up to 1e40 FLOPs is enough.
    """
    mixture = best_sizes(forecaster, train_flops, n_experts, top_k, None, 0)["loss"]
    ratio = _least_compute(forecaster, mixture, *dense) / train_flops
    if ratio[0] * train_flops > 0.99e40:
        raise OptimumError(f"law {forecaster.law.name!r}: E = {dense[0]:g} matches the mixture at no budget")
    low, high = ends_of(ratio[1:], level) if len(ratio) > 1 else (np.nan, np.nan)
    return Estimate(float(ratio[0]), low, high)


def _least_compute(forecaster: Forecaster, loss: Array, n_experts: float, top_k: float) -> Array:
    """The least budget for every row of coefficients and its target; 1e40 where that is not enough."""

    def shortfall(log_flops: Array) -> Array:
        return loss - best_sizes(forecaster, np.exp(log_flops), n_experts, top_k, None, 0)["loss"]

    limits = np.zeros(len(loss)), np.full(len(loss), np.log(1e40))
    return np.exp(crossing(shortfall, *limits))
