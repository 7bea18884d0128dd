"""The decoder as one compiled function a step: no call of an operation, no allocation, each weight read once.

It is ``decoding.decoder`` again, in fp32 on a CPU: the same prefill and steps, equal logits within rounding.

Shape suffixes: B requests, T time steps at hand, R = B T rows, K experts a token, V vocabulary.
"""

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moelaws.decoding.cache import CacheError, KeyValueCache
from moelaws.decoding.compiled import places as at
from moelaws.decoding.compiled.compiled_step import compiled_step
from moelaws.decoding.compiled.flat_cache import FlatCache, make_flat_cache
from moelaws.decoding.compiled.packed import pack, padded
from moelaws.decoding.compiled.working_memory import working_memory
from moelaws.models import Transformer

_ROWS_AT_ONCE = 512
"""Rows that pass through the model together; a longer prompt comes in parts."""


class CompiledDecoder:
    """Prefill and decode steps of one model, compiled by numba.

    Args:
        model: the model, on a CPU. Its weights are copied: training it further does not change the decoder.
        threads: that work on a step together. A step of less than a tenth of a millisecond is done sooner by one.

    Attributes:
        config: the architecture.
        device: the CPU.
        threads: as given.

    Raises:
        ValueError: fewer than one thread.
    """

    engine = "compiled"
    device = torch.device("cpu")

    def __init__(self, model: Transformer, threads: int = 1) -> None:
        if threads < 1:
            raise ValueError(f"threads = {threads}: expected a whole number >= 1")
        self.config = model.config
        self.threads = threads
        self._step = compiled_step()
        self._packed = pack(model)
        self._logits_step = padded(model.config.vocab_size)
        self._counter = np.zeros(2, np.int64)
        self._frame = np.zeros(len(at.FRAME), np.int64)
        self._memory = working_memory(self.config, self._packed, 1, 1, threads)
        self._cache: FlatCache | None = None
        self._lock = Lock()
        self._others = ThreadPoolExecutor(threads - 1, "decoder") if threads > 1 else None

    @property
    def routed_layers(self) -> int:
        """Layers with a router."""
        return int((self._packed.plan[:, at.ROUTER] >= 0).sum())

    def prefill(
        self,
        prompts: Sequence[Sequence[int]] | Tensor,
        room: int,
        routes: list[Tensor] | None = None,
        forced: Sequence[Tensor] | Tensor | None = None,
    ) -> tuple[Tensor, FlatCache]:
        """Read the prompts; arguments, results and errors as those of ``Decoder.prefill``."""
        cache = make_flat_cache(self.config, [len(prompt) for prompt in prompts], room)
        if not isinstance(prompts, Tensor):
            longest = max(map(len, prompts))
            prompts = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
        return self.extend(cache, prompts, routes, forced), cache

    def extend(
        self,
        cache: KeyValueCache,
        ids_BT: Tensor,
        routes: list[Tensor] | None = None,
        forced: Sequence[Tensor] | Tensor | None = None,
    ) -> Tensor:
        """Read so many more tokens of every request; arguments, results and errors as those of ``Decoder.extend``."""
        batch, time = ids_BT.shape
        if not isinstance(cache, FlatCache):
            raise CacheError("the cache is another decoder's: expected one from this decoder's prefill")
        if time > 1 and batch * time > _ROWS_AT_ONCE:
            return self._in_parts(cache, ids_BT, routes, forced)
        if ids_BT.dtype is not torch.int64 or not ids_BT.is_contiguous():
            ids_BT = ids_BT.to(torch.int64).contiguous()
        logits_BV = torch.empty(batch, self._logits_step)
        given = None if forced is None else _flat(forced)
        with self._lock:
            wrong = self._run(cache, ids_BT, logits_BV, given)
            if routes is not None and wrong == at.DONE:
                shape = (self.routed_layers, batch * time, self.config.top_k)
                chosen = self._memory.chosen if given is None else given
                routes += torch.from_numpy(chosen[: math.prod(shape)].reshape(shape).copy()).unbind()
        if wrong >= 0:
            raise IndexError(f"token {int(ids_BT.flatten()[wrong])}: expected 0 to {self.config.vocab_size - 1}")
        if wrong == at.WRONG_EXPERT:
            raise IndexError(f"forced: an expert that is none; expected 0 to {self.config.n_experts - 1}")
        return logits_BV if self._logits_step == self.config.vocab_size else logits_BV[:, : self.config.vocab_size]

    def _in_parts(
        self, cache: FlatCache, ids_BT: Tensor, routes: list[Tensor] | None, forced: Sequence[Tensor] | Tensor | None
    ) -> Tensor:
        """Many tokens, a stretch of every request at a time."""
        batch, time = ids_BT.shape
        cache.claim(time)  # refused before anything is filled
        length = max(1, _ROWS_AT_ONCE // batch)
        parts: list[list[Tensor]] = []
        for first in range(0, time, length):
            stretch = slice(first, first + length)
            these = None
            if forced is not None:
                these = [ids_RK.unflatten(0, (batch, time))[:, stretch].flatten(0, 1) for ids_RK in forced]
            parts.append([])
            logits_BV = self.extend(cache, ids_BT[:, stretch], parts[-1], these)
        if routes is not None:
            for layer in zip(*parts, strict=True):
                routes.append(torch.cat([ids_RK.unflatten(0, (batch, -1)) for ids_RK in layer], dim=1).flatten(0, 1))
        return logits_BV

    def _run(self, cache: FlatCache, ids_BT: Tensor, logits_BV: Tensor, given: NDArray[np.int64] | None) -> int:
        """One call of the compiled function; returns what ``decode_step.step`` returns."""
        batch, time = ids_BT.shape
        start, end = cache.claim(time)
        if cache is not self._cache or batch * time > self._memory.rows:
            self._bind(cache, batch * time)
        frame = self._frame
        frame[at.AT_IDS], frame[at.AT_LOGITS] = ids_BT.data_ptr(), logits_BV.data_ptr()
        frame[at.TIME], frame[at.START], frame[at.FORCED] = time, start, given is not None
        if given is not None:
            frame[at.AT_CHOSEN] = given.ctypes.data
        try:
            wrong = self._step(frame, 0) if self._others is None else self._together(self._others)
        finally:
            if given is not None:
                frame[at.AT_CHOSEN] = self._memory.chosen.ctypes.data
        if wrong == at.DONE:
            cache.length = end
        return wrong

    def _together(self, pool: ThreadPoolExecutor) -> int:
        """The step by all threads; none is left waiting for one that never came."""
        others: list[Future[int]] = []
        try:
            for thread in range(1, self.threads):
                others.append(pool.submit(self._step, self._frame, thread))
            wrong = self._step(self._frame, 0)
        except BaseException:
            self._counter[1] = 1
            wait(others)
            self._counter[:] = 0
            raise
        wait(others)
        return wrong

    def _bind(self, cache: FlatCache, rows: int) -> None:
        """Put into the frame what stays as it is from step to step."""
        memory = self._memory
        if rows > memory.rows or cache.capacity > memory.columns:
            most = max(rows, memory.rows), max(cache.capacity, memory.columns)
            memory = self._memory = working_memory(self.config, self._packed, *most, self.threads)
        arrays: dict[int, NDArray[Any]] = {
            at.AT_WEIGHTS: self._packed.weights, at.AT_PLAN: self._packed.plan, at.AT_SIZES: memory.sizes,
            at.AT_FLOATS: memory.floats, at.AT_INTS: memory.ints, at.AT_KEYS: cache.flat[0],
            at.AT_VALUES: cache.flat[1], at.AT_TURNS: cache.flat[2], at.AT_BEGINS: cache.begins,
            at.AT_LAST: cache.last, at.AT_CHOSEN: memory.chosen, at.AT_COUNTER: self._counter,
        }  # fmt: skip
        numbers = {
            at.LAYERS: self.config.n_layers, at.BATCH: len(cache.begins), at.CAPACITY: cache.capacity,
            at.RAGGED: cache.hidden_BL is not None, at.TEAM: self.threads,
        }  # fmt: skip
        for place, number in ({place: array.ctypes.data for place, array in arrays.items()} | numbers).items():
            self._frame[place] = number
        self._cache = cache


def _flat(forced: Sequence[Tensor] | Tensor) -> NDArray[np.int64]:
    """Experts to take, of all layers in turn."""
    if isinstance(forced, Tensor):
        return forced.reshape(-1).numpy()
    layers = [ids_RK.to(torch.int64).flatten() for ids_RK in forced]
    return torch.cat(layers).numpy() if layers else np.zeros(1, np.int64)
