"""``moelaws isoflop``: loss surfaces of equal-budget runs, and the sizes and sparsities that are best on them."""

import argparse
from typing import Any

import numpy as np
import pandas as pd

from moelaws import __version__
from moelaws.cli.optima_table import budget_lines, rows_of, surface_lines, too_few_lines
from moelaws.cli.table import add_table, load_table, say, use_our_names
from moelaws.cli.values import number, numbers, path, seed, whole
from moelaws.document import check_json, write_json
from moelaws.fitting.engine.descent import FitFailed
from moelaws.quote import shown
from moelaws.runs import finished
from moelaws.stages import counted
from moelaws.surfaces.budget import FEWEST_SIZES, TOLERANCE, check, completed
from moelaws.surfaces.isoflop import (
    BestSparsity,
    EqualBudgets,
    Surface,
    SurfaceError,
    equal_budgets,
    fit_surface,
    optima,
)
from moelaws.surfaces.polynomial import Degree
from moelaws.surfaces.standing import EDGES, FOUND
from moelaws.surfaces.tried import Tried


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("isoflop", help="fit the loss surface of each budget and find its optima")
    add_table(parser)
    parser.add_argument("--variable", default="total_params", help="column of sizes (default total_params)")
    parser.add_argument(
        "--budget",
        "--budgets",
        dest="budgets",
        type=numbers(0, 1e40),
        default=(),
        metavar="C,...",
        help="fit these budgets only, in FLOPs; a run belongs to the nearest one (default: grouped by their FLOPs)",
    )
    parser.add_argument(
        "--budget-tolerance",
        type=number(0, 1),
        default=TOLERANCE,
        metavar="SHARE",
        help=f"by how much FLOPs of one budget may differ (default {TOLERANCE:g})",
    )
    parser.add_argument(
        "--every-run", action="store_true", help="fit all finished runs, those that no one curve can hold too"
    )
    parser.add_argument(
        "--degree",
        type=_degree,
        metavar="A1,A2,A3",
        help="highest powers of ln N, -ln(1-S) and their product (default: by cross-validation)",
    )
    parser.add_argument(
        "--sizes", type=numbers(0, 1e30), metavar="N,...", default=(), help="also the best sparsity at these N"
    )
    parser.add_argument(
        "--bootstrap", type=whole(0, 100_000), default=1000, help="refits for the intervals (default 1000)"
    )
    parser.add_argument("--seed", type=seed, default=0, help="of the bootstrap (default 0)")
    parser.add_argument("--json", type=path, metavar="OUT", help="write surfaces and optima to this file too")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fit and print; a budget and sparsity without an optimum is said to have none.

    Raises:
        FitFailed: none has one, nor a side on which it lies.
    """
    check_json(options.json, "isoflop")
    use_our_names(options, "variable")
    loaded = load_table(options)
    runs, derived = loaded.derived()
    runs, more = completed(runs)
    derived |= more
    budgets = _equal_budgets(runs, options)
    records, lines = [], budget_lines(budgets, options.budget_tolerance)
    groups = [(float(str(budget)), group) for budget, group in budgets.runs.groupby("budget")]
    for budget, group in counted(groups, "fitting the surface of each budget", len(groups)):
        record, said = _one(budget, group, options)
        records.append(record)
        lines += said
    if options.json:
        write_json(
            options.json,
            "isoflop",
            {
                "variable": options.variable,
                "bootstrap": options.bootstrap,
                "seed": options.seed,
                "level": 0.95,
                "derived": derived,
                "flops": budgets.budgets.to_dict("records"),
                "budgets": records,
                "versions": {"moelaws": __version__, "numpy": np.__version__},
            },
        )
    # Nothing is printed before everything is known.
    say(loaded, derived)
    if len(finished(runs)) < len(runs):
        print(f"{len(runs) - len(finished(runs))} runs did not finish and are left out")
    print("\n".join(lines))
    if not any(row["status"] in (*FOUND, *EDGES) for record in records for row in record["optima"]):
        raise FitFailed("no budget and sparsity has an optimum; the table says why")
    return 0


def _equal_budgets(runs: pd.DataFrame, options: argparse.Namespace) -> EqualBudgets:
    # A run that did not finish may have no budget of its own to be grouped by; it is counted, not fitted.
    ended = finished(runs)
    if ended.empty:
        raise SurfaceError(f"no finished runs among the {len(runs)} rows kept")
    check(ended, options.variable)
    sorted_runs = equal_budgets(ended, options.variable, options.budgets, options.budget_tolerance)
    missing = [c for c in options.budgets if not np.isclose(sorted_runs.budgets["budget"], c).any()]
    if missing:
        there = equal_budgets(ended, options.variable, (), options.budget_tolerance).budgets["budget"]
        found = ", ".join(f"{label:.4g}" for label in there[:8]) + (", ..." if len(there) > 8 else "")
        raise SurfaceError(f"no runs of budget {missing[0]:.4g}; the table has {found} FLOPs")
    return sorted_runs


def _one(budget: float, runs: pd.DataFrame, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Fit one budget; returns its record and the lines to print of it."""
    tried = Tried(runs, options.variable)
    sizes = {s: tried.at(s) for s in tried.sparsities}
    if max(map(len, sizes.values())) < FEWEST_SIZES:
        rows = [
            {"sparsity": s, "runs": int((runs["sparsity"] == s).sum()), "status": "few sizes", "sizes": len(n)}
            | {"smallest": n[0], "largest": n[-1]}
            for s, n in sizes.items()
        ]
        record = {"budget": budget, "n_runs": len(runs), "optima": [_honest(row) for row in rows]}
        return record, too_few_lines(budget, pd.DataFrame(rows))
    try:
        surface = fit_surface(
            runs, options.variable, options.degree, options.bootstrap, options.seed, options.every_run
        )
        sparsities = [surface.best_sparsity(size) for size in options.sizes]
    except SurfaceError as error:
        raise SurfaceError(f"budget {budget:.4g}: {error}") from None
    table = optima(surface)
    return _record(surface, table, sparsities), surface_lines(surface, table, sparsities)


def _record(surface: Surface, table: pd.DataFrame, sparsities: list[BestSparsity]) -> dict[str, Any]:
    return {
        "budget": surface.budget,
        "n_runs": len(surface.runs),
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
        "optima": [_honest(row | {"bracketed": row["edge"] == ""}) for row in rows_of(table)],
        "best_sparsities": [{**vars(best), "bracketed": best.bracketed} for best in sparsities],
    }


def _honest(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table of optima for a file: what is no optimum is null there."""
    emptied = dict(row)
    for prefix in ("", "parabola_"):
        if row.get(f"{prefix}status") not in FOUND:
            emptied |= dict.fromkeys(f"{prefix}{name}{end}" for name in ("n", "loss") for end in ("", "_low", "_high"))
    if row["status"] not in FOUND:
        emptied |= dict.fromkeys(set(row) & {"total_params", "active_params", "tokens"})
    return emptied


def _degree(text: str) -> Degree:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(part in tuple("01234") for part in parts):
        raise argparse.ArgumentTypeError(
            f"expected three whole numbers from 0 to 4, such as 2,2,2, found {shown(text)}"
        )
    return int(parts[0]), int(parts[1]), int(parts[2])
