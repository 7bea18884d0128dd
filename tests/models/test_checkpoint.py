"""Checkpoints open in transformers with the same logits, and the other way round; the rest is refused by name."""

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from moelaws.config import ModelConfig
from moelaws.models import Transformer
from moelaws.models.checkpoint import CheckpointError, load_checkpoint, read_config, save_checkpoint
from moelaws.models.router import SCORES
from moelaws.text.corpus import load_corpus

SMALL = ModelConfig(vocab_size=96, d_model=32, n_layers=2, n_heads=2, d_ff=64, n_experts=8, top_k=2, context=64)
MODELS = {
    "dense": replace(SMALL, n_experts=1, top_k=1),
    "K = 1": replace(SMALL, top_k=1),
    "K = 2": SMALL,
    "K = 2, renormalised": replace(SMALL, renormalize_top_k=True),
    "G = 2, untied": replace(SMALL, granularity=2, tied_embeddings=False),
}


def _ids() -> torch.Tensor:
    return torch.randint(96, (3, 40), generator=torch.Generator().manual_seed(0))


def _stirred(model: Transformer) -> Transformer:
    """Gains other than 1, so that a gain at the wrong place shows."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gain"):
                parameter.copy_(1 + 0.5 * torch.rand(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS.keys())
def test_transformers_finds_the_same_logits(transformers: Any, config: ModelConfig, tmp_path: Path) -> None:
    model = _stirred(Transformer(config, seed=3))
    save_checkpoint(model, tmp_path)
    theirs = transformers.OlmoeForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        expected, found = model(_ids())[0], theirs(_ids()).logits
    assert (found - expected).abs().max() <= 1e-4
    assert expected.std() > 0.1
    assert theirs.num_parameters() == sum(p.numel() for p in model.parameters()) + (
        0 if config.is_moe else 2 * config.d_model
    )


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS.keys())
def test_what_was_saved_is_loaded_bit_by_bit(config: ModelConfig, tmp_path: Path) -> None:
    model = _stirred(Transformer(config, seed=3))
    save_checkpoint(model, tmp_path)
    again = load_checkpoint(tmp_path)
    assert again.config == config
    for (name, ours), (other, loaded) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(ours, loaded), name


@pytest.mark.parametrize("experts", [1, 4])
@pytest.mark.parametrize("tied", [False, True])
def test_a_model_of_transformers_opens_here(transformers: Any, experts: int, tied: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = transformers.OlmoeForCausalLM(
        transformers.OlmoeConfig(
            vocab_size=96, hidden_size=32, intermediate_size=24, num_hidden_layers=3, num_attention_heads=4,
            num_experts=experts, num_experts_per_tok=min(2, experts), norm_topk_prob=experts > 1,
            tie_word_embeddings=tied, max_position_embeddings=64, eos_token_id=0, initializer_range=0.2,
            rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        )
    )  # fmt: skip
    for name, parameter in theirs.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")  # in several files
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    ours = load_checkpoint(tmp_path)
    assert ours.config.rope_theta == 500.0
    with torch.no_grad():
        expected, found = theirs(_ids()).logits, ours(_ids())[0]
    assert (found - expected).abs().max() <= 1e-4
    assert expected.std() > 0.1


def test_the_tokenizer_goes_with_the_model(transformers: Any, tmp_path: Path) -> None:
    corpus = load_corpus("sotu")
    save_checkpoint(Transformer(SMALL), tmp_path, corpus.tokenizer_file)
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    text = "The state of the Union is strong."
    assert theirs.encode(text) == corpus.tokenizer().encode(text).ids


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shared_experts": 1}, "shared_experts = 1: the OLMoE layout has no place for it"),
        ({"moe_every": 2}, "moe_every = 2: the OLMoE layout has no place for it"),
        ({"token_shift": True}, "token_shift = True: the OLMoE layout has no place for it"),
        ({"qk_norm": False}, "qk_norm = False: the OLMoE layout has no place for it"),
    ],
)
def test_what_the_layout_cannot_express_is_refused_by_name(fields: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        save_checkpoint(Transformer(replace(SMALL, **fields)), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("scores", sorted(SCORES.keys() - {"softmax"}))
def test_what_is_no_olmoe_model_opens_here_as_itself_and_nowhere_as_one(
    transformers: Any, scores: str, tmp_path: Path
) -> None:
    model = _stirred(Transformer(replace(SMALL, router_scores=scores, renormalize_top_k=True), seed=3))
    save_checkpoint(model, tmp_path)
    again = load_checkpoint(tmp_path)
    assert again.config == model.config
    with torch.no_grad():
        assert torch.equal(again(_ids())[0], model(_ids())[0])
    with pytest.raises(ValueError, match="moelaws"):
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path)


def test_balance_biases_are_refused(tmp_path: Path) -> None:
    model = Transformer(SMALL)
    model.blocks[1].experts.balance_bias[0] = 0.1
    with pytest.raises(CheckpointError, match="balance_bias = not zero: the OLMoE layout has no place for it"):
        save_checkpoint(model, tmp_path)


def test_weights_that_the_layout_does_not_name_are_refused(tmp_path: Path) -> None:
    """What a new field of the configuration brings along, and nobody has given a place."""
    model = Transformer(SMALL)
    model.blocks[0].extra = torch.nn.Parameter(torch.zeros(7))
    with pytest.raises(CheckpointError, match=r"parameters = \d+, of which the layout keeps \d+: .* is not written"):
        save_checkpoint(model, tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model_type", "llama", r"model_type = 'llama': expected 'olmoe'"),
        ("num_key_value_heads", 1, r"num_key_value_heads = 1: expected 2"),
        ("clip_qkv", 8.0, r"clip_qkv = 8\.0: expected None"),
        ("rope_scaling", {"type": "linear"}, r"rope_scaling = .*: expected None"),
        ("num_experts_per_tok", 9, r"config\.json: top_k = 9: expected at most n_experts = 8"),
        ("hidden_size", None, r"config\.json: no field 'hidden_size'"),
    ],
)
def test_a_configuration_that_is_not_ours_is_refused(field: str, value: object, message: str, tmp_path: Path) -> None:
    save_checkpoint(Transformer(SMALL), tmp_path)
    file = tmp_path / "config.json"
    fields = json.loads(file.read_text())
    if value is None:
        del fields[field]
    else:
        fields[field] = value
    file.write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match=message):
        read_config(tmp_path)


def test_a_model_of_a_newer_version_is_not_read_as_another_one(tmp_path: Path) -> None:
    save_checkpoint(Transformer(SMALL), tmp_path)
    file = tmp_path / "config.json"
    fields = json.loads(file.read_text())
    fields["moelaws"]["stretch"] = 2.0
    file.write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match=r"config\.json: moelaws\.stretch: this version does not know it"):
        read_config(tmp_path)


def test_broken_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json: no such file"):
        load_checkpoint(tmp_path)
    save_checkpoint(Transformer(SMALL), tmp_path)
    weights = tmp_path / "model.safetensors"
    tensors = load_file(weights)

    def expect(message: str) -> None:
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(tmp_path)

    name = "model.layers.1.mlp.experts.3.up_proj.weight"
    save_file({k: v for k, v in tensors.items() if k != name}, weights)
    expect(rf"no tensor '{name}'")
    save_file(tensors | {name: tensors[name][:, :5].contiguous()}, weights)
    expect(rf"'{name}' has shape \(64, 5\), expected \(64, 32\)")
    save_file(tensors | {"model.layers.2.extra": torch.zeros(1)}, weights)
    expect(r"tensor 'model\.layers\.2\.extra' has no place")
    weights.write_bytes(b"not tensors at all")
    expect(r"model\.safetensors: cannot be read")
    weights.unlink()
    expect(r"no \.safetensors file; pickled weights are not read")


def test_a_folder_of_somebodys_is_refused_untouched(tmp_path: Path) -> None:
    """Weights of another model, or any files at all, are not mixed with ours."""
    model = Transformer(SMALL)
    downloaded = {"model_type": "olmoe", "hidden_size": 32}
    for number, files in enumerate((
        {"notes.txt": "mine"}, {"model.safetensors": "mine"}, {"config.json": json.dumps(downloaded)},
        {"config.json": "[]", "tokenizer.json": "{}"}, {".hidden": ""},
    )):  # fmt: skip
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        with pytest.raises(CheckpointError, match="not empty, and not a checkpoint that moelaws saved"):
            save_checkpoint(model, folder)
        assert {file.name: file.read_text() for file in folder.iterdir()} == files
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CheckpointError, match="a file has this name; expected a folder"):
        save_checkpoint(model, tmp_path / "file")
    with pytest.raises(CheckpointError, match="a file has this name; expected a folder"):
        save_checkpoint(model, tmp_path / "file" / "below")


def test_a_checkpoint_of_ours_is_replaced_and_what_lies_beside_it_stays(tmp_path: Path) -> None:
    save_checkpoint(Transformer(SMALL), tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    later = Transformer(replace(SMALL, n_layers=1))
    save_checkpoint(later, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json", "model.safetensors", "notes.txt"]
    assert load_checkpoint(tmp_path).config == later.config


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_process_killed_while_it_saves_leaves_no_mixture(
    moved: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each file it moves; without the clean-up that a killed process does not do either."""
    save_checkpoint(Transformer(SMALL), tmp_path)
    later = Transformer(replace(SMALL, n_layers=1))
    moves, move = [], Path.replace

    def killed(self: Path, target: Path) -> Path:
        if len(moves) == moved:
            raise SystemExit
        moves.append(target)
        return move(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        patch.setattr(tempfile.TemporaryDirectory, "cleanup", lambda self: self._finalizer.detach())
        if moved < 2:
            with pytest.raises(SystemExit):
                save_checkpoint(later, tmp_path)
        else:
            save_checkpoint(later, tmp_path)
    if moved < 2:
        with pytest.raises(CheckpointError, match=r"config\.json"):
            load_checkpoint(tmp_path)
        save_checkpoint(later, tmp_path)
    assert load_checkpoint(tmp_path).config == later.config
    assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_weights_that_do_not_fit_the_disk_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    save_checkpoint(Transformer(SMALL), tmp_path)
    monkeypatch.setattr("moelaws.models.checkpoint.save_file", full)
    with pytest.raises(CheckpointError, match="the weights cannot be written"):
        save_checkpoint(Transformer(replace(SMALL, n_layers=1)), tmp_path)
    assert load_checkpoint(tmp_path).config == SMALL
    assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_weights_have_the_mode_that_other_files_get(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save_checkpoint(Transformer(SMALL), tmp_path)
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o640}
