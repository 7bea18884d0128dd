"""Distinct experts: the even formula, unequal loads against a simulated router, and what loads cannot be."""

import numpy as np
import pytest

from moelaws.config import ModelConfig
from moelaws.counting import expected_experts_touched
from moelaws.serving.touched import (
    even_experts,
    experts_of_loads,
    load_entropy,
    loads_of_cell,
    loads_of_entropy,
)


def test_even_routing_is_the_counting_modules_formula():
    for experts, k, batch in ((6, 2, 3), (128, 8, 16), (16, 1, 1), (8, 8, 5)):
        model = ModelConfig(n_experts=experts, top_k=k)
        assert float(even_experts(experts, k, batch)) == pytest.approx(expected_experts_touched(model, batch))


def test_worked_numbers():
    # E = 2, K = 1, B = 2: both tokens on one expert with probability one half.
    assert float(even_experts(2, 1, 2)) == 1.5
    assert float(even_experts(6, 2, 3)) == pytest.approx(6 * (1 - (4 / 6) ** 3))
    assert float(even_experts(1, 1, 7)) == 1.0


def test_rules_of_thumb_bound_it():
    batches = np.array([1, 2, 8, 64])
    distinct = even_experts(16, 2, batches)
    assert (even_experts(16, 2, batches, "active") <= distinct + 1e-12).all()
    assert (distinct <= even_experts(16, 2, batches, "total")).all()
    with pytest.raises(ValueError, match="rule 'some': expected 'distinct', 'total' or 'active'"):
        even_experts(4, 1, 1, "some")  # type: ignore[arg-type]


def test_loads_that_are_even_give_the_even_formula():
    assert experts_of_loads(np.full(16, 1 / 16), 2, 9) == pytest.approx(float(even_experts(16, 2, 9)))


@pytest.mark.parametrize("top_k", [1, 3])
def test_unequal_loads_against_a_simulated_router(top_k):
    # Independent tokens, each with top-k of noisy logits: inclusion is not proportional to any softmax, only measured.
    rng = np.random.default_rng(0)
    logits = np.array([2.0, 1.0, 0.5, 0.0, -0.5, -1.0, -1.5, -2.0])
    noisy = logits + rng.gumbel(size=(120_000, 8))
    chosen = np.argsort(-noisy, axis=1)[:, :top_k]
    loads = np.bincount(chosen.ravel(), minlength=8) / chosen.size
    for batch in (1, 4, 12):
        steps = chosen.reshape(-1, batch, top_k)
        seen = np.mean([len(np.unique(step)) for step in steps[:10_000]])
        assert experts_of_loads(loads, top_k, batch) == pytest.approx(seen, rel=0.01)
        if batch > 1:
            assert experts_of_loads(loads, top_k, batch) < float(even_experts(8, top_k, batch)) - 0.1


def test_an_array_of_batches():
    many = experts_of_loads([0.5, 0.25, 0.25], 1, np.array([1, 2, 1000]))
    assert many == pytest.approx([1.0, 3 - 0.25 - 2 * 0.75**2, 3.0])


@pytest.mark.parametrize(
    ("loads", "k", "message"),
    [
        ([0.5, 0.6], 1, "shares >= 0 that sum to one, found a sum of 1.1"),
        ([-0.5, 1.5], 1, "shares >= 0"),
        ([0.7, 0.2, 0.1], 2, "a share of 0.7 is more than 1/K = 0.5"),
    ],
)
def test_impossible_loads_are_refused(loads, k, message):
    with pytest.raises(ValueError, match=message):
        experts_of_loads(loads, k, 3)


def test_loads_from_an_entropy():
    for entropy in (np.log(16), 2.0, 1.0):
        loads = loads_of_entropy(16, entropy)
        assert loads.sum() == pytest.approx(1)
        assert (np.diff(loads) <= 1e-12).all()
        assert load_entropy(loads) == pytest.approx(entropy, abs=1e-6)
    with pytest.raises(ValueError, match="expected 0 to ln 4"):
        loads_of_entropy(4, 2.0)
    with pytest.raises(ValueError, match="more than 1/K"):
        loads_of_entropy(16, 0.5, top_k=4)


def test_loads_of_a_run_tables_cell():
    assert loads_of_cell("[[0.5, 0.5], [1, 0]]") == [[0.5, 0.5], [1.0, 0.0]]
    with pytest.raises(ValueError, match="expert_load: expected a JSON list"):
        loads_of_cell("half")
