"""Whether a process may stand beside a law: only if it foretells a budget that it has not seen so much the better."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from moelaws.fitting.discrepancy.correction import Correction, log_residuals
from moelaws.fitting.engine.descent import FitFailed, find_minimum
from moelaws.fitting.engine.problem import Problem
from moelaws.fitting.engine.starts import dispersed
from moelaws.fitting.objective import FitError
from moelaws.quote import number_of
from moelaws.runs import derive
from moelaws.runs.numbers import as_numbers
from moelaws.stages import stage

if TYPE_CHECKING:
    from moelaws.fitting.result import FitResult

Use = Literal["none", "auto", "always"]
"""Of a process beside a law: the law alone, the process if it is admitted, the process whatever the rule says."""

LEAST_CUT = 1.5
"""A process is admitted if it makes the error of the forecast of an unseen budget this many times smaller, or more."""
_GAP = np.log(1.5)
"""FLOPs further apart than this are of two budgets."""
_SHARE = 0.2
"""Of the runs, by their FLOPs, that are held out where these form no budgets."""
_STARTS = 64
_FEWEST = 4
"""Runs that a verdict needs."""


@dataclass(frozen=True)
class Discrepancy:
    """What a law misses, as a smooth error beside it, and whether that may be used.

    One rule decides: the law is fitted to all budgets but the largest, and forecasts the runs of that. With the process
    its error (root mean square of ln L) must be at least ``LEAST_CUT`` times smaller than without.

    Attributes:
        admitted: whether the process may be used.
        reason: why, or why not, in one sentence.
        alone: error of the law's forecast of the largest budget; nan where there was none to be made.
        corrected: error of the law with the process, of the same runs.
        held_out: runs of that budget.
        correction: the process of all runs, admitted or not; ``None`` where there can be none.

    Examples:
        >>> import numpy as np
        >>> from moelaws.fitting.fit import fit
        >>> c, n = np.meshgrid([1e18, 4e18, 1.6e19, 6.4e19, 2.56e20], np.geomspace(5e7, 5e8, 8))
        >>> runs = {"train_flops": c.ravel(), "active_params": n.ravel(), "tokens": (c / (6 * n)).ravel()}
        >>> law = 1.7 + 400 / n.ravel() ** 0.34 + 410 / runs["tokens"] ** 0.28
        >>> wave = 0.05 * np.sin(0.5 * np.log(c.ravel()))
        >>> off = fit("hoffmann2022", runs | {"loss": law * np.exp(wave)}, "lsq-log")
        >>> off.discrepancy.admitted, off.discrepancy.alone > 1.5 * off.discrepancy.corrected
        (True, True)
        >>> on = fit("hoffmann2022", runs | {"loss": law}, "lsq-log")
        >>> on.discrepancy.admitted
        False
    """

    admitted: bool
    reason: str
    alone: float = np.nan
    corrected: float = np.nan
    held_out: int = 0
    correction: Correction | None = None

    def __str__(self) -> str:
        return self.reason


def correction_of(result: "FitResult") -> Correction | str:
    """The process of what a fit leaves, whether it may be used or not; where there is none, why."""
    if result.solution is None:
        return "the law stands alone: the file of this fit holds no runs, of which a process is made"
    if result.solution.table is None:
        return "the law stands alone: this fit kept no table of its runs, of which a process is made"
    try:
        return Correction.of_fit(result.solution.problem, result.solution.theta, result.solution.table)
    except FitError as error:
        return f"the law stands alone: {error}"


def used(result: "FitResult", use: Use) -> Correction | None:
    """The process beside a fit, where it is to be used; ``None`` where the law stands alone.

    Raises:
        FitError: another word than those of ``Use``, or ``always`` where there can be no process.
    """
    if use not in ("none", "auto", "always"):
        raise FitError(f"discrepancy = {use!r}: expected 'auto', 'none' or 'always'")
    if use == "none" or (use == "auto" and not result.discrepancy.admitted):
        return None
    if isinstance(result.correction, str):
        raise FitError(result.correction)
    return result.correction


def discrepancy_of(result: "FitResult") -> Discrepancy:
    """See ``FitResult.discrepancy``."""
    correction = result.correction
    if isinstance(correction, str):
        return Discrepancy(False, correction)
    problem, table = result.solved.problem, result.solved.table
    assert table is not None, "a fit that has a process has runs"
    out = largest_budget(table)
    if out is None:
        reason = "its runs are of one budget, so that no forecast of another can be tried"
        return Discrepancy(False, f"the law stands alone: {reason}", correction=correction)
    if out.sum() < _FEWEST:
        reason = f"its largest budget has {number_of(int(out.sum()), 'run')}, too few to judge a forecast by"
        return Discrepancy(False, f"the law stands alone: {reason}", held_out=int(out.sum()), correction=correction)
    try:
        with stage(f"asking whether an error beside {result.law.name} foretells the largest budget"):
            alone, corrected = forward_errors(problem, table, out)
    except (FitError, FitFailed) as error:
        reason = f"without its largest budget it cannot be fitted ({error})"
        return Discrepancy(False, f"the law stands alone: {reason}", held_out=int(out.sum()), correction=correction)
    cut = alone / corrected
    if not np.isfinite(cut):
        reason = "fitted without the largest budget, it has no value there"
        return Discrepancy(False, f"the law stands alone: {reason}", held_out=int(out.sum()), correction=correction)
    admitted = cut >= LEAST_CUT
    said = (
        f"on the {int(out.sum())} runs of the largest budget, held out, a process takes the error of ln L from"
        f" {alone:.4f} to {corrected:.4f}, {cut:.1f} times less"
        if cut >= 1
        else f"on the {int(out.sum())} runs of the largest budget, held out, a process makes the error of ln L larger,"
        f" {corrected:.4f} against {alone:.4f}"
    )
    word = "a process stands beside the law" if admitted else "the law stands alone"
    return Discrepancy(
        bool(admitted), f"{word}: {said} ({LEAST_CUT:g} is asked)", alone, corrected, int(out.sum()), correction
    )


def forward_errors(problem: Problem, table: pd.DataFrame, out: np.ndarray) -> tuple[float, float]:
    """Errors of ln L of some runs as the others foretell them: of the law, and of the law with its process.

    Args:
        problem: the law bound to all runs.
        table: the runs, in order.
        out: which are held out, [n].

    Raises:
        FitError: too few others.
        FitFailed: no fit to these.
    """
    seen = problem.only(np.flatnonzero(~out))
    if seen.n_runs < len(seen.free):
        raise FitError(f"{seen.n_runs} runs for {len(seen.free)} coefficients")
    rng = np.random.default_rng(0)
    theta = find_minimum(seen, dispersed(seen, _STARTS, rng), rng).theta
    unseen, far = problem.only(np.flatnonzero(out)), table[out]
    left, _ = log_residuals(unseen, theta)
    correction = Correction.of_fit(seen, theta, table[~out])
    corrected = log_residuals(unseen, correction.theta)[0] - correction.shift(correction.at(far))
    return tuple(float(np.sqrt(np.mean(each**2))) for each in (left, corrected))  # type: ignore[return-value]


def largest_budget(table: pd.DataFrame) -> np.ndarray | None:
    """Which runs are of the largest budget, [n]; ``None`` where there is one budget, or no FLOPs are known.

    Where the FLOPs form no budgets, it is the fifth of the runs that had most of them.
    """
    known, _ = derive(table, ["train_flops"])
    for name in ("budget", "train_flops"):
        if name not in known.columns:
            continue
        flops = as_numbers(known[name].to_numpy())
        if not (flops > 0).all():
            continue
        logs = np.log(flops)
        order = np.sort(logs)
        gaps = np.flatnonzero(np.diff(order) > _GAP)
        if len(gaps):
            return np.asarray(logs > 0.5 * (order[gaps[-1]] + order[gaps[-1] + 1]))
        if np.ptp(logs) > 2 * _GAP:
            return np.asarray(logs >= np.quantile(logs, 1 - _SHARE))
    return None
