"""The key-value cache: what attention keeps of every request, allocated once, filled column by column.

Shape suffixes: B requests, H heads, P head width, T time steps at hand, L columns of the cache; J = D / 2 pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moelaws.config import ModelConfig
from moelaws.models.attention import rotary_table


class CacheError(ValueError):
    """A cache is asked for something it has no room for."""


@dataclass
class KeyValueCache:
    """Keys and values of every layer. Requests of unequal length end in the same column and begin in different ones.

    Attributes:
        keys: one a layer, B x H x P x L: laid out so that the scores of one query are one product.
        values: one a layer, B x H x L x P.
        turns: rotation of each column's queries and keys, 2 x 1 x L x J, or 2 x B x L x J with unequal lengths. Those
            of the queries carry the attention's scale.
        hidden_BL: columns before a request's first token; ``None`` if there are none.
        length: columns filled.
        last_B1D: embedding of the last column's tokens, for a token shift.
    """

    keys: list[Tensor]
    values: list[Tensor]
    turns: Tensor
    hidden_BL: Tensor | None
    length: int = 0
    last_B1D: Tensor | None = None

    @property
    def capacity(self) -> int:
        """Columns there are."""
        return int(self.values[0].shape[2])

    @property
    def bytes(self) -> int:
        """Memory of keys and values."""
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values))

    def claim(self, columns: int) -> tuple[int, int]:
        """The next so many columns, as first and after the last.

        Raises:
            CacheError: there are not so many left.
        """
        if self.length + columns > self.capacity:
            raise CacheError(
                f"the cache has {self.capacity} columns, {self.length} are filled and {columns} more were asked for"
            )
        return self.length, self.length + columns

    def mask(self, start: int, end: int) -> Tensor | None:
        """What is added to the scores of the columns from ``start`` to before ``end``: 0, or minus infinity.

        Returns:
            1 or B x 1 x T x L, or ``None`` where nothing is hidden, or only the future of a first prompt.
        """
        several = end - start > 1
        if self.hidden_BL is None and (not several or start == 0):
            return None
        device = self.values[0].device
        query, key = torch.arange(start, end, device=device), torch.arange(end, device=device)
        hidden = (key > query[:, None])[None, None]
        if self.hidden_BL is not None:
            hidden = hidden | self.hidden_BL[:, None, None, :end]
            if several:  # a query before its request's first token sees itself: a softmax over nothing is no number
                hidden = hidden & (key != query[:, None])
        return torch.zeros(hidden.shape, device=device).masked_fill_(hidden, -torch.inf)


def make_cache(config: ModelConfig, lengths: Sequence[int], room: int, device: torch.device) -> KeyValueCache:
    """An empty cache, in fp32.

    Args:
        config: gives layers, heads and rotations.
        lengths: tokens of each request's prompt; the shorter ones are padded on the left.
        room: columns for what follows the prompts.
        device: where it lies.

    Raises:
        CacheError: no request, or an empty prompt.
    """
    if not lengths or min(lengths) < 1:
        raise CacheError(f"prompts of {list(lengths)} tokens: expected one or more, each of at least one token")
    batch, longest = len(lengths), max(lengths)
    capacity = longest + room
    shape = (batch, config.n_heads, capacity, config.head_dim)
    padding_B = torch.tensor([longest - length for length in lengths], device=device)
    ragged = bool(padding_B.any())
    columns = torch.arange(capacity, device=device)
    turn_LJ = rotary_table(config, columns)
    turns = torch.stack((turn_LJ * config.head_dim**-0.5, turn_LJ)).unsqueeze(1)
    if ragged:
        turns = turns[:, 0, (columns - padding_B[:, None]).clamp_(min=0)]
    return KeyValueCache(
        keys=[torch.empty(shape, device=device).transpose(2, 3).contiguous() for _ in range(config.n_layers)],
        values=[torch.empty(shape, device=device) for _ in range(config.n_layers)],
        turns=turns,
        hidden_BL=columns < padding_B[:, None] if ragged else None,
    )
