"""What a model makes of what it has just read, in nats: signals that show before any question is answered right.

Shape suffixes: B sequences, T time.
"""

import math
import re
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from moelaws.models import Transformer
from moelaws.probing.choosing import choice_losses
from moelaws.probing.questions import Question
from moelaws.text.batches import Windows
from moelaws.text.corpus import Corpus
from moelaws.text.heldout import HeldOut

_SEQUENCES = 32  # read at a time; does not change the result


def gain_from_mention(model: Transformer, corpus: Corpus, questions: Sequence[Question]) -> NDArray[np.float64]:
    """How much likelier an answer becomes because it stands in the context.

    Beside each question's context the model reads the same one in which another choice, a word of the same length,
    case and frequency, stands wherever the answer stood.

    Args:
        model: the model, on any device.
        corpus: gives the tokenizer that the model was trained with.
        questions: their answers stand in their contexts.

    Returns:
        ln p(answer | context) - ln p(answer | changed context) of each question, nats. Without any use of the
        mention it is zero on average.
    """
    asked = []
    for question in questions:
        answer = question.choices[question.answer]
        other = question.choices[(question.answer + 1) % len(question.choices)]
        changed = re.sub(rf"\b{re.escape(answer.strip())}\b", other.strip(), question.context)
        asked += [Question(context, (answer,), 0) for context in (question.context, changed)]
    losses = np.concatenate(choice_losses(model, corpus, asked))
    return losses[1::2] - losses[::2]


def gains_from_rereading(
    model: Transformer, text: HeldOut, passages: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How much better passages are predicted when they are read a second time.

    Each passage, half a context long, is read after three others: one from elsewhere in the text, its own tokens
    in a random order, and itself. All that differs is what was read before.

    Args:
        model: the model, on any device.
        text: held-out text of one domain.
        passages: how many to read at most, evenly from the text.

    Returns:
        For each passage, in nats per token: what having met its tokens in any order saves, and what having met
        them in this order saves on top. Both are zero for a model that looks at nothing but the last tokens.
    """
    half = model.config.context // 2
    own_BT = text.validation_windows(half, passages * half)[:, :half]
    other_BT = np.roll(own_BT, max(1, len(own_BT) // 2), axis=0)
    mixed_BT = np.random.default_rng(0).permuted(own_BT, axis=1)
    # The first token of the second half is left out: it follows another text.
    losses = [
        read_windows(model, np.concatenate([first_BT, own_BT], 1), start=half)[0]
        for first_BT in (other_BT, mixed_BT, own_BT)
    ]
    return losses[0] - losses[1], losses[1] - losses[2]


@torch.no_grad()
def read_windows(model: Transformer, windows: Windows, start: int = 0) -> tuple[NDArray[np.float64], list[list[float]]]:
    """Read windows of text.

    Args:
        model: the model, on any device.
        windows: token ids, windows x (T + 1): the first T are read, the last T predicted.
        start: the first predictions, so many, are not counted.

    Returns:
        Mean loss of each window, nats per token, and the share of choices that each expert of each layer received;
        no layers for a dense model.
    """
    losses, loads, sizes = [], [], []
    for batch in np.array_split(windows, math.ceil(len(windows) / _SEQUENCES)):
        ids_BT = torch.from_numpy(batch).to(model.embedding.device)
        loss_BT, routers = model.token_losses(ids_BT[:, :-1], ids_BT[:, 1:])
        losses.append(loss_BT[:, start:].double().mean(1).cpu().numpy())
        loads.append([router.load_E.tolist() for router in routers])
        sizes.append(len(batch))
    load = np.average(np.array(loads), axis=0, weights=sizes).tolist() if loads[0] else []
    return np.concatenate(losses), load
