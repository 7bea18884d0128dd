"""Fits as the papers made them: their objective, their starts, SciPy's optimiser with its default tolerances.

What a law is credited with is often its fitter's: the same form, the same runs and another optimum.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd

from moelaws.fitting.engine.descent import FitFailed, Found
from moelaws.fitting.engine.problem import Problem, bind
from moelaws.fitting.fit import as_result
from moelaws.fitting.objective import Objective
from moelaws.fitting.result import FitResult
from moelaws.fitting.table import prepare
from moelaws.laws import Law

STARTS = 48
"""Starts of a paper's grid that are run, drawn at random where the grid has more."""
_STEP = float(np.sqrt(np.finfo(float).eps))

_LOGS = tuple(float(value) for value in np.exp([0.0, 5, 10, 15, 20, 25]))
_HALVES = (0.0, 0.5, 1.0, 1.5, 2.0)
_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
_SIGNED = (-1.0, -0.5, 0.0, 0.5, 1.0)


@dataclass(frozen=True)
class PaperFit:
    """How a paper fitted its law.

    Attributes:
        source: where it says so, or what is assumed where it does not.
        delta: threshold of the Huber loss of ln L.
        averaged: whether the terms are averaged, which lets default tolerances stop the descent early.
        method: of ``scipy.optimize.minimize``.
        grid: parameter -> starting values; parameters without any start at the middle of their range.
    """

    source: str
    delta: float = 1e-3
    averaged: bool = False
    method: Literal["L-BFGS-B", "BFGS"] = "L-BFGS-B"
    grid: Mapping[str, Sequence[float]] | None = None


USUAL = PaperFit("the usual recipe: Huber loss of ln L with threshold 0.001, L-BFGS; starts from the law's own ranges")
"""For laws whose paper does not say, or is not at hand."""

PAPER_FITS = {
    "hoffmann2022": PaperFit(
        "Hoffmann et al. 2022, App. D.2: Huber 0.001, averaged, L-BFGS from a grid of 4,500 starts",
        averaged=True,
        grid={
            "A": _LOGS, "B": _LOGS, "E": tuple(float(value) for value in np.exp(_SIGNED)), "alpha": _HALVES,
            "beta": _HALVES,
        },
    ),
    "abnar2025": PaperFit(
        "Abnar et al. 2025, Table 2: Hoffmann's recipe, summed, from a grid of 437,400 starts",
        grid={
            **{name: _LOGS[::2] for name in "abcd"}, "e": (float(np.exp(1.5)),),
            **dict.fromkeys(("alpha", "beta", "gamma"), _QUARTERS), **dict.fromkeys(("lambda", "delta"), _SIGNED),
        },
    ),
    "yun2024": PaperFit(
        "Yun et al. 2024, App. D: summed Huber 0.001, L-BFGS from a grid",
        grid={
            **dict.fromkeys(("alpha", "beta", "gamma"), _HALVES), **dict.fromkeys("ABC", _LOGS),
            "F": tuple(float(value) for value in np.exp(_SIGNED)), "d": (-0.02, -0.01, 0.0, 0.01, 0.02),
        },
    ),
    "krajewski2024": PaperFit("Krajewski et al. 2024: Huber 0.1, BFGS; its starts are not printed", 0.1, method="BFGS"),
    "ludziejewski2025": PaperFit("Ludziejewski et al. 2025: Huber 0.01; its starts are not printed", 0.01),
}  # fmt: skip


def fit_as_published(law: Law, runs: pd.DataFrame, starts: int = STARTS, seed: int = 0) -> FitResult:
    """Fit a law as its paper did.

    Args:
        law: the law; one without an entry in ``PAPER_FITS`` is fitted by the ``USUAL`` recipe.
        runs: a run table.
        starts: of the paper's grid, so many at most.
        seed: of their choice.

    Returns:
        The best end of these descents, whatever it is worth.

    Raises:
        FitError, LawError: runs that cannot be used.
        FitFailed: no start ended at finite losses.
    """
    from scipy.optimize import minimize  # not above: most of what imports this has no use for it

    began = time.perf_counter()
    recipe = PAPER_FITS.get(law.name, USUAL)
    prepared = prepare(law, runs, objective="huber-log")
    problem = bind(law, prepared.data, prepared.target, Objective("huber-log", recipe.delta))
    share = 1.0 / problem.n_runs if recipe.averaged else 1.0

    def slope(theta: np.ndarray) -> np.ndarray:
        # Forward differences, as scipy takes them where it is given no gradient, but in one call.
        step = _STEP * np.maximum(1.0, np.abs(theta))
        moved = np.concatenate([theta[None], theta + np.diag(step)])
        values = share * problem.value(problem.residuals(moved))
        with np.errstate(all="ignore"):
            return np.nan_to_num((values[1:] - values[0]) / step, nan=0.0, posinf=1e30, neginf=-1e30)

    def objective(theta: np.ndarray) -> float:
        return float(min(share * problem.value(problem.residuals(theta[None]))[0], 1e30))

    bounds = list(zip(problem.lower, problem.upper, strict=True)) if recipe.method == "L-BFGS-B" else None
    best, ends = None, []
    with np.errstate(all="ignore"):
        for start in _starts(problem, recipe, starts, seed):
            end = minimize(objective, start, jac=slope, method=recipe.method, bounds=bounds)
            theta = np.clip(end.x, problem.lower, problem.upper)
            ends.append(objective(theta))
            best = theta if best is None or ends[-1] <= min(ends) else best
    if best is None or min(ends) >= 1e30:
        raise FitFailed(f"law {law.name!r}: none of {len(ends)} published starts ended at finite losses")
    reached = int(np.sum(np.array(ends) <= min(ends) * (1 + 1e-6)))
    found = Found(best, min(ends) / share, True, reached, len(ends))
    return as_result(law, problem, prepared, found, {}, time.perf_counter() - began)


def _starts(problem: Problem, recipe: PaperFit, most: int, seed: int) -> np.ndarray:
    """Coordinates of the starts, [starts, P]."""
    rng = np.random.default_rng(seed)
    by_name = {each.name: each for each in problem.law.parameters}
    if recipe.grid is None:
        low, high = (
            problem.coordinates({name: by_name[name].start[end] for name in problem.free})[0] for end in (0, 1)
        )
        return low + (high - low) * rng.random((most, len(problem.free)))
    middle = {
        name: (float(np.sqrt(each.start[0] * each.start[1])) if each.positive else sum(each.start) / 2,)
        for name, each in by_name.items()
    }
    values = [tuple(recipe.grid.get(name, middle[name])) for name in problem.free]
    total = int(np.prod([len(each) for each in values]))
    if total <= most:
        chosen = np.array(list(product(*values)))
    else:
        chosen = np.array([[each[rng.integers(len(each))] for each in values] for _ in range(most)])
    return problem.coordinates(dict(zip(problem.free, chosen.T, strict=True)))
