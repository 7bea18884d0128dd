"""What of a published model's architecture is counted: matrices, other weights, numbers cached, pairs attended to."""

from dataclasses import dataclass

from moelaws.counting import Parameters


@dataclass(frozen=True)
class Weights:
    """Weights of one part.

    Attributes:
        matrices: numbers in matrix products, two FLOPs a token each.
        others: biases, gains and the like.
    """

    matrices: int
    others: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.matrices + self.others


NOTHING = Weights(0)
"""Of a part that a model does not have."""


@dataclass(frozen=True)
class AttentionCount:
    """One layer's attention.

    Attributes:
        weights: projections, their biases, norms of queries and keys, sinks.
        cached: numbers that a token of context leaves in the cache: 2 H_kv P with (grouped) keys and values of H_kv
            heads of width P; the latent and the rotary key with latent attention (MLA).
        decode_pair: FLOPs of a new token and one cached token: 4 H P. With MLA the latents themselves are attended to,
            the up-projections being absorbed by query and output: 2 H (2 r + rope).
        forward_pair: the same where whole sequences are read, as in training: with MLA keys and values are made.
    """

    weights: Weights
    cached: int
    decode_pair: int
    forward_pair: int


@dataclass(frozen=True)
class ExpertsCount:
    """The experts of one layer.

    Attributes:
        n_experts, top_k: E and K, routed.
        one: weights of a routed expert.
        router: of the router.
        shared: of all experts that every token passes through.
    """

    n_experts: int
    top_k: int
    one: Weights
    router: Weights
    shared: Weights = NOTHING


@dataclass(frozen=True)
class Architecture:
    """A decoder-only transformer, counted.

    Attributes:
        family: ``model_type`` of its ``config.json``.
        vocab_size: V.
        width: of the residual stream, d.
        layers: of attention and feed-forward.
        tied: whether the unembedding is the embedding.
        attention: of each layer.
        norms: of the residual stream, all layers and the last one.
        dense: feed-forward of a layer without experts.
        experts: of a layer with experts; ``None`` in a dense model.
        expert_layers: layers with experts.
        windowed_layers: layers whose tokens see the last ``window`` tokens alone.
        window: width of that window or chunk.
        output_bias: biases of the unembedding.
        notes: what a reader of the counts should know.
    """

    family: str
    vocab_size: int
    width: int
    layers: int
    tied: bool
    attention: AttentionCount
    norms: int
    dense: Weights
    experts: ExpertsCount | None = None
    expert_layers: int = 0
    windowed_layers: int = 0
    window: int = 0
    output_bias: int = 0
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> Parameters:
        """Parameters by role; what belongs to attention, its small norms and biases too, is ``attention``."""
        table = self.vocab_size * self.width
        between = (self.layers - self.expert_layers) * self.dense.total
        experts = self.experts
        return Parameters(
            embedding=table,
            unembedding=(0 if self.tied else table) + self.output_bias,
            attention=self.layers * self.attention.weights.total,
            norms=self.norms,
            router=self.expert_layers * experts.router.total if experts else 0,
            feed_forward=between + (self.expert_layers * experts.shared.total if experts else 0),
            experts=self.expert_layers * experts.n_experts * experts.one.total if experts else 0,
            active_experts=self.expert_layers * experts.top_k * experts.one.total if experts else 0,
        )

    @property
    def always_multiplied(self) -> int:
        """Numbers of the matrices that every token is multiplied with: all but routed experts."""
        experts = self.experts
        routed = experts.router.matrices + experts.shared.matrices if experts else 0
        return (
            self.layers * self.attention.weights.matrices
            + (self.layers - self.expert_layers) * self.dense.matrices
            + self.expert_layers * routed
            + self.vocab_size * self.width
        )

    @property
    def chosen_multiplied(self) -> int:
        """The same of the experts that one token chooses."""
        return self.expert_layers * self.experts.top_k * self.experts.one.matrices if self.experts else 0

    def seen(self, context: float) -> float:
        """Cached tokens that a new token attends to, summed over layers: all, or the window's."""
        return (self.layers - self.windowed_layers) * context + self.windowed_layers * min(context, self.window)


def gated(width: int, hidden: int, biased: bool = False) -> Weights:
    """A gated feed-forward layer (SwiGLU): gate, up and down."""
    return Weights(3 * width * hidden, 2 * hidden + width if biased else 0)


def grouped(
    width: int, heads: int, kv_heads: int, head_dim: int, biases: tuple[bool, bool] = (False, False), others: int = 0
) -> AttentionCount:
    """Attention whose query heads share ``kv_heads`` heads of keys and values (GQA; all of them: MHA; one: MQA).

    Args:
        width: d.
        heads, kv_heads, head_dim: H, H_kv, P.
        biases: whether queries, keys and values have biases, and whether the output has.
        others: norms of queries and keys, sinks.
    """
    projected = (heads + 2 * kv_heads) * head_dim
    others += (projected if biases[0] else 0) + (width if biases[1] else 0)
    pair = 4 * heads * head_dim
    weights = Weights(width * projected + heads * head_dim * width, others)
    return AttentionCount(weights, 2 * kv_heads * head_dim, pair, pair)
