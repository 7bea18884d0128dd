"""GGUF files read back by its makers' own package: every tensor, every key; and what is refused."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from command_line import exit_code
from moelaws import export_gguf
from moelaws.config import ModelConfig
from moelaws.models import Transformer
from moelaws.models.checkpoint import save_checkpoint
from moelaws.text.tokenizer import END_OF_TEXT, train_tokenizer

SMALL = ModelConfig(
    vocab_size=300, d_model=16, n_layers=2, n_heads=2, d_ff=48, n_experts=4, top_k=2, granularity=2, context=40,
    tied_embeddings=False, rope_theta=5000.0,
)  # fmt: skip
TOKENIZER_TEXT = ["the quick brown fox jumps over the lazy dog " * 20]


def _saved(folder: Path, config: ModelConfig = SMALL, tokenizer: bool = False) -> Path:
    torch.manual_seed(0)
    model = Transformer(config)
    with torch.no_grad():
        for weight in model.parameters():  # gains, too, are numbers that could be mistaken for others
            weight.add_(0.1 * torch.randn_like(weight))
    file = None
    if tokenizer:
        file = folder.with_suffix(".json")
        train_tokenizer(TOKENIZER_TEXT, 280).save(str(file))
    save_checkpoint(model, folder, file)
    return folder


def _keys(file: Path) -> dict[str, Any]:
    return {name: field.contents() for name, field in gguf.GGUFReader(file).fields.items()}


def _tensors(file: Path) -> dict[str, np.ndarray]:
    return {one.name: np.array(one.data) for one in gguf.GGUFReader(file).tensors}


def test_every_tensor_and_key_is_there(tmp_path: Path) -> None:
    folder, out = _saved(tmp_path / "model", tokenizer=True), tmp_path / "model.gguf"
    said = export_gguf(folder, out)
    weights = {name: tensor.numpy() for name, tensor in load_file(folder / "model.safetensors").items()}
    expected = {
        "token_embd.weight": weights.pop("model.embed_tokens.weight"),
        "output.weight": weights.pop("lm_head.weight"),
        "output_norm.weight": weights.pop("model.norm.weight"),
    }
    # The names as the package itself maps those of Hugging Face.
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.OLMOE, SMALL.n_layers)
    for layer in range(SMALL.n_layers):
        start = f"model.layers.{layer}.mlp.experts."
        for part in ("gate_proj", "up_proj", "down_proj"):
            experts = [weights.pop(f"{start}{e}.{part}.weight") for e in range(SMALL.n_experts)]
            expected[f"{names.get_name(start + part)}.weight"] = np.stack(experts)
    for name, value in weights.items():
        expected[f"{names.get_name(name.removesuffix('.weight'))}.weight"] = value
    found = _tensors(out)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].dtype == np.float32
        assert np.array_equal(found[name], value), name
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokens = [name for name, _ in sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])]
    keys = _keys(out)
    assert keys.pop("tokenizer.ggml.tokens")[: len(tokens)] == tokens
    assert keys.pop("tokenizer.ggml.merges") == [" ".join(pair) for pair in tokenizer["model"]["merges"]]
    types = keys.pop("tokenizer.ggml.token_type")
    assert types == [3] + [1] * (len(tokens) - 1) + [5] * (300 - len(tokens))
    assert tokens[0] == END_OF_TEXT
    for name in ("GGUF.version", "GGUF.tensor_count", "GGUF.kv_count", "moelaws.version"):
        keys.pop(name)
    assert keys.pop("olmoe.attention.layer_norm_rms_epsilon") == pytest.approx(1e-5)
    assert keys == {
        "general.architecture": "olmoe", "general.name": "model", "general.file_type": 0, "olmoe.vocab_size": 300,
        "olmoe.context_length": 40, "olmoe.embedding_length": 16, "olmoe.block_count": 2,
        "olmoe.feed_forward_length": 24, "olmoe.attention.head_count": 2, "olmoe.attention.head_count_kv": 2,
        "olmoe.rope.freq_base": 5000.0, "olmoe.rope.dimension_count": 8, "olmoe.expert_count": 4,
        "olmoe.expert_used_count": 2, "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.eos_token_id": 0, "tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.add_bos_token": False,
    }  # fmt: skip
    assert (said.tensors, said.size, said.vocabulary) == (len(expected), out.stat().st_size, True)


def test_tied_and_dense_models_and_those_without_a_tokenizer(tmp_path: Path) -> None:
    config = replace(SMALL, tied_embeddings=True, n_experts=1, top_k=1, granularity=1)
    out = tmp_path / "x.gguf"
    assert not export_gguf(_saved(tmp_path / "model", config), out).vocabulary
    found = _tensors(out)
    assert np.array_equal(found["output.weight"], found["token_embd.weight"])
    assert found["blk.0.ffn_gate_exps.weight"].shape[-2:] == (48, 16)
    assert not found["blk.0.ffn_gate_inp.weight"].any()  # its only gate is 1 whatever the router says
    assert _keys(out)["tokenizer.ggml.model"] == "none"


def test_half_the_bytes(tmp_path: Path) -> None:
    folder = _saved(tmp_path / "model")
    export_gguf(folder, tmp_path / "whole.gguf")
    export_gguf(folder, tmp_path / "half.gguf", "f16")
    whole, half = _tensors(tmp_path / "whole.gguf"), _tensors(tmp_path / "half.gguf")
    for name, value in whole.items():
        exact = value.ndim == 1 or "ffn_gate_inp" in name
        assert half[name].dtype == (np.float32 if exact else np.float16)
        assert np.array_equal(half[name], value if exact else value.astype(np.float16))


def test_bf16_checkpoints_are_read(tmp_path: Path) -> None:
    folder = _saved(tmp_path / "model")
    weights = {name: tensor.bfloat16() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors")
    export_gguf(folder, tmp_path / "x.gguf")
    found = _tensors(tmp_path / "x.gguf")["blk.1.attn_q.weight"]
    assert np.array_equal(found, weights["model.layers.1.self_attn.q_proj.weight"].float().numpy())


def _changed(folder: Path, **fields: Any) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    return folder


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"norm_topk_prob": True}, "norm_topk_prob = True: llama.cpp's olmoe has False alone"),
        ({"num_key_value_heads": 1}, "num_key_value_heads = 1: llama.cpp's olmoe has 2 alone"),
        ({"clip_qkv": 8.0}, "clip_qkv = 8.0: llama.cpp's olmoe has None alone"),
        ({"attention_bias": True}, "attention_bias = True"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        ({"rope_scaling": {"type": "yarn"}}, "rope_scaling = {'type': 'yarn'}"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope_type = 'yarn'"),
        ({"model_type": "moelaws", "moelaws": {"router_scores": "sigmoid"}}, "scores experts by softmax alone"),
        ({"model_type": "mixtral"}, "model_type = 'mixtral': only olmoe is written"),
        ({"num_attention_heads": 3, "num_key_value_heads": 3}, "expected a divisor of hidden_size = 16"),
        ({"num_hidden_layers": 3}, "no tensor 'model.layers.2.input_layernorm.weight'"),
        ({"num_hidden_layers": 1}, "llama.cpp's olmoe has no place for it"),
        ({"intermediate_size": 25}, "has shape (24, 16), expected (25, 16)"),
        ({"vocab_size": "many"}, "'vocab_size': expected a whole number"),
        ({"num_experts_per_tok": 99}, "num_experts_per_tok = 99: expected at most num_experts ="),
    ],
)  # fmt: skip
def test_what_olmoe_cannot_hold_is_named(
    fields: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _changed(_saved(tmp_path / "model"), **fields)
    assert exit_code(["export", "gguf", str(folder), str(tmp_path / "x.gguf")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert len(said.err) <= 400
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_only_files_of_ours_are_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = _saved(tmp_path / "model"), tmp_path / "x.gguf"
    assert exit_code(["export", "gguf", str(folder), str(out)]) == 0
    said = capsys.readouterr().out
    assert "27 tensors" in said
    assert "without a tokenizer" in said
    assert exit_code(["export", "gguf", str(folder), str(out), "--type", "f16"]) == 0
    somebodys = gguf.GGUFWriter(tmp_path / "theirs.gguf", "olmoe")
    somebodys.write_header_to_file()
    somebodys.write_kv_data_to_file()
    somebodys.close()
    (tmp_path / "notes.txt").write_text("precious")
    for name in ("theirs.gguf", "notes.txt", "/dev/null", "absent/x.gguf", "model"):
        before = (tmp_path / name).read_bytes() if (tmp_path / name).is_file() else b""
        assert exit_code(["export", "gguf", str(folder), str(tmp_path / name)]) == 2
        if before:
            assert (tmp_path / name).read_bytes() == before
    assert not list(tmp_path.glob(".moelaws-*"))
    assert exit_code(["export", "gguf", str(tmp_path / "absent"), str(tmp_path / "y.gguf")]) == 2


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = _saved(tmp_path / "model"), tmp_path / "x.gguf"
    export_gguf(folder, out)
    before = out.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf.GGUFWriter, "write_tensor_data", full)
    with pytest.raises(OSError, match="No space left"):
        export_gguf(folder, out)
    assert out.read_bytes() == before
    assert not list(tmp_path.glob(".moelaws-*"))


def test_no_torch_is_needed(tmp_path: Path) -> None:
    folder = _saved(tmp_path / "model")
    code = f"""
import sys
from moelaws.exchange.gguf.gguf_file import export_gguf
export_gguf({str(folder)!r}, {str(tmp_path / "x.gguf")!r})
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
