"""Downstream probes: what a model can do with text it has not seen, beside its validation loss.

Abnar et al. 2025 (Sec. 5) find that at equal loss sparse models do worse at reading than at knowing. So one probe
asks for what stands in the context (``recall``), another for what stood in the training text (``facts``); the others
ask for words, sentences, order and structure. Each gives a value, its standard error and the level of guessing.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import pandas as pd

from moelaws.models import Transformer
from moelaws.training import questions
from moelaws.training.choosing import credits
from moelaws.training.corpus import Corpus
from moelaws.training.heldout import HeldOut
from moelaws.training.lexicon import Lexicon, read_lexicon
from moelaws.training.questions import Question
from moelaws.training.validate import validate

PROBES: dict[str, Callable[[Sequence[str], Lexicon, int], list[Question]]] = {
    "cloze": questions.cloze,
    "recall": questions.recall,
    "facts": questions.facts,
    "continuation": questions.continuation,
    "word order": questions.word_order,
    "brackets": questions.brackets,
}

_FEWEST = 30  # questions; with fewer a probe tells nothing


def probe(model: Transformer, corpus: Corpus, others: Sequence[Corpus] = (), items: int = 200) -> pd.DataFrame:
    """Ask a model everything.

    Args:
        model: a model trained on the corpus.
        corpus: its text. The questions are about the held-out documents of each of its domains; those of a domain
            are the same in every corpus that has it.
        others: other texts, whose held-out part is read in the model's own tokens.
        items: questions in a probe at most.

    Returns:
        One row a probe and domain: ``probe``, ``domain``, ``metric`` (``accuracy``, or ``bits/byte`` of the probe
        ``text``), ``value``, ``se`` (its standard error), ``chance`` (the value of a guess without knowledge) and
        ``items`` (questions, or sequences). A probe that a text has too few questions for is left out.
    """
    rows: list[tuple[str, str, str, float, float, float, int]] = []
    for domain, *_ in corpus.domains:
        for name, asked in build_questions(corpus, domain, items).items():
            right = credits(model, corpus, asked)
            chance = sum(1 / len(question.choices) for question in asked) / len(asked)
            se = float(right.std(ddof=1)) / math.sqrt(len(right))
            rows.append((name, domain, "accuracy", float(right.mean()), se, chance, len(asked)))
    for text in (*(corpus.held_out(domain) for domain, *_ in corpus.domains), *(_transfer(corpus, o) for o in others)):
        rows.append(("text", text.name, "bits/byte", *_read(model, text, items)))
    return pd.DataFrame(rows, columns=["probe", "domain", "metric", "value", "se", "chance", "items"])


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


def _read(model: Transformer, text: HeldOut, sequences: int) -> tuple[float, float, float, int]:
    """Bits per byte of held-out text, its standard error, that of a uniform guess, and the number of sequences."""
    context = model.config.context
    windows = text.validation_windows(context, sequences * context)
    found = validate(model, text, sequences * context)
    bits_per_nat = found.bits_per_byte / found.loss
    uniform = bits_per_nat * math.log(model.config.vocab_size)
    return found.bits_per_byte, found.loss_se * bits_per_nat, uniform, len(windows)
