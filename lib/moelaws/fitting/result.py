"""What a fit returns: parameters with a status, never a bare array."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from moelaws import __version__
from moelaws.fitting.engine.problem import Problem
from moelaws.fitting.intervals.groups import Groups
from moelaws.fitting.objective import Objective
from moelaws.laws.forms import Law

Status = Literal["converged", "bound hit", "not identified", "failed"]
"""``converged``: an interior minimum, every parameter pinned down by the runs. ``bound hit``: a parameter ended at a
bound. ``not identified``: the minimum is reached, but the runs leave some parameter open. ``failed`` is raised."""

KEPT_REFITS = 200
"""Refits that a record of a fit holds at most: enough for the ends of a 95 % band, in a file that can be read."""


@dataclass(frozen=True)
class Quality:
    """How well a law predicts some runs.

    Attributes:
        n: runs.
        rmse_log: root mean square of ln L_hat - ln L.
        mse: mean square of L_hat - L.
        r2: share of the variance of L explained; nan for runs of one loss.
    """

    n: int
    rmse_log: float
    mse: float
    r2: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; nan becomes null."""
        return {"n": self.n} | {name: _plain(getattr(self, name)) for name in ("rmse_log", "mse", "r2")}


@dataclass(frozen=True)
class FitResult:
    """A law fitted to runs.

    Attributes:
        law: the law.
        objective: what was minimised.
        n_runs: runs fitted.
        status: see ``Status``.
        message: one sentence on the status.
        params: parameter -> fitted (or fixed) value, in the paper's units.
        objective_value: the summed objective at the minimum.
        quality: in-sample measures.
        starts: starts that were run.
        starts_at_optimum: starts whose descent ended within 1e-6 (relative) of the least objective.
        seconds: wall time.
        identified: parameter -> whether the runs pin it down.
        intervals: parameter -> (low, high); empty until ``moelaws.fitting.intervals.uncertainty`` computed them.
        interval_method: how, in words.
        ends: parameter -> how its interval ends below and above: ``found``, or ``bound`` (it reaches a bound of the
            parameter), ``open`` (zero or infinity: there is no end), ``unknown`` (the search did not come to rest).
        holdout: measures on runs that were held out.
        columns: the law's letter -> the column it was read from.
        derived: column -> formula, for columns that were not in the table.
        fixed: parameters that were not fitted.
        design: what the runs leave open whatever their losses, a sentence; empty where nothing was foreseen.
        replicates: parameter -> values in bootstrap refits; what a band of a forecast is made from. Empty without.
        theta: coordinates of the minimum (``Problem.coordinates``), [P].
        problem: the bound problem, for intervals and profiles.
        groups: which runs may share noise, for intervals.
    """

    law: Law
    objective: Objective
    n_runs: int
    status: Status
    message: str
    params: dict[str, float]
    objective_value: float
    quality: Quality
    starts: int
    starts_at_optimum: int
    seconds: float
    identified: dict[str, bool]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    interval_method: str = ""
    ends: dict[str, tuple[str, str]] = field(default_factory=dict)
    holdout: Quality | None = None
    columns: dict[str, str] = field(default_factory=dict)
    derived: dict[str, str] = field(default_factory=dict)
    fixed: dict[str, float] = field(default_factory=dict)
    design: str = ""
    replicates: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    theta: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    problem: Problem | None = field(default=None, repr=False)
    groups: Groups | None = field(default=None, repr=False)

    def predict(self, table: Any) -> Any:
        """The fitted law's prediction for a table, see ``Law.predict``."""
        return self.law.predict(self.params, table)

    def with_holdout(self, runs: Any) -> "FitResult":
        """The result with its measures on runs that the fit did not see."""
        return replace(self, holdout=quality(self.law, self.params, runs))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, as ``fit.schema.json`` describes them; of the refits, at most ``KEPT_REFITS``."""
        record = {
            "law": self.law.name,
            "formula": self.law.formula,
            "objective": self.objective.name,
            "delta": self.objective.delta if self.objective.robust else None,
            "over": self.objective.over,
            "n_runs": self.n_runs,
            "status": self.status,
            "message": self.message,
            "params": dict(self.params),
            "fixed": sorted(self.fixed),
            "intervals": {name: [_plain(low), _plain(high)] for name, (low, high) in self.intervals.items()},
            "interval_method": self.interval_method,
            "interval_ends": {name: list(kinds) for name, kinds in self.ends.items()},
            "identified": dict(self.identified),
            "objective_value": self.objective_value,
            **{name: value for name, value in self.quality.to_dict().items() if name != "n"},
            "holdout": None if self.holdout is None else self.holdout.to_dict(),
            "starts": self.starts,
            "starts_at_optimum": self.starts_at_optimum,
            "seconds": self.seconds,
            "columns": dict(self.columns),
            "derived": dict(self.derived),
            "versions": {"moelaws": __version__, "numpy": np.__version__, "python": platform.python_version()},
        }
        if self.design:
            record["design"] = self.design
        if self.replicates:
            # Six digits: refits differ in the third, and their errors cancel only if each row stays what it was.
            record["replicates"] = {
                name: [float(f"{value:.6g}") for value in values[:KEPT_REFITS]]
                for name, values in self.replicates.items()
            }
        return record


def quality(law: Law, params: Mapping[str, float], runs: Any) -> Quality:
    """Measures of a law with given parameters on some runs.

    Args:
        law: the law.
        params: parameter -> value.
        runs: a run table, or a mapping of columns, with the law's target.

    Returns:
        The measures.
    """
    observed = np.asarray(runs[law.target], dtype=float)
    predicted = np.asarray(law.predict(params, runs), dtype=float)
    square = (predicted - observed) ** 2
    spread = float(((observed - observed.mean()) ** 2).sum())
    with np.errstate(all="ignore"):
        rmse_log = float(np.sqrt(np.mean(np.log(predicted / observed) ** 2)))
    return Quality(
        len(observed), rmse_log, float(square.mean()), 1 - float(square.sum()) / spread if spread else np.nan
    )


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
