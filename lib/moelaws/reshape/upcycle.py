"""Upcycling: a mixture of experts whose experts begin as copies of a trained dense model's feed-forward layers."""

from dataclasses import replace

import torch
from torch import Tensor

from moelaws.config import ModelConfig
from moelaws.models import ExpertsLayer, Transformer

_FAINT = 1e-6
"""Scale of a router whose scores must all be equal: which expert is best is drawn, what its gate is, hardly."""


class ReshapeError(ValueError):
    """A model cannot be made into what was asked; the message says which field is in the way."""


def upcycle(
    dense: Transformer, n_experts: int, top_k: int = 2, noise: float = 0.0, seed: int = 0, scores: str = "softmax"
) -> Transformer:
    """Make a mixture of experts of a dense model by copying its feed-forward layers into every expert.

    Without noise the mixture gives the dense model's logits: copies give one answer, whichever are chosen, and their
    weights add up to one. With K > 1 the chosen scores are rescaled to one (as in Mixtral). With K = 1 nothing can be
    rescaled, or the router would learn nothing: there the router begins so faint that every score is the same, and the
    copies' output is as many times larger as the score is smaller than one.

    Args:
        dense: a model with E = 1.
        n_experts: E of the mixture, > 1.
        top_k: K of the mixture, from 1 to E.
        noise: standard deviation of what is added to each expert's weights, over that of the weights themselves; it
            tells the copies apart.
        seed: draws router and noise.
        scores: what makes scores of the router's logits, as ``ModelConfig.router_scores``.

    Returns:
        The mixture, in fp32 on the dense model's device; the dense model is left as it is.

    Raises:
        ReshapeError: the model has experts already.
        ConfigError: numbers that no mixture can have.

    Source: Komatsuzaki et al. 2022 (sparse upcycling); Liew, Kato and Takase 2025, whose law is ``liew2025``.

    Example:
        >>> import torch, moelaws as ml
        >>> dense = ml.Transformer(ml.ModelConfig(vocab_size=64, d_model=16, n_heads=2, d_ff=32, context=16))
        >>> mixture = upcycle(dense, n_experts=4, top_k=2)
        >>> ids = torch.arange(16)[None]
        >>> bool((mixture(ids)[0] - dense(ids)[0]).abs().max() < 1e-4)
        True
    """
    if dense.config.is_moe:
        raise ReshapeError(
            f"n_experts = {dense.config.n_experts}: the model is a mixture already; expected a dense model"
        )
    if n_experts < 2:
        raise ReshapeError(f"n_experts = {n_experts}: expected at least 2 experts to copy the dense model into")
    config = replace(dense.config, n_experts=n_experts, top_k=top_k, renormalize_top_k=top_k > 1, router_scores=scores)
    mixture = Transformer(config, seed=seed).to(dense.embedding.device)
    copy_dense(dense, mixture, noise, seed)
    return mixture


def require_alike(dense: ModelConfig, mixture: ModelConfig) -> None:
    """Check that a mixture can begin as a dense model.

    Raises:
        ReshapeError: they differ in what must be alike, by field.
        ConfigError: the mixture's experts cannot be copies.
    """
    both = zip(dense.to_dict().items(), mixture.dense.to_dict().values(), strict=True)
    unlike = [f"{name} = {found} and {wanted}" for (name, found), wanted in both if found != wanted]
    if unlike:
        raise ReshapeError(f"the two models differ: {'; '.join(unlike[:4])}; expected one shape, but for experts")


@torch.no_grad()
def copy_dense(dense: Transformer, mixture: Transformer, noise: float = 0.0, seed: int = 0) -> None:
    """Put a dense model's weights into a mixture, or into a dense model of the same shape.

    Args:
        dense: what is copied.
        mixture: keeps its router as it is, or faint where its gates are not rescaled; all else is overwritten.
        noise, seed: see ``upcycle``.

    Raises:
        ReshapeError: the models are of different shapes.
    """
    require_alike(dense.config, mixture.config)
    found = dense.state_dict()
    for name, tensor in mixture.state_dict().items():
        if name in found:
            tensor.copy_(found[name])  # of experts, the one that there is into each
    generator = torch.Generator().manual_seed(seed)
    for block in mixture.blocks:
        layer = block.experts
        if not isinstance(layer, ExpertsLayer):
            continue
        if noise:
            for weights in (layer.w_in, layer.w_out):
                weights.add_(noise * weights.std() * _normal(weights, generator))
        if not layer.renormalize:
            score = 1 / len(layer.router) if layer.scores == "softmax" else 0.5
            layer.router.mul_(_FAINT)
            layer.w_out.div_(layer.top_k * score)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator).to(like.device)


@torch.no_grad()
def largest_difference(one: Transformer, other: Transformer, tokens: int = 64) -> float:
    """Largest difference of a logit between two models of one vocabulary, on tokens drawn evenly."""
    length = min(tokens, one.config.context, other.config.context)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(one.config.vocab_size, (4, length), generator=generator).to(one.embedding.device)
    return float((one(ids)[0] - other(ids)[0]).abs().max())
