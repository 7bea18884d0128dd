"""A published model, served: what it takes on so many devices, how fast it is, and what a token costs."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moelaws import __version__
from moelaws.exchange.model_count import CONTEXT, ModelCount, count
from moelaws.exchange.precision import Precision, PrecisionName, precision_of
from moelaws.serving.cost import Deployment, deploy, serve_on
from moelaws.serving.hardware import Accelerator, accelerator
from moelaws.serving.planning.plan import PlanError
from moelaws.serving.served import served_count
from moelaws.serving.touched import Routing

HARDWARE = "h100"
"""What a published model is served on where nothing is named."""


@dataclass(frozen=True)
class ServedOn:
    """A model on so many devices, with the largest batch that they hold.

    ``prefill_seconds`` is the reading of one prompt, ``decode_step_seconds`` a step of the whole batch;
    ``tokens_per_second`` and ``dollars_per_million`` are of output tokens, the reading of their prompts included.
    """

    gpus: int
    fits: bool
    memory_gb: float
    batch: float
    prefill_seconds: float
    decode_step_seconds: float
    tokens_per_second: float
    dollars_per_million: float


@dataclass(frozen=True)
class ModelPlan:
    """What a published model costs; ``print(plan)`` shows it as ``moelaws plan --model`` does.

    Attributes:
        model: its count.
        deployment: where it is served, with its traffic.
        rows: one for each number of devices.
        best: the one with the least dollars per token.
        serve_tokens, serve_dollars: output tokens over its life, and what they cost.
        train_tokens, train_flops, train_dollars: tokens to train it on, and what that takes.
        notes: edges of what was asked, and what is not counted.
    """

    model: ModelCount
    deployment: Deployment
    rows: tuple[ServedOn, ...]
    best: ServedOn
    serve_tokens: float
    serve_dollars: float
    train_tokens: float
    train_flops: float
    train_dollars: float
    notes: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, as ``moelaws plan --model --json`` writes them."""
        return {
            "model": self.model.to_dict(),
            "hardware": self.deployment.name,
            "dollars_per_hour": self.deployment.dollars_per_hour,
            "traffic": asdict(self.deployment.traffic),
            "precision": asdict(self.deployment.precision),
            "rows": [asdict(row) for row in self.rows],
            "best": asdict(self.best),
        } | {name: getattr(self, name) for name in _TOTALS} | {
            "notes": list(self.notes),
            "versions": {"moelaws": __version__},
        }  # fmt: skip


_TOTALS = ("serve_tokens", "serve_dollars", "train_tokens", "train_flops", "train_dollars")


def plan_model(
    model: str | Path | Mapping[str, Any] | ModelCount,
    serve_tokens: float = 0.0,
    train_tokens: float = 0.0,
    hardware: str | Accelerator | Deployment = HARDWARE,
    precision: PrecisionName | Precision = "bf16",
    routing: Routing = "distinct",
    gpus: tuple[int, ...] = (1, 2, 4, 8),
) -> ModelPlan:
    """What a published model takes to be served and to be trained.

    Args:
        model: its ``config.json``, folder, fields or name, see ``moelaws.count``; or a count.
        serve_tokens: output tokens served over its life.
        train_tokens: tokens that it is trained on.
        hardware: name of an accelerator in any case, one of your own, or a deployment, which then has its own
            precision, routing and numbers of devices.
        precision: of weights; see ``moelaws.count``.
        routing: which experts a step reads; ``serving.UnevenRouting`` where experts are known to get unequal shares.
        gpus: numbers of devices that one copy may take.

    Returns:
        The plan; ``rows`` holds each number of devices.

    Raises:
        PlanError: it fits no number of devices; the message says what it takes and what there is.
        ValueError: no such model, hardware or precision; loads of another number of experts.

    Example:
        >>> found = plan_model("mixtral-8x7b", serve_tokens=1e9, hardware="H100")
        >>> found.best.gpus, found.rows[0].fits
        (2, False)
    """
    counted = model if isinstance(model, ModelCount) else count(model)
    if not isinstance(hardware, Deployment):
        device = accelerator(hardware) if isinstance(hardware, str) else hardware
        size = precision if isinstance(precision, Precision) else precision_of(precision)
        hardware = deploy(device, gpus, bytes_per_value=size, rule=routing)
    rows = tuple(_row(counted, hardware, number) for number in hardware.gpus)
    best = min(rows, key=lambda row: row.dollars_per_million)
    if not best.fits:
        raise PlanError(_too_large(counted, hardware))
    flops = counted.training_flops_per_token() * train_tokens
    return ModelPlan(
        counted, hardware, rows, best, serve_tokens, best.dollars_per_million * serve_tokens / 1e6,
        train_tokens, flops, float(hardware.training_dollars(flops)), tuple(_notes(counted, hardware, best)),
    )  # fmt: skip


def _row(model: ModelCount, deployment: Deployment, gpus: int) -> ServedOn:
    served = served_count(model)
    found = serve_on(deployment, served, gpus)
    batch = float(found.batch)
    fits = batch >= 1
    return ServedOn(
        gpus=gpus,
        fits=fits,
        memory_gb=float(served.weight_bytes(deployment.precision)) / 1e9,
        batch=batch,
        prefill_seconds=float(deployment.latency.prefill(served, 1.0, gpus)) if fits else np.inf,
        decode_step_seconds=float(deployment.latency.decode(served, batch, gpus)) if fits else np.inf,
        tokens_per_second=float(found.tokens_per_second),
        dollars_per_million=float(found.dollars_per_token) * 1e6,
    )


def _too_large(model: ModelCount, deployment: Deployment) -> str:
    served, size = served_count(model), deployment.precision
    most = max(deployment.gpus)
    one = float(served.cached(deployment.traffic.mean_cached)) * size.cache
    need = float(served.weight_bytes(size)) + one
    each = deployment.memory_bytes * deployment.memory_share
    enough = 2 ** math.ceil(math.log2(need / each))
    return (
        f"{model.name} needs {need / 1e9:,.4g} GB for its weights and the cache of one request; {most} x "
        f"{deployment.name} hold {most * each / 1e9:,.4g} GB: {enough} would do, or fewer bytes a weight"
    )


def _notes(model: ModelCount, deployment: Deployment, best: ServedOn) -> Iterator[str]:
    if best.gpus == max(deployment.gpus) and len(deployment.gpus) > 1:
        yield f"the most devices asked about ({best.gpus}) are the cheapest: more may be cheaper still"
    if best.batch == deployment.max_batch:
        yield f"the batch is the largest allowed ({deployment.max_batch:g})"
    yield from model.architecture.notes


def _lines(plan: ModelPlan) -> Iterator[str]:
    model, where, size = plan.model, plan.deployment, plan.deployment.precision
    yield (
        f"{model.name}: N = {model.total_params:.3g} ({model.active_params:.3g} active), weights in {_bytes(size)} "
        f"on {where.name} at ${where.dollars_per_hour:g} an hour each"
    )
    yield (
        f"  prompts of {where.traffic.prompt_tokens:g} tokens, answers of {where.traffic.output_tokens:g}; "
        f"weights take {plan.best.memory_gb:,.4g} GB"
    )
    yield "  devices  requests  first token      step   tokens/s  $ per million"
    for row in plan.rows:
        times = f"{1e3 * row.prefill_seconds:10.3g} ms{1e3 * row.decode_step_seconds:7.3g} ms"
        rates = f"{row.tokens_per_second:11,.0f}{row.dollars_per_million:15.3g}"
        yield f"  {row.gpus:7}" + (f"{row.batch:10,.0f}{times}{rates}" if row.fits else "  does not fit")
    if plan.serve_tokens:
        yield f"  {plan.serve_tokens:.3g} tokens to serve: ${plan.serve_dollars:,.0f} on {plan.best.gpus} at a time"
    if plan.train_tokens:
        yield (
            f"  {plan.train_tokens:.3g} tokens to train on, at a context of {CONTEXT}: {plan.train_flops:.3g} FLOPs, "
            f"${plan.train_dollars:,.0f}"
        )
    for note in plan.notes:
        yield f"  note: {note}"


def _bytes(size: Precision) -> str:
    if size.always == size.experts:
        return f"{size.always:g} bytes"
    return f"{size.always:g} bytes, experts in {size.experts:g},"
