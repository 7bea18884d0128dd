"""The mixture-of-experts layer: a router that chooses, and the experts that compute.

Shape suffixes: T tokens (batch and time flattened), D model width, F expert hidden width, E experts,
K experts chosen per token, M = T K rows to compute, N = 2 F (gate and up side by side).

``experts_by_loop`` is the definition. ``experts_by_group`` is what runs: the same sum with the rows of one
expert side by side, no token dropped, no padding. A test holds the two equal, forward and gradient.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moelaws.config import ModelConfig


@dataclass(frozen=True)
class RouterStatistics:
    """What one router did with one batch.

    Attributes:
        load_E: share of all T K choices that each expert received; sums to 1.
        entropy: entropy of the router's distribution over experts, in nats, mean over tokens (scalar).
        load_balance: load-balancing loss, E sum_e load_e p_e: 1 when balanced, E when collapsed (scalar, with
            gradient). Fedus et al. 2022, Eq. 4-6, with the load counted over all K choices.
        router_z: mean squared log-partition of the router's logits (scalar, with gradient).
            Zoph et al. 2022, Eq. 5.
        ids_TK: the experts chosen, best first.
    """

    load_E: Tensor
    entropy: Tensor
    load_balance: Tensor
    router_z: Tensor
    ids_TK: Tensor


def route(x_TD: Tensor, weight_ED: Tensor, top_k: int, renormalize: bool) -> tuple[Tensor, RouterStatistics]:
    """Choose K experts for every token by softmax and top-k (Fedus et al. 2022; OLMoE, Muennighoff et al. 2024).

    Args:
        x_TD: tokens.
        weight_ED: router weights, one row an expert.
        top_k: K.
        renormalize: whether the K chosen probabilities are rescaled to sum to one.

    Returns:
        gates_TK, the weight of each chosen expert, and the statistics of the choice.
    """
    n_experts = weight_ED.shape[0]
    # The router works in fp32 whatever the rest does: a rounded logit changes which expert is chosen.
    logits_TE = F.linear(x_TD.float(), weight_ED.float())
    log_z_T1 = logits_TE.logsumexp(-1, keepdim=True)
    log_probs_TE = logits_TE - log_z_T1
    probs_TE = log_probs_TE.exp()
    gates_TK, ids_TK = probs_TE.topk(top_k, dim=-1)
    if renormalize:
        gates_TK = gates_TK / gates_TK.sum(-1, keepdim=True)
    load_E = torch.bincount(ids_TK.flatten(), minlength=n_experts) / ids_TK.numel()
    statistics = RouterStatistics(
        load_E=load_E,
        entropy=-(probs_TE * log_probs_TE).detach().sum(-1).mean(),
        load_balance=n_experts * (load_E * probs_TE.mean(0)).sum(),
        router_z=log_z_T1.square().mean(),
        ids_TK=ids_TK,
    )
    return gates_TK, statistics


def swiglu(gate_up_MN: Tensor) -> Tensor:
    """SiLU of the first half times the second half: M x 2F in, M x F out."""
    gate_MF, up_MF = gate_up_MN.chunk(2, dim=-1)
    return F.silu(gate_MF) * up_MF


def experts_by_loop(x_TD: Tensor, gates_TK: Tensor, ids_TK: Tensor, w_in_EDN: Tensor, w_out_EFD: Tensor) -> Tensor:
    """The definition of the layer: each expert in turn computes its tokens, weighted by their gates.

    Args:
        x_TD: tokens.
        gates_TK: weight of each chosen expert.
        ids_TK: the chosen experts.
        w_in_EDN: gate and up projections of every expert, side by side.
        w_out_EFD: down projections.

    Returns:
        The weighted sum over each token's K experts, T x D.
    """
    out_TD = torch.zeros_like(x_TD)
    for expert in range(w_in_EDN.shape[0]):
        token, choice = torch.where(ids_TK == expert)
        y = swiglu(x_TD[token] @ w_in_EDN[expert]) @ w_out_EFD[expert]
        out_TD = out_TD.index_add(0, token, gates_TK[token, choice, None].to(y.dtype) * y)
    return out_TD


def experts_by_group(x_TD: Tensor, gates_TK: Tensor, ids_TK: Tensor, w_in_EDN: Tensor, w_out_EFD: Tensor) -> Tensor:
    """The same sum as ``experts_by_loop``, computed with one grouped matrix product a projection.

    Rows are sorted by expert, so that each expert's rows are one contiguous slice; nothing is padded or dropped,
    and an expert without tokens costs nothing.

    Args:
        x_TD, gates_TK, ids_TK, w_in_EDN, w_out_EFD: as in ``experts_by_loop``; fp32 or bf16, not float64.

    Returns:
        The weighted sum over each token's K experts, T x D.
    """
    n_tokens, top_k = ids_TK.shape
    sorted_ids_M, order_M = ids_TK.flatten().sort(stable=True)
    ends_E = torch.searchsorted(
        sorted_ids_M, torch.arange(w_in_EDN.shape[0], device=x_TD.device), right=True, out_int32=True
    )
    rows_MD = x_TD.index_select(0, order_M // top_k if top_k > 1 else order_M)
    hidden_MF = swiglu(F.grouped_mm(rows_MD, w_in_EDN, offs=ends_E))
    y_MD = F.grouped_mm(hidden_MF, w_out_EFD, offs=ends_E)
    place_M = torch.empty_like(order_M)
    place_M[order_M] = torch.arange(order_M.numel(), device=x_TD.device)
    y_TKD = y_MD.index_select(0, place_M).view(n_tokens, top_k, -1)
    return (y_TKD * gates_TK.to(y_TKD.dtype).unsqueeze(-1)).sum(1)


class ExpertsLayer(nn.Module):
    """A router and E SwiGLU experts; with E = 1, the dense feed-forward layer (no router, gate 1).

    Attributes:
        router: weights E x D, or ``None`` in a dense model.
        w_in: gate and up projections, E x D x 2F.
        w_out: down projections, E x F x D.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        shape = (config.n_experts, config.d_model, config.d_expert)
        if config.d_model % 4 or config.d_expert % 4:
            raise ValueError(
                f"d_model = {config.d_model}, d_ff / granularity = {config.d_expert}: "
                "both must be multiples of 4, the row alignment of a grouped matrix product"
            )
        self.top_k = config.top_k
        self.renormalize = config.renormalize_top_k
        self.router = nn.Parameter(torch.empty(shape[0], shape[1])) if config.is_moe else None
        self.w_in = nn.Parameter(torch.empty(shape[0], shape[1], 2 * shape[2]))
        self.w_out = nn.Parameter(torch.empty(shape[0], shape[2], shape[1]))

    def forward(self, x_TD: Tensor) -> tuple[Tensor, RouterStatistics | None]:
        """Send every token through its experts; returns the sum and the router's statistics (none if dense)."""
        if self.router is None:
            return swiglu(x_TD @ self.w_in[0]) @ self.w_out[0], None
        gates_TK, statistics = route(x_TD, self.router, self.top_k, self.renormalize)
        return experts_by_group(x_TD, gates_TK, statistics.ids_TK, self.w_in, self.w_out), statistics
