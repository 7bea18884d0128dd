"""Causal multi-head attention with rotary positions and, by default, QK-norm over the full width (OLMoE).

Shape suffixes: B sequences, T time, D model width, H heads, P head width, J = D / 2 pairs; R = B T rows.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moelaws.config import ModelConfig
from moelaws.models.norm import NORM_EPSILON, RMSNorm, normalise, normalise_backward_
from moelaws.models.product import compiles, linear, on_cpu, product, weight_gradient


def rotary_table(config: ModelConfig, positions: Tensor) -> Tensor:
    """Rotations of rotary embedding (Su et al. 2021) as complex numbers of modulus one.

    Channels (2 i, 2 i + 1) of a head are one pair, so that a rotation is one complex product. Hugging Face pairs
    i with i + P / 2 instead: the same function of permuted weights, see ``checkpoint``.

    Args:
        config: gives the head width P and the base of the frequencies.
        positions: of the time steps, T.

    Returns:
        T x J, the same for every head.
    """
    # The exponents are rounded like those of the reference implementation, in fp32.
    exponents = torch.arange(0, config.head_dim, 2, device=positions.device).float() / config.head_dim
    angles_TJ = torch.outer(positions.float(), config.rope_theta**-exponents).repeat(1, config.n_heads)
    return torch.polar(torch.ones_like(angles_TJ), angles_TJ)


def rotate(x_BTD: Tensor, turn_TJ: Tensor) -> Tensor:
    """Turn each pair of channels by its position's angle."""
    real, imaginary = x_BTD.unflatten(-1, (-1, 2)).unbind(-1)
    cos_TJ, sin_TJ = turn_TJ.real.to(x_BTD.dtype), turn_TJ.imag.to(x_BTD.dtype)
    turned = (real * cos_TJ - imaginary * sin_TJ, imaginary * cos_TJ + real * sin_TJ)
    return torch.stack(turned, dim=-1).flatten(-2)


class Attention(nn.Module):
    """Causal self-attention.

    Attributes:
        w_qkv: query, key and value projections, 3 D x D.
        w_out: output projection, D x D.
        q_norm, k_norm: normalisation of queries and keys over the full width, or ``None``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.w_qkv = nn.Parameter(torch.empty(3 * config.d_model, config.d_model))
        self.w_out = nn.Parameter(torch.empty(config.d_model, config.d_model))
        self.q_norm = RMSNorm(config.d_model) if config.qk_norm else None
        self.k_norm = RMSNorm(config.d_model) if config.qk_norm else None

    def forward(self, x_BTD: Tensor, turn_TJ: Tensor) -> Tensor:
        """Mix the time steps of each sequence, each seeing itself and its past."""
        if compiles(x_BTD):
            from moelaws.models.compiled_layers import CompiledAttention

            gains = () if self.q_norm is None or self.k_norm is None else (self.q_norm.gain, self.k_norm.gain)
            return CompiledAttention.apply(x_BTD, self.w_qkv, self.w_out, turn_TJ, self.n_heads, NORM_EPSILON, *gains)
        q_BTD, k_BTD, v_BTD = self.queries_keys_values(x_BTD, turn_TJ)
        y_BHTP = F.scaled_dot_product_attention(self.split(q_BTD), self.split(k_BTD), self.split(v_BTD), is_causal=True)
        return self.project(y_BHTP)

    def queries_keys_values(self, x_BTD: Tensor, turn_TJ: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys, normalised and rotated, and values; each B x T x D."""
        gains = () if self.q_norm is None or self.k_norm is None else (self.q_norm.gain, self.k_norm.gain)
        if on_cpu(x_BTD):
            return _QueriesKeysValues.apply(x_BTD, self.w_qkv, turn_TJ, *gains)
        q_BTD, k_BTD, v_BTD = F.linear(x_BTD, self.w_qkv).chunk(3, dim=-1)
        if self.q_norm is not None and self.k_norm is not None:
            q_BTD, k_BTD = self.q_norm(q_BTD), self.k_norm(k_BTD)
        return rotate(q_BTD, turn_TJ), rotate(k_BTD, turn_TJ), v_BTD

    def split(self, x_BTD: Tensor) -> Tensor:
        """The heads apart: B x H x T x P."""
        return x_BTD.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)

    def project(self, y_BHTP: Tensor) -> Tensor:
        """The heads together again, through the output projection: B x T x D."""
        y_BTD = y_BHTP.transpose(1, 2).flatten(2)
        return linear(y_BTD.flatten(0, 1), self.w_out).view(y_BTD.shape)


class _QueriesKeysValues(torch.autograd.Function):
    """Projection, normalisation and rotation of queries and keys in one pass over both."""

    @staticmethod
    def forward(
        ctx: Any, x_BTD: Tensor, w_qkv: Tensor, turn_TJ: Tensor, *gains: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        sequences, time, width = x_BTD.shape
        x_RD = x_BTD.flatten(0, 1)
        qkv_R3D = product(x_RD, w_qkv)
        qk_R2D = qkv_R3D[:, : 2 * width].unflatten(-1, (2, width))
        if gains:
            gain_2D = torch.stack(gains)
            unit_R2D, factor_R21 = normalise(qk_R2D)
            qk_R2D = unit_R2D * gain_2D
            ctx.save_for_backward(x_RD, w_qkv, turn_TJ, gain_2D, unit_R2D, factor_R21)
        else:
            qk_R2D = qk_R2D.contiguous()
            ctx.save_for_backward(x_RD, w_qkv, turn_TJ)
        qk_BT2D = qk_R2D.view(sequences, time, 2, width)
        pairs(qk_BT2D).mul_(turn_TJ.unsqueeze(1))
        v_BTD = qkv_R3D[:, 2 * width :].view(sequences, time, width)
        return qk_BT2D[:, :, 0], qk_BT2D[:, :, 1], v_BTD

    @staticmethod
    def backward(ctx: Any, by_q_BTD: Tensor, by_k_BTD: Tensor, by_v_BTD: Tensor) -> tuple[Tensor | None, ...]:
        x_RD, w_qkv, turn_TJ, *norm = ctx.saved_tensors
        sequences, time, width = by_q_BTD.shape
        by_qkv_R3D = x_RD.new_empty(len(x_RD), 3 * width)
        by_qkv_R3D[:, 2 * width :] = by_v_BTD.reshape(-1, width)
        by_qk_R2D = by_qkv_R3D[:, : 2 * width].unflatten(-1, (2, width))
        for i, by_output_BTD in enumerate((by_q_BTD, by_k_BTD)):
            turned_BTD = by_qk_R2D[:, i].unflatten(0, (sequences, time))
            torch.mul(pairs(by_output_BTD.contiguous()), turn_TJ.conj_physical(), out=pairs(turned_BTD))
        by_gains: tuple[Tensor, ...] = ()
        if norm:
            gain_2D, unit_R2D, factor_R21 = norm
            by_gains = normalise_backward_(by_qk_R2D, unit_R2D, factor_R21, gain_2D).unbind(0)
        by_x_BTD = product(by_qkv_R3D, w_qkv.t()).view(sequences, time, width)
        return by_x_BTD, weight_gradient(by_qkv_R3D, x_RD), None, *by_gains


def pairs(x: Tensor) -> Tensor:
    """The same memory as complex numbers: ... x D to ... x J. Even strides, last one 1."""
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))
