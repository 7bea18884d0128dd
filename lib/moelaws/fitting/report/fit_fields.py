"""Fields of the file of a fit: each read and checked, or refused by its name."""

from collections.abc import Collection
from typing import Any

import numpy as np

from moelaws.fitting.intervals.prediction import Joint
from moelaws.json_file import JsonFileError, number_of, object_in, text_in
from moelaws.quote import shown

MOST_REPLICATES = 100_000
"""Refits beyond which a file is another kind of file."""


def intervals_in(values: dict[str, Any], params: dict[str, float], name: str) -> dict[str, tuple[float, float]]:
    """Parameter -> the ends of its interval; null is none."""
    intervals = {}
    for each, ends in values.items():
        check_known(each, params, "intervals", name)
        if not isinstance(ends, list) or len(ends) != 2:
            raise JsonFileError(f"{name}: intervals.{shown(each)}: expected two numbers, as in [0.3, 0.4]")
        low, high = (
            default if end is None else number_of(end, f"intervals.{each}", name)
            for end, default in zip(ends, (-np.inf, np.inf), strict=True)
        )
        if low > high:
            raise JsonFileError(
                f"{name}: intervals.{shown(each)}: expected the lower end first, found {low:g}, {high:g}"
            )
        intervals[each] = (low, high)
    return intervals


def joint_in(values: dict[str, Any], params: dict[str, float], name: str) -> Joint | None:
    """The covariance and the noise; ``None`` without."""
    if not values:
        return None
    names, matrix = names_of(values.get("parameters"), "covariance.parameters", params, name), values.get("matrix")
    square = isinstance(matrix, list) and all(isinstance(row, list) and len(row) == len(names) for row in matrix)
    if not isinstance(matrix, list) or not square or len(matrix) != len(names) or len(set(names)) < len(names):
        raise JsonFileError(f"{name}: covariance.matrix: expected {len(names)} rows of {len(names)} numbers")
    if not names:
        raise JsonFileError(f"{name}: covariance.parameters: expected at least one")
    cells = np.array([[number_of(cell, "covariance.matrix", name) for cell in row] for row in matrix])
    if not np.allclose(cells, cells.T, rtol=1e-6, atol=0) or (np.diag(cells) < 0).any():
        raise JsonFileError(f"{name}: covariance.matrix: expected a symmetric matrix with variances on its diagonal")
    others = [number_of(values.get(key), f"covariance.{key}", name) for key in ("degrees", "noise", "noise_degrees")]
    if min(others) < 0:
        raise JsonFileError(f"{name}: covariance: degrees and noise: expected numbers >= 0, found {min(others):g}")
    return Joint(tuple(names), cells, *others)


def replicates_in(values: dict[str, Any], params: dict[str, float], name: str) -> dict[str, np.ndarray]:
    """Parameter -> refits."""
    if not values:
        return {}
    expected = f"{name}: replicates must hold equally many values of every parameter"
    if set(values) != set(params) or not all(isinstance(each, list) for each in values.values()):
        raise JsonFileError(expected)
    if len({len(each) for each in values.values()}) != 1:
        raise JsonFileError(expected)
    if len(next(iter(values.values()))) > MOST_REPLICATES:
        raise JsonFileError(f"{expected}, at most {MOST_REPLICATES}")
    return {
        each: np.array([number_of(value, f"replicates.{each}", name) for value in row]) for each, row in values.items()
    }


def ranges_in(values: dict[str, Any], name: str) -> dict[str, tuple[float, float]]:
    """Column -> (least, most)."""
    expected = f"{name}: ranges must map columns to two numbers, as in [1e11, 1e13]"
    ranges = {}
    for column, ends in values.items():
        if ends is None:
            continue
        if not isinstance(ends, list) or len(ends) != 2:
            raise JsonFileError(expected)
        low, high = (number_of(end, f"ranges.{column}", name) for end in ends)
        if not low <= high or (column == "train_flops" and low < 0):
            raise JsonFileError(f"{expected}; found {low:g} to {high:g}")
        ranges[column] = (low, high)
    return ranges


def texts_in(content: dict[str, Any], field: str, name: str) -> dict[str, str]:
    """A field that may be absent, or map names to text."""
    values = object_in(content, field, name)
    return {key: text_in(values, key, name) for key in values}


def optional_text(content: dict[str, Any], field: str, name: str) -> str:
    """A field that may be absent, or hold text."""
    return "" if content.get(field) is None else text_in(content, field, name)


def choice_in(content: dict[str, Any], field: str, choices: tuple[str, ...], default: str, name: str) -> str:
    """A field that may be absent, or hold one of some words."""
    chosen = optional_text(content, field, name) or default
    if chosen not in choices:
        raise JsonFileError(f"{name}: {field!r}: expected one of {', '.join(choices)}, found {shown(chosen)}")
    return chosen


def names_of(values: Any, field: str, params: Collection[str], name: str) -> list[str]:
    """A list of parameters of the law."""
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise JsonFileError(f"{name}: {field!r}: expected a list of parameters, found {shown(values)}")
    for each in values:
        check_known(each, params, field, name)
    return values


def check_known(parameter: str, params: Collection[str], field: str, name: str) -> None:
    """Refuse a name that is no parameter of the law."""
    if parameter not in params:
        raise JsonFileError(f"{name}: {field!r} names {shown(parameter)}, which is no parameter of the law")
