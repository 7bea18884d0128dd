"""Values and exact derivatives of a formula, over whole arrays of parameters and runs at once.

Forward differentiation: every part of the tree carries its value and its derivatives by those parameters that
occur in it. Products and powers of positive quantities are computed as exp(sum of logs), the form in which nearly
all scaling laws are sums of exponentials of linear forms; nothing overflows on the way, and one exp per term is all
that a law costs. Complex arrays are taken as a complex step, which gives exact second derivatives: their imaginary
parts are infinitesimal (1e-30), and only their first order is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from moelaws.laws.formula import Binary, Call, FormulaError, Name, Negative, Node, Number

Array = Any
"""A float or a numpy array; parameters [starts, 1] and runs [1, runs] broadcast to [starts, runs]."""

_LOG_BASE = {"ln": 1.0, "log2": float(np.log(2.0)), "log10": float(np.log(10.0))}


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


def fold(node: Node, data: Mapping[str, Array], memo: dict[int, Node] | None = None) -> Node:
    """Replace every part that holds no parameter by its value on the data.

    Args:
        node: a formula's tree.
        data: variable -> values.
        memo: parts done already; shared parts stay shared.

    Returns:
        A tree of parameters and constants.
    """
    memo = {} if memo is None else memo
    if id(node) in memo:
        return memo[id(node)]
    match node:
        case Name(name) if name in data:
            new: Node = Number(np.asarray(data[name], dtype=float))
        case Negative(part):
            inner = fold(part, data, memo)
            new = Number(-inner.value) if isinstance(inner, Number) else Negative(inner)
        case Call(function, part):
            inner = fold(part, data, memo)
            new = Call(function, inner)
            if isinstance(inner, Number):
                new = Number(Evaluation({}).value(new).value)
        case Binary(operator, left, right):
            a, b = fold(left, data, memo), fold(right, data, memo)
            new = Binary(operator, a, b)
            if isinstance(a, Number) and isinstance(b, Number):
                new = Number(Evaluation({}).value(new).value)
        case _:
            new = node
    memo[id(node)] = new
    return new


def cut(node: Node, length: int, part: Any, memo: dict[int, Node] | None = None) -> Node:
    """A folded tree over some of the runs only.

    Args:
        node: a folded tree.
        length: runs it holds.
        part: which of them to keep, a slice or indices.
        memo: parts done already; shared parts stay shared.

    Returns:
        The tree over these runs.
    """
    memo = {} if memo is None else memo
    if id(node) not in memo:
        match node:
            case Number(value) if np.ndim(value) and np.shape(value)[-1] == length:
                new: Node = Number(value[..., part])
            case Negative(inner):
                new = Negative(cut(inner, length, part, memo))
            case Call(function, inner):
                new = Call(function, cut(inner, length, part, memo))
            case Binary(operator, left, right):
                new = Binary(operator, cut(left, length, part, memo), cut(right, length, part, memo))
            case _:
                new = node
        memo[id(node)] = new
    return memo[id(node)]


class Evaluation:
    """One pass over a folded tree. Parts that the tree shares are computed once.

    Args:
        parameters: name -> its values.
        derivatives: names to differentiate by.
    """

    def __init__(self, parameters: Mapping[str, Given], derivatives: frozenset[str] = frozenset()) -> None:
        self.parameters, self.derivatives = parameters, derivatives
        self._values: dict[int, Dual] = {}
        self._logs: dict[int, Dual] = {}
        self._positive: dict[int, bool] = {}

    def value(self, node: Node) -> Dual:
        """The part's value and derivatives."""
        key = id(node)
        if key not in self._values:
            self._values[key] = self._value(node)
        return self._values[key]

    def log(self, node: Node) -> Dual:
        """The natural log of the part's value, and its derivatives; nan where the value is negative."""
        key = id(node)
        if key not in self._logs:
            self._logs[key] = self._log(node)
        return self._logs[key]

    def positive(self, node: Node) -> bool:
        """Whether the part is positive whatever the parameters are."""
        key = id(node)
        if key not in self._positive:
            self._positive[key] = self._is_positive(node)
        return self._positive[key]

    def _value(self, node: Node) -> Dual:
        match node:
            case Number(value):
                return Dual(value, {})
            case Name(name):
                given = self._given(name)
                value = _exp_of(given.array) if given.is_log else given.array
                return Dual(value, {name: value if given.is_log else 1.0} if name in self.derivatives else {})
            case Negative(part):
                inner = self.value(part)
                return Dual(-inner.value, {name: -slope for name, slope in inner.parts.items()})
            case Binary("+" | "-" as sign, left, right):
                return _add(self.value(left), self.value(right), 1.0 if sign == "+" else -1.0)
            case Binary("*" | "/", left, right) if not (self.positive(left) and self.positive(right)):
                a, b = self.value(left), self.value(right)
                return _multiply(a, b if node.operator == "*" else _reciprocal(b))
            case Binary("^", left, right) if not self.positive(left):
                return self._whole_power(left, right)
            case Call(function, part) if function in _LOG_BASE:
                return _scale(self.log(part), 1.0 / _LOG_BASE[function])
        return _exp(self.log(node))

    def _log(self, node: Node) -> Dual:
        match node:
            case Name(name) if self._given(name).is_log:
                return Dual(self._given(name).array, {name: 1.0} if name in self.derivatives else {})
            case Binary("*" | "/" as sign, left, right) if self.positive(left) and self.positive(right):
                return _add(self.log(left), self.log(right), 1.0 if sign == "*" else -1.0)
            case Binary("^", left, right) if self.positive(left):
                return _multiply(self.value(right), self.log(left))
            case Call("exp", part):
                return self.value(part)
            case Call("sqrt", part):
                return _scale(self.log(part), 0.5)
        inner = self.value(node)
        if not inner.parts:
            return Dual(_log_of(inner.value), {})
        inverse = 1.0 / inner.value
        return Dual(_log_of(inner.value), {name: slope * inverse for name, slope in inner.parts.items()})

    def _is_positive(self, node: Node) -> bool:
        match node:
            case Number(value):
                return bool(np.all(value > 0))
            case Name(name):
                return self._given(name).positive
            case Binary("^", left, _):
                return self.positive(left)
            case Binary("+" | "*" | "/", left, right):
                return self.positive(left) and self.positive(right)
            case Call(function, _):
                return function in ("exp", "sqrt")
        return False

    def _given(self, name: str) -> Given:
        try:
            return self.parameters[name]
        except KeyError:
            raise FormulaError(f"{name!r} is neither a parameter nor a variable of the formula") from None

    def _whole_power(self, left: Node, right: Node) -> Dual:
        exponent = self.value(right)
        power = exponent.value
        if exponent.parts or np.ndim(power) or power != round(float(np.real(power))):
            # ln of a number of unknown sign: right where it is positive, nan elsewhere.
            return _exp(_multiply(exponent, self.log(left)))
        base, whole = self.value(left), round(float(np.real(power)))
        slope = whole * base.value ** (whole - 1) if whole else 0.0
        return Dual(base.value**whole, {name: part * slope for name, part in base.parts.items()})


def _add(a: Dual, b: Dual, sign: float) -> Dual:
    parts = dict(a.parts)
    for name, slope in b.parts.items():
        slope = slope if sign > 0 else -slope
        parts[name] = parts[name] + slope if name in parts else slope
    return Dual(a.value + b.value if sign > 0 else a.value - b.value, parts)


def _multiply(a: Dual, b: Dual) -> Dual:
    parts = {name: _times(slope, b.value) for name, slope in a.parts.items()}
    for name, slope in b.parts.items():
        own = _times(slope, a.value)
        parts[name] = parts[name] + own if name in parts else own
    return Dual(a.value * b.value, parts)


def _scale(a: Dual, factor: float) -> Dual:
    return Dual(a.value * factor, {name: slope * factor for name, slope in a.parts.items()})


def _reciprocal(a: Dual) -> Dual:
    value = 1.0 / a.value
    return Dual(value, {name: -slope * value * value for name, slope in a.parts.items()})


def _exp(a: Dual) -> Dual:
    value = _exp_of(a.value)
    return Dual(value, {name: _times(slope, value) for name, slope in a.parts.items()})


def _exp_of(array: Array) -> Array:
    """exp; for a complex step, whose imaginary part is infinitesimal, without sines and cosines: eight times faster."""
    if not np.iscomplexobj(array):
        return np.exp(array)
    value = np.empty_like(array)
    np.exp(array.real, out=value.real)
    np.multiply(value.real, array.imag, out=value.imag)
    return value


def _log_of(array: Array) -> Array:
    """ln, nan for a negative number; for a complex step see ``_exp_of``."""
    if not np.iscomplexobj(array):
        return np.log(array)
    value = np.empty_like(array)
    np.log(array.real, out=value.real)
    np.divide(array.imag, array.real, out=value.imag)
    return value


def _times(slope: Array, factor: Array) -> Array:
    return factor if isinstance(slope, float) and slope == 1.0 else slope * factor
