"""What a fitted law, or several together, say of new runs: with the doubt about the law, and that of one run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from moelaws import __version__
from moelaws.comparing.comparison import Comparison
from moelaws.fitting.discrepancy.admission import Use
from moelaws.fitting.objective import FitError
from moelaws.fitting.result import FitResult
from moelaws.fitting.result_parts import LEVEL
from moelaws.fitting.table import complete

_SLACK = 1.02
"""Beyond the runs' range by more than this factor a prediction is an extrapolation."""
_FEW_MORE, _MOST_SHOWN = 3, 40
"""Columns beside those that a law reads that a reader may have named on purpose; points that are printed."""


@dataclass(frozen=True, repr=False)
class Predictions:
    """Predictions of new runs.

    Attributes:
        law: what predicts.
        table: one row a point: its columns, the target (``loss``), ``mean_low`` and ``mean_high`` (where the law lies;
            nan for several laws together), ``run_low`` and ``run_high`` (where the loss of one new run will lie), and
            ``beyond``, the columns in which the point lies outside the runs fitted.
        target: the column that is predicted.
        level: of the intervals.
        derived: column -> formula, of points' columns that followed from others.
        discrepancy: whether a process of what the law misses stands beside it, and why; empty where nobody asked.
        columns: those that the laws read: of a wide table only these are printed.
    """

    law: str
    table: pd.DataFrame
    target: str
    level: float
    derived: Mapping[str, str]
    discrepancy: str = ""
    columns: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values: what ``moelaws predict --json`` writes, as ``data/predict.schema.json`` has it."""
        ends = ("mean_low", "mean_high", "run_low", "run_high", "beyond", self.target)
        points = [
            {"at": {str(key): value for key, value in row.items() if key not in ends}, "predicted": row[self.target]}
            | {name: row[name] for name in ends[:5]}
            for row in self.table.to_dict("records")
        ]
        return {
            "law": self.law,
            "target": self.target,
            "level": self.level,
            "points": points,
            "derived": dict(self.derived),
            "discrepancy": self.discrepancy,
            "versions": {"moelaws": __version__, "numpy": np.__version__},
        }

    def __str__(self) -> str:
        named = [*self.columns, self.target, "mean_low", "mean_high", "run_low", "run_high", "beyond"]
        wide = self.columns and self.table.shape[1] > len(named) + _FEW_MORE
        shown = self.table[[name for name in self.table.columns if name in named] if wide else self.table.columns]
        shown = shown.head(_MOST_SHOWN).copy()
        share = f"{100 * self.level:g} %"
        for name, title in (("mean", f"{share} of the law"), ("run", f"{share} of a run")):
            low, high = shown.pop(f"{name}_low"), shown.pop(f"{name}_high")
            if low.notna().any():
                shown[title] = [f"{_written(a)} to {_written(b)}" for a, b in zip(low, high, strict=True)]
        shown[self.target] = shown[self.target].map(_written)
        for name in set(shown.columns) & set(self.table.columns) - {self.target, "beyond"}:
            if pd.api.types.is_numeric_dtype(shown[name]):
                shown[name] = shown[name].map("{:.5g}".format)
        shown["beyond the runs in"] = [", ".join(each) or "-" for each in shown.pop("beyond")]
        with pd.option_context("display.width", 200, "display.max_columns", None):
            said = f"{self.law}\n{self.discrepancy}\n" if self.discrepancy else f"{self.law}\n"
            lines = [line.rstrip() for line in shown.to_string(index=False).splitlines()]
        if len(self.table) > _MOST_SHOWN:
            lines.append(f"(the first {_MOST_SHOWN} of {len(self.table)})")
        return said + "\n".join(lines)

    __repr__ = __str__


def _written(loss: float) -> str:
    """A loss to four decimals; one that is none, as far from the runs, in few characters."""
    return f"{loss:.4f}" if abs(loss) < 1e5 else f"{loss:.5g}"


def predict(
    source: FitResult | Comparison, points: Any, level: float = LEVEL, discrepancy: Use = "none"
) -> Predictions:
    """The loss of new runs, with an interval of the law and one of a run.

    Args:
        source: a fitted law; or a comparison, whose laws answer together.
        points: a table, or a mapping of columns to numbers or arrays.
        level: of the intervals.
        discrepancy: ``auto`` puts a process of what a law misses beside it where the rule admits that, see
            ``FitResult.predict``; the result says so.

    Returns:
        The predictions.

    Raises:
        FitError: a level that is none, no points, or a fit from a file that tells nothing of its uncertainty.
        LawError: a missing column.

    Examples:
        >>> import moelaws as ml
        >>> n, d = (each.ravel() for each in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e9, 1e11, 6)))
        >>> loss = (1.7 + 400 / n**0.34 + 410 / d**0.28) * np.exp(np.random.default_rng(0).normal(0, 0.002, n.size))
        >>> fit = ml.fit("hoffmann2022", {"total_params": n, "tokens": d, "loss": loss}, "lsq-log")
        >>> found = ml.predict(fit, {"total_params": 3e9, "tokens": 6e10})
        >>> found.table["loss"].round(2).tolist(), found.table["beyond"].tolist()
        ([2.33], [('total_params', 'train_flops')])
    """
    table = (
        points if isinstance(points, pd.DataFrame) else pd.DataFrame({k: np.atleast_1d(v) for k, v in points.items()})
    )
    if table.empty:
        raise FitError("no points to predict")
    results = [each.result for each in source.contenders] if isinstance(source, Comparison) else [source]
    table = table.drop(columns="loss", errors="ignore")
    derived: dict[str, str] = {}
    for each in results:
        table, formulas = complete(each.law, table)
        derived |= formulas
    _check(table, results[0])
    if isinstance(source, Comparison):
        weights = [name for name, weight in source.weights.items() if weight > 0]
        name = f"mean of {len(weights)} laws: {', '.join(weights)}" if len(weights) > 1 else weights[0]
        run, mean = source.predict(table, level, discrepancy), None
        said = _said(source, weights) if discrepancy != "none" else ""
    else:
        name = source.law.name
        run, mean = (source.predict(table, interval, level, discrepancy) for interval in ("run", "mean"))
        said = source.discrepancy.reason if discrepancy != "none" else ""
    target = results[0].law.target
    nothing = np.full(len(table), np.nan)
    found = table.assign(
        **{target: run[target]},
        mean_low=nothing if mean is None else mean["low"],
        mean_high=nothing if mean is None else mean["high"],
        run_low=run["low"],
        run_high=run["high"],
        beyond=pd.Series(_beyond(table, results[0]), index=table.index),
    )
    read = {column for each in results for column in each.law.columns(table).values()}
    return Predictions(name, found, target, level, derived, said, tuple(sorted(read)))


def _said(source: Comparison, names: list[str]) -> str:
    """Beside which of several laws a process stands."""
    taken = {each.law.name: each.result for each in source.contenders if each.law.name in names}
    beside = [name for name, result in taken.items() if result.discrepancy.admitted]
    return (
        f"a process of what the law misses stands beside {len(beside)} of {len(taken)} laws: {', '.join(beside) or '-'}"
    )


def _check(points: pd.DataFrame, result: FitResult) -> None:
    for name in result.law.columns(points.columns).values():
        values = pd.to_numeric(points[name], errors="coerce").to_numpy(float)
        fine = np.isfinite(values) & ((values > 0) | ((name == "sparsity") & (values >= 0)))
        if not fine.all():
            row = points.index[~fine][0]
            raise FitError(f"point {row}, column {name!r}: found {points[name].loc[row]!s}, expected a number > 0")


def _beyond(points: pd.DataFrame, result: FitResult) -> list[tuple[str, ...]]:
    """For each point the columns in which it lies outside the runs fitted."""
    from moelaws.runs import derive

    known, _ = derive(points, list(result.origin.ranges))
    names: list[list[str]] = [[] for _ in range(len(points))]
    for name, (low, high) in result.origin.ranges.items():
        if name not in known.columns:
            continue
        values = pd.to_numeric(known[name], errors="coerce").to_numpy(float)
        # Sparsity is compared as the share that works, which a factor makes sense of.
        values, ends = (1 - values, (1 - high, 1 - low)) if name == "sparsity" else (values, (low, high))
        for i in np.flatnonzero((values < ends[0] / _SLACK) | (values > ends[1] * _SLACK)):
            names[i].append(name)
    return [tuple(each) for each in names]
