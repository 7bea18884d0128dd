"""Downstream probes: what a model can do with text it has not seen, beside its validation loss.

Abnar et al. 2025 (Sec. 5) find that at equal loss sparse models do worse at reading than at knowing. So one probe
asks for what stands in the context (``recall``), another for what stood in the training text (``facts``); the others
ask for words, sentences, order and structure. Models too small to answer from the context may still use it: three
probes of reading measure that in nats. Each gives a value, its standard error and the level of guessing.
"""

import json
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from moelaws.models import Transformer
from moelaws.probing import questions
from moelaws.probing.choosing import Answers, answer
from moelaws.probing.in_context import gain_from_mention, gains_from_rereading, read_windows
from moelaws.probing.lexicon import Lexicon, read_lexicon
from moelaws.probing.questions import Question
from moelaws.text.corpus import Corpus
from moelaws.text.heldout import HeldOut

PROBES: dict[str, Callable[[Sequence[str], Lexicon, int], list[Question]]] = {
    "cloze": questions.cloze,
    "recall": questions.recall,
    "facts": questions.facts,
    "continuation": questions.continuation,
    "word order": questions.word_order,
    "brackets": questions.brackets,
}
"""Multiple choice: each gives an ``accuracy`` and, in nats, a ``margin``."""

READING = ("mention", "same words", "same order")
"""Uses of the context, in nats: of a rare word's mention, of a passage's tokens, of their order."""

NAMES = (*PROBES, *READING, "text")
"""All probes, in the order of the table."""

PARTS = 20
"""Successive parts of a probe's items whose means are kept."""

_FEWEST = 30  # questions; with fewer a probe tells nothing


@dataclass(frozen=True)
class Measure:
    """One number that a probe found.

    Attributes:
        probe, domain, metric: which; see ``probe``.
        value: the number.
        se: its standard error.
        chance: the value of a guess without knowledge.
        items: questions, passages or sequences it is the mean of.
        parts: the means over twenty successive parts of the items, a JSON list: how the value differs between places
            of the text, and a means to compare two models question by question.
        expert_load: of the probe ``text``, the share of choices that each expert received on this domain, a JSON list
            per layer; ``[]`` for a dense model, empty for the other probes.
    """

    probe: str
    domain: str
    metric: str
    value: float
    se: float
    chance: float
    items: int
    parts: str
    expert_load: str = ""


def probe(
    model: Transformer,
    corpus: Corpus,
    others: Sequence[Corpus] = (),
    items: int = 200,
    names: Collection[str] = NAMES,
) -> pd.DataFrame:
    """Ask a model everything.

    Args:
        model: a model trained on the corpus.
        corpus: its text. The questions are about the held-out documents of each of its domains; those of a domain
            are the same in every corpus that has it.
        others: other texts, whose held-out part is read in the model's own tokens.
        items: questions in a probe at most.
        names: probes to make, of ``NAMES``.

    Returns:
        One row a probe, domain and metric: ``probe``, ``domain``, ``metric`` (``accuracy`` and ``margin`` of a choice,
        ``nats/word`` or ``nats/token`` of reading; the accuracy of ``mention`` is the share of words that their mention
        made likelier, ``bits/byte`` of the probe ``text``), ``value``, ``se`` (its
        standard error), ``chance`` (the value of a guess without knowledge), ``items`` (questions, passages or
        sequences), ``parts`` and ``expert_load``. A probe that a text has too few questions for is left out.
    """
    rows: list[Measure] = []
    for domain, *_ in corpus.domains:
        asked = build_questions(corpus, domain, items) if set(names) - {"same words", "same order", "text"} else {}
        for name in (name for name in asked if name in names):
            rows += _scores(answer(model, corpus, asked[name]), asked[name], name, domain)
        if "mention" in names and "recall" in asked:
            gains = gain_from_mention(model, corpus, asked["recall"])
            likelier = (gains > 0) + 0.5 * (gains == 0)
            rows += [_mean("mention", domain, "accuracy", likelier, 0.5)]
            rows += [_mean("mention", domain, "nats/word", gains, 0.0)]
        if {"same words", "same order"} & set(names):
            words, order = gains_from_rereading(model, corpus.held_out(domain), items)
            both = (_mean(name, domain, "nats/token", gains, 0.0) for name, gains in
                    (("same words", words), ("same order", order)))  # fmt: skip
            rows += [measure for measure in both if measure.probe in names]
    if "text" in names:
        own = (corpus.held_out(domain) for domain, *_ in corpus.domains)
        rows += [_read(model, text, items) for text in (*own, *(_transfer(corpus, other) for other in others))]
    return pd.DataFrame(rows, columns=list(Measure.__dataclass_fields__))


def probe_names(corpus: Corpus, items: int, names: Collection[str] = NAMES) -> list[tuple[str, str]]:
    """The probes and domains that ``probe`` has rows for, of those asked for.

    Args:
        corpus, items, names: as for ``probe``.
    """
    found = []
    for domain, *_ in corpus.domains:
        asked = build_questions(corpus, domain, items)
        there = {*asked, *(("mention",) if "recall" in asked else ()), "same words", "same order", "text"}
        found += [(name, domain) for name in NAMES if name in there and name in names]
    return found


def build_questions(corpus: Corpus, domain: str, items: int) -> dict[str, list[Question]]:
    """The questions of each probe about a domain's held-out text; made once, then remembered.

    Args:
        corpus: has the domain.
        domain: its name.
        items: questions in a probe at most.

    Returns:
        Probe -> questions, evenly from the whole text. Probes with fewer than 30 are left out.
    """
    return _build(_Text(corpus), domain, items)


class _Text:
    """A corpus by its fingerprint, so that what is made from it can be remembered."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Text) and other.corpus.sha256 == self.corpus.sha256

    def __hash__(self) -> int:
        return hash(self.corpus.sha256)


@lru_cache(maxsize=4)
def _build(text: _Text, domain: str, items: int) -> dict[str, list[Question]]:
    train, held_out = text.corpus.documents(domain)
    lexicon = read_lexicon(train)
    found = {name: make(held_out, lexicon, items) for name, make in PROBES.items()}
    return {name: asked for name, asked in found.items() if len(asked) >= min(_FEWEST, items)}


def _transfer(corpus: Corpus, other: Corpus) -> HeldOut:
    return _encode(_Text(corpus), _Text(other))


@lru_cache(maxsize=4)
def _encode(text: _Text, other: _Text) -> HeldOut:
    return text.corpus.transfer(other.corpus)


def _scores(answers: Answers, asked: list[Question], name: str, domain: str) -> tuple[Measure, Measure]:
    chance = sum(1 / len(question.choices) for question in asked) / len(asked)
    return (
        _mean(name, domain, "accuracy", answers.credits, chance),
        _mean(name, domain, "margin", answers.margins, 0.0),
    )


def _mean(name: str, domain: str, metric: str, values: NDArray[np.float64], chance: float) -> Measure:
    se = float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return Measure(name, domain, metric, float(values.mean()), se, chance, len(values), _parts(values))


def _parts(values: NDArray[np.float64]) -> str:
    parts = np.array_split(values, min(PARTS, len(values)))
    return json.dumps([round(float(part.mean()), 5) for part in parts])


def _read(model: Transformer, text: HeldOut, sequences: int) -> Measure:
    """Bits per byte of held-out text beside those of a uniform guess, and where its tokens went."""
    context = model.config.context
    windows = text.validation_windows(context, sequences * context)
    losses, load = read_windows(model, windows)
    bits_per_nat = windows[:, 1:].size / text.count_bytes(windows[:, 1:]) / math.log(2)
    measure = _mean(
        "text", text.name, "bits/byte", losses * bits_per_nat, bits_per_nat * math.log(model.config.vocab_size)
    )
    return replace(measure, expert_load=json.dumps([[round(share, 5) for share in layer] for layer in load]))
