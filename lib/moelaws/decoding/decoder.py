"""A model made ready for decoding: the same function as ``Transformer``, one step at a time, few operations a layer.

At these sizes a step is mostly the calling of operations. So there are no modules and no autograd here: flat
functions over weights made ready for it, a cache that never moves, attention of one query as two batched products.

Shape suffixes: B requests, T time steps at hand, R = B T rows, D model width, H heads, P head width, K experts chosen
per token, E experts, F hidden width, L columns of the cache, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from moelaws.decoding.cache import KeyValueCache, make_cache
from moelaws.decoding.decoder_layer import DecoderLayer, layer_of
from moelaws.decoding.matrix import Matrix, matrix
from moelaws.decoding.visits import experts_by_visit, gated
from moelaws.models import Transformer
from moelaws.models.attention import pairs
from moelaws.models.experts import experts_by_group
from moelaws.models.norm import NORM_EPSILON
from moelaws.models.router import SCORES, choose, rescaled
from moelaws.models.transformer import Block

# With more rows than this a layer's experts are planned as in training.
_FEW_ROWS = 512


class Decoder:
    """Prefill and decode steps of one model, in fp32, without gradients.

    Args:
        model: the model, on its device. Its weights are copied: training it further does not change the decoder.

    Attributes:
        config: the architecture.
        device: of the weights.
        layers: the blocks' weights.
    """

    engine = "eager"

    def __init__(self, model: Transformer) -> None:
        self.config = model.config
        self.device = model.embedding.device
        self._scores = SCORES[self.config.router_scores]
        self._on_cpu = self.device.type == "cpu"
        with torch.no_grad():
            self._embedding = model.embedding.detach().clone()
            self._output = matrix((model.output_weight * model.final_norm.gain).t())
            self._shift_gain = None if model.shift is None else model.shift.gain.detach().clone()
            self._epsilon = torch.full((1,), NORM_EPSILON, device=self.device)
            self.layers = [layer_of(cast(Block, block)) for block in model.blocks]

    @property
    def threads(self) -> int:
        """Threads of torch."""
        return torch.get_num_threads()

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
        forced: Sequence[Tensor] | Tensor | None = None,
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
        forced: Sequence[Tensor] | Tensor | None = None,
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
        turns = cache.turns[:, :, start:end]
        choices = iter(forced) if forced is not None else None
        x_RD = self._embed(cache, ids_BT, start, end).flatten(0, 1)
        for layer, keys, values in zip(self.layers, cache.keys, cache.values, strict=True):
            y_RD = self._attend(layer, x_RD, (batch, time), turns, keys, values, start, mask)
            x_RD.add_(y_RD)
            x_RD.add_(self._feed(layer, x_RD, routes, choices))
        cache.length = end
        last_BD = x_RD if time == 1 else x_RD.view(batch, time, -1)[:, -1]
        return self._output.times(self._norm(last_BD))

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
        qkv_R3D = layer.w_qkv.times(self._norm(x_RD)).view(len(x_RD), 3, -1)
        # Queries together and keys together: those of one step are then heads side by side, without another copy.
        qk_2RD = qkv_R3D.new_empty(2, len(x_RD), heads * head)
        if layer.qk_gain_21D is None:
            qk_2RD.copy_(qkv_R3D[:, :2].transpose(0, 1))
        else:
            self._norm(qkv_R3D[:, :2].transpose(0, 1), out=qk_2RD)
            qk_2RD.mul_(layer.qk_gain_21D)
        pairs(qk_2RD.view(2, *shape, -1)).mul_(turns)
        q_BTHP, k_BTHP = qk_2RD.view(2, *shape, heads, head).unbind()
        v_BTHP = qkv_R3D[:, 2].view(*shape, heads, head)
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
        return layer.w_out.times(y_RD)

    def _feed(
        self, layer: DecoderLayer, x_RD: Tensor, routes: list[Tensor] | None, forced: Iterator[Tensor] | None
    ) -> Tensor:
        h_RD = self._norm(x_RD)
        if layer.router is None:
            return layer.experts_out[0].times(gated(layer.experts_in[0].times(h_RD)))
        gates_RK, ids_RK = self._choose(layer, h_RD, next(forced) if forced is not None else None)
        if routes is not None:
            routes.append(ids_RK)
        if self._on_cpu and ids_RK.numel() <= _FEW_ROWS:
            y_RD = experts_by_visit(h_RD, gates_RK, ids_RK, layer.experts_in, layer.experts_out)
        else:
            y_RD = experts_by_group(h_RD, gates_RK, ids_RK, layer.w_in_EDN, layer.w_out_EFD)
        if layer.shared is None:
            return y_RD
        return y_RD.add_(layer.shared[1].times(gated(layer.shared[0].times(h_RD))))

    def _choose(self, layer: DecoderLayer, h_RD: Tensor, forced_RK: Tensor | None) -> tuple[Tensor, Tensor]:
        scores_RE = self._scores(cast(Matrix, layer.router).times(h_RD))
        if forced_RK is None:
            gates_RK, ids_RK = choose(scores_RE, self.config.top_k, layer.bias_E)
        else:
            gates_RK, ids_RK = scores_RE.gather(1, forced_RK), forced_RK
        return rescaled(gates_RK) if self.config.renormalize_top_k else gates_RK, ids_RK

    def _norm(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """x over its root mean square along the last dimension: four operations, where torch's own takes ten."""
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        factor = torch.addcmul(self._epsilon, size, size, value=1 / x.shape[-1]).rsqrt_()
        return torch.mul(x, factor, out=out)
