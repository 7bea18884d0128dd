"""Batch, throughput and dollars per token of a served model (Yun et al. 2024, Sec. 4, Eq. 5 and 6)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from moelaws.exchange.precision import Precision
from moelaws.serving.hardware import TYPICAL, Accelerator, Efficiency, node
from moelaws.serving.roofline import Machine, decode_work, prefill_work, step_seconds
from moelaws.serving.served import Served
from moelaws.serving.touched import Routing

Array = Any


@dataclass(frozen=True)
class Traffic:
    """What users ask for.

    Attributes:
        prompt_tokens: mean prompt length, p.
        output_tokens: mean answer length, n. The defaults are the means of ShareGPT as Kwon et al. 2023 give them;
            Yun et al. use ShareGPT and print no means.
    """

    prompt_tokens: float = 161.31
    output_tokens: float = 337.99

    def __post_init__(self) -> None:
        for name in ("prompt_tokens", "output_tokens"):
            if not getattr(self, name) > 0:
                raise ValueError(f"traffic: {name} = {getattr(self, name)!r}, expected a number > 0")

    @property
    def mean_cached(self) -> float:
        """Tokens that a request holds in the cache, mean over its life: p + n / 2."""
        return self.prompt_tokens + self.output_tokens / 2


CHAT = Traffic()
"""Questions and answers of a chat service."""


class Latency(Protocol):
    """How long a prefill and a decode step take; a machine's roofline, or tables that somebody measured."""

    def prefill(self, model: Served, prompts: Array, gpus: int) -> Array:
        """Seconds to read this many prompts at once."""

    def decode(self, model: Served, batch: Array, gpus: int) -> Array:
        """Seconds of one decode step of this batch."""


@dataclass(frozen=True)
class Roofline:
    """Latencies from a machine's constants.

    Attributes:
        machines: number of processors -> all of them together.
        traffic: prompt and answer lengths.
        bytes_per_value: of weights, cache and activations.
        rule: which experts a step reads: a rule, or routing that is not even.
    """

    machines: Mapping[int, Machine]
    traffic: Traffic = CHAT
    bytes_per_value: float | Precision = 2
    rule: Routing = "distinct"

    def prefill(self, model: Served, prompts: Array, gpus: int) -> Array:
        """Seconds to read prompts; a share of a prompt is that share of the time of one."""
        whole = np.maximum(prompts, 1)
        work = prefill_work(model, whole, self.traffic.prompt_tokens, self.bytes_per_value, self.rule)
        return step_seconds(self.machines[gpus], work) * np.minimum(prompts, 1)

    def decode(self, model: Served, batch: Array, gpus: int) -> Array:
        """Seconds of a decode step in the middle of the requests' lives."""
        work = decode_work(model, batch, self.traffic.mean_cached, self.bytes_per_value, self.rule)
        return step_seconds(self.machines[gpus], work)


@dataclass(frozen=True)
class Deployment:
    """Where and how a model is served.

    Attributes:
        name: for messages.
        latency: seconds of prefill and decode.
        gpus: numbers of processors that one copy of the model may take.
        memory_bytes: memory of one processor, M0.
        train_flops_per_second: what one processor reaches in training.
        dollars_per_hour: rent of one processor.
        traffic: prompt and answer lengths.
        bytes_per_value: of weights and cache.
        memory_share: share of the memory that weights and cache may fill.
        max_batch: most requests at once; without a limit the memory sets it, as in Eq. 6.
    """

    name: str
    latency: Latency
    gpus: tuple[int, ...]
    memory_bytes: float
    train_flops_per_second: float
    dollars_per_hour: float
    traffic: Traffic = CHAT
    bytes_per_value: float | Precision = 2
    memory_share: float = 1.0
    max_batch: float = np.inf

    def __post_init__(self) -> None:
        if not self.gpus or min(self.gpus) < 1:
            raise ValueError(f"deployment {self.name!r}: gpus = {self.gpus!r}, expected whole numbers >= 1")
        if not 0 < self.dollars_per_hour < np.inf:
            raise ValueError(f"deployment {self.name!r}: dollars_per_hour = {self.dollars_per_hour!r}, expected > 0")

    @property
    def precision(self) -> Precision:
        """Bytes of weights and cache."""
        return Precision.of(self.bytes_per_value)

    def training_dollars(self, train_flops: Array) -> Array:
        """Rent of the processors for a training of this many FLOPs."""
        return train_flops / self.train_flops_per_second * self.dollars_per_hour / 3600


def deploy(
    device: Accelerator,
    gpus: tuple[int, ...] = (1, 2, 4, 8),
    efficiency: Efficiency = TYPICAL,
    traffic: Traffic = CHAT,
    dollars_per_hour: float | None = None,
    bytes_per_value: float | Precision = 2,
    memory_share: float = 1.0,
    max_batch: float = np.inf,
    rule: Routing = "distinct",
) -> Deployment:
    """A node of accelerators with a roofline for its latency.

    Args:
        device: the accelerator.
        gpus: numbers of them that one copy of a model may take.
        efficiency: what programs reach.
        traffic, bytes_per_value, memory_share, max_batch: see ``Deployment``.
        dollars_per_hour: of one; the preset's by default.
        rule: which experts a step reads: a rule, or routing that is not even.
    """
    return Deployment(
        name=device.name,
        latency=Roofline({g: node(device, g, efficiency) for g in gpus}, traffic, bytes_per_value, rule),
        gpus=gpus,
        memory_bytes=device.memory_bytes,
        train_flops_per_second=device.flops_per_second * efficiency.training,
        dollars_per_hour=device.dollars_per_hour if dollars_per_hour is None else dollars_per_hour,
        traffic=traffic,
        bytes_per_value=bytes_per_value,
        memory_share=memory_share,
        max_batch=max_batch,
    )


def deploy_measured(
    name: str,
    machine: Machine,
    memory_bytes: float,
    dollars_per_hour: float,
    traffic: Traffic = CHAT,
    bytes_per_value: float | Precision = 4,
    max_batch: float = np.inf,
) -> Deployment:
    """A machine whose constants were calibrated to timings, such as the reader's own processor.

    Training is taken to reach the arithmetic that the calibration found in matrix products.

    Args:
        name: for messages.
        machine: from ``calibration.calibrate``.
        memory_bytes: memory for weights and cache.
        dollars_per_hour: what an hour of it costs.
        traffic, bytes_per_value, max_batch: see ``Deployment``.
    """
    return Deployment(
        name=name,
        latency=Roofline({1: machine}, traffic, bytes_per_value),
        gpus=(1,),
        memory_bytes=memory_bytes,
        train_flops_per_second=machine.flops_per_second,
        dollars_per_hour=dollars_per_hour,
        traffic=traffic,
        bytes_per_value=bytes_per_value,
        max_batch=max_batch,
    )


def largest_batch(deployment: Deployment, model: Served, gpus: int) -> Array:
    """Requests that fit beside the weights, b = (G M0 - N) / ((2p + n) h l) (Eq. 6), in bytes.

    Below one, not even a single request fits; negative, not even the weights do.
    """
    size = deployment.precision
    room = gpus * deployment.memory_bytes * deployment.memory_share - model.weight_bytes(size)
    return np.minimum(room / (size.cache * model.cached(deployment.traffic.mean_cached)), deployment.max_batch)


@dataclass(frozen=True)
class Serving:
    """How a model is served; numbers, or arrays over models.

    Attributes:
        dollars_per_token: of an output token, its share of the prompt included; infinite if the model does not fit.
        gpus: processors of the cheapest copy; 0 if none fits.
        batch: requests at once.
        step_seconds: one iteration: a decode step and the prompts admitted with it.
        tokens_per_second: output tokens of one copy.
    """

    dollars_per_token: Array
    gpus: Array
    batch: Array
    step_seconds: Array
    tokens_per_second: Array


def serve_on(deployment: Deployment, model: Served, gpus: int) -> Serving:
    """Serve on a given number of processors with the largest batch: T = b / L(b), C = G C0 / T (Eq. 5, 6).

    Each decode step finishes b / n requests on average, so b / n prompts are admitted with it:
    L(b) = L_prefill(b / n) + L_decode(b).
    """
    batch = largest_batch(deployment, model, gpus)
    fits = batch >= 1
    full = np.where(fits, batch, 1.0)
    seconds = deployment.latency.prefill(model, full / deployment.traffic.output_tokens, gpus)
    seconds = seconds + deployment.latency.decode(model, full, gpus)
    rate = full / seconds
    dollars = gpus * deployment.dollars_per_hour / 3600 / rate
    return Serving(
        dollars_per_token=np.where(fits, dollars, np.inf),
        gpus=np.where(fits, gpus, 0),
        batch=np.where(fits, batch, 0.0),
        step_seconds=np.where(fits, seconds, np.inf),
        tokens_per_second=np.where(fits, rate, 0.0),
    )


def serve(deployment: Deployment, model: Served) -> Serving:
    """Serve on the number of processors that is cheapest per token, C(m) = min_G C(m, G) (Eq. 5)."""
    options = [serve_on(deployment, model, g) for g in deployment.gpus]
    best = np.argmin([np.asarray(one.dollars_per_token) for one in options], axis=0)
    return Serving(*(_chosen(options, name, best) for name in Serving.__dataclass_fields__))


def _chosen(options: list[Serving], name: str, best: Array) -> Array:
    values = np.stack([np.broadcast_to(getattr(one, name), np.shape(best)) for one in options])
    return np.take_along_axis(values, np.asarray(best)[None], axis=0)[0]
