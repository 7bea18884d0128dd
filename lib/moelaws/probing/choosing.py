"""How a model answers multiple-choice questions: it takes the choice it finds most probable for its length.

Shape suffixes: B sequences, T time, D model width, R tokens of choices, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from moelaws.models import Transformer
from moelaws.models.product import linear
from moelaws.probing.questions import Question
from moelaws.text.corpus import Corpus
from moelaws.text.tokenizer import END_OF_TEXT

_BATCH_TOKENS = 8192


def credits(model: Transformer, corpus: Corpus, questions: Sequence[Question]) -> NDArray[np.float64]:
    """Which questions a model answers right.

    Choices are compared by log-likelihood per byte of their text, which depends on no tokenizer.

    Args:
        model: the model, on any device.
        corpus: gives the tokenizer that the model was trained with.
        questions: what to ask.

    Returns:
        1 for right, 0 for wrong; where n choices tie for the best, 1 / n if the answer is among them.
    """
    return answer(model, corpus, questions).credits


@dataclass(frozen=True)
class Answers:
    """What a model makes of some questions.

    Attributes:
        credits: 1 for right, 0 for wrong, a share for a tie; see ``credits``.
        margins: ln p of the right choice less the mean ln p of the wrong ones, nats. It moves while the choice does
            not yet, and its mean is zero for a guess that knows how words are distributed and nothing else.
    """

    credits: NDArray[np.float64]
    margins: NDArray[np.float64]


def answer(model: Transformer, corpus: Corpus, questions: Sequence[Question]) -> Answers:
    """Ask a model; the arguments are those of ``credits``."""
    found, margins = [], []
    for question, loss in zip(questions, choice_losses(model, corpus, questions), strict=True):
        best = loss / [len(choice.encode()) for choice in question.choices]
        tied = best <= best.min() + 1e-6
        found.append(float(tied[question.answer]) / int(tied.sum()))
        margins.append(float(np.delete(loss, question.answer).mean() - loss[question.answer]))
    return Answers(np.array(found), np.array(margins))


@torch.no_grad()
def choice_losses(model: Transformer, corpus: Corpus, questions: Sequence[Question]) -> list[NDArray[np.float64]]:
    """-ln p of every choice of every question, nats.

    The context is cut from the left to the model's training length. Choices that share what the model reads, such
    as those of one token, are read once.

    Args:
        model: the model.
        corpus: gives the tokenizer.
        questions: what to ask.

    Returns:
        One array a question, one value a choice.
    """
    sequences, places = _sequences(corpus, questions, model.config.context)
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    wanted: dict[int, list[tuple[int, int, list[int]]]] = {}
    for question, choices in enumerate(places):
        for choice, (sequence, tokens) in enumerate(choices):
            wanted.setdefault(sequence, []).append((question, choice, tokens))
    losses = [np.zeros(len(question.choices)) for question in questions]
    device = model.embedding.device
    while order:
        length = len(sequences[order[-1]])
        batch = [order.pop() for _ in range(min(len(order), max(1, _BATCH_TOKENS // length)))]
        # What follows a token does not change what the model says at it: the filling may be anything.
        ids_BT = torch.zeros(len(batch), length, dtype=torch.long)
        for row, sequence in enumerate(batch):
            ids_BT[row, : len(sequences[sequence])] = torch.tensor(sequences[sequence])
        x_BTD = model.features(ids_BT.to(device))[0]
        rows: list[int] = []
        times: list[int] = []
        targets: list[int] = []
        owners: list[tuple[int, int]] = []
        for row, sequence in enumerate(batch):
            for question, choice, tokens in wanted[sequence]:
                start = len(sequences[sequence]) - len(tokens)
                rows += [row] * len(tokens)
                times += range(start, start + len(tokens))
                targets += tokens
                owners += [(question, choice)] * len(tokens)
        # Logits only where a choice is predicted: for models this small they cost as much as all the rest.
        logits_RV = linear(x_BTD[rows, times], model.output_weight)
        chosen = torch.log_softmax(logits_RV.float(), -1).cpu()
        values = chosen[torch.arange(len(targets)), torch.tensor(targets)].double().tolist()
        for (question, choice), value in zip(owners, values, strict=True):
            losses[question][choice] -= value
    return losses


def _sequences(
    corpus: Corpus, questions: Sequence[Question], context: int
) -> tuple[list[list[int]], list[list[tuple[int, list[int]]]]]:
    """What the model reads, and for each choice which of it and the tokens predicted at its end."""
    tokenizer = corpus.tokenizer()
    end = int(tokenizer.token_to_id(END_OF_TEXT) or 0)  # always there, and the first
    texts = [text for question in questions for text in (question.context, *question.choices)]
    encoded = iter(tokenizer.encode_batch(texts, add_special_tokens=False))
    numbers: dict[tuple[int, ...], int] = {}
    places = []
    for question in questions:
        before = list(next(encoded).ids) or [end]
        choices = []
        for _ in question.choices:
            tokens = next(encoded).ids
            read = tuple([*before, *tokens][-context - 1 : -1])
            choices.append((numbers.setdefault(read, len(numbers)), tokens[-len(read) :]))
        places.append(choices)
    return [list(read) for read in numbers], places
