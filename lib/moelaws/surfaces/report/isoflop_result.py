"""What an isoFLOP analysis found: surfaces, their optima, and how both are told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from moelaws import __version__
from moelaws.quote import number_of
from moelaws.surfaces.nominal import Design, EqualBudgets
from moelaws.surfaces.polynomial import SurfaceError
from moelaws.surfaces.report.optima_table import budget_lines, rows_of, surface_lines, too_few_lines
from moelaws.surfaces.standing import EDGES, FOUND
from moelaws.surfaces.surface import BestSparsity, Surface


@dataclass(frozen=True)
class Budget:
    """One budget of an analysis.

    Attributes:
        flops: C.
        runs: how many finished runs it has.
        table: one row a sparsity, see ``valley.optima``; with fewer than three sizes at every sparsity, what there is.
        surface: its loss surface; none with so few sizes.
        best_sparsities: the best sparsity at each size asked for.
        design: column -> value that its mixtures have in common, where runs were parted by it.
    """

    flops: float
    runs: int
    table: pd.DataFrame
    surface: Surface | None = None
    best_sparsities: tuple[BestSparsity, ...] = ()
    design: Design = field(default_factory=dict)


@dataclass(frozen=True)
class IsoflopResult:
    """The loss surface of each budget of a run table, and the sizes and sparsities that are best on them.

    Printed, it is what ``moelaws isoflop`` says.

    Attributes:
        variable: the column of sizes.
        budgets: one a budget, in increasing order; where runs were parted by design, one a budget and design.
        sorted: the runs sorted into budgets, and what was done to those of budgets that scatter.
        tolerance: by which share the FLOPs of one budget may differ.
        unfinished: how many runs did not finish and are left out.
        derived: column that the table lacked -> the formula that gave it.
        bootstrap, seed: refits for the intervals, and of which draw.
        mixed: which columns differ among runs of one sparsity that share a surface, in words; empty for none.
    """

    variable: str
    budgets: tuple[Budget, ...]
    sorted: EqualBudgets
    tolerance: float
    unfinished: int
    derived: Mapping[str, str]
    bootstrap: int
    seed: int
    mixed: str = ""

    @property
    def surfaces(self) -> dict[float | tuple[float, ...], Surface]:
        """Budget in FLOPs -> its surface, for those that have one.

        Where runs were parted by design, the key is the budget and the design's values.
        """
        return {_key(each): each.surface for each in self.budgets if each.surface is not None}

    @property
    def optima(self) -> pd.DataFrame:
        """One row a budget, design and sparsity: the best size and its loss with 95 % intervals, see ``valley.optima``.

        Its ``status`` says what the runs tell; what is no optimum is NaN here.
        """
        rows = [
            {"budget": each.flops} | dict(each.design) | _honest(row)
            for each in self.budgets
            for row in rows_of(each.table)
        ]
        return pd.DataFrame(rows)

    @property
    def has_optimum(self) -> bool:
        """Whether any budget and sparsity has an optimum, or at least a side on which it lies."""
        return any(each.table["status"].isin((*FOUND, *EDGES)).any() for each in self.budgets)

    def plot(self) -> Any:
        """An Altair chart: the surface of each budget with its runs, and the best sizes over the budgets.

        Raises:
            SurfaceError: no budget has the sizes for a surface.
        """
        from moelaws.charts.pictures.budget_cuts import isoflop_picture

        if not self.surfaces:
            raise SurfaceError("no budget has the three sizes that a curve takes: there is nothing to draw")
        optima = self.optima
        found = optima[optima["status"].isin(FOUND)]
        parted = [each.design for each in self.budgets if each.surface is not None]
        designs = [", ".join(f"{name} = {value:g}" for name, value in design.items()) for design in parted]
        return isoflop_picture(list(self.surfaces.values()), found, self.variable, designs if any(designs) else ())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a file: what ``moelaws isoflop --json`` writes."""
        return {
            "variable": self.variable,
            "bootstrap": self.bootstrap,
            "seed": self.seed,
            "level": 0.95,
            "derived": dict(self.derived),
            "flops": self.sorted.budgets.to_dict("records"),
            "budgets": [_record(each) for each in self.budgets],
            "versions": {"moelaws": __version__, "numpy": np.__version__},
        }

    def __str__(self) -> str:
        lines = [f"{number_of(self.unfinished, 'run')} did not finish, left out"] if self.unfinished else []
        lines += budget_lines(self.sorted, self.tolerance)
        lines += [self.mixed] if self.mixed else []
        for each in self.budgets:
            if each.surface is None:
                lines += too_few_lines(each.flops, each.table, each.design)
            else:
                lines += surface_lines(each.surface, each.table, list(each.best_sparsities), each.design)
        return "\n".join(lines)


def _key(budget: Budget) -> float | tuple[float, ...]:
    return (budget.flops, *budget.design.values()) if budget.design else budget.flops


def _record(budget: Budget) -> dict[str, Any]:
    surface = budget.surface
    record: dict[str, Any] = {"budget": budget.flops, "n_runs": budget.runs}
    if budget.design:
        record["design"] = dict(budget.design)
    if surface is None:
        return record | {"optima": [_honest(row) for row in rows_of(budget.table)]}
    record["n_runs"] = len(surface.runs)
    return record | {
        "degree": list(surface.degree),
        "degrees_compared": len(surface.cross_validation),
        "coefficients": surface.coefficients,
        "mse": surface.mse,
        "held_out_mse": surface.held_out_mse,
        "pearson": surface.pearson,
        "subsample_mse": surface.subsample_mse,
        "set_aside": [
            {"row": row, **{name: values[name] for name in (surface.variable, "sparsity", "loss", "why")}}
            for row, values in surface.set_aside.iterrows()
        ],
        "optima": [_honest(row | {"bracketed": row["edge"] == ""}) for row in rows_of(budget.table)],
        "best_sparsities": [{**vars(best), "bracketed": best.bracketed} for best in budget.best_sparsities],
    }


def _honest(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table of optima for others: what is no optimum is ``None`` there."""
    emptied = dict(row)
    for prefix in ("", "parabola_"):
        if row.get(f"{prefix}status") not in FOUND:
            emptied |= dict.fromkeys(f"{prefix}{name}{end}" for name in ("n", "loss") for end in ("", "_low", "_high"))
    if row["status"] not in FOUND:
        emptied |= dict.fromkeys(set(row) & {"total_params", "active_params", "tokens"})
    return emptied
