"""The parts of a fit's result: how sure it is, how it was found, what was fitted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import pandas as pd

from moelaws.fitting.engine.problem import Problem
from moelaws.fitting.intervals.groups import Groups

if TYPE_CHECKING:
    from moelaws.fitting.intervals.prediction import Joint
    from moelaws.fitting.intervals.walks import Walks

LEVEL = 0.95
"""Of intervals whose level nobody named."""

Status = Literal["converged", "bound hit", "not identified", "failed"]
"""``converged``: an interior minimum, every parameter pinned down by the runs. ``bound hit``: a parameter ended at a
bound. ``not identified``: the minimum is reached, but the runs leave some parameter open. ``failed`` is raised."""

Band = Literal["mean", "run"]
"""Of a prediction: where the law itself lies, or where the loss of one new run will."""

MOVED = {
    "objective_value": "search.objective_value",
    "starts": "search.starts",
    "starts_at_optimum": "search.starts_at_optimum",
    "seconds": "search.seconds",
    "interval_method": "uncertainty.method",
    "ends": "uncertainty.ends",
    "replicates": "uncertainty.replicates",
    "columns": "origin.columns",
    "derived": "origin.derived",
    "fixed": "origin.fixed",
    "design": "origin.design",
    "theta": "solved.theta",
    "problem": "solved.problem",
    "groups": "solved.groups",
}
"""Attributes of a fit's result in version 0.2 -> where they are now."""


@dataclass(frozen=True)
class Uncertainty:
    """How sure the parameters are, beside the ends of their intervals.

    Attributes:
        identified: parameter -> whether the runs pin it down; fixed ones are.
        method: how the intervals were made, in words; empty without.
        level: of the intervals.
        ends: parameter -> how its interval ends below and above: ``found``, or ``bound`` (it reaches a bound of the
            parameter), ``open`` (zero or infinity: there is no end), ``unknown`` (the search did not come to rest).
        replicates: parameter -> values in bootstrap refits, [refits]; one position is one refit. Empty without.
        joint: covariance and noise, of a fit that was read from a file; one that holds its runs works them out.
    """

    identified: Mapping[str, bool] = field(default_factory=dict)
    method: str = ""
    level: float = LEVEL
    ends: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    replicates: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    joint: "Joint | None" = field(default=None, repr=False)


@dataclass(frozen=True)
class Search:
    """How the minimum was found.

    Attributes:
        objective_value: the summed objective there.
        starts: starts that were run.
        starts_at_optimum: starts whose descent ended within 1e-6 (relative) of the least objective.
        seconds: wall time, intervals not included.
    """

    objective_value: float = np.nan
    starts: int = 0
    starts_at_optimum: int = 0
    seconds: float = np.nan


@dataclass(frozen=True)
class Origin:
    """What was fitted.

    Attributes:
        columns: the law's letter -> the column it was read from.
        derived: column -> formula, for columns that were not in the table.
        fixed: parameters that were not fitted -> their value.
        ranges: column of a variable, and ``train_flops`` where known -> (least, most) over the runs: beyond it, what
            the law says is an extrapolation.
        design: what the runs leave open whatever their losses, a sentence; empty where nothing was foreseen.
        family: the family of models that the runs were of: its ``name`` and its settings; empty where none was named.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    derived: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, float] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    design: str = ""
    family: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Solution:
    """The minimum with the runs it was found for; what intervals and profiles are made from.

    Attributes:
        problem: the law bound to the runs.
        theta: coordinates of the minimum (``Problem.coordinates``), [P].
        groups: which runs may share noise.
        table: the runs themselves, in order; what an error beside the law is found from.
        others: other minima that the search came to, [minima, P]; an interval may reach into their valleys.
        walked: level and coordinates -> walks to the ends of their intervals, and which of them came to none: intervals
            and profiles of one fit are asked for one after the other, and a walk takes seconds.
    """

    problem: Problem
    theta: np.ndarray
    groups: Groups | None = None
    table: pd.DataFrame | None = None
    others: np.ndarray | None = None
    walked: dict[tuple[float, ...], tuple["Walks", np.ndarray]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def minima(self) -> np.ndarray:
        """Other minima, none where the search kept none, [minima, P]."""
        return np.empty((0, len(self.theta))) if self.others is None else self.others


class NamedFamily(Protocol):
    """A family of models that can be written down, such as ``moelaws.switch()``."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> Mapping[str, float]: ...
