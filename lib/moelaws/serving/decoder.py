"""A model made ready for decoding: the same function as ``Transformer``, one step at a time, few operations a layer.

At these sizes a step is mostly the calling of operations. So there are no modules and no autograd here: flat
functions over the model's own weights, a cache that never moves, attention of one query as two batched products.

Shape suffixes: B requests, T time steps at hand, R = B T rows, D model width, H heads, P head width, K experts chosen
per token, E experts, F hidden width, L columns of the cache, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from moelaws.models import ExpertsLayer, Transformer
from moelaws.models.attention import pairs
from moelaws.models.experts import FeedForward, experts_by_group, experts_by_visit
from moelaws.models.feedforward import swiglu
from moelaws.models.norm import NORM_EPSILON
from moelaws.models.product import product
from moelaws.models.transformer import Block
from moelaws.serving.cache import KeyValueCache, make_cache

# With more rows than this a layer's experts are planned as in training.
_FEW_ROWS = 512


@dataclass(frozen=True)
class DecoderLayer:
    """One block's weights, as the decoder uses them; views of the model's, except for the joined gains.

    Attributes:
        attention_gain, experts_gain: of the norms before attention and experts.
        w_qkv, w_out: of attention.
        qk_gain_2D: gains of queries and keys, or ``None``.
        router: E x D, or ``None`` in a layer without one.
        bias_E: added to the probabilities when experts are chosen, or ``None`` if it is zero.
        w_in, w_out_experts: of the experts, or of the one dense network.
        by_expert: the same two, an expert at a time.
        shared: gate-and-up and down projections of the shared experts, or ``None``.
    """

    attention_gain: Tensor
    w_qkv: Tensor
    qk_gain_2D: Tensor | None
    w_out: Tensor
    experts_gain: Tensor
    router: Tensor | None
    bias_E: Tensor | None
    w_in: Tensor
    w_out_experts: Tensor
    by_expert: tuple[tuple[Tensor, ...], tuple[Tensor, ...]]
    shared: tuple[Tensor, Tensor] | None


class Decoder:
    """Prefill and decode steps of one model, in fp32, without gradients.

    Args:
        model: the model, on its device. Its weights are used, not copied: what trains it changes the decoder.

    Attributes:
        config: the architecture.
        device: of the weights.
        layers: the blocks' weights.
    """

    def __init__(self, model: Transformer) -> None:
        self.config = model.config
        self.device = model.embedding.device
        self._on_cpu = self.device.type == "cpu"
        self._embedding, self._final_gain = model.embedding.detach(), model.final_norm.gain.detach()
        self._output_weight = model.output_weight.detach()
        self._shift_gain = None if model.shift is None else model.shift.gain.detach()
        self.layers = [_layer(cast(Block, block)) for block in model.blocks]

    @property
    def routed_layers(self) -> int:
        """Layers with a router."""
        return sum(layer.router is not None for layer in self.layers)

    @torch.inference_mode()
    def prefill(
        self,
        prompts: Sequence[Sequence[int]] | Tensor,
        room: int,
        routes: list[Tensor] | None = None,
        forced: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, KeyValueCache]:
        """Read the prompts.

        Args:
            prompts: token ids of each request, of any lengths; a tensor B x T where all are equally long.
            room: tokens that can follow.
            routes, forced: as in ``extend``; rows of padding are among them.

        Returns:
            logits_BV of the token after each prompt, and the filled cache.

        Raises:
            CacheError: no prompt, or an empty one.
        """
        cache = make_cache(self.config, [len(prompt) for prompt in prompts], room, self.device)
        if isinstance(prompts, Tensor):
            ids_BT = prompts.to(self.device)
        else:
            longest = max(map(len, prompts))
            padded = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
            ids_BT = torch.tensor(padded, device=self.device)
        return self.extend(cache, ids_BT, routes, forced), cache

    @torch.inference_mode()
    def extend(
        self,
        cache: KeyValueCache,
        ids_BT: Tensor,
        routes: list[Tensor] | None = None,
        forced: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Read so many more tokens of every request: a decode step with T = 1.

        Args:
            cache: of the requests; filled further.
            ids_BT: the tokens.
            routes: gets the experts chosen, R x K, of each layer with a router in turn.
            forced: experts to take instead of the router's choice, R x K for each layer with a router.

        Returns:
            logits_BV after the last of the tokens.

        Raises:
            CacheError: no room is left in the cache.
        """
        batch, time = ids_BT.shape
        start, end = cache.claim(time)
        mask = cache.mask(start, end)
        turns = cache.turns[..., start:end, :, :]
        choices = iter(forced) if forced is not None else None
        x_RD = self._embed(cache, ids_BT, start, end).flatten(0, 1)
        for layer, keys, values in zip(self.layers, cache.keys, cache.values, strict=True):
            y_RD = self._attend(layer, x_RD, (batch, time), turns, keys, values, start, mask)
            x_RD.add_(y_RD)
            x_RD.add_(self._feed(layer, x_RD, routes, choices))
        cache.length = end
        last_BD = x_RD if time == 1 else x_RD.view(batch, time, -1)[:, -1]
        return self._product(_norm(last_BD, self._final_gain), self._output_weight)

    def _embed(self, cache: KeyValueCache, ids_BT: Tensor, start: int, end: int) -> Tensor:
        """Embeddings, each with the previous token's share if the model shifts tokens."""
        x_BTD = F.embedding(ids_BT, self._embedding)
        if self._shift_gain is None:
            return x_BTD
        if cache.hidden_BL is not None:  # a request's first token has padding before it, which adds nothing
            x_BTD.masked_fill_(cache.hidden_BL[:, start:end, None], 0)
        before_B1D = torch.zeros_like(x_BTD[:, :1]) if cache.last_B1D is None else cache.last_B1D
        cache.last_B1D = x_BTD[:, -1:]
        return x_BTD + self._shift_gain * torch.cat((before_B1D, x_BTD[:, :-1]), dim=1)

    def _attend(
        self, layer: DecoderLayer, x_RD: Tensor, shape: tuple[int, int], turns: Tensor,
        keys_BHPL: Tensor, values_BHLP: Tensor, start: int, mask: Tensor | None,
    ) -> Tensor:  # fmt: skip
        (batch, time), end = shape, start + shape[1]
        heads, head = values_BHLP.shape[1], values_BHLP.shape[3]
        qkv_R3D = self._product(_norm(x_RD, layer.attention_gain), layer.w_qkv)
        qk_R2D = qkv_R3D[:, : 2 * heads * head].unflatten(-1, (2, -1))
        if layer.qk_gain_2D is not None:
            qk_R2D = _norm(qk_R2D, None).mul_(layer.qk_gain_2D)
        pairs(qk_R2D).view(*shape, 2, -1).mul_(turns)
        q_BTHP, k_BTHP = qk_R2D.view(*shape, 2, heads, head).unbind(2)
        v_BTHP = qkv_R3D[:, 2 * heads * head :].view(*shape, heads, head)
        keys_BHPL[..., start:end] = k_BTHP.permute(0, 2, 3, 1)
        values_BHLP[:, :, start:end] = v_BTHP.transpose(1, 2)
        if start == 0 and time > 1:
            q, k, v = (x.transpose(1, 2) for x in (q_BTHP, k_BTHP, v_BTHP))
            y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None, scale=1.0)
        else:
            # torch's fused attention takes twice as long for a single query.
            q = q_BTHP.transpose(1, 2).reshape(-1, time, head)
            scores = torch.bmm(q, keys_BHPL[..., :end].flatten(0, 1))
            if mask is not None:
                scores.view(batch, heads, time, end).add_(mask)
            y = torch.bmm(scores.softmax(-1), values_BHLP[:, :, :end].flatten(0, 1)).view(batch, heads, time, head)
        y_RD = y.reshape(batch, -1) if time == 1 else y.transpose(1, 2).reshape(batch * time, -1)
        return self._product(y_RD, layer.w_out)

    def _feed(
        self, layer: DecoderLayer, x_RD: Tensor, routes: list[Tensor] | None, forced: Iterator[Tensor] | None
    ) -> Tensor:
        h_RD = _norm(x_RD, layer.experts_gain)
        if layer.router is None:
            return self._network(h_RD, layer.w_in[0], layer.w_out_experts[0])
        gates_RK, ids_RK = self._choose(layer, h_RD, next(forced) if forced is not None else None)
        if routes is not None:
            routes.append(ids_RK)
        if self._on_cpu and ids_RK.numel() <= _FEW_ROWS:
            y_RD = experts_by_visit(h_RD, gates_RK, ids_RK, *layer.by_expert)
        else:
            y_RD = experts_by_group(h_RD, gates_RK, ids_RK, layer.w_in, layer.w_out_experts)
        return y_RD if layer.shared is None else y_RD.add_(self._network(h_RD, *layer.shared))

    def _choose(self, layer: DecoderLayer, h_RD: Tensor, forced_RK: Tensor | None) -> tuple[Tensor, Tensor]:
        probs_RE = self._product(h_RD, cast(Tensor, layer.router)).softmax(-1)
        if forced_RK is not None:
            gates_RK, ids_RK = probs_RE.gather(1, forced_RK), forced_RK
        elif layer.bias_E is not None:
            ids_RK = (probs_RE + layer.bias_E).topk(self.config.top_k).indices
            gates_RK = probs_RE.gather(1, ids_RK)
        elif self.config.top_k == 1:
            gates_RK, ids_RK = probs_RE.max(-1, keepdim=True)
        else:
            gates_RK, ids_RK = probs_RE.topk(self.config.top_k)
        if self.config.renormalize_top_k:
            gates_RK = gates_RK / gates_RK.sum(-1, keepdim=True)
        return gates_RK, ids_RK

    def _network(self, h_RD: Tensor, w_in_DN: Tensor, w_out_FD: Tensor) -> Tensor:
        return self._product(swiglu(self._product(h_RD, w_in_DN.t())), w_out_FD.t())

    def _product(self, x_RK: Tensor, w_NK: Tensor) -> Tensor:
        return product(x_RK, w_NK) if self._on_cpu else F.linear(x_RK, w_NK)


def _norm(x: Tensor, gain: Tensor | None) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], gain, NORM_EPSILON)


def _layer(block: Block) -> DecoderLayer:
    attention, experts = block.attention, cast(ExpertsLayer | FeedForward, block.experts)
    gains = None
    if attention.q_norm is not None and attention.k_norm is not None:
        gains = torch.stack((attention.q_norm.gain.detach(), attention.k_norm.gain.detach()))
    router = bias = shared = None
    if isinstance(experts, ExpertsLayer):
        router = experts.router.detach()
        bias = experts.balance_bias if bool(experts.balance_bias.any()) else None
        if experts.shared is not None:
            shared = (experts.shared.w_in[0].detach(), experts.shared.w_out[0].detach())
    return DecoderLayer(
        attention_gain=block.attention_norm.gain.detach(),
        w_qkv=attention.w_qkv.detach(),
        qk_gain_2D=gains,
        w_out=attention.w_out.detach(),
        experts_gain=block.experts_norm.gain.detach(),
        router=router,
        bias_E=bias,
        w_in=experts.w_in.detach(),
        w_out_experts=experts.w_out.detach(),
        by_expert=(experts.w_in.detach().unbind(), experts.w_out.detach().unbind()),
        shared=shared,
    )
