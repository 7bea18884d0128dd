"""How many FLOPs a second the runs of a configuration did, as far as the table says."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from moelaws.comparing.configuration import Configuration
from moelaws.fitting.objective import FitError
from moelaws.runs import derive

_NEAR = 1.1
"""Factor in FLOPs within which runs are taken for the budget's."""
_MACHINE = ("device", "machine", "threads")


@dataclass(frozen=True)
class Pace:
    """Training speed of a configuration at its best size.

    Attributes:
        flops_per_second: of the training FLOPs that the table counts.
        error: standard error of its logarithm.
        machine: what it was timed on, as the table says.
    """

    flops_per_second: float
    error: float
    machine: str


def pace_of(timed: pd.DataFrame, chosen: Configuration, curve: pd.DataFrame, flops: float) -> Pace | str:
    """The speed of a configuration at the budget next to ``flops``.

    Args:
        timed: finished runs with ``seconds``, or ``tokens_per_second`` and ``tokens``; with ``seconds_error`` where
            ``predict_seconds`` made them.
        chosen: the configuration.
        curve: its best sizes, from ``best_losses``.
        flops: training FLOPs of the run that is asked about.

    Returns:
        The pace, or why there is none.
    """
    table, _ = derive(timed, ["train_flops", "tokens"])
    if "seconds" not in table.columns and {"tokens_per_second", "tokens"} <= set(table.columns):
        table = table.assign(seconds=table["tokens"] / table["tokens_per_second"])
    if "seconds" not in table.columns:
        return "none: the table has no measured times (a column 'seconds' or 'tokens_per_second')"
    if "train_flops" not in table.columns:
        return "none: the table does not tell the FLOPs of its timed runs"
    try:
        table = table[chosen.rows(table)]
    except FitError as refusal:
        return f"none: of the timed runs, {refusal}"
    table = table[table["seconds"].gt(0) & table["train_flops"].gt(0)]
    if table.empty:
        return f"none: no run with {chosen.words} has a time"
    away = np.abs(np.log(curve["budget"].to_numpy() / flops))
    nearest = curve.iloc[int(np.argmin(away))]
    there = table[np.abs(np.log(table["train_flops"] / nearest["budget"])) <= np.log(_NEAR)]
    if len(there) < 2:
        return f"none: {len(there)} timed runs with {chosen.words} at {nearest['budget']:.4g} FLOPs"
    machine = _machine(there)
    if machine is None:
        return f"none: the runs with {chosen.words} at {nearest['budget']:.4g} FLOPs were timed on several machines"
    speed = np.log(there["train_flops"] / there["seconds"]).to_numpy(float)
    size = next((name for name in ("active_params", "total_params") if name in there.columns), None)
    x = np.log(there[size].to_numpy(float)) if size else np.zeros(len(there))
    middle, error = _line_at(x, speed, float(np.log(nearest["n"])) if size == "active_params" else float(x.mean()))
    if "seconds_error" in there.columns:  # foreseen, not measured: each run's error is that of the device's model
        error = float(np.hypot(error, there["seconds_error"].mean()))
    return Pace(float(np.exp(middle)), error, machine)


def _machine(runs: pd.DataFrame) -> str | None:
    names = [name for name in _MACHINE if name in runs.columns]
    kinds = {tuple(row) for row in runs[names].astype(str).to_numpy()} if names else {()}
    return ", ".join(next(iter(kinds))) if len(kinds) == 1 else None


def _line_at(x: np.ndarray, y: np.ndarray, at: float) -> tuple[float, float]:
    """A straight line through points, at an abscissa within them, and its standard error there."""
    at = float(np.clip(at, x.min(), x.max()))
    if len(x) < 4 or np.ptp(x) == 0:
        return float(y.mean()), float(y.std(ddof=1) / np.sqrt(len(y)))
    away = x - x.mean()
    slope = float(away @ y / (away @ away))
    rest = y - y.mean() - slope * away
    variance = float(rest @ rest / (len(x) - 2))
    place = at - x.mean()
    return float(y.mean() + slope * place), float(np.sqrt(variance * (1 / len(x) + place**2 / (away @ away))))
