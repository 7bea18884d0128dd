"""A model as a server sees it: what lies in memory, what every step reads, what only its chosen experts add."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from moelaws.config import ModelConfig
from moelaws.counting import count_parameters, kv_bytes_per_token
from moelaws.exchange.model_count import ModelCount
from moelaws.exchange.precision import Precision
from moelaws.optimum.family import Family
from moelaws.serving.shape import ShapeRule

Array = Any


@dataclass(frozen=True)
class Served:
    """Counts of a model; numbers or arrays that broadcast, so that one object can hold many sizes.

    Attributes:
        total_params: N, what lies in memory.
        active_params: N_a.
        always_read: parameters that every step reads: attention, router, norms, unembedding, shared experts, and the
            dense layers between layers with experts.
        always_multiplied: those of them that are matrices, two FLOPs a token each.
        expert_params: parameters of one expert of every routed layer together.
        n_experts, top_k: E and K.
        kv_per_token: numbers cached per token of context, in the layers that attend to all of it.
        layers: layers.
        expert_layers: those of them whose feed-forward layer is made of experts.
        width: of the residual stream, d.
        lookup: numbers of the embedding table that one token reads besides.
        windowed_kv: numbers cached per token in the layers that attend to a window of the last tokens alone.
        window: its width, in tokens.
        flops_per_cached: FLOPs of a new token for each cached number: 2 where each head has keys and values of its
            own, H / H_kv times that where they are shared, and more with latent attention.
        prefill_flops_per_cached: the same where a whole prompt is read.
    """

    total_params: Array
    active_params: Array
    always_read: Array
    always_multiplied: Array
    expert_params: Array
    n_experts: Array
    top_k: Array
    kv_per_token: Array
    layers: Array
    expert_layers: Array
    width: Array
    lookup: Array = 0.0
    windowed_kv: Array = 0.0
    window: float = np.inf
    flops_per_cached: float = 2.0
    prefill_flops_per_cached: float = 2.0

    def cached(self, context: Array) -> Array:
        """Numbers in the cache of a request of so many tokens."""
        context = np.asarray(context, float)
        return self.kv_per_token * context + self.windowed_kv * np.minimum(context, self.window)

    def weight_bytes(self, precision: Precision) -> Array:
        """Bytes of all weights."""
        experts = self.n_experts * self.expert_params
        return (self.total_params - experts) * precision.always + experts * precision.experts

    @property
    def routed_layers(self) -> Array:
        """Layers with a router."""
        return np.where(np.asarray(self.n_experts) > 1, self.expert_layers, 0.0)

    @property
    def row_values(self) -> Array:
        """Numbers that one token's activations move through memory in all layers, roughly, but for routed experts.

        Attention and norms write and read about 24 vectors of width d, counted operation by operation in an unfused
        program. A dense feed-forward layer between layers with experts has a hidden width of 8/3 d, as in Llama.
        """
        between = (self.layers - self.expert_layers) * 8 * self.width * 8 / 3
        dense = np.where(np.asarray(self.n_experts) > 1, 0.0, self._expert_values)
        return self.layers * 24 * self.width + between + dense

    @property
    def routed_row_values(self) -> Array:
        """The same for bringing the token to its experts and back; 0 without a router."""
        return np.where(np.asarray(self.n_experts) > 1, self._expert_values, 0.0)

    @property
    def _expert_values(self) -> Array:
        """An expert gathers and returns 4 vectors of width d, and makes 8 of its own hidden width."""
        hidden = self.expert_params / (3 * self.width * np.maximum(self.expert_layers, 1e-9))
        return self.expert_layers * self.top_k * (4 * self.width + 8 * hidden)


def served_config(model: ModelConfig) -> Served:
    """Exact counts of one of our models."""
    p = count_parameters(model)
    output = p.embedding if model.tied_embeddings else p.unembedding
    matrices = p.attention + p.router + p.feed_forward + output
    return Served(
        total_params=p.total,
        active_params=p.active,
        always_read=matrices + p.norms,
        always_multiplied=matrices,
        expert_params=p.experts / model.n_experts,
        n_experts=model.n_experts,
        top_k=model.top_k,
        kv_per_token=kv_bytes_per_token(model, 1),
        layers=model.n_layers,
        expert_layers=model.n_layers // model.moe_every,
        width=model.d_model,
        lookup=0 if model.tied_embeddings else model.d_model,
    )


def served_count(count: ModelCount) -> Served:
    """A published model, counted from its ``config.json``."""
    built, p = count.architecture, count.parameters
    whole = (built.layers - built.windowed_layers) * built.attention.cached
    lookup = 0 if built.tied else built.width
    return Served(
        total_params=p.total,
        active_params=p.active,
        always_read=p.total - p.experts - (0 if built.tied else p.embedding),
        always_multiplied=built.always_multiplied,
        expert_params=p.experts / count.n_experts,
        n_experts=count.n_experts,
        top_k=count.top_k,
        kv_per_token=whole,
        layers=built.layers,
        expert_layers=built.expert_layers,
        width=built.width,
        lookup=lookup,
        windowed_kv=built.windowed_layers * built.attention.cached,
        window=built.window if built.windowed_layers else np.inf,
        flops_per_cached=built.attention.decode_pair / built.attention.cached,
        prefill_flops_per_cached=built.attention.forward_pair / built.attention.cached,
    )


def served_family(
    family: Family, size: Array, n_experts: Array, top_k: Array, shape: ShapeRule, expert_share: float = 1.0
) -> Served:
    """Counts of a family's model, from N, N_a, E and K alone.

    One expert has (N - N_a) / (E - K) parameters: what is idle, over how many idle. Where none is idle all is read,
    and the split does not matter. All always-on parameters count as read and multiplied, embeddings too.

    Args:
        family: sizes.
        size: the family's size.
        n_experts, top_k: E and K; all broadcast.
        shape: width and depth by size, for the cache where the family has none, and for communication.
        expert_share: share of the layers that are made of experts; one half in Yun et al. 2024.

    Returns:
        The counts, of the broadcast shape.
    """
    size, n_experts, top_k = np.broadcast_arrays(*(np.asarray(v, float) for v in (size, n_experts, top_k)))
    total = np.asarray(family.total_params(size, n_experts, top_k), float)
    active = np.asarray(family.active_params(size, n_experts, top_k), float)
    idle = n_experts - top_k
    expert = np.divide(total - active, idle, out=np.zeros_like(total), where=idle > 0)
    always = active - top_k * expert
    dense = family.dense_params(size, n_experts, top_k)
    cache = np.asarray(family.kv_per_token(size, n_experts, top_k), float)
    layers, width = shape.layers(dense), shape.width(dense)
    return Served(
        total_params=total,
        active_params=active,
        always_read=always,
        always_multiplied=always,
        expert_params=expert,
        n_experts=n_experts,
        top_k=top_k,
        kv_per_token=np.where(cache > 0, cache, 2 * shape.cached(dense)),
        layers=layers,
        expert_layers=np.where(expert > 0, expert_share * layers, 0.0),
        width=width,
    )
