"""The models: the fast dispatch equals its definition, and the transformer does what its parts promise."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from moelaws.config import ModelConfig
from moelaws.models import ExpertsLayer, Transformer
from moelaws.models.experts import experts_by_group, experts_by_loop, route
from moelaws.models.transformer import rotary_table, rotate

SMALL = ModelConfig(vocab_size=96, d_model=32, n_layers=2, n_heads=2, d_ff=64, n_experts=8, top_k=2, context=16)


def _expert_tensors(tokens: int, experts: int, top_k: int, ids_TK: torch.Tensor | None = None) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(tokens + experts + top_k)
    d, f = 16, 12

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    if ids_TK is None:
        ids_TK = torch.stack([torch.randperm(experts, generator=generator)[:top_k] for _ in range(tokens)])
    gates_TK = torch.rand(tokens, top_k, generator=generator)
    return [normal(tokens, d), gates_TK, ids_TK, normal(experts, d, 2 * f) / 4, normal(experts, f, d) / 4]


def _with_gradients(function, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    inputs = [t.clone().requires_grad_(t.is_floating_point()) for t in tensors]
    out = function(*inputs)
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return [out.detach(), *(t.grad for t in inputs if t.requires_grad)]


@pytest.mark.parametrize("top_k", [1, 2, 3])
@pytest.mark.parametrize(("tokens", "experts"), [(1, 4), (7, 4), (200, 4), (200, 32), (5, 64)])
def test_the_fast_dispatch_equals_the_loop_forward_and_gradient(tokens: int, experts: int, top_k: int) -> None:
    tensors = _expert_tensors(tokens, experts, top_k)
    slow, fast = (_with_gradients(f, tensors) for f in (experts_by_loop, experts_by_group))
    for expected, found in zip(slow, fast, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chosen", [0, 2, 3])
def test_empty_experts_compute_nothing_and_get_no_gradient(chosen: int) -> None:
    tensors = _expert_tensors(40, 4, 1, ids_TK=torch.full((40, 1), chosen))
    slow, fast = (_with_gradients(f, tensors) for f in (experts_by_loop, experts_by_group))
    for expected, found in zip(slow, fast, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for gradient in fast[-2:]:
        idle = [e for e in range(4) if e != chosen]
        assert gradient[idle].abs().max() == 0
        assert gradient[chosen].abs().max() > 0


def test_routing_against_hand_worked_numbers() -> None:
    # Two tokens, three experts; logits are the weights' columns.
    x_TD = torch.eye(2)
    weight_ED = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    gates_TK, statistics = route(x_TD, weight_ED, top_k=2, renormalize=False)
    probs = torch.softmax(weight_ED.T, -1)
    assert statistics.ids_TK[0].tolist() == [0, 1]
    assert statistics.ids_TK[1, 0] == 2
    torch.testing.assert_close(gates_TK[0], probs[0, :2])
    assert statistics.load_E.sum() == 1
    assert statistics.load_E[2] == 0.25
    torch.testing.assert_close(statistics.load_balance, 3 * (statistics.load_E * probs.mean(0)).sum())
    torch.testing.assert_close(statistics.router_z, weight_ED.T.logsumexp(-1).square().mean())
    torch.testing.assert_close(statistics.entropy, -(probs * probs.log()).sum(-1).mean())
    renormalised, _ = route(x_TD, weight_ED, top_k=2, renormalize=True)
    torch.testing.assert_close(renormalised.sum(-1), torch.ones(2))


def test_a_balanced_router_has_balance_loss_one() -> None:
    x_TD = torch.eye(4).repeat(5, 1)
    _, balanced = route(x_TD, 50 * torch.eye(4), top_k=1, renormalize=False)
    assert float(balanced.load_balance) == pytest.approx(1)
    _, collapsed = route(x_TD, torch.tensor([[50.0] * 4, [0.0] * 4, [0.0] * 4, [0.0] * 4]), 1, False)
    assert float(collapsed.load_balance) == pytest.approx(4)


def test_one_expert_is_the_dense_layer() -> None:
    layer = ExpertsLayer(replace(SMALL, n_experts=1, top_k=1))
    assert layer.router is None
    torch.nn.init.normal_(layer.w_in)
    torch.nn.init.normal_(layer.w_out)
    x_TD = torch.randn(9, 32)
    out, statistics = layer(x_TD)
    assert statistics is None
    gate, up = (x_TD @ layer.w_in[0]).chunk(2, -1)
    torch.testing.assert_close(out, (F.silu(gate) * up) @ layer.w_out[0])
    as_moe = experts_by_loop(x_TD, torch.ones(9, 1), torch.zeros(9, 1, dtype=torch.long), layer.w_in, layer.w_out)
    torch.testing.assert_close(out, as_moe)


def test_misaligned_widths_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"d_ff / granularity = 18: both must be multiples of 4"):
        ExpertsLayer(replace(SMALL, d_ff=72, granularity=4))


@pytest.mark.parametrize("experts", [1, 8])
def test_the_model_never_sees_the_future(experts: int) -> None:
    model = Transformer(replace(SMALL, n_experts=experts, top_k=min(2, experts)), seed=3)
    ids = torch.randint(96, (2, 16), generator=torch.Generator().manual_seed(0))
    changed = ids.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % 96
    with torch.no_grad():
        before, after = model(ids)[0], model(changed)[0]
    torch.testing.assert_close(before[:, :9], after[:, :9])
    assert (before[:, 9:] - after[:, 9:]).abs().max() > 1e-3


def test_rotation_depends_on_the_distance_alone() -> None:
    cos, sin = rotary_table(SMALL, 32)
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 16, generator=generator)
    turned_q, turned_k = (rotate(x.expand(1, 1, 32, 16), cos, sin)[0, 0] for x in (q, k))
    products = turned_q @ turned_k.T
    torch.testing.assert_close(products.diagonal(3), products[0, 3].expand(29), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(turned_q.norm(dim=-1), q.norm().expand(32))


def test_statistics_are_returned_layer_by_layer() -> None:
    model = Transformer(SMALL)
    ids = torch.randint(96, (3, 16))
    _, statistics = model(ids)
    assert len(statistics) == 2
    for layer in statistics:
        assert layer.ids_TK.shape == (48, 2)
        assert float(layer.load_E.sum()) == pytest.approx(1)
    assert Transformer(replace(SMALL, n_experts=1, top_k=1))(ids)[1] == []


def test_weights_are_drawn_from_the_seed_alone() -> None:
    torch.manual_seed(5)
    first = Transformer(SMALL, seed=1)
    torch.manual_seed(6)
    second, other = Transformer(SMALL, seed=1), Transformer(SMALL, seed=2)
    for a, b, c in zip(first.parameters(), second.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.ndim == 1 or not torch.equal(a, c)


def test_the_first_guess_is_near_uniform() -> None:
    for experts in (1, 8):
        model = Transformer(replace(SMALL, n_experts=experts, top_k=1, tied_embeddings=False))
        ids = torch.randint(96, (4, 17), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            loss = F.cross_entropy(model(ids[:, :-1])[0].flatten(0, 1), ids[:, 1:].flatten())
        assert abs(float(loss) - torch.tensor(96.0).log()) < 1.2
