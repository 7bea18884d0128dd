"""Byte-level BPE: text to token ids and back, without loss."""

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END_OF_TEXT = "<|endoftext|>"

# The words that ByteLevel cuts a text into, for ASCII without control characters of other kinds.
_WORD = re.compile(
    r"'(?:[stmd]|re|ve|ll)| ?[A-Za-z]+| ?[0-9]+| ?[^ \t\n\rA-Za-z0-9]+|[ \t\n\r]+(?![^ \t\n\r])|[ \t\n\r]+"
)
_PLAIN = re.compile(r"[\t\n\r -~]*")


def train_tokenizer(documents: Iterable[str], vocab_size: int) -> "Tokenizer":
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


class _Words(dict[str, bytes]):
    """Token ids of the words met so far, as the bytes of 16-bit numbers.

    A byte-level BPE never merges across words and a text has few distinct ones, so that looking words up is ten times
    as fast as encoding the text.
    """

    def __init__(self, tokenizer: "Tokenizer") -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def __missing__(self, word: str) -> bytes:
        ids = np.array(self._tokenizer.encode(word, add_special_tokens=False).ids, dtype=np.uint16).tobytes()
        self[word] = ids
        return ids


def tokenize(tokenizer: "Tokenizer", documents: Iterable[str]) -> NDArray[np.uint16]:
    """Documents in order, each closed by the end-of-text token; its name in a text is text like any other."""
    end = np.array([tokenizer.token_to_id(END_OF_TEXT)], dtype=np.uint16).tobytes()
    spelled, tokenizer.encode_special_tokens = tokenizer.encode_special_tokens, True
    words = _Words(tokenizer)
    tokens = bytearray()
    try:
        for document in documents:
            if _PLAIN.fullmatch(document):
                tokens += b"".join(map(words.__getitem__, _WORD.findall(document)))
            else:
                tokens += words.__missing__(document)
                del words[document]
            tokens += end
    finally:
        tokenizer.encode_special_tokens = spelled
    return np.frombuffer(tokens, dtype=np.uint16)


def detokenize(tokenizer: "Tokenizer", tokens: NDArray[np.uint16]) -> tuple[str, ...]:
    """The documents that ``tokenize`` was given."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    documents = np.split(tokens, np.flatnonzero(tokens == end) + 1)[:-1]
    return tuple(tokenizer.decode_batch([d[:-1].tolist() for d in documents], skip_special_tokens=False))


def bytes_of_tokens(tokenizer: "Tokenizer") -> NDArray[np.int64]:
    """Bytes of text that each token id stands for; 0 for end-of-text."""
    # In a byte-level BPE each character of a token's name stands for one byte of text.
    vocabulary = tokenizer.get_vocab()
    lengths = np.zeros(max(vocabulary.values()) + 1, dtype=np.int64)
    for name, token in vocabulary.items():
        lengths[token] = 0 if name == END_OF_TEXT else len(name)
    return lengths
