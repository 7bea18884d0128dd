"""A language whose entropy is known exactly: a random Markov source of order 2 over Zipf-distributed words.

The next word is, with fixed probabilities, the successor of the last two words (one entry of a random table with
V^2 rows), the successor of the last word (a table with V rows), or a fresh draw from Zipf's law. The tables are facts
to be learned. How often a fact is needed is about the product of the frequencies of two words, so facts run from
common to rare without a gap, and a model that can store more of them has a lower loss.

The same language on every machine: each probability is a whole number over 2^16, Zipf's law is computed in decimal
arithmetic, and what is random is the raw 64-bit output of PCG64, which NumPy keeps from version to version. Floating
point enters with the entropies alone.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moelaws.text.batches import Windows
from moelaws.text.documents import CorpusError
from moelaws.text.entropy import Floats, Transitions, entropies, perfect_losses, stationary_pairs

LANGUAGE = "zipf-markov"

_SCALE = 1 << 16  # the probabilities' common denominator
_CHAINS = 512  # texts written side by side; part of the language, because it decides the order of the windows
_FORGOTTEN = 1e-9  # a text begins when its distance (total variation) to the stationary state is below this
_TABLES, _TRAINING, _VALIDATION = range(3)  # what a stream of random numbers is for


@dataclass(frozen=True)
class ZipfMarkov:
    """A synthetic language; see the module for what it does.

    Attributes:
        vocab_size: number of words, V.
        order2: probability that the next word is the successor of the last two.
        order1: probability that it is the successor of the last one; the rest are fresh draws.
        zipf: exponent s of Zipf's law, in which word r = 1, 2, ... has a weight of r^-s. Successors are drawn from
            the same law.
        seed: draws the tables of successors.

    Raises:
        CorpusError: a value out of range, by name.
    """

    vocab_size: int = 128
    order2: float = 0.55
    order1: float = 0.2
    zipf: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        self._check("V", 2 <= self.vocab_size <= 2048, "a whole number from 2 to 2048")
        self._check("order2", 0 <= self.order2 <= 1, "a probability")
        self._check("order1", 0 <= self.order1 <= 1, "a probability")
        self._check("order1", round(self.order2 + self.order1, 9) <= 0.95,
                    "at most 0.95 together with order2, so that one word in twenty is a fresh draw")  # fmt: skip
        self._check("zipf", 0 <= self.zipf <= 2, "a number from 0 to 2")
        self._check("seed", 0 <= self.seed < 1 << 32, "a whole number from 0 to 2^32 - 1")

    def _check(self, setting: str, condition: bool, expected: str) -> None:
        if not condition:
            raise CorpusError(f"{LANGUAGE}: {setting} = {getattr(self, _SETTINGS[setting][0])}: expected {expected}")

    @property
    def name(self) -> str:
        """The name that ``parse_language`` reads: whatever differs from the default language."""
        changed = [
            f"{setting}={getattr(self, field)}"
            for setting, (field, _) in _SETTINGS.items()
            if getattr(self, field) != getattr(ZipfMarkov, field)
        ]
        return LANGUAGE + (":" + ",".join(changed) if changed else "")

    @cached_property
    def sha256(self) -> str:
        """Fingerprint of the tables and of the first validation windows, hence of the generator too."""
        digest = hashlib.sha256(f"{LANGUAGE} {self._weights}".encode())
        for array in (self._zipf_V, self._second_VV, self._first_V, self.validation_windows(32, 32 * 32)):
            digest.update(array.astype("<i8").tobytes())
        return digest.hexdigest()

    def require(self, batch_sequences: int, context: int) -> None:
        """A language is never too short."""

    def batches(self, batch_sequences: int, context: int, seed: int) -> Iterator[Windows]:
        """Training batches without end, in which nothing is read twice.

        The windows and their order depend on ``context`` and ``seed``; the batch size only cuts them into batches.

        Args:
            batch_sequences: windows in a batch.
            context: tokens predicted in a window.
            seed: of the run.

        Yields:
            Token ids, batch_sequences x (context + 1): the first ``context`` are read, the last ``context`` predicted.
        """
        blocks = self._blocks(context, _TRAINING, seed)
        waiting = np.empty((0, context + 1), dtype=np.int64)
        while True:
            missing = math.ceil((batch_sequences - len(waiting)) / _CHAINS)
            waiting = np.concatenate([waiting, *(next(blocks) for _ in range(missing))])
            while len(waiting) >= batch_sequences:
                yield waiting[:batch_sequences]
                waiting = waiting[batch_sequences:]

    def validation_windows(self, context: int, validation_tokens: int) -> Windows:
        """The windows every run is measured on: independent of each other and of all training text.

        Args:
            context: tokens predicted in a window.
            validation_tokens: how many tokens to predict; fewer windows are the first ones of more.

        Returns:
            Token ids, windows x (context + 1).
        """
        wanted = max(1, validation_tokens // context)
        # The windows of one block belong to different texts; other blocks are taken from other streams.
        blocks = [next(self._blocks(context, _VALIDATION, number)) for number in range(math.ceil(wanted / _CHAINS))]
        return np.concatenate(blocks)[:wanted]

    def pool(self, context: int, tokens: int) -> int:
        """Distinct training tokens for a run of so many tokens: all of them, so that a run is one epoch."""
        return tokens

    def count_bytes(self, ids: Windows) -> int:
        """0: the words have no spelling, and a loss per byte has no meaning."""
        return 0

    @cached_property
    def entropies(self) -> tuple[float, float, float]:
        """Entropy of the next word in nats, given no, one, and two (as good as all) words before it; good to 1e-12."""
        return entropies(self._transitions, self._stationary)

    def perfect_losses(self, windows: Windows) -> Floats:
        """The losses of a perfect model, token by token.

        What a model loses beyond these on the same windows is its reducible loss without the luck of the draw. For a
        model 0.46 nats above the entropy of the default language that was two thirds of the variance of its loss.

        Args:
            windows: token ids, windows x (context + 1).

        Returns:
            -ln p of each predicted token, nats, windows x context.
        """
        return perfect_losses(self._transitions, self._stationary, windows)

    def perfect_loss(self, context: int, validation_tokens: int) -> float:
        """The loss of a perfect model on the validation windows, nats per token.

        Every run is measured on the same windows, so this, not the entropy, is what the losses of ever better runs
        come to; the two differ by the luck of the draw (0.011 nats for 65,536 tokens of the default language).
        """
        return float(self.perfect_losses(self.validation_windows(context, validation_tokens)).mean())

    @cached_property
    def _stationary(self) -> Floats:
        return stationary_pairs(self._transitions)

    @property
    def _transitions(self) -> Transitions:
        two, one = self._weights
        fresh_V = (_SCALE - two - one) / _SCALE * (self._zipf_V / _SCALE)
        return Transitions(self._second_VV, self._first_V, fresh_V, two / _SCALE, one / _SCALE)

    @property
    def _weights(self) -> tuple[int, int]:
        """The probabilities of the two tables, in units of 2^-16."""
        return round(self.order2 * _SCALE), round(self.order1 * _SCALE)

    @cached_property
    def _zipf_V(self) -> NDArray[np.int64]:
        """Zipf's law in units of 2^-16, at least 1 a word; what rounding leaves goes to the most frequent word."""
        exact = Context(prec=40)  # powers in floating point differ between machines
        weights = [exact.power(Decimal(rank), -Decimal(str(self.zipf))) for rank in range(1, self.vocab_size + 1)]
        total = exact.divide(sum(weights, start=Decimal(0)), Decimal(_SCALE))
        shares = np.array([max(1, int(exact.divide(weight, total))) for weight in weights])
        shares[0] += _SCALE - shares.sum()
        return shares

    @cached_property
    def _draw(self) -> NDArray[np.int64]:
        """The word of each of the 2^16 equally probable fresh draws."""
        return np.repeat(np.arange(self.vocab_size), self._zipf_V)

    @cached_property
    def _successors(self) -> NDArray[np.int64]:
        """V successors of words, then V^2 successors of pairs."""
        bits = _generator(self.seed, _TABLES).random_raw(self.vocab_size * (self.vocab_size + 1))
        return self._draw[bits & np.uint64(_SCALE - 1)]

    @property
    def _first_V(self) -> NDArray[np.int64]:
        return self._successors[: self.vocab_size]

    @property
    def _second_VV(self) -> NDArray[np.int64]:
        return self._successors[self.vocab_size :].reshape(self.vocab_size, self.vocab_size)

    def _blocks(self, context: int, purpose: int, number: int) -> Iterator[Windows]:
        """Successive windows of independent texts, written side by side; blocks of texts x (context + 1)."""
        generator = _generator(self.seed, purpose, number)
        two, one = (weight / _SCALE for weight in self._weights)
        # A fresh word, and after it one that is fresh too or hangs on it alone: what was before is forgotten.
        forget = (1 - two - one) * (1 - two)
        warmup = 2 * math.ceil(math.log(_FORGOTTEN) / math.log(1 - forget)) if forget < 1 else 2
        words = self._write(generator, np.zeros((2, _CHAINS), dtype=np.int64), warmup)
        while True:
            words = self._write(generator, words[-2:], context)
            yield np.ascontiguousarray(words[1:].T)

    def _write(self, generator: np.random.PCG64, last_two: Windows, length: int) -> Windows:
        """Write on from the last two words of each text; (2 + length) x texts."""
        two, one = self._weights
        second, first = self._second_VV.ravel(), self._first_V
        bits = generator.random_raw(length * last_two.shape[1]).reshape(length, -1)
        kind = bits >> np.uint64(48)
        by_two, by_one = kind < two, kind < two + one
        words = np.concatenate([last_two, self._draw[bits & np.uint64(_SCALE - 1)]])
        for t in range(length):
            a, b, new = words[t : t + 3]
            np.copyto(new, first[b], where=by_one[t])
            np.copyto(new, second[a * self.vocab_size + b], where=by_two[t])
        return words


# Setting in a language's name -> field and kind.
_SETTINGS: dict[str, tuple[str, type[int] | type[float]]] = {
    "V": ("vocab_size", int),
    "order2": ("order2", float),
    "order1": ("order1", float),
    "zipf": ("zipf", float),
    "seed": ("seed", int),
}


def is_language(source: str | Path) -> bool:
    """Whether a corpus's name is that of a synthetic language."""
    return isinstance(source, str) and source.partition(":")[0] == LANGUAGE


def parse_language(name: str) -> ZipfMarkov:
    """The language that a corpus's name describes.

    Args:
        name: ``zipf-markov``, with settings behind a colon: ``zipf-markov:V=256,order2=0.6,seed=1``. The settings are
            V, order2, order1, zipf and seed, as the fields of ``ZipfMarkov``; those left out have its defaults.

    Raises:
        CorpusError: another name, an unknown or repeated setting, or a value that cannot be used.
    """
    language, colon, settings = name.partition(":")
    if language != LANGUAGE:
        raise CorpusError(f"{name}: no such language; expected {LANGUAGE}, or {LANGUAGE}:V=256,seed=1")
    values: dict[str, float] = {}
    for setting in settings.split(",") if colon else []:
        key, _, value = (part.strip() for part in setting.partition("="))
        if key not in _SETTINGS:
            raise CorpusError(f"{name}: {setting!r} is no setting; expected {'=..., '.join(_SETTINGS)}=...")
        field, kind = _SETTINGS[key]
        if field in values:
            raise CorpusError(f"{name}: {key} is set twice")
        try:
            values[field] = kind(value)
        except ValueError:
            expected = "a whole number" if kind is int else "a number"
            raise CorpusError(f"{name}: {key} = {value or 'nothing'}: expected {expected}") from None
    return ZipfMarkov(**values)  # type: ignore[arg-type]


def _generator(*key: int) -> np.random.PCG64:
    return np.random.PCG64(np.random.SeedSequence(key))
