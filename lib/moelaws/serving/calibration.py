"""From a table of timings to a machine's constants, with the errors on configurations that the fit did not see."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from moelaws.quote import listed
from moelaws.runs.timings import configurations, engines, model_of
from moelaws.serving.roofline import Machine, Work, decode_work, prefill_work, step_seconds
from moelaws.serving.served import served_config
from moelaws.serving.touched import Rule
from moelaws.stages import stage

Phase = Literal["decode", "prefill"]

_TYPICAL = {
    "flops_per_second": 3e10,
    "bytes_per_second": 1e10,
    "resident_bytes_per_second": 5e10,
    "cache_slowdown": 1.0,
    "routed_row_bytes_per_second": 1e10,
    "seconds_per_step": 1e-5,
    "seconds_per_layer": 1e-4,
    "seconds_per_routed_layer": 1e-4,
    "seconds_per_expert": 3e-6,
    "seconds_per_row": 1e-6,
}
"""Constants that are fitted, and where the descents start. A table of one depth cannot tell a step's overhead from
its layers': then all of it is the layers'."""

_RESIDENT = (0.0, 1e6, 4e6, 16e6, 64e6)
"""Sizes of the processor's own cache that are tried, in bytes: of what a program gets of it, the power of four."""

_HOPELESS = 60.0
"""An answer so much worse by AIC on all rows is not asked for again where one configuration is left out."""

_STARTS = 4
_STEP = float(np.sqrt(np.finfo(float).eps))
"""Of the differences that slopes are taken from, as a share."""

FEWEST = 2 * (len(_TYPICAL) + 1)
"""Timings that a calibration needs."""


@dataclass(frozen=True)
class _Point:
    """One candidate machine, or many: logs of the fitted constants, and the answers that are tried by turns.

    Attributes:
        names: of the constants.
        logs: their logs, [constants], or [constants, machines, 1] of machines with the same answers.
        overlap: 0 or 1: one thread reads and multiplies by turns, many hide one behind the other.
        resident_bytes: the size of the processor's cache, one of a few.
        cost: of the fit.
    """

    names: tuple[str, ...]
    logs: np.ndarray
    overlap: float
    resident_bytes: float
    cost: float

    @property
    def machine(self) -> Machine:
        """The constants themselves; of many, [machines, 1] each, so that times on works are [machines, works]."""
        values = np.exp(self.logs)
        fitted: dict[str, Any] = dict(zip(self.names, values.tolist() if values.ndim == 1 else values, strict=True))
        if self.resident_bytes == 0:
            del fitted["resident_bytes_per_second"]  # nothing is there
        return Machine(**fitted, overlap=self.overlap, resident_bytes=self.resident_bytes)


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
    the time. The constants are positive and fitted by their logs. Of ``overlap`` and ``resident_bytes`` the best of
    a few values each is taken; other activations than those of routed tokens are not seen in such times.

    Args:
        timings: from ``read_timings``.
        phase: which time to explain.
        rule: ``distinct`` takes the table's ``experts_touched`` where it is given and even routing elsewhere; the
            rules of thumb are fitted with constants of their own, so that a comparison is fair to them.
        bytes_per_value: 4 for fp32.

    Returns:
        The machine, with errors in the fit and on left-out configurations.

    Raises:
        ValueError: fewer rows than twice the constants, or fewer than three configurations; rows of several engines,
            whose overheads differ.
    """
    group = configurations(timings)
    if len(found := engines(timings)) > 1:
        raise ValueError(
            f"column 'engine': found {listed(found)}; a machine's constants are those of one, so keep the rows of one"
        )
    if len(timings) < FEWEST or group.max() < 2:
        raise ValueError(
            f"a calibration needs {FEWEST} timings of 3 configurations, found {len(timings)} of {group.max() + 1}"
        )
    work = works(timings, phase, rule, bytes_per_value)
    column = "decode_step_seconds" if phase == "decode" else "prefill_seconds"
    measured = timings[column].to_numpy(float)
    names = tuple(name for name in _TYPICAL if name != "seconds_per_step" or len(np.unique(work.layers)) > 1)
    predicted = np.empty(len(measured))
    with stage("fitting the machine to its timings", group.max() + 2) as done:
        points = _fits(work, measured, names, {answers: _starts(names) for answers in product((0.0, 1.0), _RESIDENT)})
        # Each answer's refits start where that answer's own descent ended.
        starts = {(point.overlap, point.resident_bytes): [point.logs] for point in _hopeful(points, len(measured))}
        for left_out in range(group.max() + 1):
            done(left_out + 1)
            out = group == left_out
            refits = _fits(_rows(work, ~out), measured[~out], names, starts)
            predicted[out] = step_seconds(_best(refits, int((~out).sum())).machine, _rows(work, out))
    machine = _best(points, len(measured)).machine
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


def _starts(names: tuple[str, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    typical = np.log([_TYPICAL[name] for name in names])
    return [typical] + [typical + rng.normal(0, 1.5, len(names)) for _ in range(_STARTS - 1)]


def _fits(
    work: Work, measured: np.ndarray, names: tuple[str, ...], starts: dict[tuple[float, float], list[np.ndarray]]
) -> list[_Point]:
    """The best of several descents for each pair of answers, overlap and what stays in the processor's cache."""
    return [
        min((_descend(work, measured, names, start, *answers) for start in of_these), key=lambda point: point.cost)
        for answers, of_these in starts.items()
    ]


def _best(points: list[_Point], rows: int) -> _Point:
    """The one to be believed."""
    return min(points, key=lambda point: _criterion(point, rows))


def _hopeful(points: list[_Point], rows: int) -> list[_Point]:
    """Those that may be the ones to be believed when the rows of one configuration are left out."""
    least = min(_criterion(point, rows) for point in points)
    return [point for point in points if _criterion(point, rows) <= least + _HOPELESS]


def _criterion(point: _Point, rows: int) -> float:
    """AIC: a cache of the processor's own has to be worth its constant."""
    exact = 1e-9 * rows  # timings without noise tell no two costs below it apart
    return float(rows * np.log(max(point.cost, exact)) + 2 * (point.resident_bytes > 0))


def _descend(
    work: Work, measured: np.ndarray, names: tuple[str, ...], start: np.ndarray, overlap: float, resident: float
) -> _Point:
    """One descent; soft-l1, because a disturbed timing is far too long, not a little."""
    typical = np.log([_TYPICAL[name] for name in names])

    def residuals(logs: np.ndarray) -> np.ndarray:
        return np.log(step_seconds(_Point(names, logs, overlap, resident, 0.0).machine, work) / measured)

    def slopes(logs: np.ndarray) -> np.ndarray:
        # Differences as SciPy takes them, but all machines at a time: calls are what a descent waits for.
        step = _STEP * np.where(logs < 0, -1.0, 1.0) * np.maximum(1.0, np.abs(logs))
        around = logs + np.vstack([np.zeros_like(step), np.diag(step)])
        here, *beside = residuals(around.T[:, :, None])
        return np.asarray((np.array(beside) - here).T / (np.diagonal(around[1:]) - logs))

    bounds = (typical - 23, typical + 23)
    found = least_squares(residuals, np.clip(start, *bounds), slopes, bounds=bounds, loss="soft_l1", f_scale=0.2)
    return _Point(names, np.asarray(found.x), overlap, resident, float(found.cost))
