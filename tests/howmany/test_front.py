"""The front page and the page of verdicts: findings against runs that were made to show them, quotations, pictures."""

import re
from functools import cache

import numpy as np
import pandas as pd
import pytest

from bookbuild.pages.toc import read_toc
from howmany.front import findings, pictures
from howmany.measured.own_law import kept
from howmany.serving import wall_clock
from howmany.study import Study, study_of_runs
from moelaws.runs import finished, read_runs
from repository import ROOT

QUOTED = re.compile(r"\{glue:text\}`((?:\w+/)+\w+):(\w+)`")
BUDGETS = (1e11, 1e12, 1e13)


@pytest.fixture(scope="module")
def made() -> Study:
    """The recorded runs with losses of which 1, 4 and 16 experts are best at the three budgets."""
    runs = finished(read_runs(ROOT / "data" / "runs" / "isoflop.csv"))
    runs = runs[runs["budget"].isin(BUDGETS)]
    rng = np.random.default_rng(0)
    log_e, decade = np.log2(runs["n_experts"]), np.log10(runs["budget"]) - 12
    best = 2.0 + 2.0 * decade  # log2 of the best number of experts: 1, 4, 16
    n_best = 11 + 0.5 * np.log(10) * decade
    bowl = 0.05 * (np.log(runs["active_params"]) - n_best) ** 2
    loss = 4 - 0.3 * np.log(10) * decade + 0.02 * ((log_e - best) ** 2 - best**2) + bowl
    return study_of_runs("made", runs.assign(loss=loss + 0.002 * rng.standard_normal(len(runs))), bootstrap=60)


def test_the_best_number_of_experts_is_found_with_an_interval_that_holds_it(made: Study) -> None:
    found = findings.best_experts(made)
    assert (found.numbers["fr_first_best"], found.numbers["fr_last_best"]) == ("1", "16")
    assert found.numbers["fr_first_range"].startswith("[1 to ")
    marked = found.table.dropna(subset="low")
    assert list(marked["budget"]) == list(BUDGETS)
    assert (marked["low"] <= marked["n_experts"]).all()
    assert (marked["n_experts"] <= marked["high"]).all()


def test_a_multiplier_is_the_distance_between_equal_losses(made: Study) -> None:
    """At 1e13 the gain of 64 experts is 0.02 (4^2 - 2^2) = 0.24 nats, which their losses cross in ln C."""
    found = findings.same_loss(made)
    losses = found.table.pivot_table(index="budget", columns="n_experts", values="loss")
    gap = losses.loc[1e13, 1] - losses.loc[1e13, 64]
    slope = (losses.loc[1e12, 64] - losses.loc[1e13, 64]) / np.log(10)
    assert gap == pytest.approx(0.24, abs=0.02)
    assert float(found.numbers["fr_worth"]) == pytest.approx(np.exp(gap / slope), rel=0.01)
    low, high = map(float, re.findall(r"[\d.]+", found.numbers["fr_worth_range"]))
    assert low <= float(found.numbers["fr_worth"]) <= high


@pytest.mark.timeout(300)
def test_recorded_runs_give_every_finding_and_its_picture() -> None:
    runs = kept(read_runs(ROOT / "data" / "runs" / "isoflop.csv"))
    study = study_of_runs("text", runs, bootstrap=40)
    finer = finished(read_runs(ROOT / "data" / "runs" / "finer.csv"))
    steps = wall_clock.table_of_steps(str(ROOT / "data" / "timings" / "training_steps.csv"))
    course = wall_clock.Course("H200", str(ROOT / "data" / "runs" / "packages.csv"), "h200", (1e14, 1e15), (24, 480))
    found = {
        "in_seconds": findings.in_seconds(wall_clock.tracks([course], steps, 3, 4)[0]),
        "best_experts": findings.best_experts(study),
        "same_loss": findings.same_loss(study),
        "foreseen": findings.foreseen(study, runs, starts=2),
        "finer": findings.finer(pd.concat([finer, runs])),
        "served": findings.served(5.15e21, 4, 16),
    }
    for name, each in found.items():
        spec = getattr(pictures, name)(each).to_dict()
        assert len(spec["description"]) > 80, name
        assert spec["datasets"], name
    said = {key: value for each in found.values() for key, value in each.numbers.items()}
    used = re.findall(r"\{glue:text\}`(fr_\w+)`", (ROOT / "index.md").read_text(encoding="utf-8"))
    assert {key for key in used if key not in ("fr_runs", "fr_recorded")} <= said.keys()
    assert sum(bool(re.fullmatch(r"\[[\d.]+ to [\d.]+\]", value)) for value in said.values()) >= 4


@pytest.mark.parametrize(
    "page", [name for name in read_toc(ROOT) if "{glue:text}" in (ROOT / f"{name}.md").read_text()]
)
def test_what_a_page_quotes_of_another_is_glued_there(page: str) -> None:
    for other, key in QUOTED.findall((ROOT / f"{page}.md").read_text(encoding="utf-8")):
        assert "glue(" in (ROOT / f"{other}.md").read_text(encoding="utf-8"), f"{other} glues nothing"
        assert _is_made(key), f"{page} quotes {key} of {other}, which nothing makes"


def _is_made(key: str) -> bool:
    return any(pattern.fullmatch(key) for pattern in _made_keys())


@cache
def _made_keys() -> list[re.Pattern[str]]:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "lib" / "howmany").glob("**/*.py"))
    texts = set(re.findall(r'"((?:\w|\{[^{}]*\})+)"', sources)) - {"{}"}
    return [re.compile(re.sub(r"\{[^{}]*\}", r"\\w+", text)) for text in texts]
