"""Objectives with several valleys: an interval spans every value under the limit, whichever valley it belongs to."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from moelaws.fitting.engine.descent import find_minimum
from moelaws.fitting.engine.starts import dispersed, with_amplitudes
from moelaws.fitting.fit import fit
from moelaws.fitting.foresight import OpenDesignWarning
from moelaws.fitting.intervals.basin import valley_around
from moelaws.fitting.intervals.covariance import covariance
from moelaws.fitting.intervals.likelihood import interval_ends
from moelaws.fitting.intervals.profile import without
from moelaws.fitting.intervals.uncertainty import likelihood
from moelaws.fitting.intervals.walks import Walks
from moelaws.fitting.result import FitResult
from moelaws.laws import law


@pytest.fixture(scope="module")
def result() -> FitResult:
    """A law of ten parameters on 40 runs: its terms can change their parts."""
    found, rng = law("abnar2025"), np.random.default_rng(2)
    table = {
        "total_params": np.exp(rng.uniform(np.log(3e7), np.log(1e10), 40)),
        "tokens": np.exp(rng.uniform(np.log(1e9), np.log(3e11), 40)),
        "sparsity": rng.choice([0, 0.5, 0.75, 0.9, 0.95], 40),
    }
    table["loss"] = found.predict(found.published["table3"], table) * np.exp(0.002 * rng.standard_normal(40))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OpenDesignWarning)
        return likelihood(fit(found, table))


@pytest.mark.parametrize("name", ["alpha", "gamma", "delta"])
def test_where_a_search_from_anew_lies_under_the_limit_the_interval_reaches(result: FitResult, name: str) -> None:
    solved = result.solved
    problem, i = solved.problem, solved.problem.free.index(name)
    spread, least = covariance(problem, solved.theta, solved.groups), result.search.objective_value
    valley, _ = valley_around(problem, solved.theta, least, spread, 0.95, solved.minima)
    low, high = result.intervals[name]
    rng = np.random.default_rng(5)
    inside = 0
    for place in (-3.0, -0.5, 0.05, 0.13, 0.2, 0.4, 1.0, 4.0, 8.0):
        held = without(problem, i, place)
        rise = 2 * (find_minimum(held, dispersed(held, 96, rng), rng).value - least) / valley.limit[i]
        inside += rise < 0.97
        assert low <= place <= high or rise > 0.97, (place, rise, low, high)
    assert inside


def test_other_minima_under_the_limit_lie_inside(result: FitResult) -> None:
    solved = result.solved
    problem, least = solved.problem, result.search.objective_value
    spread = covariance(problem, solved.theta, solved.groups)
    valley, values = valley_around(problem, solved.theta, least, spread, 0.95, solved.minima)
    assert len(valley.others)
    ends = interval_ends(problem, solved.theta, least, spread, 0.95, solution=solved)
    under = valley.rises_of(values) < 1
    reach = 5e-3 * (ends.high - ends.low)
    for i in range(len(problem.free)):
        places = solved.minima[under[:, i], i]
        assert (places >= ends.low[i] - reach[i]).all()
        assert (places <= ends.high[i] + reach[i]).all()


def test_a_profile_has_the_interval_that_all_intervals_have(result: FitResult) -> None:
    # Walked anew, and as kept.
    anew = replace(result, solution=replace(result.solved))
    assert anew.profile("gamma").interval == pytest.approx(result.intervals["gamma"], rel=1e-6)
    walks = len(result.solved.walked)
    assert result.profile("gamma").interval == pytest.approx(result.intervals["gamma"], rel=1e-12)
    assert len(result.solved.walked) == walks > 0


def test_a_walk_goes_on_from_the_farthest_point_inside_and_from_a_lower_one_at_its_end() -> None:
    def walks(end: float) -> Walks:
        one = [np.array([each]) for each in (0, 1.0, -np.inf, 10.0, 0.0, 1.9, 0.9)]
        rest = [np.array([each]) for each in (2.1, 1.1, 0.1, 3, end)]
        return Walks(*one, np.array([[1.9]]), *rest, [{}])  # type: ignore[arg-type]

    far, beyond = walks(2.0), np.array([[2.001], [5.0], [7.0]])
    assert far.onward(np.array([[0.5], [0.9], [1.2]]), beyond)
    assert (far.inside[0], far.rise[0]) == (5.0, 0.9)
    assert np.isnan(far.end[0])
    near = walks(2.0)
    assert not near.onward(np.array([[0.99], [0.99]]), np.array([[2.0], [2.001]]))
    assert near.onward(np.array([[0.5]]), np.array([[2.0]]))
    bound = walks(2.0)
    assert bound.onward(np.array([[0.7]]), np.array([[10.0]]))
    assert np.isposinf(bound.end[0])


def test_a_start_whose_terms_no_number_holds_is_no_warning(result: FitResult) -> None:
    """Warnings are errors here, as they are in the book."""
    problem = result.solved.problem
    far = np.tile(result.solved.theta, (2, 1))
    far[0, problem.free.index("lambda")] = 708.5 / np.log(20)  # at S = .95 a term of 5e307, of which few make a sum
    found = with_amplitudes(problem, far, np.random.default_rng(0), but=problem.free.index("a"))
    assert np.isfinite(found).all()
