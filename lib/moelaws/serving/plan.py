"""What to train and how to serve it: a table of options per law, a recommendation, and how far the laws disagree."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from moelaws.optimum.forecaster import EXPERTS, Forecaster
from moelaws.optimum.known_coefficients import OptimumError
from moelaws.serving.bounded import Option, Trade, bounded_cost, loss_optimal, why_not, with_memory
from moelaws.serving.cost import Deployment
from moelaws.serving.frontier import least_dollars
from moelaws.stages import counted

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
        from moelaws.serving.plan_text import plan_text  # not above: it imports this module

        return plan_text(self)

    def plot(self) -> Any:
        """An Altair chart: the loss of each option against what it costs to train and to serve."""
        import pandas as pd  # not above: a plan needs no tables

        from moelaws.charts.pictures.plan_options import plan_options

        return plan_options(pd.DataFrame([vars(row) for each in self.laws for row in each.rows]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, as ``moelaws plan --json`` writes them."""
        from moelaws.serving.plan_text import plan_record

        return plan_record(self)

    @property
    def disagreement(self) -> tuple[Disagreement, ...]:
        """How far the laws' cheapest options lie apart; empty with one law."""
        if len(self.laws) < 2:
            return ()
        fields = ("n_experts", "total_params", "active_params", "tokens", "total_dollars")
        values = {f: [float(getattr(each.cheapest, f)) for each in self.laws] for f in fields}
        return tuple(Disagreement(f, min(v), max(v)) for f, v in values.items())


def ask(
    request: Request,
    deployment: Deployment,
    forecasters: Mapping[str, Forecaster],
    missing: Mapping[str, str] = MappingProxyType({}),
) -> Plan:
    """Put a request to several laws.

    Args:
        request: what is asked.
        deployment: where it is served.
        forecasters: name -> law.
        missing: laws that were asked for and are not there: name -> why.

    Raises:
        PlanError: no law has an answer; the message is the first law's reason.
    """
    plans, refused = [], {}
    for name, forecaster in counted(forecasters.items(), "asking each law", len(forecasters)):
        try:
            plans.append(_of_law(request, Trade(forecaster, deployment), name))
        except (OptimumError, PlanError) as error:
            refused[name] = str(error)
    if not plans:
        name, reason = next(iter(refused.items()))
        raise PlanError(f"{name}: {reason}")
    return Plan(request, deployment, tuple(plans), refused | dict(missing))


def _of_law(request: Request, trade: Trade, name: str) -> LawPlan:
    base_e = request.base_experts
    base_k = request.chosen(base_e)
    base = loss_optimal(trade, request.train_flops, base_e, base_k)
    target = base.allocation.loss if request.loss is None else request.loss
    rows: list[Row] = []
    reasons: list[str] = []
    for e in request.experts:
        k = request.chosen(e)
        free = base if (e, k) == (base_e, base_k) else loss_optimal(trade, request.train_flops, e, k)
        rows.append(_row(request, trade, name, "loss-optimal", free))
        try:
            rows.append(
                _row(request, trade, name, "best at cost", _best_at_cost(trade, request.train_flops, base, free))
            )
        except OptimumError as error:
            reasons.append(str(error))
        try:
            found = least_dollars(trade, request.train_flops, target, e, k, request.serve_tokens, free)
            rows.append(_row(request, trade, name, "cheapest", found))
        except OptimumError as error:
            reasons.append(str(error))
    cheapest = _least([r for r in rows if r.kind == "cheapest" and r.fits], "total_dollars")
    best = _least([r for r in rows if r.kind == "best at cost" and r.fits], "loss")
    if cheapest is None:
        too_large = _least([r for r in rows if r.kind == "cheapest"], "memory_gb")
        raise PlanError(_below_floor(request, trade, target) or (too_large.note if too_large else reasons[-1]))
    notes = (*_notes(request, trade, base), *_edges(request, trade, cheapest, best or cheapest))
    return LawPlan(name, tuple(rows), target, cheapest, best or cheapest, notes)


def _best_at_cost(trade: Trade, train_flops: float, base: Option, free: Option) -> Option:
    n_experts, top_k = free.allocation.n_experts, free.allocation.top_k
    # Where the base itself does not fit, there is no cost to keep, only the memory.
    if not base.fits:
        return with_memory(trade, train_flops, n_experts, top_k)
    return bounded_cost(trade, train_flops, float(base.serving.dollars_per_token), n_experts, top_k, free)


def _below_floor(request: Request, trade: Trade, target: float) -> str:
    """One sentence if no size and no data reach the loss with any number of experts; empty otherwise."""
    forecaster, floors = trade.forecaster, []
    for e in request.experts:
        endless = forecaster.family.columns(np.exp(70.0), e, request.chosen(e)) | {"tokens": 1e30}
        floors.append(float(forecaster.expected(endless)))
    least = min(floors)
    if not target < least:
        return ""
    return f"the loss {target:g} is below the law's floor: no size and no data get under {least:.4f}"


def _notes(request: Request, trade: Trade, base: Option) -> tuple[str, ...]:
    notes = []
    low, high = trade.forecaster.budgets
    if not low <= request.train_flops <= high:
        away = trade.forecaster.decades_beyond(request.train_flops)
        notes.append(
            f"the law was fitted to budgets of {low:.0e} to {high:.0e} FLOPs; this is an extrapolation by "
            f"{away:.1f} decade{'s' * (f'{away:.1f}' != '1.0')}"
        )
    if not base.fits:
        notes.append(
            f"the base does not fit: {why_not(trade, base.size, base.allocation.n_experts, base.allocation.top_k)}"
        )
    if "loss" in base.allocation.intervals:
        least, most = base.allocation.intervals["loss"]
        notes.append(f"its 95 % band of the base's loss at this budget is {most - least:.2g} nats wide")
    if not trade.forecaster.replicates:
        notes.append("no band: the law's coefficients come without their joint uncertainty")
    return tuple(notes)


def _edges(request: Request, trade: Trade, cheapest: Row, best: Row) -> Iterator[str]:
    """What lies at the end of what was asked about, where the true best may lie beyond."""
    most = max(request.experts)
    for what, row in (("cheapest", cheapest), ("best at cost", best)):
        if row.n_experts == most and len(request.experts) > 1:
            yield f"the {what} has the most experts asked about ({most}): more may be better still (--experts)"
        if row.note:
            yield f"the {what} is at an edge: {row.note}"
    if cheapest.gpus == max(trade.deployment.gpus) and len(trade.deployment.gpus) > 1:
        yield f"the cheapest takes the most devices asked about ({cheapest.gpus}): more may be cheaper (--gpus)"


def _row(request: Request, trade: Trade, name: str, kind: Kind, option: Option) -> Row:
    a = option.allocation
    low, high = a.intervals.get("loss", (np.nan, np.nan))
    serve = option.serve_dollars(request.serve_tokens)
    edges = {"low": "smallest size searched", "high": "largest size searched", "memory": "as large as the memory"}
    note = edges.get(a.edge, "") if option.fits else why_not(trade, option.size, a.n_experts, a.top_k)
    return Row(
        law=name, kind=kind, n_experts=int(a.n_experts), top_k=int(a.top_k), sparsity=a.sparsity,
        total_params=a.total_params, active_params=a.active_params, tokens=a.tokens,
        loss=a.loss, loss_low=low, loss_high=high,
        train_flops=a.train_flops, train_dollars=option.train_dollars, serve_dollars=serve,
        total_dollars=option.train_dollars + serve,
        dollars_per_million=float(option.serving.dollars_per_token) * 1e6,
        memory_gb=option.memory_bytes / 1e9, gpus=int(option.serving.gpus), batch=float(option.serving.batch),
        fits=option.fits, note=note,
    )  # fmt: skip


def _least(rows: Sequence[Row], field: str) -> Row | None:
    return min(rows, key=lambda row: float(getattr(row, field)), default=None)
