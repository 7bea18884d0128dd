"""The loss of a language model from its features: unembedding and cross-entropy together.

Shape suffixes: R rows (batch and time flattened), D model width, V vocabulary.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from moelaws.models.product import compiles, linear, on_cpu, product, weight_gradient

# Logits of this many rows fit into a core's own cache; those of a whole batch do not.
_ROWS = 256


def cross_entropy(features_RD: Tensor, unembedding_VD: Tensor, targets_R: Tensor) -> Tensor:
    """Mean cross-entropy of the next token, in nats per token (scalar).

    Args:
        features_RD: normalised residual stream.
        unembedding_VD: one row a token id.
        targets_R: the ids that came next.
    """
    if compiles(features_RD):
        from moelaws.models.compiled_layers import CompiledLoss

        return CompiledLoss.apply(features_RD, unembedding_VD, targets_R)
    if on_cpu(features_RD):
        return _CrossEntropy.apply(features_RD, unembedding_VD, targets_R)
    return F.cross_entropy(F.linear(features_RD, unembedding_VD).float(), targets_R)


@torch.no_grad()
def token_losses(features_RD: Tensor, unembedding_VD: Tensor, targets_R: Tensor) -> Tensor:
    """Cross-entropy of each next token, in nats; R, without gradient.

    Args:
        features_RD, unembedding_VD, targets_R: as in ``cross_entropy``.
    """
    if compiles(features_RD):
        from moelaws.models.compiled_layers import next_token_losses

        return next_token_losses(features_RD, unembedding_VD, targets_R)
    parts = zip(features_RD.split(_ROWS), targets_R.split(_ROWS), strict=True)
    losses = [F.cross_entropy(linear(x_RD, unembedding_VD).float(), t_R, reduction="none") for x_RD, t_R in parts]
    return torch.cat(losses)


class _CrossEntropy(torch.autograd.Function):
    """Computes the gradient together with the loss, a block of rows at a time, and never holds all logits."""

    @staticmethod
    def forward(ctx: Any, features_RD: Tensor, unembedding_VD: Tensor, targets_R: Tensor) -> Tensor:
        rows = len(features_RD)
        total = features_RD.new_zeros(())
        by_features, by_unembedding = [], None
        for x_RD, target_R in zip(features_RD.split(_ROWS), targets_R.split(_ROWS), strict=True):
            probs_RV = torch.softmax(product(x_RD, unembedding_VD), 1)
            of_target_R1 = probs_RV.gather(1, target_R[:, None])
            if of_target_R1.min() == 0:  # less than fp32 can hold: only the logits still know how much less
                logs_RV = torch.log_softmax(product(x_RD, unembedding_VD), 1)
                total -= logs_RV.gather(1, target_R[:, None]).sum()
            else:
                total -= of_target_R1.log().sum()
            if any(ctx.needs_input_grad):
                by_logits_RV = probs_RV.scatter_add_(1, target_R[:, None], torch.full_like(of_target_R1, -1))
                by_features.append(product(by_logits_RV, unembedding_VD.t()))
                part = weight_gradient(by_logits_RV, x_RD)
                by_unembedding = part if by_unembedding is None else by_unembedding.add_(part)
        if by_unembedding is not None:
            ctx.save_for_backward(torch.cat(by_features), by_unembedding)
        return total / rows

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        by_features_RD, by_unembedding_VD = ctx.saved_tensors
        scale = gradient / len(by_features_RD)
        return by_features_RD * scale, by_unembedding_VD * scale, None
