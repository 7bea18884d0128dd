"""The words of a training text: how often each occurs, what follows what, and which words are alike."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

WORD = re.compile(r"[^\W\d_]+(?:'[a-z]+)?|\d+|[^\w\s]+|_+")  # a word, a number, or a run of punctuation

_RARE_AS = 3.0  # words alike differ in frequency by this factor at most


@dataclass(frozen=True)
class Lexicon:
    """The words of a text, numbered in order of first appearance.

    Attributes:
        words: each word (number, punctuation) once.
        counts: how often each occurs.
        text: the text as numbers of words.
    """

    words: tuple[str, ...]
    counts: NDArray[np.int64]
    text: NDArray[np.int64]

    def count(self, word: str) -> int:
        """How often a word occurs."""
        number = self._numbers.get(word)
        return 0 if number is None else int(self.counts[number])

    def alike(self, word: str, wanted: int, avoid: set[str]) -> tuple[str, ...]:
        """Other words of the same length, the same initial case, and nearly the same frequency.

        Args:
            word: a word of the text.
            wanted: how many.
            avoid: words that will not do.

        Returns:
            The nearest in frequency first, from both sides; fewer than wanted if there are no more.
        """
        rows = self._kinds[_kind(word)]
        place = self._places[self._numbers[word]]
        own = self.count(word)
        found: list[str] = []
        for distance in range(1, len(rows)):
            near = [rows[i] for i in (place - distance, place + distance) if 0 <= i < len(rows)]
            close = [i for i in near if own / _RARE_AS <= self.counts[i] <= own * _RARE_AS]
            found += [self.words[i] for i in close if self.words[i] not in avoid]
            if len(found) >= wanted or not close:
                break
        return tuple(found[:wanted])

    def followers(self, words: Sequence[str]) -> dict[str, int]:
        """What followed three successive words, and how often."""
        a, b, c = (self._numbers.get(word, -1) for word in words)
        if min(a, b, c) < 0:
            return {}
        order, keys = self._triples
        key = (a * len(self.words) + b) * len(self.words) + c
        first, last = np.searchsorted(keys, (key, key + 1))
        if first == last:
            return {}
        counts = Counter(self.text[order[first:last] + 3].tolist())
        return {self.words[number]: count for number, count in counts.items()}

    def stands_after(self, before: str, word: str) -> bool:
        """Whether one word ever followed another."""
        a, b = self._numbers.get(before, -1), self._numbers.get(word, -1)
        if min(a, b) < 0:
            return False
        place = np.searchsorted(self._pairs, a * len(self.words) + b)
        return bool(place < len(self._pairs) and self._pairs[place] == a * len(self.words) + b)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    @cached_property
    def _kinds(self) -> dict[tuple[int, bool], list[int]]:
        """Words of one length and initial case, in order of frequency."""
        kinds: dict[tuple[int, bool], list[int]] = {}
        for number in np.argsort(-self.counts, kind="stable"):
            if self.words[number].isalpha():
                kinds.setdefault(_kind(self.words[number]), []).append(int(number))
        return kinds

    @cached_property
    def _places(self) -> dict[int, int]:
        """Of each word, by its number, the place among its kind."""
        return {number: place for rows in self._kinds.values() for place, number in enumerate(rows)}

    @cached_property
    def _pairs(self) -> NDArray[np.int64]:
        """Keys of the pairs of words that occur, each as often as it does, sorted."""
        return np.sort(self.text[:-1] * len(self.words) + self.text[1:])

    @cached_property
    def _triples(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places in the text in order of the three words that stand there, and these words' keys."""
        size = len(self.words)
        keys = (self.text[:-3] * size + self.text[1:-2]) * size + self.text[2:-1]
        order = np.argsort(keys, kind="stable")
        return order, keys[order]


def read_lexicon(documents: Sequence[str]) -> Lexicon:
    """Number the words of some documents."""
    text = [word for document in documents for word in WORD.findall(document)]
    numbers = {word: number for number, word in enumerate(dict.fromkeys(text))}
    array = np.fromiter(map(numbers.__getitem__, text), np.int64, len(text))
    return Lexicon(tuple(numbers), np.bincount(array, minlength=len(numbers)), array)


def _kind(word: str) -> tuple[int, bool]:
    return len(word), word[0].isupper()
