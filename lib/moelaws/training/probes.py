"""Downstream probes: what a model can do with text it has not seen, beside its validation loss.

Abnar et al. 2025 (Sec. 5) find that at equal loss sparse models do worse at reading than at knowing. So one probe
asks for what stands in the context (``recall``), another for what stood in the training text (``facts``); the others
ask for words, sentences, order and structure. Models too small to answer from the context may still use it: three
probes of reading measure that in nats. Each gives a value, its standard error and the level of guessing.
"""

import json
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from moelaws.models import Transformer
from moelaws.training import questions
from moelaws.training.choosing import answer
from moelaws.training.corpus import Corpus
from moelaws.training.heldout import HeldOut
from moelaws.training.lexicon import Lexicon, read_lexicon
from moelaws.training.questions import Question
from moelaws.training.reading import gain_from_mention, gains_from_rereading
from moelaws.training.validate import validate

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
        ``nats/word`` or ``nats/token`` of reading, ``bits/byte`` of the probe ``text``), ``value``, ``se`` (its
        standard error), ``chance`` (the value of a guess without knowledge), ``items`` (questions, passages or
        sequences) and ``expert_load``. A probe that a text has too few questions for is left out.
    """
    rows: list[Measure] = []
    for domain, *_ in corpus.domains:
        asked = build_questions(corpus, domain, items) if set(names) - {"same words", "same order", "text"} else {}
        for name in (name for name in asked if name in names):
            rows += _choose(model, corpus, asked[name], name, domain)
        if "mention" in names and "recall" in asked:
            gains = gain_from_mention(model, corpus, asked["recall"])
            rows.append(_mean("mention", domain, "nats/word", gains, 0.0))
        if {"same words", "same order"} & set(names):
            words, order = gains_from_rereading(model, corpus.held_out(domain), items)
            both = (_mean(name, domain, "nats/token", gains, 0.0) for name, gains in
                    (("same words", words), ("same order", order)))  # fmt: skip
            rows += [measure for measure in both if measure.probe in names]
    if "text" in names:
        own = (corpus.held_out(domain) for domain, *_ in corpus.domains)
        rows += [_read(model, text, items) for text in (*own, *(_transfer(corpus, other) for other in others))]
    return pd.DataFrame(rows, columns=list(Measure.__dataclass_fields__))
