"""The experts of a decode step, each touched one visited in turn.

Shape suffixes: T tokens, D model width, F expert hidden width, N = 2 F, K experts chosen per token, M = T K rows.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from moelaws.decoding.matrix import Matrix


def experts_by_visit(
    x_TD: Tensor, gates_TK: Tensor, ids_TK: Tensor, w_in: Sequence[Matrix], w_out: Sequence[Matrix]
) -> Tensor:
    """The sum that ``models.experts.experts_by_loop`` defines, for the few tokens of a decode step on a CPU.

    Planning one grouped product costs more than so few rows do, and it looks at idle experts too.

    Args:
        x_TD: tokens.
        gates_TK: weight of each chosen expert.
        ids_TK: the chosen experts.
        w_in: gate and up projections of every expert, side by side, D x N.
        w_out: down projections, F x D.

    Returns:
        The weighted sum over each token's K experts, T x D.
    """
    top_k = ids_TK.shape[1]
    if len(x_TD) == 1:
        order_M, experts, sizes = None, ids_TK[0].tolist(), [1] * top_k
        rows_MD = x_TD.expand(top_k, -1)
    else:
        sorted_ids_M, order_M = ids_TK.flatten().sort()
        experts, sizes = runs(sorted_ids_M.tolist())
        rows_MD = x_TD.index_select(0, order_M if top_k == 1 else order_M // top_k)
    hidden_MN = rows_MD.new_empty(len(rows_MD), w_in[0].plain_KN.shape[1])
    for expert, rows, out in zip(experts, rows_MD.split(sizes), hidden_MN.split(sizes), strict=True):
        w_in[expert].times_into(rows, out)
    active_MF, y_MD = gated(hidden_MN), x_TD.new_empty(rows_MD.shape)
    for expert, rows, out in zip(experts, active_MF.split(sizes), y_MD.split(sizes), strict=True):
        w_out[expert].times_into(rows, out)
    if order_M is not None:
        y_MD = torch.empty_like(y_MD).index_copy_(0, order_M, y_MD)
    if top_k == 1:
        return y_MD.mul_(gates_TK)
    return y_MD.view(*ids_TK.shape, -1).mul_(gates_TK.unsqueeze(-1)).sum(1)


def gated(hidden_MN: Tensor) -> Tensor:
    """SwiGLU: SiLU of the first half times the second half, M x F."""
    gate_MF, up_MF = hidden_MN.chunk(2, dim=-1)
    return F.silu(gate_MF).mul_(up_MF)


def runs(sorted_ids: list[int]) -> tuple[list[int], list[int]]:
    """The distinct values, and how often each occurs."""
    begins = [i for i, e in enumerate(sorted_ids) if i == 0 or e != sorted_ids[i - 1]]
    sizes = [end - begin for begin, end in zip(begins, [*begins[1:], len(sorted_ids)], strict=True)]
    return [sorted_ids[i] for i in begins], sizes
