"""Records who spends compute how well: ``python -m howmany.recording.adaptive_models data/neighbours``.

Models with a big and a small network in each layer, trained with routes by lot; every route through them on held-out
text; oracles, which read the answers they are scored on, and the same on answers that they have not read; routers that
learn. Beside them models of one width, trained alone with as many FLOPs. Two tables: a row for each way and budget,
and a row for each place of the text.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from howmany.designs.sweeps import TWO_DOMAINS
from howmany.recording.text_places import place_rows
from moelaws.adaptive.duo import BIG, SMALL, Chooser, DuoConfig, DuoTransformer, by_lot, fixed
from moelaws.adaptive.learned import RouterRecipe, Routers, hard_cost, keep_to, learn_routers
from moelaws.adaptive.oracle import best_route, route_losses, routes
from moelaws.models import Transformer
from moelaws.provenance import code_version, machine
from moelaws.text.corpus import Corpus, load_corpus
from moelaws.training.onwards import train_on
from moelaws.training.recipe import recipe, tiny_model

Array = NDArray[np.float64]

BUDGET = 2e11
"""FLOPs of each training, by what a model computes on average."""
CONFIG = replace(tiny_model(24), n_layers=6)
DUO = DuoConfig(CONFIG, small=CONFIG.d_ff // 16)
SEEDS = (0, 1, 2)
SEQUENCES = 32
"""Held-out ones of each domain; as many training ones choose the best fixed route."""
ROUTED = (1, 2, 3, 4)
"""Big networks, in all layers, that routers are allowed; the other layers have small ones."""
ROUTES = routes(CONFIG.n_layers)


@dataclass(frozen=True)
class Bench:
    """A seed, its text, the model with two networks, and the rows so far."""

    seed: int
    corpus: Corpus
    model: DuoTransformer
    held_out: torch.Tensor
    training: torch.Tensor
    rows: list[dict[str, Any]]

    def add(self, way: str, budget: float, cost: float, losses_BH: Array, **more: Any) -> None:
        """A row: losses of sequences, half by half."""
        whole = losses_BH.mean(1)
        self.rows.append({
            "seed": self.seed, "way": way, "budget": budget, "cost": cost,
            "flops_per_token": DUO.flops_per_token(cost), "loss": whole.mean(),
            "loss_se": whole.std(ddof=1) / len(whole) ** 0.5, "loss_second": losses_BH[:, 1].mean(), **more,
            "machine": machine(), "torch_version": torch.__version__, "code_version": code_version(),
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        })  # fmt: skip

    def read(self, chooser: Chooser) -> Array:
        """Losses of the held-out sequences, half by half, under a chooser."""
        return _halves(_losses(self.model, self.held_out, chooser)).double().numpy()


def main(folder: Path) -> None:
    """Record both tables, seed after seed."""
    torch.set_num_threads(1)
    corpus = load_corpus(TWO_DOMAINS)
    rows: list[dict[str, Any]] = []
    places: list[dict[str, Any]] = []
    for seed in SEEDS:
        began = time.perf_counter()
        held_out = [corpus.held_out(name).validation_windows(CONFIG.context, SEQUENCES * CONFIG.context)
                    for name, *_ in corpus.domains]  # fmt: skip
        training = next(corpus.batches(SEQUENCES, CONFIG.context, seed=10_000))
        windows = [torch.from_numpy(each) for each in (np.concatenate(held_out), training)]
        model = _trained(corpus, seed, by_lot(seed), sum((0, DUO.ratio, 1)) / 3 * CONFIG.n_layers)
        bench = Bench(seed, corpus, model, windows[0], windows[1], rows)
        lone = _alone(bench)
        _every_route(bench)
        places += place_rows(model, lone, windows[0], corpus, _routed(bench), seed)
        for name, table in (("adaptive.csv", rows), ("adaptive_places.csv", places)):
            pd.DataFrame(table).to_csv(folder / name, index=False, lineterminator="\n")
        print(f"seed {seed}: {len(rows)} rows, {time.perf_counter() - began:.0f} s", flush=True)


def _trained(corpus: Corpus, seed: int, chooser: Chooser, cost: float, duo: DuoConfig = DUO) -> DuoTransformer:
    """A model trained with a chooser that costs so many big networks a token."""
    model = DuoTransformer(duo, seed)
    model.chooser = chooser
    own = recipe(CONFIG, BUDGET, round(BUDGET / (3 * duo.flops_per_token(cost))), seed)
    train_on(cast(Transformer, model), own, corpus.batches(own.batch_sequences, CONFIG.context, seed))
    return model


def _alone(bench: Bench) -> DuoTransformer:
    """Models of one width, trained alone; returns the one of big networks."""
    layers = CONFIG.n_layers
    found = {}
    for budget in (0, 3, layers):
        cost = budget + (layers - budget) * DUO.ratio
        duo = replace(DUO, model=replace(CONFIG, d_ff=round(CONFIG.d_ff * cost / layers)), small=1)
        found[budget] = _trained(bench.corpus, bench.seed, fixed((BIG,) * layers), layers, duo)
        alone = replace(bench, model=found[budget])
        alone.add("alone", budget, cost, alone.read(fixed((BIG,) * layers)))
    return found[layers]


def _every_route(bench: Bench) -> None:
    """Fixed routes, oracles, and what would look like one."""
    losses, learned_on = (
        route_losses(bench.model, windows, reduce=_halves) for windows in (bench.held_out, bench.training)
    )
    costs = np.array([DUO.cost(route) for route in ROUTES])
    bigs = np.array([route.count(BIG) for route in ROUTES])
    layers = CONFIG.n_layers
    two = np.array([route.count(SMALL) == layers - big for route, big in zip(ROUTES, bigs, strict=True)])
    for budget in range(layers + 1):
        cost = budget + (layers - budget) * DUO.ratio
        exact, within = two & (bigs == budget), costs <= cost + 1e-9
        for suffix, allowed in (("", exact), (", skips", within)):
            best = best_route(learned_on.mean((1, 2))[:, None], allowed)[0]
            bench.add(f"best fixed{suffix}", budget, costs[best], losses[best], depth=_depth(ROUTES[best]))
            whole, first = (best_route(seen, allowed) for seen in (losses.mean(2), losses[:, :, 0]))
            for way, chosen in (
                ("oracle", whole),
                ("oracle, first half", first),
                ("oracle, next text", whole[_OTHERS]),
            ):
                depth = float(np.nanmean([_depth(ROUTES[route]) for route in chosen])) if budget else np.nan
                bench.add(f"{way}{suffix}", budget, costs[chosen].mean(), _chosen(losses, chosen), depth=depth)
        bench.add("mean route", budget, cost, losses[exact].mean(0))
        _turned(bench, budget, losses[exact], ROUTES[best_route(learned_on.mean((1, 2))[:, None], exact)[0]])


_OTHERS = np.roll(np.arange(2 * SEQUENCES), 1)


def _turned(bench: Bench, budget: int, losses_RBH: Array, route: tuple[int, ...]) -> None:
    """As many copies of one route as there are routes, its networks turned up and down at random: they know nothing."""
    count = len(losses_RBH)
    rng = np.random.default_rng([bench.seed, budget])
    gains = torch.from_numpy(rng.standard_normal((max(count, 2), CONFIG.n_layers))).float()

    def read(width: float, some: Bench, copies: int) -> Array:
        return np.stack([some.read(_louder(route, 1 + width * each)) for each in gains[:copies]])

    width = 0.1 if count > 1 else 0.0
    fewer = replace(bench, held_out=bench.held_out[::4])
    for _ in range(5 if count > 1 else 0):  # until they are as widely spread as the routes are
        width *= (_spread(losses_RBH[:, ::4]) / _spread(read(width, fewer, 6))) ** 0.5
    copies = read(width, bench, count)
    every = np.ones(count, dtype=bool)
    for way, seen in (("turned", copies.mean(2)), ("turned, first half", copies[:, :, 0])):
        bench.add(way, budget, DUO.cost(route), _chosen(copies, best_route(seen, every)), spread=_spread(copies))
    bench.add("turned, mean", budget, DUO.cost(route), copies.mean(0), spread=_spread(losses_RBH))


def _louder(route: tuple[int, ...], gains: torch.Tensor) -> Chooser:
    plain = fixed(route)
    return lambda layer, x_BTD: plain(layer, x_BTD) * gains[layer]


def _routed(bench: Bench) -> dict[int, Routers]:
    """Routers that learn, and tokens by lot, at equal cost."""
    found = {}
    for budget in ROUTED:
        allowed = budget + (CONFIG.n_layers - budget) * DUO.ratio
        batches = bench.corpus.batches(4, CONFIG.context, seed=20_000 + bench.seed)
        routers = learn_routers(bench.model, batches, allowed, RouterRecipe(steps=120))
        keep_to(bench.model, routers, bench.training, allowed)
        bench.add("routers", budget, hard_cost(bench.model, routers, bench.held_out), bench.read(routers))
        share = budget / CONFIG.n_layers
        by_chance = by_lot(bench.seed, (0.0, 1 - share, share), tokens=True)
        bench.add("by lot", budget, allowed, bench.read(by_chance))
        found[budget] = routers
    return found


def _losses(model: DuoTransformer, windows: torch.Tensor, chooser: Chooser) -> torch.Tensor:
    return torch.cat([model.token_losses(part[:, :-1], part[:, 1:], chooser) for part in windows.split(64)])


_halves: Callable[[torch.Tensor], torch.Tensor] = lambda loss_BT: loss_BT.unflatten(1, (2, -1)).mean(2)  # noqa: E731


def _chosen(losses_RBH: Array, route_B: NDArray[np.int64]) -> Array:
    return losses_RBH[route_B, np.arange(losses_RBH.shape[1])]


def _spread(losses_RBH: Array) -> float:
    """Standard deviation between routes on one sequence, beyond what a route is better on all of them."""
    whole = losses_RBH.mean(2)
    left = whole - whole.mean(0) - whole.mean(1, keepdims=True) + whole.mean()
    return float(left.std())


def _depth(route: tuple[int, ...]) -> float:
    """Mean place of the big networks, from 0 at the first layer to 1 at the last."""
    places = [layer for layer, choice in enumerate(route) if choice == BIG]
    return float(np.mean(places)) / (len(route) - 1) if places else np.nan


if __name__ == "__main__":
    main(Path(sys.argv[1]))
