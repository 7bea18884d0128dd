"""A law in use: which runs a budget buys from a family of models, and the loss that the law expects of them."""

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from moelaws.fitting.discrepancy.admission import Use
from moelaws.fitting.discrepancy.correction import Paths
from moelaws.fitting.result import FitResult
from moelaws.laws import Law
from moelaws.optimum.allocation import Allocation, Estimate
from moelaws.optimum.family import Family, Memory
from moelaws.optimum.known_coefficients import OptimumError, error_of, made_of
from moelaws.optimum.search import crossing

Array = Any
TOKENS_PER_PARAM = (1e-4, 1e8)
"""Limits of the search over sizes, as training tokens per active parameter."""

LOG_SIZE = (-10.0, 80.0)
"""Limits of the search for a family's size, as its log."""


EXPERTS = (1, 2, 4, 8, 16, 32, 64)
"""Numbers of experts that are compared where none are named."""


@dataclass(frozen=True, init=False)
class Forecaster:
    """A law with its coefficients, for one family of models.

    Made from a fit, ``Forecaster(fit)``: its coefficients, their uncertainty (``FitResult.draws``), the family saved
    with it and the budgets of its runs. From the name of a law that can plan, ``Forecaster("abnar2025")``: the paper's
    coefficients and family. Or from a law and coefficients. What is given by hand comes before what these tell.

    Attributes:
        law: the law.
        params: its coefficients.
        family: how sizes, FLOPs and bytes hang together; by default all parameters belong to experts.
        replicates: parameter -> B joint values, for intervals; empty for none.
        budgets: least and largest training FLOPs of the runs behind the coefficients, where they are known; beyond
            them a forecast is an extrapolation.
        error: what the law misses, with draws of it for the replicates, where ``discrepancy="auto"`` finds that a
            process may stand beside the law (``FitResult.discrepancy``), or ``"always"`` asks for it; ``None`` for the
            law alone, which is the default: what its formula and coefficients say. Beside a process the coefficients
            are found again, and their draws take the place of ``FitResult.draws``.
        discrepancy: whether there is one, and why, in a sentence; empty where nobody asked.

    Raises:
        OptimumError: a law without coefficients, or one that cannot choose a size under a budget; a process for
            coefficients or replicates that are given by hand.
        LawError: no law of that name.
        ValueError: a fit with a family that there is not.

    Examples:
        >>> abnar = Forecaster("abnar2025")
        >>> best = abnar.best(1e20, experts=[1, 8, 64])
        >>> best.n_experts, round(best.loss, 3), best.tokens > best.active_params
        (64.0, 2.341, True)
        >>> round(abnar.speedup(1e20, 8).value, 1)
        2.6
    """

    law: Law
    params: Mapping[str, float]
    family: Family
    replicates: Mapping[str, Array]
    budgets: tuple[float, float]
    error: Paths | None
    discrepancy: str

    def __init__(
        self,
        law: Law | str | FitResult,
        params: Mapping[str, float] | None = None,
        family: Family | None = None,
        replicates: Mapping[str, Array] | None = None,
        budgets: tuple[float, float] | None = None,
        discrepancy: Use = "none",
    ) -> None:
        made = {"error": None, "discrepancy": ""} | made_of(law, params, family, replicates)
        if discrepancy != "none":
            made |= error_of(law, discrepancy, params is not None or replicates is not None)
        if budgets is not None:
            made["budgets"] = budgets
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def of_family(self, family: Family) -> "Forecaster":
        """The same law and coefficients, with all that is known of their error, asked about another family of models.

        Examples:
            >>> import moelaws as ml
            >>> ml.Forecaster("abnar2025").of_family(ml.alternating()).family.name
            'alternating'
        """
        other = copy(self)
        object.__setattr__(other, "family", family)
        return other

    def best(
        self,
        budget: float,
        experts: float | Iterable[float] = EXPERTS,
        top_k: float = 1,
        memory: Memory | None = None,
        inference_tokens: float = 0,
        level: float = 0.95,
    ) -> Allocation:
        """The model and tokens with the lowest loss at a budget: N, N_a, D, E, K, S, with intervals.

        Every draw of the coefficients chooses its own size and its own E, so that the intervals hold both choices.
        An E at the end of those compared is the end's, not the law's: ``experts_edge`` says so.

        Args:
            budget: C in training FLOPs; with ``inference_tokens``, of training and inference together.
            experts: numbers E to choose from, or one.
            top_k: K, and E where E is less.
            memory: what weights and cache must fit into.
            inference_tokens: tokens served later, at 2 N_a FLOPs each.
            level: of the intervals.

        Raises:
            OptimumError: nothing fits the memory and the budget.
        """
        from moelaws.optimum.optimum import best_model  # not above: it asks the forecaster

        choices = [
            float(e) for e in np.atleast_1d(np.asarray([*experts] if isinstance(experts, Iterable) else experts))
        ]
        found = best_model(self, budget, choices, top_k, memory, inference_tokens, level)
        return found if memory or inference_tokens else replace(found, forecaster=self)

    def speedup(
        self,
        budget: float,
        experts: float,
        top_k: float = 1,
        over: Literal["dense"] | tuple[float, float] = "dense",
        level: float = 0.95,
    ) -> Estimate:
        """How many times the training FLOPs another model needs to match a mixture, both at their best size.

        Args:
            budget: C of the mixture, in training FLOPs.
            experts: E of the mixture.
            top_k: K of the mixture.
            over: ``dense``, or E and K of the other model.
            level: of the interval.

        Raises:
            OptimumError: no budget up to 1e40 FLOPs is enough.
        """
        from moelaws.optimum.optimum import compute_multiplier

        return compute_multiplier(self, budget, experts, top_k, (1, 1) if over == "dense" else over, level)

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

    def decades_beyond(self, train_flops: float) -> float:
        """How far a budget lies outside those of the runs behind the coefficients, in decades; 0 within, or unknown.

        >>> abnar = Forecaster("abnar2025")
        >>> abnar.decades_beyond(1e20), round(abnar.decades_beyond(1e23), 1)
        (0.0, 2.0)
        """
        low, high = self.budgets
        return float(max(0.0, np.log10(low / train_flops) if low > 0 else 0.0, np.log10(train_flops / high)))

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
        loss = self.law.predict(params, columns)
        return columns | {"loss": loss if self.error is None else loss * np.exp(self.error.shift(columns))}

    def expected(self, columns: Mapping[str, Array]) -> Any:
        """The loss expected of runs, error of the law included; columns are numbers or arrays that broadcast."""
        loss = self.law.predict(self.params, columns)
        if self.error is None:
            return loss
        # The first row of the draws is what is expected.
        shape = np.shape(loss)
        flat = {name: np.broadcast_to(values, shape).reshape(1, -1) for name, values in columns.items()}
        return loss * np.exp(self.error.first.shift(flat).reshape(shape))

    def log_sizes(self, train_flops: Array, n_experts: float, top_k: float) -> tuple[Array, Array]:
        """Log sizes at the limits of tokens per active parameter, from C = 6 N_a^2 (D / N_a)."""
        few, many = TOKENS_PER_PARAM
        ends = np.stack([np.sqrt(np.asarray(train_flops, float) / (6 * ratio)) for ratio in (many, few)])
        low, high = np.log(size_of(self.family.active_params, ends, n_experts, top_k))
        return low, high


def size_of(count: Callable[[Array, Array, Array], Array], target: Array, n_experts: Array, top_k: Array) -> Array:
    """The size at which a count of a family, such as ``family.total_params``, reaches a target."""
    shape = np.broadcast_shapes(np.shape(target), np.shape(n_experts), np.shape(top_k))
    low, high = (np.full(shape, end) for end in LOG_SIZE)
    return np.exp(crossing(lambda x: np.log(count(np.exp(x), n_experts, top_k) / target), low, high))
