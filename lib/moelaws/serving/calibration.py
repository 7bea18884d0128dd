"""From a table of timings to a machine's constants, with the errors on configurations that the fit did not see."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from moelaws.serving.roofline import Machine, Work, decode_work, prefill_work, step_seconds
from moelaws.serving.served import served_config
from moelaws.serving.timings import configurations, model_of
from moelaws.serving.touched import Rule

Phase = Literal["decode", "prefill"]

_FREE = (
    "flops_per_second", "bytes_per_second", "row_bytes_per_second",
    "seconds_per_step", "seconds_per_layer", "seconds_per_routed_layer", "seconds_per_expert",
    "seconds_per_idle_check",
)  # fmt: skip
_TYPICAL = (3e10, 1e10, 1e10, 1e-5, 1e-4, 1e-4, 3e-6, 1e-6)
_STARTS = 4


@dataclass(frozen=True)
class Errors:
    """Relative errors of predicted times, |predicted / measured - 1|.

    Attributes:
        median, p90: over rows.
        n: rows.
    """

    median: float
    p90: float
    n: int

    @classmethod
    def of(cls, predicted: np.ndarray, measured: np.ndarray) -> "Errors":
        """Summarise."""
        relative = np.abs(predicted / measured - 1)
        return cls(float(np.median(relative)), float(np.quantile(relative, 0.9)), len(relative))


@dataclass(frozen=True)
class Calibration:
    """A machine fitted to timings.

    Attributes:
        machine: its constants.
        fitted: errors on the rows it was fitted to.
        held_out: errors on each configuration, predicted by a fit to all others.
        predicted: those held-out predictions, seconds, [rows].
        rule: which experts a step was said to read.
    """

    machine: Machine
    fitted: Errors
    held_out: Errors
    predicted: np.ndarray
    rule: str


def calibrate(
    timings: pd.DataFrame, phase: Phase = "decode", rule: Rule = "distinct", bytes_per_value: float = 4
) -> Calibration:
    """Fit a machine's constants to measured times by robust least squares in log time.

    Overheads are constants of the machine like its rates: for models of a few million parameters they are most of
    the time. The constants are positive and fitted by their logs; ``overlap`` lies between 0 and 1.

    Args:
        timings: from ``read_timings``.
        phase: which time to explain.
        rule: ``distinct`` takes the table's ``experts_touched`` where it is given and even routing elsewhere; the
            rules of thumb are fitted with constants of their own, so that a comparison is fair to them.
        bytes_per_value: 4 for fp32.

    Returns:
        The machine, with errors in the fit and on left-out configurations.

    Raises:
        ValueError: fewer rows than twice the constants, or fewer than three configurations.
    """
    group = configurations(timings)
    needed = 2 * (len(_FREE) + 1)
    if len(timings) < needed or group.max() < 2:
        raise ValueError(
            f"a calibration needs {needed} timings of 3 configurations, found {len(timings)} of {group.max() + 1}"
        )
    work = works(timings, phase, rule, bytes_per_value)
    column = "decode_step_seconds" if phase == "decode" else "prefill_seconds"
    measured = timings[column].to_numpy(float)
    point = _fit(work, measured, _starts())
    predicted = np.empty(len(measured))
    for left_out in range(group.max() + 1):
        out = group == left_out
        refit = _fit(_rows(work, ~out), measured[~out], [point])
        predicted[out] = step_seconds(_machine(refit), _rows(work, out))
    machine = _machine(point)
    return Calibration(
        machine, Errors.of(step_seconds(machine, work), measured), Errors.of(predicted, measured), predicted, rule
    )


def bare_rule(timings: pd.DataFrame, rule: Rule, bytes_per_value: float = 4) -> Errors:
    """The rule as calculators use it: a decode step takes its weights over one bandwidth, and nothing else.

    The bandwidth is fitted in log time; each configuration is predicted from the others.

    Args:
        timings, rule, bytes_per_value: as in ``calibrate``.
    """
    work = works(timings, "decode", rule, bytes_per_value)
    measured, group = timings["decode_step_seconds"].to_numpy(float), configurations(timings)
    weights = work.always_bytes + work.expert_bytes
    log_slowness = np.log(measured / weights)
    predicted = np.empty(len(measured))
    for left_out in range(group.max() + 1):
        out = group == left_out
        predicted[out] = weights[out] * np.exp(np.median(log_slowness[~out]))
    return Errors.of(predicted, measured)


def works(timings: pd.DataFrame, phase: Phase, rule: Rule = "distinct", bytes_per_value: float = 4) -> Work:
    """The work of every row of a timing table, as one ``Work`` of arrays."""
    rows = []
    for _, row in timings.iterrows():
        model = served_config(model_of(row))
        touched: Any = rule
        measured = row.get("experts_touched", np.nan)
        if phase == "decode":
            if rule == "distinct" and measured == measured and model.n_experts > 1:
                touched = float(measured)
            context = row["prompt_tokens"] + (row["new_tokens"] + 1) / 2
            rows.append(decode_work(model, row["batch"], context, bytes_per_value, touched))
        else:
            rows.append(prefill_work(model, row["batch"], row["prompt_tokens"], bytes_per_value, touched))
    return _each(lambda name: np.array([float(getattr(work, name)) for work in rows]))


def _each(values: Callable[[str], Any]) -> Work:
    return Work(**{field.name: values(field.name) for field in fields(Work)})


def _rows(work: Work, keep: np.ndarray) -> Work:
    return _each(lambda name: getattr(work, name)[keep])


def _machine(point: np.ndarray) -> Machine:
    values: dict[str, Any] = dict(zip(_FREE, np.exp(point[:-1]).tolist(), strict=True))
    return Machine(**values, overlap=float(point[-1]))


def _starts() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    typical = np.append(np.log(_TYPICAL), 0.5)
    return [typical] + [
        typical + np.append(rng.normal(0, 1.5, len(_FREE)), rng.uniform(-0.5, 0.5)) for _ in range(_STARTS - 1)
    ]


def _fit(work: Work, measured: np.ndarray, starts: list[np.ndarray]) -> np.ndarray:
    """The best point of several descents; soft-l1, because a disturbed timing is far too long, not a little."""
    low, high = np.append(np.log(_TYPICAL) - 23, 0.0), np.append(np.log(_TYPICAL) + 23, 1.0)

    def residuals(point: np.ndarray) -> np.ndarray:
        return np.log(step_seconds(_machine(point), work) / measured)

    fits = [
        least_squares(residuals, np.clip(start, low, high), bounds=(low, high), loss="soft_l1", f_scale=0.2)
        for start in starts
    ]
    best = reduce(lambda one, other: one if one.cost <= other.cost else other, fits)
    return np.asarray(best.x)
