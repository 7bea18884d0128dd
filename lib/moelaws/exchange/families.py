"""How each family of models is built, by the ``model_type`` of its ``config.json``; tests hold it to transformers.

What a file leaves out has the value that transformers' class of that family gives it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from moelaws.exchange.architecture import NOTHING, Architecture, AttentionCount, ExpertsCount, Weights, gated, grouped
from moelaws.exchange.config_fields import MOST_LAYERS, Fields
from moelaws.exchange.latent_attention import Latent
from moelaws.exchange.windows import windows

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "num_routed_experts")
_MOST_EXPERTS = 10**6


def _sizes(fields: Fields) -> tuple[int, int]:
    return fields.whole("hidden_size"), fields.whole("num_hidden_layers", most=MOST_LAYERS)


def _heads(fields: Fields, kv_heads: int | None = None, head_dim: int | None = None) -> tuple[int, int, int]:
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


def _base(fields: Fields, attention: AttentionCount, dense: Weights, norm_values: int = 1) -> Architecture:
    """A dense model; ``norm_values`` numbers a channel in each norm of the residual stream."""
    width, layers = _sizes(fields)
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
    return (f"{extra} multi-token prediction layer{'s' * (extra > 1)} not counted, as in transformers",)


def _with_experts(
    model: Architecture, fields: Fields, one: Weights, expert_layers: int, shared: Weights = NOTHING,
    router_biased: bool = False,
) -> Architecture:  # fmt: skip
    """The model with experts in so many of its layers."""
    n_experts = fields.whole(*_EXPERTS, most=_MOST_EXPERTS)
    top_k = fields.whole("num_experts_per_tok", "experts_per_token")
    if top_k > n_experts:
        raise fields.wrong("num_experts_per_tok", f"at most the number of experts, {n_experts}")
    router = Weights(n_experts * model.width, n_experts if router_biased else 0)
    return replace(model, experts=ExpertsCount(n_experts, top_k, one, router, shared), expert_layers=expert_layers)


def _windowed(model: Architecture, fields: Fields, by_default: Callable[[int], bool], width: int) -> Architecture:
    count, seen = windows(fields, model.layers, by_default, width)
    return replace(model, windowed_layers=count, window=seen)


def _everywhere(_: int) -> bool:
    return True


def _from_first(fields: Fields, layers: int, absent: int) -> int:
    """Layers with experts after the leading dense ones."""
    return max(0, layers - fields.whole("first_k_dense_replace", absent=absent, least=0))


def _llama(fields: Fields) -> Architecture:
    width, _ = _sizes(fields)
    biased = fields.flag("attention_bias")
    attention = grouped(width, *_heads(fields), (biased, biased))
    return _base(fields, attention, gated(width, fields.whole("intermediate_size"), fields.flag("mlp_bias")))


def _mistral(fields: Fields) -> Architecture:
    width, _ = _sizes(fields)
    model = _base(fields, grouped(width, *_heads(fields, 8)), gated(width, fields.whole("intermediate_size")))
    return _windowed(model, fields, _everywhere, fields.optional("sliding_window", 4096))


def _qwen2(fields: Fields) -> Architecture:
    width, _ = _sizes(fields)
    attention = grouped(width, *_heads(fields, 32), (True, False))
    return _late_windows(_base(fields, attention, gated(width, fields.whole("intermediate_size"))), fields)


def _qwen3(fields: Fields) -> Architecture:
    width, _ = _sizes(fields)
    heads = _heads(fields, 32, 128)
    biased = fields.flag("attention_bias")
    attention = grouped(width, *heads, (biased, biased), others=2 * heads[2])
    return _late_windows(_base(fields, attention, gated(width, fields.whole("intermediate_size"))), fields)


def _late_windows(model: Architecture, fields: Fields) -> Architecture:
    """Qwen's dense models see windows, if at all, in the layers from ``max_window_layers`` on."""
    first = fields.whole("max_window_layers", absent=28, least=0)
    return _windowed(model, fields, lambda layer: layer >= first, _asked_window(fields))


def _asked_window(fields: Fields) -> int:
    if not fields.flag("use_sliding_window"):
        return 0
    return fields.optional("sliding_window", 4096)


def _olmoe(fields: Fields) -> Architecture:
    width, layers = _sizes(fields)
    heads, kv_heads, head_dim = _heads(fields)
    biased = fields.flag("attention_bias")
    gains = width + width // heads * kv_heads  # over all heads at once
    attention = grouped(width, heads, kv_heads, head_dim, (biased, biased), gains)
    one = gated(width, fields.whole("intermediate_size"))
    return _with_experts(_base(fields, attention, one), fields, one, layers)


def _mixtral(fields: Fields) -> Architecture:
    width, layers = _sizes(fields)
    one = gated(width, fields.whole("intermediate_size"))
    model = _with_experts(_base(fields, grouped(width, *_heads(fields, 8)), one), fields, one, layers)
    return _windowed(model, fields, _everywhere, fields.whole("sliding_window", absent=0, least=0))


def _phimoe(fields: Fields) -> Architecture:
    width, layers = _sizes(fields)
    biased = fields.flag("attention_bias")
    attention = grouped(width, *_heads(fields, 8), (biased, biased))
    one = gated(width, fields.whole("intermediate_size"))
    model = _with_experts(_base(fields, attention, one, norm_values=2), fields, one, layers)
    bias = model.vocab_size if fields.flag("lm_head_bias") else 0
    return replace(
        _windowed(model, fields, _everywhere, fields.whole("sliding_window", absent=0, least=0)), output_bias=bias
    )


def _minimax_m2(fields: Fields) -> Architecture:
    width, layers = _sizes(fields)
    heads, kv_heads, head_dim = _heads(fields, 8, 128)
    attention = grouped(width, heads, kv_heads, head_dim, others=(heads + kv_heads) * head_dim)
    one = gated(width, fields.whole("intermediate_size"))
    return _with_experts(_base(fields, attention, one), fields, one, layers)


def _granite(fields: Fields) -> Architecture:
    width, layers = _sizes(fields)
    biased = fields.flag("attention_bias")
    attention = grouped(width, *_heads(fields), (biased, biased))
    one = gated(width, fields.whole("intermediate_size"))
    shared = gated(width, fields.whole("shared_intermediate_size", absent=0, least=0))
    shared = shared if fields.content["model_type"] == "granitemoeshared" else NOTHING
    return _with_experts(_base(fields, attention, one), fields, one, layers, shared)


def _qwen_moe_layers(fields: Fields, layers: int) -> int:
    """Every ``decoder_sparse_step``-th layer, but for those that are named as dense."""
    if not fields.whole(*_EXPERTS, least=0, most=_MOST_EXPERTS):
        return 0
    step = fields.whole("decoder_sparse_step", absent=1)
    dense = set(fields.listed("mlp_only_layers", int) or [])
    return sum(layer not in dense for layer in range(step - 1, layers, step))


def _qwen2_moe(fields: Fields) -> Architecture:
    width, layers = _sizes(fields)
    attention = grouped(width, *_heads(fields, 16), (fields.flag("qkv_bias", True), False))
    model = _base(fields, attention, gated(width, fields.whole("intermediate_size", absent=5632)))
    alternating = fields.whole("max_window_layers", absent=28, least=0)
    model = _windowed(model, fields, lambda layer: layer % 2 == 0 and layer < alternating, _asked_window(fields))
    if not (routed := _qwen_moe_layers(fields, layers)):
        return model
    one = gated(width, fields.whole("moe_intermediate_size"))
    shared = gated(width, fields.whole("shared_expert_intermediate_size", absent=5632, least=0))
    gate = Weights(shared.matrices + width)  # how much of the shared expert's answer is taken
    return _with_experts(model, fields, one, routed, gate)


def _qwen3_moe(fields: Fields) -> Architecture:
    width, layers = _sizes(fields)
    heads = _heads(fields, 4)
    biased = fields.flag("attention_bias")
    attention = grouped(width, *heads, (biased, biased), others=2 * heads[2])
    model = _base(fields, attention, gated(width, fields.whole("intermediate_size", absent=6144)))
    model = _windowed(model, fields, _everywhere, _asked_window(fields))
    if not (routed := _qwen_moe_layers(fields, layers)):
        return model
    return _with_experts(model, fields, gated(width, fields.whole("moe_intermediate_size")), routed)


def _deepseek(query_rank: int, leading: int, shared: int) -> Callable[[Fields], Architecture]:
    def read(fields: Fields) -> Architecture:
        width, layers = _sizes(fields)
        biased = fields.content["model_type"] == "deepseek_v2" and fields.flag("mlp_bias")
        dense = gated(width, fields.whole("intermediate_size"), biased)
        model = _base(fields, Latent.of(fields, query_rank).count(width), dense)
        every = fields.whole("moe_layer_freq", absent=1)
        if every > 1:
            said = f"moe_layer_freq = {every} is not used, as in transformers: experts in each layer but the leading"
            model = replace(model, notes=(*model.notes, said))
        return _sized_experts(model, fields, _from_first(fields, layers, leading), shared, biased)

    return read


def _sized_experts(model: Architecture, fields: Fields, routed: int, shared: int, biased: bool = False) -> Architecture:
    """Experts of ``moe_intermediate_size``, and shared ones of the same width."""
    hidden = fields.whole("moe_intermediate_size")
    together = hidden * fields.optional("n_shared_experts", shared)
    always = gated(model.width, together, biased) if together else NOTHING
    return _with_experts(model, fields, gated(model.width, hidden), routed, always)


def _glm4_moe(fields: Fields) -> Architecture:
    width, layers = _sizes(fields)
    heads = _heads(fields, 8)
    gains = 2 * heads[2] if fields.flag("use_qk_norm") else 0
    attention = grouped(width, *heads, (fields.flag("attention_bias"), False), gains)
    model = _base(fields, attention, gated(width, fields.whole("intermediate_size")))
    return _sized_experts(model, fields, _from_first(fields, layers, 1), shared=1)


def _glm4_moe_lite(fields: Fields) -> Architecture:
    width, layers = _sizes(fields)
    model = _base(fields, Latent.of(fields, 768).count(width), gated(width, fields.whole("intermediate_size")))
    kinds = fields.listed("mlp_layer_types", str)
    routed = max(0, layers - 1) if kinds is None else kinds[:layers].count("sparse")
    return _sized_experts(model, fields, routed, shared=1)


def _dots1(fields: Fields) -> Architecture:
    width, layers = _sizes(fields)
    heads = _heads(fields, 32)
    biased = fields.flag("attention_bias")
    attention = grouped(width, *heads, (biased, biased), others=2 * heads[2])
    model = _base(fields, attention, gated(width, fields.whole("intermediate_size")))
    first = fields.whole("max_window_layers", absent=62, least=0)
    seen = fields.optional("sliding_window", 4096)
    model = _windowed(model, fields, lambda layer: layer >= first, seen)
    return _sized_experts(model, fields, _from_first(fields, layers, 0), shared=0)


def _gpt_oss(fields: Fields) -> Architecture:
    width, layers = _sizes(fields)
    heads, kv_heads, head_dim = _heads(fields, 8, 64)
    biased = fields.flag("attention_bias", True)
    attention = grouped(width, heads, kv_heads, head_dim, (biased, biased), others=heads)  # a sink for each head
    one = gated(width, fields.whole("intermediate_size"), biased=True)
    model = _with_experts(_base(fields, attention, one), fields, one, layers, router_biased=True)
    seen = fields.optional("sliding_window", 128)
    return _windowed(model, fields, lambda layer: layer % 2 == 0, seen)


def _llama4(fields: Fields) -> Architecture:
    width, layers = _sizes(fields)
    biased = fields.flag("attention_bias")
    attention = grouped(width, *_heads(fields, 8, 128), (biased, biased))
    one = gated(width, fields.whole("intermediate_size"))
    model = _base(fields, attention, gated(width, fields.whole("intermediate_size_mlp", absent=16384)))
    step = fields.whole("interleave_moe_layer_step", absent=1)
    named = fields.listed("moe_layers", int)
    routed = range(step - 1, layers, step) if named is None else {one for one in named if 0 <= one < layers}
    rotary = fields.listed("no_rope_layers", int) or []
    interval = fields.whole("no_rope_layer_interval", absent=4)
    seen = fields.optional("attention_chunk_size", 8192)
    model = _windowed(
        model, fields, lambda layer: bool(rotary[layer]) if layer < len(rotary) else (layer + 1) % interval != 0, seen
    )  # fmt: skip
    return _with_experts(model, fields, one, len(routed), shared=one)


FAMILIES: Mapping[str, Callable[[Fields], Architecture]] = {
    "olmoe": _olmoe, "moelaws": _olmoe, "mixtral": _mixtral, "qwen2_moe": _qwen2_moe, "qwen3_moe": _qwen3_moe,
    "deepseek_v2": _deepseek(1536, 0, 2), "deepseek_v3": _deepseek(1536, 3, 1), "kimi_k2": _deepseek(1536, 3, 1),
    "gpt_oss": _gpt_oss, "glm4_moe": _glm4_moe, "glm4_moe_lite": _glm4_moe_lite, "llama4_text": _llama4,
    "llama4": _llama4, "granitemoe": _granite, "granitemoeshared": _granite, "phimoe": _phimoe,
    "minimax_m2": _minimax_m2, "dots1": _dots1, "llama": _llama, "mistral": _mistral, "qwen2": _qwen2,
    "qwen3": _qwen3,
}  # fmt: skip
"""``model_type`` -> how its fields are read."""
