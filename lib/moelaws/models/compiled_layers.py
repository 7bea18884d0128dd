"""The layers on one thread of a CPU, compiled: autograd functions whose arithmetic is that of ``moelaws.kernels``.

Each equals the plain layer that it stands for; tests hold them to it, forward and gradient. ``product.compiles`` says
when they run; this module imports numba, so that the layers import it then, not before.

Shape suffixes: B sequences, T time or tokens, R rows, D model width, V vocabulary; E experts, K experts a token,
F expert hidden width, N = 2 F.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from moelaws.kernels import mixing, networks, next_token, residual, softmax_router
from moelaws.kernels.calls import call


class CompiledNorm(torch.autograd.Function):
    """A branch added to the residual stream, and the norm of the sum: the two of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, branch: Tensor | None, gain_D: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        x, branch = x.contiguous(), None if branch is None else branch.contiguous()
        total, y = x if branch is None else torch.empty_like(x), torch.empty_like(x)
        rows, width = x.numel() // x.shape[-1], x.shape[-1]
        call(residual.forward, x, branch, gain_D, total, y, rows, width, epsilon)
        ctx.save_for_backward(total, gain_D)
        ctx.epsilon = epsilon
        ctx.set_materialize_grads(False)
        ctx.adds = branch is not None
        return total if branch is not None else x.view_as(x), y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_total: Tensor | None, by_y: Tensor | None) -> tuple[Tensor | None, ...]:
        total, gain_D = ctx.saved_tensors
        if by_y is None:
            return by_total, by_total if ctx.adds else None, None, None
        by_y, by_total = by_y.contiguous(), None if by_total is None else by_total.contiguous()
        by_x, by_gain_D = torch.empty_like(total), torch.empty_like(gain_D)
        rows, width = total.numel() // total.shape[-1], total.shape[-1]
        call(residual.backward, by_y, by_total, total, gain_D, by_x, by_gain_D, rows, width, ctx.epsilon)
        return by_x, by_x if ctx.adds else None, by_gain_D, None


class CompiledAttention(torch.autograd.Function):
    """Projections, norms, rotation, attention and the output projection."""

    @staticmethod
    def forward(
        ctx: Any, x_BTD: Tensor, w_qkv: Tensor, w_out: Tensor, turn_TJ: Tensor, heads: int, epsilon: float,
        *gains: Tensor,
    ) -> Tensor:  # fmt: skip
        x_BTD, w_qkv, w_out, turn_TJ = (t.contiguous() for t in (x_BTD, w_qkv, w_out, turn_TJ))
        sequences, time, width = x_BTD.shape
        qkv, o, y_BTD = x_BTD.new_empty(sequences * time, 3 * width), torch.empty_like(x_BTD), torch.empty_like(x_BTD)
        logs = x_BTD.new_empty(sequences * heads * time)
        work = x_BTD.new_empty(mixing.working_numbers(time, width, heads))
        q_gain, k_gain = gains or (None, None)
        call(mixing.forward, x_BTD, w_qkv, w_out, q_gain, k_gain, turn_TJ, qkv, o, logs, y_BTD, work,
             sequences, time, width, heads, epsilon)  # fmt: skip
        ctx.heads, ctx.epsilon = heads, epsilon
        ctx.save_for_backward(x_BTD, w_qkv, w_out, turn_TJ, qkv, o, logs, *gains)
        return y_BTD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_y_BTD: Tensor) -> tuple[Tensor | None, ...]:
        x_BTD, w_qkv, w_out, turn_TJ, qkv, o, logs, *gains = ctx.saved_tensors
        sequences, time, width = x_BTD.shape
        by_x, by_w_qkv, by_w_out = torch.empty_like(x_BTD), torch.empty_like(w_qkv), torch.empty_like(w_out)
        by_gains = [torch.empty_like(gain) for gain in gains]
        work = x_BTD.new_empty(mixing.working_numbers(time, width, ctx.heads))
        call(mixing.backward, by_y_BTD.contiguous(), x_BTD, w_qkv, w_out, *(gains or (None, None)), turn_TJ,
             qkv, o, logs, by_x, by_w_qkv, by_w_out, *(by_gains or (None, None)), work,
             sequences, time, width, ctx.heads, ctx.epsilon)  # fmt: skip
        return by_x, by_w_qkv, by_w_out, None, None, None, *by_gains


class CompiledNetworks(torch.autograd.Function):
    """Gathering, the experts' networks, gates and scattering; without gates, the one network of a dense layer."""

    @staticmethod
    def forward(
        ctx: Any, x_TD: Tensor, gates_TK: Tensor | None, ids_TK: Tensor | None, w_in_EDN: Tensor, w_out_EFD: Tensor
    ) -> Tensor:
        x_TD, w_in_EDN, w_out_EFD = x_TD.contiguous(), w_in_EDN.contiguous(), w_out_EFD.contiguous()
        gates_TK, ids_TK = (None if t is None else t.contiguous() for t in (gates_TK, ids_TK))
        tokens, top_k = (len(x_TD), 1) if ids_TK is None else ids_TK.shape
        experts, inner, width = w_out_EFD.shape
        plan = torch.empty(tokens * top_k + experts, dtype=torch.int64)
        order_M, counts_E = plan.split([tokens * top_k, experts])
        out_TD, hidden_MN = torch.empty_like(x_TD), x_TD.new_empty(tokens * top_k, 2 * inner)
        work = x_TD.new_empty(networks.working_numbers(width, inner))
        call(networks.forward, x_TD, gates_TK, ids_TK, order_M, counts_E, w_in_EDN, w_out_EFD, out_TD, hidden_MN, work,
             tokens, top_k, width, inner, experts)  # fmt: skip
        ctx.save_for_backward(x_TD, gates_TK, order_M, counts_E, w_in_EDN, w_out_EFD, hidden_MN)
        return out_TD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_out_TD: Tensor) -> tuple[Tensor | None, ...]:
        x_TD, gates_TK, order_M, counts_E, w_in_EDN, w_out_EFD, hidden_MN = ctx.saved_tensors
        experts, inner, width = w_out_EFD.shape
        by_gates = None if gates_TK is None else torch.empty_like(gates_TK)
        by_x, by_w_in, by_w_out = torch.empty_like(x_TD), torch.empty_like(w_in_EDN), torch.empty_like(w_out_EFD)
        work = x_TD.new_empty(networks.working_numbers(width, inner))
        call(networks.backward, by_out_TD.contiguous(), x_TD, gates_TK, order_M, counts_E, w_in_EDN, w_out_EFD,
             hidden_MN, by_x, by_gates, by_w_in, by_w_out, work,
             len(x_TD), len(order_M) // len(x_TD), width, inner, experts)  # fmt: skip
        return by_x, by_gates, None, by_w_in, by_w_out


class CompiledMoves(torch.autograd.Function):
    """The moves of ``CompiledNetworks``, without its products."""

    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, ids_TK: Tensor, experts: int) -> Tensor:
        ctx.experts = experts
        ctx.save_for_backward(ids_TK)
        return _moved(x_TD, ids_TK, experts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_out_TD: Tensor) -> tuple[Tensor | None, ...]:
        (ids_TK,) = ctx.saved_tensors
        return _moved(by_out_TD, ids_TK, ctx.experts), None, None


def _moved(x_TD: Tensor, ids_TK: Tensor, experts: int) -> Tensor:
    plan = torch.empty(ids_TK.numel() + experts, dtype=torch.int64)
    order_M, counts_E = plan.split([ids_TK.numel(), experts])
    out_TD, work = torch.empty_like(x_TD), x_TD.new_empty(networks.BLOCK * x_TD.shape[1])
    call(networks.moves, x_TD.contiguous(), ids_TK.contiguous(), order_M, counts_E, out_TD, work,
         *ids_TK.shape, x_TD.shape[1], experts)  # fmt: skip
    return out_TD


class CompiledRouter(torch.autograd.Function):
    """Softmax, the K best, and the losses of both."""

    @staticmethod
    def forward(
        ctx: Any, x_TD: Tensor, weight_ED: Tensor, top_k: int, bias_E: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        x_TD, weight_ED = x_TD.contiguous(), weight_ED.contiguous()
        tokens, (experts, width) = len(x_TD), weight_ED.shape
        bias_E = x_TD.new_zeros(experts) if bias_E is None else bias_E.contiguous()
        probs_TE, gates_TK = x_TD.new_empty(tokens, experts), x_TD.new_empty(tokens, top_k)
        ids_TK = torch.empty(tokens, top_k, dtype=torch.int64)
        logs_T, load_E, mean_E = x_TD.new_empty(tokens), x_TD.new_empty(experts), x_TD.new_empty(experts)
        work = x_TD.new_empty(softmax_router.working_numbers(width, experts))
        call(softmax_router.forward, x_TD, weight_ED, bias_E, probs_TE, gates_TK, ids_TK, logs_T, load_E, mean_E, work,
             tokens, width, experts, top_k)  # fmt: skip
        load_balance, router_z = (load_E * mean_E).sum() * experts, logs_T.square().mean()
        ctx.mark_non_differentiable(ids_TK, probs_TE, load_E)
        ctx.save_for_backward(x_TD, weight_ED, ids_TK, probs_TE, load_E, logs_T)
        return gates_TK, ids_TK, probs_TE, load_E, load_balance, router_z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_gates_TK: Tensor, *others: Tensor) -> tuple[Tensor | None, ...]:
        x_TD, weight_ED, ids_TK, probs_TE, load_E, logs_T = ctx.saved_tensors
        by_balance, by_z = (float(by) for by in others[-2:])
        by_x, by_weight = torch.empty_like(x_TD), torch.empty_like(weight_ED)
        experts, width = weight_ED.shape
        work = x_TD.new_empty(softmax_router.working_numbers(width, experts))
        call(softmax_router.backward, by_gates_TK.contiguous(), by_balance, by_z, x_TD, weight_ED, probs_TE, ids_TK,
             logs_T, load_E, by_x, by_weight, work, len(x_TD), width, experts, ids_TK.shape[1])  # fmt: skip
        return by_x, by_weight, None, None


class CompiledLoss(torch.autograd.Function):
    """Unembedding and mean cross-entropy; the gradient is computed together with the loss."""

    @staticmethod
    def forward(ctx: Any, x_RD: Tensor, w_VD: Tensor, targets_R: Tensor) -> Tensor:
        gradients = any(ctx.needs_input_grad)
        by_x, by_w = (torch.empty_like(x_RD), torch.empty_like(w_VD)) if gradients else (None, None)
        losses_R = next_token_losses(x_RD, w_VD, targets_R, by_x, by_w)
        if gradients:
            ctx.save_for_backward(by_x, by_w)
        return losses_R.double().mean().float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        by_x, by_w = ctx.saved_tensors
        return (by_x, by_w, None) if float(gradient) == 1 else (by_x * gradient, by_w * gradient, None)


def next_token_losses(
    x_RD: Tensor, w_VD: Tensor, targets_R: Tensor, by_x: Tensor | None = None, by_w: Tensor | None = None
) -> Tensor:
    """Cross-entropy of each next token, R; the gradients of their mean are written where there is a place for them."""
    (vocabulary, width), rows = w_VD.shape, len(x_RD)
    if rows and not 0 <= int(targets_R.min()) <= int(targets_R.max()) < vocabulary:
        raise IndexError(
            f"targets from {int(targets_R.min())} to {int(targets_R.max())}: expected 0 to {vocabulary - 1}"
        )
    losses_R = x_RD.new_empty(rows)
    work = x_RD.new_empty(next_token.working_numbers(width, vocabulary))
    call(next_token.losses_and_slopes, x_RD.contiguous(), w_VD.contiguous(), targets_R.contiguous(), losses_R,
         by_x, by_w, work, rows, width, vocabulary)  # fmt: skip
    return losses_R
