"""Verdicts on Abnar et al. 2025: studies whose truth is known get the words that the truth deserves."""

import json

import numpy as np
import pandas as pd
import pytest

from howmany.abnar import QUANTITIES, loss_slopes, verdicts
from howmany.claims import Claim, read_claims
from howmany.figures.optima_by_experts import loss_change, loss_change_by_experts
from howmany.figures.verdict_words import (
    SILENT,
    WORDS,
    slope_by_budget,
    slope_table,
    verdict_grid,
    verdict_points,
    verdict_sums,
)
from howmany.study import Study, seed_variance, study_of_law, study_of_runs
from howmany.verdict import Judged
from howmany.verdicts.placebo import KINDS, dense_runs, noise_by_experts, placebo_probe_studies, placebo_studies
from moelaws.fitting.fit import fit
from moelaws.laws import law
from moelaws.surfaces.polynomial import SurfaceError
from repository import ROOT

CLAIMS = read_claims(ROOT / "data/published/abnar_claims.csv")
BUDGETS = (1e11, 1e12, 1e13)
EXPERTS = (1, 2, 4, 8, 16)
KRAJEWSKI = read_claims(ROOT / "data/published/krajewski_claims.csv")
QUICK = [claim for claim in CLAIMS if not claim.quantity.startswith("law_")]


def table(
    shrink: float = 0.1, gain: float = 0.02, more: float = 0.0, growth: float = 0.4, off: float = 0.0,
    noise: float = 1e-3, seeds: int = 2,
) -> pd.DataFrame:  # fmt: skip
    """Runs of a surface that is a polynomial of the paper's kind at every budget.

    Per unit of -ln(1 - S), ln N_a* falls by ``shrink`` and L* by ``gain`` + ``more`` per decade of budget; ln N_a*
    rises by ``growth`` per unit of ln C; ``off`` moves the sizes away from the optimum.
    """
    rng = np.random.default_rng(0)
    rows = []
    for budget in BUDGETS:
        decades = np.log10(budget / 1e12)
        for n_experts in EXPERTS:
            s_hat = np.log(n_experts)
            best = 11 + growth * decades * np.log(10) - shrink * s_hat
            for log_n in best + off + np.linspace(-1.2, 1.2, 7):
                for seed in range(seeds):
                    loss = 4 - 0.3 * decades + 0.1 * (log_n - best) ** 2 - (gain + more * decades) * s_hat
                    rows.append((budget, n_experts, np.exp(log_n), seed, loss + noise * rng.normal()))
    runs = pd.DataFrame(rows, columns=["budget", "n_experts", "active_params", "seed", "loss"])
    return runs.assign(
        sparsity=1 - 1 / runs["n_experts"], total_params=runs["active_params"] * runs["n_experts"], top_k=1,
        train_flops=runs["budget"], tokens=runs["budget"] / (6 * runs["active_params"]), status="finished",
    )  # fmt: skip


def words(study: Study) -> dict[str, str]:
    """The word on each claim but those on the law, which take seconds to fit."""
    return {judged.claim.key: judged.word for judged in verdicts(QUICK, study)}


@pytest.fixture(scope="module")
def as_claimed() -> Study:
    return study_of_runs("as claimed", table(), bootstrap=100)


@pytest.fixture(scope="module")
def found_as_claimed(as_claimed: Study) -> list[Judged]:
    return verdicts(QUICK, as_claimed)


@pytest.fixture(scope="module")
def by_law() -> list[Judged]:
    """What the paper's own law says of every claim."""
    return verdicts(CLAIMS, study_of_law())


def test_a_sum_of_verdicts_counts_each_claim_once(found_as_claimed: list[Judged]) -> None:
    first = next(each for each in found_as_claimed if each.word == "reproduced")
    blind = [each.beside([each]) if each is first else each for each in found_as_claimed]
    spec = verdict_sums({"as claimed": found_as_claimed, "blind": blind}, "Title", "Words").to_dict()
    (rows,) = spec["datasets"].values()
    for study, said in (("as claimed", found_as_claimed), ("blind", blind)):
        bars = sorted((row for row in rows if row["study"] == study), key=lambda row: row["start"])
        assert sum(row["claims"] for row in bars) == len(said)
        assert [row["start"] for row in bars[1:]] == [row["end"] for row in bars[:-1]]
    assert {row["word"]: row["claims"] for row in rows if row["study"] == "blind"}[SILENT] == 1
    assert SILENT not in {row["word"] for row in rows if row["study"] == "as claimed"}


def test_claims_that_hold_are_reproduced(found_as_claimed: list[Judged]) -> None:
    found = {judged.claim.key: judged.word for judged in found_as_claimed}
    for key in (
        "n-by-s", "na-by-s", "n-by-s-parabola", "na-by-s-parabola", "loss-by-s", "s-to-one", "slope-by-c", "s-by-n",
        "s-above-n", "s-by-c", "n-by-c", "na-by-c", "na-faster-absolute", "mse-1e-4", "multiplier",
    ):  # fmt: skip
        assert found[key] == "reproduced", key
    # The other half of each contradiction in the paper.
    assert found["s-by-c-discussion"] == "contradicted"
    assert found["na-by-c-intro"] == "contradicted"
    # N_a* falls by the same share at every budget, and models of 5e8 parameters are not there.
    assert found["na-faster-relative"] == "not resolved"
    assert found["dense-5e8"] == "not testable here"


def test_intervals_hold_the_truth(as_claimed: Study) -> None:
    (slope,) = QUANTITIES["loss_slope_by_budget"](as_claimed, 0)
    assert slope.low < 0 < slope.high
    # A gain of .02 ln E where dense models fall by .3 nats a decade.
    for found in QUANTITIES["multiplier"](as_claimed, +1):
        assert found.low < 0.02 * np.log(16) / 0.3 * np.log(10) < found.high
    for _, values in loss_slopes(as_claimed):
        assert values[0] == pytest.approx(-0.02 * np.log(2), abs=1e-3)
    for found in QUANTITIES["best_active"](as_claimed, -1):
        assert found.low < -0.1 * np.log(16) < found.high
    for found in QUANTITIES["best_total"](as_claimed, +1):
        assert found.low < 0.9 * np.log(16) < found.high
    # S* at equal N: -ln(1 - S*) moves by -growth ln C / (1 - shrink).
    for found in QUANTITIES["best_sparsity_by_budget"](as_claimed, -1):
        assert found.value == pytest.approx(-0.4 * np.log(10) / 0.9, abs=0.1)
    for found in QUANTITIES["dense_threshold"](as_claimed, +1):
        assert found.value == pytest.approx(0.4 * np.log(10), abs=0.25)
    for found in QUANTITIES["active_by_budget"](as_claimed, +1):
        assert found.value == pytest.approx(0.4, abs=0.03)


def test_claims_that_fail_are_contradicted() -> None:
    found = words(study_of_runs("otherwise", table(shrink=-0.1, gain=-0.02, more=0.01, growth=-0.3), bootstrap=100))
    for key in ("na-by-s", "na-by-s-parabola", "loss-by-s", "s-to-one", "n-by-c", "na-by-c", "s-by-c"):
        assert found[key] == "contradicted", key
    assert found["na-by-c-intro"] == "reproduced"
    assert found["s-by-c-discussion"] == "reproduced"
    assert found["slope-by-c"] == "not resolved"  # where sparsity costs, no gain can stay
    growing = words(study_of_runs("growing", table(gain=0.02, more=0.015), bootstrap=100))
    assert growing["slope-by-c"] == "contradicted"


def test_what_noise_hides_is_not_resolved() -> None:
    found = words(study_of_runs("noisy", table(noise=0.2), bootstrap=100))
    for key in ("na-by-s", "loss-by-s", "s-to-one", "slope-by-c", "na-faster-absolute", "na-faster-relative"):
        assert found[key] == "not resolved", key


def test_an_optimum_at_an_edge_is_no_evidence() -> None:
    judged = {j.claim.key: j for j in verdicts(QUICK, study_of_runs("edge", table(off=1.6), bootstrap=100))}
    for key in ("na-by-s", "loss-by-s", "n-by-c", "na-by-s-parabola"):
        assert judged[key].word == "not resolved", key
        assert "edge of the sizes" in judged[key].reason, key


def test_a_true_law_foresees_the_sparsity_held_out_better_than_one_without_sparsity() -> None:
    abnar, runs = law("abnar2025"), table(seeds=1)
    noise = 1 + 1e-3 * np.random.default_rng(0).normal(size=len(runs))
    true = runs.assign(loss=abnar.predict(dict(abnar.published["table3"]), runs) * noise)
    study = Study("true", true, {}, (), {}, ())
    assert study.unseen["n_experts"].unique().tolist() == [16]
    assert set(study.seen["n_experts"]) == {1, 2, 4, 8}
    (skill,) = QUANTITIES["law_skill"](study, 0)
    assert skill.high < -0.5
    # At the highest sparsity alone something else is true: the loss of a dense model of that active size.
    blind = fit("hoffmann2022", study.seen)
    false = true.assign(loss=true["loss"].where(true["n_experts"] < 16, blind.predict(true) * noise))
    assert QUANTITIES["law_skill"](Study("false", false, {}, (), {}, ()), 0)[0].low > 0.5


def test_the_degree_is_chosen_without_the_points_it_is_asked_for() -> None:
    # Losses that are a polynomial of degree (2, 1, 0) in N_a: (2, 2, 2) is hardly worse; bent twice more, it is.
    study = study_of_runs("simple", table(shrink=0.0, noise=1e-2), bootstrap=20)
    for found in QUANTITIES["surface_degree"](study, 0):
        assert found.low < np.log(1.3)
    bent = table(noise=1e-3).assign(
        loss=lambda t: t["loss"] + 0.1 * (np.log(t["active_params"]) - np.log(t["active_params"]).mean()) ** 4
    )
    found = QUANTITIES["surface_degree"](study_of_runs("bent", bent, bootstrap=20), 0)
    assert any(each.low > np.log(1.05) for each in found)


def test_the_error_of_a_surface_holds_the_noise_and_can_fail() -> None:
    # Noise of 0.03 is a variance of 9e-4, nine times the paper's error.
    noisy = QUANTITIES["surface_error"](study_of_runs("noisy", table(noise=0.03, seeds=4), bootstrap=20), 0)
    assert all(each.low > 1e-4 for each in noisy)
    quiet = QUANTITIES["surface_error"](study_of_runs("quiet", table(noise=1e-3), bootstrap=20), 0)
    assert all(each.high < 1e-4 for each in quiet)


# --- placebos ---------------------------------------------------------------------------------------------------------


def test_noise_is_known_by_the_number_of_experts() -> None:
    rng = np.random.default_rng(0)
    runs = table(noise=0.0, seeds=8)
    runs["loss"] += rng.normal(size=len(runs)) * np.where(runs["n_experts"] > 2, 0.02, 0.01)
    found = noise_by_experts(runs)["noise"]
    assert found[1] == pytest.approx(0.01, rel=0.15)
    assert found[16] == pytest.approx(0.02, rel=0.15)
    few = noise_by_experts(runs[(runs["seed"] < 2) & (runs["budget"] == 1e12)].query("n_experts > 1 or seed == 0"))
    assert few.loc[1, "freedom"] == 0
    assert few.loc[1, "noise"] == pytest.approx(0.018, rel=0.4)  # that of all together


def test_the_placebo_has_the_dense_curve_and_no_sparsity() -> None:
    runs = table(noise=1e-3)
    made = dense_runs(runs, seed=1)
    assert made.drop(columns="loss").equals(runs.drop(columns="loss"))
    dense = made["n_experts"] == 1
    assert (made["loss"] - runs["loss"])[dense].abs().max() < 6e-3
    for _, budget in made.groupby("budget"):
        sparse, least = budget[budget["n_experts"] == 16], budget[budget["n_experts"] == 1]
        assert abs(sparse["loss"].min() - least["loss"].min()) < 5e-3
    assert dense_runs(runs, seed=1)["loss"].equals(made["loss"])
    assert not dense_runs(runs, seed=2)["loss"].equals(made["loss"])


def test_a_placebo_reproduces_what_says_nothing_of_sparsity_and_not_the_rest(as_claimed: Study) -> None:
    keys = ("na-by-s", "loss-by-s", "s-to-one", "multiplier", "slope-by-c", "n-by-s", "na-by-c", "s-by-n", "s-by-c")
    found = {
        j.claim.key: j
        for j in verdicts([c for c in CLAIMS if c.key in keys], as_claimed, placebo_studies(as_claimed, 4, 60))
    }
    for key in ("na-by-s", "loss-by-s", "s-to-one", "multiplier", "slope-by-c"):
        assert found[key].text == "reproduced", key
        assert found[key].asked_placebo in ("placebo 0 of 4", "placebo 1 of 4"), key
    for key in ("n-by-s", "na-by-c", "s-by-n", "s-by-c"):
        assert found[key].text == "reproduced, but says nothing of sparsity", key


def test_the_papers_law_without_experts_says_what_is_no_finding_on_experts() -> None:
    blind = {"dense curve": [study_of_law(experts=False)]}
    found = {j.claim.key: j for j in verdicts(CLAIMS, study_of_law(), blind)}
    assert all(each.value == pytest.approx(0, abs=1e-6) for each in found["loss-by-s"].placebos[0].findings)
    assert {key for key in ("na-by-s", "loss-by-s", "s-to-one") if found[key].silent} == set()
    assert {key for key in ("n-by-s", "n-by-c", "na-by-c", "s-by-c") if not found[key].silent} == set()


def test_an_effect_that_is_put_in_is_found_and_one_taken_out_is_not() -> None:
    study = Study("probed", pd.DataFrame(), {}, (), {}, (), probes(0.0, 0.4))
    asked = [c for c in CLAIMS if c.key.startswith("downstream")]
    found = {j.claim.key: j for j in verdicts(asked, study, placebo_probe_studies(study, 3))}
    assert [each.word for each in found["downstream-s"].placebos] == ["contradicted"] * 3
    assert "reproduced" not in [each.word for each in found["downstream-reading"].placebos]
    assert found["downstream-s"].text == found["downstream-reading"].text == "reproduced"


def test_every_claim_that_is_asked_names_its_placebo() -> None:
    assert {c.key for c in [*CLAIMS, *KRAJEWSKI] if c.quantity and c.placebo not in KINDS} == set()


def test_a_budget_under_way_is_left_out_and_named() -> None:
    runs = table()
    under_way = runs[(runs["budget"] < 1e13) | (runs["n_experts"] <= 2)]
    study = study_of_runs("under way", under_way, bootstrap=20)
    assert [each.budget for each in study.landscapes] == [1e11, 1e12]
    assert study.left_out == {1e13: "2 of the sparsities so far, expected three or more"}
    with pytest.raises(SurfaceError, match=r"none: no budget has a surface \(1e\+11 FLOPs: 1 of the sparsities"):
        study_of_runs("none", runs[(runs["budget"] == 1e11) & (runs["n_experts"] == 1)])
    with pytest.raises(SurfaceError, match=r"none: no budget has a surface \(no finished runs with K = 1, G = 1\)"):
        study_of_runs("none", runs[runs["n_experts"] > 1].assign(top_k=2))


def test_held_out_budgets_are_kept_from_the_law() -> None:
    study = study_of_runs("held out", table(), bootstrap=20, held_out=(1e13,))
    assert set(study.seen["budget"]) == set(study.unseen["budget"]) == {1e11, 1e12}
    assert len(study.landscapes) == 3


def test_one_budget_leaves_comparisons_of_budgets_open() -> None:
    study = study_of_runs("one", table().query("budget == 1e12"), bootstrap=100)
    found = words(study)
    assert found["slope-by-c"] == found["n-by-c"] == found["s-by-c"] == "not testable here"
    assert found["na-by-s"] == "reproduced"


def test_the_papers_law_contradicts_its_text_where_it_is_known_to(by_law: list[Judged]) -> None:
    found = {j.claim.key: j for j in by_law}
    assert {key for key, judged in found.items() if judged.word == "contradicted"} == {
        "slope-by-c", "s-by-c-discussion", "na-by-c-intro", "na-faster-relative", "dense-5e8", "multiplier-8",
        "multiplier-32",
    }  # fmt: skip
    # N_a*(.98) / N_a*(0), recomputed by hand: 0.46, 0.53 and 0.68 at 3e19, 1e20 and 1e21.
    ratios = {each.where: np.exp(each.value) for each in found["na-by-s"].findings}
    assert [ratios[c] for c in ("3e19", "1e20", "1e21")] == pytest.approx([0.46, 0.53, 0.68], abs=0.005)
    at_5e8 = {each.where: each.value for each in found["dense-5e8"].findings}
    assert [at_5e8[c] for c in ("3e19", "1e20", "1e21")] == pytest.approx([0.88, 0.77, 0.36], abs=0.03)


def probes(effect: float, reading: float) -> pd.DataFrame:
    """Answers and gains of 30 models; at equal loss the sparsest ones score lower by these."""
    rng = np.random.default_rng(0)
    rows = []
    for run in range(30):
        sparsity, loss = float(rng.choice([0.0, 0.5, 0.75, 0.875])), float(rng.uniform(3.6, 4.4))
        for name, metric, cost in (
            ("cloze", "accuracy", effect),
            ("facts", "accuracy", effect),
            ("mention", "nats", reading),
        ):
            value = 1.5 - 0.2 * loss - 0.2 * cost * -np.log1p(-sparsity) / np.log(8) + rng.normal(scale=1e-3)
            parts = json.dumps((value + rng.normal(scale=1e-3, size=8)).tolist())
            level = 0.25 if metric == "accuracy" else 0.0
            rows.append(
                (str(run), name, "sotu", metric, value, level, parts, loss, sparsity, round(1 / (1 - sparsity)))
            )
    columns = ["run", "probe", "domain", "metric", "value", "chance", "parts", "loss", "sparsity", "n_experts"]
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.parametrize(
    ("effect", "reading", "words_"),
    [
        (0.0, 0.4, ("reproduced", "reproduced")),
        (0.4, -0.4, ("contradicted", "contradicted")),
        (0.0, 0.0, ("reproduced", "not resolved")),
    ],
)
def test_probes_are_compared_at_equal_loss(effect: float, reading: float, words_: tuple[str, str]) -> None:
    study = Study("probed", pd.DataFrame(), {}, (), {}, (), probes(effect, reading))
    found = {j.claim.key: j for j in verdicts([c for c in CLAIMS if c.key.startswith("downstream")], study)}
    assert (found["downstream-s"].word, found["downstream-reading"].word) == words_
    assert found["downstream-s"].findings[0].value == pytest.approx(effect, abs=0.02)
    assert found["downstream-reading"].findings[0].value == pytest.approx(reading, abs=0.02)


def test_without_probes_tasks_are_not_testable(found_as_claimed: list[Judged]) -> None:
    found = {j.claim.key: j for j in found_as_claimed}
    assert found["downstream-s"].word == found["downstream-reading"].word == "not testable here"
    assert found["downstream-s"].reason.startswith("needs probes")
    few = Study("few", pd.DataFrame(), {}, (), {}, (), probes(0, 0).head(9))
    assert "at least eight models" in QUANTITIES["knowing_penalty"](few, 0)[0].open


def test_charts_hold_every_finding(as_claimed: Study, found_as_claimed: list[Judged], by_law: list[Judged]) -> None:
    judged = {as_claimed.name: found_as_claimed, study_of_law().name: by_law}
    points = verdict_points(judged)
    assert len(points) == sum(len(j.findings) for found in judged.values() for j in found)
    assert set(points["word"]) <= set(WORDS)
    spec = verdict_grid(points, "title", "alt text").to_dict()
    assert (spec["title"], spec["description"]) == ("title", "alt text")
    assert sum(len(rows) for rows in spec["datasets"].values()) == len(points)
    change = pd.concat(loss_change(each) for each in as_claimed.landscapes)
    assert len(change) == len(BUDGETS) * len(EXPERTS)
    last = change[change["n_experts"].round() == 16]
    assert (last["loss_low"] < -0.02 * np.log(16)).all()
    assert (last["loss_high"] > -0.02 * np.log(16)).all()
    assert loss_change_by_experts(change, "t", "d").to_dict()["width"] == "container"
    slopes = pd.concat(slope_table(study.name, loss_slopes(study)) for study in (as_claimed, study_of_law()))
    assert len(slopes) == len(BUDGETS) + 5
    assert (slopes["low"] <= slopes["slope"]).all()
    assert (slopes["slope"] <= slopes["high"]).all()
    assert (slopes["low"] == slopes["high"]).sum() == 5  # the law has no refits
    assert len(next(iter(slope_by_budget(slopes, "t", "d").to_dict()["datasets"].values()))) == len(slopes)


def test_every_claim_has_a_quantity_or_a_reason() -> None:
    assert len(CLAIMS) >= 25
    for claim in CLAIMS:
        assert claim.where, claim.key
        assert claim.statement, claim.key
        if claim.quantity:
            assert claim.quantity in QUANTITIES, claim.key
            assert claim.direction, claim.key
        else:
            assert claim.note, claim.key
        if claim.direction in ("within", "unchanged"):
            assert claim.low <= claim.high, claim.key
    assert {claim.quantity for claim in [*CLAIMS, *KRAJEWSKI]} - {""} == set(QUANTITIES)


def test_an_unknown_quantity_is_named(as_claimed: Study) -> None:
    wrong = Claim("k", "w", "s", "best_guess", np.nan, np.nan, "", "rises")
    with pytest.raises(ValueError, match="claim 'k': no quantity 'best_guess'; there are best_total"):
        verdicts([wrong], as_claimed)


def test_the_variance_between_seeds_is_pooled() -> None:
    runs = pd.DataFrame(
        {"budget": 1e11, "total_params": [1, 1, 2, 2, 2, 3], "sparsity": 0.0, "loss": [1.0, 3.0, 5.0, 5.0, 8.0, 9.0]}
    )
    (row,) = seed_variance(runs).to_dict("records")
    # Sums of squares 2 and 6 over 1 + 2 degrees of freedom.
    assert {name: row[name] for name in ("budget", "points", "freedom")} == {"budget": 1e11, "points": 2, "freedom": 3}
    assert row["variance"] == pytest.approx(8 / 3)
    # Chi squared with 3 degrees of freedom: 0.2158 and 9.3484 enclose 95 %.
    assert (row["low"], row["high"]) == pytest.approx((8 / 9.3484, 8 / 0.2158), rel=1e-3)
    alone = seed_variance(runs.query("total_params == 3"))
    assert alone["points"].tolist() == [0]
    assert alone["variance"].isna().all()
