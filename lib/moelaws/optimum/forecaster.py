"""A law in use: which runs a budget buys from a family of models, and the loss that the law expects of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from moelaws.laws import Law
from moelaws.optimum.family import Family, proportional
from moelaws.optimum.minimum import tails
from moelaws.optimum.search import crossing

Array = Any
Edge = Literal["", "low", "high", "memory"]
"""What holds an answer back: nothing (empty), the low or high limit of the search, or the memory."""

TOKENS_PER_PARAM = (1e-4, 1e8)
"""Limits of the search over sizes, as training tokens per active parameter."""

LOG_SIZE = (-10.0, 80.0)
"""Limits of the search for a family's size, as its log."""


class OptimumError(ValueError):
    """The question has no answer under this law; the message says why."""


@dataclass(frozen=True)
class Forecaster:
    """A law with its coefficients, for one family of models.

    Attributes:
        law: the law.
        params: its coefficients.
        family: how sizes, FLOPs and bytes hang together.
        replicates: parameter -> B bootstrap values, for intervals; empty for none.
        budgets: least and largest training FLOPs of the runs behind the coefficients, where they are known; beyond
            them a forecast is an extrapolation.
    """

    law: Law
    params: Mapping[str, float]
    family: Family = field(default_factory=proportional)
    replicates: Mapping[str, Array] = field(default_factory=dict)
    budgets: tuple[float, float] = (0.0, np.inf)

    def rows(self) -> dict[str, Array]:
        """Coefficients, the point estimate first and the replicates after it: (1 + B) x 1 each."""
        extra = {name: np.asarray(self.replicates[name], float) for name in self.params if name in self.replicates}
        if extra and len(extra) < len(self.params):
            raise OptimumError(f"replicates lack the parameter {min(set(self.params) - set(extra))!r}")
        count = len(next(iter(extra.values()))) if extra else 0
        return {
            name: np.concatenate([[value], extra.get(name, np.full(count, value))])[:, None]
            for name, value in self.params.items()
        }

    @property
    def count(self) -> int:
        """Rows of ``rows``."""
        return 1 + len(next(iter(self.replicates.values()), ()))

    def run(
        self,
        params: Mapping[str, Array],
        size: Array,
        n_experts: Array,
        top_k: Array,
        train_flops: Array,
        inference_tokens: float = 0,
    ) -> dict[str, Array]:
        """Columns of runs that spend a budget on models of these sizes, the expected loss among them.

        Args:
            params: coefficients, as ``rows`` gives them.
            size: the family's size; this and what follows broadcast against the coefficients.
            n_experts: E.
            top_k: K.
            train_flops: C, of training and of serving ``inference_tokens`` at 2 N_a FLOPs each.
            inference_tokens: tokens served.

        Returns:
            Column -> array; loss and tokens are nan where the budget is spent before training.
        """
        columns = self.family.columns(size, n_experts, top_k)
        left = train_flops - 2 * columns["active_params"] * inference_tokens
        tokens = left / self.family.flops_per_token(size, n_experts, top_k)
        columns |= {"tokens": np.where(tokens > 0, tokens, np.nan), "train_flops": train_flops, "size": size}
        return columns | {"loss": self.law.predict(params, columns)}

    def log_sizes(self, train_flops: Array, n_experts: float, top_k: float) -> tuple[Array, Array]:
        """Log sizes at the limits of tokens per active parameter, from C = 6 N_a^2 (D / N_a)."""
        few, many = TOKENS_PER_PARAM
        ends = (np.sqrt(np.asarray(train_flops, float) / (6 * ratio)) for ratio in (many, few))
        low, high = (np.log(size_of(self.family.active_params, n, n_experts, top_k)) for n in ends)
        return low, high


def size_of(count: Callable[[Array, Array, Array], Array], target: Array, n_experts: Array, top_k: Array) -> Array:
    """The size at which a count of a family, such as ``family.total_params``, reaches a target."""
    shape = np.broadcast_shapes(np.shape(target), np.shape(n_experts), np.shape(top_k))
    low, high = (np.full(shape, end) for end in LOG_SIZE)
    return np.exp(crossing(lambda x: np.log(count(np.exp(x), n_experts, top_k) / target), low, high))


@dataclass(frozen=True)
class Allocation:
    """A model and its training.

    Attributes:
        train_flops: C.
        n_experts, top_k, sparsity: E, K and S = 1 - K / E.
        total_params, active_params, tokens: N, N_a and D.
        loss: nats per token.
        edge: the limit that the answer lies at, if any.
        intervals: attribute -> ends of its interval; empty without replicates.
    """

    train_flops: float
    n_experts: float
    top_k: float
    sparsity: float
    total_params: float
    active_params: float
    tokens: float
    loss: float
    edge: Edge
    intervals: Mapping[str, tuple[float, float]]

    @property
    def tokens_per_param(self) -> float:
        """D / N_a."""
        return self.tokens / self.active_params

    @classmethod
    def of_rows(cls, found: Mapping[str, Array], level: float) -> Self:
        """The first row as the answer, the others as its replicates.

        Args:
            found: columns of runs, one row a set of coefficients, and ``edge``: -1, 0, 1 or 2 for low, none, high
                and memory.
            level: of the intervals.
        """
        names = ("train_flops", "n_experts", "top_k", "sparsity", "total_params", "active_params", "tokens", "loss")
        quantiles = tails(level)
        intervals = {}
        if len(found["loss"]) > 1:
            for name in names:
                low, high = np.quantile(found[name][1:], quantiles)
                intervals[name] = (float(low), float(high))
        edges: dict[int, Edge] = {-1: "low", 0: "", 1: "high", 2: "memory"}
        values = {name: float(found[name][0]) for name in names}
        return cls(**values, edge=edges[int(found["edge"][0])], intervals=intervals)


@dataclass(frozen=True)
class Estimate:
    """A number with the ends of its interval; NaN without replicates."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Choice:
    """The best of several expert counts.

    Attributes:
        best: the allocation with the lowest loss.
        candidates: all that fit the memory, in the order given.
        support: share of the replicates that prefer each candidate; empty without replicates.
    """

    best: Allocation
    candidates: tuple[Allocation, ...]
    support: tuple[float, ...]
