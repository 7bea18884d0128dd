"""Multiple-choice questions about held-out text, made from it by rule: no labels, no chance, no model.

The wrong answers are words of the same length, initial case and frequency in the training text, so that word
frequency alone gives the level of guessing. Answers take turns in their place among the choices.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from moelaws.probing.lexicon import WORD, Lexicon

CONTEXT_BYTES = 160  # of the text before the answer; 50 to 70 tokens of a BPE of 1,024
_WRONG = 3
_NEARBY = 30  # sentences of nearly the same length to choose from, on both sides
T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """One choice.

    Attributes:
        context: the text before; empty if the choices are whole sentences.
        choices: what may come next.
        answer: number of the true one.
    """

    context: str
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True)
class _Place:
    """A word of a text that a question may ask for."""

    text: str
    words: Sequence[re.Match[str]]
    number: int

    @property
    def word(self) -> str:
        return self.words[self.number].group()

    @property
    def context(self) -> str:
        return _context(self.text, self.words[self.number].start() - 1)

    def before(self, count: int) -> list[str]:
        """The words just before, in order."""
        return [match.group() for match in self.words[self.number - count : self.number]]

    @property
    def ends_sentence(self) -> bool:
        after = self.words[self.number + 1].group() if self.number + 1 < len(self.words) else ""
        return after[:1] in {".", "?", "!"}


def cloze(documents: Sequence[str], lexicon: Lexicon, wanted: int) -> list[Question]:
    """Last words: which word ends the sentence? (After LAMBADA, Paperno et al. 2016.)"""
    places = (p for p in _places(documents, 4) if p.ends_sentence)
    return _ask(places, lexicon, wanted)


def recall(documents: Sequence[str], lexicon: Lexicon, wanted: int) -> list[Question]:
    """Reading: the answer is a rare word that stands in the context, after a word it never followed in training."""
    rare = max(1.0, lexicon.counts.sum() * 1e-4)

    def stands_in_context(place: _Place) -> bool:
        context = place.context
        if place.word not in context:  # as part of a word or as one: most words are told apart without finding words
            return False
        earlier = WORD.findall(context)
        return place.word in earlier[:-3] and not lexicon.stands_after(place.before(1)[0], place.word)

    places = (p for p in _places(documents, 5) if 0 < lexicon.count(p.word) <= rare)
    return _ask((p for p in places if stands_in_context(p)), lexicon, wanted)


def facts(documents: Sequence[str], lexicon: Lexicon, wanted: int) -> list[Question]:
    """Memory: three words that in training were nearly always followed by the same fourth, which is the answer here.

    The answer does not stand in the context. Each group of three words is asked once, each answer up to three times.
    """
    asked: Counter[tuple[str, ...]] = Counter()

    def was_learned(place: _Place) -> bool:
        three, word = tuple(place.before(3)), place.word
        if asked[three] or asked[(word,)] >= 3 or not all(w.isalpha() for w in three):
            return False
        followers = lexicon.followers(three)
        if followers.get(word, 0) < max(4, 0.8 * sum(followers.values())) or word in WORD.findall(place.context):
            return False
        asked[three] += 1
        asked[(word,)] += 1
        return True

    places = (p for p in _places(documents, 4) if was_learned(p))
    return _ask(places, lexicon, wanted)


def continuation(documents: Sequence[str], lexicon: Lexicon, wanted: int) -> list[Question]:
    """Coherence: which sentence comes next, this one or one of three equally long ones of other documents?"""
    sentences = [
        (len(span.group()), number, span.start())
        for number, text in enumerate(documents)
        for span in _SENTENCE.finditer(text)
        if 40 <= len(span.group()) <= 120 and span.start() > CONTEXT_BYTES and text[span.start() - 1] == " "
    ]
    sentences.sort()
    drafts = []
    for place, (length, number, start) in enumerate(sentences):
        nearby = range(max(0, place - _NEARBY), min(len(sentences), place + _NEARBY + 1))
        others: dict[int, tuple[int, int, int]] = {}  # one a document
        for other in (sentences[i] for i in sorted(nearby, key=lambda i: abs(i - place))):
            if other[1] != number and abs(other[0] - length) <= 1:
                others.setdefault(other[1], other)
        if len(others) >= _WRONG:
            choices = [(length, number, start), *list(others.values())[:_WRONG]]
            texts = [" " + documents[n][s : s + size] for size, n, s in choices]
            drafts.append((number, start, _context(documents[number], start - 1), texts))
    drafts.sort(key=lambda draft: draft[:2])  # again in the order of the text
    return _turn([(context, texts) for _, _, context, texts in drafts], wanted)


def word_order(documents: Sequence[str], lexicon: Lexicon, wanted: int) -> list[Question]:
    """Grammar: the sentence as it stands, or with two neighbouring words in its middle exchanged?"""
    drafts = []
    for text in documents:
        for span in _SENTENCE.finditer(text):
            sentence = span.group()
            pairs = [m for m in _TWO_WORDS.finditer(sentence) if m.start() > 8 and m[1] != m[2]]
            if 50 <= len(sentence) <= 150 and "\n" not in sentence and pairs:
                pair = pairs[len(pairs) // 2]
                exchanged = f"{sentence[: pair.start()]}{pair[2]} {pair[1]}{sentence[pair.end() :]}"
                drafts.append(("", [sentence, exchanged]))
    return _turn(drafts, wanted)


def brackets(documents: Sequence[str], lexicon: Lexicon, wanted: int) -> list[Question]:
    """Structure: which bracket closes here? As many round ones as square and curly ones."""
    closers = {"(": ")", "[": "]", "{": "}"}
    found: dict[str, list[str]] = {closer: [] for closer in closers.values()}
    for text in documents:
        opened: list[tuple[str, int]] = []
        for match in re.finditer(r"[()\[\]{}]|\n\s*\n", text):
            symbol, at = match.group(), match.start()
            if symbol in closers:
                opened.append((closers[symbol], at))
            elif not opened or opened[-1][0] != symbol:
                opened = []  # a paragraph ends, or this is no well-formed text
            elif 3 <= at - opened.pop()[1] <= CONTEXT_BYTES // 2:
                found[symbol].append(_context(text, at))
    each = min(wanted // len(found), *map(len, found.values()))
    rows = zip(*(_spread(contexts, each) for contexts in found.values()), strict=True)
    return [Question(context, tuple(found), number) for row in rows for number, context in enumerate(row)]


_SENTENCE = re.compile(r"(?<![^\s])[A-Z][^.!?]*[a-z][.!?](?=\s)")
_TWO_WORDS = re.compile(r"\b([a-z]+) ([a-z]+)\b")


def _places(documents: Sequence[str], letters: int) -> Iterator[_Place]:
    """Words of so many letters or more with a space before them and enough context, from all documents in order."""
    for text in documents:
        words = list(WORD.finditer(text))
        for number, match in enumerate(words):
            start, end = match.span()
            if (
                end - start >= letters
                and start > CONTEXT_BYTES
                and text[start - 1] == " "
                and text[start - 2] > " "
                and match.group().isalpha()
            ):
                yield _Place(text, words, number)


def _ask(places: Iterator[_Place], lexicon: Lexicon, wanted: int) -> list[Question]:
    """Questions for words that enough other words are like."""
    drafts = []
    for place in places:
        if lexicon.count(place.word):
            context = place.context
            wrong = lexicon.alike(place.word, _WRONG, {place.word, *WORD.findall(context)})
            if len(wrong) == _WRONG:
                drafts.append((context, [f" {word}" for word in (place.word, *wrong)]))
    return _turn(drafts, wanted)


def _context(text: str, end: int) -> str:
    """The text before a place, from the beginning of a word on."""
    window = text[max(0, end - CONTEXT_BYTES) : end]
    return window if len(window) == end else window[re.search(r"\s|$", window).end() :]  # type: ignore[union-attr]


def _turn(drafts: Sequence[tuple[str, list[str]]], wanted: int) -> list[Question]:
    """Choose evenly among drafts, whose true answers come first, and put these to places that take turns."""
    questions = []
    for number, (context, (true, *others)) in enumerate(_spread(drafts, wanted)):
        answer = number % (1 + len(others))
        questions.append(Question(context, (*others[:answer], true, *others[answer:]), answer))
    return questions


def _spread(items: Sequence[T], wanted: int) -> list[T]:
    """So many items, evenly from the whole."""
    wanted = min(wanted, len(items))
    return [items[i * len(items) // wanted] for i in range(wanted)]
