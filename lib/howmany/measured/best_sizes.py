"""The best sizes of surfaces at equal budgets: intervals, edges, a cross-check, and what sparsity does to them."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.figures.optima_by_experts import cross_check
from howmany.measured.isoflop import SYMBOLS, Names, cuts
from howmany.study import Study, seed_variance
from moelaws.charts.cuts import surface_walk
from moelaws.surfaces.isoflop import optima, redraw_seeds


def best_sizes(study: Study, named: Names) -> pd.DataFrame:
    """The optima of every surface at every sparsity tried, with intervals; ``size`` says in N or in N_a."""
    return pd.concat(
        optima(surface).assign(
            budget_name=named(budget),
            size=SYMBOLS[variable],
            n_experts=lambda t: (1 / (1 - t["sparsity"])).round().astype(int),
        )
        for variable in SYMBOLS
        for (budget, v), surface in study.surfaces.items()
        if v == variable
    )


def active_table(best: pd.DataFrame) -> pd.DataFrame:
    """The best active sizes written out, by the surface and by a parabola."""
    table = best[best["size"] == "N_a"]
    return pd.DataFrame(
        {
            "budget": table["budget_name"],
            "E": table["n_experts"],
            "N_a*, thousands": _thousands(table, "n"),
            "parabola": _thousands(table, "parabola_n"),
            "L*": table["loss"].round(3),
            "edge": table["edge"].replace("", "-"),
        }
    ).set_index(["budget", "E"])


def widths(study: Study, named: Names) -> pd.DataFrame:
    """Widths of the intervals of ln N* and L*, as multiples of what seeds alone would do to the same surface."""
    noise, rows = seed_variance(study.runs).set_index("budget"), {}
    for (budget, variable), surface in study.surfaces.items():
        if noise["freedom"][budget]:
            drawn = redraw_seeds(surface, noise["variance"][budget] ** 0.5)
            table, seeds = optima(surface, alone=False), optima(drawn, alone=False)
            size = np.log(table["n_high"] / table["n_low"]) / np.log(seeds["n_high"] / seeds["n_low"])
            loss = (table["loss_high"] - table["loss_low"]) / (seeds["loss_high"] - seeds["loss_low"])
            rows[named(budget), SYMBOLS[variable]] = (size.min(), size.median(), loss.min(), loss.median())
    columns = ["size, least", "size, median", "L*, least", "L*, median"]
    return pd.DataFrame(rows, index=columns).T.rename_axis(["budget", "size"])


def width_numbers(table: pd.DataFrame) -> dict[str, Any]:
    """The least multiple and the middle one."""
    least = table[["size, least", "L*, least"]].min().min()
    return {
        "if_least": f"{least:.2f}",
        "if_holds": "every interval holds what seeds do"
        if least > 0.99
        else "some interval is narrower than seeds make it",
        "if_median": f"{table[['size, median', 'L*, median']].median().median():.1f}",
    }


def edge_numbers(best: pd.DataFrame) -> dict[str, Any]:
    """Optima at the edge of the sizes that were tried."""
    edge = best[(best["edge"] != "") | (best["inside"] < 0.95)]
    places = zip(edge["size"], edge["budget_name"], edge["n_experts"], strict=True)
    which = "; ".join(f"{size} at {budget}, E = {e}" for size, budget, e in places)
    return {
        "if_edges": f"{len(edge)} of {len(best)}",
        "if_edge_found": f"{len(edge)} of {len(best)} optima: {which}" if which else f"none of the {len(best)} optima",
    }


def token_numbers(best: pd.DataFrame, runs: pd.DataFrame) -> dict[str, Any]:
    """Tokens per active parameter at the optima, and how often texts were read."""
    active = best[best["size"] == "N_a"]
    ratio = active["tokens"] / active["n"] if "tokens" in active.columns else pd.Series([np.nan])
    epochs = runs["epochs"] if "epochs" in runs.columns else pd.Series(np.nan, runs.index)
    return {
        "if_tokens_least": f"{ratio.min():.0f}",
        "if_tokens_most": f"{ratio.max():.0f}",
        "if_repeated": f"{int((epochs > 1).sum())}",
        "if_runs": f"{len(runs)}",
        "if_epochs": f"{epochs.max():.2f}",
    }


def checked(best: pd.DataFrame) -> pd.DataFrame:
    """Optima with a parabola's beside them; ``apart`` where the two intervals do not meet."""
    bracketed = best["parabola_bracketed"].fillna(False).astype(bool)
    table = best[bracketed & (best["edge"] == "")].dropna(subset=["parabola_n_low"])
    apart = (table["n_high"] < table["parabola_n_low"]) | (table["parabola_n_high"] < table["n_low"])
    return table.assign(apart=apart)


def check_numbers(table: pd.DataFrame, best: pd.DataFrame) -> dict[str, Any]:
    """How often surface and parabola agree, and how far the two surfaces put a dense model's optimum apart."""
    ratio = np.exp(np.abs(np.log(table["n"] / table["parabola_n"])))
    dense = best[best["n_experts"] == 1].pivot(index="budget_name", columns="size", values="n")
    off = np.exp(np.abs(np.log(dense["N"] / dense["N_a"]))) - 1
    return {
        "if_checked": f"{(~table['apart']).sum()} of {len(table)}",
        "if_ratio": f"{100 * (ratio.median() - 1):.0f}",
        "if_dense": f"{100 * off.max():.0f}",
    }


def check_figure(table: pd.DataFrame) -> alt.LayerChart:
    """The optima of the surface against those of the parabola."""
    return cross_check(
        table,
        title=f"Surface and parabola agree at {(~table['apart']).sum()} of {len(table)} optima",
        description="Best size from the surface against that from a parabola of one sparsity, with intervals, around "
        "the diagonal.",
    )


def walk(study: Study, best: pd.DataFrame, named: Names) -> alt.LayerChart:
    """One cut of the surface at a time, with a slider for the number of experts."""
    total = best[best["size"] == "N"]
    kept = ["n", "n_low", "n_high", "loss", "n_experts", "edge", "budget_name"]
    runs = study.runs.assign(budget_name=study.runs["budget"].map(named))
    return surface_walk(
        _stepped(cuts(study, "total_params", named)),
        _stepped(total[kept]),
        runs[["total_params", "loss", "n_experts", "budget_name"]],
        title="One cut of the surface at a time",
        description="Loss against total parameters at the chosen budget and number of experts, with the way of the "
        "optimum; other runs are faint.",
    )


def _stepped(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(step=np.log2(table["n_experts"]).round().astype(int))


def _thousands(table: pd.DataFrame, name: str) -> list[str]:
    ends = zip(table[name], table[f"{name}_low"], table[f"{name}_high"], strict=True)
    return [f"{a / 1e3:.0f} [{b / 1e3:.0f}, {c / 1e3:.0f}]" for a, b, c in ends]
