"""The question of a plan in a reader's words: budgets, names of hardware and laws, files of fits."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from moelaws.fitting.result import FitResult
from moelaws.optimum.family import Family
from moelaws.optimum.forecaster import Forecaster
from moelaws.serving.cost import Deployment, Traffic, deploy
from moelaws.serving.forecasters import OURS, ours, published, read_fit
from moelaws.serving.hardware import Accelerator, accelerator
from moelaws.serving.planning.advice import ask
from moelaws.serving.planning.plan import Plan, PlanError, Request

LAWS = ("abnar2025", "ludziejewski2025")
"""Laws that are asked where none are named."""

HARDWARE = "a100-40gb"
"""What a model is served on where nothing is named."""

FARTHEST = 2.0
"""Decades of budget beyond the book's own runs up to which their law is asked: three decades of runs made it."""

Asked = str | Path | FitResult | Forecaster


def plan(
    train_flops: float,
    serve_tokens: float = 0.0,
    hardware: str | Accelerator | Deployment = HARDWARE,
    laws: Iterable[Asked] | Mapping[str, Asked] = LAWS,
    family: Family | None = None,
    **request: Any,
) -> Plan:
    """What to train and how to serve it: options under several laws, a recommendation, and how far the laws disagree.

    Args:
        train_flops: training budget C, in FLOPs.
        serve_tokens: output tokens served over the model's life.
        hardware: name of an accelerator (``serving.ACCELERATORS``), one of your own, or a deployment with its traffic,
            rent and number of devices (``serving.deploy``).
        laws: names of laws that can plan, ``ours`` for the fit of the book's runs (up to two decades beyond them;
            farther off ``refused`` says why not), files that ``moelaws fit --json`` wrote, fits, or forecasters; a
            mapping gives them names.
        family: sizes, FLOPs and cache of the models; by default each law's own.
        request: further fields of ``serving.Request``: ``experts``, the numbers E to consider; ``top_k``, experts per
            token; ``loss`` to reach, in nats per token (by default the base's); ``base_experts``, E of the base.

    Returns:
        The plan; ``print(plan)`` shows it, ``plan.laws`` holds one plan a law.

    Raises:
        PlanError: a request that makes no sense, or no law has an answer; the message is the first law's reason.
        ValueError: no such hardware or law, or a file that is no fit.

    Example:
        >>> found = plan(train_flops=1e21, serve_tokens=1e12, hardware="h100", laws=["abnar2025"], experts=(1, 8))
        >>> best = found.laws[0].cheapest
        >>> best.n_experts, best.train_flops <= 1e21
        (8, True)
    """
    asked = Request(train_flops, serve_tokens, **request)
    if isinstance(hardware, str):
        hardware = accelerator(hardware)
    deployment = hardware if isinstance(hardware, Deployment) else deploy(hardware, traffic=Traffic())
    chosen, missing = forecasters_of(laws, family, train_flops)
    if not chosen:
        raise PlanError(next(iter(missing.values()), "no law to ask"))
    return ask(asked, deployment, chosen, missing)


def forecasters_of(
    laws: Iterable[Asked] | Mapping[str, Asked], family: Family | None = None, train_flops: float | None = None
) -> tuple[dict[str, Forecaster], dict[str, str]]:
    """Laws as a reader names them, ready to be asked.

    Args:
        laws: see ``plan``.
        family: sizes of the models in place of each law's own.
        train_flops: the budget that they are to be asked about, where it is known.

    Returns:
        Name -> forecaster, and name -> why it cannot be asked.

    Raises:
        ValueError: a law that cannot plan, or a file that is no fit.
    """
    named = dict(laws) if isinstance(laws, Mapping) else {_name(each): each for each in laws}
    chosen: dict[str, Forecaster] = {}
    missing = {}
    for name, each in named.items():
        if isinstance(each, Forecaster):
            chosen[name] = each
        elif isinstance(each, FitResult):
            chosen[name] = Forecaster(each, family=family)
        elif isinstance(each, Path) or each.endswith(".json"):
            chosen[name] = read_fit(each, family)
        elif each != "ours":
            chosen[name] = published(each, family)
        elif (own := ours(family)) is not None:
            away = own.decades_beyond(train_flops) if train_flops else 0.0
            if away <= FARTHEST:
                chosen[name] = own
            else:
                missing[name] = (
                    f"the book's own runs have {own.budgets[0]:.0e} to {own.budgets[1]:.0e} FLOPs; {train_flops:.0e} "
                    f"lies {away:.0f} decades beyond them, where their law is not asked (it is up to {FARTHEST:g})"
                )
        else:
            missing[name] = (
                f"no fit of the book's own runs: there is no {OURS}; make one with "
                f"'moelaws fit TABLE --law abnar2025 --json {OURS}', or give the file of a fit of yours"
            )
    return chosen, missing


def _name(law: Asked) -> str:
    if isinstance(law, Forecaster | FitResult):
        return law.law.name
    return Path(law).stem if isinstance(law, Path) or law.endswith(".json") else law
