"""Byte-level BPE: text to token ids and back, without loss."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END_OF_TEXT = "<|endoftext|>"


def train_tokenizer(documents: tuple[str, ...], vocab_size: int) -> "Tokenizer":
    """Learn a BPE of at most so many token ids; a short text may support fewer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer


@lru_cache(maxsize=8)
def open_tokenizer(file: Path) -> "Tokenizer":
    """A tokenizer as the ``tokenizers`` library saved it."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(file))


def tokenize(tokenizer: "Tokenizer", documents: tuple[str, ...]) -> NDArray[np.uint16]:
    """Documents in order, each closed by the end-of-text token."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    encoded = tokenizer.encode_batch(list(documents), add_special_tokens=False)
    return np.array([token for e in encoded for token in (*e.ids, end)], dtype=np.uint16)


def detokenize(tokenizer: "Tokenizer", tokens: NDArray[np.uint16]) -> tuple[str, ...]:
    """The documents that ``tokenize`` was given."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    documents = np.split(tokens, np.flatnonzero(tokens == end) + 1)[:-1]
    return tuple(tokenizer.decode_batch([d[:-1].tolist() for d in documents], skip_special_tokens=False))


def bytes_of_tokens(tokenizer: "Tokenizer") -> NDArray[np.int64]:
    """Bytes of text that each token id stands for; 0 for end-of-text."""
    # In a byte-level BPE each character of a token's name stands for one byte of text.
    lengths = np.zeros(tokenizer.get_vocab_size(), dtype=np.int64)
    for name, token in tokenizer.get_vocab().items():
        lengths[token] = 0 if name == END_OF_TEXT else len(name)
    return lengths
