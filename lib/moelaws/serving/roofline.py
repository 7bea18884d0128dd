"""Bytes and FLOPs of a prefill and of a decode step, and the time they take on a machine."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from moelaws.exchange.precision import Precision
from moelaws.serving.served import Served
from moelaws.serving.touched import Routing, UnevenRouting, touched_experts

Array = Any


@dataclass(frozen=True)
class Work:
    """What one step has to do. Numbers, or arrays that broadcast.

    Attributes:
        always_flops, always_bytes: the matrices that every step reads.
        expert_flops, expert_bytes: the experts that some token of the step chose.
        attention_flops, cache_bytes: scores and values over the cached context.
        row_bytes: activations through memory, all layers.
        routed_row_bytes: the same of bringing each token to its experts and back.
        rows: tokens in the step.
        row_width_bytes: one token's residual stream, what tensor parallelism exchanges.
        layers: layers.
        routed_layers: layers with a router.
        experts_touched: distinct experts per routed layer.
        stored_bytes: all weights, and the cached context: what steps read sooner or later.
    """

    always_flops: Array
    always_bytes: Array
    expert_flops: Array
    expert_bytes: Array
    attention_flops: Array
    cache_bytes: Array
    row_bytes: Array
    routed_row_bytes: Array
    rows: Array
    row_width_bytes: Array
    layers: Array
    routed_layers: Array
    experts_touched: Array
    stored_bytes: Array

    @property
    def flops(self) -> Array:
        """All FLOPs."""
        return self.always_flops + self.expert_flops + self.attention_flops

    @property
    def bytes(self) -> Array:
        """Weights and cache that are read."""
        return self.always_bytes + self.expert_bytes + self.cache_bytes


def decode_work(
    model: Served,
    batch: Array,
    context: Array,
    bytes_per_value: float | Precision = 2,
    touched: Array | Routing = "distinct",
) -> Work:
    """Work of one decode step: one new token for each of ``batch`` requests.

    Args:
        model: the model.
        batch: B.
        context: cached tokens that each request attends to, its own new one included; a mean is fine.
        bytes_per_value: 4 for fp32, 2 for bf16, of weights, cache and activations alike; or a ``Precision``.
        touched: distinct experts per routed layer, measured or from ``touched.experts_of_loads``; a rule; or routing
            that is not even.
    """
    batch = np.asarray(batch, float)
    attended = model.flops_per_cached * batch * model.cached(context)
    return _work(model, batch, batch * model.cached(context), attended, bytes_per_value, touched)


def prefill_work(
    model: Served,
    prompts: Array,
    prompt_tokens: Array,
    bytes_per_value: float | Precision = 2,
    touched: Array | Routing = "distinct",
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
    rows, cached = prompts * length, model.cached(length)
    attended = model.prefill_flops_per_cached * rows * cached
    return _work(model, rows, prompts * cached, attended, bytes_per_value, touched)


def _work(
    model: Served, rows: Array, cached: Array, attention_flops: Array, bytes_per_value: float | Precision,
    touched: Array | Routing,
) -> Work:  # fmt: skip
    """Of so many tokens in a step, numbers that it reads of caches, and FLOPs between tokens and caches."""
    if isinstance(touched, str | UnevenRouting):
        touched = touched_experts(cast(Routing, touched), model.n_experts, model.top_k, rows)
    size = Precision.of(bytes_per_value)
    return Work(
        always_flops=2 * rows * model.always_multiplied,
        always_bytes=size.always * (model.always_read + model.lookup * rows),
        expert_flops=2 * rows * model.top_k * model.expert_params,
        expert_bytes=size.experts * touched * model.expert_params,
        attention_flops=attention_flops,
        cache_bytes=size.cache * cached,
        row_bytes=size.activations * rows * model.row_values,
        routed_row_bytes=size.activations * rows * model.routed_row_values,
        rows=rows,
        row_width_bytes=size.activations * model.width,
        layers=model.layers,
        routed_layers=model.routed_layers,
        experts_touched=touched,
        stored_bytes=model.weight_bytes(size) + size.cache * cached,
    )


@dataclass(frozen=True)
class Machine:
    """A few constants that turn work into time; from a calibration, or from a data sheet and stated efficiencies.

    Attributes:
        flops_per_second: arithmetic that matrix products reach.
        bytes_per_second: memory bandwidth that reading weights reaches.
        cache_slowdown: time to read a byte of keys and values over that of a byte of weights: attention is many small
            products.
        resident_bytes: size of the processor's own cache, of which a part stays there from step to step: of what every
            step reads, so much of a step's bytes; of the experts, so much of all that is stored, since the others
            come by before one is chosen again. 0 without such a cache.
        resident_bytes_per_second: bandwidth of what stays there.
        row_bytes_per_second: bandwidth of activations; endless where they stay in the processor's cache.
        routed_row_bytes_per_second: the same of bringing tokens to their experts and back.
        overlap: 1 if arithmetic and memory traffic of an operation hide each other (the longer counts), 0 if they
            add up; in between, linearly.
        seconds_per_step: overhead of a step, such as scheduling and sampling.
        seconds_per_layer: overhead of a layer, such as launching its operations.
        seconds_per_routed_layer: the same, in addition, for sorting tokens by expert.
        seconds_per_expert: the same for each expert touched.
        seconds_per_row: the same for each token of a step, such as choosing it, and its own small products in
            attention.
        gpus: processors that share each layer (tensor parallelism); the rates above are of all together.
        link_bytes_per_second: what one processor sends, in one direction.
        link_seconds: latency of one all-reduce.
    """

    flops_per_second: float
    bytes_per_second: float
    cache_slowdown: float = 1.0
    resident_bytes: float = 0.0
    resident_bytes_per_second: float = np.inf
    row_bytes_per_second: float = np.inf
    routed_row_bytes_per_second: float = np.inf
    overlap: float = 1.0
    seconds_per_step: float = 0.0
    seconds_per_layer: float = 0.0
    seconds_per_routed_layer: float = 0.0
    seconds_per_expert: float = 0.0
    seconds_per_row: float = 0.0
    gpus: int = 1
    link_bytes_per_second: float = np.inf
    link_seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in (
            "flops_per_second", "bytes_per_second", "cache_slowdown", "resident_bytes_per_second",
            "row_bytes_per_second", "routed_row_bytes_per_second", "link_bytes_per_second",
        ):  # fmt: skip
            if not np.all(getattr(self, name) > 0):
                raise ValueError(f"machine: {name} = {getattr(self, name)!r}, expected a number > 0")
        if not 0 <= self.overlap <= 1:
            raise ValueError(f"machine: overlap = {self.overlap!r}, expected 0 to 1")


def step_seconds(machine: Machine, work: Work) -> Array:
    """Time of a step: three rooflines (always-on matrices, experts, attention), activations, overheads, links.

    The three run one after another, so their times add up; within each, ``overlap`` says whether arithmetic hides
    memory traffic. Taking one maximum over the whole step would let the reading of the cache hide behind the
    matrix products of other layers, which no program does.
    """
    return sum(phase_seconds(machine, work).values()) + (
        activation_seconds(machine, work) + overhead_seconds(machine, work) + link_seconds(machine, work)
    )


def phase_seconds(machine: Machine, work: Work) -> dict[str, Array]:
    """The three rooflines, by name: ``always`` (always-on matrices), ``experts``, ``cache`` (attention)."""
    flops = {"always": work.always_flops, "experts": work.expert_flops, "cache": work.attention_flops}
    found = {}
    for name, traffic in reading_seconds(machine, work).items():
        arithmetic = flops[name] / machine.flops_per_second
        found[name] = np.maximum(arithmetic, traffic) + (1 - machine.overlap) * np.minimum(arithmetic, traffic)
    return found


def reading_seconds(machine: Machine, work: Work) -> dict[str, Array]:
    """What reading takes in each roofline, if nothing hides it.

    What is read again after less than the processor's cache holds is found there (a stack distance, Mattson et al.
    1970, in bytes): always-on weights and keys and values after the other bytes of a step, an expert after all that is
    stored.
    """
    again = {"always": work.bytes, "experts": work.stored_bytes, "cache": work.bytes}
    read = {
        "always": work.always_bytes,
        "experts": work.expert_bytes,
        "cache": machine.cache_slowdown * work.cache_bytes,
    }
    found = {}
    for name, after in again.items():
        near = np.minimum(1.0, machine.resident_bytes / after)
        found[name] = read[name] * (near / machine.resident_bytes_per_second + (1 - near) / machine.bytes_per_second)
    return found


def activation_seconds(machine: Machine, work: Work) -> Array:
    """Activations through memory."""
    return work.row_bytes / machine.row_bytes_per_second + work.routed_row_bytes / machine.routed_row_bytes_per_second


def overhead_seconds(machine: Machine, work: Work) -> Array:
    """What a step costs besides arithmetic and memory."""
    routing = machine.seconds_per_routed_layer + machine.seconds_per_expert * work.experts_touched
    every = machine.seconds_per_step + machine.seconds_per_layer * work.layers + work.routed_layers * routing
    return every + machine.seconds_per_row * work.rows


def link_seconds(machine: Machine, work: Work) -> Array:
    """Two ring all-reduces a layer: each processor sends 2 (G - 1)/G of the rows, and waits once."""
    if machine.gpus == 1:
        return 0.0 * work.rows
    sent = 2 * (machine.gpus - 1) / machine.gpus * work.rows * work.row_width_bytes
    return 2 * work.layers * (machine.link_seconds + sent / machine.link_bytes_per_second)
