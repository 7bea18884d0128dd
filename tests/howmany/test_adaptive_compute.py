"""What is said of oracles and routers, on tables whose truth is known."""

import numpy as np
import pandas as pd
import pytest

from howmany.neighbours import adaptive_compute
from howmany.recording.text_places import KINDS, _kind
from repository import ROOT

CLAIMS = str(ROOT / "data" / "published" / "alizadeh_claims.csv")
LAYERS = 6


def tables(kept: float, blind: float, router: float, lot: float = 0.3) -> adaptive_compute.Recorded:
    """Oracles gain .1 nats at half of the layers.

    Args:
        kept: share of it that is left on answers not read.
        blind: share of it that copies turned at random gain.
        router: nats that routers are better than the best fixed route.
        lot: nats that a lot is worse than it.
    """
    rng = np.random.default_rng(0)
    rows, places = [], []

    def add(seed: int, way: str, budget: int, loss: float, **more: float) -> None:
        moved = loss + 0.0005 * rng.normal()
        rows.append({"seed": seed, "way": way, "budget": budget, "flops_per_token": 1e5 * (2 + budget), "loss": moved,
                     "loss_second": moved, "depth": np.nan} | more)  # fmt: skip

    for seed in (0, 1, 2):
        for budget in range(LAYERS + 1):
            gain = 0.1 * 4 * budget * (LAYERS - budget) / LAYERS**2
            fixed = 4.5 - 0.01 * budget
            add(seed, "best fixed", budget, fixed, depth=0.5 + 0.01 * rng.normal())
            add(seed, "mean route", budget, fixed + 0.01)
            add(seed, "oracle", budget, fixed - gain, depth=0.8 - 0.1 * budget)
            add(seed, "oracle, skips", budget, fixed - 1.2 * gain)
            add(seed, "oracle, first half", budget, fixed - kept * gain)
            add(seed, "oracle, next text", budget, fixed + 0.01)
            add(seed, "turned, mean", budget, fixed + 0.01)
            add(seed, "turned", budget, fixed + 0.01 - blind * gain)
            add(seed, "turned, first half", budget, fixed + 0.01)
            if budget in (0, 3, 6):
                add(seed, "alone", budget, fixed - 0.1)
            if 1 <= budget <= 4:
                add(seed, "routers", budget, fixed - router)
                add(seed, "by lot", budget, fixed + lot)
                about = {"seed": seed, "budget": budget}
                for k, kind in enumerate(KINDS):
                    places.append(about | {"what": "kind", "which": kind, "spent": budget + 0.1 * k, "gain": 0.1})
                for place in range(8):
                    spent = budget - 0.05 * place + 0.001 * rng.normal()
                    places.append(about | {"what": "place", "which": f"{place}", "spent": spent, "gain": 0.1})
                for domain in ("sotu", "docstrings"):
                    places.append(about | {"what": "domain", "which": domain, "spent": budget, "gain": 0.1})
                correlation = 0.1 + 0.01 * rng.normal()
                for which, shift in (("gain and hardness", 0.0), ("spent and hardness", 0.8)):
                    places.append(about | {"what": "correlation", "which": which, "correlation": correlation + shift})
    return adaptive_compute.Recorded(pd.DataFrame(rows), pd.DataFrame(places).assign(loss=4.5))


def words(found: adaptive_compute.Recorded) -> dict[str, str]:
    return {each.claim.key: each.text for each in adaptive_compute.judged(found, CLAIMS)}


def test_words_where_the_oracle_knows_something() -> None:
    found = tables(kept=0.5, blind=0.0, router=0.0)
    made = adaptive_compute.judged(found, CLAIMS)
    said = {each.claim.key: each for each in made}
    for key in ("router-gap", "unseen", "router-like-fixed", "routers-over-lot", "late-then-early", "difficulty",
                "early-tokens", "alone-better", "half-is-best"):  # fmt: skip
        assert said[key].text == "reproduced", key
    assert said["unseen"].asked_placebo == "placebo 0 of 1"
    # Below all big in the same model, not below all big trained alone.
    assert said["one-suffices"].word == "partly"
    numbers = adaptive_compute.numbers(found, made)
    assert numbers["ad_routes"] == "729"
    assert numbers["ad_most"] == "punctuation"


def test_what_the_least_of_many_gains_says_nothing() -> None:
    said = words(tables(kept=0.0, blind=1.0, router=0.05))
    assert said["unseen"] == "not resolved"
    assert said["half-is-best"] == "reproduced, but says nothing of routing"
    assert said["router-like-fixed"] == "contradicted"


def test_routers_like_a_lot_are_no_finding() -> None:
    said = words(tables(kept=0.5, blind=0.0, router=0.0, lot=0.001))
    assert said["router-like-fixed"] == "reproduced, but says nothing of routing"


def test_tables_and_figure() -> None:
    found = tables(kept=0.5, blind=0.0, router=0.0)
    assert list(adaptive_compute.way_table(found).columns) == [str(budget) for budget in range(7)]
    assert len(adaptive_compute.place_table(found)) == len(KINDS) + 2
    assert "nats, on answers not read +0.05" in adaptive_compute.figure(found).to_dict()["title"]
    with pytest.raises(ValueError, match="no row for 'alone' with 1 big"):
        found.by_seed("alone", 1)


def test_kinds_of_tokens() -> None:
    pairs = (("the", 1), (" the", 0), ("12", 2), (" 12", 2), ("\n\n", 3), ("", 3), ("()", 4), (" a_b", 0), (".a", 4))
    for text, kind in pairs:
        assert _kind(text) == kind, text
