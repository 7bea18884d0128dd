"""A plan on a page: its advice under each law, how far laws and assumptions move it, and what cannot be met."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.page import listed
from moelaws.charts.serving_costs import dollars_explorer
from moelaws.charts.tables import readable
from moelaws.optimum.forecaster import Forecaster
from moelaws.quote import in_short
from moelaws.serving.bounded import Trade
from moelaws.serving.cost import Deployment, Traffic, deploy
from moelaws.serving.forecasters import published, read_fit
from moelaws.serving.frontier import same_loss_models
from moelaws.serving.hardware import ACCELERATORS, TYPICAL, Accelerator
from moelaws.serving.planning.advice import ask
from moelaws.serving.planning.plan import LawPlan, Plan, PlanError, Request, Row

Forecasters = Mapping[str, Forecaster]

CENTRAL = "as above"

_QUANTITIES = {
    "n_experts": "experts E",
    "total_params": "total parameters N",
    "active_params": "active parameters N_a",
    "tokens": "tokens D",
    "total_dollars": "dollars in all",
}
"""Fields in which advice is compared, in words."""


def forecasters(law_fit: str = "") -> dict[str, Forecaster]:
    """The published laws that can plan, and the fit in a file where one is given.

    The fit of our own runs is not among them: they end eight decades below the budgets of a plan.
    """
    laws = {"Abnar et al.": published("abnar2025"), "joint law": published("ludziejewski2025")}
    return laws | ({"your law": read_fit(law_fit)} if law_fit else {})


def advice(found: Plan) -> pd.DataFrame:
    """What each law advises to save and to improve, with the dollars of training and serving."""
    rows = {
        (each.law, what): {
            "E": row.n_experts,
            "N (B)": row.total_params / 1e9,
            "N_a (B)": row.active_params / 1e9,
            "D / N_a": row.tokens / row.active_params,
            "loss": row.loss,
            "$ train": row.train_dollars,
            "$ serve": row.serve_dollars,
        }
        for each in found.laws
        for what, row in (("to save", each.cheapest), ("to improve", each.best))
    }
    money = {name: "{:,.0f}" for name in ("$ train", "$ serve")}
    table = pd.DataFrame(rows).T.rename_axis(["law", "advice"])
    return readable(table, forms=money | {"E": "{:.0f}", "loss": "{:.3f}", "D / N_a": "{:,.0f}"})


def finding_numbers(found: Plan) -> dict[str, Any]:
    """What is advised to save, and how far the laws lie apart: the chapter's finding."""
    dollars = [each.cheapest.total_dollars for each in found.laws]
    experts = sorted({each.cheapest.n_experts for each in found.laws})
    return {
        "pl_advised": listed(map(str, experts), between=" or "),
        "pl_least": f"${min(dollars):,.0f}",
        "pl_most": f"${max(dollars):,.0f}",
    }


def plan_numbers(found: Plan) -> dict[str, Any]:
    """Serving over training, dense and as advised, what the advice saves, and how far the laws lie apart."""
    first = found.laws[0]
    ratios = {one.field: one.ratio for one in found.disagreement}
    saved = [_dense(each).total_dollars / each.cheapest.total_dollars for each in found.laws]
    return {
        f"pl_{key}_ratio": f"{row.serve_dollars / row.train_dollars:.1f}"
        for key, row in (("dense", _dense(first)), ("save", first.cheapest))
    } | {
        "pl_saved": listed([f"{factor:.0f}" for factor in saved], between=" and "),
        **{f"pl_{name}": f"{ratios[name]:.1f}" for name in _QUANTITIES},
    }


def notes(found: Plan) -> list[tuple[str, str]]:
    """What is to be known about each law's advice, and why a law has none; what holds of several is said once."""
    laws: dict[str, list[str]] = {}
    for law, note in [(each.law, note) for each in found.laws for note in each.notes] + [*found.refused.items()]:
        laws.setdefault(note, []).append(law)
    return [(", ".join(names), note) for note, names in laws.items()]


def tokens_each(found: Plan) -> pd.DataFrame:
    """Tokens for each active parameter in the advice to save."""
    far = {each.law: each.cheapest.tokens / each.cheapest.active_params for each in found.laws}
    return readable(pd.DataFrame({"tokens per active parameter, to save": far}), "{:,.0f}")


def apart(found: Plan) -> pd.DataFrame:
    """How far the laws disagree, a row a quantity."""
    rows = {
        _QUANTITIES.get(one.field, one.field): {
            "lowest": _sized(one.field, one.low),
            "highest": _sized(one.field, one.high),
            "factor": f"{one.ratio:.2f}",
        }
        for one in found.disagreement
    }
    return pd.DataFrame(rows).T


def options(found: Plan) -> pd.DataFrame:
    """All options that the advice is chosen from, by law and number of experts."""
    rows = pd.DataFrame([asdict(row) | {"option": _option(row)} for each in found.laws for row in each.rows])
    table = rows.rename(columns={"n_experts": "E"}).pivot(index=["law", "E"], columns="kind", values="option")
    return table[["loss-optimal", "cheapest", "best at cost"]].fillna("none")


def same_loss(found: Plan, laws: Forecasters) -> pd.DataFrame:
    """For each law, all sizes that reach the loss of the dense optimum within the budget."""
    asked = found.request
    return pd.concat(
        same_loss_models(
            Trade(laws[each.law], found.deployment),
            asked.train_flops,
            each.target + 1e-9,
            asked.experts,
            asked.top_k,
            points=25,
        ).assign(law=each.law)
        for each in found.laws
    )


def explorer(models: pd.DataFrame, found: Plan, assumed: "Assumptions") -> alt.VConcatChart:
    """Dollars against size, with sliders for the price and the tokens served that begin where the plan is made."""
    return dollars_explorer(
        models,
        description="Total dollars against size for models of one loss, by experts; sliders for tokens served and "
        "price.",
        tokens=found.request.serve_tokens,
        price=assumed.dollars_per_hour,
    )


@dataclass(frozen=True)
class Assumptions:
    """How a model is served, before anything is changed.

    Attributes:
        device: the processor.
        gpus: numbers of them that one copy may take.
        traffic: what is asked of it.
        dollars_per_hour: of one.
    """

    device: Accelerator
    gpus: Sequence[int]
    traffic: Traffic
    dollars_per_hour: float

    def deployment(self, **changes: Any) -> Deployment:
        """The deployment, with some assumptions changed; see ``serving.deploy``."""
        central = {"traffic": self.traffic, "dollars_per_hour": self.dollars_per_hour}
        return deploy(self.device, tuple(self.gpus), **(central | changes))


def elsewhere(request: Request, assumed: Assumptions, laws: Forecasters) -> dict[str, Plan | PlanError]:
    """The plan under other assumptions: name -> the plan, or why there is none."""
    longer = replace(assumed.traffic, prompt_tokens=10 * assumed.traffic.prompt_tokens)
    changes: dict[str, dict[str, Any]] = {
        CENTRAL: {},
        "half the bandwidth": {"efficiency": replace(TYPICAL, bandwidth=0.4)},
        "20 microseconds an expert": {"efficiency": replace(TYPICAL, seconds_per_expert=2e-5)},
        "at most 32 requests": {"max_batch": 32.0},
        "prompts ten times as long": {"traffic": longer},
    }
    found: dict[str, Plan | PlanError] = {}
    for name, change in changes.items():
        try:
            found[name] = ask(request, assumed.deployment(**change), laws)
        except PlanError as error:
            found[name] = error
    return found


def moved(plans: Mapping[str, Plan | PlanError]) -> pd.DataFrame:
    """The advice to save under each assumption, by law."""
    return pd.DataFrame(
        {
            name: {"": str(plan)}
            if isinstance(plan, PlanError)
            else {each.law: _short(each.cheapest) for each in plan.laws}
            for name, plan in plans.items()
        }
    ).T


def moved_numbers(plans: Mapping[str, Plan | PlanError]) -> dict[str, Any]:
    """The assumptions under which some law advises another number of experts."""
    advised = {
        name: {each.law: each.cheapest.n_experts for each in plan.laws}
        for name, plan in plans.items()
        if isinstance(plan, Plan)
    }
    central = advised[CENTRAL]
    other = sorted(name for name, by_law in advised.items() if any(e != central[law] for law, e in by_law.items()))
    return {"pl_other": listed((f'"{name}"' for name in other), between="; ")}


def refusals(request: Request, deployment: Deployment, laws: Forecasters) -> Iterator[tuple[str, str]]:
    """What a plan says when it cannot be made: a loss too low, too little memory, no budget."""
    one = dict(list(laws.items())[:1])
    impossible = {
        "a loss below the floor": (replace(request, loss=0.5), deployment),
        "10 MB of memory in each processor": (request, replace(deployment, memory_bytes=1e7)),
    }
    for what, (asked, where) in impossible.items():
        try:
            ask(asked, where, one)
        except PlanError as error:
            yield what, str(error)
    try:
        replace(request, train_flops=0)
    except PlanError as error:
        yield "no budget", str(error)


def solution_numbers(found: Plan, models: pd.DataFrame, laws: Forecasters) -> dict[str, Any]:
    """Answers of the exercises: where serving overtakes training, and which preset is cheapest."""
    first = models[models["law"] == found.laws[0].law]
    tokens = next((n for n in np.geomspace(1e9, 1e14, 101) if _serving_is_dearer(first, n)), 1e14)
    name, forecaster = next(iter(laws.items()))
    asked = replace(found.request, experts=(found.laws[0].cheapest.n_experts,))
    bills = {
        device.name: ask(asked, deploy(device), {name: forecaster}).laws[0].cheapest.total_dollars
        for device in ACCELERATORS.values()
    }
    order = sorted(bills, key=lambda device: bills[device])
    return {
        "pl_solution_1": f"{tokens:.1e}",
        "pl_solution_2a": order[0],
        "pl_solution_2b": f"{bills[order[1]] / bills[order[0]]:.2f}",
        "pl_solution_2c": order[1],
    }


def _dense(law_plan: LawPlan) -> Row:
    optimal = [row for row in law_plan.rows if row.kind == "loss-optimal"]
    return min(optimal, key=lambda row: row.n_experts)


def _option(row: Row) -> str:
    price = f"${row.total_dollars:,.0f}" if row.fits else "does not fit"
    return f"{row.total_params / 1e9:.3g} B, {row.loss:.3f}, {price}"


def _sized(field: str, value: float) -> str:
    return f"${value:,.0f}" if field == "total_dollars" else in_short(value)


def _short(row: Row) -> str:
    return f"E = {row.n_experts}, N = {row.total_params / 1e9:.1f}B, ${row.total_dollars:,.0f}"


def _serving_is_dearer(models: pd.DataFrame, tokens: float) -> bool:
    train, serving = models["train_seconds"], tokens * models["serve_seconds"]
    best = (train + serving).idxmin()
    return bool(serving[best] > train[best])
