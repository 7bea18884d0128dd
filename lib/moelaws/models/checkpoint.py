"""Checkpoints in the Hugging Face OLMoE layout: ``config.json`` and ``model.safetensors``, nothing pickled.

What is saved here opens in ``transformers`` as ``OlmoeForCausalLM``, and what that saves opens here. A dense model
is written as one of a single expert, whose gate is always 1.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from moelaws.config import ConfigError, ModelConfig
from moelaws.models.experts import ExpertsLayer
from moelaws.models.norm import NORM_EPSILON
from moelaws.models.transformer import Block, Transformer

_WEIGHTS = "model.safetensors"
_OURS = "moelaws"  # the key of config.json that keeps what the layout has no field for


class CheckpointError(ValueError):
    """A model cannot be written in the layout, or a folder does not hold a model that can be read."""


def save_checkpoint(model: Transformer, folder: str | Path, tokenizer: str | Path | None = None) -> None:
    """Write a model in the OLMoE layout; an older checkpoint in the folder is replaced, never half of it.

    Args:
        model: the model, on any device.
        folder: where to write; made if absent.
        tokenizer: a ``tokenizer.json`` to put beside it.

    Raises:
        CheckpointError: something about the model has no place in the layout, named.
    """
    _require_expressible(model)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: view.detach().reshape(shape).contiguous().cpu() for name, view, shape in _tensors(model)}
    if not model.config.is_moe:
        tensors |= {f"model.layers.{i}.mlp.gate.weight": torch.zeros(1, model.config.d_model)
                    for i in range(model.config.n_layers)}  # fmt: skip
    with tempfile.TemporaryDirectory(dir=folder) as building:
        save_file(tensors, Path(building) / _WEIGHTS, metadata={"format": "pt"})
        (Path(building) / "config.json").write_text(json.dumps(_layout(model.config), indent=2) + "\n")
        if tokenizer is not None:
            shutil.copyfile(tokenizer, Path(building) / "tokenizer.json")
        for file in Path(building).iterdir():
            file.replace(folder / file.name)


def load_checkpoint(folder: str | Path) -> Transformer:
    """Read a model in the OLMoE layout, written here or by ``transformers``.

    Args:
        folder: holds ``config.json`` and one or more ``.safetensors`` files.

    Returns:
        The model in fp32 on the CPU.

    Raises:
        CheckpointError: a file or tensor is missing, of another shape, or of no use here; or the configuration asks
            for something that these models do not have. The message names the file and the field or tensor.
    """
    folder = Path(folder)
    config = read_config(folder)
    model = Transformer(config)
    found = _read_tensors(folder)
    if not config.is_moe:
        found = {name: tensor for name, tensor in found.items() if not name.endswith("mlp.gate.weight")}
    if config.tied_embeddings:
        found.pop("lm_head.weight", None)
    with torch.no_grad():
        for name, view, shape in _tensors(model):
            tensor = found.pop(name, None)
            if tensor is None:
                raise CheckpointError(f"{folder}: no tensor {name!r} in the safetensors files")
            if tuple(tensor.shape) != shape:
                raise CheckpointError(f"{folder}: {name!r} has shape {tuple(tensor.shape)}, expected {shape}")
            view.copy_(tensor.reshape(view.shape))
    if found:
        raise CheckpointError(f"{folder}: tensor {min(found)!r} has no place in the model that config.json describes")
    return model


def read_config(folder: str | Path) -> ModelConfig:
    """The architecture of a checkpoint, from its ``config.json`` alone.

    Raises:
        CheckpointError: no such file, not JSON, or a field with a value that these models cannot have.
    """
    file = Path(folder) / "config.json"
    try:
        fields = json.loads(file.read_text())
    except FileNotFoundError:
        raise CheckpointError(f"{file}: no such file; expected a checkpoint in the OLMoE layout") from None
    except ValueError as error:
        raise CheckpointError(f"{file}: not JSON: {error}") from None
    rope = fields.get("rope_parameters") or {"rope_theta": fields.get("rope_theta", 10_000.0)}
    heads = fields.get("num_attention_heads")
    for name, value, expected in (
        ("model_type", fields.get("model_type"), "olmoe"),
        ("num_key_value_heads", fields.get("num_key_value_heads", heads), heads),
        ("hidden_act", fields.get("hidden_act", "silu"), "silu"),
        ("rms_norm_eps", fields.get("rms_norm_eps", NORM_EPSILON), NORM_EPSILON),
        ("clip_qkv", fields.get("clip_qkv"), None),
        ("attention_bias", fields.get("attention_bias", False), False),
        ("rope_scaling", fields.get("rope_scaling"), None),
        ("rope_parameters.rope_type", rope.get("rope_type", "default"), "default"),
    ):
        if value != expected:
            raise CheckpointError(f"{file}: {name} = {value!r}: expected {expected!r}")
    ours = fields.get(_OURS, {})
    try:
        n_experts, width = fields["num_experts"], fields["intermediate_size"]
        return ModelConfig(
            vocab_size=fields["vocab_size"],
            d_model=fields["hidden_size"],
            n_layers=fields["num_hidden_layers"],
            n_heads=heads,
            d_ff=width * ours.get("granularity", 1),
            n_experts=n_experts,
            top_k=fields["num_experts_per_tok"],
            granularity=ours.get("granularity", 1),
            context=fields["max_position_embeddings"],
            # One expert's gate is 1 either way; the choice means something from two on.
            renormalize_top_k=bool(fields.get("norm_topk_prob", False)) and fields["num_experts_per_tok"] > 1,
            tied_embeddings=bool(fields.get("tie_word_embeddings", False)),
            rope_theta=float(rope["rope_theta"]),
        )
    except KeyError as error:
        raise CheckpointError(f"{file}: no field {error.args[0]!r}") from None
    except ConfigError as error:
        raise CheckpointError(f"{file}: {error}") from None


def _layout(config: ModelConfig) -> dict[str, Any]:
    """The fields of ``config.json``."""
    return {
        "architectures": ["OlmoeForCausalLM"],
        "model_type": "olmoe",
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_expert,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_heads,
        "num_experts": config.n_experts,
        "num_experts_per_tok": config.top_k,
        "norm_topk_prob": config.renormalize_top_k,
        "max_position_embeddings": config.context,
        "hidden_act": "silu",
        "rms_norm_eps": NORM_EPSILON,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "tie_word_embeddings": config.tied_embeddings,
        "attention_bias": False,
        "clip_qkv": None,
        "bos_token_id": None,
        "eos_token_id": 0,
        "pad_token_id": None,
        "dtype": "float32",
        _OURS: {"granularity": config.granularity},
    }


def _require_expressible(model: Transformer) -> None:
    config = model.config
    biased = any(isinstance(b.experts, ExpertsLayer) and bool(b.experts.balance_bias.any()) for b in model.blocks)
    for name, value, absent in (
        ("shared_experts", config.shared_experts, config.shared_experts == 0),
        ("moe_every", config.moe_every, config.moe_every == 1 or not config.is_moe),
        ("qk_norm", config.qk_norm, config.qk_norm),
        ("token_shift", config.token_shift, not config.token_shift),
        ("balance_bias", "not zero", not biased),
    ):
        if not absent:
            raise CheckpointError(f"{name} = {value}: the OLMoE layout has no place for it; the model is not written")


def _tensors(model: Transformer) -> Iterator[tuple[str, Tensor, tuple[int, ...]]]:
    """Every tensor of the layout: its name, the same numbers as a view of the model's weights, and its shape.

    The view has the layout's order of elements, though maybe more dimensions: copying into it loads, reading it saves.
    """
    config = model.config
    yield "model.embed_tokens.weight", model.embedding, (config.vocab_size, config.d_model)
    for i, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        for name, view, shape in _block_tensors(config, block):
            yield f"model.layers.{i}.{name}", view, shape
    yield "model.norm.weight", model.final_norm.gain, (config.d_model,)
    if model.unembedding is not None:
        yield "lm_head.weight", model.unembedding, (config.vocab_size, config.d_model)


def _block_tensors(config: ModelConfig, block: Block) -> Iterator[tuple[str, Tensor, tuple[int, ...]]]:
    d, hidden, attention = config.d_model, config.d_expert, block.attention
    yield "input_layernorm.weight", block.attention_norm.gain, (d,)
    query, key, value = attention.w_qkv.chunk(3)
    yield "self_attn.q_proj.weight", _halves(query, config), (d, d)
    yield "self_attn.k_proj.weight", _halves(key, config), (d, d)
    yield "self_attn.v_proj.weight", value, (d, d)
    yield "self_attn.o_proj.weight", attention.w_out, (d, d)
    if attention.q_norm is not None and attention.k_norm is not None:
        yield "self_attn.q_norm.weight", _halves(attention.q_norm.gain, config), (d,)
        yield "self_attn.k_norm.weight", _halves(attention.k_norm.gain, config), (d,)
    yield "post_attention_layernorm.weight", block.experts_norm.gain, (d,)
    if isinstance(block.experts, ExpertsLayer):
        yield "mlp.gate.weight", block.experts.router, (config.n_experts, d)
    for e in range(config.n_experts):
        gate, up = block.experts.w_in[e].chunk(2, dim=-1)
        yield f"mlp.experts.{e}.gate_proj.weight", gate.t(), (hidden, d)
        yield f"mlp.experts.{e}.up_proj.weight", up.t(), (hidden, d)
        yield f"mlp.experts.{e}.down_proj.weight", block.experts.w_out[e].t(), (d, hidden)


def _halves(rows: Tensor, config: ModelConfig) -> Tensor:
    """Rows of each head in the layout's order: first one channel of every pair, then the other."""
    return rows.unflatten(0, (config.n_heads, config.head_dim // 2, 2)).transpose(1, 2)


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{folder}: no .safetensors file; pickled weights are not read")
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            tensors |= load_file(file)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file}: cannot be read: {error}") from None
    return tensors
