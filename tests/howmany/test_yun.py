"""Claims of Yun et al. 2024: the table, the verdicts, and the recomputed quantities against independent sums."""

import numpy as np
import pandas as pd
import pytest

from howmany.claims import Claim, read_claims
from howmany.verdict import Finding, judge, word_on
from howmany.verdicts import own_family
from howmany.verdicts.placebo import KINDS
from howmany.yun import QUANTITIES, Optima, findings, flops_more, flops_share, recompute, settings, verdicts
from moelaws.optimum.optimum import best_size, least_compute
from moelaws.serving.forecasters import published
from repository import ROOT

PATH = ROOT / "data/published/yun_claims.csv"
CLAIMS = {claim.key: claim for claim in read_claims(PATH)}


def claim(low: float, high: float, tolerance: float = 0.1) -> Claim:
    return Claim("k", "Sec. 1", "a claim", "flops_share", low, high, "", "within", tolerance, 1, (8,), (1e21,))


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.3, 0.4, "reproduced"),
        (0.28, 0.43, "reproduced"),  # within a tenth of the ends
        (0.35, 0.6, "not resolved"),  # some assumptions say one thing, some the other
        (0.1, 0.9, "not resolved"),
        (0.5, 0.6, "contradicted"),
    ],
)
def test_the_range_over_assumptions_is_the_interval(low, high, word):
    assert word_on(claim(0.3, 0.4), Finding("1e21", (low + high) / 2, low, high)) == word
    assert word_on(claim(0.3, 0.4), Finding("1e21", open="the law has no answer")) == "not resolved"


def test_a_contradiction_from_the_other_side_is_not_the_placebos():
    below, above = (judge(claim(0.3, 0.4), [Finding("1e21", x, x, x)]) for x in (0.1, 0.9))
    assert below.word == above.word == "contradicted"
    assert not below.beside([above]).silent
    assert below.beside([below]).silent
    assert below.beside([below]).text == "contradicted, but says nothing of sparsity"


def test_the_table_of_claims():
    assert len(CLAIMS) == 25
    assert {c.quantity for c in CLAIMS.values()} - {""} == set(QUANTITIES) | set(own_family.QUANTITIES)
    for each in CLAIMS.values():
        assert each.statement
        assert each.where
        if each.quantity:
            assert each.sign or each.low <= each.high
            assert each.placebo in KINDS, f"{each.key}: which placebo?"
        if each.quantity in QUANTITIES:
            assert each.budgets
            assert each.experts
        else:
            assert each.note, f"{each.key}: say why it cannot be recomputed"
    flops = CLAIMS["flops-16-4"]
    assert (flops.low, flops.high, flops.base_experts, flops.experts) == (0.237, 0.428, 4, (16,))


def test_a_broken_table_is_named_by_row(tmp_path):
    path = tmp_path / "claims.csv"
    lines = PATH.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1], lines[2].replace("6.14,6.14", "six,6.14")]))
    with pytest.raises(ValueError, match=r"claims.csv: row 3: could not convert string to float: 'six'"):
        read_claims(path)
    path.write_text("key,where\n")
    with pytest.raises(ValueError, match="no column 'statement'"):
        read_claims(path)


def test_flops_at_equal_loss_against_the_optimum_module():
    setting = settings(published("abnar2025"))["central"]
    forecaster = setting.optima.forecaster
    loss = best_size(forecaster, 1e21, 4, 2).loss
    assert flops_share(setting, 1e21, 4, 16) == pytest.approx(least_compute(forecaster, loss, 16, 2).train_flops / 1e21)
    # What the base needs more is the other way round: E = 16's loss at its own budget.
    loss = best_size(forecaster, 1e21, 16, 2).loss
    assert flops_more(setting, 1e21, 4, 16) == pytest.approx(
        least_compute(forecaster, loss, 4, 2).train_flops / 1e21 - 1
    )


def test_the_rough_family_has_the_notes_ratio():
    # Computed once, independently: S = .5 against .875 with everything an expert gives .344 at 5e21, .387 at 1e21.
    rough = settings(published("abnar2025"))["everything is an expert"]
    assert flops_share(rough, 1e21, 4, 16) == pytest.approx(0.387, abs=2e-3)
    assert flops_share(rough, 5e21, 4, 16) == pytest.approx(0.344, abs=2e-3)


@pytest.mark.parametrize("law", ["abnar2025", "ludziejewski2025"])
def test_the_two_algorithms_keep_their_bounds(law):
    setting = settings(published(law))["central"]
    for flops in (2.12e21, 8.18e21):
        base = setting.optimal(flops, 4)
        same_loss, same_cost = setting.same_loss(flops, 4, 16), setting.same_cost(flops, 4, 16)
        assert same_loss.allocation.loss == pytest.approx(base.allocation.loss, abs=1e-5)
        assert same_loss.serving.dollars_per_token < base.serving.dollars_per_token
        assert same_cost.serving.dollars_per_token <= base.serving.dollars_per_token * (1 + 1e-9)
        assert same_cost.allocation.loss < base.allocation.loss
        for option in (same_loss, same_cost):
            # The whole budget: 6 N D with the dense N, as Algorithm 2 has it.
            assert 6 * option.dense_params * option.allocation.tokens == pytest.approx(flops, rel=1e-9)


def test_assumptions_move_what_they_should():
    places = settings(published("abnar2025"))
    assert next(iter(places)) == "central"
    cost = {name: place.optimal(5.15e21, 8).serving.dollars_per_token for name, place in places.items()}
    for name in ("half the arithmetic", "half the bandwidth", "ten times the overheads", "cache twice as large",
                 "prompts four times as long", "at most 64 requests", "arithmetic and memory add up",
                 "20 microseconds an expert"):  # fmt: skip
        assert cost[name] > cost["central"], name
    assert cost["cache half as large"] < cost["central"]
    fewer_tokens = places["two experts' FLOPs counted"].optimal(5.15e21, 8).allocation
    assert fewer_tokens.tokens * 6 * fewer_tokens.active_params == pytest.approx(5.15e21)


def test_optima_are_solved_once():
    optima = Optima(published("abnar2025"))
    assert optima.best(1e21, 8) is optima.best(1e21, 8)
    assert len(optima.known) == 1


def test_verdicts_skip_what_cannot_be_recomputed_and_cover_the_rest():
    chosen = [CLAIMS["dense-2e21"], CLAIMS["rmsle"], CLAIMS["over-trained-16"]]
    dense, error, trained = verdicts(chosen, "abnar2025", published("abnar2025"))
    assert dense.findings[0].value == pytest.approx(3.894, abs=2e-3)
    # Dense optima are the same whatever experts do: the contradiction is about the law, not about experts.
    assert dense.text == "contradicted, but says nothing of sparsity"
    assert error.word == "not testable here"
    assert (trained.word, trained.silent, trained.by) == ("reproduced", False, "abnar2025")
    assert trained.findings[0].low < trained.findings[0].value < trained.findings[0].high < 0


def test_experts_that_do_nothing_save_no_training_and_cost_their_memory():
    blind = settings(published("ludziejewski2025"), experts=False)["central"]
    assert flops_share(blind, 1e21, 4, 16) == pytest.approx(1.0, abs=1e-6)
    few, many = blind.optimal(1e21, 4), blind.optimal(1e21, 16)
    assert many.allocation.loss == pytest.approx(few.allocation.loss, abs=1e-9)
    assert many.serving.dollars_per_token > few.serving.dollars_per_token
    # Nor can the budget buy a smaller model of the same loss than the loss-optimal one.
    assert blind.same_loss(1e21, 1, 8).dense_params == pytest.approx(blind.optimal(1e21, 1).dense_params, rel=0.01)
    assert verdicts([CLAIMS["gap-grows"]], "joint", published("ludziejewski2025"))[0].placebos[0].word != "reproduced"


def test_a_law_without_an_answer_is_not_determinable():
    setting = settings(published("abnar2025"))["central"]
    impossible = Claim("k", "", "", "flops_more", 0, 1, "", "within", 0, 1, (32,), (1e45,))
    values = recompute(impossible, setting)
    assert np.isnan(values).all()
    assert findings(impossible, {"central": setting})[0].open == "the law has no answer"


# --- runs of the paper's kind ---------------------------------------------------------------------------------------


def own_runs(gain=0.03, by_tokens=0.0, noise=0.002, seed=0):
    """Losses of a sum of powers, less a gain from experts in nats that may grow with the tokens."""
    rng, rows = np.random.default_rng(seed), []
    for width in (16, 24, 32, 48):
        for tokens in (3e5, 6e5, 1.2e6, 2.4e6):
            for n in (1, 4, 8, 16, 32):
                for repeat in (0, 1):
                    size = 30.0 * width**2
                    saved = gain * np.log2(n) * (1 + by_tokens * np.log2(tokens / 8e5))
                    loss = 1 + 30 / size**0.35 + 60 / tokens**0.3 - saved + noise * rng.normal()
                    rows.append((width, 2, tokens, tokens, n, repeat, size, size * (1 + (n - 1) / 3), loss))
    columns = ["d_model", "n_layers", "tokens", "planned", "n_experts", "seed", "dense_params", "non_embedding_params"]
    return own_family.Own("made", pd.DataFrame(rows, columns=[*columns, "loss"]), starts=4)


def judged(own, *keys):
    return {
        j.claim.key: j for j in own_family.verdicts([CLAIMS[key] for key in keys], own, own_family.placebos_of(own, 2))
    }


def test_parallel_curves_are_reproduced_and_curves_that_part_are_not():
    assert judged(own_runs(noise=1e-4), "parallel-d")["parallel-d"].text == "reproduced"
    assert judged(own_runs(by_tokens=0.4), "parallel-d")["parallel-d"].text == "contradicted"
    nothing = judged(own_runs(gain=0.0), "parallel-d")["parallel-d"]
    assert nothing.word == "not resolved"
    assert "experts gain nothing" in nothing.reason


def test_many_experts_save_compute_and_their_placebo_none():
    found = judged(own_runs(), "flops-16-4", "gain-by-n", "dense-2e21")
    share = found["flops-16-4"].findings[0]
    assert share.high < 1
    assert all(each.low < 1.05 and each.high > 0.95 for p in found["flops-16-4"].placebos for each in p.findings)
    # The gain is a constant in nats, so its share of the loss is larger for larger models.
    assert found["gain-by-n"].findings[0].low > 0
    assert found["dense-2e21"].word == "not testable here"


def test_what_lies_outside_the_runs_is_not_asked():
    own = own_runs()
    budget, cost, times = own.nearest_cost(32)
    assert times >= 1
    assert own.within_cost(budget, cost, 32) is not None
    assert own.within_cost(budget, 0.5 * cost, 32) is None
