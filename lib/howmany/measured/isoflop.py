"""Surfaces of loss at equal budgets: chance, and the errors of the surfaces."""

from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.study import Study, seed_variance
from howmany.verdicts.placebo import noise_by_experts
from moelaws.charts.cuts import error_floor, isoflop_panels, surface_curves
from moelaws.charts.losses import budget_name
from moelaws.charts.tables import readable
from moelaws.runs import paired_differences

NEEDED = ("loss", "budget", "total_params", "active_params", "n_experts", "sparsity", "top_k")
"""Columns that a table must have for this chapter."""

SYMBOLS = {"total_params": "N", "active_params": "N_a"}
PAPER_DEGREE, PAPER_ERROR = "(2, 2, 2)", 1e-4
"""Degree and held-out squared error of the paper's surface."""

_MANY = 4  # experts from which on a model scatters like a mixture


@dataclass(frozen=True)
class Names:
    """Budgets as charts write them; one that is held out says so."""

    held_out: float | None = None

    def __call__(self, budget: float) -> str:
        """The name of a budget."""
        return budget_name(budget) + (" (held out)" if budget == self.held_out else "")


def losses(runs: pd.DataFrame, named: Names) -> pd.DataFrame:
    """Mean loss over seeds, by budget, width and number of experts."""
    grid = runs.pivot_table(index=["budget", "d_model"], columns="n_experts", values="loss", aggfunc="mean")
    return readable(grid.rename(index=named, level="budget"), "{:.3f}")


def chance(runs: pd.DataFrame, named: Names) -> pd.DataFrame:
    """What another seed does at each budget, as a standard deviation with its interval."""
    noise = seed_variance(runs).set_index("budget")
    ends = noise[["variance", "low", "high"]] ** 0.5
    said = ["" if np.isnan(s) else f"{s:.3f} [{low:.3f}, {high:.3f}]" for s, low, high in ends.to_numpy()]
    table = pd.DataFrame({"points with seeds": noise["points"], "standard deviation (nats)": said})
    return readable(table.rename(index=named), "{:.0f}")


def chance_by_experts(runs: pd.DataFrame) -> pd.DataFrame:
    """What another seed does at each number of experts, all budgets together."""
    table = noise_by_experts(runs).rename(columns={"freedom": "degrees of freedom", "noise": "standard deviation"})
    return readable(table.T, "{:.3f}").rename_axis(columns="E")


def chance_numbers(runs: pd.DataFrame) -> dict[str, Any]:
    """The noise of one run, dense and sparse, and what it buys to compare runs of one seed."""
    groups = noise_by_experts(runs.assign(n_experts=np.where(runs["n_experts"] < _MANY, 1, _MANY)))["noise"]
    noise = seed_variance(runs)
    pairs = paired_differences(runs, (1, 16)).groupby(["budget", "d_model"])["difference"].agg(["size", "mean", "var"])
    pairs = pairs[pairs["size"] > 1]
    paired = np.sqrt(np.average(pairs["var"], weights=pairs["size"] - 1))
    single = np.sqrt(np.average(noise["variance"].dropna(), weights=noise["freedom"][noise["freedom"] > 0]))
    share = paired / (np.sqrt(2) * single)
    return {
        "if_noise_dense": f"{groups.get(1, np.nan):.3f}",
        "if_noise_sparse": f"{groups.get(_MANY, np.nan):.3f}",
        "if_paired": f"{paired:.3f}",
        "if_unpaired": f"{np.sqrt(2) * single:.3f}",
        "if_noise": f"{single:.3f}",
        "if_pairing": "buys much" if share < 0.5 else "buys little" if share < 0.9 else "buys nothing",
    }


def errors(study: Study) -> pd.DataFrame:
    """Degree and errors of every surface, beside the variance between seeds (``variance``, ``low``, ``high``)."""
    table = pd.DataFrame(
        {
            "budget": budget,
            "size": SYMBOLS[variable],
            "degree": str(surface.degree),
            "mse": surface.mse,
            "error": surface.held_out_mse,
            "subsample": surface.subsample_mse,
            "pearson": surface.pearson,
        }
        for (budget, variable), surface in study.surfaces.items()
    )
    return table.join(seed_variance(study.runs).set_index("budget"), on="budget")


def error_table(table: pd.DataFrame, named: Names) -> pd.DataFrame:
    """The errors written out."""
    titles = {"mse": "MSE in", "error": "MSE held out", "subsample": "MSE of 100 refits"}
    shown = pd.DataFrame({"budget": table["budget"].map(named), "size": table["size"], "degree": table["degree"]})
    for name, title in titles.items():
        shown[title] = table[name].map("{:.1e}".format)
    return shown.assign(pearson=table["pearson"].round(3)).set_index(["budget", "size"])


def error_numbers(table: pd.DataFrame) -> dict[str, Any]:
    """How often the paper's degree is chosen, how large the errors are, and whether noise explains them."""
    with_seeds = table.dropna(subset=["variance"])
    best = table.loc[table.groupby("budget")["error"].idxmin()]
    near = with_seeds["error"] <= with_seeds["high"]
    floor = with_seeds.drop_duplicates("budget")["variance"]
    return {
        "if_degrees": f"{(table['degree'] == PAPER_DEGREE).sum()} of {len(table)}",
        "if_low": f"{table['error'].min():.1e}",
        "if_high": f"{table['error'].max():.1e}",
        "if_active": f"{(best['size'] == 'N_a').sum()} of {len(best)}",
        "if_near": f"{near.sum()} of {len(near)}",
        "if_floor_low": f"{floor.min():.1e}",
        "if_floor_high": f"{floor.max():.1e}",
        "if_below": "cannot be reached here by any surface"
        if floor.min() > PAPER_ERROR
        else "could be reached at the quietest budget",
    }


def error_figure(table: pd.DataFrame, named: Names) -> alt.LayerChart:
    """Held-out errors against the interval of the variance between seeds and the paper's error."""
    with_seeds = table.dropna(subset=["variance"])
    near = with_seeds["error"] <= with_seeds["high"]
    return error_floor(
        with_seeds.assign(
            budget_name=with_seeds["budget"].map(named),
            paper=PAPER_ERROR,
            variance_low=with_seeds["low"],
            variance_high=with_seeds["high"],
        ),
        title=f"Noise explains the error of {near.sum()} of {len(near)} surfaces",
        description="Held-out squared error of each surface as points, the interval of the variance between seeds as "
        "bars, the paper's 1e-4 dashed.",
    )


def cuts(study: Study, variable: str, named: Names) -> pd.DataFrame:
    """The surfaces in one size along each number of experts, with bands."""
    return pd.concat(
        surface_curves(surface, points=40).assign(budget_name=named(budget))
        for (budget, v), surface in study.surfaces.items()
        if v == variable
    )


def loss_panels(study: Study, curves: pd.DataFrame, named: Names) -> alt.FacetChart:
    """Loss against active size, a panel a budget: runs as points, the surface as lines."""
    runs = study.runs[study.runs["budget"].isin([budget for budget, _ in study.surfaces])]
    return isoflop_panels(
        runs.assign(budget_name=runs["budget"].map(named)),
        curves,
        "active_params",
        title="Loss against active size at equal FLOPs",
        description="A panel for each budget: measured runs as points, the surface along each number of experts as "
        "lines with bands.",
    )
