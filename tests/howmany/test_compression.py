"""What is said of compression, on tables whose truth is known; and that the recorded ones hold what they should."""

import numpy as np
import pandas as pd
import pytest

from howmany.neighbours import compression
from repository import ROOT

CLAIMS = str(ROOT / "data" / "published" / "huang_claims.csv")
RULES = {"importance": 0.5, "authors' code": 0.55, "frequency": 0.8, "weight": 0.8, "damage": 0.7}
LOST = {8: 0.001, 4: 0.01, 3: 0.04, 2: 0.16, 1: 0.64}


def lost(bits: float) -> float:
    return 0.16 * 4.0 ** (2 - bits)


def tables(lots: float) -> compression.Recorded:
    """Two mixtures and two dense models; shares by lot lose ``lots`` times what one width for all does."""
    rng = np.random.default_rng(0)
    rows, experts = [], []

    def add(seed: int, model: str, method: str, bits: float, difference: float, **more: float) -> None:
        size = {"mixture": 4e6, "dense": 5e5}[model] * bits / 32
        about = {
            "seed": seed,
            "model": model,
            "method": method,
            "bits": bits,
            "n_experts": 32,
            "draw": 0,
            "bytes": size,
        }
        moved = difference * (1 + 0.01 * rng.normal())
        base = 4.0 if model == "mixture" else 4.06
        rows.append(about | {"difference": moved, "loss": base + moved, "accuracy": 0.4 - moved / 10} | more)

    for seed in (0, 1):
        for model in ("mixture", "dense"):
            add(seed, model, "none", 32, 0.0)
            for bits, nats in LOST.items():
                add(seed, model, "uniform", bits, nats)
        add(seed, "mixture", "experts alone", 8, 0.0005)
        for bits in (1.5, 2.0, 2.5):
            for rule, share in RULES.items():
                add(seed, "mixture", rule, bits, share * lost(bits))
            for draw in range(8):
                add(seed, "mixture", "random", bits, lots * lost(bits), draw=draw)
        for method, nats in (("pruned", 0.3), ("merged", 0.2)):
            for keep in (24, 8):
                add(seed, "mixture", method, 32, nats * 8 / keep, n_experts=keep)
        add(seed, "mixture", "second dropped", 32, 0.02)
        add(seed, "mixture", "first dropped", 32, 0.09)
        for layer in range(2):
            phi = rng.dirichlet(np.ones(32))
            weight = phi * np.exp(2 * rng.normal(size=32))
            experts += [{"seed": seed, "layer": layer, "expert": e, "frequency": phi[e], "weight": weight[e]}
                        for e in range(32)]  # fmt: skip
    return compression.Recorded(pd.DataFrame(rows), pd.DataFrame(experts))


def test_verdicts_where_importance_matters() -> None:
    found = tables(lots=1.2)
    made = {v.claim.key: v for v in compression.judged(found, CLAIMS)}
    for key in ("mixed-beats-uniform", "importance-counts", "second-not-first", "int8-free", "half-pruned-free"):
        assert made[key].text == "reproduced", key
    assert made["mixed-beats-uniform"].asked_placebo == "placebo 0 of 8"
    assert made["few-tokens-matter"].word == "not testable here"
    assert made["frequency-not-weight"].word == "reproduced"
    numbers = compression.numbers(found, list(made.values()))
    assert numbers["cp_lots_better"] == "0"
    assert numbers["cp_share_eight"] == "4.0"


def test_what_shares_by_lot_get_too_says_nothing() -> None:
    made = {v.claim.key: v for v in compression.judged(tables(lots=0.5), CLAIMS)}
    assert made["mixed-beats-uniform"].silent
    assert made["importance-counts"].silent


def test_one_width_between_two_is_between_their_losses() -> None:
    found = tables(lots=1.0)
    np.testing.assert_allclose(compression._uniform(found, 2.5), 0.08, rtol=0.05)
    assert compression._uniform(found, 2.0) == pytest.approx(found.by_seed("uniform", 2))


def test_tables_and_figure_hold_every_way() -> None:
    found = tables(lots=1.0)
    assert len(compression.width_table(found)) == 12
    assert len(compression.rule_table(found)) == 7
    assert len(compression.fewer_table(found)) == 6
    assert "A quarter of the bytes costs +0.00" in compression.bytes_figure(found).to_dict()["title"]


def test_a_plan_with_fewer_bytes_is_cheaper() -> None:
    table = compression.plan_table(1e21, 1e12, "a100-40gb", (16, 4))
    assert float(table.loc["4", "dollars"].replace(",", "")) < float(table.loc["16", "dollars"].replace(",", ""))
