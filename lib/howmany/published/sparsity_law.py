"""The sparsity law asked: how large at a budget and a sparsity, how sparse at a size, and where its paper disagrees."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.study import budget_label
from moelaws.charts.isoflop_curves import isoflop_curves
from moelaws.charts.tables import readable
from moelaws.laws import Law
from moelaws.optimum.family import glu
from moelaws.optimum.forecaster import Allocation, Forecaster
from moelaws.optimum.optimum import best_size, best_sparsity, compute_multiplier

_LETTERS = {
    "train_flops": "C",
    "sparsity": "S",
    "total_params": "N",
    "active_params": "N_a",
    "tokens": "D",
    "tokens_per_param": "D / N_a",
    "loss": "loss",
}


def optima(forecaster: Forecaster, budgets: Sequence[float], sparsities: Sequence[float]) -> pd.DataFrame:
    """The best size at every budget and sparsity."""
    found = [vars(_at(forecaster, flops, s)) for flops in budgets for s in sparsities]
    return pd.DataFrame(found).assign(tokens_per_param=lambda t: t["tokens"] / t["active_params"])


def optimum_table(found: pd.DataFrame) -> pd.DataFrame:
    """The same, with the letters of the book."""
    table = found[[*_LETTERS]].rename(columns=_LETTERS)
    table = table.assign(C=table["C"].map(budget_label), S=table["S"].map("{:g}".format)).set_index(["C", "S"])
    return readable(table, forms={"D / N_a": "{:.0f}", "loss": "{:.4f}"})


def cuts(forecaster: Forecaster, found: pd.DataFrame, budget: float) -> alt.LayerChart:
    """Loss against total size at one budget, a line a sparsity, with the optima."""
    sparsities = found["sparsity"].unique()
    grid = pd.DataFrame(
        [(n, s) for s in sparsities for n in np.geomspace(3e7, 1e12, 120)], columns=["total_params", "sparsity"]
    )
    grid["tokens"] = budget / (6 * grid["total_params"] * (1 - grid["sparsity"]))
    grid["loss"] = forecaster.law.predict(forecaster.params, grid)
    here = found[found["train_flops"] == budget]
    return isoflop_curves(grid[grid["loss"] < here["loss"].max() + 0.5], here)


def optimum_numbers(forecaster: Forecaster, budget: float) -> dict[str, Any]:
    """The dense and the sparsest optimum at one budget."""
    dense, sparse = _at(forecaster, budget, 0.0), _at(forecaster, budget, 0.98)
    return {
        "sp_middle": f"{budget:.0e}",
        "sp_n_dense": f"{dense.total_params / 1e9:.2f}",
        "sp_n_sparse": f"{sparse.total_params / 1e9:.1f}",
        "sp_a_sparse": f"{sparse.active_params / 1e9:.2f}",
        "sp_ratio_dense": f"{dense.tokens_per_param:.0f}",
        "sp_ratio_sparse": f"{sparse.tokens_per_param:.0f}",
        "sp_l_dense": f"{dense.loss:.3f}",
        "sp_l_sparse": f"{sparse.loss:.3f}",
    }


def fixed_sizes(forecaster: Forecaster, budgets: Sequence[float], sizes: Sequence[float]) -> pd.DataFrame:
    """The best sparsity at every budget and total size."""
    found = pd.DataFrame([vars(best_sparsity(forecaster, flops, n)) for flops in budgets for n in sizes])
    return found.assign(total_params=found["total_params"].round())


def coefficients(one: Law) -> pd.DataFrame:
    """The published coefficients, a row each."""
    table = pd.Series(one.published["table3"]).map("{:g}".format).to_frame("value")
    return table.rename_axis("coefficient")


def fixed_table(found: pd.DataFrame) -> pd.DataFrame:
    """The same, a row a size, a column a budget."""
    table = found.pivot(index="total_params", columns="train_flops", values="sparsity")
    table.index = pd.Index([f"{n / 1e9:g}B" for n in table.index], name="N")
    return readable(table.set_axis([f"C = {c:.0e}" for c in table.columns], axis="columns"), "{:.2f}")


def worth(forecaster: Forecaster, budgets: Sequence[float], ratios: Sequence[int]) -> pd.DataFrame:
    """How many times its compute a mixture is worth, by the share of its experts at work and the budget."""
    columns = {f"C = {c:.0e}": [compute_multiplier(forecaster, c, e).value for e in ratios] for c in budgets}
    return pd.DataFrame(columns, index=pd.Index([f"1 in {e} experts" for e in ratios], name="active"))


def disagreements(forecaster: Forecaster, budgets: Sequence[float]) -> pd.DataFrame:
    """Sentences of the paper on one question, and what its law says.

    Args:
        forecaster: the law.
        budgets: the smallest and the largest come first and last.
    """
    low, high = budgets[0], budgets[-1]
    with_flops = Forecaster(forecaster.law, forecaster.params, glu())  # tokens from Eq. 9
    same_n = [best_sparsity(forecaster, flops, 1e9).sparsity for flops in (low, high)]
    actives = _actives(forecaster, budgets)
    kept = [actives[0.98][k] / actives[0.0][k] for k in (0, 1)]
    small, counted = (
        ", ".join(f"{best_sparsity(f, flops, 5e8).sparsity:.2f}" for flops in (3e19, 1e20, 1e21))
        for f in (forecaster, with_flops)
    )
    rows = [
        (
            "S* at fixed N against the budget",
            "Discussion: rises; Sec. 3, D.2: falls",
            f"N = 1B: {same_n[0]:.2f} at {low:.0e}, {same_n[1]:.2f} at {high:.0e}: falls",
        ),
        (
            "best N_a against the budget",
            "Introduction: falls; Figs. 9, 12: rises",
            f"S = .98: {actives[0.98][0]:.2f}B to {actives[0.98][1]:.2f}B: rises",
        ),
        (
            "N_a* falls faster with S at larger budgets",
            "Discussion: yes",
            f"N_a*(.98) / N_a*(0) = {kept[0]:.2f} at {low:.0e}, {kept[1]:.2f} at {high:.0e}: no, relatively slower",
        ),
        (
            "S* = 0 up to N = 0.5B at most budgets",
            "D.2: yes",
            f"S*(0.5B) at 3e19, 1e20, 1e21: {small}: no",
        ),
        ("the same, with Eq. 9 for the FLOPs", "D.2: yes", f"{counted}: at the largest budget only"),
    ]
    return pd.DataFrame(rows, columns=["question", "the paper says", "the law says"])


def disagreement_numbers(forecaster: Forecaster, budgets: Sequence[float]) -> dict[str, Any]:
    """What 8 and 32 experts are worth and how many tokens they want, and how far the active size drops."""
    actives, dense = _actives(forecaster, budgets), _at(forecaster, 1e20, 0.0).tokens_per_param
    numbers = {
        "sp_drop_low": f"{actives[0.0][0] - actives[0.98][0]:.2f}",
        "sp_drop_high": f"{actives[0.0][1] - actives[0.98][1]:.2f}",
    }
    for e in (8, 32):
        numbers[f"sp_x{e}"] = f"{compute_multiplier(forecaster, 1e20, e).value:.1f}"
        numbers[f"sp_t{e}"] = f"{best_size(forecaster, 1e20, e).tokens_per_param / dense:.1f}"
    return numbers


def _at(forecaster: Forecaster, flops: float, sparsity: float) -> Allocation:
    return best_size(forecaster, flops, n_experts=1 / (1 - sparsity))


def _actives(forecaster: Forecaster, budgets: Sequence[float]) -> dict[float, list[float]]:
    ends = (budgets[0], budgets[-1])
    return {s: [_at(forecaster, flops, s).active_params / 1e9 for flops in ends] for s in (0.0, 0.98)}
