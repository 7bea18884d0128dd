"""The model to serve: the lowest loss for the same money, the cheapest for the traffic to come, rules of thumb."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from howmany.claims import read_claims
from howmany.page import verdict_line
from howmany.serving.serving_optimal import ABNAR, JOINT, KEYS, Places, Problem
from howmany.yun import same_loss_cost, top_k, verdicts
from moelaws.charts.tables import readable
from moelaws.optimum.forecaster import Forecaster
from moelaws.serving.frontier import least_dollars

CLAIMS = ("best-loss-optimal", "same-loss-16-4", "over-trained-16", "diminishing-32")
"""Claims of the paper that this chapter is about."""


def same_cost(found: Places, problem: Problem) -> pd.DataFrame:
    """The lowest loss whose serving costs no more than the base's, by law and number of experts."""
    rows = []
    for law, place in found.items():
        setting = place["central"]
        base = setting.optima.best(problem.budget, problem.base)
        for e in problem.larger:
            option = setting.same_cost(problem.budget, problem.base, e)
            rows.append(
                {
                    "law": law,
                    "E": e,
                    "loss below the base's": base.loss - option.allocation.loss,
                    "size over its optimum": option.dense_params / setting.optimal(problem.budget, e).dense_params,
                    "N (B)": option.allocation.total_params / 1e9,
                    "D / N_a": option.allocation.tokens_per_param,
                    "GPUs": option.serving.gpus,
                }
            )
    return pd.DataFrame(rows).set_index(["law", "E"])


def same_cost_numbers(gain: pd.DataFrame) -> dict[str, Any]:
    """What the last step up in experts gains, over what the step before it gained."""
    numbers = {}
    for key, law in KEYS.items():
        fell = gain.loc[law]["loss below the base's"]
        before = fell.iloc[-3] if len(fell) > 2 else 0
        numbers[f"so_step_{key}"] = f"{(fell.iloc[-1] - fell.iloc[-2]) / (fell.iloc[-2] - before):.2f}"
    return numbers


def by_traffic(found: Places, problem: Problem, served: Sequence[float]) -> pd.DataFrame:
    """The cheapest model of the dense optimum's loss, by the tokens that it will serve."""
    rows = []
    for law, place in found.items():
        setting = place["central"]
        target = setting.optima.best(problem.budget, 1).loss
        for tokens in served:
            options = {
                e: least_dollars(setting.trade, problem.budget, target, e, top_k(e), tokens) for e in problem.experts
            }
            dollars = {e: option.total_dollars(tokens) for e, option in options.items()}
            e = min(dollars, key=lambda count: dollars[count])
            best = options[e]
            rows.append(
                {
                    "law": law,
                    "tokens served": f"{tokens:.0e}",
                    "E": e,
                    "N (B)": best.allocation.total_params / 1e9,
                    "D / N_a": best.allocation.tokens_per_param,
                    "$ train": best.train_dollars,
                    "$ serve": best.serve_dollars(tokens),
                    "over dense": dollars[e] / dollars[min(problem.experts)],
                }
            )
    return pd.DataFrame(rows).set_index(["law", "tokens served"])


def traffic_table(total: pd.DataFrame) -> pd.DataFrame:
    """The same, written out."""
    whole, money = {"E": "{:.0f}", "D / N_a": "{:,.0f}"}, {"$ train": "{:,.0f}", "$ serve": "{:,.0f}"}
    return readable(total, forms=whole | money | {"over dense": "{:.0%}"})


def traffic_numbers(total: pd.DataFrame) -> dict[str, Any]:
    """Tokens a parameter for the least and the most traffic, and the saving at the most, under the joint law."""
    ends = total.loc[JOINT]
    return {
        "so_few": f"{ends['D / N_a'].iloc[0]:.0f}",
        "so_many": f"{ends['D / N_a'].iloc[-1]:,.0f}",
        "so_dense_share": f"{ends['over dense'].iloc[-1]:.0%}",
    }


def by_rule(found: Places, problem: Problem, max_batch: float) -> pd.DataFrame:
    """Serving cost over the base's at equal loss when bytes are counted by each rule, with small batches."""
    rows = {}
    for rule in ("distinct", "total", "active"):
        for law, place in found.items():
            trade = place["central"].trade
            latency = replace(trade.deployment.latency, rule=rule)  # type: ignore[type-var]
            deployment = replace(trade.deployment, latency=latency, max_batch=max_batch)
            small = replace(place["central"], trade=replace(trade, deployment=deployment))
            rows[(law, rule)] = {
                f"E = {e}": same_loss_cost(small, problem.budget, problem.base, e) for e in problem.larger
            }
    return pd.DataFrame(rows).T.rename_axis(["law", "rule"])


def rule_numbers(rules: pd.DataFrame) -> dict[str, Any]:
    """What the most experts cost by each rule, under both laws."""
    most = rules.iloc[:, -1]
    shares = {
        f"so_rule_{rule}": " and ".join(f"{most[law, rule]:.0%}" for law in (ABNAR, JOINT))
        for rule in ("distinct", "total", "active")
    }
    return shares | {"so_rule_most": str(most.name).removeprefix("E = ")}


def said(claims_file: str, forecasters: Mapping[str, Forecaster]) -> pd.DataFrame:
    """The paper's claims of this chapter, with each law's word; texts are HTML."""
    claims = [claim for claim in read_claims(claims_file) if claim.key in CLAIMS]
    words = {
        law: [verdict_line(found) for found in verdicts(claims, law, forecaster)]
        for law, forecaster in forecasters.items()
    }
    return pd.DataFrame({"claim": [escape(claim.statement) for claim in claims]} | words)


def solution_numbers(found: Places, problem: Problem) -> dict[str, Any]:
    """Answers of the exercises: a dense base, and the assumption that moves the answer most."""
    dense = {law: same_loss_cost(place["central"], problem.budget, 1, 8) for law, place in found.items()}
    moved = {name: same_loss_cost(setting, problem.budget, problem.base, 16) for name, setting in found[ABNAR].items()}
    farthest = max(moved, key=lambda name: abs(np.log(moved[name] / moved["central"])))
    return {
        "so_solution_1a": f"{dense[ABNAR]:.0%}",
        "so_solution_1b": f"{dense[JOINT]:.0%}",
        "so_solution_2a": farthest,
        "so_solution_2b": f"{moved[farthest]:.0%}",
        "so_solution_2c": f"{moved['central']:.0%}",
    }
