"""Claims of Yun et al. 2024: the table, the verdicts, and the recomputed quantities against independent sums."""

import numpy as np
import pytest

from howmany.yun import QUANTITIES, Optima, flops_more, flops_share, recompute, settings, verdicts
from howmany.yun_claims import Claim, judge, read_claims, word_on
from moelaws.optimum.optimum import best_size, least_compute
from moelaws.serving.forecasters import published
from repository import ROOT

PATH = ROOT / "data/published/yun_claims.csv"
CLAIMS = {claim.key: claim for claim in read_claims(PATH)}


def claim(low: float, high: float, tolerance: float = 0.1) -> Claim:
    return Claim("k", "Sec. 1", "a claim", "flops_share", low, high, "", "within", tolerance, 1, (8,), (1e21,))


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ([0.3, 0.4], "reproduced"),
        ([0.28, 0.43], "reproduced"),  # within a tenth of the ends
        ([0.35, 0.6], "partly"),
        ([0.1, 0.9], "partly"),
        ([0.5, 0.6], "contradicted"),
        ([0.35, np.nan], "not determinable"),
        ([], "not determinable"),
    ],
)
def test_words(values, word):
    assert word_on(claim(0.3, 0.4), np.array(values)) == word


def test_no_tolerance_for_a_yes_or_a_no():
    assert word_on(claim(0, 1, 0.0), np.array([1.01])) == "contradicted"
    assert word_on(claim(-1, 0, 0.0), np.array([-0.01])) == "reproduced"


def test_a_verdict_carries_its_sensitivity():
    found = judge(claim(0.3, 0.4), "a law", {"central": np.array([0.32]), "x": np.array([0.9]), "y": np.array([0.31])})
    assert (found.word, found.low, found.high) == ("reproduced", 0.32, 0.32)
    assert (found.least, found.most) == (0.31, 0.9)
    assert found.agree == pytest.approx(2 / 3)


def test_the_table_of_claims():
    assert len(CLAIMS) == 22
    assert {c.quantity for c in CLAIMS.values()} - {""} == set(QUANTITIES)
    for each in CLAIMS.values():
        assert each.statement
        assert each.where
        if each.quantity:
            assert each.low <= each.high
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
    found = verdicts(chosen, "abnar2025", published("abnar2025"))
    assert [v.claim.key for v in found] == ["dense-2e21", "over-trained-16"]
    assert found[0].low == pytest.approx(3.894, abs=2e-3)
    assert found[0].word == "contradicted"
    assert found[1].word == "reproduced"
    assert found[1].agree == 1


def test_a_law_without_an_answer_is_not_determinable():
    setting = settings(published("abnar2025"))["central"]
    impossible = Claim("k", "", "", "flops_more", 0, 1, "", "within", 0, 1, (32,), (1e45,))
    values = recompute(impossible, setting)
    assert word_on(impossible, values) == "not determinable"
