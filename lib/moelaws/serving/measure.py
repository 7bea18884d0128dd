"""Prefill and decode of one model, measured: times with their spread, memory, and the experts that each step touched.

Shape suffixes: B requests, T tokens of a request, K experts chosen per token.
"""

import ctypes
import gc
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moelaws import __version__
from moelaws.counting import count_parameters
from moelaws.serving.decoder import Decoder
from moelaws.training.memory import keep_freed_memory
from moelaws.training.record import machine

Clock = Literal["wall", "processor"]
Routing = Literal["router", "uniform"]

_CLOCKS: dict[Clock, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}


@dataclass(frozen=True)
class Spread:
    """Repeated measurements of one time, in seconds.

    Attributes:
        median, low, high: the median and the quartiles.
        n: measurements.
    """

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Spread":
        """Summarise."""
        low, median, high = np.quantile(seconds, (0.25, 0.5, 0.75))
        return cls(float(median), float(low), float(high), len(seconds))


@dataclass(frozen=True)
class Measurement:
    """What serving a batch took.

    Attributes:
        batch, prompt_tokens, new_tokens: requests, tokens read by the prefill, decode steps after it.
        prefill: time to the first token, its choice included.
        decode_step: time of a decode step, the choice of the token included; over all steps of all repeats.
        touched: distinct experts of each routed layer, mean over the decode steps; empty without a router.
        peak_bytes: most memory in use meanwhile: of the process on a CPU, of torch's tensors on CUDA.
        cache_bytes: of it, keys and values.
        processor_share: processor time over wall time; well under 1 on one thread, others had the processor too.
        clock: what was read.
        routing: ``router``, or ``uniform`` where experts were drawn instead.
    """

    batch: int
    prompt_tokens: int
    new_tokens: int
    prefill: Spread
    decode_step: Spread
    touched: tuple[float, ...]
    peak_bytes: int
    cache_bytes: int
    processor_share: float
    clock: Clock
    routing: Routing

    @property
    def tokens_per_second(self) -> float:
        """Tokens of all requests together, while decoding."""
        return self.batch / self.decode_step.median


def measure(
    decoder: Decoder,
    requests_BT: Tensor,
    prompt_tokens: int,
    repeats: int = 5,
    clock: Clock = "wall",
    routing: Routing = "router",
    warm_up: int = 1,
) -> Measurement:
    """Serve a batch several times.

    The model reads the requests' own continuations, whatever it would have said: what a step costs depends on the
    tokens through the experts alone, and a tiny model left to itself soon repeats one word, to one expert.

    Args:
        decoder: the model.
        requests_BT: prompts and their continuations, one a decode step.
        prompt_tokens: how many of the tokens are prompt.
        repeats: prefills measured, each followed by all decode steps.
        clock: ``processor`` counts only the time that the process itself had; it is for a busy machine and one thread.
        routing: ``uniform`` draws the experts of every token instead of asking the router.
        warm_up: rounds before, not counted.

    Returns:
        The measurement.

    Raises:
        ValueError: no token is left to decode, or fewer than one repeat.
    """
    batch, length = requests_BT.shape
    if not 1 <= prompt_tokens < length:
        raise ValueError(f"prompt of {prompt_tokens} tokens: expected 1 to {length - 1} of the requests' {length}")
    if repeats < 1:
        raise ValueError(f"repeats = {repeats}: expected a whole number >= 1")
    if clock == "processor" and decoder.device.type != "cpu":
        raise ValueError("the processor's clock does not see a GPU's work: take clock = 'wall'")
    requests_BT = requests_BT.to(decoder.device)
    forced = _uniform(decoder, batch, prompt_tokens, length) if routing == "uniform" else None
    touched = touched_by_step(decoder, requests_BT, prompt_tokens, forced)
    keep_freed_memory()
    _settle(decoder.device)
    prefills: list[float] = []
    steps: list[float] = []
    cache_bytes, share = 0, 1.0
    for repeat in range(-warm_up, repeats):
        if repeat == 0:
            gc.disable()
            began = time.perf_counter(), time.process_time()
        try:
            first, later, cache_bytes = _serve(decoder, requests_BT, prompt_tokens, _CLOCKS[clock], forced)
        except BaseException:
            gc.enable()
            raise
        if repeat >= 0:
            prefills.append(first)
            steps += later
    gc.enable()
    share = (time.process_time() - began[1]) / (time.perf_counter() - began[0])
    return Measurement(
        batch=batch,
        prompt_tokens=prompt_tokens,
        new_tokens=length - prompt_tokens,
        prefill=Spread.of(prefills),
        decode_step=Spread.of(steps),
        touched=tuple(float(count) for count in touched.mean(0)),
        peak_bytes=_peak(decoder.device),
        cache_bytes=cache_bytes,
        processor_share=share,
        clock=clock,
        routing=routing,
    )


def touched_by_step(
    decoder: Decoder, requests_BT: Tensor, prompt_tokens: int, forced: list[list[Tensor]] | None = None
) -> NDArray[np.int64]:
    """Distinct experts that each decode step reads.

    Args:
        decoder, requests_BT, prompt_tokens: as in ``measure``.
        forced: experts of the prefill and of every decode step, a tensor for each routed layer, in place of the
            router's choices.

    Returns:
        Counts, decode steps x routed layers.
    """
    length = requests_BT.shape[1]
    counts = []
    _, cache = decoder.prefill(requests_BT[:, :prompt_tokens], length - prompt_tokens, forced=_at(forced, 0))
    for step in range(length - prompt_tokens):
        routes: list[Tensor] = []
        ids_B1 = requests_BT[:, prompt_tokens + step, None]
        decoder.extend(cache, ids_B1, routes, _at(forced, 1 + step))
        counts.append([len(ids_RK.unique()) for ids_RK in routes])
    return np.array(counts, dtype=np.int64)


def timing_row(decoder: Decoder, found: Measurement, weights: str, text: str) -> dict[str, Any]:
    """A measurement as a row of the timing table.

    Args:
        decoder: the model that was measured.
        found: the measurement.
        weights: whose they are: ``trained`` or ``random``.
        text: what the requests were cut from: a corpus, or ``uniform`` tokens.
    """
    config = decoder.config
    parameters = count_parameters(config)
    row = {
        **config.to_dict(),
        "total_params": parameters.total,
        "active_params": parameters.active,
        "weights": weights,
        "routing": found.routing if config.is_moe else "dense",
        "text": text,
        "batch": found.batch,
        "prompt_tokens": found.prompt_tokens,
        "new_tokens": found.new_tokens,
        "prefill_seconds": found.prefill.median,
        "prefill_low": found.prefill.low,
        "prefill_high": found.prefill.high,
        "decode_step_seconds": found.decode_step.median,
        "decode_step_low": found.decode_step.low,
        "decode_step_high": found.decode_step.high,
        "tokens_per_second": found.tokens_per_second,
        "repeats": found.prefill.n,
        "clock": found.clock,
        "processor_share": found.processor_share,
        "peak_memory_bytes": found.peak_bytes,
        "cache_bytes": found.cache_bytes,
        "experts_touched": statistics.fmean(found.touched) if found.touched else 1.0,
        "experts_touched_by_layer": json.dumps([round(count, 3) for count in found.touched]),
        "dtype": "float32",
        "device": "cpu" if decoder.device.type == "cpu" else torch.cuda.get_device_name(decoder.device),
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "torch_version": torch.__version__,
        "code_version": __version__,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in row.items()}


def _serve(
    decoder: Decoder, requests_BT: Tensor, prompt_tokens: int, now: Callable[[], float],
    forced: list[list[Tensor]] | None,
) -> tuple[float, list[float], int]:  # fmt: skip
    """Serve the batch once: seconds of the prefill, of each decode step, and the cache's bytes."""
    length = requests_BT.shape[1]
    prompts_BT = requests_BT[:, :prompt_tokens].contiguous()
    columns = [column[:, None].contiguous() for column in requests_BT[:, prompt_tokens:].unbind(1)]
    with torch.inference_mode():
        _wait(decoder.device)
        start = now()
        logits_BV, cache = decoder.prefill(prompts_BT, length - prompt_tokens, forced=_at(forced, 0))
        logits_BV.argmax(-1)
        _wait(decoder.device)
        first = now() - start
        later = []
        for step, ids_B1 in enumerate(columns, start=1):
            start = now()
            decoder.extend(cache, ids_B1, forced=_at(forced, step)).argmax(-1)
            _wait(decoder.device)
            later.append(now() - start)
    return first, later, cache.bytes


def _uniform(decoder: Decoder, batch: int, prompt_tokens: int, length: int) -> list[list[Tensor]]:
    """K different experts for every token, each set as likely as any other: prefill, then every decode step."""
    config, generator = decoder.config, torch.Generator().manual_seed(0)
    rows = [batch * prompt_tokens] + [batch] * (length - prompt_tokens)
    return [
        [
            torch.rand(count, config.n_experts, generator=generator).topk(config.top_k).indices.to(decoder.device)
            for _ in range(decoder.routed_layers)
        ]
        for count in rows
    ]


def _at(forced: list[list[Tensor]] | None, step: int) -> list[Tensor] | None:
    """Experts to take in the prefill (0) or in a decode step, if they are not the router's."""
    return None if forced is None else forced[step]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _settle(device: torch.device) -> None:
    """Give back what earlier measurements left, and let the peak be counted from here."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        try:
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")
        except (AttributeError, OSError):  # another C library, or a kernel that keeps its peaks: an upper bound then
            pass


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
