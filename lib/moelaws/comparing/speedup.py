"""How many times the compute one configuration is worth beside another: read from runs, or as a law has it."""

from dataclasses import replace

import numpy as np
import pandas as pd

from moelaws.comparing.compute_multiplier import Speedup
from moelaws.comparing.configuration import DENSE, Configuration, CurveOptions, best_losses
from moelaws.comparing.law_seconds import seconds_by_law
from moelaws.comparing.loss_curves import FARTHEST, least_budget, losses_at, with_ends
from moelaws.comparing.wall_time import Pace, pace_of
from moelaws.fitting.objective import FitError
from moelaws.fitting.result import FitResult
from moelaws.fitting.result_parts import LEVEL
from moelaws.optimum.allocation import Estimate
from moelaws.optimum.forecaster import Forecaster
from moelaws.pacing.step_model import StepError, StepModel
from moelaws.pacing.timed_runs import predict_seconds
from moelaws.runs import finished
from moelaws.surfaces.budget import check, completed
from moelaws.surfaces.nominal import equal_budgets

_NEVER = 1e6


def speedup(
    runs: pd.DataFrame | FitResult | Forecaster,
    budget: float,
    of: str | int,
    over: str | int = DENSE,
    level: float = LEVEL,
    options: CurveOptions | None = None,
    timed: pd.DataFrame | StepModel | None = None,
) -> Speedup:
    """How many times the training FLOPs one configuration needs to match another, both at their best size.

    From a run table nothing is assumed but smoothness: at each budget a curve through the sizes of a configuration
    gives its best loss; between budgets ln L is interpolated in ln C, and continued up to ten times the largest one.
    From a fit, or a forecaster, the law answers, with the doubt about its coefficients and none about its form.

    Args:
        runs: a run table; or a fitted law, or a forecaster.
        budget: C of the first configuration, in training FLOPs.
        of: the first: E, ``"64,2"`` (E and K), ``"dense"``, or a condition on rows such as ``"router == 'Hash'"``.
        over: the second, that it is measured against.
        level: of the intervals.
        options: how the curves are fitted.
        timed: what the speeds are taken from: a table of runs with ``seconds``, or a device's steps (``step_model``),
            by which the seconds of these runs are foreseen; by default the runs themselves, as they were timed. For a
            law, a table alone: of its models, those near the law's best sizes.

    Returns:
        The multiplier, with intervals: in FLOPs, and in seconds where times are known.

    Raises:
        FitError: no budgets, no such configuration, a budget outside those run, or none at which it has an optimum.
        OptimumError: a law that has no answer.
        StepError: a device's steps for a law, or for a table that does not tell its models' shape.

    Examples:
        >>> import moelaws as ml
        >>> found = ml.speedup(ml.Forecaster("abnar2025"), 1e20, of=8)
        >>> round(found.flops.value, 1)
        2.6

        The same in seconds of a device, from runs that were made on another:

        >>> study = ml.speedup(ml.datasets.load("isoflop"), 1e13, of=16, timed=ml.step_model("h200"))
        >>> study.seconds.value < 1 < study.flops.value
        True
    """
    if not 0 < level < 1:
        raise FitError(f"level = {level}: expected a number between 0 and 1")
    first, second = Configuration.read(of), Configuration.read(over)
    if not isinstance(runs, pd.DataFrame):
        if isinstance(timed, StepModel):
            raise StepError(
                "a law knows sizes and not shapes: expected a run table for timed, such as predict_seconds makes"
            )
        law = Forecaster(runs) if isinstance(runs, FitResult) else runs
        return _of_law(law, budget, (first, second), level, timed)
    options = options or CurveOptions()
    ended, _ = completed(finished(runs))
    check(ended, options.variable)
    sorted_runs = equal_budgets(ended, options.variable)
    curves = [best_losses(ended, sorted_runs, each, options) for each in (first, second)]
    known = [with_ends(curve[curve["why"] == ""], budget) for curve in curves]
    for each, curve, used in zip((first, second), curves, known, strict=True):
        if len(used) < 2:
            why = next((f" ({each_why})" for each_why in _without_optimum(curve)), "")
            raise FitError(f"{each.words} has an optimum at {len(used)} budgets, of which two are needed{why}")
    # Where a loss has no interval the draws below mean nothing, and are taken away again.
    rng = np.random.default_rng(options.seed)
    target = losses_at(known[0], budget, first, rng)
    ratio = least_budget(known[1], target, rng) / budget
    if not np.isfinite(ratio[0]):
        raise FitError(f"{second.words} does not reach the loss of {first.words} at {FARTHEST:g} times its budgets")
    if any(curve["low"].isna().any() for curve in known):
        ratio = np.where(np.arange(len(ratio)) == 0, ratio, np.nan)  # some loss is known without an interval
    flops = _estimate(ratio, level)
    notes = [
        f"{each.words}: no optimum at {why}"
        for each, curve in zip((first, second), curves, strict=True)
        for why in _without_optimum(curve)
    ]
    how = ended if timed is None else predict_seconds(ended, timed) if isinstance(timed, StepModel) else finished(timed)
    source = f"as foreseen on {timed}" if isinstance(timed, StepModel) else "as these runs were timed"
    seconds, why = _in_seconds(how, (first, second), known, budget, ratio, level)
    both = [curve.assign(configuration=each.words) for curve, each in zip(curves, (first, second), strict=True)]
    return Speedup(
        budget, first.words, second.words, flops, seconds, why if seconds is None else f"{why}, {source}", "observed",
        bool(flops.value * budget > known[1]["budget"].max() * 1.02), level, pd.concat(both, ignore_index=True),
        tuple(notes),
    )  # fmt: skip


def _without_optimum(curve: pd.DataFrame) -> list[str]:
    """Budgets at which a configuration has no optimum, and why."""
    none = curve[curve["why"] != ""]
    return [f"{budget:.4g} FLOPs: {why}" for budget, why in zip(none["budget"], none["why"], strict=True)]


def _of_law(
    law: Forecaster, budget: float, both: tuple[Configuration, Configuration], level: float, timed: pd.DataFrame | None
) -> Speedup:
    first, second = both
    for each in both:
        if each.n_experts is None:
            raise FitError(f"a law knows configurations by E and K, not by {each.words!r}")
    experts, other = float(first.n_experts or 1), float(second.n_experts or 1)
    found = law.speedup(budget, experts, first.top_k or 1, (other, second.top_k or 1), level)
    # Beyond, a law says that the other never gets there.
    found = replace(found, high=np.inf) if found.high > _NEVER else found
    least, most = law.budgets
    far = budget * found.value > most * 1.02 or budget < least / 1.02
    seconds, why = None, "a law counts FLOPs; times come from a run table, by --device or --times"
    if timed is not None:
        seconds, why = seconds_by_law(law, finished(timed), both, budget, found, level)
    notes = (f"sizes and FLOPs of its models: family '{law.family.name}'", *filter(None, (law.discrepancy,)))
    return Speedup(budget, first.words, second.words, found, seconds, why, law.law.name, far, level, notes=notes)


def _estimate(draws: np.ndarray, level: float) -> Estimate:
    if np.isnan(draws[1:]).any():
        return Estimate(float(draws[0]), float("nan"), float("nan"))
    low, high = np.quantile(draws[1:], [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return Estimate(float(draws[0]), float(low), float(high))


def _in_seconds(
    timed: pd.DataFrame, both: tuple[Configuration, Configuration], known: list[pd.DataFrame], budget: float,
    ratio: np.ndarray, level: float,
) -> tuple[Estimate | None, str]:  # fmt: skip
    paces: list[Pace] = []
    for each, curve, flops in zip(both, known, (budget, budget * ratio[0]), strict=True):
        found = pace_of(timed, each, curve, flops)
        if isinstance(found, str):
            return None, found
        paces.append(found)
    machines = {each.machine for each in paces}
    if len(machines) > 1:
        return None, f"none: {both[0].words} and {both[1].words} were timed on different machines"
    rng = np.random.default_rng(1)
    noise = np.hypot(paces[0].error, paces[1].error)
    scatter = np.concatenate([[0.0], noise * rng.standard_normal(len(ratio) - 1)])
    speeds = paces[0].flops_per_second / paces[1].flops_per_second
    return _estimate(ratio * speeds * np.exp(scatter), level), (
        f"{both[0].words} trains at {speeds:.2f} times the FLOP/s of {both[1].words}"
    )
