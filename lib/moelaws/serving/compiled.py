"""The decoder as one compiled function a step: no call of an operation, no allocation, each weight read once.

It is ``decoder.Decoder`` again, in fp32 on a CPU: the same prefill and steps, equal logits within rounding.

Shape suffixes: B requests, T time steps at hand, R = B T rows, K experts a token, L columns, V vocabulary.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moelaws.config import ModelConfig
from moelaws.models import Transformer
from moelaws.serving.cache import KeyValueCache, make_cache
from moelaws.serving.compilation import compiled_step
from moelaws.serving.packed import HIDDEN, N_EXPERTS, ROUTER, SHARED, SHARED_HIDDEN, Packed, pack, padded
from moelaws.serving.tiles import MOST_ROWS, PANEL

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
        self._counter = np.zeros(8, np.int64)
        self._work: _Work | None = None
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(threads - 1, "decoder") if threads > 1 else None

    @property
    def routed_layers(self) -> int:
        """Layers with a router."""
        return int((self._packed.plan[:, ROUTER] >= 0).sum())

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
        at_once = max(1, _ROWS_AT_ONCE // batch)
        if time <= at_once:
            logits_BV, chosen = self._run(cache, ids_BT, _stacked(forced))
            parts = [chosen]
        else:
            cache.claim(time)  # before anything is filled
            parts = []
            for first in range(0, time, at_once):
                part_BT = ids_BT[:, first : first + at_once]
                these = None if forced is None else [
                    ids.view(batch, time, -1)[:, first : first + at_once].reshape(-1, ids.shape[1]) for ids in forced
                ]  # fmt: skip
                logits_BV, chosen = self._run(cache, part_BT, _stacked(these))
                parts.append(chosen)
        if routes is not None and self.routed_layers:
            layers, top_k = self.routed_layers, self.config.top_k
            whole = np.concatenate([part.reshape(layers, batch, -1, top_k) for part in parts], axis=2)
            routes += torch.from_numpy(whole.reshape(layers, -1, top_k)).unbind(0)
        return logits_BV

    def _run(self, cache: CompiledCache, ids_BT: Tensor, forced: _Ints | None) -> tuple[Tensor, _Ints]:
        """One call of the compiled function: logits, and the experts chosen."""
        batch, time = ids_BT.shape
        start, end = cache.claim(time)
        ids = np.ascontiguousarray(ids_BT.numpy(), dtype=np.int64).reshape(-1)
        logits_BV = torch.empty(batch, padded(self.config.vocab_size))
        with self._lock:
            work = self._working_memory(batch * time, cache.capacity)
            chosen = np.empty(self.routed_layers * batch * time * self.config.top_k, np.int64) if forced is None else forced
            arguments = (
                self._packed.weights, self._packed.plan, work.sizes, work.floats, work.ints, *cache.flat, cache.begins,
                cache.last, ids, chosen, logits_BV.numpy().reshape(-1), self._counter, batch, time, start,
                cache.capacity, int(cache.ragged), int(forced is not None),
            )  # fmt: skip
            others = [] if self._pool is None else [
                self._pool.submit(self._step, *arguments, thread, self.threads) for thread in range(1, self.threads)
            ]  # fmt: skip
            wrong = self._step(*arguments, 0, self.threads)
            for other in others:
                other.result()
        if wrong >= 0:
            raise IndexError(f"token {ids[wrong]}: expected 0 to {self.config.vocab_size - 1}")
        cache.length = end
        return logits_BV[:, : self.config.vocab_size], chosen

    def _working_memory(self, rows: int, columns: int) -> "_Work":
        if self._work is None or rows > self._work.rows or columns > self._work.columns:
            before = self._work
            rows, columns = max(rows, before.rows if before else 0), max(columns, before.columns if before else 0)
            self._work = _make_work(self.config, self._packed, rows, columns, self.threads)
        return self._work


@dataclass(frozen=True)
class _Work:
    """Working memory of a step of at most so many rows, with at most so many columns."""

    rows: int
    columns: int
    sizes: _Ints
    floats: _Floats
    ints: _Ints


def _make_work(config: ModelConfig, model: Packed, rows: int, columns: int, threads: int) -> _Work:
    """Allocate; the order of ``sizes`` is that of ``kernels.SIZES``."""
    width, plan = padded(config.d_model), model.plan
    experts = int(plan[:, N_EXPERTS].max())
    hidden = padded(int(max(plan[:, HIDDEN].max(), plan[:, SHARED_HIDDEN].max())))
    of_experts = rows * (config.top_k + int((plan[:, SHARED] >= 0).any()))
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
        model.embedding, model.shift_gain, model.unembedding, experts, *places.values(), hidden, end, own, own_scores,
        own_tile, ints,
    ]  # fmt: skip
    floats = torch.zeros(end + threads * own + PANEL).numpy()
    return _Work(rows, columns, np.array(sizes, np.int64), floats, np.zeros(threads * ints, np.int64))


def _stacked(forced: Sequence[Tensor] | None) -> _Ints | None:
    """Experts to take, of all layers in turn."""
    if forced is None:
        return None
    return torch.stack(list(forced)).to(torch.int64).reshape(-1).numpy() if len(forced) else np.zeros(0, np.int64)
