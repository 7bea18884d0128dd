"""The router of a layer with experts: which K of E experts a token goes to, and with what weight.

Shape suffixes: T tokens (batch and time flattened), D model width, E experts, K experts chosen per token.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from moelaws.models.product import compiles, linear, on_cpu, product, weight_gradient

_FEW = 4  # experts a token, up to which they are chosen one after another
_FEW_ROWS = 32  # tokens, up to which topk is quicker all the same

SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": partial(torch.softmax, dim=-1),
    "sigmoid": torch.sigmoid,
}
"""Scores of the experts from a token's logits, for training and decoding: one for each choice of
``ModelConfig.router_scores``. A score is positive, along the last dimension; that of an expert chosen is its gate.
Softmax has another form besides, for training on the CPU, with a backward pass of its own."""


@dataclass(frozen=True)
class RouterStatistics:
    """What one router did with one batch.

    Attributes:
        ids_TK: the experts chosen, best first.
        probs_TE: the router's distribution over experts: its scores over their sum (no gradient).
        load_E: share of all T K choices that each expert received; sums to 1.
        load_balance: load-balancing loss, E sum_e load_e p_e: 1 when balanced, E when collapsed (scalar, with
            gradient). Fedus et al. 2022, Eq. 4-6, with the load counted over all K choices.
        router_z: mean squared log-partition of the router's logits (scalar, with gradient).
            Zoph et al. 2022, Eq. 5.
    """

    ids_TK: Tensor
    probs_TE: Tensor
    load_E: Tensor
    load_balance: Tensor
    router_z: Tensor

    @property
    def entropy(self) -> Tensor:
        """Entropy of the router's distribution over experts, in nats, mean over tokens (scalar)."""
        return torch.special.entr(self.probs_TE).sum(-1).mean()

    def experts_touched(self, batch: int) -> Tensor:
        """Distinct experts that groups of tokens choose: what a decode step of that many tokens must read.

        Args:
            batch: tokens in a group, B. Group i takes every (T // B)-th token from the i-th on, so that its tokens
                stand far apart in the text, like those of different requests.

        Returns:
            One count a group, T // B of them.

        Raises:
            ValueError: more tokens in a group than there are.
        """
        tokens, top_k = self.ids_TK.shape
        if not 1 <= batch <= tokens:
            raise ValueError(f"batch = {batch}: expected 1 to {tokens}, the tokens that were routed")
        groups = tokens // batch
        ids = self.ids_TK[: groups * batch].view(batch, groups, top_k).transpose(0, 1).flatten(1)
        touched = torch.zeros(groups, len(self.load_E), dtype=torch.bool, device=ids.device)
        return touched.scatter_(1, ids, True).sum(1)


def route(
    x_TD: Tensor, weight_ED: Tensor, top_k: int, renormalize: bool = False, bias_E: Tensor | None = None,
    scores: str = "softmax",
) -> tuple[Tensor, RouterStatistics]:  # fmt: skip
    """Choose K experts for every token by score and top-k (Fedus et al. 2022; OLMoE, Muennighoff et al. 2024).

    Args:
        x_TD: tokens.
        weight_ED: router weights, one row an expert.
        top_k: K.
        renormalize: whether the K chosen scores are rescaled to sum to one.
        bias_E: added to the scores when experts are chosen, not when they are weighted (Wang et al. 2024).
        scores: what makes them of the router's logits, a name in ``SCORES``.

    Returns:
        gates_TK, the weight of each chosen expert, and the statistics of the choice.
    """
    if scores == "softmax" and compiles(x_TD):
        from moelaws.models.compiled_layers import CompiledRouter

        gates_TK, ids_TK, probs_TE, load_E, load_balance, router_z = CompiledRouter.apply(
            x_TD, weight_ED, top_k, bias_E
        )
    elif scores == "softmax" and on_cpu(x_TD):
        gates_TK, ids_TK, probs_TE, load_E, load_balance, router_z = _Softmax.apply(x_TD, weight_ED, top_k, bias_E)
    else:
        # The router works in fp32 whatever the rest does: a rounded logit changes which expert is chosen.
        with torch.autocast(x_TD.device.type, enabled=False):
            logits_TE = linear(x_TD.float(), weight_ED.float())
        scores_TE = SCORES[scores](logits_TE)
        gates_TK, ids_TK = choose(scores_TE, top_k, bias_E)
        load_E = _load(ids_TK, len(weight_ED))
        probs_TE = scores_TE if scores == "softmax" else scores_TE / scores_TE.sum(-1, keepdim=True)
        load_balance = len(load_E) * (load_E * probs_TE.mean(0)).sum()
        router_z = logits_TE.logsumexp(-1).square().mean()
    statistics = RouterStatistics(ids_TK, probs_TE.detach(), load_E, load_balance, router_z)
    return rescaled(gates_TK) if renormalize else gates_TK, statistics


def choose(scores_TE: Tensor, top_k: int, bias_E: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The K experts of each token, in training and in decoding.

    Args:
        scores_TE: of all experts.
        top_k: K.
        bias_E: added to the scores when experts are chosen, not when they are weighted.

    Returns:
        gates_TK, the scores of those chosen, and ids_TK, which they are, best first.
    """
    if bias_E is not None:
        _, ids_TK = _best((scores_TE + bias_E).detach(), top_k)
        return scores_TE.gather(1, ids_TK), ids_TK
    return _best(scores_TE, top_k)


def rescaled(gates_TK: Tensor) -> Tensor:
    """Gates that sum to one."""
    return gates_TK / gates_TK.sum(-1, keepdim=True)


def _load(ids_TK: Tensor, n_experts: int) -> Tensor:
    """The share of all choices that each expert got."""
    ones_M = torch.ones(ids_TK.numel(), device=ids_TK.device)
    return ones_M.new_zeros(n_experts).scatter_add_(0, ids_TK.flatten(), ones_M) / ids_TK.numel()


def _best(scores_TE: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """The K largest of each row and where they are, the largest first."""
    if top_k == 1:
        best = scores_TE.max(-1, keepdim=True)
        return best.values, best.indices
    if top_k > _FEW or len(scores_TE) <= _FEW_ROWS or not on_cpu(scores_TE):
        largest = scores_TE.topk(top_k, dim=-1)
        return largest.values, largest.indices
    # On the CPU, topk sorts row by row; as many maxima as are wanted cost a fraction of it.
    left_TE = scores_TE.detach()
    ids_T1 = [left_TE.max(-1, keepdim=True).indices]
    for _ in range(1, top_k):
        left_TE = left_TE.scatter(1, ids_T1[-1], -torch.inf)
        ids_T1.append(left_TE.max(-1, keepdim=True).indices)
    ids_TK = torch.cat(ids_T1, dim=1)
    return scores_TE.gather(1, ids_TK), ids_TK


class _Softmax(torch.autograd.Function):
    """The same choice by softmax, with one backward pass over the logits."""

    @staticmethod
    def forward(
        ctx: Any, x_TD: Tensor, weight_ED: Tensor, top_k: int, bias_E: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        logits_TE = product(x_TD, weight_ED)
        top_T1 = logits_TE.amax(-1, keepdim=True)
        probs_TE = (logits_TE - top_T1).exp_()
        sum_T1 = probs_TE.sum(-1, keepdim=True)
        probs_TE.div_(sum_T1)
        log_z_T1 = sum_T1.log_().add_(top_T1)
        gates_TK, ids_TK = choose(probs_TE, top_k, bias_E)
        load_E = _load(ids_TK, len(weight_ED))
        load_balance = torch.dot(load_E, probs_TE.mean(0)) * len(load_E)
        router_z = log_z_T1.square().mean()
        ctx.mark_non_differentiable(ids_TK, probs_TE, load_E)
        ctx.save_for_backward(x_TD, weight_ED, ids_TK, probs_TE, load_E, log_z_T1)
        return gates_TK, ids_TK, probs_TE, load_E, load_balance, router_z

    @staticmethod
    def backward(ctx: Any, by_gates_TK: Tensor, *others: Tensor) -> tuple[Tensor | None, ...]:
        x_TD, weight_ED, ids_TK, probs_TE, load_E, log_z_T1 = ctx.saved_tensors
        by_balance, by_z = others[-2:]
        tokens = len(x_TD)
        by_mean_E = load_E * (by_balance * len(load_E) / tokens)
        by_probs_TE = by_mean_E.expand_as(probs_TE).scatter_add(1, ids_TK, by_gates_TK)
        # d p_e / d logit_f = p_e (1[e = f] - p_f);  d log z / d logit_f = p_f
        shift_T1 = log_z_T1 * (2 * by_z / tokens) - torch.linalg.vecdot(by_probs_TE, probs_TE).unsqueeze(1)
        by_logits_TE = by_probs_TE.add_(shift_T1).mul_(probs_TE)
        return product(by_logits_TE, weight_ED.t()), weight_gradient(by_logits_TE, x_TD), None, None
