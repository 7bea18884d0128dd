"""The decoder as one compiled function a step: no call of an operation, no allocation, each weight read once.

It is ``decoder.Decoder`` again, in fp32 on a CPU: the same prefill and steps, equal logits within rounding.

Shape suffixes: B requests, T time steps at hand, R = B T rows, K experts a token, L columns, V vocabulary.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moelaws.config import ModelConfig
from moelaws.decoding.cache import KeyValueCache, make_cache
from moelaws.decoding.compiled import places as at
from moelaws.decoding.compiled.compilation import compiled_step
from moelaws.decoding.compiled.packed import Packed, pack, padded
from moelaws.decoding.compiled.tiles import MOST_ROWS, PANEL
from moelaws.models import Transformer

_ROWS_AT_ONCE = 512
"""Rows that pass through the model together; a longer prompt comes in parts."""

_Floats = NDArray[np.float32]
_Ints = NDArray[np.int64]


@dataclass(kw_only=True)
class CompiledCache(KeyValueCache):
    """A key-value cache in flat memory.

    Attributes:
        flat: keys, values and rotations, as ``kernels.step`` takes them; ``keys`` and ``values`` are views of it.
        begins: first column of each request.
        last: embedding of each request's last token.
        ragged: whether requests begin in different columns.
    """

    flat: tuple[_Floats, _Floats, _Floats]
    begins: _Ints
    last: _Floats
    ragged: bool


def make_compiled_cache(config: ModelConfig, lengths: Sequence[int], room: int) -> CompiledCache:
    """An empty cache; as ``make_cache``.

    Raises:
        CacheError: no request, or an empty prompt.
    """
    plain = make_cache(config, lengths, room, torch.device("cpu"))
    layers, batch = config.n_layers, len(lengths)
    # A tile reads a whole number of vectors, at the end beyond the last one.
    keys, values = (torch.zeros(layers * each[0].numel() + PANEL) for each in (plain.keys, plain.values))
    hidden = plain.hidden_BL
    return CompiledCache(
        keys=list(keys[:-PANEL].view(layers, *plain.keys[0].shape)),
        values=list(values[:-PANEL].view(layers, *plain.values[0].shape)),
        turns=plain.turns,
        hidden_BL=hidden,
        flat=(keys.numpy(), values.numpy(), torch.view_as_real(plain.turns).reshape(-1).numpy()),
        begins=np.zeros(batch, np.int64) if hidden is None else hidden.sum(1).numpy(),
        last=np.zeros(batch * config.d_model, np.float32),
        ragged=hidden is not None,
    )


class CompiledDecoder:
    """Prefill and decode steps of one model, compiled by numba.

    Args:
        model: the model, on a CPU. Its weights are copied: training it further does not change the decoder.
        threads: that work on a step together.

    Attributes:
        config: the architecture.
        device: the CPU.
        threads: as given.
    """

    device = torch.device("cpu")

    def __init__(self, model: Transformer, threads: int = 1) -> None:
        if threads < 1:
            raise ValueError(f"threads = {threads}: expected a whole number >= 1")
        self.config = model.config
        self.threads = threads
        self._step = compiled_step()
        self._packed = pack(model)
        self._logits_step = padded(model.config.vocab_size)
        self._counter = np.zeros(8, np.int64)
        self._frame = np.zeros(len(at.FRAME), np.int64)
        self._work: _Work | None = None
        self._bound: CompiledCache | None = None
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(threads - 1, "decoder") if threads > 1 else None

    @property
    def routed_layers(self) -> int:
        """Layers with a router."""
        return int((self._packed.plan[:, at.ROUTER] >= 0).sum())

    def prefill(
        self,
        prompts: Sequence[Sequence[int]] | Tensor,
        room: int,
        routes: list[Tensor] | None = None,
        forced: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, CompiledCache]:
        """Read the prompts; arguments, results and errors as those of ``Decoder.prefill``."""
        cache = make_compiled_cache(self.config, [len(prompt) for prompt in prompts], room)
        if isinstance(prompts, Tensor):
            ids_BT = prompts
        else:
            longest = max(map(len, prompts))
            ids_BT = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
        return self.extend(cache, ids_BT, routes, forced), cache

    def extend(
        self,
        cache: CompiledCache,
        ids_BT: Tensor,
        routes: list[Tensor] | None = None,
        forced: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Read so many more tokens of every request; arguments, results and errors as those of ``Decoder.extend``."""
        batch, time = ids_BT.shape
        if time * batch > _ROWS_AT_ONCE and time > 1:
            return self._in_parts(cache, ids_BT, routes, forced)
        logits_BV, chosen = self._run(cache, ids_BT, None if forced is None else _stacked(forced))
        if routes is not None and self.routed_layers:
            shape = (self.routed_layers, batch * time, self.config.top_k)
            routes += torch.from_numpy(chosen[: math.prod(shape)].reshape(shape).copy()).unbind(0)
        return logits_BV

    def _in_parts(
        self, cache: CompiledCache, ids_BT: Tensor, routes: list[Tensor] | None, forced: Sequence[Tensor] | None
    ) -> Tensor:
        """Many tokens, a stretch of every request at a time."""
        batch, time = ids_BT.shape
        cache.claim(time)  # refused before anything is filled
        length = max(1, _ROWS_AT_ONCE // batch)
        parts: list[list[Tensor]] = []
        for first in range(0, time, length):
            stretch = slice(first, first + length)
            these = forced and [ids_RK.unflatten(0, (batch, time))[:, stretch].flatten(0, 1) for ids_RK in forced]
            parts.append([])
            logits_BV = self.extend(cache, ids_BT[:, stretch], parts[-1], these)
        if routes is not None:
            for layer in zip(*parts, strict=True):
                whole = torch.cat([ids_RK.unflatten(0, (batch, -1)) for ids_RK in layer], dim=1)
                routes.append(whole.flatten(0, 1))
        return logits_BV

    def _run(self, cache: CompiledCache, ids_BT: Tensor, forced: _Ints | None) -> tuple[Tensor, _Ints]:
        """One call of the compiled function: logits, and the experts chosen, in memory that the next call needs."""
        batch, time = ids_BT.shape
        start, end = cache.claim(time)
        ids_BT = ids_BT.to(torch.int64).contiguous()
        logits_BV = torch.empty(batch, self._logits_step)
        frame = self._frame
        with self._lock:
            if self._bound is not cache or self._work is None or batch * time > self._work.rows:
                self._bind(cache, batch * time)
            work = cast(_Work, self._work)
            chosen = work.chosen if forced is None else forced
            frame[at.AT_IDS], frame[at.AT_LOGITS] = ids_BT.data_ptr(), logits_BV.data_ptr()
            frame[at.AT_CHOSEN], frame[at.FORCED] = (
                chosen.ctypes.data if forced is not None else work.chosen_at,
                forced is not None,
            )
            frame[at.TIME], frame[at.START] = time, start
            others = []
            if self._pool is not None:
                others = [self._pool.submit(self._step, frame, thread) for thread in range(1, self.threads)]
            wrong = self._step(frame, 0)
            for other in others:
                other.result()
        if wrong >= 0:
            raise IndexError(f"token {int(ids_BT.flatten()[wrong])}: expected 0 to {self.config.vocab_size - 1}")
        cache.length = end
        if self._logits_step != self.config.vocab_size:
            logits_BV = logits_BV[:, : self.config.vocab_size]
        return logits_BV, chosen

    def _bind(self, cache: CompiledCache, rows: int) -> None:
        """Put into the frame what stays as it is from step to step."""
        before = self._work
        if before is None or rows > before.rows or cache.capacity > before.columns:
            most = (
                (rows, cache.capacity)
                if before is None
                else (max(rows, before.rows), max(cache.capacity, before.columns))
            )
            self._work = _make_work(self.config, self._packed, *most, self.threads)
        work, frame = cast(_Work, self._work), self._frame
        arrays = (
            self._packed.weights, self._packed.plan, work.sizes, work.floats, work.ints, *cache.flat, cache.begins,
            cache.last,
        )  # fmt: skip
        frame[: len(arrays)] = [array.ctypes.data for array in arrays]
        frame[at.AT_COUNTER], frame[at.LAYERS], frame[at.TEAM] = (
            self._counter.ctypes.data,
            len(self._packed.plan),
            self.threads,
        )
        frame[at.BATCH], frame[at.CAPACITY], frame[at.RAGGED] = len(cache.begins), cache.capacity, cache.ragged
        self._bound = cache


@dataclass(frozen=True)
class _Work:
    """Working memory of a step of at most so many rows, with at most so many columns."""

    rows: int
    columns: int
    sizes: _Ints
    floats: _Floats
    ints: _Ints
    chosen: _Ints
    chosen_at: int


def _make_work(config: ModelConfig, model: Packed, rows: int, columns: int, threads: int) -> _Work:
    """Allocate; the order of ``sizes`` is that of ``kernels.SIZES``."""
    width, plan = padded(config.d_model), model.plan
    experts = int(plan[:, at.N_EXPERTS].max())
    hidden = padded(int(max(plan[:, at.HIDDEN].max(), plan[:, at.SHARED_HIDDEN].max())))
    of_experts = rows * (config.top_k + int((plan[:, at.SHARED] >= 0).any()))
    scores = max(columns + PANEL, MOST_ROWS * padded(experts))
    tile = MOST_ROWS * PANEL + padded(config.head_dim)
    parts = {
        "x": rows * width, "h": rows * width, "qkv": rows * padded(3 * config.d_model), "mixed": rows * width,
        "gates": rows * config.top_k, "act": of_experts * hidden, "y": of_experts * width,
    }  # fmt: skip
    places, end = {}, 0
    for name, length in parts.items():
        places[name], end = end, end + -(-length // PANEL) * PANEL
    own_scores = -(-of_experts * width // PANEL) * PANEL
    own_tile = own_scores + -(-scores // PANEL) * PANEL
    own = own_tile + -(-tile // PANEL) * PANEL
    ints = experts + 1 + rows * config.top_k
    sizes: list[Any] = [
        config.d_model, config.n_heads, config.top_k, config.vocab_size, config.renormalize_top_k, False,
        model.embedding, model.shift_gain, model.unembedding, experts, width, padded(3 * config.d_model),
        padded(config.vocab_size), hidden, padded(experts), *places.values(), end, own, own_scores, own_tile, ints,
    ]  # fmt: skip
    floats = torch.zeros(end + threads * own + PANEL).numpy()
    chosen = np.zeros(max(1, int((plan[:, at.ROUTER] >= 0).sum()) * rows * config.top_k), np.int64)
    return _Work(
        rows, columns, np.array(sizes, np.int64), floats, np.zeros(threads * ints, np.int64), chosen, chosen.ctypes.data
    )


def _stacked(forced: Sequence[Tensor]) -> _Ints:
    """Experts to take, of all layers in turn."""
    layers = [ids_RK.to(torch.int64).flatten() for ids_RK in forced]
    return torch.cat(layers).numpy() if layers else np.zeros(1, np.int64)
