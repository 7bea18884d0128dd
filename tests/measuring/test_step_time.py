"""The time of a training step: parts and what they leave add up, and rows come back from where they were brought."""

import pytest
import torch

from moelaws.measuring.step_time import PARTS, step_time
from moelaws.models.experts import there_and_back
from moelaws.training.recipe import tiny_model


@pytest.mark.parametrize("top_k", [1, 2])
@pytest.mark.parametrize("threads", [1, 2])
def test_rows_come_back_to_their_tokens(top_k: int, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)  # compiled, and not
    try:
        x_TD = torch.randn(240, 8, requires_grad=True)
        ids_TK = torch.rand(240, 5).argsort(1)[:, :top_k]
        y_TD = there_and_back(x_TD, ids_TK, torch.randn(5, 8, 64))
        torch.testing.assert_close(y_TD, top_k * x_TD)
        y_TD.backward(torch.ones_like(y_TD))
        torch.testing.assert_close(x_TD.grad, torch.full_like(x_TD, top_k))
    finally:
        torch.set_num_threads(before)


def test_parts_and_rest_are_the_price() -> None:
    found = step_time(tiny_model(16, n_experts=4), 300, repeats=3)
    assert found.tokens == 256  # whole sequences
    assert set(found.parts) == set(PARTS)
    assert found.low <= found.milliseconds <= found.high
    assert found.rest + sum(found.parts.values()) == pytest.approx(found.milliseconds - found.dense)
    assert found.row()["dense_step_ms"] == found.dense


def test_a_dense_model_pays_nothing() -> None:
    found = step_time(tiny_model(16), 128, repeats=2)
    assert found.parts == {}
    assert found.rest == 0
