"""A fit from a file: every field of what ``moelaws fit --json`` and ``FitResult.to_json`` write, checked."""

from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from moelaws.fitting.intervals.ends import End
from moelaws.fitting.objective import FitError, Objective, ObjectiveName
from moelaws.fitting.quality import Quality
from moelaws.fitting.report.fit_fields import (
    check_known,
    choice_in,
    intervals_in,
    joint_in,
    names_of,
    optional_text,
    ranges_in,
    replicates_in,
    texts_in,
)
from moelaws.fitting.result import FitResult
from moelaws.fitting.result_parts import LEVEL, Origin, Search, Status, Uncertainty
from moelaws.json_file import JsonFileError, number_of, object_in, read_object, text_in, whole_in
from moelaws.laws import LAWS, FormulaError, Law, LawError, amplitude, exponent, law_from_formula
from moelaws.quote import shown

_MOST_RUNS = 10**12
_LONGEST_NAME = 200
_UNTOLD = "coefficients from a file that tells nothing of their fit"


def load_fit(path: str | Path) -> FitResult:
    """A fit from a file that ``moelaws fit --json`` or ``FitResult.to_json`` wrote.

    It predicts, and has intervals, as far as the file tells the parameters' joint uncertainty: bootstrap refits under
    ``replicates``, or a ``covariance``. It holds no runs, so that it cannot be refitted: no profile, no residuals.
    Files of older versions, and of somebody's own with ``law``, ``formula``, ``params`` and ``columns`` alone, are read
    too; what they do not tell is empty.

    Args:
        path: the file.

    Returns:
        The fit.

    Raises:
        JsonFileError: not such a file, a field of another kind, or coefficients that are not the law's.

    Examples:
        >>> import json, pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "mine.json"
        >>> mine = {"law": "mine", "formula": "E + A/N^a", "params": {"E": 1.5, "A": 400.0, "a": 0.3}}
        >>> _ = file.write_text(json.dumps(mine | {"columns": {"N": "total_params"}}))
        >>> round(float(load_fit(file).predict({"total_params": 1e9})), 3)
        2.298
    """
    path = Path(path)
    name = path.name or str(path)
    content = read_object(path, name)
    for key in ("law", "formula", "params"):
        if key not in content:
            raise JsonFileError(f"{name}: no field {key!r}; expected what 'moelaws fit --json' writes")
    found = _law(content, name)
    params = _params(content["params"], found, name)
    objective = _objective(content, name)
    status = choice_in(content, "status", get_args(Status), "not identified", name)
    return FitResult(
        law=found,
        objective=objective,
        n_runs=whole_in(content, "n_runs", name, 0, _MOST_RUNS) if "n_runs" in content else 0,
        params=params,
        status=cast(Status, status),
        message=optional_text(content, "message", name) or ("" if "status" in content else _UNTOLD),
        quality=_quality(content, content.get("n_runs", 0), name),
        intervals=intervals_in(object_in(content, "intervals", name), params, name),
        holdout=_holdout(object_in(content, "holdout", name), name),
        uncertainty=_uncertainty(content, found, params, name),
        search=_search(content, name),
        origin=_origin(content, params, name),
    )


def _law(content: dict[str, Any], name: str) -> Law:
    law_name, formula = text_in(content, "law", name), text_in(content, "formula", name)
    if len(law_name) > _LONGEST_NAME:
        raise JsonFileError(f"{name}: 'law': a name of {len(law_name)} characters; expected at most {_LONGEST_NAME}")
    known = LAWS.get(law_name)
    if known is not None and known.formula == formula:
        return known
    columns, definitions = texts_in(content, "columns", name), texts_in(content, "definitions", name)
    target, positive = optional_text(content, "target", name) or "loss", content.get("positive")
    try:
        guessed = law_from_formula(law_name, formula, columns, definitions, target=target)
        if positive is None:
            return guessed
        listed = names_of(positive, "positive", guessed.parameter_names, name)
        by_hand = tuple(amplitude(each) if each in listed else exponent(each) for each in guessed.parameter_names)
        return law_from_formula(law_name, formula, columns, definitions, by_hand, target)
    except (FormulaError, LawError) as error:
        raise JsonFileError(f"{name}: {error}") from None


def _params(values: Any, law: Law, name: str) -> dict[str, float]:
    if not isinstance(values, dict):
        raise JsonFileError(f"{name}: params must map parameters to numbers, found {shown(values)}")
    if set(values) != set(law.parameter_names):
        odd = min(set(values) ^ set(law.parameter_names))
        raise JsonFileError(f"{name}: params and law {shown(law.name)} do not agree on the parameter {shown(odd)}")
    params = {each: number_of(values[each], f"params.{each}", name) for each in values}
    for parameter in law.parameters:
        if parameter.positive and params[parameter.name] < 0:
            raise JsonFileError(f"{name}: params.{parameter.name} = {params[parameter.name]:g}: expected a number >= 0")
    return params


def _objective(content: dict[str, Any], name: str) -> Objective:
    chosen = choice_in(content, "objective", get_args(ObjectiveName), "huber-log", name)
    numbers = {key: number_of(content[key], key, name) for key in ("delta", "over") if content.get(key) is not None}
    try:
        return Objective(cast(ObjectiveName, chosen), **numbers)
    except FitError as error:
        raise JsonFileError(f"{name}: {error}") from None


def _uncertainty(content: dict[str, Any], law: Law, params: dict[str, float], name: str) -> Uncertainty:
    kinds = object_in(content, "interval_ends", name)
    for each, ends in kinds.items():
        check_known(each, params, "interval_ends", name)
        if not (isinstance(ends, list) and len(ends) == 2 and all(kind in get_args(End) for kind in ends)):
            raise JsonFileError(f"{name}: interval_ends.{shown(each)}: expected two of {', '.join(get_args(End))}")
    identified = object_in(content, "identified", name)
    for each, known in identified.items():
        check_known(each, params, "identified", name)
        if not isinstance(known, bool):
            raise JsonFileError(f"{name}: 'identified.{each}': expected true or false, found {shown(known)}")
    level = (
        LEVEL if content.get("interval_level") is None else number_of(content["interval_level"], "interval_level", name)
    )
    if not 0 < level < 1:
        raise JsonFileError(f"{name}: interval_level = {level:g}: expected a number between 0 and 1")
    return Uncertainty(
        identified=identified or dict.fromkeys(law.parameter_names, False),
        method=optional_text(content, "interval_method", name),
        level=level,
        ends={each: (ends[0], ends[1]) for each, ends in kinds.items()},
        replicates=replicates_in(object_in(content, "replicates", name), params, name),
        joint=joint_in(object_in(content, "covariance", name), params, name),
    )


def _quality(content: dict[str, Any], n: int, name: str) -> Quality:
    keys = ("rmse_log", "mse", "r2")
    return Quality(n, *(np.nan if content.get(k) is None else number_of(content[k], k, name) for k in keys))


def _holdout(values: dict[str, Any], name: str) -> Quality | None:
    return _quality(values, whole_in(values, "n", name, 0, _MOST_RUNS), name) if values else None


def _search(content: dict[str, Any], name: str) -> Search:
    counts = {k: whole_in(content, k, name, 0, _MOST_RUNS) for k in ("starts", "starts_at_optimum") if k in content}
    numbers = {k: number_of(content[k], k, name) for k in ("objective_value", "seconds") if content.get(k) is not None}
    return Search(**numbers, **counts)  # type: ignore[arg-type]


def _origin(content: dict[str, Any], params: dict[str, float], name: str) -> Origin:
    fixed = names_of(content.get("fixed") or [], "fixed", params, name)
    family = object_in(content, "family", name)
    if family:
        text_in(family, "name", name)
        for key, value in family.items():
            if key != "name" and not isinstance(value, bool):
                number_of(value, f"family.{key}", name)
    return Origin(
        columns=texts_in(content, "columns", name),
        derived=texts_in(content, "derived", name),
        fixed={each: params[each] for each in fixed},
        ranges=ranges_in(object_in(content, "ranges", name), name),
        design=optional_text(content, "design", name),
        family=family,
    )
