"""What experts bought at equal training cost, and what they cost in memory."""

from typing import Any

import altair as alt
import pandas as pd

from moelaws.charts.losses import budget_name, loss_by_experts, loss_by_memory
from moelaws.runs import pooled_noise, seed_spread

_QUANTILE = 1.96  # of a normal distribution, for 95 %

NEEDED = ("loss", "budget", "n_experts", "d_model", "total_params", "seed")
"""Columns that a table must have for this chapter."""


def run_numbers(runs: pd.DataFrame) -> dict[str, Any]:
    """How many runs there are, in how many groups, with how many experts at most."""
    return {
        "n_runs": len(runs),
        "n_budgets": runs["budget"].nunique(),
        "most_experts": int(runs["n_experts"].max()),
    }


def best_models(runs: pd.DataFrame) -> pd.DataFrame:
    """The best of the sizes tried, by budget and number of experts.

    ``change`` is its loss less the dense model's, ``noise`` that of one run at that budget.
    """
    points = runs.groupby(["budget", "n_experts", "d_model", "total_params"], as_index=False)["loss"].mean()
    best = points.loc[points.groupby(["budget", "n_experts"])["loss"].idxmin()]
    noise = {budget: pooled_noise(seed_spread(group)) for budget, group in runs.groupby("budget")}
    # The dense model, or what comes nearest to it in a table without one.
    dense = best.sort_values("n_experts").groupby("budget")["loss"].first()
    return best.assign(
        change=best["loss"] - best["budget"].map(dense),
        noise=best["budget"].map(noise),
        budget_name=best["budget"].map(budget_name),
        megabytes=best["total_params"] * 2 / 1e6,
    )


def gain_figure(best: pd.DataFrame) -> alt.LayerChart:
    """What experts change in the best loss, a line a budget."""
    return loss_by_experts(
        best,
        title="What experts buy at equal training FLOPs",
        description="Best validation loss over model sizes, less that of the dense model, against the number of "
        "experts, one line a budget.",
    )


def gain_numbers(best: pd.DataFrame) -> dict[str, Any]:
    """The best number of experts at the largest budget, what it gains, and the noise where it is known."""
    largest, top = best["budget"].max(), _top(best)
    winner = int(top["loss"].idxmin())
    known = best[best["noise"] > 0].sort_values("budget").iloc[-1]
    gain = top.loc[1, "loss"] - top.loc[winner, "loss"]
    # One run each, or the mean of some; the noise of single runs is the larger, and known from the budgets with seeds.
    reach = _QUANTILE * 2**0.5 * known["noise"]
    return {
        "largest": f"{largest:.0e}".replace("e+", "e"),
        "winner": winner,
        "gain": f"{gain:.3f}",
        "gain_range": f"{gain - reach:.3f} to {gain + reach:.3f}",
        "noise": f"{known['noise']:.3f}",
        "noise_at": f"{known['budget']:.0e}".replace("e+", "e"),
    }


def memory_figure(best: pd.DataFrame) -> alt.LayerChart:
    """The best loss against the memory of the weights."""
    return loss_by_memory(
        best,
        title="The price of a lower loss is memory",
        description="Best validation loss against weight memory in megabytes, coloured by number of experts.",
    )


def memory_numbers(best: pd.DataFrame) -> dict[str, Any]:
    """What the first and the last step up in experts gain, and what they cost in memory, at the largest budget."""
    top = _top(best).sort_index()
    steps, megabytes = top["loss"].diff().dropna(), top["megabytes"]
    more, winner = megabytes.diff(), int(top["loss"].idxmin())
    return {
        "ratio": f"{megabytes[winner] / megabytes[1]:.1f}",
        "first_gain": f"{-steps.iloc[0]:.3f}",
        "first_to": int(top.index[1]),
        "first_memory": f"{more.iloc[1]:.2f}",
        "last_change": f"{'lowered' if steps.iloc[-1] < 0 else 'raised'} it by {abs(steps.iloc[-1]):.3f}",
        "last_from": int(top.index[-2]),
        "last_to": int(top.index[-1]),
        "last_memory": f"{more.iloc[-1]:.2f}",
    }


def _top(best: pd.DataFrame) -> pd.DataFrame:
    return best[best["budget"] == best["budget"].max()].set_index("n_experts")
