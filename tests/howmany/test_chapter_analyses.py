"""What chapters compute on the way, on tables that are small enough to know the answer."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, f

from howmany import page
from howmany.foundations import counts, question
from howmany.measured.experts import Chance, chance, misfit
from howmany.measured.gain_trends import word
from howmany.measured.law_errors import Decline, decline, decline_numbers
from howmany.measured.saturation_scan import Saturation
from howmany.published import dense_laws, laws_side_by_side, routed_laws
from howmany.serving import serving_cost, yun_verdicts
from moelaws.config import ModelConfig
from moelaws.counting import training_flops_per_token
from moelaws.laws import LAWS
from moelaws.serving.hardware import accelerator, node


def test_numbers_reach_the_text_by_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    glued: dict[str, Any] = {}
    myst_nb = pytest.importorskip("myst_nb")
    monkeypatch.setattr(myst_nb, "glue", lambda name, value, display: glued.update({name: (value, display)}))
    page.glue(runs=3, share="40 %")
    assert glued == {"runs": (3, False), "share": ("40 %", False)}
    assert page.listed([]) == "none"
    assert page.listed(["a", "b"], between="; ") == "a; b"


def known_declines(slope: float) -> pd.DataFrame:
    """Loss falls by 0.1 + slope log2(width) nats per factor e of tokens, whatever the experts and the tokens."""
    rows = []
    for width in (8, 16, 32):
        for experts in (1, 4):
            for budget, tokens in ((1e11, 1e6), (1e12, 4e6), (1e13, 2e7)):
                loss = 5 - (0.1 + slope * np.log2(width)) * np.log(tokens)
                rows.append({"d_model": width, "n_experts": experts, "budget": budget, "tokens": tokens, "loss": loss})
    return pd.DataFrame(rows).assign(seed=0)


@pytest.mark.parametrize("slope", [0.02, -0.01])
def test_the_decline_by_width_is_found(slope: float) -> None:
    runs = known_declines(slope)
    runs["loss"] += 1e-4 * np.random.default_rng(0).normal(size=len(runs))
    found = decline(runs, noise=1e-4)
    assert found.slope["d_model"] == pytest.approx(slope, abs=3e-4)
    assert found.clear["d_model"]
    assert not found.clear["n_experts"]
    assert decline_numbers(found)["ol_width"].startswith(f"{slope:+.3f} ± ")


def test_a_decline_that_nothing_moves_says_so() -> None:
    names = ["one", "tokens", "d_model", "n_experts"]
    flat = Decline(pd.DataFrame(), pd.Series(0.01, names), pd.Series(0.01, names))
    assert "may stand alone" in decline_numbers(flat)["ol_why"]


def test_chance_is_the_pooled_noise_with_its_interval() -> None:
    losses = {0: (1.0, 1.1), 1: (2.0, 2.1)}
    runs = pd.DataFrame(
        {"d_model": cell, "planned": 1e6, "n_experts": 1, "seed": seed, "loss": loss}
        for cell, pair in losses.items()
        for seed, loss in enumerate(pair)
    )
    found = chance(runs)
    noise = np.sqrt((np.log(1.1) ** 2 + np.log(1.05) ** 2) / 4)
    assert (found.noise, found.freedom) == (pytest.approx(noise), 2)
    assert found.low == pytest.approx(noise * np.sqrt(2 / chi2.ppf(0.975, 2)))


def test_the_f_test_of_a_fit() -> None:
    seeds = Chance(0.01, 20, 0.0, 1.0)
    fitted: Any = SimpleNamespace(
        n_runs=13, params=dict.fromkeys("abc"), search=SimpleNamespace(objective_value=10 * 0.01**2 * 1.5)
    )
    assert misfit(fitted, seeds) == pytest.approx(f.sf(1.5, 10, 20))


def scan_of(values: dict[float, float]) -> pd.DataFrame:
    return pd.DataFrame({"value": values.keys(), "rise": values.values()})


@pytest.mark.parametrize(
    ("rises", "words", "bounded"),
    [
        ({1: 9.0, 10: 0.0, 100: 9.0}, "allow 10", True),
        ({1: 9.0, 10: 0.0, 100: 1.0}, "allow values down to 10", False),
        ({1: 1.0, 10: 0.0, 100: 1.0}, "allow all of them", False),
    ],
)
def test_what_a_scan_allows_in_words(rises: dict[float, float], words: str, bounded: bool) -> None:
    found = Saturation({"our runs": scan_of(rises)}, (1, 10, 100), most=32)
    assert (found.words(), found.bounded) == (words, bounded)


def test_the_word_for_an_interval() -> None:
    assert [word(0.1, 0.2), word(-0.2, -0.1), word(-0.1, 0.1)] == ["rises", "falls", "no clear trend"]


def test_best_models_and_what_they_gain() -> None:
    runs = pd.DataFrame(
        {"budget": 1e11, "n_experts": e, "d_model": d, "total_params": 1e6 * e * d, "seed": seed, "loss": loss}
        for e, d, seed, loss in [(1, 8, 1, 3.0), (1, 8, 2, 3.2), (1, 16, 1, 3.3), (4, 8, 1, 2.9), (4, 16, 1, 2.8)]
    )
    numbers = question.gain_numbers(question.best_models(runs))
    assert (numbers["winner"], numbers["gain"]) == (4, "0.300")
    assert question.memory_numbers(question.best_models(runs))["ratio"] == "8.0"


def test_torch_counts_the_flops_of_the_formula() -> None:
    models = pytest.importorskip("moelaws.models.transformer")
    small = ModelConfig(
        vocab_size=64, d_model=16, n_layers=1, n_heads=2, d_ff=32, n_experts=4, top_k=1, context=16
    )  # fmt: skip
    assert counts.flops_by_torch(models.Transformer(small)) == training_flops_per_token(small, "exact")


def test_laws_that_know_experts_and_tokens() -> None:
    table = laws_side_by_side.able()
    assert set(table.index) == set(LAWS)
    assert table.loc["hoffmann2022", ["experts", "tokens or budget"]].tolist() == ["no", "yes"]
    assert table.loc["clark2022", ["experts", "tokens or budget"]].tolist() == ["yes", "no"]


def test_made_runs_lie_on_their_law() -> None:
    truth = dict(E=1.7, A=400.0, B=410.0, alpha=0.34, beta=0.28)
    runs = dense_laws.made_runs(truth, sizes_per_budget=3, noise=0.0)
    size, tokens = runs["active_params"], runs["tokens"]
    assert np.allclose(runs["loss"], 1.7 + 400 / size**0.34 + 410 / tokens**0.28)
    assert np.allclose(6 * size * tokens, runs["train_flops"])
    assert len(routed_laws.made_runs(seeds=2, noise=0.0)) == 6 * 10 * 2


def test_the_parts_of_a_step_are_the_step() -> None:
    models = serving_cost.Models(1e9, (1, 4), (1, 16))
    machine = node(accelerator("a100-40gb"), 1)
    whole = serving_cost.times(models, machine).set_index(["batch", "n_experts"])["microseconds"]
    parts = serving_cost.parts(models, machine).groupby(["batch", "model"])["milliseconds"].sum()
    assert parts[16, "E = 4"] == pytest.approx(whole[16, 4] * 16 / 1e3)


def test_ranges_as_tables_write_them() -> None:
    assert [yun_verdicts.span(0.5, 0.5), yun_verdicts.span(0.25, 1.0), yun_verdicts.span(np.nan, 1.0)] == [
        "0.5", "0.25 to 1", "",
    ]  # fmt: skip
    assert yun_verdicts.flops_ratios(0.25, 0.5).iloc[0, 0] == "2.00 to 4.00"
