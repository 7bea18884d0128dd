"""The Hugging Face OLMoE layout: the fields of ``config.json``, and every tensor with its place in a model.

A dense model is written as one of a single expert, whose gate is always 1.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from moelaws.config import ConfigError, ModelConfig
from moelaws.field import NEEDED, Field, Place, described
from moelaws.json_file import JsonFileError, number_of, object_in, read_object, text_in, whole_in
from moelaws.models.attention import Attention
from moelaws.models.experts import ExpertsLayer, FeedForward
from moelaws.models.norm import NORM_EPSILON, RMSNorm
from moelaws.models.transformer import Block, Transformer
from moelaws.quote import plain, shown

CONFIG = "config.json"
LAYOUT = "olmoe"
OURS = "moelaws"  # key of config.json for what the layout has no field for; model_type of a model that it cannot say
NOT_OLMOE = {"architectures": ["MoelawsForCausalLM"], "model_type": OURS}
"""What a ``config.json`` says of a model that nobody else's program may open."""
_PLACES = tuple(cast(Place, field.place) for field in described(ModelConfig))
_MOST = 10**9  # of any count in a configuration


class CheckpointError(ValueError):
    """A model cannot be written in the layout, or a folder does not hold a model that can be read."""


@dataclass(frozen=True)
class Slot:
    """One tensor of the layout.

    Attributes:
        name: in the files.
        shape: there.
        view: the same numbers as a view of a model's weights, in the layout's order of elements, though maybe with
            more dimensions: copying into it loads, reading it saves.
    """

    name: str
    shape: tuple[int, ...]
    view: Callable[[Transformer], Tensor]


def slots(config: ModelConfig) -> Iterator[Slot]:
    """Every tensor of a model, one by one: a configuration may speak of more than there can be."""
    d, table = config.d_model, (config.vocab_size, config.d_model)
    yield Slot("model.embed_tokens.weight", table, lambda model: model.embedding)
    for layer in range(config.n_layers):
        yield from _block_slots(config, layer)
    yield Slot("model.norm.weight", (d,), lambda model: model.final_norm.gain)
    if not config.tied_embeddings:
        yield Slot("lm_head.weight", table, lambda model: cast(Tensor, model.unembedding))


def _block_slots(config: ModelConfig, layer: int) -> Iterator[Slot]:
    d, hidden, start = config.d_model, config.d_expert, f"model.layers.{layer}."

    def attention(model: Transformer) -> Attention:
        return cast(Block, model.blocks[layer]).attention

    def experts(model: Transformer) -> ExpertsLayer | FeedForward:
        return cast(ExpertsLayer | FeedForward, cast(Block, model.blocks[layer]).experts)

    def block(model: Transformer) -> Block:
        return cast(Block, model.blocks[layer])

    def projection(part: int) -> Callable[[Transformer], Tensor]:
        return lambda model: attention(model).w_qkv.chunk(3)[part]

    def halves(rows: Callable[[Transformer], Tensor]) -> Callable[[Transformer], Tensor]:
        return lambda model: _halves(rows(model), config)

    yield Slot(f"{start}input_layernorm.weight", (d,), lambda model: block(model).attention_norm.gain)
    yield Slot(f"{start}self_attn.q_proj.weight", (d, d), halves(projection(0)))
    yield Slot(f"{start}self_attn.k_proj.weight", (d, d), halves(projection(1)))
    yield Slot(f"{start}self_attn.v_proj.weight", (d, d), projection(2))
    yield Slot(f"{start}self_attn.o_proj.weight", (d, d), lambda model: attention(model).w_out)
    if config.qk_norm:
        yield Slot(
            f"{start}self_attn.q_norm.weight", (d,), halves(lambda model: cast(RMSNorm, attention(model).q_norm).gain)
        )
        yield Slot(
            f"{start}self_attn.k_norm.weight", (d,), halves(lambda model: cast(RMSNorm, attention(model).k_norm).gain)
        )
    yield Slot(f"{start}post_attention_layernorm.weight", (d,), lambda model: block(model).experts_norm.gain)
    if config.is_moe:
        yield Slot(
            f"{start}mlp.gate.weight", (config.n_experts, d), lambda model: cast(ExpertsLayer, experts(model)).router
        )
    for e in range(config.n_experts):

        def half(part: int, e: int = e) -> Callable[[Transformer], Tensor]:
            return lambda model: experts(model).w_in[e].chunk(2, dim=-1)[part].t()

        def down(model: Transformer, e: int = e) -> Tensor:
            return experts(model).w_out[e].t()

        yield Slot(f"{start}mlp.experts.{e}.gate_proj.weight", (hidden, d), half(0))
        yield Slot(f"{start}mlp.experts.{e}.up_proj.weight", (hidden, d), half(1))
        yield Slot(f"{start}mlp.experts.{e}.down_proj.weight", (d, hidden), down)


def _halves(rows: Tensor, config: ModelConfig) -> Tensor:
    """Rows of each head in the layout's order: first one channel of every pair, then the other."""
    return rows.unflatten(0, (config.n_heads, config.head_dim // 2, 2)).transpose(1, 2)


def read_config(folder: str | Path) -> ModelConfig:
    """The architecture of a checkpoint, from its ``config.json`` alone.

    Raises:
        CheckpointError: no such file, not JSON, or a field with a value that these models cannot have.
    """
    file = Path(folder) / CONFIG
    if not file.exists():
        raise CheckpointError(f"{file}: no such file; expected a checkpoint in the OLMoE layout")
    try:
        return config_of(read_object(file), str(file))
    except JsonFileError as error:
        raise CheckpointError(str(error)) from None


def config_of(fields: dict[str, Any], name: str) -> ModelConfig:
    """The architecture that the fields of a ``config.json`` describe.

    Args:
        fields: what the file holds.
        name: the file's, for messages.

    Raises:
        CheckpointError, JsonFileError: another architecture, named, or a field with a value that these models cannot
            have.
    """
    kind = fields.get("model_type")
    if kind not in (LAYOUT, OURS):
        raise CheckpointError(f"{name}: model_type = {shown(kind)}: expected {LAYOUT!r}, the only layout that is read")
    rope = object_in(fields, "rope_parameters", name) or {"rope_theta": fields.get("rope_theta", 10_000.0)}
    heads = _count(fields, "num_attention_heads", name)
    for field, value, expected in (
        ("num_key_value_heads", fields.get("num_key_value_heads", heads), heads),
        ("hidden_act", fields.get("hidden_act", "silu"), "silu"),
        ("rms_norm_eps", fields.get("rms_norm_eps", NORM_EPSILON), NORM_EPSILON),
        ("clip_qkv", fields.get("clip_qkv"), None),
        ("attention_bias", fields.get("attention_bias", False), False),
        ("rope_scaling", fields.get("rope_scaling"), None),
        ("rope_parameters.rope_type", rope.get("rope_type", "default"), "default"),
    ):
        if value != expected:
            raise CheckpointError(f"{name}: {field} = {shown(value)}: expected {expected!r}")
    ours = {place.key.partition(".")[2] for place in _PLACES if place.key.startswith(f"{OURS}.")}
    if unknown := [key for key in object_in(fields, OURS, name) if key not in ours]:
        raise CheckpointError(
            f"{name}: {OURS}.{plain(unknown[0], 40)}: this version does not know it; a newer moelaws wrote this model"
        )
    fields = fields | {"rope_parameters": rope}
    values = {field.name: _read(fields, field, cast(Place, field.place), name) for field in described(ModelConfig)}
    values["d_ff"] *= values["granularity"]  # the layout has the width of one expert
    values["renormalize_top_k"] &= values["top_k"] > 1  # one expert's gate is 1 either way
    try:
        return ModelConfig(**values)
    except ConfigError as error:
        raise CheckpointError(f"{name}: {error}") from None


def _count(fields: dict[str, Any], field: str, name: str) -> int:
    return whole_in(fields, field, name, 1, _MOST)


def _read(fields: dict[str, Any], field: Field, place: Place, name: str) -> Any:
    """What a configuration says of one field."""
    *levels, key = place.key.split(".")
    for level in levels:
        fields = object_in(fields, level, name)
    if place.absent is not NEEDED and key not in fields:
        return place.absent
    if field.kind is int:
        return whole_in(fields, key, name, int(field.least), _MOST)
    if field.kind is float:
        return number_of(fields.get(key), key, name)
    return bool(fields[key]) if field.kind is bool else text_in(fields, key, name)


def fields_of(config: ModelConfig) -> dict[str, Any]:
    """The fields of ``config.json`` that describe an architecture; what has no place there is left out."""
    written: dict[str, Any] = {
        "architectures": ["OlmoeForCausalLM"],
        "model_type": LAYOUT,
        "num_key_value_heads": config.n_heads,
        "hidden_act": "silu",
        "rms_norm_eps": NORM_EPSILON,
        "rope_parameters": {"rope_type": "default"},
        "attention_bias": False,
        "clip_qkv": None,
        "bos_token_id": None,
        "eos_token_id": 0,
        "pad_token_id": None,
        "dtype": "float32",
    }
    for field in described(config):
        place, value = cast(Place, field.place), getattr(config, field.name)
        *levels, key = place.key.split(".")
        level = written
        for name in levels:
            level = level.setdefault(name, {})
        if key:
            level[key] = config.d_expert if field.name == "d_ff" else value
        if place.foreign and value != place.absent:
            written |= NOT_OLMOE
    return written
