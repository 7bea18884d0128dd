"""The experts that text takes: loads of a router, and distinct experts of groups of tokens.

Shape suffixes: B requests, T tokens of a request, K experts chosen per token.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moelaws.decoding.decoder import Decoder
from moelaws.decoding.engine import AnyDecoder
from moelaws.measuring.requests import BATCHES, HELD_OUT_SHARE, Requests, requests_of
from moelaws.measuring.subjects import trained_model
from moelaws.serving.touched import even_experts, experts_of_loads
from moelaws.text.corpus import Corpus, load_corpus

_WINDOWS = 512


@torch.inference_mode()
def routes_of(decoder: AnyDecoder, windows_BT: Tensor) -> list[Tensor]:
    """Experts that each token of some text chooses: B x T x K for each routed layer."""
    length = windows_BT.shape[1]
    layers: list[list[Tensor]] = []
    for part in windows_BT.split(32):
        routes: list[Tensor] = []
        decoder.prefill(part, 0, routes)
        layers.append([ids_RK.view(len(part), length, -1) for ids_RK in routes])
    return [torch.cat(parts) for parts in zip(*layers, strict=True)]


def loads_of(decoder: AnyDecoder, corpus: Corpus) -> list[list[float]]:
    """Share of the choices that each expert of each routed layer receives, on the first half of the held-out text."""
    text = Requests(corpus.name, corpus.vocab_size, corpus.validation[: int(HELD_OUT_SHARE * len(corpus.validation))])
    length = decoder.config.context
    routes = routes_of(decoder, text.draw(min(_WINDOWS, len(text.tokens) // length), length))
    return [
        (torch.bincount(ids.flatten(), minlength=decoder.config.n_experts) / ids.numel()).tolist() for ids in routes
    ]


def measure_touched(
    width: int = 64,
    experts: Sequence[tuple[int, int]] = ((8, 1), (8, 2), (32, 1), (32, 2)),
    batches: Sequence[int] = BATCHES,
) -> Iterator[dict[str, Any]]:
    """Distinct experts of groups of tokens, from different requests and from one, beside what loads predict.

    ``independent``: the group's tokens stand at the same place of different requests, as in a decode step.
    ``one text``: they follow each other in one request, as where one request's next tokens are checked together.

    Args:
        width: of the models.
        experts: (E, K) of each.
        batches: tokens of a group.
    """
    corpus = load_corpus()
    for n_experts, top_k in experts:
        decoder = Decoder(trained_model(width, n_experts, top_k))
        loads = loads_of(decoder, corpus)
        length = decoder.config.context
        text = requests_of(corpus)
        routes = routes_of(decoder, text.draw(min(_WINDOWS, len(text.tokens) // length), length))
        for layer, (ids_BTK, load) in enumerate(zip(routes, loads, strict=True)):
            for batch in batches:
                kinds = {"independent": ids_BTK.transpose(0, 1)}
                if batch <= length:
                    kinds["one text"] = ids_BTK
                for kind, ids in kinds.items():
                    counts = _distinct(ids, batch, n_experts)
                    yield {
                        "d_model": width, "n_experts": n_experts, "top_k": top_k, "layer": layer, "tokens": batch,
                        "source": kind, "groups": len(counts),
                        "touched": round(float(counts.mean()), 4),
                        "touched_sd": round(float(counts.std(ddof=1)), 4),
                        "of_load": round(float(experts_of_loads(load, top_k, batch)), 4),
                        "even": round(float(even_experts(n_experts, top_k, batch)), 4),
                    }  # fmt: skip


def _distinct(ids_NMK: Tensor, batch: int, n_experts: int) -> NDArray[np.int64]:
    """Distinct experts of groups of ``batch`` tokens, taken side by side along the second dimension."""
    groups = ids_NMK.shape[1] // batch
    ids = ids_NMK[:, : groups * batch].reshape(ids_NMK.shape[0] * groups, -1)
    touched = torch.zeros(len(ids), n_experts, dtype=torch.bool).scatter_(1, ids.cpu(), True)
    return touched.sum(1).numpy()
