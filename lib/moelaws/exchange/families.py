"""How each family of models is built, by the ``model_type`` of its ``config.json``; tests hold it to transformers.

What a file leaves out has the value that transformers' class of that family gives it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from moelaws.exchange.architecture import NOTHING, Architecture, Weights, gated, grouped
from moelaws.exchange.config_fields import Fields
from moelaws.exchange.family_parts import (
    EXPERTS,
    MOST_EXPERTS,
    dense_model,
    everywhere,
    heads_of,
    layers_after_leading,
    sizes,
    windowed,
    with_experts,
)
from moelaws.exchange.latent_attention import Latent


def _llama(fields: Fields) -> Architecture:
    width, _ = sizes(fields)
    biased = fields.flag("attention_bias")
    attention = grouped(width, *heads_of(fields), (biased, biased))
    return dense_model(fields, attention, gated(width, fields.whole("intermediate_size"), fields.flag("mlp_bias")))


def _mistral(fields: Fields) -> Architecture:
    width, _ = sizes(fields)
    model = dense_model(fields, grouped(width, *heads_of(fields, 8)), gated(width, fields.whole("intermediate_size")))
    return windowed(model, fields, everywhere, fields.optional("sliding_window", 4096))


def _qwen2(fields: Fields) -> Architecture:
    width, _ = sizes(fields)
    attention = grouped(width, *heads_of(fields, 32), (True, False))
    return _late_windows(dense_model(fields, attention, gated(width, fields.whole("intermediate_size"))), fields)


def _qwen3(fields: Fields) -> Architecture:
    width, _ = sizes(fields)
    heads = heads_of(fields, 32, 128)
    biased = fields.flag("attention_bias")
    attention = grouped(width, *heads, (biased, biased), others=2 * heads[2])
    return _late_windows(dense_model(fields, attention, gated(width, fields.whole("intermediate_size"))), fields)


def _late_windows(model: Architecture, fields: Fields) -> Architecture:
    """Qwen's dense models see windows, if at all, in the layers from ``max_window_layers`` on."""
    first = fields.whole("max_window_layers", absent=28, least=0)
    return windowed(model, fields, lambda layer: layer >= first, _asked_window(fields))


def _asked_window(fields: Fields) -> int:
    if not fields.flag("use_sliding_window"):
        return 0
    return fields.optional("sliding_window", 4096)


def _olmoe(fields: Fields) -> Architecture:
    width, layers = sizes(fields)
    heads, kv_heads, head_dim = heads_of(fields)
    biased = fields.flag("attention_bias")
    gains = width + width // heads * kv_heads  # over all heads at once
    attention = grouped(width, heads, kv_heads, head_dim, (biased, biased), gains)
    one = gated(width, fields.whole("intermediate_size"))
    return with_experts(dense_model(fields, attention, one), fields, one, layers)


def _mixtral(fields: Fields) -> Architecture:
    width, layers = sizes(fields)
    one = gated(width, fields.whole("intermediate_size"))
    model = with_experts(dense_model(fields, grouped(width, *heads_of(fields, 8)), one), fields, one, layers)
    return windowed(model, fields, everywhere, fields.whole("sliding_window", absent=0, least=0))


def _phimoe(fields: Fields) -> Architecture:
    width, layers = sizes(fields)
    biased = fields.flag("attention_bias")
    attention = grouped(width, *heads_of(fields, 8), (biased, biased))
    one = gated(width, fields.whole("intermediate_size"))
    model = with_experts(dense_model(fields, attention, one, norm_values=2), fields, one, layers)
    bias = model.vocab_size if fields.flag("lm_head_bias") else 0
    return replace(
        windowed(model, fields, everywhere, fields.whole("sliding_window", absent=0, least=0)), output_bias=bias
    )


def _minimax_m2(fields: Fields) -> Architecture:
    width, layers = sizes(fields)
    heads, kv_heads, head_dim = heads_of(fields, 8, 128)
    attention = grouped(width, heads, kv_heads, head_dim, others=(heads + kv_heads) * head_dim)
    one = gated(width, fields.whole("intermediate_size"))
    return with_experts(dense_model(fields, attention, one), fields, one, layers)


def _granite(fields: Fields) -> Architecture:
    width, layers = sizes(fields)
    biased = fields.flag("attention_bias")
    attention = grouped(width, *heads_of(fields), (biased, biased))
    one = gated(width, fields.whole("intermediate_size"))
    shared = gated(width, fields.whole("shared_intermediate_size", absent=0, least=0))
    shared = shared if fields.content["model_type"] == "granitemoeshared" else NOTHING
    return with_experts(dense_model(fields, attention, one), fields, one, layers, shared)


def _qwen_moe_layers(fields: Fields, layers: int) -> int:
    """Every ``decoder_sparse_step``-th layer, but for those that are named as dense."""
    if not fields.whole(*EXPERTS, least=0, most=MOST_EXPERTS):
        return 0
    step = fields.whole("decoder_sparse_step", absent=1)
    dense = set(fields.listed("mlp_only_layers", int) or [])
    return sum(layer not in dense for layer in range(step - 1, layers, step))


def _qwen2_moe(fields: Fields) -> Architecture:
    width, layers = sizes(fields)
    attention = grouped(width, *heads_of(fields, 16), (fields.flag("qkv_bias", True), False))
    model = dense_model(fields, attention, gated(width, fields.whole("intermediate_size", absent=5632)))
    alternating = fields.whole("max_window_layers", absent=28, least=0)
    model = windowed(model, fields, lambda layer: layer % 2 == 0 and layer < alternating, _asked_window(fields))
    if not (routed := _qwen_moe_layers(fields, layers)):
        return model
    one = gated(width, fields.whole("moe_intermediate_size"))
    shared = gated(width, fields.whole("shared_expert_intermediate_size", absent=5632, least=0))
    gate = Weights(shared.matrices + width)  # how much of the shared expert's answer is taken
    return with_experts(model, fields, one, routed, gate)


def _qwen3_moe(fields: Fields) -> Architecture:
    width, layers = sizes(fields)
    heads = heads_of(fields, 4)
    biased = fields.flag("attention_bias")
    attention = grouped(width, *heads, (biased, biased), others=2 * heads[2])
    model = dense_model(fields, attention, gated(width, fields.whole("intermediate_size", absent=6144)))
    model = windowed(model, fields, everywhere, _asked_window(fields))
    if not (routed := _qwen_moe_layers(fields, layers)):
        return model
    return with_experts(model, fields, gated(width, fields.whole("moe_intermediate_size")), routed)


def _deepseek(query_rank: int, leading: int, shared: int) -> Callable[[Fields], Architecture]:
    def read(fields: Fields) -> Architecture:
        width, layers = sizes(fields)
        biased = fields.content["model_type"] == "deepseek_v2" and fields.flag("mlp_bias")
        dense = gated(width, fields.whole("intermediate_size"), biased)
        model = dense_model(fields, Latent.of(fields, query_rank).count(width), dense)
        every = fields.whole("moe_layer_freq", absent=1)
        if every > 1:
            said = f"moe_layer_freq = {every} is not used, as in transformers: experts in each layer but the leading"
            model = replace(model, notes=(*model.notes, said))
        return _sized_experts(model, fields, layers_after_leading(fields, layers, leading), shared, biased)

    return read


def _sized_experts(model: Architecture, fields: Fields, routed: int, shared: int, biased: bool = False) -> Architecture:
    """Experts of ``moe_intermediate_size``, and shared ones of the same width."""
    hidden = fields.whole("moe_intermediate_size")
    together = hidden * fields.optional("n_shared_experts", shared)
    always = gated(model.width, together, biased) if together else NOTHING
    return with_experts(model, fields, gated(model.width, hidden), routed, always)


def _glm4_moe(fields: Fields) -> Architecture:
    width, layers = sizes(fields)
    heads = heads_of(fields, 8)
    gains = 2 * heads[2] if fields.flag("use_qk_norm") else 0
    attention = grouped(width, *heads, (fields.flag("attention_bias"), False), gains)
    model = dense_model(fields, attention, gated(width, fields.whole("intermediate_size")))
    return _sized_experts(model, fields, layers_after_leading(fields, layers, 1), shared=1)


def _glm4_moe_lite(fields: Fields) -> Architecture:
    width, layers = sizes(fields)
    model = dense_model(fields, Latent.of(fields, 768).count(width), gated(width, fields.whole("intermediate_size")))
    kinds = fields.listed("mlp_layer_types", str)
    routed = max(0, layers - 1) if kinds is None else kinds[:layers].count("sparse")
    return _sized_experts(model, fields, routed, shared=1)


def _dots1(fields: Fields) -> Architecture:
    width, layers = sizes(fields)
    heads = heads_of(fields, 32)
    biased = fields.flag("attention_bias")
    attention = grouped(width, *heads, (biased, biased), others=2 * heads[2])
    model = dense_model(fields, attention, gated(width, fields.whole("intermediate_size")))
    first = fields.whole("max_window_layers", absent=62, least=0)
    seen = fields.optional("sliding_window", 4096)
    model = windowed(model, fields, lambda layer: layer >= first, seen)
    return _sized_experts(model, fields, layers_after_leading(fields, layers, 0), shared=0)


def _gpt_oss(fields: Fields) -> Architecture:
    width, layers = sizes(fields)
    heads, kv_heads, head_dim = heads_of(fields, 8, 64)
    biased = fields.flag("attention_bias", True)
    attention = grouped(width, heads, kv_heads, head_dim, (biased, biased), others=heads)  # a sink for each head
    one = gated(width, fields.whole("intermediate_size"), biased=True)
    model = with_experts(dense_model(fields, attention, one), fields, one, layers, router_biased=True)
    seen = fields.optional("sliding_window", 128)
    return windowed(model, fields, lambda layer: layer % 2 == 0, seen)


def _llama4(fields: Fields) -> Architecture:
    width, layers = sizes(fields)
    biased = fields.flag("attention_bias")
    attention = grouped(width, *heads_of(fields, 8, 128), (biased, biased))
    one = gated(width, fields.whole("intermediate_size"))
    model = dense_model(fields, attention, gated(width, fields.whole("intermediate_size_mlp", absent=16384)))
    step = fields.whole("interleave_moe_layer_step", absent=1)
    named = fields.listed("moe_layers", int)
    routed = range(step - 1, layers, step) if named is None else {one for one in named if 0 <= one < layers}
    rotary = fields.listed("no_rope_layers", int) or []
    interval = fields.whole("no_rope_layer_interval", absent=4)
    seen = fields.optional("attention_chunk_size", 8192)
    model = windowed(
        model, fields, lambda layer: bool(rotary[layer]) if layer < len(rotary) else (layer + 1) % interval != 0, seen
    )  # fmt: skip
    return with_experts(model, fields, one, len(routed), shared=one)


FAMILIES: Mapping[str, Callable[[Fields], Architecture]] = {
    "olmoe": _olmoe, "moelaws": _olmoe, "mixtral": _mixtral, "qwen2_moe": _qwen2_moe, "qwen3_moe": _qwen3_moe,
    "deepseek_v2": _deepseek(1536, 0, 2), "deepseek_v3": _deepseek(1536, 3, 1), "kimi_k2": _deepseek(1536, 3, 1),
    "gpt_oss": _gpt_oss, "glm4_moe": _glm4_moe, "glm4_moe_lite": _glm4_moe_lite, "llama4_text": _llama4,
    "llama4": _llama4, "granitemoe": _granite, "granitemoeshared": _granite, "phimoe": _phimoe,
    "minimax_m2": _minimax_m2, "dots1": _dots1, "llama": _llama, "mistral": _mistral, "qwen2": _qwen2,
    "qwen3": _qwen3,
}  # fmt: skip
"""``model_type`` -> how its fields are read."""
