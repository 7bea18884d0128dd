"""What a comparison of laws says: one table, who foresees best, and a forecast of the laws together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from moelaws import __version__
from moelaws.comparing.average import Average, average_forecast, equal_weights
from moelaws.comparing.contender import Contender
from moelaws.comparing.unseen import Unseen
from moelaws.fitting.discrepancy.admission import Use
from moelaws.fitting.objective import FitError
from moelaws.fitting.result_parts import LEVEL
from moelaws.fitting.selection import leave_one_out

Fitter = Literal["certified", "published"]
"""``certified``: each law at its least minimum. ``published``: as its paper fitted it, too, see ``paper_fits``."""


@dataclass(frozen=True, repr=False)
class Comparison:
    """Laws on the same runs. Printed, it is what ``moelaws compare`` says; in a notebook it is a table.

    Attributes:
        contenders: one a law, the best first: by its error on the first split, or by AICc where nothing is held out.
        refused: law -> why it cannot be asked about these runs.
        unseen: what was held out.
        missing: a split that nobody asked for -> why the table has none.
        n_runs: finished runs.
        fitter: see ``Fitter``.

    Examples:
        >>> import numpy as np
        >>> import moelaws as ml
        >>> n, d = (each.ravel() for each in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e9, 1e11, 6)))
        >>> loss = (1.7 + 400 / n**0.34 + 410 / d**0.28) * np.exp(np.random.default_rng(0).normal(0, 0.002, n.size))
        >>> runs = pd.DataFrame({"total_params": n, "tokens": d, "loss": loss})
        >>> found = ml.compare(["hoffmann2022", "gadre2024"], runs, hold_out="budget")
        >>> found.table["law"].tolist()
        ['hoffmann2022', 'gadre2024']
        >>> found.predict({"total_params": [3e9], "tokens": [6e10]}).round(1)
           loss  low  high
        0   2.3  2.3   2.3
    """

    contenders: tuple[Contender, ...]
    refused: Mapping[str, str]
    unseen: tuple[Unseen, ...]
    missing: Mapping[str, str]
    n_runs: int
    fitter: Fitter = "certified"
    runs: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a law, the best first.

        Columns: ``law, parameters, status, rmse_log, r2, aicc, delta_aicc, loo_rmse`` on all runs (``loo_rmse``: each
        run foreseen from all others); for each split, such as ``budget``, ``budget_rmse_log, budget_r2,
        budget_coverage`` on the runs held out (nan where the law could not be fitted to the others); ``weight`` in the
        forecast of all together; ``seconds`` of the processor. With the published fitter also ``published_rmse_log``
        and ``published_budget_rmse_log, ...``.
        """
        rows = [self._row(each) for each in self.contenders]
        table = pd.DataFrame(rows)
        table.insert(6, "delta_aicc", table["aicc"] - table["aicc"].min())
        return table

    @cached_property
    def weights(self) -> Mapping[str, float]:
        """Law -> its share in the forecast: equal for those that fit within half as much again of the best."""
        return equal_weights({each.law.name: each.result for each in self.contenders})

    @cached_property
    def averages(self) -> Mapping[str, Average]:
        """Name of a split -> what the laws together foresaw of it, each fitted to the other runs."""
        found = {}
        for each in self.unseen:
            results = {c.law.name: c.forecasts[each.name].result for c in self.contenders}
            fitted = {name: result for name, result in results.items() if result is not None}
            if fitted:
                found[each.name] = Average.measured(fitted, self.runs[each.out])
        return found

    def predict(self, new: Any, level: float = LEVEL, discrepancy: Use = "none") -> pd.DataFrame:
        """The loss of new runs, as the laws together foresee it.

        Args:
            new: a run table, or a mapping of columns to arrays.
            level: of the band.
            discrepancy: see ``FitResult.predict``.

        Returns:
            One row a run: the weighted mean of the laws (in ln L) and the ends of a band for the loss of one new run.
            It holds how far the laws lie apart, how sure each is, and what they missed on the runs held out, or on all
            runs where that was more.

        Raises:
            FitError: a level that is none.
            LawError: a missing column.
        """
        if not 0 < level < 1:
            raise FitError(f"level = {level}: expected a number between 0 and 1")
        chosen = {each.law.name: each.result for each in self.contenders if self.weights[each.law.name] > 0}
        first = self.averages.get(self.unseen[0].name) if self.unseen else None
        return average_forecast(chosen, new, level, first.rmse_log if first else 0.0, discrepancy)

    def plot(self) -> Any:
        """An Altair chart: errors of each law, in the fit and on the runs held out."""
        from moelaws.charts.pictures.contests import errors_by_law

        return errors_by_law(self.table, [each.name for each in self.unseen])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: what ``moelaws compare --json`` writes, as ``data/compare.schema.json`` has it."""
        return {
            "n_runs": self.n_runs,
            "fitter": self.fitter,
            "held_out": [{"name": each.name, "what": each.words, "runs": each.count} for each in self.unseen],
            "not_held_out": dict(self.missing),
            "laws": [
                row | {"formula": each.law.formula, "params": dict(each.result.params), "message": each.result.message}
                for row, each in zip(self.table.to_dict("records"), self.contenders, strict=True)
            ],
            "refused": dict(self.refused),
            "average": {name: vars(each) for name, each in self.averages.items()},
            "versions": {"moelaws": __version__, "numpy": np.__version__},
        }

    def _row(self, each: Contender) -> dict[str, Any]:
        measured = each.result.quality
        row = {
            "law": each.law.name,
            "parameters": each.parameters,
            "status": each.result.status,
            "rmse_log": measured.rmse_log,
            "r2": measured.r2,
            "aicc": each.aicc,
            "loo_rmse": float(np.sqrt(np.mean(leave_one_out(each.result) ** 2))),
        }
        row |= _foreseen(each, "")
        row |= {"weight": self.weights[each.law.name], "seconds": each.seconds}
        if each.published is not None:
            row |= {"published_rmse_log": each.published.result.quality.rmse_log}
            row |= _foreseen(each.published, "published_")
        return row

    def __str__(self) -> str:
        from moelaws.comparing.comparison_text import text_of_comparison

        return text_of_comparison(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from moelaws.comparing.comparison_text import html_of_comparison

        return html_of_comparison(self)


def _foreseen(each: Contender, prefix: str) -> dict[str, float]:
    row = {}
    for name, forecast in each.forecasts.items():
        measured = forecast.quality
        row[f"{prefix}{name}_rmse_log"] = np.nan if measured is None else measured.rmse_log
        row[f"{prefix}{name}_r2"] = np.nan if measured is None else measured.r2
        row[f"{prefix}{name}_coverage"] = forecast.coverage
    return row
