"""How a plan is found: each law is asked for its options, and of those that fit two are advised: cheapest and best."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from moelaws.optimum.forecaster import Forecaster
from moelaws.optimum.known_coefficients import OptimumError
from moelaws.serving.bounded import Option, Trade, bounded_cost, loss_optimal, why_not, with_memory
from moelaws.serving.cost import Deployment
from moelaws.serving.frontier import least_dollars
from moelaws.serving.planning.plan import Kind, LawPlan, Plan, PlanError, Request, Row
from moelaws.stages import counted


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
