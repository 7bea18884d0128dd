"""Parameters, FLOPs and bytes of a model, counted from its configuration alone.

Every quantity that the field counts in more than one way takes the way, its *convention*, as an argument.
The tests hold these counts to torch's own: ``sum(p.numel())`` and ``FlopCounterMode``.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from moelaws.config import ModelConfig

FlopsConvention = Literal["exact", "eq9", "6na"]
"""``exact``: every matrix product, the router's included, attention over all T x T pairs.
``eq9``: Abnar et al. 2025, Eq. 9, which drops the router and takes d_ff = 4 d.
``6na``: six FLOPs per active parameter and token, the field's rule of thumb."""


@dataclass(frozen=True)
class Parameters:
    """Parameter counts of a model, by role. Every parameter is in exactly one of the stored fields.

    Attributes:
        embedding: token embedding, V x D.
        unembedding: output projection, V x D; 0 when tied to the embedding.
        attention: query, key, value and output projections of all layers.
        norms: gains of all RMSNorms, and of the token shift.
        router: E x D per layer with experts; 0 when E = 1.
        feed_forward: what every token passes through beside its K experts: shared experts, and the dense layers
            between layers with experts.
        experts: all routed experts of all layers; in a dense model, its feed-forward layers.
        active_experts: the part of ``experts`` that one token passes through.
    """

    embedding: int
    unembedding: int
    attention: int
    norms: int
    router: int
    feed_forward: int
    experts: int
    active_experts: int

    @property
    def total(self) -> int:
        """N: every parameter, embeddings included."""
        return self.active - self.active_experts + self.experts

    @property
    def active(self) -> int:
        """N_a: always-on parameters plus the chosen experts'; embeddings included."""
        always = self.embedding + self.unembedding + self.attention + self.norms + self.router + self.feed_forward
        return always + self.active_experts

    @property
    def total_non_embedding(self) -> int:
        """N without embedding and unembedding (the convention of Kaplan et al. 2020)."""
        return self.total - self.embedding - self.unembedding


def count_parameters(model: ModelConfig) -> Parameters:
    """Count the parameters of a model by role.

    Args:
        model: the architecture.

    Returns:
        The counts, in parameters.

    Examples:
        >>> from moelaws.config import ModelConfig
        >>> model = ModelConfig(vocab_size=1024, d_model=64, n_layers=2, n_heads=4, d_ff=256, n_experts=8, top_k=2)
        >>> count_parameters(model).total, count_parameters(model).active
        (886336, 296512)
    """
    d, layers = model.d_model, model.n_layers
    expert = 3 * d * model.d_expert  # SwiGLU: gate, up and down projections
    routed = layers // model.moe_every
    qk_gains = 2 * d if model.qk_norm else 0
    return Parameters(
        embedding=model.vocab_size * d,
        unembedding=0 if model.tied_embeddings else model.vocab_size * d,
        attention=layers * 4 * d * d,
        norms=layers * (2 * d + qk_gains) + d + (d if model.token_shift else 0),
        router=routed * model.n_experts * d if model.is_moe else 0,
        feed_forward=(layers - routed) * 3 * d * model.d_ff + routed * model.shared_experts * expert,
        experts=routed * model.n_experts * expert,
        active_experts=routed * model.top_k * expert,
    )


def forward_flops_per_token(model: ModelConfig, convention: FlopsConvention = "exact") -> int:
    """FLOPs of one forward pass per token, averaged over a sequence of ``model.context`` tokens.

    A multiply-add counts as two. Norms, activations, softmax and the embedding look-up count as zero.

    Args:
        model: the architecture.
        convention: how to count, see ``FlopsConvention``.

    Returns:
        FLOPs per token.

    Raises:
        ValueError: unknown convention, or ``eq9`` for a model that Eq. 9 does not describe.
    """
    p = count_parameters(model)
    if convention == "6na":
        return 2 * p.active
    d = model.d_model
    # Each weight is one multiply-add a token; attention adds logits and values over T keys.
    products = p.attention + model.n_layers * 2 * model.context * d + p.feed_forward + p.active_experts
    if convention == "eq9":
        if model.d_ff != 4 * d or p.feed_forward:
            raise ValueError(
                f"Eq. 9 takes experts in every layer, none shared, and d_ff = 4 d_model = {4 * d}; this model has "
                f"moe_every = {model.moe_every}, shared_experts = {model.shared_experts}, d_ff = {model.d_ff}"
            )
        return 2 * (products + model.vocab_size * d)
    if convention == "exact":
        return 2 * (products + p.router + model.vocab_size * d)
    raise ValueError(f"convention {convention!r}: expected one of {get_args(FlopsConvention)}")


def training_flops_per_token(model: ModelConfig, convention: FlopsConvention = "exact") -> int:
    """FLOPs of forward and backward per token: three times the forward pass.

    The backward pass of a matrix product is two products of the same size, one for each gradient.

    Args:
        model: the architecture.
        convention: how to count, see ``FlopsConvention``.

    Returns:
        FLOPs per token.

    Examples:
        >>> from moelaws.config import ModelConfig
        >>> model = ModelConfig(vocab_size=1024, d_model=64, n_layers=2, n_heads=4, d_ff=256, n_experts=8, top_k=2)
        >>> training_flops_per_token(model), training_flops_per_token(model, "6na")
        (1972224, 1779072)
    """
    return 3 * forward_flops_per_token(model, convention)


def tokens_for_budget(model: ModelConfig, train_flops: float, convention: FlopsConvention = "exact") -> int:
    """Training tokens D that a budget of C FLOPs buys: D = C / (FLOPs per token).

    Args:
        model: the architecture.
        train_flops: the budget C, in FLOPs.
        convention: how a token's FLOPs are counted.

    Returns:
        D, rounded to a whole token.

    Raises:
        ValueError: the budget does not buy one token.

    Examples:
        >>> from moelaws.config import ModelConfig
        >>> model = ModelConfig(vocab_size=1024, d_model=64, n_layers=2, n_heads=4, d_ff=256, n_experts=8, top_k=2)
        >>> tokens_for_budget(model, 1e13)
        5070418
    """
    tokens = round(train_flops / training_flops_per_token(model, convention))
    if tokens < 1:
        raise ValueError(f"a budget of {train_flops:.3g} FLOPs does not train this model on one token")
    return tokens


def weight_bytes(model: ModelConfig, bytes_per_parameter: float = 2) -> float:
    """Memory of the weights, in bytes. All experts count: each must be there when a token asks for it.

    Args:
        model: the architecture.
        bytes_per_parameter: 4 for fp32, 2 for bf16, 1 for int8, 0.5 for 4-bit weights.

    Examples:
        >>> from moelaws.config import ModelConfig
        >>> model = ModelConfig(vocab_size=1024, d_model=64, n_layers=2, n_heads=4, d_ff=256, n_experts=8, top_k=2)
        >>> weight_bytes(model, 4) / count_parameters(model).total
        4.0
    """
    return count_parameters(model).total * bytes_per_parameter


def kv_bytes_per_token(model: ModelConfig, bytes_per_value: float = 2) -> float:
    """Memory of the key-value cache, in bytes per token of context: one key and one value of width D a layer.

    Args:
        model: the architecture.
        bytes_per_value: 4 for fp32, 2 for bf16.

    Examples:
        >>> from moelaws.config import ModelConfig
        >>> model = ModelConfig(vocab_size=1024, d_model=64, n_layers=2, n_heads=4, d_ff=256, n_experts=8, top_k=2)
        >>> kv_bytes_per_token(model)
        512
    """
    return 2 * model.n_layers * model.d_model * bytes_per_value


def expected_experts_touched(model: ModelConfig, batch: int) -> float:
    """Distinct experts of one layer that a decode step of ``batch`` tokens reads, under uniform routing.

    Each token leaves a given expert alone with probability 1 - K/E, independently of the others:
    E (1 - (1 - K/E)^B). Neither E nor K nor min(E, B K).

    Args:
        model: the architecture.
        batch: tokens in the step, B.

    Returns:
        Expected number of experts, from K (one token) towards E.
    """
    idle = 1 - model.top_k / model.n_experts
    return model.n_experts * (1 - idle**batch)


def decode_weight_bytes(model: ModelConfig, batch: int, bytes_per_parameter: float = 2) -> float:
    """Weight bytes that one decode step of ``batch`` tokens reads: always-on weights and the experts touched.

    The embedding table counts when it is also the unembedding; as a look-up it costs one row a token.

    Args:
        model: the architecture.
        batch: tokens in the step, B.
        bytes_per_parameter: 4 for fp32, 2 for bf16.
    """
    p = count_parameters(model)
    touched = expected_experts_touched(model, batch) / model.n_experts
    output = p.embedding if model.tied_embeddings else p.unembedding
    lookup = 0 if model.tied_embeddings else min(batch, model.vocab_size) * model.d_model
    always = p.attention + p.norms + p.router + p.feed_forward + output + lookup
    return (always + touched * p.experts) * bytes_per_parameter
