"""Loss against serving cost: Algorithms 1 and 2 of Yun et al. 2024, Sec. 5.2."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from moelaws.optimum.allocation import Allocation
from moelaws.optimum.family import Memory
from moelaws.optimum.forecaster import Forecaster
from moelaws.optimum.known_coefficients import OptimumError
from moelaws.optimum.optimum import best_size, smallest_size
from moelaws.serving.cost import Deployment, Serving, largest_batch, serve
from moelaws.serving.served import Served, served_family
from moelaws.serving.shape import SHAPE, ShapeRule

Array = Any

_GRID = 513
"""Sizes among which a bound on cost is located; cost jumps where another processor is needed, so halving could err."""


@dataclass(frozen=True)
class Trade:
    """A law and a place to serve.

    Attributes:
        forecaster: law, coefficients, family, replicates.
        deployment: where and how models are served.
        shape: width and depth by size.
        expert_share: share of a family's layers that are made of experts.
    """

    forecaster: Forecaster
    deployment: Deployment
    shape: ShapeRule = SHAPE
    expert_share: float = 1.0

    def served(self, size: Array, n_experts: float, top_k: float) -> Served:
        """The family's model of this size, as a server sees it."""
        return served_family(self.forecaster.family, size, n_experts, top_k, self.shape, self.expert_share)

    def serving(self, size: Array, n_experts: float, top_k: float) -> Serving:
        """How it is served at the least cost per token."""
        return serve(self.deployment, self.served(size, n_experts, top_k))


@dataclass(frozen=True)
class Option:
    """A model, its training and its serving.

    Attributes:
        allocation: the model, its tokens and the loss, with the law's intervals.
        size: the family's size.
        dense_params: parameters of the dense model of the same depth and width.
        serving: how it is served at the least cost per token.
        memory_bytes: of the weights.
        train_dollars: of its training.
    """

    allocation: Allocation
    size: float
    dense_params: float
    serving: Serving
    memory_bytes: float
    train_dollars: float

    @property
    def fits(self) -> bool:
        """Whether the weights and one request fit on the processors there are."""
        return bool(np.isfinite(self.serving.dollars_per_token))

    def serve_dollars(self, tokens: float) -> float:
        """Of serving this many output tokens."""
        return float(self.serving.dollars_per_token) * tokens if tokens else 0.0

    def total_dollars(self, tokens: float) -> float:
        """Of training and of serving this many output tokens."""
        return self.train_dollars + self.serve_dollars(tokens)


def loss_optimal(trade: Trade, train_flops: float, n_experts: float, top_k: float) -> Option:
    """The size with the lowest loss at a training budget, whatever it costs to serve."""
    return option_of(trade, best_size(trade.forecaster, train_flops, n_experts, top_k))


def bounded_loss(trade: Trade, train_flops: float, loss: float, n_experts: float, top_k: float) -> Option:
    """Algorithm 1: spend the whole training budget on the smallest model that still reaches a loss.

    Raises:
        OptimumError: the budget's best model does not reach the loss.
    """
    return option_of(trade, smallest_size(trade.forecaster, train_flops, loss, n_experts, top_k))


def bounded_cost(
    trade: Trade,
    train_flops: float,
    dollars_per_token: float,
    n_experts: float,
    top_k: float,
    best: Option | None = None,
) -> Option:
    """Algorithm 2: spend the whole training budget on the lowest loss whose serving costs at most so much.

    That is the largest size within the cost, or the loss-optimal one if that is within it.

    Args:
        trade: law and deployment.
        train_flops: training budget.
        dollars_per_token: largest cost of an output token.
        n_experts, top_k: E and K.
        best: the loss-optimal model, if it is known already.

    Raises:
        OptimumError: no size is that cheap.
    """
    forecaster = trade.forecaster
    best = best or loss_optimal(trade, train_flops, n_experts, top_k)
    if float(best.serving.dollars_per_token) <= dollars_per_token:
        return best
    low = float(forecaster.log_sizes(train_flops, n_experts, top_k)[0])
    log_size = np.linspace(low, np.log(best.size), _GRID)
    for _ in range(2):
        within = trade.serving(np.exp(log_size), n_experts, top_k).dollars_per_token <= dollars_per_token
        if not within.any():
            raise OptimumError(
                f"no model with E = {n_experts:g} can be served on {trade.deployment.name} for "
                f"${dollars_per_token * 1e6:.3g} per million tokens"
            )
        last = int(np.flatnonzero(within)[-1])
        log_size = np.linspace(log_size[last], log_size[min(last + 1, _GRID - 1)], _GRID)
    return option_of(trade, allocation_in(forecaster, np.exp(log_size[0]), n_experts, top_k, train_flops))


def why_not(trade: Trade, size: float, n_experts: float, top_k: float) -> str:
    """One sentence on why a model cannot be served."""
    deployment, model = trade.deployment, trade.served(size, n_experts, top_k)
    gpus = max(deployment.gpus)
    memory = gpus * deployment.memory_bytes * deployment.memory_share / 1e9
    weights = float(model.weight_bytes(deployment.precision)) / 1e9
    one = float(model.cached(deployment.traffic.mean_cached)) * deployment.precision.cache / 1e9
    room = "" if largest_batch(deployment, model, gpus) < 0 else f" and {one:.3g} GB of cache for one request"
    return (
        f"a model with E = {n_experts:g} and N = {float(model.total_params):.3g} needs {weights:.3g} GB for its "
        f"weights{room}; {gpus} x {deployment.name} hold {memory:.3g} GB"
    )


def with_memory(trade: Trade, train_flops: float, n_experts: float, top_k: float) -> Option:
    """The lowest loss at a training budget among models that fit the processors with one request.

    Raises:
        OptimumError: none fits.
    """
    deployment = trade.deployment
    # Experts in fewer bytes than the rest only leave more room: the bound is then on the safe side.
    size = max(deployment.precision.always, deployment.precision.experts)
    memory = Memory(max(deployment.gpus) * deployment.memory_bytes * deployment.memory_share, size)
    found = option_of(trade, best_size(trade.forecaster, train_flops, n_experts, top_k, memory))
    if found.fits:
        return found
    return bounded_cost(trade, train_flops, np.finfo(float).max, n_experts, top_k)


def allocation_in(
    forecaster: Forecaster, size: float, n_experts: float, top_k: float, train_flops: float, level: float = 0.95
) -> Allocation:
    """A model of this size that spends this training budget, with the law's intervals."""
    run = forecaster.run(forecaster.rows(), np.array([[size]]), n_experts, top_k, train_flops)
    count = len(run["loss"])
    columns = {name: np.broadcast_to(values, (count, 1))[:, 0] for name, values in run.items()}
    return Allocation.of_rows(columns | {"edge": np.zeros(count)}, level)


def option_of(trade: Trade, allocation: Allocation) -> Option:
    """A model of the law's family with its serving."""
    forecaster, deployment = trade.forecaster, trade.deployment
    size = allocation.size
    serving = trade.serving(size, allocation.n_experts, allocation.top_k)
    return Option(
        allocation=allocation,
        size=size,
        dense_params=float(forecaster.family.dense_params(size, allocation.n_experts, allocation.top_k)),
        serving=Serving(*(float(getattr(serving, name)) for name in Serving.__dataclass_fields__)),
        memory_bytes=float(
            trade.served(size, allocation.n_experts, allocation.top_k).weight_bytes(deployment.precision)
        ),
        train_dollars=float(deployment.training_dollars(allocation.train_flops)),
    )
