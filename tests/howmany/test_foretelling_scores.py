"""Forecasts of scores: exact where the world is as they hold it to be, and verdicts that a placebo does not get."""

import json

import numpy as np
import pandas as pd
import pytest

from howmany.claims import read_claims
from howmany.neighbours import foretelling
from howmany.neighbours.forecasting import WAYS, curvature, forecasts, mean_errors, scores_of
from howmany.neighbours.words import verdicts
from howmany.verdict import Finding
from repository import ROOT

CLAIMS = ROOT / "data" / "published" / "chen_claims.csv"
BUDGETS = (1e11, 3e11, 1e12, 3e12, 1e13)


def table(score, noise: float = 0.0, probes: tuple[str, ...] = ("cloze", "facts")) -> pd.DataFrame:
    """Probes of three models a budget and number of experts; ``score`` takes the loss and the budget."""
    rng = np.random.default_rng(0)
    rows = []
    for budget in BUDGETS:
        for experts in (1, 4, 16):
            for width, worse in ((16, 1.0), (24, 1.02), (32, 1.05)):
                loss = 4 * (budget / 1e11) ** -0.2 * experts**-0.02 * worse
                about = {"run": f"{budget}-{experts}-{width}", "domain": "sotu", "budget": budget, "loss": loss,
                         "n_experts": experts, "sparsity": 1 - 1 / experts, "chance": 0.25}  # fmt: skip
                for probe in probes:
                    parts = score(loss, budget) + noise * rng.normal(size=20)
                    rows.append(about | {"probe": probe, "metric": "accuracy", "value": parts.mean(),
                                         "parts": json.dumps(parts.tolist())})  # fmt: skip
                rows.append(about | {"probe": "text", "metric": "bits/byte", "value": loss / 3, "parts": "[]"})
    return pd.DataFrame(rows)


def test_two_steps_are_exact_where_the_score_is_a_line_in_the_loss() -> None:
    scores = scores_of(table(lambda loss, _: 1.2 - 0.2 * loss))
    errors = mean_errors(forecasts(scores))
    assert errors["two steps"] == pytest.approx(0, abs=1e-9)
    assert errors["two steps, by domain"] == pytest.approx(0, abs=1e-9)
    assert errors["one step"] > 1e-3
    assert errors["no change"] > errors["one step"]
    assert set(errors) == set(WAYS)


def test_the_direct_power_law_is_exact_where_the_error_is_one() -> None:
    errors = mean_errors(forecasts(scores_of(table(lambda _, budget: 1 - 0.7 * (budget / 1e11) ** -0.1))))
    assert errors["one step, power law"] == pytest.approx(0, abs=1e-9)
    assert errors["two steps"] > 1e-3


def test_a_bend_is_seen_and_a_line_is_not_bent() -> None:
    assert curvature(scores_of(table(lambda loss, _: 0.3 + 0.1 * (4.4 - loss) ** 2, noise=0.002))) > 0.2
    assert curvature(scores_of(table(lambda loss, _: 1.2 - 0.2 * loss, noise=0.05))) < 0.05


def test_probes_at_guessing_are_left_out() -> None:
    with pytest.raises(ValueError, match="need at least one array"):
        scores_of(table(lambda loss, _: 0.27))


def test_verdicts_of_a_world_of_two_steps_and_of_its_placebos() -> None:
    probes = table(lambda loss, _: 1.2 - 0.2 * loss, noise=0.003)
    found = foretelling.foretell(probes, 60, 0)
    made = {v.claim.key: v for v in foretelling.judged(found, probes, str(CLAIMS), 4, 20)}
    assert made["two-step-wins"].word == "reproduced"
    assert not made["two-step-wins"].silent
    assert made["direct-power-law"].word == "contradicted"
    assert made["within-10"].word == "reproduced"
    assert made["mid-run-ok"].word == "not testable here"
    assert len(made["linear"].placebos) == 4
    assert set(foretelling.numbers(found, list(made.values()))) >= {"ft_two", "ft_word_two"}


def test_a_word_that_a_placebo_gets_says_nothing() -> None:
    yes, no = [Finding("", -1, -2, -0.5)], [Finding("", 1, 0.5, 2)]
    names = {claim.quantity for claim in read_claims(CLAIMS) if claim.quantity}
    found = dict.fromkeys(names, yes)
    quiet = {v.claim.key: v for v in verdicts(CLAIMS, found, "test", [found, found, dict.fromkeys(names, no)])}
    assert quiet["two-step-wins"].silent
    assert "says nothing" in quiet["two-step-wins"].text
    assert quiet["two-step-wins"].asked_placebo == "placebo 2 of 3"
    loud = {v.claim.key: v for v in verdicts(CLAIMS, found, "test", [dict.fromkeys(names, no)] * 4)}
    assert (loud["two-step-wins"].text, loud["two-step-wins"].asked_placebo) == ("reproduced", "placebo 0 of 4")
    with pytest.raises(ValueError, match="claim 'two-step-wins': no quantity 'two_step_gain'"):
        verdicts(CLAIMS, {}, "test")
