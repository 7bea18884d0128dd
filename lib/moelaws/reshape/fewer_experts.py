"""Fewer experts: those that matter least left out, or put together with others."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from moelaws.models import ExpertsLayer, Transformer
from moelaws.reshape.importance import Visits, layers_with_experts, visits
from moelaws.reshape.upcycle import ReshapeError


def prune(model: Transformer, windows: Any, keep: int) -> Transformer:
    """Leave out the experts whose outputs count least on a text.

    Args:
        model: a mixture; it is left as it is.
        windows: token ids, sequences x (context + 1).
        keep: experts left in each layer, those of the largest mean routing weight.

    Returns:
        A mixture of ``keep`` experts; their router rows are as they were.

    Raises:
        ReshapeError: fewer experts than are chosen, or more than there are.

    Examples:
        >>> from moelaws.config import ModelConfig
        >>> config = ModelConfig(vocab_size=32, d_model=16, n_heads=2, d_ff=32, n_experts=4, context=8)
        >>> prune(Transformer(config), torch.arange(18).view(2, 9), keep=2).config.n_experts
        2
    """
    return _rebuilt(model, visits(model, torch.as_tensor(windows)), keep, together=False)


def merge(model: Transformer, windows: Any, keep: int) -> Transformer:
    """Put experts together: each of those that count least becomes a part of the one it is most like.

    The hidden units of the lesser expert are first brought into the order of the other's (Ainsworth et al. 2023); the
    weights are then averaged by how often each is chosen. The router keeps the row of the expert that counts most.

    Args:
        model, windows, keep: as in ``prune``; there must be more than one expert left.

    Returns:
        A mixture of ``keep`` experts.

    Raises:
        ReshapeError: fewer experts than are chosen, or more than there are.

    Examples:
        >>> from moelaws.config import ModelConfig
        >>> config = ModelConfig(vocab_size=32, d_model=16, n_heads=2, d_ff=32, n_experts=4, context=8)
        >>> merge(Transformer(config), torch.arange(18).view(2, 9), keep=2).config.n_experts
        2
    """
    return _rebuilt(model, visits(model, torch.as_tensor(windows)), keep, together=True)


@torch.no_grad()
def _rebuilt(model: Transformer, seen: Sequence[Visits], keep: int, together: bool) -> Transformer:
    config = model.config
    least = max(2, config.top_k)
    if not least <= keep <= config.n_experts:
        raise ReshapeError(f"keep = {keep}: expected {least} to {config.n_experts} of the experts of each layer")
    smaller = Transformer(replace(config, n_experts=keep))
    found = model.state_dict()
    for name, tensor in smaller.state_dict().items():
        if tensor.shape == found[name].shape:
            tensor.copy_(found[name])
    for layer, each in zip(layers_with_experts(smaller), seen, strict=True):
        best = each.weight_E.argsort(descending=True)
        kept = best[:keep].sort().values
        for mine, theirs in ((layer.router, each.layer.router), (layer.balance_bias, each.layer.balance_bias)):
            mine.copy_(theirs[kept])
        layer.w_in.copy_(each.layer.w_in[kept])
        layer.w_out.copy_(each.layer.w_out[kept])
        if together:
            _put_together(layer, each, kept, best[keep:])
    return smaller


def _put_together(layer: ExpertsLayer, seen: Visits, kept: Tensor, lesser: Tensor) -> None:
    """Add the lesser experts to those that are kept, each where the router's rows are most alike."""
    rows = torch.nn.functional.normalize(seen.layer.router)
    homes = (rows[lesser] @ rows[kept].t()).argmax(1)
    share_E = seen.frequency_E.float()
    total = share_E[kept].clone()
    for expert, home in zip(lesser.tolist(), homes.tolist(), strict=True):
        weight = float(share_E[expert] / (total[home] + share_E[expert])) if share_E[expert] > 0 else 0.0
        w_in, w_out = _reordered(seen.layer.w_in[expert], seen.layer.w_out[expert], layer.w_in[home], layer.w_out[home])
        layer.w_in[home] += weight * (w_in - layer.w_in[home])
        layer.w_out[home] += weight * (w_out - layer.w_out[home])
        total[home] += share_E[expert]


def _reordered(w_in: Tensor, w_out: Tensor, like_in: Tensor, like_out: Tensor) -> tuple[Tensor, Tensor]:
    """An expert with its hidden units in the order in which they are most like another's."""
    units, like = (torch.cat([*matrix.chunk(2, dim=-1), other.t()]) for matrix, other in
                   ((w_in, w_out), (like_in, like_out)))  # fmt: skip
    _, places = linear_sum_assignment((like.t() @ units).numpy(), maximize=True)
    gate, up = w_in.chunk(2, dim=-1)
    order = torch.as_tensor(places)
    return torch.cat([gate[:, order], up[:, order]], dim=-1), w_out[order]
