"""Numbers that carry their derivatives: forward differentiation over whole arrays of parameters and runs at once.

Every value has its derivatives by those parameters that it depends on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from moelaws.formulas.evaluate import Array, Evaluation
from moelaws.formulas.parsing import FormulaError, Node


@dataclass(frozen=True)
class Given:
    """A parameter's values in one evaluation.

    Attributes:
        array: the values, or their natural logs.
        positive: whether the parameter is positive by definition.
        is_log: whether ``array`` holds logs; derivatives are then by the log.
    """

    array: Array
    positive: bool
    is_log: bool


class Dual(NamedTuple):
    """A value and its derivatives by the named parameters. A tuple, because an evaluation makes dozens."""

    value: Array
    parts: dict[str, Array]


def evaluate(node: Node, parameters: Mapping[str, Given], derivatives: frozenset[str] = frozenset()) -> Dual:
    """The value of a folded tree, and its derivatives.

    Args:
        node: the tree.
        parameters: name -> its values.
        derivatives: names to differentiate by.

    Returns:
        The value and, of those names that occur in the tree, the derivatives.

    Raises:
        FormulaError: a name without values.
    """
    return Evaluation(Duals(parameters, derivatives)).value(node)


class Duals:
    """The algebra of duals."""

    def __init__(self, parameters: Mapping[str, Given], derivatives: frozenset[str]) -> None:
        self.parameters, self.derivatives = parameters, derivatives

    def constant(self, value: Array) -> Dual:
        return Dual(value, {})

    def parameter(self, name: str) -> Dual:
        return Dual(self._given(name).array, {name: 1.0} if name in self.derivatives else {})

    def is_log(self, name: str) -> bool:
        return self._given(name).is_log

    def is_positive(self, name: str) -> bool:
        return self._given(name).positive

    def add(self, a: Dual, b: Dual, sign: float) -> Dual:
        parts = dict(a.parts)
        for name, slope in b.parts.items():
            slope = slope if sign > 0 else -slope
            parts[name] = parts[name] + slope if name in parts else slope
        return Dual(a.value + b.value if sign > 0 else a.value - b.value, parts)

    def multiply(self, a: Dual, b: Dual) -> Dual:
        parts = _times(a.parts, b.value)
        for name, own in _times(b.parts, a.value).items():
            parts[name] = parts[name] + own if name in parts else own
        return Dual(a.value * b.value, parts)

    def scale(self, a: Dual, factor: float) -> Dual:
        return Dual(a.value * factor, _times(a.parts, factor))

    def reciprocal(self, a: Dual) -> Dual:
        value = 1.0 / a.value
        return Dual(value, _times(a.parts, -value * value) if a.parts else {})

    def exp(self, a: Dual) -> Dual:
        value = np.exp(a.value)
        return Dual(value, _times(a.parts, value))

    def log(self, a: Dual) -> Dual:
        return Dual(np.log(a.value), _times(a.parts, 1.0 / a.value) if a.parts else {})

    def power(self, a: Dual, whole: int) -> Dual:
        return Dual(a.value**whole, _times(a.parts, whole * a.value ** (whole - 1) if whole else 0.0))

    def whole(self, a: Dual) -> int | None:
        return None if a.parts or np.ndim(a.value) or not float(a.value).is_integer() else int(a.value)

    def _given(self, name: str) -> Given:
        try:
            return self.parameters[name]
        except KeyError:
            raise FormulaError(f"{name!r} is neither a parameter nor a variable of the formula") from None


def _times(parts: Mapping[str, Array], factor: Array) -> dict[str, Array]:
    return {
        name: factor if isinstance(slope, float) and slope == 1.0 else slope * factor for name, slope in parts.items()
    }
