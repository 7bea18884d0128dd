"""What to train and how to serve it: a table of options per law, a recommendation, and how far the laws disagree."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from moelaws.optimum.forecaster import EXPERTS
from moelaws.serving.cost import Deployment

Kind = Literal["loss-optimal", "cheapest", "best at cost"]
"""``loss-optimal``: the lowest loss at the training budget, whatever serving costs. ``cheapest``: the least dollars of
training and serving together that reach the base's loss. ``best at cost``: the whole budget on the lowest loss whose
serving costs no more per token than the base's."""


class PlanError(ValueError):
    """A plan is impossible as asked; the message says why."""


@dataclass(frozen=True)
class Request:
    """What is asked.

    Attributes:
        train_flops: training budget C.
        serve_tokens: output tokens served over the model's life.
        experts: numbers of experts E to consider.
        top_k: K of every mixture; a dense model has 1.
        base_experts: E of the base, which sets the loss to reach and the cost to keep.
        loss: a loss to reach in place of the base's.
    """

    train_flops: float
    serve_tokens: float
    experts: tuple[int, ...] = EXPERTS
    top_k: int = 1
    base_experts: int = 1
    loss: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.train_flops < np.inf:
            raise PlanError(f"a training budget of {self.train_flops:g} FLOPs trains nothing: expected a number > 0")
        if not 0 <= self.serve_tokens < np.inf:
            raise PlanError(f"serve tokens = {self.serve_tokens:g}: expected a number >= 0")
        if self.loss is not None and not self.loss > 0:
            raise PlanError(f"loss = {self.loss:g}: expected a number > 0, in nats per token")
        if not self.experts or min(self.experts) < 1:
            raise PlanError(f"experts = {self.experts!r}: expected whole numbers >= 1")
        if self.top_k < 1 or all(e > 1 and e < self.top_k for e in self.experts):
            raise PlanError(f"top_k = {self.top_k}: expected at most the number of experts, {max(self.experts)}")

    def chosen(self, n_experts: int) -> int:
        """K at E experts."""
        return min(self.top_k, n_experts)


@dataclass(frozen=True)
class Row:
    """One option of a plan. Dollars are of training, of serving all tokens, and of both.

    ``loss_low`` and ``loss_high`` are the ends of the law's 95 % band, nan where the law comes without one. ``note``
    says why an option does not fit, or at which limit of the search it lies.
    """

    law: str
    kind: Kind
    n_experts: int
    top_k: int
    sparsity: float
    total_params: float
    active_params: float
    tokens: float
    loss: float
    loss_low: float
    loss_high: float
    train_flops: float
    train_dollars: float
    serve_dollars: float
    total_dollars: float
    dollars_per_million: float
    memory_gb: float
    gpus: int
    batch: float
    fits: bool
    note: str


@dataclass(frozen=True)
class LawPlan:
    """What one law advises.

    Attributes:
        law: its name.
        rows: all options.
        target: the loss to reach.
        cheapest: the recommendation for quality that is given.
        best: the recommendation for a serving cost that is given.
        notes: what to know about it.
    """

    law: str
    rows: tuple[Row, ...]
    target: float
    cheapest: Row
    best: Row
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Disagreement:
    """Least and largest advice over the laws for one field of the recommendation."""

    field: str
    low: float
    high: float

    @property
    def ratio(self) -> float:
        """Largest over least."""
        return self.high / self.low


@dataclass(frozen=True)
class Plan:
    """The answer.

    Attributes:
        request: what was asked.
        deployment: where it is served.
        laws: one plan a law.
        refused: law -> why it has no answer.

    ``print(plan)`` shows it as ``moelaws plan`` does.
    """

    request: Request
    deployment: Deployment
    laws: tuple[LawPlan, ...]
    refused: Mapping[str, str]

    def __str__(self) -> str:
        from moelaws.serving.planning.plan_text import plan_text  # not above: it imports this module

        return plan_text(self)

    def plot(self) -> Any:
        """An Altair chart: the loss of each option against what it costs to train and to serve."""
        import pandas as pd  # not above: a plan needs no tables

        from moelaws.charts.pictures.plan_options import plan_options

        return plan_options(pd.DataFrame([vars(row) for each in self.laws for row in each.rows]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, as ``moelaws plan --json`` writes them."""
        from moelaws.serving.planning.plan_text import plan_record

        return plan_record(self)

    @property
    def disagreement(self) -> tuple[Disagreement, ...]:
        """How far the laws' cheapest options lie apart; empty with one law."""
        if len(self.laws) < 2:
            return ()
        fields = ("n_experts", "total_params", "active_params", "tokens", "total_dollars")
        values = {f: [float(getattr(each.cheapest, f)) for each in self.laws] for f in fields}
        return tuple(Disagreement(f, min(v), max(v)) for f, v in values.items())
