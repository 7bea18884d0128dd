"""Held-out text of one domain, in the tokens of the corpus that a model was trained on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moelaws.text.batches import Windows, validation_windows


@dataclass(frozen=True)
class HeldOut:
    """Text to measure a model on; ``validate`` takes it in the place of a corpus.

    Losses in nats per token compare models that share a tokenizer; bits per byte compare across tokenizers.

    Attributes:
        name: of the domain.
        validation: its held-out tokens.
        token_bytes: bytes of text that each token id stands for.
    """

    name: str
    validation: NDArray[np.uint16]
    token_bytes: NDArray[np.int64]

    def validation_windows(self, context: int, validation_tokens: int) -> Windows:
        """Evenly spaced windows of the held-out text; see ``batches.validation_windows``."""
        return validation_windows(self.validation, context, validation_tokens)

    def count_bytes(self, ids: Windows) -> int:
        """Bytes of text that the tokens stand for."""
        return int(self.token_bytes[ids].sum())
