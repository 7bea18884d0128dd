"""What is said of blended models, on a table whose truth is known."""

import json

import numpy as np
import pandas as pd
import pytest

from howmany.neighbours import superposition
from repository import ROOT

CLAIMS = str(ROOT / "data" / "published" / "chaliah_claims.csv")
WAYS = ("mean of weights", "mean of outputs", "merged outputs", "blend, no learning", "blend", "blend, all weights",
        "side by side", "rebuilt", "rebuilt, looking back", "as published")  # fmt: skip


def table(gains: dict[str, float], blind: dict[str, float]) -> superposition.Recorded:
    """Every way loses .3 nats at home but for what it gains; for two models of one domain other gains."""
    rng = np.random.default_rng(0)
    rows = []

    def add(seed: int, pair: str, way: str, speeches: float, documentation: float, size: float = 1.0, **more) -> None:
        for domain, loss in (("sotu", speeches), ("docstrings", documentation)):
            about = {"parameters": 1e4 * size, "flops_per_token": 1e4 * size, "near": np.nan, "far": np.nan}
            rows.append({"seed": seed, "pair": pair, "way": way, "domain": domain, "loss": loss + 0.002 * rng.normal(),
                         "shares": ""} | about | more)  # fmt: skip

    for seed in (0, 1, 2):
        add(seed, "", "speeches", 4.0, 5.5)
        add(seed, "", "speeches again", 4.0, 5.5)
        add(seed, "", "documentation", 5.5, 4.0)
        add(seed, "", "tuned", 5.0, 4.0)
        add(seed, "", "dense, both", 4.2, 4.2)
        add(seed, "", "mixture, both", 4.15, 4.15, 1.5)
        for pair in ("tuned", "apart", "same domain"):
            for way in WAYS:
                gain = (blind if pair == "same domain" else gains).get(way, 0.0)
                size = {"mean of weights": 1.0, "blend": 1.5}.get(way, 2.1)
                near = (1.0, 1.0 if pair == "same domain" else 2.0)
                shares = json.dumps([0.5, 0.5 + (0.0 if pair == "same domain" else 0.2), 0.5 + 0.01 * rng.normal()])
                add(seed, pair, way, 4.3 - gain, 4.3 - gain, size, shares=shares,
                    near=near[0] + 0.01 * rng.normal(), far=near[1])  # fmt: skip
        for name, loss in (("speeches alone", (4.0, 5.5)), ("tuned alone", (5.0, 4.0))):
            add(seed, name, "rebuilt", *loss)
            add(seed, name, "rebuilt, unbound", *loss)
            add(seed, name, "as published", loss[0] - 0.1, loss[1] - 0.1)
            add(seed, name, "as published, unbound", loss[0] - 1, loss[1] - 1)
    return superposition.Recorded(pd.DataFrame(rows))


GAINS = {"rebuilt": 0.15, "side by side": 0.1, "rebuilt, looking back": 0.15, "as published": 0.6, "blend": 0.12,
         "blend, all weights": 0.2, "merged outputs": 0.28}  # fmt: skip


def test_words_where_two_models_are_better_than_their_mean() -> None:
    found = table(GAINS, {})
    made = superposition.judged(found, CLAIMS)
    said = {each.claim.key: each for each in made}
    for key in ("near-both", "beats-averaging", "autoencoder-needed", "states-near-expert", "leak", "blend-over-mean",
                "onwards-over-scratch"):  # fmt: skip
        assert said[key].text == "reproduced", key
    for key in ("cheap", "blend-over-merge", "blend-over-scratch"):
        assert said[key].word == "contradicted", key
    assert said["splines-help"].word == "not testable here"
    numbers = superposition.numbers(found, made)
    assert float(numbers["sp_home_tuned"]) == pytest.approx(4.0, abs=0.005)
    assert numbers["sp_word_cheap"] == "contradicted, but says nothing of blending"  # whoever runs both is as dear


def test_what_two_models_of_one_domain_get_too_says_nothing() -> None:
    said = {each.claim.key: each for each in superposition.judged(table(GAINS, GAINS), CLAIMS)}
    assert said["beats-averaging"].silent
    assert said["blend-over-mean"].silent
    assert said["leak"].asked_placebo == "placebo 0 of 3"


def test_tables_and_figure() -> None:
    found = table(GAINS, {})
    assert len(superposition.table_of(found)) == 5 + 2 * len(WAYS)
    assert superposition.table_of(found).loc[("one tuned from the other", "side by side, rebuilt"), "FLOPs"] == "× 2.10"
    assert (
        "Trained on both: 4.15 nats; made of two, gates learned: 4.18" in superposition.figure(found).to_dict()["title"]
    )
    with pytest.raises(ValueError, match="no row for 'nothing' of 'tuned'"):
        found.by_seed("tuned", "nothing")
