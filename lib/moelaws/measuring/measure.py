"""Prefill and decode of one model, measured: times with their spread, memory, and the experts that each step touched.

Shape suffixes: B requests, T tokens of a request, K experts chosen per token.
"""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moelaws.allocator import keep_freed_memory
from moelaws.decoding.engine import AnyDecoder, make_decoder
from moelaws.decoding.sampling import choose
from moelaws.measuring.footprint import peak_bytes, settle
from moelaws.models import Transformer

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
    decoder: "Transformer | AnyDecoder",
    requests_BT: Tensor,
    prompt_tokens: int,
    repeats: int = 5,
    clock: Clock = "wall",
    routing: Routing = "router",
) -> Measurement:
    """Serve a batch several times.

    The model reads the requests' own continuations, whatever it would have said: what a step costs depends on the
    tokens through the experts alone, and a tiny model left to itself soon repeats one word, to one expert. A first
    round, which is not timed, counts the experts and warms up.

    Args:
        decoder: the model made ready for decoding; or a model, which is then made so by ``make_decoder``.
        requests_BT: prompts and their continuations, one a decode step.
        prompt_tokens: how many of the tokens are prompt.
        repeats: prefills measured, each followed by all decode steps.
        clock: ``processor`` counts only the time that the process itself had; it is for a busy machine and one thread.
        routing: ``uniform`` draws the experts of every token instead of asking the router.

    Returns:
        The measurement.

    Raises:
        ValueError: no token is left to decode, or fewer than one repeat.

    Examples:
        >>> from moelaws.config import ModelConfig
        >>> from moelaws.decoding.engine import make_decoder
        >>> config = ModelConfig(vocab_size=32, d_model=16, n_layers=1, n_heads=2, d_ff=32, context=32)
        >>> requests = torch.zeros(2, 12, dtype=torch.long)
        >>> found = measure(make_decoder(Transformer(config), "eager"), requests, prompt_tokens=8, repeats=1)
        >>> found.batch, found.new_tokens, found.decode_step.n
        (2, 4, 4)
    """
    decoder = make_decoder(decoder)
    batch, length = requests_BT.shape
    if not 1 <= prompt_tokens < length:
        raise ValueError(f"prompt of {prompt_tokens} tokens: expected 1 to {length - 1} of the requests' {length}")
    if repeats < 1:
        raise ValueError(f"repeats = {repeats}: expected a whole number >= 1")
    if clock == "processor" and decoder.device.type != "cpu":
        raise ValueError("the processor's clock does not see a GPU's work: take clock = 'wall'")
    requests_BT = requests_BT.to(decoder.device)
    forced = _uniform(decoder, batch, prompt_tokens, length) if routing == "uniform" else None
    keep_freed_memory()
    settle(decoder.device)
    touched = touched_by_step(decoder, requests_BT, prompt_tokens, forced)
    if hasattr(decoder, "reference"):
        _serve(decoder, requests_BT, prompt_tokens, _CLOCKS[clock], forced)  # its own warming up
    prefills: list[float] = []
    steps: list[float] = []
    cache_bytes = 0
    gc.disable()
    try:
        began = time.perf_counter(), time.process_time()
        for _ in range(repeats):
            first, later, cache_bytes = _serve(decoder, requests_BT, prompt_tokens, _CLOCKS[clock], forced)
            prefills.append(first)
            steps += later
    finally:
        gc.enable()
    share = (time.process_time() - began[1]) / (time.perf_counter() - began[0])
    return Measurement(
        batch=batch,
        prompt_tokens=prompt_tokens,
        new_tokens=length - prompt_tokens,
        prefill=Spread.of(prefills),
        decode_step=Spread.of(steps),
        touched=tuple(float(count) for count in touched.mean(0)),
        peak_bytes=peak_bytes(decoder.device),
        cache_bytes=cache_bytes,
        processor_share=share,
        clock=clock,
        routing=routing,
    )


def touched_by_step(
    decoder: AnyDecoder, requests_BT: Tensor, prompt_tokens: int, forced: list[Tensor] | None = None
) -> NDArray[np.int64]:
    """Distinct experts that each decode step reads.

    Args:
        decoder, requests_BT, prompt_tokens: as in ``measure``.
        forced: experts of the prefill and of every decode step, routed layers x rows x K, in place of the router's
            choices.

    Returns:
        Counts, decode steps x routed layers.
    """
    length = requests_BT.shape[1]
    counts = []
    # Another program does not tell its experts: for the same weights they are those of the decoder that defines them.
    decoder = getattr(decoder, "reference", decoder)
    _, cache = decoder.prefill(requests_BT[:, :prompt_tokens], length - prompt_tokens, forced=_at(forced, 0))
    for step in range(length - prompt_tokens):
        routes: list[Tensor] = []
        ids_B1 = requests_BT[:, prompt_tokens + step, None]
        decoder.extend(cache, ids_B1, routes, _at(forced, 1 + step))
        counts.append([len(ids_RK.unique()) for ids_RK in routes])
    return np.array(counts, dtype=np.int64)


def _serve(
    decoder: AnyDecoder, requests_BT: Tensor, prompt_tokens: int, now: Callable[[], float],
    forced: list[Tensor] | None,
) -> tuple[float, list[float], int]:  # fmt: skip
    """Serve the batch once: seconds of the prefill, of each decode step, and the cache's bytes."""
    length = requests_BT.shape[1]
    prompts_BT = requests_BT[:, :prompt_tokens].contiguous()
    columns = [column[:, None].contiguous() for column in requests_BT[:, prompt_tokens:].unbind(1)]
    with torch.inference_mode():
        _wait(decoder.device)
        start = now()
        logits_BV, cache = decoder.prefill(prompts_BT, length - prompt_tokens, forced=_at(forced, 0))
        choose(logits_BV)
        _wait(decoder.device)
        first = now() - start
        later = []
        for step, ids_B1 in enumerate(columns, start=1):
            start = now()
            choose(decoder.extend(cache, ids_B1, forced=_at(forced, step)))
            _wait(decoder.device)
            later.append(now() - start)
    return first, later, cache.bytes


def _uniform(decoder: AnyDecoder, batch: int, prompt_tokens: int, length: int) -> list[Tensor]:
    """K different experts for every token, each set as likely as any other: prefill, then every decode step."""
    config, generator = decoder.config, torch.Generator().manual_seed(0)
    rows = [batch * prompt_tokens] + [batch] * (length - prompt_tokens)
    return [
        torch.rand(decoder.routed_layers, count, config.n_experts, generator=generator)
        .topk(config.top_k)
        .indices.to(decoder.device)
        for count in rows
    ]


def _at(forced: list[Tensor] | None, step: int) -> Tensor | None:
    """Experts to take in the prefill (0) or in a decode step, if they are not the router's."""
    return None if forced is None else forced[step]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
