"""Dynamic pruning: tokens whose second expert counts little go to their first alone (Huang et al. 2024, Sec. 3.3)."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import Tensor

from moelaws.models import ExpertsLayer, RouterStatistics, Transformer
from moelaws.models.experts import experts_by_group
from moelaws.reshape.importance import Visits, layers_with_experts, routed
from moelaws.reshape.upcycle import ReshapeError


def weight_ratios(seen: Visits) -> Tensor:
    """Weight of each token's second expert over that of its first, T.

    Raises:
        ReshapeError: there is no second expert.
    """
    if seen.layer.top_k < 2:
        raise ReshapeError(f"top_k = {seen.layer.top_k}: a token has no second expert to drop; expected top_k = 2")
    return seen.gates_TK[:, 1] / seen.gates_TK[:, 0]


@contextmanager
def second_dropped(model: Transformer, below: Sequence[float], first: bool = False) -> Iterator[None]:
    """Inside the block, a token whose ratio is below its layer's limit has one expert less; the others get its weight.

    Args:
        model: a mixture with K = 2 or more.
        below: limit of each layer with experts, such as the median of ``weight_ratios``.
        first: drop the first expert instead, at the same tokens; what a useful rule must beat.
    """
    with ExitStack() as stack:
        for layer, limit in zip(layers_with_experts(model), below, strict=True):
            stack.callback(layer.register_forward_hook(_without(limit, 0 if first else 1)).remove)
        yield


def _without(limit: float, place: int) -> Any:
    def replaced(module: Any, inputs: tuple[Tensor, ...], output: Any) -> tuple[Tensor, RouterStatistics]:
        layer, x_TD = cast(ExpertsLayer, module), inputs[0]
        gates_TK, statistics = routed(layer, x_TD)
        dropped = torch.zeros_like(gates_TK)
        dropped[:, place] = (gates_TK[:, 1] < limit * gates_TK[:, 0]).to(gates_TK.dtype)
        kept_TK = gates_TK * (1 - dropped)
        kept_TK = kept_TK * (gates_TK.sum(-1, keepdim=True) / kept_TK.sum(-1, keepdim=True))
        y_TD = experts_by_group(x_TD, kept_TK, statistics.ids_TK, layer.w_in, layer.w_out)
        return (y_TD if layer.shared is None else y_TD + layer.shared(x_TD)[0]), statistics

    return replaced
