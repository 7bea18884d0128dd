"""Several laws as one forecast: which take part, their mean, and a band that holds what they disagree on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from moelaws.fitting.discrepancy.admission import Use
from moelaws.fitting.result import FitResult
from moelaws.fitting.result_parts import LEVEL
from moelaws.fitting.table import complete

AS_GOOD = 1.5
"""Laws that miss the runs they were fitted to by no more than this times the least miss count alike. Which of them is
best by AICc says little of which foresees best: the forms are wrong by more than noise."""


@dataclass(frozen=True)
class Average:
    """How well laws together foresaw runs that none of them had seen.

    Attributes:
        laws: how many took part.
        rmse_log: root mean square of ln L_hat - ln L.
        r2: share of the variance of L explained.
        coverage: share of the runs inside the band.
    """

    laws: int
    rmse_log: float
    r2: float
    coverage: float

    @classmethod
    def measured(cls, results: Mapping[str, FitResult], runs: pd.DataFrame) -> "Average":
        """The average of some fits on runs that they had not seen; weights and band come from the fits alone."""
        weights = equal_weights(results)
        chosen = {name: result for name, result in results.items() if weights[name] > 0}
        target = next(iter(chosen.values())).law.target
        found, observed = average_forecast(chosen, runs, LEVEL), runs[target].to_numpy(float)
        said = found[target].to_numpy()
        with np.errstate(all="ignore"):
            errors = np.log(said / observed)
        spread = float(((observed - observed.mean()) ** 2).sum())
        inside = (found["low"] <= observed) & (observed <= found["high"])
        return cls(
            laws=len(chosen),
            rmse_log=float(np.sqrt(np.mean(errors**2))),
            r2=1 - float(((said - observed) ** 2).sum()) / spread if spread else np.nan,
            coverage=float(inside.mean()),
        )


def equal_weights(results: Mapping[str, FitResult]) -> dict[str, float]:
    """Law -> weight: equal for those that fit within ``AS_GOOD`` times the least error, none for others."""
    errors = {name: result.quality.rmse_log for name, result in results.items()}
    known = [error for error in errors.values() if np.isfinite(error)]
    least = min(known) if known else np.inf
    taken = [name for name, error in errors.items() if error <= AS_GOOD * least] or list(errors)
    return {name: (1 / len(taken) if name in taken else 0.0) for name in errors}


def average_forecast(
    results: Mapping[str, FitResult], new: Any, level: float = LEVEL, missed: float = 0.0, discrepancy: Use = "none"
) -> pd.DataFrame:
    """The mean of several fits, in ln L, with a band for the loss of one new run.

    Args:
        results: law -> fit; all count alike.
        new: a run table, or a mapping of columns to arrays.
        level: of the band.
        missed: what the laws together missed where they had not seen the runs, in ln L.
        discrepancy: see ``FitResult.predict``.

    Returns:
        The target's column, ``low`` and ``high``, one row a run. The variance is the mean of the laws' own (how sure
        each is), that between them, and the square of what they miss: in the runs fitted, or ``missed`` if that is
        more.
    """
    table = new if isinstance(new, pd.DataFrame) else pd.DataFrame({k: np.atleast_1d(v) for k, v in new.items()})
    target = next(iter(results.values())).law.target
    logs, variances = [], []
    reach = _normal(level)
    with np.errstate(all="ignore"):
        for result in results.values():
            band = result.predict(complete(result.law, table)[0], interval="mean", level=level, discrepancy=discrepancy)
            middle = np.log(band[target].to_numpy())
            logs.append(middle)
            # An interval without end says nothing of how far: such a law counts with what it says.
            away = np.fmax(np.log(band["high"].to_numpy()) - middle, middle - np.log(band["low"].to_numpy())) / reach
            variances.append(np.where(np.isfinite(away), away, np.nan) ** 2)
        middle, sure = np.mean(logs, axis=0), np.nan_to_num(_mean(np.array(variances)))
        residual = np.sqrt(np.mean([_residual_variance(result) for result in results.values()]))
        apart = np.var(logs, axis=0, ddof=1) if len(logs) > 1 else 0.0
        away = reach * np.sqrt(sure + apart + max(residual, missed) ** 2)
        ends = np.exp(middle - away), np.exp(middle + away)
    return pd.DataFrame({target: np.exp(middle), "low": ends[0], "high": ends[1]}, index=table.index)


def _mean(variances: np.ndarray) -> np.ndarray:
    known = np.isfinite(variances)
    return np.where(
        known.any(axis=0), np.where(known, variances, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1), 0.0
    )


def _residual_variance(result: FitResult) -> float:
    freedom = max(result.n_runs - len(result.params) + len(result.origin.fixed), 1)
    return result.quality.rmse_log**2 * result.n_runs / freedom


def _normal(level: float) -> float:
    from scipy.special import ndtri  # not above: most of what imports this has no use for it

    return float(ndtri(0.5 + level / 2))
