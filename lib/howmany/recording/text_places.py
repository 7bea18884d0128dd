"""Where on a text compute goes: by kind of token, by place in the sequence, by layer, and by how hard a token is."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from moelaws.adaptive.duo import BIG, SMALL, Chooser, DuoTransformer, fixed
from moelaws.adaptive.learned import choices_made
from moelaws.text.corpus import Corpus

KINDS = ("word begins", "word goes on", "digits", "space", "punctuation")
_PLACES = 8
_TENTHS = 10


def place_rows(
    model: DuoTransformer, lone: DuoTransformer, windows: torch.Tensor, corpus: Corpus, routers: Mapping[int, Chooser],
    seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of what routers spend, and of what a big network would gain.

    Args:
        model: with two networks a layer.
        lone: another model, trained alone: how hard a token is, is its loss, which shares no noise with the gain.
        windows: held-out text, the first half of the first domain.
        corpus: tells what tokens are.
        routers: by budget.
        seed: of the rows.
    """
    layers = len(model.layers)
    ids, targets = windows[:, :-1], windows[:, 1:]
    small, big = (_losses(model, ids, targets, (choice,) * layers) for choice in (SMALL, BIG))
    hard = _losses(lone, ids, targets, (BIG,) * len(lone.layers))
    gain = small - big
    kinds = kinds_of(corpus)[ids.numpy()]
    tenth = np.searchsorted(np.quantile(hard, np.linspace(0, 1, _TENTHS + 1)[1:-1]), hard)
    place = np.broadcast_to(np.arange(ids.shape[1]) * _PLACES // ids.shape[1], hard.shape)
    rows: list[dict[str, Any]] = []
    for budget, chooser in routers.items():
        made = choices_made(model, chooser, windows).numpy()
        spent = made[..., 1].sum(0) + model.duo.ratio * made[..., 0].sum(0)
        groups = [("kind", KINDS[k], kinds == k) for k in range(len(KINDS))]
        groups += [("place", f"{p}", place == p) for p in range(_PLACES)]
        groups += [("hardness", f"{t}", tenth == t) for t in range(_TENTHS)]
        halves = np.arange(len(hard))[:, None] < len(hard) // 2
        groups += [("domain", name, np.broadcast_to(halves == first, hard.shape)) for (name, *_), first in
                   zip(corpus.domains, (True, False), strict=True)]  # fmt: skip
        about = {"seed": seed, "budget": budget}
        for what, which, mask in groups:
            means = {"spent": spent[mask].mean(), "gain": gain[mask].mean(), "loss": hard[mask].mean()}
            rows.append(about | {"what": what, "which": which, "tokens": int(mask.sum())} | means)
        for layer, each in enumerate(made):
            share = each[..., 1].mean() + model.duo.ratio * each[..., 0].mean()
            rows.append(about | {"what": "layer", "which": f"{layer}", "tokens": hard.size, "spent": share})
        pairs = (
            ("gain and hardness", gain, hard),
            ("spent and hardness", spent, hard),
            ("spent and gain", spent, gain),
        )
        for which, one, other in pairs:
            found = np.corrcoef(one.ravel(), other.ravel())[0, 1]
            rows.append(about | {"what": "correlation", "which": which, "tokens": hard.size, "correlation": found})
    return rows


def kinds_of(corpus: Corpus) -> np.ndarray:
    """Kind of each token id, a place in ``KINDS``."""
    tokenizer = corpus.tokenizer()
    return np.array([_kind(tokenizer.decode([token])) for token in range(corpus.vocab_size)])


def _kind(text: str) -> int:
    bare = text.strip()
    if not bare:
        return 3
    if bare.isdigit():
        return 2
    if bare.replace("_", "").isalpha():
        return 0 if text[0].isspace() else 1
    return 4


def _losses(model: DuoTransformer, ids: torch.Tensor, targets: torch.Tensor, route: tuple[int, ...]) -> np.ndarray:
    parts = zip(ids.split(64), targets.split(64), strict=True)
    return np.concatenate([model.token_losses(*part, fixed(route)).double().numpy() for part in parts])
