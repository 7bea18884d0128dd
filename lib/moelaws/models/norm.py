"""Root-mean-square normalisation with a gain (Zhang & Sennrich 2019)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moelaws.models.product import compiles, on_cpu

NORM_EPSILON = 1e-5


class RMSNorm(nn.Module):
    """Divides the last dimension by its root mean square and multiplies it by a gain.

    Attributes:
        gain: one number a channel; 1 at first.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        if compiles(x):
            return self.after(x)[1]
        if on_cpu(x):
            return _RMSNorm.apply(x, self.gain)
        return F.rms_norm(x, self.gain.shape, self.gain.to(x.dtype), NORM_EPSILON)

    def after(self, x: Tensor, branch: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The residual stream with a branch added to it, and that normalised: one pass where it is compiled."""
        if compiles(x):
            from moelaws.models.compiled_layers import CompiledNorm

            total, y = CompiledNorm.apply(x, branch, self.gain, NORM_EPSILON)
            return total, y
        total = x if branch is None else x + branch
        return total, self(total)


def normalise(x: Tensor) -> tuple[Tensor, Tensor]:
    """x over its root mean square along the last dimension, and the factor it was multiplied by; no gradient."""
    factor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    factor = factor.square_().div_(x.shape[-1]).add_(NORM_EPSILON).rsqrt_()
    return x * factor, factor


def normalise_backward_(gradient: Tensor, unit: Tensor, factor: Tensor, gain: Tensor) -> Tensor:
    """Gradient of ``gain * normalise(x)`` with respect to the gain; ``gradient`` becomes the one with respect to x.

    Args:
        gradient: of the loss by the output; R x ... x D.
        unit, factor: what ``normalise`` returned.
        gain: ... x D.
    """
    by_gain = gradient * unit
    along = torch.linalg.vecdot(by_gain, gain).unsqueeze(-1).div_(-unit.shape[-1])
    gradient.mul_(gain).addcmul_(unit, along).mul_(factor)
    return by_gain.sum(0)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain_D: Tensor) -> Tensor:
        unit, factor = normalise(x.flatten(0, -2))
        ctx.save_for_backward(unit, factor, gain_D)
        return (unit * gain_D).view(x.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        by_x = gradient.flatten(0, -2).clone()
        by_gain = normalise_backward_(by_x, *ctx.saved_tensors)
        return by_x.view(gradient.shape), by_gain
