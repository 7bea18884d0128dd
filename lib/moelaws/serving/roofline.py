"""Bytes and FLOPs of a prefill and of a decode step, and the time they take on a machine."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from moelaws.serving.served import Served
from moelaws.serving.touched import Rule, even_experts

Array = Any


@dataclass(frozen=True)
class Work:
    """What one step has to do. Numbers, or arrays that broadcast.

    Attributes:
        always_flops, always_bytes: the matrices that every step reads.
        expert_flops, expert_bytes: the experts that some token of the step chose.
        attention_flops, cache_bytes: scores and values over the cached context.
        row_bytes: activations through memory, all layers.
        rows: tokens in the step.
        row_width_bytes: one token's residual stream, what tensor parallelism exchanges.
        layers: layers.
        routed_layers: layers with a router.
        experts_touched: distinct experts per routed layer.
        n_experts: E, experts per routed layer, touched or not.
    """

    always_flops: Array
    always_bytes: Array
    expert_flops: Array
    expert_bytes: Array
    attention_flops: Array
    cache_bytes: Array
    row_bytes: Array
    rows: Array
    row_width_bytes: Array
    layers: Array
    routed_layers: Array
    experts_touched: Array
    n_experts: Array

    @property
    def flops(self) -> Array:
        """All FLOPs."""
        return self.always_flops + self.expert_flops + self.attention_flops

    @property
    def bytes(self) -> Array:
        """Weights and cache that are read."""
        return self.always_bytes + self.expert_bytes + self.cache_bytes


def decode_work(
    model: Served, batch: Array, context: Array, bytes_per_value: float = 2, touched: Array | Rule = "distinct"
) -> Work:
    """Work of one decode step: one new token for each of ``batch`` requests.

    Args:
        model: the model.
        batch: B.
        context: cached tokens that each request attends to, its own new one included; a mean is fine.
        bytes_per_value: 4 for fp32, 2 for bf16, of weights, cache and activations alike.
        touched: distinct experts per routed layer, measured or from ``touched.experts_of_loads``; or a rule.
    """
    batch = np.asarray(batch, float)
    return _work(model, batch, batch, np.asarray(context, float), bytes_per_value, touched)


def prefill_work(
    model: Served, prompts: Array, prompt_tokens: Array, bytes_per_value: float = 2, touched: Array | Rule = "distinct"
) -> Work:
    """Work of reading ``prompts`` prompts at once. Attention is counted over all T x T pairs, as programs do it.

    The cache of a prompt is written and read once.

    Args:
        model: the model.
        prompts: how many.
        prompt_tokens: tokens of each.
        bytes_per_value, touched: as in ``decode_work``.
    """
    prompts, length = np.asarray(prompts, float), np.asarray(prompt_tokens, float)
    return _work(model, prompts * length, prompts, length, bytes_per_value, touched)


def _work(
    model: Served, rows: Array, requests: Array, context: Array, bytes_per_value: float, touched: Array | Rule
) -> Work:
    if isinstance(touched, str):
        touched = even_experts(model.n_experts, model.top_k, rows, cast(Rule, touched))
    # Scores and values are two products of 2 d FLOPs a layer, token and cached token; the cache holds 2 d numbers.
    pairs = rows * context
    return Work(
        always_flops=2 * rows * model.always_multiplied,
        always_bytes=bytes_per_value * (model.always_read + model.lookup * rows),
        expert_flops=2 * rows * model.top_k * model.expert_params,
        expert_bytes=bytes_per_value * touched * model.expert_params,
        attention_flops=2 * pairs * model.kv_per_token,
        cache_bytes=bytes_per_value * requests * context * model.kv_per_token,
        row_bytes=bytes_per_value * rows * model.layers * model.row_values,
        rows=rows,
        row_width_bytes=bytes_per_value * model.width,
        layers=model.layers,
        routed_layers=model.routed_layers,
        experts_touched=touched,
        n_experts=model.n_experts,
    )


@dataclass(frozen=True)
class Machine:
    """A few constants that turn work into time; from a calibration, or from a data sheet and stated efficiencies.

    Attributes:
        flops_per_second: arithmetic that matrix products reach.
        bytes_per_second: memory bandwidth that reading weights and cache reaches.
        row_bytes_per_second: the same for activations.
        overlap: 1 if arithmetic and memory traffic of an operation hide each other (the longer counts), 0 if they
            add up; in between, linearly.
        seconds_per_step: overhead of a step, such as scheduling and sampling.
        seconds_per_layer: overhead of a layer, such as launching its operations.
        seconds_per_routed_layer: the same, in addition, for sorting tokens by expert.
        seconds_per_expert: the same for each expert touched.
        seconds_per_idle_check: the same for each expert that is there, touched or not: finding out who has no token.
        gpus: processors that share each layer (tensor parallelism); the rates above are of all together.
        link_bytes_per_second: what one processor sends, in one direction.
        link_seconds: latency of one all-reduce.
    """

    flops_per_second: float
    bytes_per_second: float
    row_bytes_per_second: float = np.inf
    overlap: float = 1.0
    seconds_per_step: float = 0.0
    seconds_per_layer: float = 0.0
    seconds_per_routed_layer: float = 0.0
    seconds_per_expert: float = 0.0
    seconds_per_idle_check: float = 0.0
    gpus: int = 1
    link_bytes_per_second: float = np.inf
    link_seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flops_per_second", "bytes_per_second", "row_bytes_per_second", "link_bytes_per_second"):
            if not getattr(self, name) > 0:
                raise ValueError(f"machine: {name} = {getattr(self, name)!r}, expected a number > 0")
        if not 0 <= self.overlap <= 1:
            raise ValueError(f"machine: overlap = {self.overlap!r}, expected 0 to 1")


def step_seconds(machine: Machine, work: Work) -> Array:
    """Time of a step: three rooflines (always-on matrices, experts, attention), activations, overheads, links.

    The three run one after another, so their times add up; within each, ``overlap`` says whether arithmetic hides
    memory traffic. Taking one maximum over the whole step would let the reading of the cache hide behind the
    matrix products of other layers, which no program does.
    """
    return matrix_seconds(machine, work) + overhead_seconds(machine, work) + link_seconds(machine, work)


def matrix_seconds(machine: Machine, work: Work) -> Array:
    """The rooflines and the activations."""
    phases = (
        (work.always_flops, work.always_bytes),
        (work.expert_flops, work.expert_bytes),
        (work.attention_flops, work.cache_bytes),
    )
    total: Array = work.row_bytes / machine.row_bytes_per_second
    for flops, read in phases:
        arithmetic, traffic = flops / machine.flops_per_second, read / machine.bytes_per_second
        total = total + np.maximum(arithmetic, traffic) + (1 - machine.overlap) * np.minimum(arithmetic, traffic)
    return total


def overhead_seconds(machine: Machine, work: Work) -> Array:
    """What a step costs besides arithmetic and memory."""
    routing = (
        machine.seconds_per_routed_layer
        + machine.seconds_per_expert * work.experts_touched
        + machine.seconds_per_idle_check * work.n_experts
    )
    return machine.seconds_per_step + machine.seconds_per_layer * work.layers + work.routed_layers * routing


def link_seconds(machine: Machine, work: Work) -> Array:
    """Two ring all-reduces a layer: each processor sends 2 (G - 1)/G of the rows, and waits once."""
    if machine.gpus == 1:
        return 0.0 * work.rows
    sent = 2 * (machine.gpus - 1) / machine.gpus * work.rows * work.row_width_bytes
    return 2 * work.layers * (machine.link_seconds + sent / machine.link_bytes_per_second)
