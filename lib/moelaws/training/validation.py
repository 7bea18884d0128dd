"""The validation loss of a model, with its standard error and what the routers did."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from moelaws.models import Transformer
from moelaws.text.batches import Windows


@dataclass(frozen=True)
class Validation:
    """A model's result on the held-out text.

    Attributes:
        loss: mean cross-entropy, nats per token.
        loss_se: its standard error, from the spread between sequences (tokens of one sequence are not
            independent); NaN with a single sequence.
        bits_per_byte: the same loss per byte of text, which does not depend on the tokenizer; NaN where tokens stand
            for no text.
        load: share of choices that each expert of each layer received; empty for a dense model.
        router_entropy: entropy of the routers' distributions in nats, mean over tokens and layers; 0 if dense.
    """

    loss: float
    loss_se: float
    bits_per_byte: float
    load: tuple[tuple[float, ...], ...]
    router_entropy: float

    @property
    def load_imbalance(self) -> float:
        """Busiest expert's load over the mean load, in the worst layer; 1 for a dense model."""
        return max((max(layer) * len(layer) for layer in self.load), default=1.0)


class HeldOutText(Protocol):
    """What a model can be measured on: a whole text, or the held-out part of one domain."""

    def validation_windows(self, context: int, validation_tokens: int) -> Windows:
        """Token ids, windows x (context + 1)."""

    def count_bytes(self, ids: Windows) -> int:
        """Bytes of text that the tokens stand for; 0 if they stand for no text."""


@torch.no_grad()
def validate(model: Transformer, text: HeldOutText, validation_tokens: int, batch_sequences: int = 32) -> Validation:
    """Measure a model on a text's fixed held-out windows.

    Args:
        model: the model, on any device.
        text: what to measure it on, in its vocabulary.
        validation_tokens: how many held-out tokens to predict.
        batch_sequences: sequences at a time; does not change the result.

    Returns:
        Loss, standard error and router statistics.
    """
    windows = text.validation_windows(model.config.context, validation_tokens)
    device = model.embedding.device
    losses, loads, entropies, sizes = [], [], [], []
    for batch in np.array_split(windows, math.ceil(len(windows) / batch_sequences)):
        ids = torch.from_numpy(batch).to(device)
        loss_BT, routers = model.token_losses(ids[:, :-1], ids[:, 1:])
        losses.append(loss_BT.double().mean(1))
        sizes.append(len(batch))
        loads.append([router.load_E.tolist() for router in routers])
        entropies.append([float(router.entropy) for router in routers])
    loss_B = torch.cat(losses)
    mean = float(loss_B.mean())
    text_bytes = text.count_bytes(windows[:, 1:])
    routed = model.config.is_moe
    load = np.average(np.array(loads), axis=0, weights=sizes) if routed else np.empty((0, 0))
    return Validation(
        loss=mean,
        loss_se=float(loss_B.std() / math.sqrt(len(loss_B))) if len(loss_B) > 1 else math.nan,
        bits_per_byte=mean * windows[:, 1:].size / text_bytes / math.log(2) if text_bytes else math.nan,
        load=tuple(tuple(float(share) for share in layer) for layer in load),
        router_entropy=float(np.average(np.array(entropies).mean(1), weights=sizes)) if routed else 0.0,
    )
