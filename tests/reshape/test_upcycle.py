"""A mixture grown from a dense model: the same logits, a checkpoint like any other, and a run that starts from it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from moelaws.cli import main
from moelaws.config import ConfigError, ModelConfig, RunConfig, TrainConfig
from moelaws.counting import count_parameters
from moelaws.decoding.generate import generate
from moelaws.models import Transformer
from moelaws.models.checkpoint import load_checkpoint, save_checkpoint
from moelaws.reshape.upcycle import ReshapeError, copy_dense, largest_difference, upcycle
from moelaws.sweeping.sweep import SweepRun, pin
from moelaws.text.text import load_text
from moelaws.training import state
from moelaws.training.record import make_row, run_of
from moelaws.training.saving import Saving
from moelaws.training.train import train

DENSE = ModelConfig(vocab_size=256, d_model=16, n_layers=2, n_heads=2, d_ff=32, context=32)
RECIPE = TrainConfig(
    tokens=32 * 4 * 12, batch_sequences=4, validation_tokens=512, dense_tokens=32 * 4 * 20, dense_learning_rate=0.02
)
MIXTURE = replace(DENSE, n_experts=4, top_k=2, renormalize_top_k=True)
TEXT = "zipf-markov:V=256"


@pytest.fixture(scope="module")
def dense() -> Transformer:
    """Trained, so that its layers are no noise."""
    recipe = replace(RECIPE, tokens=32 * 4 * 30, dense_tokens=0, dense_learning_rate=0.0, learning_rate=0.02)
    return train(RunConfig(DENSE, recipe, TEXT), load_text(TEXT, 256)).model


@pytest.mark.parametrize(
    ("n_experts", "top_k", "scores"),
    [(2, 1, "softmax"), (8, 1, "softmax"), (3, 2, "softmax"), (8, 2, "softmax"), (8, 8, "softmax"), (5, 1, "sigmoid"),
     (8, 3, "sigmoid")],
)  # fmt: skip
def test_the_mixture_says_what_the_dense_model_says(
    dense: Transformer, n_experts: int, top_k: int, scores: str
) -> None:
    mixture = upcycle(dense, n_experts, top_k, scores=scores)
    assert (mixture.config.n_experts, mixture.config.top_k) == (n_experts, top_k)
    # What is left is the rounding of logits as large as 12, and with K = 1 of gates that are 1/E to six digits.
    assert largest_difference(dense, mixture) < (1e-4 if top_k == 1 else 1e-5)
    used = [router.load_E.gt(0).sum() for router in mixture(torch.arange(256).view(8, 32))[1]]
    assert min(used) > 1, "the router sends all tokens to one expert"


def test_noise_tells_the_copies_apart(dense: Transformer) -> None:
    mixture = upcycle(dense, 4, 2, noise=0.3)
    w_in = mixture.blocks[0].experts.w_in
    assert not torch.equal(w_in[0], w_in[1])
    copied = dense.blocks[0].experts.w_in.detach()
    apart = (w_in.detach() - copied).std() / copied.std()
    assert float(apart) == pytest.approx(0.3, rel=0.1)
    assert largest_difference(dense, mixture) > 1e-2
    assert torch.equal(w_in, upcycle(dense, 4, 2, noise=0.3).blocks[0].experts.w_in)
    assert not torch.equal(w_in, upcycle(dense, 4, 2, noise=0.3, seed=1).blocks[0].experts.w_in)


def test_a_mixture_is_not_upcycled_nor_a_dense_model_into_one_expert(dense: Transformer) -> None:
    with pytest.raises(ReshapeError, match="n_experts = 4: the model is a mixture already; expected a dense model"):
        upcycle(upcycle(dense, 4), 8)
    with pytest.raises(ReshapeError, match="n_experts = 1: expected at least 2 experts"):
        upcycle(dense, 1)
    with pytest.raises(ConfigError, match="top_k = 9: expected at most n_experts = 8"):
        upcycle(dense, 8, 9)


def test_models_of_two_shapes_are_refused_by_field(dense: Transformer) -> None:
    with pytest.raises(ReshapeError, match=r"differ: d_model = 16 and 32; d_ff = 32 and 64; expected one shape"):
        copy_dense(dense, Transformer(replace(MIXTURE, d_model=32, d_ff=64)))
    with pytest.raises(ConfigError, match="granularity = 2: expected 1 for experts that begin as copies"):
        copy_dense(dense, Transformer(replace(MIXTURE, granularity=2)))


def test_what_was_upcycled_is_saved_decoded_and_counted(dense: Transformer, tmp_path: Path) -> None:
    mixture = upcycle(dense, 4, 2)
    save_checkpoint(mixture, tmp_path)
    again = load_checkpoint(tmp_path)
    assert again.config == mixture.config
    assert largest_difference(mixture, again) == 0
    assert sum(p.numel() for p in again.parameters()) == count_parameters(mixture.config).total
    one, other = (generate(model, [list(range(8))], 12).tokens for model in (dense, again))
    assert one == other


def test_a_run_starts_from_the_dense_model_that_its_row_names() -> None:
    text = load_text(TEXT, 256)
    run = RunConfig(MIXTURE, RECIPE, TEXT, text.sha256)
    start = run.start
    assert start is not None
    assert (start.model, start.train.tokens, start.train.learning_rate) == (DENSE, 32 * 4 * 20, 0.02)
    result = train(run, text)
    found = train(start, text).model
    # By hand: the dense run, the copies, and the text that comes after.
    first = upcycle(found, 4, 2, seed=run.train.seed)
    windows = list(zip(range(21), text.batches(4, 32, 0), strict=False))[20][1]
    ids = torch.from_numpy(windows)
    loss = first.loss(ids[:, :-1], ids[:, 1:])[0].detach()
    assert result.train_loss[0] == pytest.approx(float(loss), abs=1e-5)
    assert len(result.train_loss) == 12
    scratch = train(replace(run, train=replace(RECIPE, dense_tokens=0, dense_learning_rate=0.0)), text)
    assert result.train_loss[0] < scratch.train_loss[0] - 0.1
    row = {name: str(value) for name, value in make_row(result, text).items()}
    assert run_of(row).run_id == run.run_id == row["run_id"] != scratch.run.run_id
    assert train(run_of(row), text).train_loss == result.train_loss


def test_a_dense_model_goes_on_from_itself() -> None:
    run = RunConfig(DENSE, RECIPE, TEXT)
    text = load_text(TEXT, 256)
    assert train(run, text).train_loss[0] < train(run.start or run, text).train_loss[0] - 0.1


def test_a_start_that_is_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from moelaws.training.train import _STARTS

    monkeypatch.setattr(state, "_SHARE", 0)
    text, run = load_text(TEXT, 256), RunConfig(MIXTURE, replace(RECIPE, seed=5), TEXT)
    whole = train(run, text).train_loss

    class Stopped(Exception):
        pass

    def stopping(after: int) -> None:
        made = 0

        def on_step(step: int, steps: int, loss: float) -> None:
            nonlocal made
            made += 1
            if made == after:
                raise Stopped

        _STARTS.clear()
        with pytest.raises(Stopped):
            train(run, text, on_step=on_step, saving=Saving(tmp_path / "states", every=0))

    stopping(9)  # in the dense model
    stopping(9 + 11)  # went on there for 12 steps, or this would be in the mixture
    made: list[tuple[int, int]] = []
    _STARTS.clear()
    result = train(
        run,
        text,
        on_step=lambda step, steps, _: made.append((step, steps)),
        saving=Saving(tmp_path / "states", every=0),
    )
    assert result.train_loss == whole
    assert made[0][1] == 12, "the dense model was trained again although the mixture had begun"
    assert [file.name for file in (tmp_path / "states").iterdir()] == [f"{run.run_id}.safetensors"]


def test_what_no_run_can_start_from_is_refused_before_a_sweep() -> None:
    wrong = RunConfig(replace(MIXTURE, granularity=2), RECIPE, TEXT)
    with pytest.raises(ConfigError, match="granularity = 2: expected 1"):
        pin([SweepRun(wrong, "test")])


def test_a_start_that_diverges_is_a_run_that_diverges() -> None:
    wild = replace(RECIPE, dense_learning_rate=1e30, clip_norm=1e30)
    result = train(RunConfig(MIXTURE, wild, TEXT), load_text(TEXT, 256))
    assert result.status == "diverged"
    assert result.reason.startswith("the dense model that it starts from, step ")


def test_the_command(dense: Transformer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_checkpoint(dense, tmp_path / "dense")
    line = ["upcycle", str(tmp_path / "dense"), "--out", str(tmp_path / "mixture"), "--experts", "4"]
    assert main(line) == 0
    assert "E = 4, K = 2" in capsys.readouterr().out
    assert largest_difference(dense, load_checkpoint(tmp_path / "mixture")) < 1e-4
    assert main([*line[:-1], "2"]) == 2
    assert "mixture: holds a model; name another folder, or say --replace" in capsys.readouterr().err
    assert load_checkpoint(tmp_path / "mixture").config.n_experts == 4
    assert main([*line[:-1], "2", "--replace"]) == 0
    assert load_checkpoint(tmp_path / "mixture").config.n_experts == 2
    assert main(["upcycle", str(tmp_path / "mixture"), "--out", str(tmp_path / "more")]) == 2
    assert "the model is a mixture already" in capsys.readouterr().err
    assert main(["upcycle", str(tmp_path / "dense"), "--out", str(tmp_path / "dense")]) == 2
    assert "the folder that is read" in capsys.readouterr().err
    assert not (tmp_path / "more").exists()
