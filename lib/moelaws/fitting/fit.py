"""Fitting a law to a run table: to the true optimum, with a status, in a fraction of a second."""

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from moelaws.fitting.engine.descent import FitFailed, Found, find_minimum
from moelaws.fitting.engine.problem import Problem, bind
from moelaws.fitting.engine.starts import dispersed, grid
from moelaws.fitting.foresight import OpenDesignWarning, foreseen
from moelaws.fitting.intervals.covariance import covariance
from moelaws.fitting.intervals.groups import Groups
from moelaws.fitting.intervals.identifiability import at_bound, pinned_down, quick_ends, status_of
from moelaws.fitting.intervals.uncertainty import likelihood
from moelaws.fitting.objective import FitError, Objective, ObjectiveName
from moelaws.fitting.quality import quality
from moelaws.fitting.result import FitResult
from moelaws.fitting.result_parts import LEVEL, Origin, Search, Solution, Uncertainty
from moelaws.fitting.table import Prepared, prepare
from moelaws.laws import law as law_named
from moelaws.laws.forms import Law
from moelaws.quote import number_of
from moelaws.runs import derive
from moelaws.runs.numbers import as_numbers
from moelaws.stages import stage

Starts = int | Mapping[str, Sequence[float]] | np.ndarray | None


def fit(
    law: Law | str,
    runs: Any,
    objective: ObjectiveName = "huber-log",
    delta: float = 1e-3,
    weights: np.ndarray | str | None = None,
    fixed: Mapping[str, float] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    starts: Starts = None,
    seed: int = 0,
    over: float = 1.0,
    intervals: float | None = None,
    clusters: Any | None = None,
) -> FitResult:
    """Fit a law to runs.

    Many dispersed starts descend at once; the best distinct minima are followed to the end with exact second
    derivatives; the best one is then shaken, along the directions the runs leave most open, until nothing better
    turns up. A Huber objective is first fitted with a wide delta, which has fewer local minima.

    Args:
        law: a law, or the name of one.
        runs: a run table, or a mapping of columns to arrays. Runs that did not finish are left out.
        objective: ``huber-log``, ``lsq-log`` or ``lsq``; sums, never means.
        delta: the Huber loss's threshold, in units of ln L.
        weights: weight of each run, or the column that holds it, such as one over the variance between seeds.
        fixed: parameters to hold at a value.
        bounds: parameter -> (least, largest), in place of the law's own wide ones.
        starts: how many to draw, or a grid {parameter: values in its own units} of which every combination is run,
            or coordinates [starts, P].
        seed: of the drawn starts.
        over: factor on the terms of runs predicted too high; above 1 the fit leans to forecasts that are kept.
        intervals: level of likelihood intervals of the parameters, such as 0.95; ``None`` makes none.
        clusters: a column, or a label for each finished run, of runs that share noise, for the intervals; by default
            replicates of a design point, and a shift shared by the runs of one ``seed`` where there is that column.

    Returns:
        The result, with a status; intervals of other kinds come from ``moelaws.fitting.intervals.uncertainty``.

    Raises:
        FitError, LawError: runs or arguments that cannot be used.
        FitFailed: no minimum was found.

    Warns:
        OpenDesignWarning: before the descent, that the runs cannot pin some parameters down, whatever their losses;
            the result keeps the sentence in ``origin.design``.

    Examples:
        >>> n, d = (each.ravel() for each in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e9, 1e11, 6)))
        >>> loss = (1.7 + 400 / n**0.34 + 410 / d**0.28) * np.exp(np.random.default_rng(0).normal(0, 0.002, n.size))
        >>> result = fit("hoffmann2022", {"total_params": n, "tokens": d, "loss": loss}, "lsq-log", starts=32)
        >>> result.status, round(result.params["alpha"], 2)
        ('converged', 0.34)
    """
    began = time.perf_counter()
    law = law_named(law) if isinstance(law, str) else law
    prepared = prepare(law, runs, weights, constant_ok=bool(fixed), objective=objective)
    problem = bind(
        law, prepared.data, prepared.target, Objective(objective, delta, over), prepared.weights, fixed, bounds
    )
    if problem.n_runs < len(problem.free):
        raise FitError(
            f"{number_of(problem.n_runs, 'run')} for {number_of(len(problem.free), 'free parameter')} of law"
            f" {law.name!r}: at least as many runs as parameters are needed"
        )
    rng = np.random.default_rng(seed)
    theta = _starts(problem, starts, rng)
    prepared.refuse_undefined(law, problem, theta)
    design = foreseen(problem, prepared.data, prepared.columns)
    if design:
        warnings.warn(design, OpenDesignWarning, stacklevel=2)
    with stage(f"fitting {law.name}"):
        found = find_minimum(problem, theta, rng, more=not isinstance(starts, Mapping | np.ndarray))
    result = as_result(law, problem, prepared, found, dict(fixed or {}), time.perf_counter() - began, clusters)
    result = replace(result, origin=replace(result.origin, design=design))
    return result if intervals is None else likelihood(result, intervals)


def default_starts(problem: Problem) -> int:
    """Starts drawn when the caller names no number: more for more parameters."""
    return 64 if len(problem.free) <= 5 else 192 if len(problem.free) <= 8 else 384


def _starts(problem: Problem, starts: Starts, rng: np.random.Generator) -> np.ndarray:
    if isinstance(starts, Mapping):
        return grid(problem, starts)
    if isinstance(starts, np.ndarray):
        if starts.ndim != 2 or starts.shape[1] != len(problem.free):
            raise FitError(f"starts of shape {starts.shape}: expected [starts, {len(problem.free)}]")
        return np.clip(starts.astype(float), problem.lower, problem.upper)
    count = default_starts(problem) if starts is None else int(starts)
    if count < 1:
        raise FitError(f"starts = {count}: expected at least 1")
    return dispersed(problem, count, rng)


def as_result(
    law: Law, problem: Problem, prepared: Prepared, found: Found, fixed: dict[str, float],
    seconds: float, clusters: Any | None = None,
) -> FitResult:  # fmt: skip
    """What a minimum says: parameters, status, what the runs pin down.

    Args:
        law: the law.
        problem: the fit's problem.
        prepared: the runs.
        found: the minimum.
        fixed: parameters that were held.
        seconds: wall time of the fit.
        clusters: see ``fit``.

    Returns:
        The result, without intervals.

    Raises:
        FitFailed: the descent had not come to rest, although the runs pin every parameter down.
    """
    theta = found.theta
    values = problem.natural(theta)
    by_name = {name: float(value) for name, value in zip(problem.free, values, strict=True)} | fixed
    params = {name: by_name[name] for name in law.parameter_names}
    groups = Groups.of_runs(prepared.data, prepared.table, clusters)
    spread = covariance(problem, theta, groups)
    known = pinned_down(problem, spread, quick_ends(problem, theta, found.value, spread, LEVEL))
    known |= dict.fromkeys(at_bound(problem, theta), False)
    status, message = status_of(problem, theta, spread, known)
    if status == "converged" and not found.converged:
        raise FitFailed(
            f"law {law.name!r} on {problem.n_runs} runs: the best of {found.starts} starts was still descending, at an"
            f" objective of {found.value:.6g}, when its steps ran out. More starts, another seed, or a parameter held"
            " at a value may help"
        )
    return FitResult(
        law=law,
        objective=problem.objective,
        n_runs=problem.n_runs,
        params=params,
        status=status,
        message=message,
        quality=quality(law, params, prepared.table),
        uncertainty=Uncertainty({name: known.get(name, True) for name in law.parameter_names}),
        search=Search(found.value, found.starts, found.reached, seconds),
        origin=Origin(prepared.columns, prepared.derived, fixed, _ranges(prepared)),
        solution=Solution(problem, theta, groups, prepared.table, found.others),
    )


def _ranges(prepared: Prepared) -> dict[str, tuple[float, float]]:
    """Where the runs were: of each variable's column, and of the training FLOPs where the table tells them."""
    table, _ = derive(prepared.table, ["train_flops"])
    names = [name for name in (*prepared.columns.values(), "train_flops") if name in table.columns]
    ranges = {}
    for name in names:
        numbers = as_numbers(table[name].to_numpy())
        if np.isfinite(numbers).any():
            ranges[name] = (float(np.nanmin(numbers)), float(np.nanmax(numbers)))
    return ranges
