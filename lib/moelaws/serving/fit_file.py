"""A law with its coefficients from a file that ``moelaws fit --json`` wrote; every field is checked before use."""

from pathlib import Path
from typing import Any

import numpy as np

from moelaws.json_file import JsonFileError, number_of, object_in, read_object, text_in
from moelaws.laws import LAWS, FormulaError, Law, LawError, law_from_formula
from moelaws.optimum.family import Family, proportional
from moelaws.optimum.forecaster import Forecaster
from moelaws.quote import shown

_MOST_REPLICATES = 100_000
_LONGEST_NAME = 200
_UNKNOWN = (0.0, np.inf)


def read_fit(path: str | Path, family: Family | None = None) -> Forecaster:
    """A law with coefficients from a file that ``moelaws fit --json`` wrote.

    Bands need the coefficients' joint uncertainty: bootstrap replicates under the key ``replicates`` (parameter ->
    values). Intervals of single coefficients are not enough: amplitudes and exponents move together, and drawn
    independently they would give a band many times too wide. Without replicates there is none.

    Args:
        path: the file.
        family: sizes, FLOPs and cache of the models; by default all parameters belong to experts.

    Raises:
        JsonFileError: not such a file, a field of another kind, or coefficients that are not the law's.
    """
    path = Path(path)
    family = family or proportional()
    content = read_object(path, path.name or str(path))
    for key in ("law", "formula", "params"):
        if key not in content:
            raise JsonFileError(f"{path.name}: no field {key!r}; expected what 'moelaws fit --json' writes")
    found = _law(content, path.name)
    _require_plannable(found, family, path.name)
    params = _params(content["params"], found, path.name)
    replicates = _replicates(object_in(content, "replicates", path.name), params, path.name)
    return Forecaster(found, params, family, replicates, _budgets(content, path.name))


def _law(content: dict[str, Any], name: str) -> Law:
    law_name, formula = text_in(content, "law", name), text_in(content, "formula", name)
    if len(law_name) > _LONGEST_NAME:
        raise JsonFileError(f"{name}: 'law': a name of {len(law_name)} characters; expected at most {_LONGEST_NAME}")
    known = LAWS.get(law_name)
    if known is not None and known.formula == formula:
        return known
    columns = object_in(content, "columns", name)
    for letter in columns:
        text_in(columns, letter, name)
    try:
        return law_from_formula(law_name, formula, columns)
    except (FormulaError, LawError) as error:
        raise JsonFileError(f"{name}: {error}") from None


def _require_plannable(law: Law, family: Family, name: str) -> None:
    """Refuse a law of quantities that a plan does not choose."""
    known = (*family.columns(1.0, 1.0, 1.0), "tokens", "train_flops")
    for variable in law.variables:
        if not set(variable.columns) & set(known):
            raise JsonFileError(
                f"{name}: the law is a function of {shown(variable.columns[0])}, which a plan does not choose; "
                f"it chooses {', '.join(known)}"
            )


def _params(values: Any, law: Law, name: str) -> dict[str, float]:
    if not isinstance(values, dict):
        raise JsonFileError(f"{name}: params must map parameters to numbers, found {shown(values)}")
    if set(values) != set(law.parameter_names):
        odd = min(set(values) ^ set(law.parameter_names))
        raise JsonFileError(f"{name}: params and law {shown(law.name)} do not agree on the parameter {shown(odd)}")
    params = {each: number_of(value, f"params.{each}", name) for each, value in values.items()}
    for parameter in law.parameters:
        if parameter.positive and params[parameter.name] < 0:
            raise JsonFileError(f"{name}: params.{parameter.name} = {params[parameter.name]:g}: expected a number >= 0")
    return params


def _replicates(values: dict[str, Any], params: dict[str, float], name: str) -> dict[str, np.ndarray]:
    if not values:
        return {}
    expected = f"{name}: replicates must hold equally many values of every parameter"
    if set(values) != set(params) or not all(isinstance(each, list) for each in values.values()):
        raise JsonFileError(expected)
    if len({len(each) for each in values.values()}) != 1:
        raise JsonFileError(expected)
    if len(next(iter(values.values()))) > _MOST_REPLICATES:
        raise JsonFileError(f"{expected}, at most {_MOST_REPLICATES}")
    return {
        each: np.array([number_of(value, f"replicates.{each}", name) for value in row]) for each, row in values.items()
    }


def _budgets(content: dict[str, Any], name: str) -> tuple[float, float]:
    expected = f"{name}: ranges must map columns to two numbers, as in [1e11, 1e13]"
    ends = object_in(content, "ranges", name).get("train_flops")
    if ends is None:
        return _UNKNOWN
    if not isinstance(ends, list) or len(ends) != 2:
        raise JsonFileError(expected)
    low, high = (number_of(end, "ranges.train_flops", name) for end in ends)
    if not 0 <= low <= high:
        raise JsonFileError(f"{expected}; found {low:g} to {high:g}")
    return low, high
