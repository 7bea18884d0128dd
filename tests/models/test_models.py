"""The models: the fast dispatch equals its definition, and the transformer does what its parts promise."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from moelaws.config import ModelConfig
from moelaws.field import described
from moelaws.models import ExpertsLayer, Transformer
from moelaws.models.attention import rotary_table, rotate
from moelaws.models.experts import (
    FeedForward,
    bring_together,
    experts_by_group,
    experts_by_loop,
    products_by_expert,
)
from moelaws.models.product import plain_layers, product, weight_gradient
from moelaws.models.router import SCORES, choose, route

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
def test_the_fast_dispatch_equals_the_loop_forward_and_gradient(
    tokens: int, experts: int, top_k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = _expert_tensors(tokens, experts, top_k)
    slow, fast = (_with_gradients(f, tensors) for f in (experts_by_loop, experts_by_group))
    with plain_layers():
        plain = _with_gradients(experts_by_group, tensors)
    monkeypatch.setattr("moelaws.models.experts._WORK_FOR_PRODUCTS", 0)
    one_by_one = _with_gradients(experts_by_group, tensors)
    for expected, *found in zip(slow, fast, plain, one_by_one, strict=True):
        for tensor in found:
            torch.testing.assert_close(tensor, expected, rtol=1e-5, atol=2e-6)


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


def test_every_choice_gets_a_row_of_its_own_among_its_expert_s() -> None:
    ids_TK = torch.tensor([[3, 0], [3, 1], [0, 3], [3, 1]])
    for work, lengths in ((4_000_000, [2, 2, 0, 4]), (0, [16, 16, 0, 16])):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("moelaws.models.experts._WORK_FOR_PRODUCTS", work)
            place_M, n_rows, rows = bring_together(ids_TK, torch.empty(4, 8, 8))
        assert n_rows == sum(lengths)
        assert len(set(place_M.tolist())) == 8
        spans = {expert: (start, end) for expert, start, end in rows.spans}
        assert {expert: end - start for expert, (start, end) in spans.items()} == {
            expert: length for expert, length in enumerate(lengths) if length
        }
        for expert, row in zip(ids_TK.flatten().tolist(), place_M.tolist(), strict=True):
            assert spans[expert][0] <= row < spans[expert][1]


def test_a_product_by_any_library_is_the_product() -> None:
    generator = torch.Generator().manual_seed(0)
    for rows, width, outputs in ((3, 5, 7), (640, 128, 64)):  # below and above the size that oneDNN is used from
        x, w, g = (torch.randn(*s, generator=generator) for s in ((rows, width), (outputs, width), (rows, outputs)))
        torch.testing.assert_close(product(x, w), x @ w.T, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(product(g, w.t()), g @ w, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(weight_gradient(g, x), g.T @ x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"renormalize_top_k": True},
        {"n_experts": 1, "top_k": 1, "qk_norm": False},
        {"shared_experts": 1, "granularity": 2, "tied_embeddings": False},
        {"moe_every": 2, "top_k": 1},
        *({"router_scores": scores, "renormalize_top_k": True} for scores in SCORES),
        *({"router_scores": scores, "top_k": 1} for scores in SCORES),
    ],
    ids=str,
)
def test_the_cpu_s_layers_equal_the_plain_ones_forward_and_gradient(fields: dict) -> None:
    model = Transformer(replace(SMALL, **fields), seed=2)
    ids = torch.randint(96, (4, 17), generator=torch.Generator().manual_seed(0))

    def run() -> list[torch.Tensor]:
        loss, statistics = model.loss(ids[:, :-1], ids[:, 1:])
        objective = loss + sum(0.3 * s.load_balance + 0.2 * s.router_z for s in statistics)
        return [loss.detach(), model(ids)[0].detach(), *torch.autograd.grad(objective, list(model.parameters()))]

    fast = run()
    with plain_layers():
        plain = run()
    for found, expected in zip(fast, plain, strict=True):  # fp32 sums in another order
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=5e-6)


@pytest.mark.parametrize("top_k", [1, 2])
def test_the_plain_layers_run_in_half_precision(top_k: int) -> None:
    model = Transformer(replace(SMALL, top_k=top_k, shared_experts=1), seed=2)
    ids = torch.randint(96, (4, 17), generator=torch.Generator().manual_seed(0))
    exact, _ = model.loss(ids[:, :-1], ids[:, 1:])
    with torch.autocast("cpu", torch.bfloat16):
        rounded, statistics = model.loss(ids[:, :-1], ids[:, 1:])
    assert 0 < abs(float((rounded - exact).detach())) < 0.02
    assert statistics[0].probs_TE.dtype == torch.float32  # the router is never rounded
    rounded.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_every_attention_of_torch_gives_the_same_gradients() -> None:
    model = Transformer(SMALL, seed=2)
    ids = torch.randint(96, (4, 17), generator=torch.Generator().manual_seed(0))

    def gradients() -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(model.loss(ids[:, :-1], ids[:, 1:])[0], list(model.parameters()))

    with sdpa_kernel(SDPBackend.MATH):  # its gradients lie in memory in another order
        plain = gradients()
    for found, expected in zip(gradients(), plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=5e-6)


def test_losses_are_those_of_the_logits() -> None:
    model = Transformer(SMALL, seed=1)
    ids = torch.randint(96, (3, 17), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(ids[:, :-1])[0]
        expected = F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        losses, _ = model.token_losses(ids[:, :-1], ids[:, 1:])
        torch.testing.assert_close(losses, expected)
        torch.testing.assert_close(model.loss(ids[:, :-1], ids[:, 1:])[0], expected.mean())


def test_shared_experts_are_one_network_that_every_token_passes() -> None:
    layer = ExpertsLayer(replace(SMALL, shared_experts=2, granularity=2))
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x_TD = torch.randn(9, 32, generator=torch.Generator().manual_seed(0))
    out, statistics = layer(x_TD)
    gates_TK, _ = route(x_TD, layer.router, 2)
    routed = experts_by_loop(x_TD, gates_TK, statistics.ids_TK, layer.w_in, layer.w_out)
    gate, up = (x_TD @ layer.shared.w_in[0]).chunk(2, -1)
    assert gate.shape == (9, 64)
    torch.testing.assert_close(out, routed + (F.silu(gate) * up) @ layer.shared.w_out[0], rtol=1e-4, atol=1e-5)


def test_experts_stand_in_the_last_block_of_each_group() -> None:
    model = Transformer(replace(SMALL, n_layers=4, moe_every=2))
    assert [type(block.experts) for block in model.blocks] == [FeedForward, ExpertsLayer] * 2
    assert len(model(torch.zeros(1, 4, dtype=torch.long))[1]) == 2


def test_the_token_shift_shows_each_token_the_one_before() -> None:
    model = Transformer(replace(SMALL, token_shift=True, n_layers=1), seed=1)
    x_BTD = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))
    shifted = model.shift(x_BTD)
    torch.testing.assert_close(shifted[:, 0], x_BTD[:, 0])
    torch.testing.assert_close(shifted[:, 1:], x_BTD[:, 1:] + 0.5 * x_BTD[:, :-1])


def test_a_balance_bias_changes_the_choice_and_not_the_weight() -> None:
    x_TD, weight_ED = torch.eye(2), torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    probs_TE = torch.softmax(weight_ED.T, -1)
    gates_TK, statistics = route(x_TD, weight_ED, 1, bias_E=torch.tensor([0.0, 1.0, 0.0]))
    assert statistics.ids_TK.tolist() == [[1], [1]]
    torch.testing.assert_close(gates_TK[:, 0], probs_TE[:, 1])
    layer = ExpertsLayer(replace(SMALL, n_experts=4))
    layer.balance(torch.tensor([0.25, 0.7, 0.05, 0.0]), rate=0.1)
    torch.testing.assert_close(layer.balance_bias, torch.tensor([0.0, -0.1, 0.1, 0.1]))


def test_experts_touched_are_counted_by_group() -> None:
    _, statistics = route(torch.eye(4), 9 * torch.eye(4)[[0, 0, 1, 1]].T[[0, 2, 1, 3]].T, 1)
    ids = statistics.ids_TK[:, 0].tolist()
    assert statistics.experts_touched(1).tolist() == [1, 1, 1, 1]
    assert statistics.experts_touched(4).tolist() == [len(set(ids))]
    assert statistics.experts_touched(2).tolist() == [len({ids[0], ids[2]}), len({ids[1], ids[3]})]
    with pytest.raises(ValueError, match="batch = 5: expected 1 to 4"):
        statistics.experts_touched(5)


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


def test_every_choice_of_scores_has_a_function_and_every_function_a_choice() -> None:
    choices = next(field.choices for field in described(ModelConfig) if field.name == "router_scores")
    assert set(SCORES) == set(choices)


@pytest.mark.parametrize("scores", SCORES)
def test_scores_choose_and_weigh_the_experts_and_their_shares_are_the_distribution(scores: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x_TD, weight_ED = torch.randn(50, 8, generator=generator), torch.randn(16, 8, generator=generator)
    scores_TE = SCORES[scores](x_TD @ weight_ED.T)
    assert (scores_TE > 0).all()
    bias_E = 0.2 * torch.randn(16, generator=generator)
    for bias in (None, bias_E):
        gates_TK, statistics = route(x_TD, weight_ED, 3, bias_E=bias, scores=scores)
        ranked_TE = scores_TE if bias is None else scores_TE + bias
        assert torch.equal(statistics.ids_TK, ranked_TE.topk(3).indices)
        torch.testing.assert_close(gates_TK, scores_TE.gather(1, statistics.ids_TK))
        torch.testing.assert_close(statistics.probs_TE, scores_TE / scores_TE.sum(-1, keepdim=True))
        for found, expected in zip(choose(scores_TE, 3, bias), (gates_TK, statistics.ids_TK), strict=True):
            torch.testing.assert_close(found, expected)


def test_sigmoid_scores_against_hand_worked_numbers() -> None:
    """DeepSeek-V3 (2024), Eq. 13-16: each expert's affinity is a sigmoid of its own, those chosen are rescaled."""
    x_TD, weight_ED = torch.eye(1), torch.tensor([[0.0], [math.log(3)], [-math.log(3)], [math.log(9)]])
    gates_TK, statistics = route(x_TD, weight_ED, 2, scores="sigmoid")  # affinities 1/2, 3/4, 1/4, 9/10
    assert statistics.ids_TK.tolist() == [[3, 1]]
    torch.testing.assert_close(gates_TK, torch.tensor([[0.9, 0.75]]))
    torch.testing.assert_close(statistics.probs_TE[0], torch.tensor([0.5, 0.75, 0.25, 0.9]) / 2.4)
    rescaled_TK, _ = route(x_TD, weight_ED, 2, renormalize=True, scores="sigmoid")
    torch.testing.assert_close(rescaled_TK, torch.tensor([[6 / 11, 5 / 11]]))


@pytest.mark.parametrize("rows", [8, 50])
@pytest.mark.parametrize("top_k", [1, 2, 4, 5])
def test_the_best_experts_come_best_first(top_k: int, rows: int) -> None:
    generator = torch.Generator().manual_seed(top_k)
    x_TD, weight_ED = torch.randn(rows, 8, generator=generator), torch.randn(16, 8, generator=generator)
    expected = torch.softmax(x_TD @ weight_ED.T, -1).topk(top_k)
    gates_TK, statistics = route(x_TD, weight_ED, top_k)
    assert torch.equal(statistics.ids_TK, expected.indices)
    torch.testing.assert_close(gates_TK, expected.values)


def test_a_balanced_router_has_balance_loss_one() -> None:
    x_TD = torch.eye(4).repeat(5, 1)
    _, balanced = route(x_TD, 50 * torch.eye(4), top_k=1, renormalize=False)
    assert float(balanced.load_balance) == pytest.approx(1)
    _, collapsed = route(x_TD, torch.tensor([[50.0] * 4, [0.0] * 4, [0.0] * 4, [0.0] * 4]), 1, False)
    assert float(collapsed.load_balance) == pytest.approx(4)


def test_one_expert_is_the_dense_layer() -> None:
    layer = FeedForward(32, 64)
    torch.nn.init.normal_(layer.w_in)
    torch.nn.init.normal_(layer.w_out)
    x_TD = torch.randn(9, 32)
    out, statistics = layer(x_TD)
    assert statistics is None
    gate, up = (x_TD @ layer.w_in[0]).chunk(2, -1)
    torch.testing.assert_close(out, (F.silu(gate) * up) @ layer.w_out[0], rtol=1e-4, atol=1e-4)
    as_moe = experts_by_loop(x_TD, torch.ones(9, 1), torch.zeros(9, 1, dtype=torch.long), layer.w_in, layer.w_out)
    torch.testing.assert_close(out, as_moe, rtol=1e-4, atol=1e-4)


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
    turn = rotary_table(SMALL, torch.arange(32))[:, :8]
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 16, generator=generator)
    turned_q, turned_k = (rotate(x.expand(1, 32, 16), turn)[0] for x in (q, k))
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_by_expert_equal_grouped_ones_in_any_precision(dtype: torch.dtype) -> None:
    """What fp32 takes on CUDA, where the grouped product refuses it; experts without rows, and the last one's, too."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(7, 16, generator=generator, dtype=dtype, requires_grad=True)
    weights = torch.randn(5, 16, 8, generator=generator, dtype=dtype, requires_grad=True)
    ends = torch.tensor([0, 3, 3, 7, 7], dtype=torch.int32)
    found = products_by_expert(rows, weights, ends)
    owner = torch.tensor([1, 1, 1, 3, 3, 3, 3])
    expected = torch.einsum("ma,mab->mb", rows, weights[owner])
    torch.testing.assert_close(found, expected)
    by_found, by_expected = (torch.autograd.grad(x.square().sum(), [rows, weights]) for x in (found, expected))
    torch.testing.assert_close(by_found, by_expected)
    if dtype == torch.float32:
        torch.testing.assert_close(found, F.grouped_mm(rows, weights, offs=ends))
