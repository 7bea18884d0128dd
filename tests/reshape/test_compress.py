"""Few bits: exact sizes, the best shares of bits, and a checkpoint that is as small as it is said to be."""

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from moelaws.cli import main
from moelaws.config import ModelConfig
from moelaws.decoding.generate import generate
from moelaws.models import Transformer
from moelaws.models.bit_planes import to_bit_planes
from moelaws.models.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from moelaws.models.layout import slots
from moelaws.reshape.bit_budget import spend_bits
from moelaws.reshape.compress import Widths, compress, stored_bytes, with_bits
from moelaws.reshape.fewer_experts import merge, prune
from moelaws.reshape.importance import damage, visits
from moelaws.reshape.second_choice import second_dropped, weight_ratios
from moelaws.reshape.upcycle import ReshapeError, largest_difference, upcycle
from moelaws.text.text import load_text

MODEL = ModelConfig(vocab_size=96, d_model=24, n_layers=2, n_heads=2, d_ff=40, n_experts=6, top_k=2, context=32)


@pytest.fixture(scope="module")
def model() -> Transformer:
    return Transformer(MODEL, seed=2)


@pytest.fixture(scope="module")
def windows() -> torch.Tensor:
    return torch.randint(96, (16, 33), generator=torch.Generator().manual_seed(0))


def matrix(rows: int = 7, columns: int = 45) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))


# Bits


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("group", [1, 16, 45, 1000])
def test_levels_are_even_symmetric_and_the_nearest(bits: int, group: int) -> None:
    weights = matrix()
    planes = to_bit_planes(weights, bits, group)
    groups = -(-45 // group)
    assert planes.bits == bits
    assert planes.bytes == bits * -(-7 * 45 // 8) + 2 * 7 * groups
    found = planes.matrix()
    scales = planes.scales_RH.float()[:, torch.arange(45) * groups // 45]
    steps = found / scales + (2**bits - 1) / 2
    assert (steps - steps.round()).abs().max() < 1e-3
    assert steps.round().min() >= 0
    assert steps.round().max() <= 2**bits - 1
    levels = torch.arange(2**bits) - (2**bits - 1) / 2
    nearest = (weights.unsqueeze(-1) - levels * scales.unsqueeze(-1)).abs().amin(-1)
    torch.testing.assert_close((weights - found).abs(), nearest, atol=1e-5, rtol=0)
    other = to_bit_planes(-weights, bits, group).matrix()
    assert (found + other).abs().max() <= float(scales.max()) + 1e-5  # at most a tie


def test_one_bit_is_the_sign_times_the_mean() -> None:
    weights = matrix(3, 16)
    found = to_bit_planes(weights, 1, 16).matrix()
    expected = weights.sign() * weights.abs().mean(1, keepdim=True)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)


def test_more_bits_and_smaller_groups_err_less() -> None:
    weights = matrix(40, 64)
    errors = [float((to_bit_planes(weights, bits, 32).matrix() - weights).square().mean()) for bits in range(1, 9)]
    assert all(b < a / 2 for a, b in itertools.pairwise(errors))
    # A normal weight in two bits: no four levels err less than .1175 (Max 1960), even ones .1188.
    assert 0.09 < errors[1] < 0.125
    finer = float((to_bit_planes(weights, 2, 8).matrix() - weights).square().mean())
    assert finer < errors[1]


def test_zeros_stay_zeros() -> None:
    assert not to_bit_planes(torch.zeros(2, 9), 3, 4).matrix().any()


@pytest.mark.parametrize("bits", [0, 9, -1])
def test_bits_that_there_cannot_be(bits: int) -> None:
    with pytest.raises(ValueError, match=f"bits = {bits}: expected a whole number from 1 to 8"):
        to_bit_planes(matrix(), bits, 8)
    with pytest.raises(ReshapeError, match=f"bits = {bits}: expected a number from 1 to 8"):
        Widths(experts=bits)


# Shares of bits


def test_the_shares_are_the_best_of_all() -> None:
    rng = np.random.default_rng(0)
    for widths in ((1, 2, 3), (2, 4, 8), (1, 3)):
        for mean in (min(widths), 2, 2.4, max(widths)):
            costs = rng.exponential(size=(5, 3))[:, : len(widths)]
            found = spend_bits(costs, widths, mean)
            assert found.sum() <= mean * 5 + 1e-9
            cost = sum(costs[i, widths.index(width)] for i, width in enumerate(found))
            every = itertools.product(range(len(widths)), repeat=5)
            allowed = [each for each in every if sum(widths[j] for j in each) <= mean * 5 + 1e-9]
            assert cost == pytest.approx(min(sum(costs[i, j] for i, j in enumerate(each)) for each in allowed))


def test_what_cannot_be_shared_out() -> None:
    with pytest.raises(ReshapeError, match=r"mean width = 1\.5: expected at least 2 bits"):
        spend_bits(np.ones((4, 2)), (2, 3), 1.5)
    with pytest.raises(ReshapeError, match=r"bits = 4\.5: expected 1 to 3, the widths shared out"):
        Widths(experts=4.5)


def test_experts_are_judged_by_what_the_layer_does_without_them(model: Transformer, windows: torch.Tensor) -> None:
    seen = visits(model, windows)
    assert float(seen[0].frequency_E.sum()) == pytest.approx(2)
    layer, expert = seen[1].layer, 3
    changed = (layer.w_in[expert] * 0.9, layer.w_out[expert] * 1.2)
    found = damage(seen[1], lambda e: [changed if e == expert else (layer.w_in[e], layer.w_out[e])])
    other = Transformer(MODEL, seed=2).blocks[1].experts
    with torch.no_grad():
        other.w_in[expert], other.w_out[expert] = changed
        moved = other(seen[1].x_TD)[0] - layer(seen[1].x_TD)[0]
    assert float(found[expert, 0]) == pytest.approx(float(moved.norm()), rel=1e-4)
    assert found[[0, 1, 2, 4, 5]].abs().max() < 1e-4


def test_important_experts_get_more_bits(model: Transformer, windows: torch.Tensor) -> None:
    layer = model.blocks[0].experts
    seen = visits(model, windows)[0]
    found = compress(model, windows, Widths(experts=1.5, choices=(1, 4), rest=32)).bits_LE[0]
    assert found.sum() == 9
    assert found[int((seen.frequency_E * seen.weight_E).argmax())] == 4
    assert layer.w_in.unique().numel() > 1000  # the model itself is as it was


def test_no_text_no_shares(model: Transformer) -> None:
    with pytest.raises(ReshapeError, match=r"bits = 2\.5: no text to judge the experts by"):
        compress(model, None, Widths(experts=2.5))
    dense = Transformer(replace(MODEL, n_experts=1, top_k=1))
    with pytest.raises(ReshapeError, match="n_experts = 1: the model is dense"):
        compress(dense, torch.zeros(2, 33, dtype=torch.long), Widths(experts=2.5))


# Checkpoints


@pytest.mark.parametrize("config", [MODEL, replace(MODEL, n_experts=1, top_k=1), replace(MODEL, tied_embeddings=False)])
@pytest.mark.parametrize("widths", [Widths(8), Widths(2, rest=4), Widths(1, rest=32, group=7)])
def test_a_compressed_model_is_as_small_as_it_is_said_to_be(
    config: ModelConfig, widths: Widths, tmp_path: Path
) -> None:
    found = compress(Transformer(config, seed=1), None, widths)
    save_checkpoint(found.model, tmp_path, packed=found.packed)
    again = load_checkpoint(tmp_path)
    assert again.config == config
    for (name, one), other in zip(found.model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    written = sum(t.numel() * t.element_size() for t in load_file(tmp_path / "model.safetensors").values())
    gates = 0 if config.is_moe else 2 * 4 * config.d_model  # of the one expert that a dense model is written as
    assert found.bytes == written - gates
    header = (tmp_path / "model.safetensors").stat().st_size - written
    assert 0 < header < 200 * len(load_file(tmp_path / "model.safetensors")) + 100
    prompt = [list(range(8))]
    assert generate(again, prompt, 8).tokens == generate(found.model, prompt, 8).tokens
    assert stored_bytes(config) == 4 * sum(p.numel() for p in again.parameters())


def test_eight_bits_change_next_to_nothing(model: Transformer, windows: torch.Tensor) -> None:
    found = compress(model, None, Widths(8, rest=32))
    with torch.no_grad():
        before, after = (float(m.loss(windows[:, :-1], windows[:, 1:])[0]) for m in (model, found.model))
        moved = (model(windows)[0] - found.model(windows)[0]).abs()
    assert abs(after - before) < 2e-3
    assert 0 < float(moved.median()) < 0.02  # a token whose expert changes moves further


def test_other_programs_do_not_take_it_for_an_olmoe_model(model: Transformer, tmp_path: Path) -> None:
    found = compress(model)
    save_checkpoint(found.model, tmp_path, packed=found.packed)
    assert '"model_type": "moelaws"' in (tmp_path / "config.json").read_text()
    save_checkpoint(load_checkpoint(tmp_path), tmp_path)  # as it is now: in full
    assert '"model_type": "olmoe"' in (tmp_path / "config.json").read_text()
    assert largest_difference(found.model, load_checkpoint(tmp_path)) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, n: t.pop(n + ".scales"), "has no '.scales' beside it"),
        (lambda t, n: t.update({n + ".scales": torch.ones(3, 1).half()}), "F16 of 40 rows of 1 to 24 scales"),
        (lambda t, n: t.update({n + ".scales": torch.ones(40, 1)}), "holds 'F32'"),
        (lambda t, n: t.update({n + ".codes": t[n + ".codes"][:, 1:].clone()}), "planes of 120 bytes"),
        (lambda t, n: t.update({n + ".codes": t[n + ".codes"].float()}), "holds 'F32'"),
        (lambda t, n: t.update({n + ".codes": torch.zeros(9, 120, dtype=torch.uint8)}), "1 to 8 planes"),
        (lambda t, n: t.update({n + ".code": torch.zeros(1)}), "has no place in the model"),
    ],
)
def test_damaged_bits_are_named(model: Transformer, change, message: str, tmp_path: Path) -> None:
    found = compress(model)
    save_checkpoint(found.model, tmp_path, packed=found.packed)
    tensors = load_file(tmp_path / "model.safetensors")
    change(tensors, "model.layers.1.mlp.experts.2.up_proj.weight")
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError) as refusal:
        load_checkpoint(tmp_path)
    assert message in str(refusal.value)
    assert len(str(refusal.value).replace(str(tmp_path), "")) < 300


def test_what_the_layout_has_no_place_for_is_not_compressed() -> None:
    with pytest.raises(ReshapeError, match="shared_experts = 1: the OLMoE layout has no place for it"):
        compress(Transformer(replace(MODEL, shared_experts=1)))


# Fewer experts


def test_pruned_experts_are_the_least_and_the_others_stay(model: Transformer, windows: torch.Tensor) -> None:
    smaller = prune(model, windows, 4)
    assert smaller.config == replace(MODEL, n_experts=4)
    weight_E = visits(model, windows)[0].weight_E
    kept = weight_E.argsort(descending=True)[:4].sort().values
    assert torch.equal(smaller.blocks[0].experts.router, model.blocks[0].experts.router[kept])
    assert torch.equal(smaller.blocks[0].experts.w_in, model.blocks[0].experts.w_in[kept])
    assert torch.equal(smaller.embedding, model.embedding)
    assert largest_difference(model, prune(model, windows, 6)) == 0
    with pytest.raises(ReshapeError, match="keep = 1: expected 2 to 6"):
        prune(model, windows, 1)


def test_copies_are_merged_without_loss(windows: torch.Tensor) -> None:
    """Experts that are the same but for the order of their hidden units: together they are what each was."""
    dense = Transformer(replace(MODEL, n_experts=1, top_k=1), seed=4)
    mixture = upcycle(dense, 4, 2)
    with torch.no_grad():
        for block in mixture.blocks:
            order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
            gate, up = block.experts.w_in[2].clone().chunk(2, dim=-1)
            block.experts.w_in[2] = torch.cat([gate[:, order], up[:, order]], dim=-1)
            block.experts.w_out[2] = block.experts.w_out[2].clone()[order]
    assert largest_difference(dense, mixture) < 1e-4
    for keep in (2, 3):
        assert largest_difference(dense, merge(mixture, windows, keep)) < 1e-4


def test_second_experts_are_dropped_where_they_count_little(model: Transformer, windows: torch.Tensor) -> None:
    ids = windows[:, :-1]
    with torch.no_grad():
        whole = model(ids)[0]
        with second_dropped(model, [0.0, 0.0]):
            assert (model(ids)[0] - whole).abs().max() < 1e-5
        medians = [float(weight_ratios(seen).median()) for seen in visits(model, windows)]
        moved = {}
        for first in (False, True):
            with second_dropped(model, medians, first):
                moved[first] = float((model(ids)[0] - whole).norm())
        assert 0 < moved[False] < moved[True]
        assert torch.equal(model(ids)[0], whole)
    with pytest.raises(ReshapeError, match="top_k = 1: a token has no second expert"):
        weight_ratios(visits(Transformer(replace(MODEL, top_k=1)), windows)[0])


def test_with_bits_gives_each_expert_its_own(model: Transformer) -> None:
    bits = np.array([[1, 2, 3, 4, 5, 8], [8, 8, 8, 1, 1, 1]])
    found = with_bits(model, bits, Widths(rest=32))
    for slot in slots(MODEL):
        parts = slot.name.split(".")
        if "experts" in parts:
            assert found.packed[slot.name].bits == bits[int(parts[2]), int(parts[5])]
        else:
            assert slot.name not in found.packed


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Transformer(replace(MODEL, vocab_size=1024))
    save_checkpoint(model, tmp_path / "model")
    line = ["compress", str(tmp_path / "model"), "--out", str(tmp_path / "small")]
    assert main([*line, "--bits", "2.5", "--sequences", "4", "--json", str(tmp_path / "small.json")]) == 0
    assert "experts of 3 bits" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "small").config == model.config
    assert '"kind": "moelaws compression"' in (tmp_path / "small.json").read_text()
    assert main([*line[:3], str(tmp_path / "fewer"), "--keep", "4", "--merge", "--sequences", "4"]) == 0
    assert load_checkpoint(tmp_path / "fewer").config.n_experts == 4
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        main([*line, "--bits", "0"])
    assert "expected a number > 0 and at most 8, found '0'" in capsys.readouterr().err
    assert main([*line, "--bits", "4"]) == 2
    assert "small: holds a model; name another folder, or say --replace" in capsys.readouterr().err
    assert main([*line, "--bits", "0.5", "--replace"]) == 2
    assert "bits = 0.5: expected a number from 1 to 8" in capsys.readouterr().err


def test_the_command_shares_out_a_whole_mean_and_says_what_it_costs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Transformer(replace(MODEL, vocab_size=1024))
    save_checkpoint(model, tmp_path / "model")
    line = ["compress", str(tmp_path / "model"), "--out", str(tmp_path / "small"), "--sequences", "4"]
    words = [*line, "--bits", "2", "--choices", "1,2,3", "--loss", "--json", str(tmp_path / "said.json")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "of 1 bit," in said
    found = json.loads((tmp_path / "said.json").read_text())
    assert {width for layer in found["bits"] for width in layer} > {2}
    assert all(sum(layer) <= 12 for layer in found["bits"])
    assert f"nats: before {found['loss_before']:.4f}, after {found['loss_after']:.4f}" in said
    windows = load_text("sotu").validation_windows(32, 16_384)
    with torch.no_grad():
        again = load_checkpoint(tmp_path / "small").loss(*(torch.from_numpy(windows[:, cut]) for cut in HALVES))[0]
    assert found["loss_after"] == pytest.approx(float(again), abs=1e-5)
    assert main([*line, "--bits", "3", "--choices", "1,2", "--replace"]) == 2
    assert "bits = 3: expected 1 to 2, the widths shared out" in capsys.readouterr().err
    assert main([*line, "--merge"]) == 2
    assert "--merge: expected --keep as well" in capsys.readouterr().err


def test_experts_are_judged_in_the_tokens_of_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tokenizers of as many ids: the one beside the model counts, not the one that the text would get."""
    texts = {}
    for name, words_of in (("own", "abc abd"), ("other", "xyz xyw")):
        texts[name] = tmp_path / f"{name}.txt"
        texts[name].write_text("\n\n".join(words_of * 200 + str(number) for number in range(30)))
    own = load_text(texts["own"], 300)
    model = Transformer(replace(MODEL, vocab_size=own.vocab_size))
    save_checkpoint(model, tmp_path / "model", own.tokenizer_file)
    seen = []
    monkeypatch.setattr(
        sys.modules["moelaws.reshape.compress"],
        "visits",
        lambda model, windows: seen.append(windows) or visits(model, windows),
    )
    line = ["compress", str(tmp_path / "model"), "--out", str(tmp_path / "small"), "--bits", "2.5", "--sequences", "2"]
    assert main([*line, "--text", str(texts["other"])]) == 0
    assert set("".join(own.decode(seen[0].numpy().astype("uint16").flatten()))) <= set("xyzw 0123456789\n")
    capsys.readouterr()
    save_checkpoint(model, tmp_path / "broken")
    (tmp_path / "broken" / "tokenizer.json").write_text("[]")
    assert main([line[0], str(tmp_path / "broken"), "--replace", *line[2:], "--text", str(texts["other"])]) == 2
    assert "tokenizer.json: no tokenizer as the tokenizers library saves it" in capsys.readouterr().err


HALVES = (slice(None, -1), slice(1, None))


@pytest.mark.parametrize("token", [-1, 1 << 20])
def test_a_text_of_another_vocabulary_is_refused(model: Transformer, windows: torch.Tensor, token: int) -> None:
    strange = windows.clone()
    strange[0, 0] = token
    with pytest.raises(ReshapeError, match="expected a text in the tokens of the model, 0 to 95"):
        prune(model, strange, 2)


def test_a_loop_of_links_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert main(["compress", str(tmp_path / "model"), "--out", str(loop)]) == 2
    assert "internal error" not in capsys.readouterr().err


@pytest.mark.parametrize("command", [["compress", "MODEL"], ["blend", "MODEL", "MODEL", "--steps", "0"]])
def test_a_loss_on_a_text_of_more_token_ids_is_refused(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A text has a token id for each byte at least: 256, where this model has 64."""
    experts = 1 if "blend" in command else 4
    save_checkpoint(Transformer(ModelConfig(64, 16, 1, 2, 32, experts, context=32)), tmp_path / "small")
    words = [str(tmp_path / "small") if word == "MODEL" else word for word in command]
    assert main([*words, "--out", str(tmp_path / "new"), "--loss"]) == 2
    assert "one for each byte and one that ends a document, more than vocab_size = 64" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
