"""Two networks a layer: what a route costs and gives, that the oracle's tree is the routes one by one, and routers."""

from itertools import islice

import numpy as np
import pytest
import torch

from moelaws.adaptive.duo import BIG, SKIP, SMALL, DuoConfig, DuoTransformer, by_lot, fixed
from moelaws.adaptive.learned import RouterRecipe, Routers, choices_made, hard_cost, keep_to, learn_routers, taken
from moelaws.adaptive.oracle import best_route, route_losses, routes
from moelaws.config import ConfigError, ModelConfig, TrainConfig
from moelaws.counting import forward_flops_per_token
from moelaws.models import Transformer
from moelaws.training.onwards import train_on

DENSE = ModelConfig(vocab_size=48, d_model=16, n_layers=3, n_heads=2, d_ff=32, context=16)
DUO = DuoConfig(DENSE, small=4)


@pytest.fixture(scope="module")
def model() -> DuoTransformer:
    return DuoTransformer(DUO, seed=1)


def windows(count: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randint(48, (count, 17), generator=torch.Generator().manual_seed(seed))


def test_all_big_is_the_dense_model(model: DuoTransformer) -> None:
    dense = Transformer(DENSE)
    own = model.state_dict()
    renamed = {
        name.replace(".experts_norm.", ".networks_norm.").replace(".experts.", ".big."): name
        for name in dense.state_dict()
    }
    dense.load_state_dict({name: own[ours] for ours, name in renamed.items()})
    ids = windows()[:, :-1]
    with torch.no_grad():
        torch.testing.assert_close(model(ids, fixed((BIG,) * 3)), dense(ids)[0], rtol=1e-4, atol=1e-5)
    assert DUO.flops_per_token(3) == forward_flops_per_token(DENSE)


def test_what_a_route_costs() -> None:
    assert DUO.ratio == 1 / 8
    assert DUO.cost((BIG, SKIP, SMALL)) == 1.125
    narrow = ModelConfig(vocab_size=48, d_model=16, n_layers=3, n_heads=2, d_ff=4, context=16)
    assert DUO.flops_per_token(DUO.cost((SMALL,) * 3)) == forward_flops_per_token(narrow)
    with pytest.raises(ConfigError, match="small = 32: expected 1 to 31"):
        DuoConfig(DENSE, small=32)
    with pytest.raises(ConfigError, match="n_experts = 2: expected 1"):
        DuoConfig(ModelConfig(n_experts=2), small=4)


def test_the_tree_is_the_routes_one_by_one(model: DuoTransformer) -> None:
    text = windows()
    found = route_losses(model, text)
    every = routes(3)
    assert found.shape == (27, 6)
    for number in (0, 5, 13, 26):
        alone = model.token_losses(text[:, :-1], text[:, 1:], fixed(every[number])).mean(1)
        np.testing.assert_allclose(found[number], alone, rtol=1e-5)
    halves = route_losses(model, text, (SMALL, BIG), lambda loss: loss.unflatten(1, (2, -1)).mean(2))
    assert halves.shape == (8, 6, 2)
    np.testing.assert_allclose(halves[0].mean(1), found[every.index((SMALL,) * 3)], rtol=1e-5)


def test_the_best_route_within_a_budget() -> None:
    losses = np.array([[3.0, 1.0], [2.0, 5.0], [1.0, 0.5]])
    assert list(best_route(losses, np.array([True, True, False]))) == [1, 0]


def test_a_draw_is_a_share_of_each(model: DuoTransformer) -> None:
    text = windows(200)
    for tokens in (False, True):
        weights = choices_made(model, by_lot(0, (0.2, 0.3, 0.5), tokens), text)
        assert weights.sum(-1).max() == 1
        np.testing.assert_allclose(weights.mean((0, 1, 2)), (0.3, 0.5), atol=0.06)
        assert (weights.std(2).max() > 0) == tokens
    one = model.token_losses(text[:, :-1], text[:, 1:], by_lot(3))
    assert torch.equal(one, model.token_losses(text[:, :-1], text[:, 1:], by_lot(3)))


def batches(seed: int = 0):
    """Half of the sequences count by one, which the token tells; the others are noise."""
    rng = torch.Generator().manual_seed(seed)
    while True:
        counting = (torch.randint(24, (8, 1), generator=rng) + torch.arange(17)) % 24
        yield torch.cat([counting, torch.randint(24, 48, (8, 17), generator=rng)])


def test_routers_learn_where_it_pays_and_hold_the_budget() -> None:
    model = DuoTransformer(DUO, seed=0)
    train_on(model, TrainConfig(tokens=300 * 256, batch_sequences=16, learning_rate=1e-2), batches())
    before = [each.clone() for each in model.parameters()]
    routers = learn_routers(model, batches(1), 1.0, RouterRecipe(steps=150))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(each.requires_grad for each in model.parameters())
    text = torch.cat(list(islice(batches(2), 4)))
    keep_to(model, routers, text, 1.0)
    cost = hard_cost(model, routers, text)
    assert 0.6 < cost <= 1.0
    small, big = taken(model, routers, text).tolist()
    assert cost == pytest.approx(small / 8 + big, abs=1e-5)
    # Noise can be foretold no better by a big network: routers spend on what counts.
    spent = choices_made(model, routers, text)[..., 1].sum(0).mean(1)
    counts = torch.tensor([bool(row.max() < 24) for row in text])
    assert spent[counts].mean() > spent[~counts].mean() + 0.2
    by_chance = by_lot(0, (0.0, (3 - cost) / 3 / (7 / 8), 1 - (3 - cost) / 3 / (7 / 8)), tokens=True)
    losses = [float(model.token_losses(text[:, :-1], text[:, 1:], each).mean()) for each in (routers, by_chance)]
    assert losses[0] < losses[1]


def test_no_position_sees_what_comes_after_it(model: DuoTransformer) -> None:
    routers = Routers(model)
    with torch.no_grad():
        routers.weight.normal_(generator=torch.Generator().manual_seed(0))
    ids = windows(2)[:, :-1]
    other = ids.clone()
    other[:, 9:] = (other[:, 9:] + 5) % 48
    with torch.no_grad():
        assert (model(ids, routers)[:, :9] - model(other, routers)[:, :9]).abs().max() < 1e-6
        assert (model(ids, routers)[:, 9:] - model(other, routers)[:, 9:]).abs().max() > 1e-3


def test_budgets_that_cannot_be(model: DuoTransformer) -> None:
    for budget in (0, 3, 4):
        with pytest.raises(ConfigError, match="expected more than 0 and less than 3"):
            learn_routers(model, [], budget)
    with pytest.raises(ConfigError, match="batches: 0 of them; expected 150"):
        learn_routers(model, [], 1)
