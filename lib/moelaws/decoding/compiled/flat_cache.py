"""The key-value cache of compiled decoding: that of ``decoding.cache``, in memory that compiled code can address.

Shape suffixes: B requests, D model width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from moelaws.allocator import in_large_pages
from moelaws.config import ModelConfig
from moelaws.decoding.cache import KeyValueCache, make_cache
from moelaws.kernels.tiles import PANEL

_LARGE = 1 << 20  # numbers


@dataclass(kw_only=True)
class FlatCache(KeyValueCache):
    """A key-value cache whose tensors are views of flat memory.

    Attributes:
        flat: keys and values of all layers, and the rotations as real numbers.
        begins: first column of each request, B.
        last: embedding of each request's last token, B x D, flat; for a token shift.
        columns: there are.
    """

    flat: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
    begins: NDArray[np.int64]
    last: NDArray[np.float32]
    columns: int

    @property
    def capacity(self) -> int:
        """Columns there are, without asking a tensor: a step is that short."""
        return self.columns


def _zeros(count: int) -> torch.Tensor:
    """Memory of so many numbers; in large pages where it is large, as the weights are."""
    if count < _LARGE:
        return torch.zeros(count)
    return torch.from_numpy(np.frombuffer(in_large_pages(4 * count), np.float32))


def make_flat_cache(config: ModelConfig, lengths: Sequence[int], room: int) -> FlatCache:
    """An empty cache; arguments as those of ``make_cache``.

    Raises:
        CacheError: no request, or an empty prompt.
    """
    plain = make_cache(config, lengths, room, torch.device("cpu"))
    layers, batch = config.n_layers, len(lengths)
    # A tile reads a whole number of vectors, at the end beyond the last number.
    keys, values = (_zeros(layers * each[0].numel() + PANEL) for each in (plain.keys, plain.values))
    hidden_BL = plain.hidden_BL
    return FlatCache(
        keys=list(keys[:-PANEL].view(layers, *plain.keys[0].shape)),
        values=list(values[:-PANEL].view(layers, *plain.values[0].shape)),
        turns=plain.turns,
        hidden_BL=hidden_BL,
        flat=(keys.numpy(), values.numpy(), torch.view_as_real(plain.turns).reshape(-1).numpy()),
        begins=np.zeros(batch, np.int64) if hidden_BL is None else hidden_BL.sum(1).numpy(),
        last=np.zeros(batch * config.d_model, np.float32),
        columns=plain.capacity,
    )
