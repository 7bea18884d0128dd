"""Folders and files that are no model, or one too large: refused in a sentence before anything is allocated."""

import json
import os
import resource
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from command_line import exit_code
from moelaws import available_memory
from moelaws.available_memory import TooLargeError, available_bytes
from moelaws.config import ModelConfig
from moelaws.models import Transformer
from moelaws.models.checkpoint import load_checkpoint, save_checkpoint
from moelaws.models.layout import fields_of
from repository import TESTS

CASES = TESTS / "cases"
SMALL = ModelConfig(vocab_size=64, d_model=16, n_layers=2, n_heads=2, d_ff=32, n_experts=4, context=32)
GIANT = 10**400


def _refused(model: object, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert exit_code(["measure", str(model), "--batch", "1", *more]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert len(captured.err) <= 400
    assert captured.err[:-1].isprintable()
    return captured.err


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_checkpoint(Transformer(SMALL), tmp_path / "small")
    return tmp_path / "small"


def test_a_folder_without_weights_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(CASES / "config_without_weights")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "olmoe: no .safetensors file" in _refused("olmoe", capsys)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize("place", ["mixtral-8x7b", "mixtral-8x7b/config.json", "qwen3-30b-a3b", "deepseek-v3"])
def test_other_architectures_are_named(
    place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(CASES / "hf_configs")
    said = _refused(place, capsys)
    assert f"{place.partition('/')[0]}/config.json: model_type = '{place[:5]}" in said
    assert "expected 'olmoe', the only layout that is read" in said


def test_a_model_that_does_not_fit_the_memory_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(available_memory, "_of_machine", lambda: 8e9)
    said = _refused(CASES / "hf_configs" / "olmoe-1b-7b" / "config.json", capsys)
    assert "decoding with 6.92e+09 parameters needs 83 GB of memory; 8 GB are available here" in said
    assert "are available here" in _refused("tiny:d=8192,E=4096", capsys)
    assert "a batch of 60000 requests of 1000064 tokens needs" in _refused(
        "tiny:d=16", capsys, "--new", "1000000", "--batch", "60000"
    )
    with pytest.raises(TooLargeError, match="a model of "):
        Transformer(ModelConfig(d_model=2**16))


def test_what_is_available_is_the_least_of_machine_and_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, least in (("_of_machine", 1e6), ("_of_container", 1e5), ("_of_limits", 1e4)):
        monkeypatch.setattr(available_memory, name, lambda least=least: least)
        assert available_bytes() == least


def test_configurations_of_the_wrong_kind(capsys: pytest.CaptureFixture[str]) -> None:
    said = _refused(CASES / "hostile" / "cfg_is_list", capsys)
    assert "config.json: expected a JSON object, found a list" in said
    said = _refused(CASES / "hostile" / "cfg_rope_list", capsys)
    assert "config.json: 'rope_parameters': expected an object, found a list" in said


WRONG_FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "no model_type": ({"model_type": None}, "model_type = None: expected 'olmoe'"),
    "a list for model_type": ({"model_type": ["olmoe"]}, "model_type = ['olmoe']: expected 'olmoe'"),
    "heads of text": ({"num_attention_heads": "two"}, "'num_attention_heads': expected a whole number from 1"),
    "no heads": ({"num_attention_heads": 0}, "'num_attention_heads': expected a whole number from 1"),
    "a width of text": ({"hidden_size": "16"}, "'hidden_size': expected a whole number"),
    "a width of halves": ({"hidden_size": 16.5}, "'hidden_size': expected a whole number"),
    "a giant width": ({"hidden_size": GIANT}, "found a whole number of more than 60 digits"),
    "text that is multiplied": (
        {"intermediate_size": "ab", "moelaws": {"granularity": 10**9}},
        "'intermediate_size': expected a whole number",
    ),
    "a giant granularity": ({"moelaws": {"granularity": 10**12}}, "'granularity': expected a whole number"),
    "ours is a list": ({"moelaws": [1]}, "'moelaws': expected an object, found a list"),
    "experts true": ({"num_experts": True}, "'num_experts': expected a whole number from 1"),
    "experts null": ({"num_experts": None}, "'num_experts': expected a whole number from 1"),
    "top_k a list": ({"num_experts_per_tok": [1]}, "'num_experts_per_tok': expected a whole number"),
    "another width": ({"hidden_size": 32}, "has shape (64, 16), expected (64, 32)"),
    "too many layers": ({"num_hidden_layers": 10**9}, "no tensor 'model.layers.2.input_layernorm.weight'"),
    "too many experts": ({"num_experts": 10**9}, "has shape (4, 16), expected (1000000000, 16)"),
    "theta of text": ({"rope_parameters": {"rope_theta": "x"}}, "'rope_theta': expected a finite number, found 'x'"),
    "theta 0": ({"rope_parameters": {"rope_theta": 0}}, "rope_theta = 0.0: expected a number > 1"),
    "no theta": ({"rope_parameters": {"rope_type": "default"}}, "'rope_theta': expected a finite number, found null"),
    "scaled rope": ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope_type = 'yarn'"),
    "a long value": ({"hidden_act": "x" * 87_000}, "hidden_act = 'xxx"),
    "escapes": ({"hidden_act": "\x1b[31m"}, "hidden_act = '\\x1b[31m'"),
}


@pytest.mark.parametrize(("fields", "message"), WRONG_FIELDS.values(), ids=WRONG_FIELDS.keys())
def test_a_field_of_the_wrong_kind_is_named(
    fields: dict[str, Any], message: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = checkpoint / "config.json"
    file.write_text(json.dumps(fields_of(SMALL) | fields))
    said = _refused(checkpoint, capsys)
    assert message in said
    assert "small" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"model_type": "\xff"}', "not UTF-8 text"),
        (b'{"vocab_size": NaN}', "NaN is no number of JSON"),
    ],
)
def test_a_config_that_is_no_json_is_refused(
    text: bytes, message: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / "config.json").write_bytes(text)
    assert message in _refused(checkpoint, capsys)
    file = checkpoint / "mine.json"
    file.write_bytes(text)
    assert message in _refused(file, capsys)


def _header(length: int, text: bytes = b"{}") -> bytes:
    return struct.pack("<Q", length) + text


@pytest.mark.parametrize(
    "content",
    [
        b"", b"x", b"not tensors at all", _header(2**63), _header(10**9), _header(2), _header(4, b"[][]"),
        _header(200_000, b"[" * 200_000),
        _header(84, b'{"x":{"dtype":"F32","shape":[99999999999,9999999],"data_offsets":[0,4]}}            ' + b"0000"),
        _header(84, b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4000000000000]}}                  ' + b"0000"),
        _header(84, b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}                              ' + b"0000"),
    ],
)  # fmt: skip
def test_hostile_weights_are_refused(content: bytes, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkpoint / "model.safetensors").write_bytes(content)
    said = _refused(checkpoint, capsys)
    assert "model.safetensors: cannot be read" in said or "no tensor" in said


def test_truncated_weights_are_refused(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = checkpoint / "model.safetensors"
    whole = file.read_bytes()
    for size in (4, 8, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        assert "model.safetensors: cannot be read" in _refused(checkpoint, capsys)


def test_weights_that_are_no_file_are_none(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = checkpoint / "model.safetensors"
    file.unlink()
    os.mkfifo(file)
    assert "small: no .safetensors file" in _refused(checkpoint, capsys)
    file.unlink()
    file.mkdir()
    assert "small: no .safetensors file" in _refused(checkpoint, capsys)


def test_fused_experts_other_types_and_doubles_are_named(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.torch import load_file

    file = checkpoint / "model.safetensors"
    tensors = load_file(file)
    experts = {name: tensor for name, tensor in tensors.items() if ".mlp.experts." in name}
    fused = {name: tensor for name, tensor in tensors.items() if name not in experts}
    fused |= {f"model.layers.{i}.mlp.experts.gate_up_proj": torch.zeros(4, 64, 16) for i in range(2)}
    save_file(fused, file)
    said = _refused(checkpoint, capsys)
    assert "'model.layers.0.mlp.experts.gate_up_proj' holds all experts of a layer in one" in said
    assert "'model.layers.0.mlp.experts.0.gate_proj.weight'" in said
    whole = {name: tensor.to(torch.int8) if name in experts else tensor for name, tensor in tensors.items()}
    save_file(whole, file)
    assert "holds 'I8', expected one of F64, F32, F16, BF16" in _refused(checkpoint, capsys)
    save_file(tensors, file)
    save_file(tensors, checkpoint / "second.safetensors")
    assert "second.safetensors: tensor 'lm_head" in (said := _refused(checkpoint, capsys)) or "is in model.safe" in said


def test_half_precision_is_read(checkpoint: Path) -> None:
    from safetensors.torch import load_file

    file = checkpoint / "model.safetensors"
    save_file({name: tensor.bfloat16() for name, tensor in load_file(file).items()}, file)
    assert load_checkpoint(checkpoint).embedding.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "moelaws measure: name a model"),
        ("tiny:d=999999999999", "found 'd=999999999999', expected one of d, E, K, G, V, T = a whole number"),
        ("tiny:d=999999999", "d_model = 999999999: expected an even number from 2 to 1000000"),
        ("tiny:d=1", "d_model = 1: expected an even number"),
        ("tiny:d=0", "d_model = 0: expected an even number"),
        ("tiny:d=²", "found 'd=²'"),
        ("tiny:E=0", "n_experts = 0: expected a whole number >= 1"),
        ("tiny:" + "d=1," * 50_000, "d_model = 1: expected an even number"),
        ("tiny:" + "x=1," * 50_000, "'tiny:x=1,x=1,"),
        ("/dev/zero", "is a pipe or device; expected a JSON file"),
        ("n" * 5_000, "File name too long"),
        ("\x1b[31m", "\\x1b[31m: No such file"),
    ],
)
def test_names_that_are_no_model(name: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in _refused(name, capsys)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"d_model": "64"}, "d_model = '64': expected a whole number >= 1"),
        ({"d_model": GIANT}, "d_model = 1000"),
        ({"qk_norm": "yes"}, "qk_norm = 'yes': expected true or false"),
        ({"rope_theta": "x"}, "rope_theta = 'x': expected a number > 1"),
        ({"rope_theta": None}, "rope_theta = None: expected a number > 1"),
        ({"n_experts": [8]}, "n_experts = [8]: expected a whole number >= 1"),
        ({"x" * 87_000: 1}, "ModelConfig has no field 'xxx"),
        ({"\x1b[31m": 1}, "ModelConfig has no field '\\x1b[31m'"),
        ({"n_layers": 10**9, "d_model": 1000000, "n_heads": 1000}, "needs"),
    ],
)
def test_a_configuration_of_ours_is_checked(
    fields: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(fields))
    assert message in _refused(file, capsys)
