"""A fit in words: its law, its status, its parameters with their intervals, and how well it predicts."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from moelaws.fitting.result import FitResult


@dataclass(frozen=True, repr=False)
class Summary:
    """What is to be said of a fit.

    Attributes:
        head: law, runs, objective and status, a line each.
        table: parameter -> ``value``, ``low``, ``high`` (nan where there is no interval) and ``note``.
        method: how the intervals were made.
        foot: the search, and how well the law predicts, a line each.
    """

    head: tuple[str, ...]
    table: pd.DataFrame
    method: str
    foot: tuple[str, ...]

    @property
    def parameters(self) -> tuple[str, ...]:
        """The table as text, a line a parameter, below one that says how the intervals were made."""
        lines = [f"{'parameter':10} {'value':>13}  {self.method}"]
        for name, row in self.table.iterrows():
            low, high, note = float(row["low"]), float(row["high"]), str(row["note"])
            ends = "" if np.isnan(low) else f"{low:.6g} to {high:.6g}" + (" " if note[:1] == "(" else "  ") * bool(note)
            lines.append(f"{name!s:10} {float(row['value']):13.6g}  {ends}{note}")
        return tuple(lines)

    def __str__(self) -> str:
        return "\n".join((*self.head, *self.parameters, *self.foot))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from moelaws.fitting.report.display import html_of_summary

        return html_of_summary(self)


def summary_of(result: FitResult) -> Summary:
    """The summary of a fit, with its intervals: those that it holds, or else of 95 %.

    Args:
        result: a fit.

    Returns:
        The summary; a fit from a file that tells of no intervals has none.
    """
    if not result.intervals and not result.uncertainty.method and _can_tell(result):
        result = result.with_intervals()
    rows = {name: _row(result, name) for name in result.params}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high", "note"])
    counted = f"{result.n_runs} runs, {result.objective.name}, " if result.n_runs else ""
    head = (f"{result.law.name}: {result.law.formula}", f"{counted}{result.status}: {result.message}")
    return Summary(head, table.rename_axis("parameter"), result.uncertainty.method, tuple(_foot(result)))


def _can_tell(result: FitResult) -> bool:
    return result.solution is not None or bool(result.uncertainty.replicates) or result.uncertainty.joint is not None


def _row(result: FitResult, name: str) -> tuple[float, float, float, str]:
    value = result.params[name]
    if name in result.origin.fixed:
        return value, np.nan, np.nan, "fixed"
    open_one = "" if result.identified.get(name, False) else "not identified"
    if name not in result.intervals:
        return value, np.nan, np.nan, "  ".join(filter(None, ("no interval", open_one)))
    kinds = result.uncertainty.ends.get(name, ("found", "found"))
    notes = [
        f"open {side}" if kind == "open" else f"at its bound {side}" if kind == "bound" else f"end {side} not found"
        for side, kind in zip(("below", "above"), kinds, strict=True)
        if kind != "found"
    ]
    return value, *result.intervals[name], "  ".join(filter(None, (f"({', '.join(notes)})" if notes else "", open_one)))


def _foot(result: FitResult) -> list[str]:
    lines = []
    search = result.search
    if search.starts:
        reached = f"reached by {search.starts_at_optimum} of {search.starts} starts"
        lines.append(f"objective {search.objective_value:.10g}, {reached}")
    for what, measured in (("fit", result.quality), ("holdout", result.holdout)):
        if measured is not None and measured.n:
            on_log = f"rmse of ln L {measured.rmse_log:.5f}, " if np.isfinite(measured.rmse_log) else ""
            lines.append(f"{what}: n {measured.n}, {on_log}mse {measured.mse:.3g}, R2 {measured.r2:.4f}")
    return lines
