"""Blending: two finished models of one shape and one vocabulary, put together as one mixture."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from moelaws.config import ModelConfig
from moelaws.field import described
from moelaws.models import ExpertsLayer, Transformer
from moelaws.models.transformer import Block
from moelaws.reshape.upcycle import ReshapeError

_FAINT = 1e-3
"""Scale of the rows of a new router: the two models begin with equal weights."""
_FREE = ("n_experts", "top_k", "renormalize_top_k")
"""Fields in which two models may differ: how many experts each brings."""


def blend(
    one: Transformer, other: Transformer, share: float | Sequence[float] = 0.5, top_k: int | None = None, seed: int = 0
) -> Transformer:
    """Make one mixture of two models: the feed-forward layers of both become its experts, all else is a weighted mean.

    The attention, the norms and the embeddings of a layer are ``(1 - share) one + share other``; a router chooses, for
    each token, what the experts of either say. ``learn_gates`` finds shares and routers. The mixture costs one
    attention and ``top_k`` experts a token, not two models.

    Means of weights are only of use where the models began alike: one tuned from the other, or both from a third.

    Args:
        one, other: dense models, or mixtures that rescale their gates; alike in all but the number of experts.
        share: of the other model: one number, or one for the embeddings, each block and the end, ``n_layers + 2``.
        top_k: experts a token; by default as many as both models together.
        seed: draws the rows of a router that a dense model has none for.

    Returns:
        The mixture, in fp32 on the first model's device; the two models are left as they are.

    Raises:
        ReshapeError: the models are not alike, by field; or shares or ``top_k`` that cannot be.

    Source: Ben Chaliah and Dellagi 2025 (arXiv 2501.00530, Algorithm 1: weights merged layer by layer), with the
    feed-forward layers kept apart, as in Sukhbaatar et al. 2024 (Branch-Train-MiX, remembered, not read again).

    Example:
        >>> import torch, moelaws as ml
        >>> shape = ml.ModelConfig(vocab_size=64, d_model=16, n_heads=2, d_ff=32, context=16)
        >>> speeches, manuals = ml.Transformer(shape, seed=0), ml.Transformer(shape, seed=1)
        >>> mixture = blend(speeches, manuals)
        >>> mixture.config.n_experts, mixture.config.top_k
        (2, 2)
        >>> alone = blend(speeches, speeches)
        >>> ids = torch.arange(16)[None]
        >>> bool((alone(ids)[0] - speeches(ids)[0]).abs().max() < 1e-4)
        True
    """
    config = blended_config(one.config, other.config, top_k)
    shares = spread(share, config)
    mixture = Transformer(config, seed=seed).to(one.embedding.device)
    _put(mixture, put_together(one, other, mixture, [torch.tensor(each) for each in shares]))
    brought = one.config.n_experts, other.config.n_experts
    with torch.no_grad():
        for block, *parents in zip(mixture.blocks, one.blocks, other.blocks, strict=True):
            rows = cast(ExpertsLayer, cast(Block, block).experts).router.split(brought)
            for drawn, parent in zip(rows, parents, strict=True):
                layer = cast(Block, parent).experts
                drawn.copy_(layer.router if isinstance(layer, ExpertsLayer) else _FAINT * drawn)
    return mixture


def blended_config(one: ModelConfig, other: ModelConfig, top_k: int | None = None) -> ModelConfig:
    """The shape of two models' mixture.

    Raises:
        ReshapeError: they cannot be blended, by field.
    """
    pairs = [(each.name, getattr(one, each.name), getattr(other, each.name)) for each in described(ModelConfig)]
    unlike = [f"{name} = {a} and {b}" for name, a, b in pairs if a != b and name not in _FREE]
    if unlike:
        raise ReshapeError(f"the two models differ: {'; '.join(unlike[:4])}; expected one shape, but for experts")
    for config in (one, other):
        if config.is_moe and not config.renormalize_top_k:
            raise ReshapeError(
                "renormalize_top_k = False: expected dense models, or mixtures whose gates add up to one, so that the "
                "experts of both count alike"
            )
        for name, only in (("shared_experts", 0), ("moe_every", 1)):
            if config.is_moe and (found := getattr(config, name)) != only:
                raise ReshapeError(f"{name} = {found}: expected {only} in mixtures that are blended")
    most, both = one.n_experts + other.n_experts, one.top_k + other.top_k
    chosen = both if top_k is None else top_k
    if not 2 <= chosen <= most:
        raise ReshapeError(f"top_k = {chosen}: expected 2 to {most}, so that the gates of both models add up to one")
    return replace(one, n_experts=most, top_k=chosen, renormalize_top_k=True, moe_every=1)


def spread(share: float | Sequence[float], config: ModelConfig) -> list[float]:
    """One share for the embeddings, each block and the end.

    Raises:
        ReshapeError: a share that is none, or not so many.
    """
    places = config.n_layers + 2
    shares = [float(share)] * places if isinstance(share, int | float) else [float(each) for each in share]
    if len(shares) != places or not all(0 <= each <= 1 for each in shares):
        raise ReshapeError(f"share = {shares[:8]}: expected one number from 0 to 1, or {places} of them")
    return shares


def put_together(
    one: Transformer, other: Transformer, mixture: Transformer, shares: Sequence[Tensor]
) -> dict[str, Tensor]:
    """The mixture's weights but for its routers, by name; differentiable in the shares.

    Args:
        one, other: the two models.
        mixture: says which weights there are.
        shares: of the other model, scalars: embeddings, each block, the end.
    """
    mine, theirs = (dict(each.named_parameters()) for each in (one, other))
    found = {}
    for name, _ in mixture.named_parameters():
        kind = name.rpartition(".")[2]
        if kind == "router":
            continue
        a, b = mine[name].detach(), theirs[name].detach()
        if ".experts.w_" in name:
            found[name] = torch.cat([a, b])
        else:
            found[name] = a + (b - a) * shares[place_of(name, len(shares))]
    return found


def place_of(name: str, places: int) -> int:
    """Which share a weight has: 0 for embeddings and what stands before the blocks, the last for what comes after."""
    parts = name.split(".")
    if parts[0] == "blocks":
        return int(parts[1]) + 1
    return places - 1 if parts[0] in ("final_norm", "unembedding") else 0


@torch.no_grad()
def _put(mixture: Transformer, weights: dict[str, Tensor]) -> None:
    for name, parameter in mixture.named_parameters():
        if name in weights:
            parameter.copy_(weights[name])
