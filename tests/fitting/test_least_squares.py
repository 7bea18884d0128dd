"""Least squares against statsmodels, which the library itself does not load."""

import numpy as np
import pytest

from moelaws.fitting.least_squares import least_squares


def test_weights_covariance_and_left_out_residuals_are_those_of_statsmodels() -> None:
    ols = pytest.importorskip("statsmodels.api").OLS
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(30), rng.normal(size=(30, 2))])
    values = design @ [1.0, 2.0, -3.0] + 0.1 * rng.normal(size=30)
    ours, theirs = least_squares(design, values), ols(values, design).fit()
    assert ours is not None
    assert ours.weights == pytest.approx(theirs.params, rel=1e-12)
    assert ours.covariance() == pytest.approx(theirs.cov_params(), rel=1e-11)
    assert ours.variance == pytest.approx(theirs.scale, rel=1e-12)
    assert ours.freedom == theirs.df_resid
    assert ours.left_out == pytest.approx(theirs.get_influence().resid_press, rel=1e-10)


def test_columns_that_say_the_same_determine_nothing() -> None:
    x = np.arange(5.0)
    assert least_squares(np.column_stack([x, 2 * x]), x) is None
    assert least_squares(np.ones((2, 3)), np.ones(2)) is None
