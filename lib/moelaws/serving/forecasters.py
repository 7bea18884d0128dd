"""Laws ready for a plan: published ones with the family they were fitted to, and fits of one's own from a file."""

import json
from pathlib import Path
from typing import Any

import numpy as np

import moelaws
from moelaws.fitting.family import Family, alternating, glu, proportional, switch
from moelaws.fitting.forecaster import Forecaster
from moelaws.laws import LAWS, Law, law, law_from_formula

FAMILIES = {"proportional": proportional, "glu": glu, "switch": switch, "alternating": alternating}
"""Families by name, with their defaults."""

_UNKNOWN = (0.0, np.inf)

PUBLISHED = {
    "abnar2025": ("table3", "glu", (3e19, 1e21)),
    "ludziejewski2025": ("table3", "switch", _UNKNOWN),
}
"""Laws that know experts and tokens and have coefficients: name -> set of coefficients, family, and the training FLOPs
of the runs behind them where the paper prints those."""

OURS = Path("data/fits/ours.json")
"""Where the fit of the book's own runs lies, from the root of the book."""


def published(name: str, family: Family | None = None) -> Forecaster:
    """A published law with the family of models that it was fitted to.

    Args:
        name: ``abnar2025`` or ``ludziejewski2025``.
        family: another family.

    Raises:
        ValueError: a law that cannot choose a size and a number of experts under a budget.
    """
    if name not in PUBLISHED:
        law(name)  # a name that is no law at all gets its own message
        raise ValueError(
            f"law {name!r} cannot plan: it lacks experts, tokens or published coefficients; "
            f"those that can are {', '.join(PUBLISHED)}, and fits of your own"
        )
    key, default, budgets = PUBLISHED[name]
    return Forecaster(law(name), law(name).published[key], family or FAMILIES[default](), budgets=budgets)


def ours(family: Family | None = None) -> Forecaster | None:
    """The law fitted to the book's own runs, or ``None`` while there is no such fit.

    Looked for under the working directory, its parent (for a chapter) and the source tree.
    """
    for root in (Path(), Path(".."), Path(moelaws.__file__).parents[2]):
        if (root / OURS).is_file():
            return read_fit(root / OURS, family)
    return None


def read_fit(path: str | Path, family: Family | None = None) -> Forecaster:
    """A law with coefficients from a file that ``moelaws fit --json`` wrote.

    Bands need the coefficients' joint uncertainty: bootstrap replicates under the key ``replicates`` (parameter ->
    values). Intervals of single coefficients are not enough: amplitudes and exponents move together, and drawn
    independently they would give a band many times too wide. Without replicates there is none.

    Args:
        path: the file.
        family: sizes, FLOPs and cache of the models; by default all parameters belong to experts.

    Raises:
        ValueError: not such a file, or coefficients that are not the law's.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ValueError(f"{path.name}: not JSON ({error})") from None
    for key in ("law", "formula", "params"):
        if not isinstance(content, dict) or key not in content:
            raise ValueError(f"{path.name}: no field {key!r}; expected what 'moelaws fit --json' writes")
    found = _law(content)
    params = _numbers(content["params"], path, "params")
    if set(params) != set(found.parameter_names):
        odd = min(set(params) ^ set(found.parameter_names))
        raise ValueError(f"{path.name}: params and law {found.name!r} do not agree on the parameter {odd!r}")
    replicates = {name: np.asarray(values, float) for name, values in (content.get("replicates") or {}).items()}
    if replicates and (set(replicates) != set(params) or len({v.shape for v in replicates.values()}) != 1):
        raise ValueError(f"{path.name}: replicates must hold equally many values of every parameter")
    return Forecaster(found, params, family or proportional(), replicates, _budgets(content, path))


def _law(content: dict[str, Any]) -> Law:
    known = LAWS.get(content["law"])
    if known is not None and known.formula == content["formula"]:
        return known
    columns = content.get("columns") or {}
    return law_from_formula(str(content["law"]), content["formula"], {str(k): str(v) for k, v in columns.items()})


def _budgets(content: dict[str, Any], path: Path) -> tuple[float, float]:
    try:
        low, high = (content.get("ranges") or {}).get("train_flops", _UNKNOWN)
        return float(low), float(high)
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"{path.name}: ranges must map columns to two numbers, as in [1e11, 1e13]") from None


def _numbers(values: Any, path: Path, field: str) -> dict[str, float]:
    try:
        return {str(name): float(value) for name, value in values.items()}
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"{path.name}: {field} must map parameters to numbers") from None
