"""Requests to measure with: pieces of held-out text, or uniform tokens.

Shape suffixes: B requests, T tokens of a request.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moelaws.text.corpus import Corpus

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
PROMPT, NEW = 64, 32
HELD_OUT_SHARE = 0.5
"""Share of the held-out text that loads are counted on; requests are cut from the rest."""


@dataclass(frozen=True)
class Requests:
    """Where requests come from: held-out text, or uniform tokens where there is none.

    Attributes:
        name: the corpus, or ``uniform``.
        vocab_size: V.
        tokens: the text; empty for uniform tokens.
    """

    name: str
    vocab_size: int
    tokens: NDArray[np.uint16]

    def draw(self, batch: int, length: int, seed: int = 0) -> Tensor:
        """So many pieces of text that do not overlap, from places drawn at random: B x T.

        Raises:
            ValueError: the text is too short.
        """
        rng = np.random.default_rng((seed, batch))
        if not self.tokens.size:
            return torch.from_numpy(rng.integers(self.vocab_size, size=(batch, length)))
        places = len(self.tokens) // length
        if places < batch:
            raise ValueError(f"{self.name}: {batch} requests of {length} tokens: the held-out text has {places}")
        starts = rng.choice(places, batch, replace=False) * length
        return torch.from_numpy(self.tokens[starts[:, None] + np.arange(length)].astype(np.int64))


def requests_of(corpus: Corpus) -> Requests:
    """Requests from the second half of a corpus's held-out text."""
    return Requests(corpus.name, corpus.vocab_size, corpus.validation[int(HELD_OUT_SHARE * len(corpus.validation)) :])


def uniform_requests(vocab_size: int) -> Requests:
    """Requests of tokens drawn evenly: the text of a model that has learned nothing."""
    return Requests("uniform", vocab_size, np.empty(0, np.uint16))
