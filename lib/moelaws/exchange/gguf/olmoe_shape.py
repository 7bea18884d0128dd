"""The shape of a model that llama.cpp's olmoe can hold, from its ``config.json``; what it cannot is named."""

from dataclasses import dataclass
from pathlib import Path

from moelaws.exchange.config_fields import MOST_LAYERS, ConfigFileError, Fields
from moelaws.json_file import JsonFileError, number_of, object_in, read_object
from moelaws.quote import shown

_EPSILON = 1e-5


class ExportError(ConfigFileError):
    """A model cannot be written as GGUF; the message names what llama.cpp's olmoe has no place for."""


@dataclass(frozen=True)
class OlmoeShape:
    """What a file of an OLMoE model says of its shape."""

    vocab_size: int
    width: int
    layers: int
    heads: int
    hidden: int
    n_experts: int
    top_k: int
    context: int
    theta: float
    epsilon: float
    tied: bool
    end: int


def read_shape(file: Path) -> OlmoeShape:
    """The shape of a model that llama.cpp's olmoe can hold.

    Raises:
        ExportError: a field with a value that it has no place for.
    """
    try:
        content = read_object(file)
        rope = object_in(content, "rope_parameters", str(file)) or {"rope_theta": content.get("rope_theta", 1e4)}
        ours = object_in(content, "moelaws", str(file))
        theta = number_of(rope.get("rope_theta"), "rope_theta", str(file))
        epsilon = number_of(content.get("rms_norm_eps", _EPSILON), "rms_norm_eps", str(file))
    except JsonFileError as error:
        raise ExportError(str(error)) from None
    fields = Fields(content, str(file))
    scores = ours.get("router_scores", "softmax")
    if scores != "softmax":
        raise ExportError(f"{file}: router_scores = {shown(scores)}: llama.cpp's olmoe scores experts by softmax alone")
    if content.get("model_type") != "olmoe":
        raise ExportError(f"{file}: model_type = {shown(content.get('model_type'))}: only olmoe is written as GGUF")
    heads, top_k, width = (fields.whole(key) for key in ("num_attention_heads", "num_experts_per_tok", "hidden_size"))
    for key, value, expected in (
        ("norm_topk_prob", fields.flag("norm_topk_prob") and top_k > 1, False),
        ("num_key_value_heads", fields.whole("num_key_value_heads", absent=heads), heads),
        ("hidden_act", content.get("hidden_act", "silu"), "silu"),
        ("attention_bias", fields.flag("attention_bias"), False),
        ("clip_qkv", content.get("clip_qkv"), None),
        ("rope_scaling", content.get("rope_scaling"), None),
        ("rope_type", rope.get("rope_type", "default"), "default"),
    ):
        if value != expected:
            raise ExportError(f"{file}: {key} = {shown(value)}: llama.cpp's olmoe has {expected!r} alone")
    if width % heads or (width // heads) % 2:
        raise fields.wrong("num_attention_heads", f"a divisor of hidden_size = {width} that leaves even heads")
    n_experts = fields.whole("num_experts", most=10**6)
    if top_k > n_experts:
        raise fields.wrong("num_experts_per_tok", f"at most num_experts = {n_experts}")
    end = content.get("eos_token_id")
    return OlmoeShape(
        vocab_size=fields.whole("vocab_size"), width=width, layers=fields.whole("num_hidden_layers", most=MOST_LAYERS),
        heads=heads, hidden=fields.whole("intermediate_size"), n_experts=n_experts,
        top_k=top_k, context=fields.whole("max_position_embeddings", absent=2048), theta=theta, epsilon=epsilon,
        tied=fields.flag("tie_word_embeddings"), end=end if isinstance(end, int) else 0,
    )  # fmt: skip
