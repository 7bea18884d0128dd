"""From the time of a step to dollars a token: the cache by size, the bill of each model, cost against size."""

from dataclasses import replace
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.serving.serving_cost import Models
from moelaws.charts.serving_costs import cost_by_size
from moelaws.serving.cost import Deployment, deploy, largest_batch, serve, serve_on
from moelaws.serving.hardware import TYPICAL, Accelerator, accelerator
from moelaws.serving.shape import fit_shape
from moelaws.serving.touched import even_experts


def cache_rule() -> pd.DataFrame:
    """The rule for the size of the cache, as sixteen public models have it."""
    shape = fit_shape()
    values = {
        "μ": f"{shape.rule.mu:.4f}",
        "exponent, if fitted": f"{shape.exponent:.3f}",
        "spread of ln(h l)": f"{shape.spread:.2f}",
        "h / l, median": f"{shape.rule.aspect:.0f}",
    }
    return pd.DataFrame({"value": values})


def bill(models: Models, deployment: Deployment) -> pd.DataFrame:
    """How each model is served at the least cost, and what a token costs."""
    rows = {}
    for e in models.experts:
        found = serve(deployment, models.model(e))
        rows[f"E = {e}"] = {
            "N (B)": float(models.model(e).total_params) / 1e9,
            "GPUs": float(found.gpus),
            "batch": float(found.batch),
            "step (ms)": 1e3 * float(found.step_seconds),
            "tokens / s": float(found.tokens_per_second),
            "$ per million": 1e6 * float(found.dollars_per_token),
        }
    return pd.DataFrame(rows).T


def costs(models: Models, deployment: Deployment) -> pd.DataFrame:
    """Dollars a million tokens against total parameters, a line a number of experts."""
    sizes = np.geomspace(2e8, 6e10, 240)
    lines = []
    for e in models.experts:
        found = serve(deployment, models.model(e, sizes / float(models.model(e, 1.0).total_params)))
        price = 1e6 * found.dollars_per_token
        lines.append(
            pd.DataFrame({"total_params": sizes, "n_experts": e, "dollars_per_million": price, "gpus": found.gpus})
        )
    return pd.concat(lines).replace(np.inf, np.nan).dropna()


def cost_figure(table: pd.DataFrame) -> alt.Chart:
    """The same as lines."""
    return cost_by_size(
        table,
        title="Cost rises smoothly, with kinks where another GPU pays",
        description="Dollars per million tokens against total parameters: nearly straight lines, mixtures far below.",
    )


def cost_numbers(billed: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any]:
    """The largest mixture over the dense model, in size and in price, and the slope of the dense line."""
    dense = table[table["n_experts"] == 1]
    slope = np.polyfit(np.log(dense["total_params"]), np.log(dense["dollars_per_million"]), 1)[0]
    last = billed.loc[billed["N (B)"].idxmax()] / billed.loc["E = 1"]
    return {
        "sc_n_ratio": f"{last['N (B)']:.1f}",
        "sc_price_ratio": f"{last['$ per million']:.1f}",
        "sc_slope": f"{slope:.2f}",
    }


def solution_numbers(models: Models, device: Accelerator, deployment: Deployment) -> dict[str, Any]:
    """Answers of the exercises."""
    batch_90 = np.log(0.1) / np.log(1 - 8 / 128)
    assert round(float(even_experts(128, 8, batch_90)), 9) == 0.9 * 128
    requests = (40e9 / 2 - 1e9) / ((2 * 200 + 400) * 0.04 * 1e9 ** (2 / 3))
    dense = models.model(1)
    prices = [1e6 * float(serve_on(deployment, dense, g).dollars_per_token) for g in (1, 2)]
    room = [float(largest_batch(deployment, dense, g)) for g in (1, 2)]
    added = deploy(device, efficiency=replace(TYPICAL, overlap=0.0))
    moved = {
        e: float(serve(added, models.model(e)).dollars_per_token)
        / float(serve(deployment, models.model(e)).dollars_per_token)
        - 1
        for e in models.experts
    }
    return {
        "sc_solution_1": f"{accelerator('a100-40gb').bytes_per_second / (7e9 * 2):.0f}",
        "sc_solution_2": f"{np.ceil(batch_90):.0f}",
        "sc_solution_3": f"{requests:.0f}",
        "sc_solution_4a": f"{prices[0]:.3f}",
        "sc_solution_4b": f"{prices[1]:.3f}",
        "sc_solution_4c": f"{room[1] / room[0]:.1f}",
        "sc_solution_5a": f"{min(moved.values()):.0%}",
        "sc_solution_5b": f"{max(moved.values()):.0%}",
        "sc_solution_5c": f"{max(moved, key=lambda e: moved[e])}",
    }
