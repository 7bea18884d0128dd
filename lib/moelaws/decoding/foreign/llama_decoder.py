"""llama.cpp as a decoder: the same model, written as GGUF. A CPU alone.

Shape suffixes: B requests, T tokens, V vocabulary.
"""

import ctypes
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moelaws.decoding.decoder import Decoder
from moelaws.decoding.foreign.llama_library import Batch, LlamaError, context_parameters, library
from moelaws.decoding.foreign.saved_model import ForeignCache, ForeignError, refuse_routes, same_length, saved
from moelaws.exchange.gguf.gguf_file import export_gguf
from moelaws.models import Transformer

_NAME = "llama.cpp"
_STRETCH = 256  # it makes caches of multiples of so many tokens


class LlamaDecoder:
    """A model read by llama.cpp; used like ``Decoder``, but that experts are neither told nor forced.

    A step hands over tokens and takes logits through Python, some ten microseconds that a program of its own would
    not spend.

    Args:
        model: on the CPU; it is written to a file that llama.cpp reads, and is not changed.
        threads: of llama.cpp.
        exact: cache and attention in fp32, as ours; by llama.cpp's own defaults both are in fp16, which moves logits by
            about .01.

    Raises:
        ForeignError, LlamaError, ConfigFileError: llama.cpp is not here, or cannot hold the model.
    """

    engine = _NAME

    def __init__(self, model: Transformer, threads: int = 1, exact: bool = True) -> None:
        self.config, self.threads, self.exact = model.config, threads, exact
        self.device = torch.device("cpu")
        self.reference = Decoder(model)
        self._llama = library()
        self._context: int | None = None
        self._holds = (0, 0, 0)
        self._rows: _Rows | None = None
        with saved(model, _NAME) as folder:
            file = folder.parent / "model.gguf"
            export_gguf(folder, file)
            self._model = self._llama.llama_model_load_from_file(
                os.fsencode(file), self._llama.llama_model_default_params()
            )
        if not self._model:
            raise LlamaError(f"{_NAME} does not read the model that was written for it")

    @property
    def routed_layers(self) -> int:
        """Layers with a router."""
        return self.reference.routed_layers

    def prefill(
        self, prompts: Sequence[Sequence[int]] | Tensor, room: int, routes: list[Tensor] | None = None,
        forced: Any = None,
    ) -> tuple[Tensor, Any]:  # fmt: skip
        """Read the prompts, all of one length; arguments and results as those of ``Decoder.prefill``."""
        refuse_routes(_NAME, routes, forced)
        ids_BT = same_length(prompts, _NAME)
        batch, time = ids_BT.shape
        self._make_room(batch, time + room, batch * time)
        self._llama.llama_memory_clear(self._llama.llama_get_memory(self._context), False)
        cache = ForeignCache(
            0, (8 if self.exact else 4) * batch * self._holds[1] * self.config.n_layers * self.config.d_model
        )
        return self.extend(cache, ids_BT), cache

    def extend(self, cache: Any, ids_BT: Tensor, routes: list[Tensor] | None = None, forced: Any = None) -> Tensor:
        """Read so many more tokens of every request; arguments and results as those of ``Decoder.extend``."""
        refuse_routes(_NAME, routes, forced)
        batch, time = ids_BT.shape
        if self._rows is None or self._rows.shape != (batch, time):
            self._rows = _Rows(batch, time)
        rows = self._rows
        rows.tokens[:] = ids_BT.reshape(-1).numpy()
        rows.places[:] = rows.steps + cache.length
        failed = self._llama.llama_decode(self._context, rows.batch)
        if failed:
            raise ForeignError(f"{_NAME} does not decode a batch of {batch} x {time} tokens: its code {failed}")
        cache.length += time
        found = self._llama.llama_get_logits(self._context)
        view = (ctypes.c_float * (batch * self.config.vocab_size)).from_address(found)
        return torch.frombuffer(view, dtype=torch.float32).view(batch, -1).clone()

    def _make_room(self, batch: int, length: int, rows: int) -> None:
        """A context for so many requests, of so many tokens each, and so many rows at once."""
        wanted = (batch, -(-length // _STRETCH) * _STRETCH, rows)
        if self._context and self._holds[0] == batch and self._holds[1] == wanted[1] and self._holds[2] >= rows:
            return
        self._free_context()
        parameters = context_parameters(self._llama, wanted[1], rows, batch, self.exact)
        self._context = self._llama.llama_init_from_model(self._model, parameters)
        if not self._context:
            raise ForeignError(f"{_NAME} makes no context for {batch} requests of {length} tokens")
        self._llama.llama_set_n_threads(self._context, self.threads, self.threads)
        self._holds = wanted

    def _free_context(self) -> None:
        if self._context:
            self._llama.llama_free(self._context)
            self._context = None

    def __del__(self) -> None:
        if getattr(self, "_model", None):
            self._free_context()
            self._llama.llama_model_free(self._model)


class _Rows:
    """The rows of a step, laid out once: request after request, the last token of each with logits."""

    def __init__(self, batch: int, time: int) -> None:
        self.shape, count = (batch, time), batch * time
        self.tokens, self.places = np.zeros(count, np.int32), np.zeros(count, np.int32)
        self.steps = np.tile(np.arange(time, dtype=np.int32), batch)
        self._sequences = np.repeat(np.arange(batch, dtype=np.int32), time)
        self._ones = np.ones(count, np.int32)
        address, size = self._sequences.ctypes.data, self._sequences.itemsize
        self._each = np.arange(count, dtype=np.int64) * size + address
        self._wanted = (self.steps == time - 1).astype(np.int8)
        arrays = (self.tokens, None, self.places, self._ones, self._each, self._wanted)
        self.batch = Batch(count, *(array.ctypes.data if array is not None else None for array in arrays))
