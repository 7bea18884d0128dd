"""SwiGLU feed-forward networks, one or many: each row passes through the network of its expert.

Shape suffixes: M rows, those of one expert side by side; K inputs, N outputs of a product; D model width,
F hidden width; E experts.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from moelaws.models.product import compiles, on_cpu, product, weight_gradient


def swiglu(gate_up_MN: Tensor) -> Tensor:
    """SiLU of the first half times the second half: M x 2F in, M x F out."""
    gate_MF, up_MF = gate_up_MN.chunk(2, dim=-1)
    return F.silu(gate_MF) * up_MF


def feed_forward(x_MD: Tensor, w_in_EDN: Tensor, w_out_EFD: Tensor) -> Tensor:
    """Send every row through the one network there is (E = 1); returns M x D."""
    if compiles(x_MD):
        from moelaws.models.compiled_layers import CompiledNetworks

        return CompiledNetworks.apply(x_MD, None, None, w_in_EDN, w_out_EFD)
    if on_cpu(x_MD):
        return _FeedForward.apply(x_MD, w_in_EDN, w_out_EFD)
    return swiglu(x_MD @ w_in_EDN[0]) @ w_out_EFD[0]


@dataclass(frozen=True)
class RowsByExpert:
    """Where the rows of each expert lie, and products of all rows with their expert's matrix; no gradient.

    Attributes:
        spans: expert number, first row, row after the last: for each expert that has rows, in order.
        ends_E: where the rows of each expert end, int32, for one grouped product; ``None``: a product an expert.
    """

    spans: list[tuple[int, int, int]]
    ends_E: Tensor | None

    def times(self, x_MK: Tensor, w_EKN: Tensor) -> Tensor:
        """Each row times the matrix of its expert: M x N."""
        if self.ends_E is not None:
            return F.grouped_mm(x_MK, w_EKN, offs=self.ends_E)
        parts = [product(x_MK[start:end], w_EKN[expert].t()) for expert, start, end in self.spans]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def gradient(self, x_MK: Tensor, gradient_MN: Tensor, w_EKN: Tensor) -> Tensor:
        """Gradient of the matrices from the gradient of ``times``: E x K x N."""
        if self.ends_E is not None:
            return F.grouped_mm(x_MK.t(), gradient_MN, offs=self.ends_E)
        by_w_EKN = torch.empty_like(w_EKN) if len(self.spans) == len(w_EKN) else torch.zeros_like(w_EKN)
        for expert, start, end in self.spans:
            by_w_EKN[expert] = weight_gradient(gradient_MN[start:end], x_MK[start:end]).t()
        return by_w_EKN


def networks(x_MD: Tensor, w_in_EDN: Tensor, w_out_EFD: Tensor, rows: RowsByExpert) -> tuple[Tensor, list[Tensor]]:
    """Each row through its network, without gradient: M x D, and what ``networks_backward`` needs."""
    hidden_MN = rows.times(x_MD, w_in_EDN)
    gate_MF, up_MF = hidden_MN.chunk(2, dim=-1)
    silu_MF = F.silu(gate_MF)
    active_MF = silu_MF * up_MF
    return rows.times(active_MF, w_out_EFD), [x_MD, hidden_MN, silu_MF, active_MF]


def networks_backward(
    by_y_MD: Tensor, w_in_EDN: Tensor, w_out_EFD: Tensor, rows: RowsByExpert, saved: list[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``networks`` by its rows, w_in and w_out."""
    x_MD, hidden_MN, silu_MF, active_MF = saved
    gate_MF, up_MF = hidden_MN.chunk(2, dim=-1)
    by_active_MF = rows.times(by_y_MD, w_out_EFD.transpose(1, 2))
    by_hidden_MN = torch.empty_like(hidden_MN)
    by_gate_MF, by_up_MF = by_hidden_MN.chunk(2, dim=-1)
    torch.mul(by_active_MF, silu_MF, out=by_up_MF)
    torch.ops.aten.silu_backward.grad_input(by_active_MF.mul_(up_MF), gate_MF, grad_input=by_gate_MF)
    return (
        rows.times(by_hidden_MN, w_in_EDN.transpose(1, 2)),
        rows.gradient(x_MD, by_hidden_MN, w_in_EDN),
        rows.gradient(active_MF, by_y_MD, w_out_EFD),
    )


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_MD: Tensor, w_in_EDN: Tensor, w_out_EFD: Tensor) -> Tensor:
        y_MD, saved = networks(x_MD, w_in_EDN, w_out_EFD, RowsByExpert([(0, 0, len(x_MD))], None))
        ctx.save_for_backward(w_in_EDN, w_out_EFD, *saved)
        return y_MD

    @staticmethod
    def backward(ctx: Any, by_y_MD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        w_in_EDN, w_out_EFD, *saved = ctx.saved_tensors
        rows = RowsByExpert([(0, 0, len(by_y_MD))], None)
        return networks_backward(by_y_MD.contiguous(), w_in_EDN, w_out_EFD, rows, saved)
