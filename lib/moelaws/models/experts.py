"""The mixture-of-experts layer: a router that chooses, and the experts that compute.

Shape suffixes: T tokens (batch and time flattened), D model width, F expert hidden width, E experts,
K experts chosen per token, M = T K rows to compute, N = 2 F (gate and up side by side).

``experts_by_loop`` is the definition. ``experts_by_group`` is what runs: the same sum with the rows of one
expert side by side, no token dropped, no padding. A test holds the two equal, forward and gradient.
"""

from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moelaws.config import ModelConfig
from moelaws.models.feedforward import RowsByExpert, feed_forward, networks, networks_backward, swiglu
from moelaws.models.product import compiles, on_cpu
from moelaws.models.router import RouterStatistics, route

# With fewer multiply-adds in an expert's product, one grouped product for all experts beats a product for each.
_WORK_FOR_PRODUCTS = 4_000_000


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
    """The same sum as ``experts_by_loop``, with the rows of each expert brought together.

    Rows are sorted by expert, so that each expert's rows are one contiguous slice; no choice is dropped, and an
    expert without tokens costs nothing.

    Args:
        x_TD, gates_TK, ids_TK, w_in_EDN, w_out_EFD: as in ``experts_by_loop``; fp32 or bf16, not float64.

    Returns:
        The weighted sum over each token's K experts, T x D.
    """
    if compiles(x_TD):
        from moelaws.models.compiled_layers import CompiledNetworks

        return CompiledNetworks.apply(x_TD, gates_TK, ids_TK, w_in_EDN, w_out_EFD)
    if on_cpu(x_TD):
        return _Experts.apply(x_TD, gates_TK, ids_TK, w_in_EDN, w_out_EFD)
    n_tokens, top_k = ids_TK.shape
    sorted_ids_M, order_M = ids_TK.flatten().sort(stable=True)
    ends_E = torch.searchsorted(
        sorted_ids_M, torch.arange(w_in_EDN.shape[0], device=x_TD.device), right=True, out_int32=True
    )
    device = x_TD.device.type  # autocast does not know grouped products
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x_TD.dtype
    rows_MD = x_TD.index_select(0, order_M // top_k).to(dtype)
    hidden_MF = swiglu(_grouped(rows_MD, w_in_EDN.to(dtype), ends_E))
    y_MD = _grouped(hidden_MF, w_out_EFD.to(dtype), ends_E)
    place_M = torch.empty_like(order_M)
    place_M[order_M] = torch.arange(order_M.numel(), device=x_TD.device)
    y_TKD = y_MD.index_select(0, place_M).view(n_tokens, top_k, -1)
    return (y_TKD * gates_TK.to(y_TKD.dtype).unsqueeze(-1)).sum(1)


def there_and_back(x_TD: Tensor, ids_TK: Tensor, w_in_EDN: Tensor) -> Tensor:
    """What ``experts_by_group`` moves: rows brought together by expert, and back, with nothing computed between.

    Args:
        x_TD, ids_TK, w_in_EDN: as there.

    Returns:
        Each token K times over, T x D; its gradient moves as much.
    """
    if compiles(x_TD):
        from moelaws.models.compiled_layers import CompiledMoves

        return CompiledMoves.apply(x_TD, ids_TK, len(w_in_EDN))
    if on_cpu(x_TD):
        return _Moves.apply(x_TD, ids_TK, w_in_EDN.detach())
    n_tokens, top_k = ids_TK.shape
    _, order_M = ids_TK.flatten().sort(stable=True)
    rows_MD = x_TD.index_select(0, order_M // top_k)
    place_M = torch.empty_like(order_M)
    place_M[order_M] = torch.arange(order_M.numel(), device=x_TD.device)
    return rows_MD.index_select(0, place_M).view(n_tokens, top_k, -1).sum(1)


def _grouped(rows_MA: Tensor, w_EAB: Tensor, ends_E: Tensor) -> Tensor:
    """A product for each expert's rows: M x B from M x A.

    On CUDA torch's grouped product takes 16-bit numbers alone (its rules of shapes refuse others, so that nothing in
    fp32 could be compiled). There, fp32 is for evaluation and for tests: a product for each expert, whose rows the
    host must know.
    """
    if rows_MA.device.type == "cpu" or rows_MA.dtype in (torch.bfloat16, torch.float16):
        return F.grouped_mm(rows_MA, w_EAB, offs=ends_E)
    return products_by_expert(rows_MA, w_EAB, ends_E)


def products_by_expert(rows_MA: Tensor, w_EAB: Tensor, ends_E: Tensor) -> Tensor:
    """The grouped product as one product an expert, on any device and in any precision; it can be differentiated."""
    ends = [0, *ends_E.tolist()]
    return torch.cat([rows_MA[begin:end] @ w for begin, end, w in zip(ends, ends[1:], w_EAB, strict=False)])


def bring_together(ids_TK: Tensor, w_in_EDN: Tensor) -> tuple[Tensor, int, RowsByExpert]:
    """Plan where each choice's row goes so that every expert's rows are one slice.

    oneDNN prepares a kernel for every new shape, which takes milliseconds. So where each expert gets a product of
    its own, its slice is filled up with rows of zeros to one of a few round lengths.

    Args:
        ids_TK: the chosen experts.
        w_in_EDN: the experts' first matrices, whose size decides how they are multiplied.

    Returns:
        place_M, the row of each choice; the number of rows; and where each expert's rows lie.
    """
    counts = torch.bincount(ids_TK.flatten(), minlength=len(w_in_EDN))
    grouped = ids_TK.numel() * w_in_EDN[0].numel() < _WORK_FOR_PRODUCTS * len(w_in_EDN)
    lengths = counts.tolist() if grouped else [_round_up(count) for count in counts.tolist()]
    ends = list(accumulate(lengths))
    spans = [(e, end - length, end) for e, (end, length) in enumerate(zip(ends, lengths, strict=True)) if length]
    sorted_ids_M, order_M = ids_TK.flatten().sort(stable=True)
    # A choice's row: its rank among its expert's choices, after the row where the expert's slice begins.
    begin_E = torch.tensor([0, *ends[:-1]]) - (counts.cumsum(0) - counts)
    place_M = torch.empty_like(order_M)
    place_M[order_M] = begin_E[sorted_ids_M] + torch.arange(len(order_M))
    ends_E = torch.tensor(ends, dtype=torch.int32) if grouped else None
    return place_M, ends[-1], RowsByExpert(spans, ends_E)


def _round_up(count: int) -> int:
    """At most an eighth more, or 15 more: eight lengths an octave."""
    step = max(16, 1 << max(0, count.bit_length() - 4))
    return -(-count // step) * step


class _Experts(torch.autograd.Function):
    """Gathering, the experts' networks, gates and scattering, with one backward pass."""

    @staticmethod
    def forward(
        ctx: Any, x_TD: Tensor, gates_TK: Tensor, ids_TK: Tensor, w_in_EDN: Tensor, w_out_EFD: Tensor
    ) -> Tensor:
        place_M, n_rows, rows = bring_together(ids_TK, w_in_EDN)
        x_PD = _scatter(_repeat(x_TD, ids_TK.shape[1]), place_M, n_rows)
        y_PD, saved = networks(x_PD, w_in_EDN, w_out_EFD, rows)
        y_TKD = y_PD.index_select(0, place_M).view(*ids_TK.shape, -1)
        ctx.rows = rows
        ctx.save_for_backward(gates_TK, place_M, y_TKD, w_in_EDN, w_out_EFD, *saved)
        return _sum_choices(y_TKD * gates_TK.unsqueeze(-1))

    @staticmethod
    def backward(ctx: Any, by_out_TD: Tensor) -> tuple[Tensor | None, ...]:
        gates_TK, place_M, y_TKD, w_in_EDN, w_out_EFD, *saved = ctx.saved_tensors
        by_gates_TK = torch.linalg.vecdot(y_TKD, by_out_TD.unsqueeze(1))
        by_y_MD = (by_out_TD.unsqueeze(1) * gates_TK.unsqueeze(-1)).flatten(0, 1)
        by_y_PD = _scatter(by_y_MD, place_M, len(saved[0]))
        by_x_PD, by_w_in, by_w_out = networks_backward(by_y_PD, w_in_EDN, w_out_EFD, ctx.rows, saved)
        by_x_TD = _sum_choices(by_x_PD.index_select(0, place_M).view(y_TKD.shape))
        return by_x_TD, by_gates_TK, None, by_w_in, by_w_out


class _Moves(torch.autograd.Function):
    """The moves of ``_Experts``, without its products."""

    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, ids_TK: Tensor, w_in_EDN: Tensor) -> Tensor:
        place_M, n_rows, _ = bring_together(ids_TK, w_in_EDN)
        ctx.n_rows = n_rows
        ctx.save_for_backward(ids_TK, place_M)
        return _moved(x_TD, ids_TK, place_M, n_rows)

    @staticmethod
    def backward(ctx: Any, by_out_TD: Tensor) -> tuple[Tensor | None, ...]:
        ids_TK, place_M = ctx.saved_tensors
        return _moved(by_out_TD, ids_TK, place_M, ctx.n_rows), None, None


def _moved(x_TD: Tensor, ids_TK: Tensor, place_M: Tensor, n_rows: int) -> Tensor:
    x_PD = _scatter(_repeat(x_TD, ids_TK.shape[1]), place_M, n_rows)
    return _sum_choices(x_PD.index_select(0, place_M).view(*ids_TK.shape, -1))


def _repeat(x_TD: Tensor, times: int) -> Tensor:
    return x_TD if times == 1 else x_TD.repeat_interleave(times, 0)


def _scatter(x_MD: Tensor, place_M: Tensor, n_rows: int) -> Tensor:
    """Rows at their places, zeros between."""
    return x_MD.new_zeros(n_rows, x_MD.shape[1]).index_copy_(0, place_M, x_MD)


def _sum_choices(y_TKD: Tensor) -> Tensor:
    return y_TKD.squeeze(1) if y_TKD.shape[1] == 1 else y_TKD.sum(1)


class FeedForward(nn.Module):
    """The dense feed-forward layer, written as one expert that every token passes through.

    Attributes:
        w_in: gate and up projections, 1 x D x 2F.
        w_out: down projection, 1 x F x D.
    """

    def __init__(self, d_model: int, d_hidden: int) -> None:
        super().__init__()
        self.w_in = nn.Parameter(torch.empty(1, d_model, 2 * d_hidden))
        self.w_out = nn.Parameter(torch.empty(1, d_hidden, d_model))

    def forward(self, x_TD: Tensor) -> tuple[Tensor, None]:
        """Send every token through; there are no router statistics."""
        return feed_forward(x_TD, self.w_in, self.w_out), None


class ExpertsLayer(nn.Module):
    """A router, E SwiGLU experts, and experts shared by all tokens if the model has any.

    Attributes:
        router: weights E x D.
        balance_bias: added to the router's scores when experts are chosen, E; zero unless training moves it.
        w_in: gate and up projections, E x D x 2F.
        w_out: down projections, E x F x D.
        shared: the shared experts, as one network of their joint width, or ``None``.
    """

    balance_bias: Tensor

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
        self.scores = config.router_scores
        self.router = nn.Parameter(torch.empty(shape[0], shape[1]))
        self.register_buffer("balance_bias", torch.zeros(shape[0]))
        self.w_in = nn.Parameter(torch.empty(shape[0], shape[1], 2 * shape[2]))
        self.w_out = nn.Parameter(torch.empty(shape[0], shape[2], shape[1]))
        shared = config.shared_experts
        self.shared = FeedForward(config.d_model, shared * config.d_expert) if shared else None

    def forward(self, x_TD: Tensor) -> tuple[Tensor, RouterStatistics]:
        """Send every token through its experts; returns the sum and the router's statistics."""
        gates_TK, statistics = route(x_TD, self.router, self.top_k, self.renormalize, self.balance_bias, self.scores)
        y_TD = experts_by_group(x_TD, gates_TK, statistics.ids_TK, self.w_in, self.w_out)
        if self.shared is not None:
            y_TD = y_TD + self.shared(x_TD)[0]
        return y_TD, statistics

    def balance(self, load_E: Tensor, rate: float) -> None:
        """Move each expert's bias a step against its load (Wang et al. 2024, Algorithm 1).

        Args:
            load_E: share of the choices that each expert received.
            rate: size of the step.
        """
        self.balance_bias += rate * torch.sign(load_E.mean() - load_E)
