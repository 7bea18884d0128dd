"""The loss-optimal model against the one that serves as well for less: one budget, all sizes, one loss."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.page import listed
from howmany.yun import Setting, same_loss_cost, same_loss_own_size, settings, top_k
from moelaws.charts.serving_costs import loss_by_cost, ratio_bars
from moelaws.optimum.forecaster import Forecaster
from moelaws.optimum.known_coefficients import OptimumError
from moelaws.serving.bounded import Option

Places = Mapping[str, Mapping[str, Setting]]
"""Law -> assumptions by name, ``central`` first."""

ABNAR, JOINT = "Abnar et al.", "joint law"
KEYS = {"abnar": ABNAR, "joint": JOINT}
"""How names of numbers begin -> the law."""


@dataclass(frozen=True)
class Problem:
    """The numbers of the two problems.

    Attributes:
        budget: training FLOPs.
        base: experts of the model whose loss, or whose cost, is kept.
        experts: numbers of experts to consider.
    """

    budget: float
    base: int
    experts: Sequence[int]

    @property
    def larger(self) -> list[int]:
        """The numbers of experts above the base's."""
        return [e for e in self.experts if e > self.base]


def places(forecasters: Mapping[str, Forecaster]) -> dict[str, dict[str, Setting]]:
    """Every law under every assumption."""
    return {name: settings(forecaster) for name, forecaster in forecasters.items()}


def assumptions(found: Places) -> pd.DataFrame:
    """The names of the assumptions under which each law is asked."""
    return pd.DataFrame({"assumptions": list(next(iter(found.values())))})


def loss_optimal(found: Places, experts: Sequence[int], budgets: Sequence[float]) -> pd.DataFrame:
    """The loss-optimal model of each law, number of experts and budget, with its loss and its serving price."""
    rows = [_row(law, place["central"].optimal(c, e)) for law, place in found.items() for e in experts for c in budgets]
    return _finite(pd.DataFrame(rows))


def optimal_figure(optimal: pd.DataFrame) -> alt.FacetChart:
    """Loss against serving price, a line a number of experts."""
    return loss_by_cost(
        optimal,
        optimal,
        title="At one price more experts have the lower loss",
        description="Loss of loss-optimal models against their serving price, a line for each number of experts.",
    )


def optimal_numbers(optimal: pd.DataFrame, base: int) -> dict[str, Any]:
    """The number of experts with the least loss at the base's middle price, under each law."""
    return {f"so_best_{key}": f"{_best_at_price(optimal, law, base)}" for key, law in KEYS.items()}


def one_budget(found: Places, problem: Problem) -> alt.FacetChart:
    """Loss against price for all sizes at one budget, up to each loss-optimal size, which is marked."""
    curves, marks = [], []
    for law, place in found.items():
        trade = place["central"].trade
        forecaster = trade.forecaster
        params = {n: v[:1] for n, v in forecaster.rows().items()}
        for e in problem.experts:
            best = place["central"].optimal(problem.budget, e)
            marks.append(_row(law, best))
            sizes = best.size * np.geomspace(0.08, 1, 30)
            price = 1e6 * trade.serving(sizes, e, top_k(e)).dollars_per_token
            loss = np.ravel(forecaster.run(params, sizes[None], e, top_k(e), problem.budget)["loss"])
            curves.append(pd.DataFrame({"law": law, "n_experts": e, "dollars_per_million": price, "loss": loss}))
    return loss_by_cost(
        _finite(pd.concat(curves)),
        _finite(pd.DataFrame(marks)),
        title="Left of each optimum a great saving costs little loss",
        description="Loss against price at one budget, from an eighth of the loss-optimal size up to it, which is "
        "marked.",
    )


def same_loss(found: Places, problem: Problem) -> pd.DataFrame:
    """Serving cost over the base's at equal loss and budget: ``ratio``, and ``low``, ``high`` over all assumptions."""
    return pd.DataFrame(
        {"law": law, "n_experts": e, "ratio": middle, "low": low, "high": high}
        for e in problem.larger
        for law, (middle, low, high) in _over_assumptions(found, same_loss_cost, problem, e).items()
    )


def same_loss_figure(bars: pd.DataFrame) -> alt.FacetChart:
    """The same as bars."""
    return ratio_bars(
        bars,
        axis="serving cost over the base's",
        title="The same loss for a fraction of the price",
        description="Serving cost at equal loss and budget over the base's, by experts; thin lines over all "
        "assumptions.",
    )


def own_sizes(found: Places, problem: Problem) -> pd.DataFrame:
    """Size of the model of equal loss over its own loss-optimal size."""
    return pd.DataFrame(
        {
            law: {
                f"E = {e}": same_loss_own_size(place["central"], problem.budget, problem.base, e)
                for e in problem.larger
            }
            for law, place in found.items()
        }
    ).rename_axis("size over its own optimum")


def same_loss_numbers(bars: pd.DataFrame, small: pd.DataFrame, found: Places, problem: Problem) -> dict[str, Any]:
    """What 16 experts cost at the base's loss, and which assumptions come near what is printed."""
    sixteen, sizes = bars[bars["n_experts"] == 16].set_index("law"), small.loc["E = 16"]
    near = {
        name
        for place in found.values()
        for name, setting in place.items()
        if 0.9 * 0.47 <= same_loss_cost(setting, problem.budget, problem.base, 16) <= 1.1 * 0.52
    }
    return {
        "so_base": f"{problem.base}",
        "so_16_abnar": f"{sixteen.loc[ABNAR, 'ratio']:.0%}",
        "so_16_joint": f"{sixteen.loc[JOINT, 'ratio']:.0%}",
        "so_16_low": f"{sixteen['low'].min():.0%}",
        "so_16_high": f"{sixteen['high'].max():.0%}",
        "so_near": listed((f'"{name}"' for name in sorted(near)), between="; "),
        "so_small_low": f"{sizes.min():.0%}",
        "so_small_high": f"{sizes.max():.0%}",
    }


def _row(law: str, option: Option) -> dict[str, Any]:
    return {
        "law": law,
        "n_experts": int(option.allocation.n_experts),
        "dollars_per_million": 1e6 * option.serving.dollars_per_token,
        "loss": option.allocation.loss,
    }


def _finite(table: pd.DataFrame) -> pd.DataFrame:
    return table[np.isfinite(table["dollars_per_million"])]


def _best_at_price(optimal: pd.DataFrame, law: str, base: int) -> int:
    lines = optimal[optimal["law"] == law]
    price = np.exp(np.log(lines[lines["n_experts"] == base]["dollars_per_million"]).mean())
    loss = {
        int(str(e)): np.interp(np.log(price), np.log(one["dollars_per_million"]), one["loss"])
        for e, one in lines.groupby("n_experts")
        if one["dollars_per_million"].min() <= price <= one["dollars_per_million"].max()
    }
    return min(loss, key=lambda e: loss[e])


def _over_assumptions(
    found: Places, quantity: Callable[[Setting, float, int, int], float], problem: Problem, e: int
) -> dict[str, tuple[float, float, float]]:
    values = {}
    for law, place in found.items():
        each = []
        for setting in place.values():
            try:
                each.append(quantity(setting, problem.budget, problem.base, e))
            except OptimumError:
                continue
        values[law] = (each[0], min(each), max(each))
    return values
