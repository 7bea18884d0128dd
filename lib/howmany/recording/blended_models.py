"""Records what becomes of two models put together: ``python -m howmany.recording.blended_models data/neighbours``.

Two domains in one tokenizer. Models of speeches and of documentation are trained, and put together in every way that
the chapter compares; models trained on both from random weights spend as many FLOPs in all. One table, a row for each
way, pair, seed and domain.
"""

import json
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from howmany.designs.isoflop_design import UPCYCLING
from howmany.designs.sweeps import TWO_DOMAINS
from moelaws.config import ModelConfig, TrainConfig
from moelaws.counting import count_parameters, forward_flops_per_token, tokens_for_budget, training_flops_per_token
from moelaws.models import Transformer
from moelaws.provenance import code_version, machine
from moelaws.reshape.blend import blend
from moelaws.reshape.gates import GateRecipe, descend, learn_gates
from moelaws.reshape.superposition import Superposition, likelier
from moelaws.text.corpus import Corpus, load_corpus
from moelaws.training.onwards import train_on
from moelaws.training.recipe import recipe, tiny_model

BUDGET = 3e10
"""FLOPs of each of two models; what puts them together has half of it, so that a whole costs 2.5 of them."""
GATES = 0.5
WIDTH = 16
SEEDS = (0, 1, 2)
SEQUENCES = 4
"""In a step that learns gates, half of each domain."""
VALIDATION = 16_384
REBUILD_RATE = 5e-3


@dataclass(frozen=True)
class Bench:
    """A seed, its texts, and the rows so far."""

    seed: int
    domains: tuple[Corpus, Corpus]
    rows: list[dict[str, Any]]

    def both(self, sequences: int, order: int) -> Iterator[np.ndarray]:
        """Batches whose first half is of the first domain and the second of the other."""
        halves = [domain.batches(sequences // 2, CONFIG.context, order + self.seed) for domain in self.domains]
        for pair in zip(*halves, strict=True):
            yield np.concatenate(pair)

    def add(self, pair: str, way: str, losses: list[torch.Tensor], cost: "Cost", **more: Any) -> None:
        """A row for each domain."""
        for domain, loss_B in zip(self.domains, losses, strict=True):
            self.rows.append({
                "seed": self.seed, "pair": pair, "way": way, "domain": domain.domains[0][0],
                "loss": float(loss_B.mean()), "loss_se": float(loss_B.std() / len(loss_B) ** 0.5),
                **vars(cost), **more, "d_model": WIDTH, "machine": machine(), "torch_version": torch.__version__,
                "code_version": code_version(), "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            })  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """Parameters, FLOPs of reading a token, and FLOPs of all training, that of both models included."""

    parameters: int
    flops_per_token: float
    train_flops: float


CONFIG = tiny_model(WIDTH)
BOTH = replace(CONFIG, n_experts=2, top_k=2, renormalize_top_k=True)


def main(folder: Path) -> None:
    """Record the table, seed after seed."""
    torch.set_num_threads(1)
    whole = load_corpus(TWO_DOMAINS)
    domains = whole.only("sotu"), whole.only("docstrings")
    rows: list[dict[str, Any]] = []
    for seed in SEEDS:
        began = time.perf_counter()
        _record(Bench(seed, domains, rows))
        pd.DataFrame(rows).to_csv(folder / "superposition.csv", index=False, lineterminator="\n")
        print(f"seed {seed}: {len(rows)} rows, {time.perf_counter() - began:.0f} s", flush=True)


def _record(bench: Bench) -> None:
    speeches, again = (_trained(bench, 0, order) for order in (0, 100))
    apart = _trained(bench, 1, 200)
    tuned = deepcopy(speeches)
    own = _recipe(CONFIG, BUDGET, restart=True)
    train_on(tuned, own, bench.domains[1].batches(own.batch_sequences, CONFIG.context, bench.seed))
    for name, model, spent in (("speeches", speeches, 1), ("speeches again", again, 1), ("documentation", apart, 1),
                               ("tuned", tuned, 2)):  # fmt: skip
        bench.add("", name, _losses(bench, model), _cost(CONFIG, spent * BUDGET))
    for pair, other in (("tuned", tuned), ("apart", apart), ("same domain", again)):
        _together(bench, pair, speeches, other)
    for pair, model, way, kernel, causal, weight in (
        ("speeches alone", speeches, "rebuilt", 1, True, 3.0), ("tuned alone", tuned, "rebuilt", 1, True, 3.0),
        ("speeches alone", speeches, "rebuilt, unbound", 1, True, 0.0),
        ("speeches alone", speeches, "as published, unbound", 3, False, 0.0),
    ):  # fmt: skip
        _side_by_side(bench, pair, way, Superposition(model, model, kernel, causal, weight, bench.seed))
    total = (2 + GATES) * BUDGET
    for way, config in (("dense, both", CONFIG), ("mixture, both", BOTH)):
        model = Transformer(config, seed=bench.seed)
        own = _recipe(config, total)
        train_on(model, own, bench.both(own.batch_sequences, 300))
        bench.add("", way, _losses(bench, model), _cost(config, total))


def _together(bench: Bench, pair: str, one: Transformer, other: Transformer) -> None:
    """Every way to make one of two."""
    spent, added = 2 * BUDGET, GATES * BUDGET
    two = Cost(2 * count_parameters(CONFIG).total, 2 * forward_flops_per_token(CONFIG), spent)
    mean = Transformer(CONFIG)
    with torch.no_grad():
        for made, a, b in zip(mean.parameters(), one.parameters(), other.parameters(), strict=True):
            made.copy_((a + b) / 2)
    bench.add(pair, "mean of weights", _losses(bench, mean), _cost(CONFIG, spent))
    both = [torch.stack(each) for each in zip(_token_losses(bench, one), _token_losses(bench, other), strict=True)]
    bench.add(pair, "merged outputs", [likelier(each).mean(1) for each in both], two)
    even = [-torch.logsumexp(-each, 0) + np.log(2) for each in both]
    bench.add(pair, "mean of outputs", [each.mean(1) for each in even], two)
    bench.add(pair, "blend, no learning", _losses(bench, blend(one, other, seed=bench.seed)), _cost(BOTH, spent))
    steps = round(tokens_for_budget(BOTH, added) / (SEQUENCES * CONFIG.context))
    found = learn_gates(one, other, bench.both(SEQUENCES, 400), GateRecipe(steps), seed=bench.seed)
    bench.add(pair, "blend", _losses(bench, found.model), _cost(BOTH, spent + added), shares=json.dumps(found.shares))
    onwards = blend(one, other, seed=bench.seed)
    own = _recipe(BOTH, added, restart=True)
    train_on(onwards, own, bench.both(own.batch_sequences, 400))
    bench.add(pair, "blend, all weights", _losses(bench, onwards), _cost(BOTH, spent + added))
    for way, kernel, causal in (("side by side", 0, True), ("rebuilt", 1, True), ("rebuilt, looking back", 3, True),
                                ("as published", 3, False)):  # fmt: skip
        _side_by_side(bench, pair, way, Superposition(one, other, kernel, causal, seed=bench.seed))


def _side_by_side(bench: Bench, pair: str, way: str, model: Superposition) -> None:
    """Both models run, their states blended; gates and autoencoders learned with the FLOPs of the other ways."""
    extra = model.extra_parameters
    flops = 2 * forward_flops_per_token(CONFIG) + 2 * extra
    steps = round(GATES * BUDGET / (3 * flops) / (SEQUENCES * CONFIG.context))
    groups = [(list(model.logits), GateRecipe().learning_rate), (list(model.rebuilt.parameters()), REBUILD_RATE)]
    descend(model, groups, bench.both(SEQUENCES, 400), steps)
    windows = next(bench.both(64, 500))
    with torch.no_grad():
        near, far = model.distances(torch.from_numpy(windows[:, :-1]))
    cost = Cost(2 * count_parameters(CONFIG).total + extra, flops, (2 + GATES) * BUDGET)
    shares = json.dumps([float(share.detach()) for share in model.shares])
    bench.add(pair, way, _losses(bench, model), cost, shares=shares, near=float(near), far=float(far))


def _trained(bench: Bench, domain: int, order: int) -> Transformer:
    """A model of one domain; ``order`` sets its weights and the order of its text apart from others'."""
    own = _recipe(CONFIG, BUDGET)
    model = Transformer(CONFIG, seed=order + bench.seed)
    train_on(model, own, bench.domains[domain].batches(own.batch_sequences, CONFIG.context, order + bench.seed))
    return model


def _recipe(config: ModelConfig, budget: float, restart: bool = False) -> TrainConfig:
    own = recipe(config, budget, tokens_for_budget(config, budget))
    own = replace(own, batch_sequences=max(own.batch_sequences, 2))  # one of each domain
    return replace(own, learning_rate=own.learning_rate * UPCYCLING.restart) if restart else own


def _cost(config: ModelConfig, train_flops: float) -> Cost:
    assert training_flops_per_token(config) == 3 * forward_flops_per_token(config)
    return Cost(count_parameters(config).total, forward_flops_per_token(config), train_flops)


def _losses(bench: Bench, model: Transformer | Superposition) -> list[torch.Tensor]:
    """Mean loss of each held-out sequence, domain after domain."""
    return [each.mean(1) for each in _token_losses(bench, model)]


def _token_losses(bench: Bench, model: Transformer | Superposition) -> list[torch.Tensor]:
    found = []
    for domain in bench.domains:
        windows = torch.from_numpy(domain.validation_windows(CONFIG.context, VALIDATION))
        parts = [model.token_losses(part[:, :-1], part[:, 1:])[0].double() for part in windows.split(32)]
        found.append(torch.cat(parts))
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
