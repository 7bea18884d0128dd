"""``moelaws isoflop``: loss surfaces of equal-budget runs, and the sizes and sparsities that are best on them."""

import argparse
from typing import Any

import numpy as np
import pandas as pd

from moelaws import __version__
from moelaws.cli.output import check_json, write_json
from moelaws.cli.table import add_table, load_table, say, use_our_names
from moelaws.cli.values import number, numbers, path, seed, whole
from moelaws.fitting.isoflop import BestSparsity, Surface, SurfaceError, budget_of, fit_surface, optima
from moelaws.fitting.polynomial import Degree
from moelaws.quote import shown
from moelaws.runs import finished
from moelaws.stages import counted

_EDGES = {
    "low": "not bracketed: the smallest size tried is best",
    "high": "not bracketed: the largest size tried is best",
    "flat": "not bracketed: the surface does not depend on size",
}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("isoflop", help="fit the loss surface of each budget and find its optima")
    add_table(parser)
    parser.add_argument("--variable", default="total_params", help="column of sizes (default total_params)")
    parser.add_argument("--budget", type=number(0, 1e40), help="fit this budget only, in FLOPs")
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
    """Fit and print; write the JSON only when everything could be fitted."""
    check_json(options.json, "isoflop")
    use_our_names(options, "variable")
    loaded = load_table(options)
    runs, derived = loaded.derived()
    groups = _by_budget(runs, options.budget)
    fitted = counted(groups, "fitting the surface of each budget", len(groups))
    surfaces = [_fit(group, budget, options) for budget, group in fitted]
    found = [(each, optima(each), [each.best_sparsity(size) for size in options.sizes]) for each in surfaces]
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
                "budgets": [_record(*each) for each in found],
                "versions": {"moelaws": __version__, "numpy": np.__version__},
            },
        )
    # Nothing is printed before everything is known.
    say(loaded, derived)
    if len(finished(runs)) < len(runs):
        print(f"{len(runs) - len(finished(runs))} runs did not finish and are left out")
    for surface, table, sparsities in found:
        _print_surface(surface, table)
        for best in sparsities:
            print(f"  {_best_line(surface, best)}")
    return 0


def _by_budget(runs: pd.DataFrame, budget: float | None) -> list[tuple[float, pd.DataFrame]]:
    # A run that did not finish may have no budget of its own to be grouped by; it is counted, not fitted.
    ended = finished(runs)
    if ended.empty:
        raise SurfaceError(f"no finished runs among the {len(runs)} rows kept")
    groups = [(float(label), group) for label, group in ended.groupby(budget_of(ended))]
    if budget is None:
        return groups
    chosen = [(label, group) for label, group in groups if abs(label / budget - 1) <= 0.01]
    if not chosen:
        found = ", ".join(f"{label:.4g}" for label, _ in groups)
        raise SurfaceError(f"no runs of budget {budget:.4g}; the table has {found} FLOPs")
    return chosen


def _fit(runs: pd.DataFrame, budget: float, options: argparse.Namespace) -> Surface:
    try:
        return fit_surface(runs, options.variable, options.degree, options.bootstrap, options.seed)
    except SurfaceError as error:
        raise SurfaceError(f"budget {budget:.4g}: {error}") from None


def _print_surface(surface: Surface, table: pd.DataFrame) -> None:
    print(
        f"\nC = {surface.budget:.4g} FLOPs: {len(surface.runs)} runs, degree {surface.degree}"
        f"{_compared(len(surface.cross_validation))}\n"
        f"  RMSE {surface.mse**0.5:.4f} in the fit, {surface.held_out_mse**0.5:.4f} held out; "
        f"held-out Pearson {surface.pearson:.3f}"
    )
    shown = pd.DataFrame({"S": table["sparsity"].map("{:.4g}".format), "runs": table["runs"]})
    shown[f"best {surface.variable}"] = table["n"].map("{:.4g}".format)
    shown["95 % interval"] = _interval(table, "n", ".4g")
    shown["loss"] = table["loss"].map("{:.4f}".format)
    shown["95 % interval "] = _interval(table, "loss", ".4f")
    for name in ("total_params", "active_params", "tokens"):
        if name in table.columns and name != surface.variable:
            shown[name] = table[name].map("{:.4g}".format)
    if "parabola_n" in table.columns:
        shown["parabola"] = table["parabola_n"].map("{:.4g}".format)
    shown[""] = table["edge"].map(_EDGES).fillna("")
    lines = shown.to_string(index=False).splitlines()
    print("\n".join(f"  {line}".rstrip() for line in lines))


def _compared(degrees: int) -> str:
    return f", best of {degrees} by leave-one-point-out" if degrees > 1 else ""


def _interval(table: pd.DataFrame, name: str, form: str) -> list[str]:
    ends = zip(table[f"{name}_low"], table[f"{name}_high"], strict=True)
    return ["-" if np.isnan(low) else f"[{low:{form}}, {high:{form}}]" for low, high in ends]


def _best_line(surface: Surface, best: BestSparsity) -> str:
    interval = "" if np.isnan(best.sparsity_low) else f" [{best.sparsity_low:.4f}, {best.sparsity_high:.4f}]"
    note = "" if best.bracketed else f" (not bracketed: the {best.edge or 'tried'} end of the sparsities tried is best)"
    return f"best S at {surface.variable} = {best.n:.4g}: {best.sparsity:.4f}{interval}, loss {best.loss:.4f}{note}"


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
        "optima": [{**row, "bracketed": row["edge"] == ""} for row in table.to_dict("records")],
        "best_sparsities": [{**vars(best), "bracketed": best.bracketed} for best in sparsities],
    }


def _degree(text: str) -> Degree:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(part in tuple("01234") for part in parts):
        raise argparse.ArgumentTypeError(
            f"expected three whole numbers from 0 to 4, such as 2,2,2, found {shown(text)}"
        )
    return int(parts[0]), int(parts[1]), int(parts[2])
