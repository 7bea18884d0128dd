"""Where a forecaster's coefficients come from: a fit, a paper, or a hand; with their family, budgets and error."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from moelaws.fitting.discrepancy.admission import Use, used
from moelaws.fitting.result import FitResult
from moelaws.laws import LAWS, Law, law
from moelaws.optimum.family import FAMILIES, Family, family_of, proportional

Array = Any
_UNKNOWN = (0.0, np.inf)
_DRAWS = 200
"""Of a law and its error together."""

PUBLISHED = {
    "abnar2025": ("table3", "glu", (3e19, 1e21)),
    "ludziejewski2025": ("table3", "switch", _UNKNOWN),
}
"""Laws that know experts and tokens and have coefficients: name -> set of coefficients, family, and the training FLOPs
of the runs behind them where the paper prints those."""


class OptimumError(ValueError):
    """The question has no answer under this law; the message says why."""


def made_of(
    source: Law | str | FitResult,
    params: Mapping[str, float] | None,
    family: Family | None,
    replicates: Mapping[str, Array] | None,
) -> dict[str, Any]:
    """The attributes of a forecaster: what is given, and for the rest what its source tells."""
    if isinstance(source, FitResult):
        saved = source.origin.family
        return {
            "law": source.law,
            "params": source.params if params is None else params,
            "family": family or (family_of(saved["name"], _settings(saved)) if saved else proportional()),
            "replicates": source.draws() if replicates is None else replicates,
            "budgets": source.origin.ranges.get("train_flops", _UNKNOWN),
        }
    found = law(source) if isinstance(source, str) else source
    if params is not None:
        made = {"family": family or proportional(), "budgets": _UNKNOWN}
    elif found.name in PUBLISHED and LAWS.get(found.name) is found:
        key, default, budgets = PUBLISHED[found.name]
        params, made = found.published[key], {"family": family or FAMILIES[default](), "budgets": budgets}
    else:
        raise OptimumError(
            f"law {found.name!r} cannot plan: it lacks experts, tokens or published coefficients; "
            f"those that can are {', '.join(PUBLISHED)}, and fits of your own"
        )
    return {"law": found, "params": params, "replicates": replicates or {}} | made


def error_of(source: Law | str | FitResult, use: Use, by_hand: bool) -> dict[str, Any]:
    """The process beside a fitted law, and its draws with those of the coefficients, as attributes of a forecaster."""
    if not isinstance(source, FitResult):
        if use == "always":
            raise OptimumError("discrepancy = 'always': only a fit that holds its runs tells what its law misses")
        return {"discrepancy": "the law stands alone: it was not fitted here, and brings no runs"}
    correction = used(source, use)
    said = source.discrepancy.reason
    if correction is None:
        return {"discrepancy": said}
    if by_hand:
        raise OptimumError(
            f"discrepancy = {use!r}: params and replicates that are given by hand have no process of theirs"
        )
    paths = correction.paths(_DRAWS)
    replicates = {name: paths.params.get(name, np.full(_DRAWS, value)) for name, value in source.params.items()}
    params = {**source.params, **correction.params}
    return {"params": params, "error": paths, "replicates": replicates, "discrepancy": said}


def _settings(saved: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in saved.items() if key != "name"}
