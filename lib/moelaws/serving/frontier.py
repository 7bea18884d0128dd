"""Models of one loss: small ones trained long are cheap to serve, large ones trained briefly are cheap to train."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from moelaws.optimum.forecaster import Forecaster
from moelaws.optimum.known_coefficients import OptimumError
from moelaws.optimum.optimum import best_size
from moelaws.optimum.search import crossing
from moelaws.serving.bounded import Option, Trade, allocation_in, loss_optimal, option_of, why_not

Array = Any

_SIZES = 257
"""Sizes on either side of the best one, and in each refinement, for the least dollars."""

_LOG_TOKENS = (np.log(1e3), np.log(1e30))


def least_dollars(
    trade: Trade,
    train_flops: float,
    loss: float,
    n_experts: float,
    top_k: float,
    serve_tokens: float,
    best: Option | None = None,
) -> Option:
    """The model that reaches a loss for the least dollars of training and serving together (Sardana et al. 2024).

    Training may use less than the budget. With nothing to serve, it is the model that needs the least compute.

    Args:
        trade: law and deployment.
        train_flops: largest training budget.
        loss: to be reached.
        n_experts, top_k: E and K.
        serve_tokens: output tokens served over the model's life.
        best: the loss-optimal model at the budget, if it is known already.

    Raises:
        OptimumError: the budget does not reach the loss, or what reaches it does not fit the processors.
    """
    forecaster = trade.forecaster
    free = best_size(forecaster, train_flops, n_experts, top_k) if best is None else best.allocation
    if free.loss > loss + 1e-12:
        raise OptimumError(
            f"the loss {loss:.4f} is out of reach at {train_flops:.3g} FLOPs with E = {n_experts:g}, K = {top_k:g}: "
            f"the best is {free.loss:.4f}"
        )

    def flops_needed(size: Array) -> Array:
        return flops_for_loss(forecaster, size, n_experts, top_k, loss)

    def dollars(log_size: Array) -> Array:
        size = np.exp(log_size)
        flops = flops_needed(size)
        total = trade.deployment.training_dollars(flops)
        if serve_tokens:
            total = total + trade.serving(size, n_experts, top_k).dollars_per_token * serve_tokens
        # The loss-optimal size needs the whole budget; rounding must not exclude it.
        return np.where(flops <= train_flops * (1 + 1e-6), total, np.inf)

    ends = forecaster.log_sizes(train_flops, n_experts, top_k)
    middle = np.log(free.size)
    low, high = (float(end) for end in ends)
    # The best size reaches the loss within the budget, so a grid through it never comes back empty-handed.
    log_size = np.concatenate([np.linspace(low, middle, _SIZES), np.linspace(middle, high, _SIZES)[1:]])
    for _ in range(3):
        value = dollars(log_size)
        if not np.isfinite(value).any():
            raise OptimumError(why_not(trade, _smallest(log_size, flops_needed, train_flops), n_experts, top_k))
        at = int(np.argmin(value))
        found = log_size[at]
        log_size = np.linspace(log_size[max(at - 1, 0)], log_size[min(at + 1, len(log_size) - 1)], _SIZES)
    size = float(np.exp(found))
    return option_of(
        trade, allocation_in(forecaster, size, n_experts, top_k, float(min(flops_needed(size), train_flops)))
    )


def flops_for_loss(forecaster: Forecaster, size: Array, n_experts: float, top_k: float, loss: float) -> Array:
    """Training FLOPs at which models of these sizes reach a loss; infinite where no number of tokens is enough."""
    family = forecaster.family
    columns = family.columns(np.asarray(size, float), n_experts, top_k)

    def shortfall(log_tokens: Array) -> Array:
        run = columns | {"tokens": np.exp(log_tokens)}
        return loss - np.asarray(forecaster.expected(run))

    low, high = (np.full(np.shape(size), end) for end in _LOG_TOKENS)
    found = crossing(shortfall, low, high)
    tokens = np.where(shortfall(found + 1e-6) >= 0, np.exp(found), np.inf)
    return tokens * family.flops_per_token(size, n_experts, top_k)


def same_loss_models(
    trade: Trade, train_flops: float, loss: float, experts: Iterable[int], top_k: int = 1, points: int = 60
) -> pd.DataFrame:
    """For each number of experts the sizes that reach a loss within a budget, and what they cost.

    Args:
        trade: law and deployment.
        train_flops: largest training budget.
        loss: to be reached.
        experts: numbers of experts E; those that cannot reach the loss are left out.
        top_k: K of the mixtures.
        points: sizes tried for each E, evenly in their log.

    Returns:
        One row a model that fits the processors: ``n_experts``, ``total_params``, ``active_params``, ``tokens``,
        ``train_flops``, ``train_seconds`` and ``serve_seconds`` (of one processor, for the training and for an output
        token), ``gpus``.

    Raises:
        OptimumError: no number of experts reaches the loss with a model that fits.
    """
    tables = []
    for e in experts:
        k = min(top_k, e)
        best = loss_optimal(trade, train_flops, e, k)
        if best.allocation.loss > loss:
            continue
        sizes = best.size * np.geomspace(1e-3, 10, 20 * points)
        flops = flops_for_loss(trade.forecaster, sizes, e, k, loss)
        within = flops <= train_flops * (1 + 1e-6)
        if not within.any():
            # Only the loss-optimal size reaches it.
            sizes, flops, within = np.array([best.size]), np.array([train_flops]), np.array([True])
        sizes = np.geomspace(sizes[within].min(), sizes[within].max(), points) if within.sum() > 1 else sizes[within]
        flops = np.minimum(flops_for_loss(trade.forecaster, sizes, e, k, loss), train_flops)
        family, serving = trade.forecaster.family, trade.serving(sizes, e, k)
        fits = np.isfinite(serving.dollars_per_token)
        table = pd.DataFrame(
            {
                "n_experts": e,
                "total_params": family.total_params(sizes, e, k),
                "active_params": family.active_params(sizes, e, k),
                "tokens": flops / family.flops_per_token(sizes, e, k),
                "train_flops": flops,
                "train_seconds": flops / trade.deployment.train_flops_per_second,
                "serve_seconds": np.divide(serving.gpus, serving.tokens_per_second, where=fits, out=np.ones(len(fits))),
                "gpus": serving.gpus,
            }
        )
        tables.append(table[fits])
    if not tables or not sum(map(len, tables)):
        raise OptimumError(f"no model reaches the loss {loss:g} within {train_flops:g} FLOPs and fits the processors")
    return pd.concat(tables, ignore_index=True)


def _smallest(log_size: Array, flops_needed: Callable[[Array], Array], train_flops: float) -> float:
    """The smallest size that reaches the loss within the budget.

    Raises:
        OptimumError: none does, as where the budget is too small to train anything.
    """
    within = flops_needed(np.exp(log_size)) <= train_flops * (1 + 1e-6)
    if not within.any():
        raise OptimumError(f"no model reaches the loss with {train_flops:.3g} FLOPs of training")
    return float(np.exp(log_size[within].min()))
