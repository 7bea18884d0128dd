"""Forecasts that are written down before their runs exist, by every law, and their scores when the runs have come."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from moelaws.fitting.engine.descent import FitFailed
from moelaws.fitting.objective import FitError
from moelaws.foretelling.foretold import Foretold, foretold, together
from moelaws.foretelling.rivals import MEAN, asked_laws
from moelaws.foretelling.rolling import fits_of
from moelaws.laws import Law
from moelaws.quote import shown
from moelaws.runs import finished

KEYS = ("budget", "d_model", "n_layers", "n_experts", "top_k", "granularity", "active_params", "tokens")
"""Columns by which a forecast knows its run, as far as both tables have them."""
KEPT = ("run_id", *KEYS, "total_params", "sparsity", "train_flops", "seed")


def foretell(
    runs: pd.DataFrame, planned: pd.DataFrame, laws: Iterable[Law | str] | Law | str | None = None, **options: Any
) -> pd.DataFrame:
    """What every law foretells of planned runs, alone and with the process of what it misses.

    Args:
        runs: a run table.
        planned: one row a run that is to be made, with the columns that the laws need.
        laws: laws or their names; ``None`` for all that the table can identify.
        options: further arguments of ``fit``; the objective is ``lsq-log`` unless given.

    Returns:
        One row a law, process or none, and planned run: ``law``, ``process``, ``admitted`` (whether the rule would have
        the process), the columns of the plan that name its run, ``predicted`` loss, and ``low`` and ``high``, the band
        of 95 % of one run's loss. Laws that the runs cannot be fitted with are left out.

    Raises:
        FitError, LawError: runs or laws that cannot be used, or a plan that lacks a column.
        FitFailed: no law could be fitted.

    Examples:
        >>> import moelaws as ml
        >>> c, n = np.meshgrid([1e18, 4e18, 1.6e19], np.geomspace(5e7, 5e8, 7))
        >>> runs = pd.DataFrame({"budget": c.ravel(), "active_params": n.ravel(), "n_experts": 1})
        >>> runs["tokens"] = runs["budget"] / (6 * runs["active_params"])
        >>> runs["loss"] = 1.7 + 400 / runs["active_params"] ** 0.34 + 410 / runs["tokens"] ** 0.28
        >>> planned = pd.DataFrame({"active_params": [4e8], "tokens": [2e10], "n_experts": [1]})
        >>> found = ml.foretell(runs, planned, "hoffmann2022")
        >>> found.loc[found["law"] == "hoffmann2022", "predicted"].round(3).tolist()
        [2.711, 2.711]
    """
    table = finished(runs)
    if planned.empty:
        raise FitError("foretell: no planned runs")
    chosen, baselines = asked_laws(laws, table)
    fits = fits_of([*chosen, *baselines], table, f"{len(table)} runs known", {"objective": "lsq-log"} | options)
    if not any(law.name in fits for law in chosen):
        raise FitFailed(f"none of {len(chosen)} laws could be fitted")
    planned = planned.reset_index(drop=True)
    kept = planned[[name for name in KEPT if name in planned.columns]]
    rows = []
    for process in (False, True):
        said: dict[str, Foretold] = {
            name: foretold(result, planned, "always" if process else "none")
            for name, result in fits.items()
            if not process or not isinstance(result.correction, str)
        }
        of_laws = [said[law.name] for law in chosen if law.name in said]
        if len(of_laws) > 1:
            said[MEAN] = together(of_laws)
        for name, each in said.items():
            admitted = fits[name].discrepancy.admitted if name in fits else None
            front = pd.DataFrame({"law": name, "process": process, "admitted": admitted}, index=kept.index)
            ends = {"predicted": np.exp(each.log_loss), "low": each.low, "high": each.high}
            rows.append(pd.concat([front, kept, pd.DataFrame(ends)], axis=1))
    return pd.concat(rows, ignore_index=True)


def score_forecasts(forecasts: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """How forecasts that were written down earlier turned out.

    Args:
        forecasts: what ``foretell`` returned.
        runs: a run table that has the runs foretold, or some of them.

    Returns:
        One row a law, process or none: ``law``, ``process``, ``admitted``, ``runs`` (that were made and foretold),
        ``rmse`` and ``bias`` of ln L (above zero: foretold too high), ``coverage`` (share in the 95 % band), best
        first.

    Raises:
        FitError: tables without a column by which to know a run, or no run that was foretold.

    Examples:
        >>> told = pd.DataFrame({"law": "a", "process": False, "admitted": False, "n_experts": [1, 4],
        ...     "active_params": 1e6, "predicted": [3.0, 2.9], "low": 2.8, "high": 2.95})
        >>> runs = pd.DataFrame({"n_experts": [1, 4], "active_params": 1e6, "loss": [3.0, 2.9]})
        >>> score_forecasts(told, runs)[["law", "runs", "rmse", "coverage"]].values.tolist()
        [['a', 2, 0.0, 0.5]]
    """
    table = finished(runs)
    keys = [name for name in ("run_id",) if name in forecasts.columns and name in table.columns]
    keys = keys or [name for name in KEYS if name in forecasts.columns and name in table.columns]
    if not keys:
        raise FitError(f"forecasts and runs share no column by which to know a run; expected some of {', '.join(KEYS)}")
    for name in ("law", "process", "predicted", "low", "high"):
        if name not in forecasts.columns:
            raise FitError(f"forecasts: no column {shown(name)}; expected what foretell returns")
    made = _known(table, keys).assign(loss=table["loss"].to_numpy(float))
    told = _known(forecasts, keys)
    told = told.assign(**{name: forecasts[name].to_numpy() for name in forecasts.columns if name not in keys})
    both = told.merge(made, on=keys, suffixes=("_told", ""))
    if both.empty:
        raise FitError(f"none of {len(table)} runs was foretold (looked up by {', '.join(keys)})")
    both = both.assign(
        error=np.log(both["predicted"] / both["loss"]), inside=both["loss"].between(both["low"], both["high"])
    )
    groups = both.groupby(["law", "process"], sort=False)
    scores = groups.agg(
        runs=("error", "size"), rmse=("error", lambda e: float(np.sqrt(np.mean(e**2)))), bias=("error", "mean"),
        coverage=("inside", "mean"),
    )  # fmt: skip
    if "admitted" in both.columns:
        scores.insert(0, "admitted", groups["admitted"].first())
    return scores.reset_index().sort_values("rmse", ignore_index=True)


def _known(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The columns that name a run; numbers to six digits, since a file may have rounded them."""
    return pd.DataFrame(
        {
            name: table[name].map(lambda v: f"{float(v):.6g}" if isinstance(v, int | float | np.number) else str(v))
            for name in keys
        }
    ).reset_index(drop=True)
