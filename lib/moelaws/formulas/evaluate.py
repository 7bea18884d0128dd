"""How a formula is computed: which products become sums of logs, what is known to be positive.

Products and powers of positive quantities are computed as exp(sum of logs), the form in which nearly all scaling laws
are sums of exponentials of linear forms; nothing overflows on the way, and one exp per term is all that a law costs.

What is computed with is an algebra: numbers with their derivatives (``formulas.duals``), or the steps of a program
for a fit, which evaluates one law thousands of times (``formulas.program``).
"""

from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from moelaws.formulas.parsing import Binary, Call, Name, Negative, Node, Number

Array = Any
"""A float or a numpy array; parameters [starts, 1] and runs [1, runs] broadcast to [starts, runs]."""

_LOG_BASE = {"ln": 1.0, "log2": float(np.log(2.0)), "log10": float(np.log(10.0))}

Thing = TypeVar("Thing")


class Algebra(Protocol[Thing]):
    """What formulas are computed with."""

    def constant(self, value: Array) -> Thing:
        """A constant: a number, or one for each run."""

    def parameter(self, name: str) -> Thing:
        """A parameter, or its log where ``is_log`` says so; ``FormulaError`` for an unknown name."""

    def is_log(self, name: str) -> bool:
        """Whether a parameter is given by its log."""

    def is_positive(self, name: str) -> bool:
        """Whether a parameter is positive by definition."""

    def add(self, a: Thing, b: Thing, sign: float) -> Thing:
        """a + b, or a - b for a negative sign."""

    def multiply(self, a: Thing, b: Thing) -> Thing:
        """The product."""

    def scale(self, a: Thing, factor: float) -> Thing:
        """A multiple."""

    def reciprocal(self, a: Thing) -> Thing:
        """1 / a."""

    def exp(self, a: Thing) -> Thing:
        """e to the power of a."""

    def log(self, a: Thing) -> Thing:
        """The natural log; nan of a negative number."""

    def power(self, a: Thing, whole: int) -> Thing:
        """A whole power, of a number of either sign."""

    def whole(self, a: Thing) -> int | None:
        """The whole number that this is a constant of, if it is one."""


class Evaluation(Generic[Thing]):
    """One pass over a folded tree. Parts that the tree shares are computed once.

    Args:
        algebra: what to compute with.
    """

    def __init__(self, algebra: Algebra[Thing]) -> None:
        self.algebra = algebra
        self._values: dict[int, Thing] = {}
        self._logs: dict[int, Thing] = {}
        self._positive: dict[int, bool] = {}

    def value(self, node: Node) -> Thing:
        """The part's value."""
        key = id(node)
        if key not in self._values:
            self._values[key] = self._value(node)
        return self._values[key]

    def log(self, node: Node) -> Thing:
        """The natural log of the part's value; nan where the value is negative."""
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

    def _value(self, node: Node) -> Thing:
        by = self.algebra
        match node:
            case Number(value):
                return by.constant(value)
            case Name(name) if not by.is_log(name):
                return by.parameter(name)
            case Negative(part):
                return by.scale(self.value(part), -1.0)
            case Binary("+" | "-" as sign, left, right):
                return by.add(self.value(left), self.value(right), 1.0 if sign == "+" else -1.0)
            case Binary("*" | "/", left, right) if not (self.positive(left) and self.positive(right)):
                a, b = self.value(left), self.value(right)
                return by.multiply(a, b if node.operator == "*" else by.reciprocal(b))
            case Binary("^", left, right) if not self.positive(left):
                return self._whole_power(left, right)
            case Call(function, part) if function in _LOG_BASE:
                return by.scale(self.log(part), 1.0 / _LOG_BASE[function])
        return by.exp(self.log(node))

    def _log(self, node: Node) -> Thing:
        by = self.algebra
        match node:
            case Name(name) if by.is_log(name):
                return by.parameter(name)
            case Binary("*" | "/" as sign, left, right) if self.positive(left) and self.positive(right):
                return by.add(self.log(left), self.log(right), 1.0 if sign == "*" else -1.0)
            case Binary("^", left, right) if self.positive(left):
                return by.multiply(self.value(right), self.log(left))
            case Call("exp", part):
                return self.value(part)
            case Call("sqrt", part):
                return by.scale(self.log(part), 0.5)
        return by.log(self.value(node))

    def _is_positive(self, node: Node) -> bool:
        match node:
            case Number(value):
                return bool(np.all(value > 0))
            case Name(name):
                return self.algebra.is_positive(name)
            case Binary("^", left, _):
                return self.positive(left)
            case Binary("+" | "*" | "/", left, right):
                return self.positive(left) and self.positive(right)
            case Call(function, _):
                return function in ("exp", "sqrt")
        return False

    def _whole_power(self, left: Node, right: Node) -> Thing:
        by = self.algebra
        exponent = self.value(right)
        whole = by.whole(exponent)
        if whole is None:
            # ln of a number of unknown sign: right where it is positive, nan elsewhere.
            return by.exp(by.multiply(exponent, self.log(left)))
        return by.power(self.value(left), whole)
