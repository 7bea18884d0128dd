"""What a fit returns: parameters with a status, never a bare array, and what can be asked of them."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pandas as pd

from moelaws.fitting.objective import FitError, Objective
from moelaws.fitting.quality import Quality, quality
from moelaws.fitting.result_parts import (
    LEVEL,
    MOVED,
    Band,
    NamedFamily,
    Origin,
    Search,
    Solution,
    Status,
    Uncertainty,
)
from moelaws.laws.forms import Law

if TYPE_CHECKING:
    from moelaws.fitting.discrepancy.admission import Discrepancy, Use
    from moelaws.fitting.discrepancy.correction import Correction
    from moelaws.fitting.intervals.profile import Profile
    from moelaws.fitting.report.summary import Summary


@dataclass(frozen=True, repr=False)
class FitResult:
    """A law fitted to runs. In a notebook it shows its table, its status and a figure.

    Attributes:
        law: the law.
        objective: what was minimised.
        n_runs: runs fitted.
        params: parameter -> fitted (or fixed) value, in the paper's units.
        intervals: parameter -> (low, high), of fitted ones; empty until they were asked for, see ``conf_int``.
        status: see ``Status``.
        message: one sentence on the status.
        quality: measures on the runs fitted.
        holdout: measures on runs that were held out.
        uncertainty: how sure the parameters are, beside ``intervals``.
        search: how the minimum was found.
        origin: what was fitted.
        solution: the minimum with its runs; ``None`` for a fit from a file.

    Examples:
        >>> import numpy as np
        >>> from moelaws.fitting.fit import fit
        >>> n, d = np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e9, 1e11, 6))
        >>> runs = {"total_params": n.ravel(), "tokens": d.ravel()}
        >>> noise = np.random.default_rng(0).normal(0, 0.002, n.size)
        >>> runs["loss"] = (1.7 + 400 / n.ravel() ** 0.34 + 410 / d.ravel() ** 0.28) * np.exp(noise)
        >>> result = fit("hoffmann2022", runs, "lsq-log")
        >>> result.status
        'converged'
        >>> bool(result.conf_int().loc["alpha", "low"] < 0.34 < result.conf_int().loc["alpha", "high"])
        True
        >>> result.predict({"total_params": [3e9], "tokens": [6e10]}, interval="run").round(2)
           loss   low  high
        0  2.33  2.33  2.34
    """

    law: Law
    objective: Objective
    n_runs: int
    params: dict[str, float]
    status: Status
    message: str
    quality: Quality
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    holdout: Quality | None = None
    uncertainty: Uncertainty = field(default_factory=Uncertainty)
    search: Search = field(default_factory=Search)
    origin: Origin = field(default_factory=Origin)
    solution: Solution | None = None

    @property
    def identified(self) -> Mapping[str, bool]:
        """Parameter -> whether the runs pin it down; fixed ones are."""
        return self.uncertainty.identified

    @property
    def solved(self) -> Solution:
        """The minimum with its runs.

        Raises:
            FitError: a fit from a file, which holds none.
        """
        if self.solution is None:
            raise FitError("this result was not made by fit(): it holds no runs to work with")
        return self.solution

    def summary(self) -> "Summary":
        """Law, status, parameters with their intervals, and measures: text when printed, a table in a notebook."""
        from moelaws.fitting.report.summary import summary_of

        return summary_of(self)

    def conf_int(self, level: float = LEVEL) -> pd.DataFrame:
        """Intervals of the fitted parameters.

        Those that the result holds, where they are of this level. Else likelihood intervals, which are worked out at
        the first call and kept; for a fit from a file, what its refits or its covariance say.

        Args:
            level: between 0 and 1.

        Returns:
            Index: the fitted parameters. ``low`` and ``high``, in the paper's units (minus infinity, zero or infinity
            where there is no end), and ``identified``.

        Raises:
            FitError: a level that is none, or a file that holds nothing to make intervals of.
        """
        known = self.with_intervals(level)
        rows = {name: (*ends, known.identified.get(name, False)) for name, ends in known.intervals.items()}
        table = pd.DataFrame.from_dict(rows, orient="index", columns=["low", "high", "identified"])
        return table.rename_axis("parameter")

    def with_intervals(self, level: float = LEVEL) -> "FitResult":
        """The result with intervals of this level, see ``conf_int``; itself where it has them."""
        from moelaws.fitting.intervals.prediction import intervals_of

        if self.uncertainty.method and self.uncertainty.level == level:
            return self
        if level not in self._made:
            self._made[level] = intervals_of(self, level)
        return self._made[level]

    def bootstrap(
        self, replicates: int = 1000, seed: int = 0, strata: Any | None = None, clusters: Any | None = None
    ) -> "FitResult":
        """The result with refits to runs drawn with replacement, and with their intervals.

        Args:
            replicates: how many refits.
            seed: of the draws.
            strata: a label for each run; every stratum keeps its number of runs.
            clusters: a label for each run; runs of a label are drawn together.

        Raises:
            FitError: labels that do not match the runs, or a fit from a file, which holds no runs.
        """
        from moelaws.fitting.intervals.uncertainty import bootstrap

        return bootstrap(self, replicates, seed, strata, clusters).with_refits()

    @cached_property
    def _made(self) -> dict[float, "FitResult"]:
        """The result with intervals, by their level, as far as they were asked for."""
        return {}

    @cached_property
    def correction(self) -> "Correction | str":
        """The process of what the law leaves, admitted or not; a sentence that says why where there is none."""
        from moelaws.fitting.discrepancy.admission import correction_of

        return correction_of(self)

    @cached_property
    def discrepancy(self) -> "Discrepancy":
        """What the law misses, as a Gaussian process of its residuals, and whether that may stand beside it.

        Laws are all a little wrong, and smoothly so. One rule decides whether that error is known well enough to be
        used: fitted to all budgets but the largest, the law must foretell that one at least 1.5 times better with its
        process. The fit that this takes is made when it is first asked for. ``print(fit.discrepancy)`` says which, and
        why.
        """
        from moelaws.fitting.discrepancy.admission import discrepancy_of

        return discrepancy_of(self)

    @overload
    def predict(self, new: Any, interval: None = None, level: float = LEVEL, discrepancy: "Use" = "none") -> Any: ...

    @overload
    def predict(self, new: Any, interval: Band, level: float = LEVEL, discrepancy: "Use" = "none") -> pd.DataFrame: ...

    def predict(self, new: Any, interval: Band | None = None, level: float = LEVEL, discrepancy: "Use" = "none") -> Any:
        """The loss that the fitted law expects of new runs, in nats per token (or whatever the law predicts).

        Args:
            new: a run table, or a mapping of columns to numbers or arrays. Columns that others determine are derived.
            interval: ``mean`` for an interval that holds the law's value, as far as the runs fitted tell; ``run`` for
                one that holds the loss of one new run, whose noise is that of the runs fitted. The law's error comes
                from bootstrap refits where the result has them, else from its covariance: in directions that the
                runs leave open it has no end. Neither knows of a wrong formula, unless a process stands beside it.
            level: of the interval.
            discrepancy: ``none`` for what formula and coefficients say; ``auto`` adds the process of what the law
                misses where the rule admits it, and its uncertainty to the interval (see ``discrepancy``, which says
                which it was); ``always`` adds it whatever the rule says. The coefficients are then found again beside
                the process, and the noise of a new run is that between replicates, where there are any.

        Returns:
            Without an interval the losses, of the columns' shape; with one a table of ``loss``, ``low`` and ``high``,
            one row a run, with the index of ``new`` if it has one.

        Raises:
            FitError: a level, an interval or a discrepancy that is none, or a file that holds neither refits nor a
                covariance.
            LawError: a missing column.
        """
        from moelaws.fitting.intervals.prediction import predict

        return predict(self, new, interval, level, discrepancy)

    def profile(self, parameter: str, level: float = LEVEL) -> "Profile":
        """The profile of one parameter: see ``moelaws.fitting.intervals.profile``."""
        from moelaws.fitting.intervals.profile import profile

        return profile(self, parameter, level)

    def draws(self, count: int = 200, seed: int = 0) -> dict[str, np.ndarray]:
        """Joint values of all parameters, as far as the runs leave them open; what bands of forecasts are made from.

        Bootstrap refits where the result has them; else draws from the covariance (with the t-distribution's tails)
        where every parameter is identified; else a bootstrap that is made now, for a fit that holds its runs.

        Args:
            count: how many, unless the result has refits.
            seed: of the draws.

        Returns:
            Parameter -> values, [count]; one position is one draw. Empty where nothing tells.
        """
        from moelaws.fitting.intervals.prediction import draws

        return draws(self, count, seed)

    def plot(self) -> Any:
        """An Altair chart: losses against what the law says of them, and the residuals below.

        Raises:
            FitError: a fit from a file, which holds no runs.
        """
        from moelaws.charts.fits import observed_against_predicted

        return observed_against_predicted(self.residuals(), self.law.target, self.law.name)

    def residuals(self) -> pd.DataFrame:
        """The runs fitted, one row each: ``observed``, ``predicted`` and ``residual``.

        The residual is ln L - ln L_hat, or L - L_hat under the objective ``lsq``.

        Raises:
            FitError: a fit from a file, which holds no runs.
        """
        solved = self.solved
        residual = -solved.problem.residuals(solved.theta[None])[0]
        observed = solved.problem.observed[0]
        back = np.exp if self.objective.on_log else np.asarray
        return pd.DataFrame({"observed": back(observed), "predicted": back(observed - residual), "residual": residual})

    def with_holdout(self, runs: Any) -> "FitResult":
        """The result with its measures on runs that the fit did not see."""
        return replace(self, holdout=quality(self.law, self.params, runs))

    def with_family(self, family: NamedFamily) -> "FitResult":
        """The result that says which family of models its runs were of; ``to_json`` writes it down."""
        return replace(self, origin=replace(self.origin, family={"name": family.name} | dict(family.settings)))

    def to_json(self, path: str | Path | None = None) -> str:
        """The fit as JSON, as ``data/fit.schema.json`` describes it; ``moelaws.load_fit`` reads it.

        Args:
            path: where to write it too. What is there is replaced only if it is such a fit.

        Raises:
            ValueError: the path holds something else.
            OSError: the place cannot be written to.
        """
        from moelaws.fitting.report.fit_record import text_of, write_fit

        if path is not None:
            write_fit(Path(path), self)
        return text_of(self)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        from moelaws.fitting.report.fit_record import record_of

        return record_of(self)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """What lay here in version 0.2, with a warning that says where it is."""
            if name not in MOVED:
                raise AttributeError(f"a FitResult has no {name!r}")
            warnings.warn(f"FitResult.{name} is FitResult.{MOVED[name]} now", DeprecationWarning, stacklevel=2)
            return attrgetter(MOVED[name])(self)

    def __repr__(self) -> str:
        return f"FitResult({self.law.name}, {self.n_runs} runs, {self.objective.name}: {self.status})"

    def __str__(self) -> str:
        return str(self.summary())

    def _repr_html_(self) -> str:
        from moelaws.fitting.report.display import html_of

        return html_of(self)
