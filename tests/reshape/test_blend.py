"""Two models in one: what the mixture says, that no position sees what comes after it, and what cannot be blended."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from moelaws.cli import main
from moelaws.config import ModelConfig, TrainConfig
from moelaws.counting import count_parameters
from moelaws.decoding.generate import generate
from moelaws.models import Transformer
from moelaws.models.checkpoint import load_checkpoint, save_checkpoint
from moelaws.reshape.blend import blend
from moelaws.reshape.gates import GateRecipe, learn_gates
from moelaws.reshape.superposition import Superposition, likelier
from moelaws.reshape.upcycle import ReshapeError, largest_difference, upcycle
from moelaws.training.onwards import train_on

DENSE = ModelConfig(vocab_size=32, d_model=16, n_layers=2, n_heads=2, d_ff=24, context=24)


def texts(kind: int, count: int = 400, sequences: int = 16) -> list[torch.Tensor]:
    """Two languages that cannot be told apart by a token alone: the next one is 3 or 5 further, and noise."""
    rng = torch.Generator().manual_seed(kind)
    step = (3, 5)[kind]
    made = []
    for _ in range(count):
        start = torch.randint(32, (sequences, 1), generator=rng)
        noise = torch.randint(32, (sequences, 25), generator=rng) * (torch.rand(sequences, 25, generator=rng) < 0.05)
        made.append((start + step * torch.arange(25) + noise) % 32)
    return made


def both(count: int = 400) -> list[torch.Tensor]:
    return [torch.cat([a[:8], b[:8]]) for a, b in zip(texts(0, count), texts(1, count), strict=True)]


RECIPE = TrainConfig(tokens=250 * 16 * 24, batch_sequences=16, learning_rate=1e-2)


@pytest.fixture(scope="module")
def parents() -> tuple[Transformer, Transformer]:
    """One on the first language, the other tuned from it on the second."""
    one = Transformer(DENSE, seed=0)
    train_on(one, RECIPE, texts(0))
    other = Transformer(DENSE)
    other.load_state_dict(one.state_dict())
    train_on(other, RECIPE, texts(1))
    return one, other


def loss(model: Transformer | Superposition, kind: int) -> float:
    windows = texts(kind, 1)[0]
    return float(model.token_losses(windows[:, :-1], windows[:, 1:])[0].mean())


def sees_the_next_token(model: Transformer | Superposition) -> bool:
    ids = torch.randint(32, (2, 24), generator=torch.Generator().manual_seed(5))
    other = ids.clone()
    other[:, 12:] = (other[:, 12:] + 7) % 32

    def logits(ids: torch.Tensor) -> torch.Tensor:
        found = model(ids)
        return found[0] if isinstance(found, tuple) else found

    with torch.no_grad():
        return bool((logits(ids)[:, :12] - logits(other)[:, :12]).abs().max() > 1e-5)


def test_a_share_of_nothing_leaves_one_model(parents: tuple[Transformer, Transformer]) -> None:
    one, other = parents
    assert largest_difference(blend(one, one), one) < 1e-4
    for share, whose in ((0.0, one), (1.0, other)):
        mixture = blend(one, other, share)
        with torch.no_grad():  # both experts those of one model: then the router does not matter
            for block, own in zip(mixture.blocks, whose.blocks, strict=True):
                block.experts.w_in.copy_(own.experts.w_in.expand(2, -1, -1))
                block.experts.w_out.copy_(own.experts.w_out.expand(2, -1, -1))
        assert largest_difference(mixture, whose) < 1e-4


def test_means_and_experts_are_where_they_belong(parents: tuple[Transformer, Transformer]) -> None:
    one, other = parents
    mixture = blend(one, other, [0.1, 0.2, 0.3, 0.4])
    assert mixture.config == replace(DENSE, n_experts=2, top_k=2, renormalize_top_k=True)
    torch.testing.assert_close(mixture.embedding, 0.9 * one.embedding + 0.1 * other.embedding)
    for layer, share in ((0, 0.2), (1, 0.3)):
        mine, theirs, made = (model.blocks[layer] for model in (one, other, mixture))
        torch.testing.assert_close(
            made.attention.w_qkv, (1 - share) * mine.attention.w_qkv + share * theirs.attention.w_qkv
        )
        assert torch.equal(made.experts.w_in[0], mine.experts.w_in[0])
        assert torch.equal(made.experts.w_out[1], theirs.experts.w_out[0])
    torch.testing.assert_close(mixture.final_norm.gain, 0.6 * one.final_norm.gain + 0.4 * other.final_norm.gain)


def test_learned_gates_beat_the_mean_of_the_weights(parents: tuple[Transformer, Transformer]) -> None:
    one, other = parents
    before = [each.clone() for each in one.state_dict().values()]
    found = learn_gates(one, other, both(100), GateRecipe(steps=100))
    middle = blend(one, other)
    assert sum(loss(found.model, kind) for kind in (0, 1)) < sum(loss(middle, kind) for kind in (0, 1)) - 0.1
    assert found.losses[-1] < found.losses[0]
    assert all(0 < share < 1 for share in found.shares)
    assert max(found.shares) - min(found.shares) > 0.01
    # Nothing but gates has moved.
    assert all(torch.equal(a, b) for a, b in zip(before, one.state_dict().values(), strict=True))
    again = blend(one, other, found.shares)
    for (name, a), b in zip(again.named_parameters(), found.model.parameters(), strict=True):
        if not name.endswith("router"):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_mixtures_are_blended_too(parents: tuple[Transformer, Transformer]) -> None:
    one, other = parents
    grown = upcycle(one, 4, 2)
    mixture = blend(grown, other)
    assert (mixture.config.n_experts, mixture.config.top_k) == (5, 3)
    assert torch.equal(mixture.blocks[1].experts.router[:4], grown.blocks[1].experts.router)
    found = learn_gates(grown, other, both(5), GateRecipe(steps=5), top_k=2)
    assert found.model.config.top_k == 2


def test_a_blended_model_saves_loads_decodes_and_counts(
    parents: tuple[Transformer, Transformer], tmp_path: Path
) -> None:
    mixture = learn_gates(*parents, both(5), GateRecipe(steps=5)).model
    save_checkpoint(mixture, tmp_path)
    again = load_checkpoint(tmp_path)
    assert again.config == mixture.config
    assert largest_difference(mixture, again) == 0
    prompt = [list(range(8))]
    assert generate(again, prompt, 8).tokens == generate(mixture, prompt, 8).tokens
    count = count_parameters(mixture.config)
    assert count.total == sum(p.numel() for p in mixture.parameters())
    parent = count_parameters(DENSE)
    assert count.total == parent.total + parent.experts + count.router


# No position sees what comes after it


def test_no_position_of_a_blend_sees_the_next_token(parents: tuple[Transformer, Transformer]) -> None:
    one, other = parents
    assert not sees_the_next_token(learn_gates(one, other, both(5), GateRecipe(steps=5)).model)
    for kernel, causal in ((0, True), (1, True), (3, True), (3, False)):
        found = disturbed(Superposition(one, other, kernel, causal))
        assert sees_the_next_token(found) == (not causal), (kernel, causal)


def disturbed(model: Superposition) -> Superposition:
    """Autoencoders that do something."""
    with torch.no_grad():
        for each in model.rebuilt:
            each.mix.weight.normal_(std=0.2, generator=torch.Generator().manual_seed(0))
    return model


def test_states_side_by_side(parents: tuple[Transformer, Transformer]) -> None:
    one, other = parents
    ids = texts(0, 1)[0][:, :-1]
    with torch.no_grad():
        assert (Superposition(one, one, kernel=1)(ids) - one(ids)[0]).abs().max() < 1e-4
        for logit, whose in ((-40.0, one), (40.0, other)):
            model = Superposition(one, other)
            for each in model.logits:
                each.fill_(logit)
            assert (model(ids) - whose(ids)[0]).abs().max() < 1e-4
            near, far = model.distances(texts(0, 1)[0][:, :-1])
            assert 0 < float(near) < 3
            assert float(far) > 0


def test_the_likelier_of_two() -> None:
    losses = torch.tensor([[[1.0, 1.0, 1.0]], [[3.0, 3.0, 0.5]]])
    found = likelier(losses)
    even = -torch.log(0.5 * torch.exp(-losses[0]) + 0.5 * torch.exp(-losses[1]))[0, 0]
    assert float(found[0, 0]) == pytest.approx(float(even))
    odds = 1 / (1 + torch.exp(torch.tensor(-4.0)))
    expected = -torch.log(odds * torch.exp(torch.tensor(-1.0)) + (1 - odds) * torch.exp(torch.tensor(-0.5)))
    assert float(found[0, 2]) == pytest.approx(float(expected), rel=1e-5)
    # What the last token was does not tell how it was weighed.
    assert torch.equal(likelier(losses)[:, :2], found[:, :2])


# What cannot be


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_model": 32}, "the two models differ: d_model = 16 and 32; expected one shape"),
        ({"vocab_size": 48, "n_layers": 3}, "vocab_size = 32 and 48; n_layers = 2 and 3"),
        ({"n_experts": 4}, "renormalize_top_k = False: expected dense models, or mixtures whose gates add up"),
    ],
)
def test_models_that_do_not_go_together(change: dict[str, int], message: str) -> None:
    with pytest.raises(ReshapeError, match=message):
        blend(Transformer(DENSE), Transformer(replace(DENSE, **change)))


def test_numbers_that_there_cannot_be(parents: tuple[Transformer, Transformer]) -> None:
    one, other = parents
    with pytest.raises(ReshapeError, match="top_k = 1: expected 2 to 2"):
        blend(one, other, top_k=1)
    with pytest.raises(ReshapeError, match="expected one number from 0 to 1, or 4 of them"):
        blend(one, other, [0.5, 0.5])
    with pytest.raises(ReshapeError, match="batches: 2 of them; expected 3"):
        learn_gates(one, other, both(2), GateRecipe(steps=3))
    with pytest.raises(ReshapeError, match="tokens 0 to 99; expected a text in the tokens of the models, 0 to 31"):
        learn_gates(one, other, [torch.arange(100).view(4, 25)], GateRecipe(steps=1))
    with pytest.raises(ReshapeError, match="steps = 0"):
        GateRecipe(steps=0)
    with pytest.raises(ReshapeError, match="expected two dense models"):
        Superposition(upcycle(one, 2), other)


# The command


def test_the_command(parents: tuple[Transformer, Transformer], tmp_path: Path, capsys) -> None:
    one, other, out = (str(tmp_path / name) for name in ("one", "other", "out"))
    save_checkpoint(parents[0], one)
    save_checkpoint(parents[1], other)
    line = [
        "blend",
        one,
        other,
        "--out",
        out,
        "--loss",
        "--text",
        "zipf-markov:V=32",
        "--steps",
        "3",
        "--sequences",
        "2",
    ]
    assert main([*line, "--json", str(tmp_path / "said.json")]) == 0
    said = capsys.readouterr().out
    count = count_parameters(replace(DENSE, n_experts=2, top_k=2, renormalize_top_k=True))
    assert f"E = 2, K = 2; {count.total:.4g} parameters" in said
    assert load_checkpoint(out).config.n_experts == 2
    found = json.loads((tmp_path / "said.json").read_text())
    assert len(found["shares"]) == 4
    assert f"one {found['loss_one']:.4f}, other {found['loss_other']:.4f}, blend {found['loss_blend']:.4f}" in said
    assert main([*line[:-4], "--steps", "0"]) == 2
    assert "out: holds a model; name another folder, or say --replace" in capsys.readouterr().err
    assert main([*line[:-4], "--steps", "0", "--replace"]) == 0
    assert "0.50, 0.50, 0.50, 0.50" in capsys.readouterr().out


def test_the_command_refuses_in_one_sentence(parents: tuple[Transformer, Transformer], tmp_path: Path, capsys) -> None:
    for name, model in (("one", parents[0]), ("wide", Transformer(replace(DENSE, d_model=32)))):
        save_checkpoint(model, tmp_path / name)
    for name, text in (("one", "{}"), ("wide", "{ }")):
        (tmp_path / name / "tokenizer.json").write_text(text)
    one, wide, out = (str(tmp_path / name) for name in ("one", "wide", "out"))
    for words, message in (
        ([one, wide, "--out", out], "its tokenizer.json is not that of"),
        ([one, one, "--out", one], "the folder that is read"),
        ([wide, one, "--out", one], "the folder that is read"),
        ([one, str(tmp_path / "absent"), "--out", out], "no such file"),
        ([one, one, "--out", out, "--top-k", "9"], "top_k = 9: expected 2 to 2"),
    ):
        assert main(["blend", *words]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert not (tmp_path / "out").exists()
    (tmp_path / "wide" / "tokenizer.json").unlink()
    assert main(["blend", one, wide, "--out", out]) == 2
    said = capsys.readouterr().err
    assert "d_model = 16 and 32" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()
