"""Answers of a forecaster: a model with its training, one of several, a number with its interval."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from moelaws.optimum.minimum import ends_of

if TYPE_CHECKING:
    from moelaws.optimum.forecaster import Forecaster

Array = Any

Edge = Literal["", "low", "high", "memory"]
"""What holds an answer back: nothing (empty), the low or high limit of the search, or the memory."""


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
        size: the family's size that has these parameters, so that nobody needs to look for it again.
        experts_edge: the end of the numbers of experts compared that E lies at, if any: more experts, or fewer, might
            be better still.
        forecaster: what found it, for ``speedup``; ``None`` for an answer that a memory or serving bounds.
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
    size: float
    experts_edge: Literal["", "low", "high"] = ""
    forecaster: "Forecaster | None" = field(default=None, repr=False, compare=False)

    @property
    def tokens_per_param(self) -> float:
        """D / N_a."""
        return self.tokens / self.active_params

    def speedup(self, over: "Allocation | Literal['dense']" = "dense", level: float = 0.95) -> "Estimate":
        """How many times this budget another configuration needs for this loss, both at their best size.

        Args:
            over: the other: an allocation, of which E and K count, or ``dense``.
            level: of the interval.

        Raises:
            ValueError: an allocation that is not the best of its budget alone, which has no such multiplier.

        Examples:
            >>> from moelaws import Forecaster
            >>> law = Forecaster("abnar2025")
            >>> dense = law.best(budget=1e20, experts=1)
            >>> round(law.best(budget=1e20, experts=8).speedup(dense).value, 1)
            2.6
        """
        if self.forecaster is None:
            raise ValueError("speedup: this allocation was bounded by a memory or serving, not by its budget alone")
        other = (1.0, 1.0) if over == "dense" else (over.n_experts, over.top_k)
        return self.forecaster.speedup(self.train_flops, self.n_experts, self.top_k, other, level)

    @classmethod
    def of_rows(cls, found: Mapping[str, Array], level: float) -> Self:
        """The first row as the answer, the others as its replicates.

        Args:
            found: columns of runs, one row a set of coefficients, and ``edge``: -1, 0, 1 or 2 for low, none, high
                and memory.
            level: of the intervals.
        """
        names = ("train_flops", "n_experts", "top_k", "sparsity", "total_params", "active_params", "tokens", "loss")
        intervals = {}
        if len(found["loss"]) > 1:
            intervals = {name: ends_of(found[name][1:], level) for name in names}
        edges: dict[int, Edge] = {-1: "low", 0: "", 1: "high", 2: "memory"}
        values: dict[str, Any] = {name: float(found[name][0]) for name in names}
        return cls(**values, edge=edges[int(found["edge"][0])], intervals=intervals, size=float(found["size"][0]))


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
