"""What ``moelaws isoflop`` prints: the surface of a budget, its optima, and what was done to get them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from moelaws.quote import number_of
from moelaws.surfaces.nominal import Design, EqualBudgets
from moelaws.surfaces.standing import FOUND, words
from moelaws.surfaces.surface import FAR, BestSparsity, Surface

_MOST_ROWS = 3


def budget_lines(sorted_runs: EqualBudgets, tolerance: float) -> list[str]:
    """Say which runs belong to no budget, and which budgets scatter and what that means for their losses."""
    lines = []
    if sorted_runs.outside:
        lines.append(
            f"{number_of(sorted_runs.outside, 'run')} left out, more than {tolerance:.0%} from every budget named"
        )
    for row in rows_of(sorted_runs.budgets):
        if row["high"] > 1.02 * row["low"]:
            done = (
                f"losses moved to {row['budget']:.4g} at {row['slope']:.3g} nats per unit of ln C"
                if row["slope"]
                else "losses as they are: what the FLOPs change in them counts as noise"
            )
            flops = f"{row['low']:.4g} to {row['high']:.4g} FLOPs"
            lines.append(f"C = {row['budget']:.4g}: {number_of(row['runs'], 'run')} of {flops}; {done}")
    return lines


def surface_lines(surface: Surface, table: pd.DataFrame, best: list[BestSparsity], design: Design) -> list[str]:
    """A fit and its optima; a number that is no optimum is not shown as one."""
    single = len(surface.sparsities) == 1
    degree = f"degree {surface.degree[0]} in ln N" if single else f"degree {surface.degree}"
    many = len(surface.cross_validation)
    held_out = f", {surface.held_out_mse**0.5:.4f} held out" if np.isfinite(surface.held_out_mse) else ""
    pearson = f"; held-out Pearson {surface.pearson:.3f}" if np.isfinite(surface.pearson) else ""
    lines = [f"RMSE {surface.mse**0.5:.4f} in the fit{held_out}{pearson}", *_set_aside(surface)]
    if surface.reference is not None and surface.reference.curves and not single:
        lines.append(
            "the surface moves its optima from those of single sparsities beyond chance: the intervals hold both"
        )
    found = table["status"].isin(FOUND)
    shown = pd.DataFrame({"S": table["sparsity"].map("{:.4g}".format), "runs": table["runs"]})
    shown[f"best {surface.variable}"] = [_size(row, "") for row in rows_of(table)]
    shown["95 % interval"] = _interval(table, "n", ".4g", found)
    digits = _digits(table.loc[found, "loss_high"] - table.loc[found, "loss_low"])
    shown["loss"] = table["loss"].map(f"{{:.{digits}f}}".format).where(found, "-")
    shown["95 % interval "] = _interval(table, "loss", f".{digits}f", found)
    for name in ("total_params", "active_params", "tokens"):
        if name in table.columns and name != surface.variable:
            shown[name] = table[name].map("{:.4g}".format).where(found, "-")
    if "parabola_n" in table.columns:
        shown["parabola"] = [_size(row, "parabola_") for row in rows_of(table)]
        shown["95 % interval  "] = _interval(table, "parabola_n", ".4g", table["parabola_status"].isin(FOUND))
    shown[""] = [_words(row) for row in rows_of(table)]
    lines += [*_lines(shown), *(_best_line(surface, each) for each in best)]
    compared = f", best of {many} by leave-one-point-out" if many > 1 else ""
    head = f"{_place(surface.budget, design)}: {number_of(len(surface.runs), 'run')}, {degree}{compared}"
    return ["", head, *(f"  {line}" for line in lines)]


def too_few_lines(budget: float, table: pd.DataFrame, design: Design) -> list[str]:
    """A budget at which no sparsity has the sizes for an optimum."""
    shown = pd.DataFrame({"S": table["sparsity"].map("{:.4g}".format), "runs": table["runs"]})
    shown[""] = [_words(row) for row in rows_of(table)]
    runs = int(table["runs"].sum())
    head = f"{_place(budget, design)}: {number_of(runs, 'run')}, too few sizes for any optimum"
    return ["", head, *(f"  {line}" for line in _lines(shown))]


def _place(budget: float, design: Design) -> str:
    return ", ".join([f"C = {budget:.4g} FLOPs", *(f"{name} = {value:g}" for name, value in design.items())])


def _set_aside(surface: Surface) -> list[str]:
    aside = surface.set_aside
    if aside.empty:
        return []
    far, odd = aside[aside["why"] == FAR], aside[aside["why"] != FAR]
    lines = []
    if len(far):
        ends = [surface.sizes(s) for s in surface.sparsities]
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
        lines.append(
            f"{number_of(len(far), 'run')} set aside: too far from the optimum for one curve to hold them;"
            f" sizes kept {low:.4g} to {high:.4g}"
        )
    for index, row in odd.head(_MOST_ROWS).iterrows():
        lines.append(
            f"row {index} set aside: loss {row['loss']:.4g} at {surface.variable} = {row[surface.variable]:.4g}"
            " contradicts all others"
        )
    if len(odd) > _MOST_ROWS:
        lines.append(f"and {len(odd) - _MOST_ROWS} more rows that contradict all others")
    return lines


def _size(row: Mapping[str, Any], prefix: str) -> str:
    status = row[f"{prefix}status"]
    if status in FOUND:
        return f"{row[f'{prefix}n']:.4g}"
    # How far the optimum may lie on this side of the edge is what the interval says.
    ends = {"low edge": ("<", "n_high", "smallest"), "high edge": (">", "n_low", "largest")}
    if status not in ends:
        return "-"
    sign, end, edge = ends[status]
    bound = row[f"{prefix}{end}"]
    return f"{sign} {row[edge] if np.isnan(bound) else bound:.4g}"


def _interval(table: pd.DataFrame, name: str, form: str, found: pd.Series) -> list[str]:
    ends = zip(table[f"{name}_low"], table[f"{name}_high"], found, strict=True)
    return [f"[{low:{form}}, {high:{form}}]" if here and low == low else "-" for low, high, here in ends]


def _digits(widths: pd.Series) -> int:
    """Decimals that show the ends of the narrowest interval apart."""
    known = widths[widths > 0]
    return int(np.clip(1 - np.floor(np.log10(known.min())), 4, 8)) if len(known) else 4


def _words(row: Mapping[str, Any]) -> str:
    said = words(row["status"], row["smallest"], row["largest"], row["sizes"])
    share = row.get("inside", np.nan)
    return f"{said} ({1 - share:.0%} of refits have none)" if row["status"] == "open" and share < 0.95 else said


def _best_line(surface: Surface, best: BestSparsity) -> str:
    interval = "" if np.isnan(best.sparsity_low) else f" [{best.sparsity_low:.4f}, {best.sparsity_high:.4f}]"
    note = "" if best.bracketed else f" (not bracketed: the {best.edge or 'tried'} end of the sparsities tried is best)"
    return f"best S at {surface.variable} = {best.n:.4g}: {best.sparsity:.4f}{interval}, loss {best.loss:.4f}{note}"


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as mappings of its columns."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _lines(shown: pd.DataFrame) -> list[str]:
    return [line.rstrip() for line in shown.to_string(index=False).splitlines()]
