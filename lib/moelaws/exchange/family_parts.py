"""Parts that the families share: sizes, heads, a dense model, experts in some of its layers, windows in others."""

from collections.abc import Callable
from dataclasses import replace

from moelaws.exchange.architecture import NOTHING, Architecture, AttentionCount, ExpertsCount, Weights
from moelaws.exchange.config_fields import MOST_LAYERS, Fields
from moelaws.exchange.windows import windows
from moelaws.quote import number_of

EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "num_routed_experts")
MOST_EXPERTS = 10**6


def sizes(fields: Fields) -> tuple[int, int]:
    return fields.whole("hidden_size"), fields.whole("num_hidden_layers", most=MOST_LAYERS)


def heads_of(fields: Fields, kv_heads: int | None = None, head_dim: int | None = None) -> tuple[int, int, int]:
    """H, H_kv and P; ``kv_heads`` and ``head_dim`` where the file says nothing (None: as many, and d / H)."""
    heads, width = fields.whole("num_attention_heads"), fields.whole("hidden_size")
    # A null asks for the default of all families, an absent field for the family's own.
    shared = fields.optional("num_key_value_heads", kv_heads or heads) or heads
    if shared > heads or heads % shared:
        raise fields.wrong("num_key_value_heads", f"a divisor of num_attention_heads = {heads}")
    own = fields.optional("head_dim", head_dim or 0) or width // heads
    if own < 1:
        raise fields.wrong("num_attention_heads", f"at most hidden_size = {width}, or a head_dim")
    return heads, shared, own


def dense_model(fields: Fields, attention: AttentionCount, dense: Weights, norm_values: int = 1) -> Architecture:
    """A dense model; ``norm_values`` numbers a channel in each norm of the residual stream."""
    width, layers = sizes(fields)
    return Architecture(
        family=str(fields.content["model_type"]),
        vocab_size=fields.whole("vocab_size"),
        width=width,
        layers=layers,
        tied=fields.flag("tie_word_embeddings"),
        attention=attention,
        norms=(2 * layers + 1) * norm_values * width,
        dense=dense,
        notes=_notes(fields),
    )


def _notes(fields: Fields) -> tuple[str, ...]:
    extra = fields.whole("num_nextn_predict_layers", "num_mtp_layers", absent=0, least=0)
    if not extra:
        return ()
    return (f"{number_of(extra, 'multi-token prediction layer')} not counted, as in transformers",)


def with_experts(
    model: Architecture, fields: Fields, one: Weights, expert_layers: int, shared: Weights = NOTHING,
    router_biased: bool = False,
) -> Architecture:  # fmt: skip
    """The model with experts in so many of its layers."""
    n_experts = fields.whole(*EXPERTS, most=MOST_EXPERTS)
    top_k = fields.whole("num_experts_per_tok", "experts_per_token")
    if top_k > n_experts:
        raise fields.wrong("num_experts_per_tok", f"at most the number of experts, {n_experts}")
    router = Weights(n_experts * model.width, n_experts if router_biased else 0)
    return replace(model, experts=ExpertsCount(n_experts, top_k, one, router, shared), expert_layers=expert_layers)


def windowed(model: Architecture, fields: Fields, by_default: Callable[[int], bool], width: int) -> Architecture:
    count, seen = windows(fields, model.layers, by_default, width)
    return replace(model, windowed_layers=count, window=seen)


def everywhere(_: int) -> bool:
    return True


def layers_after_leading(fields: Fields, layers: int, absent: int) -> int:
    """Layers with experts after the leading dense ones."""
    return max(0, layers - fields.whole("first_k_dense_replace", absent=absent, least=0))
