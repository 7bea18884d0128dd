"""A step that the host learns nothing of is the step that it waits for."""

import pytest
import torch

from moelaws.config import ModelConfig, TrainConfig
from moelaws.models import Transformer
from moelaws.training.step import TrainingStep

MODEL = ModelConfig(vocab_size=64, d_model=16, n_heads=2, d_ff=32, n_experts=4, top_k=2, context=8)


@pytest.mark.parametrize("clip_norm", [0.1, 100.0])
def test_both_forms_of_a_step_move_the_weights_alike(clip_norm: float) -> None:
    ids = torch.randint(64, (4, 9), generator=torch.Generator().manual_seed(0))
    config = TrainConfig(clip_norm=clip_norm, balance_bias_rate=0.01)
    models = [Transformer(MODEL, seed=1) for _ in range(2)]
    waiting, not_waiting = (TrainingStep(model, config) for model in models)
    for number in range(1, 4):
        loss, norm = waiting(ids, 1e-3 * number)
        found = not_waiting.without_waiting(ids, torch.tensor(1e-3 * number))
        assert (float(found[0]), float(found[1])) == pytest.approx((loss, norm), rel=1e-5)
    for one, other in zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_step_that_fails_leaves_the_weights_as_they_were() -> None:
    model = Transformer(MODEL, seed=1)
    step, ids = TrainingStep(model, TrainConfig()), torch.zeros(4, 9, dtype=torch.int64)
    step.without_waiting(ids, torch.tensor(1e-3))
    with torch.no_grad():
        model.embedding[0, 0] = torch.nan
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    loss, _ = step.without_waiting(ids, torch.tensor(1e-3))
    assert not loss.isfinite()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0, equal_nan=True)
