"""The rolling origin: fit to the budgets up to one, forecast the next, two on, three on, and be scored."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from moelaws.fitting.discrepancy.admission import LEAST_CUT
from moelaws.fitting.engine.descent import FitFailed
from moelaws.fitting.fit import fit
from moelaws.fitting.foresight import OpenDesignWarning
from moelaws.fitting.objective import FitError
from moelaws.fitting.result import FitResult
from moelaws.foretelling.decisions import Valleys, multiplier, valleys
from moelaws.foretelling.foretold import Foretold, foretold, together
from moelaws.foretelling.rivals import MEAN, asked_laws
from moelaws.laws import Law, LawError
from moelaws.quote import number_of
from moelaws.runs import derive, finished
from moelaws.stages import counted
from moelaws.surfaces.budget import budget_of

_DRAWS = 200
_ENDS = (0.025, 0.975)
SCORES = (
    "law", "process", "admitted", "known", "last", "steps", "asked", "runs", "rmse", "rmse_low", "rmse_high", "bias",
    "coverage", "gain",
    "gain_low", "gain_high", "gain_seen", "best_experts", "regret", "size_factor", "size_low", "size_high",
    "multiplier", "multiplier_low", "multiplier_high", "multiplier_seen",
)  # fmt: skip
"""Columns of ``rolling_origin``."""


def rolling_origin(
    runs: pd.DataFrame,
    laws: Iterable[Law | str] | Law | str | None = None,
    first: int = 2,
    steps: int = 3,
    **options: Any,
) -> pd.DataFrame:
    """Fit every law to the budgets up to one, let it forecast the later ones, and score it by what came.

    Each law is asked alone, and with the Gaussian process of what it misses (``FitResult.discrepancy``), whether the
    rule admits that or not. Beside the laws: a quadratic in the logs, which a law must beat; a constant, whose process
    is one and nothing else; and the laws' mean. Decisions go through the same steps for forecast and measured losses
    (``decisions.valleys``); their intervals are of losses as one run a point would show them.

    Args:
        runs: a run table with ``active_params``, ``n_experts`` and budgets: a column ``budget``, or FLOPs.
        laws: laws or their names; ``None`` for all that the table can identify.
        first: budgets in the first fit.
        steps: how many budgets ahead are asked for.
        options: further arguments of ``fit``; the objective is ``lsq-log`` unless given.

    Returns:
        One row a law, process or none, origin and budget asked for: ``law``; ``process`` (whether one stood beside it);
        ``admitted`` (whether the rule would have had it); ``known`` (budgets fitted), ``last`` (the largest of them),
        ``steps``, ``asked`` (the budget), ``runs`` (of it); ``rmse`` of ln L, with what it is when these runs are drawn
        again, and its ``bias`` (above zero: forecast too high); ``coverage`` (share of the runs in the 95 % band);
        ``gain`` from the fewest to the most experts in nats, with its interval and as it was seen; ``best_experts`` and
        the ``regret`` of choosing it, nats; ``size_factor``, the best N_a foretold over the one seen, at the best E;
        the FLOP ``multiplier`` of the most experts over the fewest. What the runs do not tell is nan.

    Raises:
        FitError, LawError: runs or laws that cannot be used.
        SurfaceError: FLOPs that form no budgets.

    Examples:
        >>> import moelaws as ml
        >>> c, n = np.meshgrid([1e18, 4e18, 1.6e19, 6.4e19], np.geomspace(5e7, 5e8, 7))
        >>> runs = pd.DataFrame({"budget": c.ravel(), "active_params": n.ravel(), "n_experts": 1})
        >>> runs["tokens"] = runs["budget"] / (6 * runs["active_params"])
        >>> runs["loss"] = 1.7 + 400 / runs["active_params"] ** 0.34 + 410 / runs["tokens"] ** 0.28
        >>> found = ml.rolling_origin(runs, "hoffmann2022", first=3)
        >>> alone = found[(found["law"] == "hoffmann2022") & ~found["process"]]
        >>> alone["asked"].tolist(), bool(alone["rmse"].max() < 1e-4)
        ([6.4e+19], True)
    """
    table = finished(runs)
    for name in ("loss", "active_params", "n_experts"):
        table = derive(table, [name])[0] if name not in table.columns else table
        if name not in table.columns:
            raise FitError(f"rolling_origin: no column {name!r}")
    table = table.assign(budget=budget_of(table)).dropna(subset="budget").reset_index(drop=True)
    budgets = np.sort(table["budget"].unique())
    if len(budgets) <= first:
        raise FitError(f"rolling_origin: {number_of(len(budgets), 'budget')}; expected more than first = {first}")
    chosen, baselines = asked_laws(laws, table)
    seen = {c: _measured(table[table["budget"] == c]) for c in budgets}
    options = {"objective": "lsq-log"} | options
    rows: list[dict[str, Any]] = []
    for known in range(first, len(budgets)):
        smaller, later = table[table["budget"] <= budgets[known - 1]], budgets[known : known + steps]
        fits = fits_of([*chosen, *baselines], smaller, f"{known} of {len(budgets)} budgets known", options)
        admitted = {name: _admitted(each, rows, name, known) for name, each in fits.items()}
        for ahead, budget in enumerate(later, 1):
            new = table[table["budget"] == budget].reset_index(drop=True)
            origin = {"known": known, "last": budgets[known - 1], "steps": ahead, "asked": budget, "runs": len(new)}
            before = {c: seen[c] for c in budgets[:known]}
            for process in (False, True):
                said = {name: _told(each, new, process) for name, each in fits.items()}
                forecasts: dict[str, Foretold] = {name: each for name, each in said.items() if each is not None}
                of_laws = [each for name, each in forecasts.items() if name in {law.name for law in chosen}]
                if len(of_laws) > 1:
                    forecasts[MEAN] = together(of_laws)
                for name, each in forecasts.items():
                    row = {"law": name, "process": process, "admitted": admitted.get(name)} | origin
                    rows.append(row | _score(each, new) | _decided(each, new, seen[budget], before, float(budget)))
    return pd.DataFrame(rows, columns=list(SCORES))


def fits_of(laws: Iterable[Law], runs: pd.DataFrame, what: str, options: Mapping[str, Any]) -> dict[str, FitResult]:
    """The laws that these runs can be fitted with; few budgets leave some law without."""
    found = {}
    every = list(laws)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OpenDesignWarning)  # a forecast is judged by what comes
        for law in counted(every, f"fitting laws, {what}", len(every)):
            try:
                found[law.name] = fit(law, runs, **options)
            except (FitError, LawError, FitFailed):
                continue
    return found


def _admitted(result: FitResult, rows: list[dict[str, Any]], name: str, known: int) -> bool:
    """Whether the rule would have the process: it asks for the forecast of one origin before, where there is one."""
    before = {
        row["process"]: row["rmse"]
        for row in rows
        if row["law"] == name and row["known"] == known - 1 and row["steps"] == 1
    }
    if len(before) == 2:
        return bool(before[False] >= LEAST_CUT * before[True])
    return result.discrepancy.admitted


def _told(result: FitResult, new: pd.DataFrame, process: bool) -> Foretold | None:
    if process and isinstance(result.correction, str):
        return None
    with np.errstate(all="ignore"):
        each = foretold(result, new, "always" if process else "none")
    return each if np.isfinite(each.log_loss).all() else None


def _measured(runs: pd.DataFrame) -> Valleys:
    return valleys(runs, runs["loss"].to_numpy(float)[None])


def _score(each: Foretold, new: pd.DataFrame) -> dict[str, float]:
    loss = new["loss"].to_numpy(float)
    errors = each.log_loss - np.log(loss)
    drawn = np.random.default_rng(0).integers(len(errors), size=(_DRAWS, len(errors)))
    low, high = np.quantile(np.sqrt(np.mean(errors[drawn] ** 2, axis=1)), _ENDS)
    return {
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "rmse_low": float(low),
        "rmse_high": float(high),
        "bias": float(errors.mean()),
        "coverage": float(np.mean((each.low <= loss) & (loss <= each.high))),
    }


def _decided(
    each: Foretold, new: pd.DataFrame, seen: Valleys, before: Mapping[float, Valleys], budget: float
) -> dict[str, float]:
    """Decisions by a forecast, beside those that the runs would have led to."""
    if not len(seen.experts):
        return {}
    told = valleys(new, np.concatenate([np.exp(each.log_loss)[None], each.draws(_DRAWS)]))
    best, chosen = int(seen.best[0]), int(told.best[0])
    sizes, times = told.size[:, best] / seen.size[0, best], multiplier(before, budget, told)
    found = {
        "best_experts": told.experts[chosen],
        "regret": seen.loss[0, chosen] - seen.loss[0, best],
        "size_factor": sizes[0], "size_low": np.quantile(sizes[1:], _ENDS[0]),
        "size_high": np.quantile(sizes[1:], _ENDS[1]),
    }  # fmt: skip
    if len(seen.experts) > 1:
        low, high = np.quantile(told.gain[1:], _ENDS)
        found |= {"gain": told.gain[0], "gain_low": low, "gain_high": high, "gain_seen": seen.gain[0]}
        known = times[1:][np.isfinite(times[1:])]
        ends = np.quantile(known, _ENDS) if len(known) else (np.nan, np.nan)
        found |= {"multiplier": times[0], "multiplier_low": ends[0], "multiplier_high": ends[1]}
        found["multiplier_seen"] = multiplier(before, budget, seen)[0]
    return {name: float(value) for name, value in found.items()}
