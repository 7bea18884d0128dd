"""Runs of one design point: the law is worked out once for them, and every sum over runs stays what it was."""

from dataclasses import replace

import numpy as np
import pytest

from moelaws.fitting.engine.minimise import _model
from moelaws.fitting.engine.points import order_of
from moelaws.fitting.engine.problem import bind
from moelaws.fitting.engine.starts import dispersed
from moelaws.fitting.fit import fit
from moelaws.fitting.objective import Objective
from moelaws.fitting.table import prepare
from moelaws.laws import law
from published_runs import runs_of


def replicated(name, objective, over=1.0):
    """A law on thirty design points with three runs each, their rows mixed, and weights that differ."""
    rng = np.random.default_rng(0)
    runs = runs_of(name, 30).loc[np.repeat(np.arange(30), 3)].sample(frac=1, random_state=1)
    runs["loss"] *= np.exp(0.02 * rng.standard_normal(90))
    chosen = law(name)
    prepared = prepare(chosen, runs)
    weights = rng.uniform(0.5, 2.0, 90)
    return bind(chosen, prepared.data, prepared.target, Objective(objective, 1e-3, over), weights)


@pytest.mark.parametrize("objective", ["huber-log", "lsq-log", "lsq"])
@pytest.mark.parametrize("name", ["clark2022", "abnar2025", "hoffmann2022", "frantar2023"])
def test_value_slopes_and_curvatures_are_those_of_all_runs(name, objective):
    problem = replicated(name, objective, over=2.0)
    apart = replace(problem, point=np.arange(90), programs={})
    assert (problem.points.count, apart.points.count) == (30, 90)
    theta = dispersed(problem, 16, np.random.default_rng(2))
    for weights in (problem.weights, np.random.default_rng(3).uniform(0, 2, (16, 90))):
        one, other = problem.reweighted(weights), apart.reweighted(weights)
        for kind in ("majorant", "slopes", "exact"):
            with np.errstate(all="ignore"):
                found, expected = (_model(each, theta, kind, np.arange(16)) for each in (one, other))
            for what, right in zip(found, expected, strict=True):
                np.testing.assert_allclose(what, right, rtol=1e-9, atol=1e-9 * np.abs(right[np.isfinite(right)]).max())


def test_one_weight_row_serves_all_starts():
    problem = replicated("abnar2025", "lsq-log")
    theta = dispersed(problem, 5, np.random.default_rng(2))
    value = _model(problem, theta, "majorant", np.zeros(5, dtype=int))[0]
    np.testing.assert_allclose(value, problem.value(problem.residuals(theta)), rtol=1e-12)


def test_some_of_the_runs_keep_their_points():
    problem = replicated("hoffmann2022", "lsq-log").only(np.arange(40))
    assert problem.points.count == len(np.unique(problem.point))
    assert problem.points.count < 40


def test_runs_are_sorted_by_point():
    order, point, first = order_of(np.array([2, 0, 2, 1, 0, 2]))
    assert order.tolist() == [1, 4, 3, 0, 2, 5]
    assert point.tolist() == [0, 0, 1, 2, 2, 2]
    assert first.tolist() == [0, 2, 3]
    assert order_of(np.arange(10)) is None


def test_the_order_of_the_rows_does_not_matter():
    runs = runs_of("abnar2025", 60).loc[np.repeat(np.arange(60), 2)].reset_index(drop=True)
    runs["loss"] *= np.exp(0.01 * np.random.default_rng(0).standard_normal(120))
    one, other = fit("abnar2025", runs, "lsq-log"), fit("abnar2025", runs.sample(frac=1, random_state=0), "lsq-log")
    assert one.search.objective_value == pytest.approx(other.search.objective_value, rel=1e-9)
