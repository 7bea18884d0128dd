"""One block's weights, made ready for the eager decoder.

Shape suffixes: D model width, E experts, F hidden width, N = 2 F.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from moelaws.decoding.matrix import Matrix, matrix
from moelaws.models import ExpertsLayer
from moelaws.models.experts import FeedForward
from moelaws.models.transformer import Block


@dataclass(frozen=True)
class DecoderLayer:
    """One block's weights, as the decoder uses them: the gain of the norm before a matrix is part of the matrix.

    Attributes:
        w_qkv, w_out: of attention.
        qk_gain_21D: gains of queries and keys, or ``None``.
        router: D x E, or ``None`` in a layer without one.
        bias_E: added to the scores when experts are chosen, or ``None`` if it is zero.
        w_in_EDN, w_out_EFD: of the experts together, for many rows.
        experts_in, experts_out: the same two, an expert at a time; or the one dense network.
        shared: gate-and-up and down projections of the shared experts, or ``None``.
    """

    w_qkv: Matrix
    qk_gain_21D: Tensor | None
    w_out: Matrix
    router: Matrix | None
    bias_E: Tensor | None
    w_in_EDN: Tensor
    w_out_EFD: Tensor
    experts_in: tuple[Matrix, ...]
    experts_out: tuple[Matrix, ...]
    shared: tuple[Matrix, Matrix] | None


def layer_of(block: Block) -> DecoderLayer:
    """Copies of the weights of a block."""
    attention, experts = block.attention, cast(ExpertsLayer | FeedForward, block.experts)
    gains = None
    if attention.q_norm is not None and attention.k_norm is not None:
        gains = torch.stack((attention.q_norm.gain, attention.k_norm.gain)).unsqueeze(1)
    gain_D = block.experts_norm.gain
    w_in_EDN, w_out_EFD = experts.w_in * gain_D[:, None], experts.w_out.detach().clone()
    router = bias = shared = None
    if isinstance(experts, ExpertsLayer):
        router = matrix((experts.router * gain_D).t())
        bias = experts.balance_bias.clone() if bool(experts.balance_bias.any()) else None
        if experts.shared is not None:
            shared = matrix(experts.shared.w_in[0] * gain_D[:, None]), matrix(experts.shared.w_out[0].detach().clone())
    return DecoderLayer(
        w_qkv=matrix((attention.w_qkv * block.attention_norm.gain).t()),
        qk_gain_21D=gains,
        w_out=matrix(attention.w_out.detach().clone().t()),
        router=router,
        bias_E=bias,
        w_in_EDN=w_in_EDN,
        w_out_EFD=w_out_EFD,
        experts_in=tuple(matrix(w_DN) for w_DN in w_in_EDN),
        experts_out=tuple(matrix(w_FD) for w_FD in w_out_EFD),
        shared=shared,
    )
