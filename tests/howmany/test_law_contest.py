"""The contest of laws: errors that can be worked out by hand, ways to choose, the fitter's worth."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from howmany.forecasts import law_contest
from howmany.forecasts.law_contest import BY_CHANCE, LAWS, TOGETHER, WAYS, Contest
from repository import ROOT


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A part of the recorded language, small enough to be fitted here."""
    runs = pd.read_csv(ROOT / "data" / "runs" / "synthetic.csv")
    place: Path = tmp_path_factory.mktemp("runs") / "some.csv"
    runs[(runs["top_k"] == 1) & (runs["seed"] == runs["seed"].min())].to_csv(place, index=False)
    return str(place)


@pytest.fixture(scope="module")
def contest(language: str) -> Contest:
    return law_contest.contests({"some": language}, 2, ("hoffmann2022", "gadre2024", "frantar2023", "abnar2025"))[0]


def test_errors_are_of_runs_that_no_fit_had_seen(contest: Contest) -> None:
    split = contest.found.unseen[0]
    new = contest.found.runs[split.out]
    assert set(contest.errors) == {*contest.laws, TOGETHER}
    for each in contest.found.contenders:
        result = each.forecasts["budget"].result
        by_hand = np.sqrt(np.mean((np.log(np.asarray(result.predict(new))) - np.log(new["loss"])) ** 2))
        assert contest.errors[each.law.name][0] == pytest.approx(by_hand)
    assert contest.ahead == pytest.approx(3, rel=0.1)
    assert set(contest.laws) <= set(LAWS)


def test_ways_are_measured_by_the_best_law_and_chance_lies_among_the_laws(contest: Contest) -> None:
    for way in WAYS[:3]:
        assert (contest.way(way) >= 1 - 1e-9).all()
    ratios = [contest.errors[law][0] / min(contest.errors[name][0] for name in contest.laws) for law in contest.equals]
    assert min(ratios) <= contest.way(BY_CHANCE)[0] <= max(ratios)
    assert list(law_contest.ways_table([contest]).index) == list(WAYS)
    assert len(law_contest.table_of([contest])) == len(contest.laws) + 1
    assert law_contest.figure([contest]).to_dict()["title"].startswith("The law of the lowest AICc foresees best on")


def test_the_fitter_of_a_paper_is_no_better_in_the_fit(language: str, contest: Contest) -> None:
    two = law_contest.AS_PRINTED[:2]
    made = law_contest.fitters(language, 2, two)
    assert {each.law for each in made} == set(two)
    with pytest.raises(ValueError, match="'only' names none of the laws that are asked: hoffmann2022, abnar2025, yun"):
        law_contest.fitters(language, 2, ("clark2022",))
    hoffmann = next(each for each in made if each.law == "hoffmann2022")
    assert hoffmann.published >= hoffmann.fitted * 0.99
    assert [each.worth[0] for each in made] == sorted((each.worth[0] for each in made), reverse=True)
    numbers = law_contest.numbers([contest], made)
    assert numbers["wl_fitter_law"] == made[0].law
    assert len(law_contest.fitters_table(made)) == len(made)
