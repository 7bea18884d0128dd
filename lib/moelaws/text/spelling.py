"""A text in the tokens of a tokenizer that it did not make, for models that were trained with that."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moelaws.text.corpus import Corpus
from moelaws.text.documents import CorpusError
from moelaws.text.storage import fingerprint
from moelaws.text.tokenizer import END_OF_TEXT, bytes_of_tokens, open_tokenizer


def spelled(corpus: Corpus, tokenizer_file: Path, tokens: int) -> Corpus:
    """Some of a text in the tokens of another tokenizer, for models that were trained with that.

    Args:
        corpus: the text.
        tokenizer_file: as the ``tokenizers`` library saves it.
        tokens: how many of its training tokens to spell anew, in whole documents drawn by ``Corpus.part``, and
            of its held-out ones, from the first.

    Raises:
        CorpusError: the file is no tokenizer, has no end-of-text token, or more token ids than two bytes hold.
    """
    train = corpus.part(min(tokens, len(corpus.train))).train
    ends = np.flatnonzero(corpus.validation == corpus.validation[-1]) + 1
    validation = corpus.validation[: int(ends[np.searchsorted(ends[:-1], tokens)])]
    found = [_spelled(tokenizer_file, corpus.decode(each)) for each in (train, validation)]
    return replace(
        corpus, train=found[0], validation=found[1], token_bytes=bytes_of_tokens(open_tokenizer(tokenizer_file)),
        sha256=fingerprint(*found), tokenizer_file=tokenizer_file,
        domains=((corpus.name, len(found[0]), len(found[1])),),
    )  # fmt: skip


def _spelled(file: Path, documents: Iterable[str]) -> NDArray[np.uint16]:
    """What ``tokenize`` does, by somebody's tokenizer, which need not be a byte-level BPE."""
    try:
        tokenizer = open_tokenizer(file)
    except Exception as error:  # the library raises nothing narrower
        raise CorpusError(f"{file}: no tokenizer as the tokenizers library saves it") from error
    end, most = tokenizer.token_to_id(END_OF_TEXT), np.iinfo(np.uint16).max
    if end is None:
        raise CorpusError(f"{file}: no token {END_OF_TEXT!r}, which closes a document")
    if tokenizer.get_vocab_size() > most + 1:
        raise CorpusError(f"{file}: {tokenizer.get_vocab_size()} token ids; expected at most {most + 1}")
    encoded = tokenizer.encode_batch(list(documents), add_special_tokens=False)
    return np.concatenate([np.array([*each.ids, end], dtype=np.uint16) for each in encoded])
