"""A formula bound to runs, taken apart once into the few steps that a fit goes through thousands of times.

Linear forms of the coordinates become one step each, a matrix product; sums are flattened, factors that several terms
share are taken out. ``moelaws.laws.expansion`` goes through the steps.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Literal

import numpy as np

from moelaws.laws.evaluate import Array, Evaluation
from moelaws.laws.formula import FormulaError, Node

Kind = Literal["linear", "sum", "weigh", "product", "reciprocal", "exp", "log", "power"]


@dataclass(eq=False)
class Step:
    """One step of a program.

    Attributes:
        kind: what is done.
        inputs: the steps whose values it takes.
        support: coordinates that it depends on, Q of them.
        runs: runs that its value differs between, or 1 where it is the same for all.
        width: the same of its slopes.
        bends: whether a second derivative is not zero.
        constant: weights of ``weigh``, [runs]; the exponent of ``power``.
        signs: of the terms of a ``sum``.
        slopes: of a linear form, [Q, width].
        offset: of a linear form, [runs].
    """

    kind: Kind
    inputs: tuple["Step", ...] = ()
    support: tuple[int, ...] = ()
    runs: int = 1
    width: int = 1
    bends: bool = True
    constant: Array = 1.0
    signs: tuple[float, ...] = ()
    slopes: np.ndarray = field(default_factory=lambda: np.empty((0, 1)))
    offset: np.ndarray = field(default_factory=lambda: np.zeros(1))

    @cached_property
    def stretches(self) -> tuple[tuple[tuple[slice, slice, bool], ...], ...]:
        """For each input, stretches of its slopes: where they belong, where they are, and whether they come first."""
        place = {coordinate: i for i, coordinate in enumerate(self.support)}
        seen: set[int] = set()
        found = []
        for each in self.inputs:
            cuts: list[tuple[slice, slice, bool]] = []
            for source, coordinate in enumerate(each.support):
                target, first = place[coordinate], coordinate not in seen
                if cuts and (cuts[-1][0].stop, cuts[-1][2]) == (target, first):
                    cuts[-1] = slice(cuts[-1][0].start, target + 1), slice(cuts[-1][1].start, source + 1), first
                else:
                    cuts.append((slice(target, target + 1), slice(source, source + 1), first))
            seen |= set(each.support)
            found.append(tuple(cuts))
        return tuple(found)

    @cached_property
    def pairs(self) -> np.ndarray:
        """Products of all pairs of slopes of a linear form, [width, Q x Q]."""
        return (self.slopes[:, None, :] * self.slopes).reshape(-1, self.width).T.copy()

    @cached_property
    def columns(self) -> np.ndarray:
        """The support, to index with."""
        return np.array(self.support, dtype=int)

    @cached_property
    def whole_block(self) -> bool:
        """Whether it is a sum whose slopes come from several terms."""
        return self.kind == "sum" and sum(bool(each.support) for each in self.inputs) > 1

    @property
    def constant_only(self) -> bool:
        """Whether it depends on no coordinate."""
        return not self.support


@dataclass(frozen=True)
class Program:
    """The steps of a formula, each after those it takes values from; the last is the formula itself.

    Attributes:
        steps: the steps.
        coordinates: how many coordinates there are, P.
        alone: steps that one other step takes the value of, by ``id``.
    """

    steps: tuple[Step, ...]
    coordinates: int
    alone: frozenset[int]
    _places: dict[tuple[int, int], np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def root(self) -> Step:
        """The formula itself."""
        return self.steps[-1]

    def places(self, a: Step, b: Step) -> np.ndarray:
        """Where pairs of coordinates of two supports lie in a matrix [P x P], flattened."""
        key = id(a), id(b)
        if key not in self._places:
            self._places[key] = (a.columns[:, None] * self.coordinates + b.columns).reshape(-1)
        return self._places[key]


def assemble(tree: Node, names: Sequence[str], logs: Iterable[bool], on_log: bool) -> Program:
    """Take a formula apart.

    Args:
        tree: the formula, folded over the runs: arrays of shape [1, runs].
        names: parameters, P of them; each is a coordinate.
        logs: which coordinates are logs of their parameters, which are then positive.
        on_log: whether the log of the formula is wanted.

    Returns:
        The program.

    Raises:
        FormulaError: a name that is not a parameter.
    """
    evaluation = Evaluation(_Builder(names, dict(zip(names, logs, strict=True))))
    root = evaluation.log(tree) if on_log else evaluation.value(tree)
    steps: dict[int, Step] = {}
    uses: dict[int, int] = {}

    def visit(step: Step) -> None:
        for each in step.inputs:
            uses[id(each)] = uses.get(id(each), 0) + 1
            if id(each) not in steps:
                visit(each)
        steps[id(step)] = step

    visit(root)
    alone = frozenset(key for key, count in uses.items() if count == 1)
    return Program(tuple(steps.values()), len(names), alone)


class _Builder:
    """The algebra of steps."""

    def __init__(self, names: Sequence[str], logs: dict[str, bool]) -> None:
        self.place, self.logs = {name: i for i, name in enumerate(names)}, logs

    def constant(self, value: Array) -> Step:
        return _linear((), np.empty((0, 1)), np.atleast_1d(np.asarray(value, dtype=float)).reshape(-1))

    def parameter(self, name: str) -> Step:
        self._known(name)
        return _linear((self.place[name],), np.ones((1, 1)), np.zeros(1))

    def is_log(self, name: str) -> bool:
        return self.logs[self._known(name)]

    def is_positive(self, name: str) -> bool:
        return self.logs[self._known(name)]

    def whole(self, a: Step) -> int | None:
        if a.kind != "linear" or a.support or len(a.offset) > 1 or a.offset[0] != np.round(a.offset[0]):
            return None
        return round(float(a.offset[0]))

    def add(self, a: Step, b: Step, sign: float) -> Step:
        terms = [*_terms(a, 1.0), *_terms(b, sign)]
        # Of the terms, all linear forms make one, and so do products with one factor in common.
        linear = [_times(term, np.array([s])) for term, s in terms if term.kind == "linear"]
        products: dict[int, tuple[Step, Step]] = {}
        others = []
        for term, s in terms:
            if term.kind == "product" and term.inputs[0].kind == "linear":
                form, factor = _times(term.inputs[0], np.array([s])), term.inputs[1]
                before = products.get(id(factor))
                products[id(factor)] = (form if before is None else _linear_sum([before[0], form]), factor)
            elif term.kind != "linear":
                others.append((term, s))
        others = [(self.multiply(*each), 1.0) for each in products.values()] + others
        if linear:
            form = _linear_sum(linear)
            if not others:
                return form
            if form.support or form.offset.any():
                others.insert(0, (form, 1.0))
        if len(others) == 1 and others[0][1] > 0:
            return others[0][0]
        return _step("sum", [term for term, _ in others], signs=tuple(s for _, s in others))

    def scale(self, a: Step, factor: float) -> Step:
        return _times(a, np.array([float(factor)]))

    def multiply(self, a: Step, b: Step) -> Step:
        for one, other in ((a, b), (b, a)):
            if one.kind == "linear" and one.constant_only:
                return _times(other, one.offset)
        for one, other in ((a, b), (b, a)):
            if one.kind == "linear" and other.kind == "weigh":
                return self.multiply(_times(one, other.constant), other.inputs[0])
        return _step("product", [b, a] if b.kind == "linear" else [a, b])

    def reciprocal(self, a: Step) -> Step:
        return self.constant(1.0 / a.offset) if a.constant_only else _step("reciprocal", [a])

    def exp(self, a: Step) -> Step:
        return self.constant(np.exp(a.offset)) if a.constant_only else _step("exp", [a])

    def log(self, a: Step) -> Step:
        if a.kind == "reciprocal":
            return self.scale(self.log(a.inputs[0]), -1.0)
        return self.constant(np.log(a.offset)) if a.constant_only else _step("log", [a])

    def power(self, a: Step, whole: int) -> Step:
        if a.constant_only or whole in (0, 1):
            return self.constant(a.offset**whole) if a.constant_only or not whole else a
        return _step("power", [a], constant=whole)

    def _known(self, name: str) -> str:
        if name not in self.place:
            raise FormulaError(f"{name!r} is neither a parameter nor a variable of the formula")
        return name


def _step(kind: Kind, inputs: list[Step], constant: Array = 1.0, signs: tuple[float, ...] = ()) -> Step:
    support = tuple(dict.fromkeys(i for each in inputs for i in each.support))
    runs = max([*(each.runs for each in inputs), np.size(constant)])
    width = max(each.width for each in inputs)
    if kind != "sum":
        width = max(width, runs)
    return Step(kind, tuple(inputs), support, runs, width, True, constant, signs)


def _linear(support: tuple[int, ...], slopes: np.ndarray, offset: np.ndarray) -> Step:
    runs = max(slopes.shape[1] if support else 1, len(offset))
    return Step("linear", (), support, runs, slopes.shape[1], False, slopes=slopes, offset=offset)


def _linear_sum(forms: list[Step]) -> Step:
    support = tuple(dict.fromkeys(i for each in forms for i in each.support))
    slopes = np.zeros((len(support), max(each.width for each in forms)))
    for each in forms:
        for i, slope in zip(each.support, each.slopes, strict=True):
            slopes[support.index(i)] += slope
    return _linear(support, slopes, reduce(np.add, (each.offset for each in forms)))


def _terms(step: Step, sign: float) -> list[tuple[Step, float]]:
    if step.kind != "sum":
        return [(step, sign)]
    return [(term, sign * own) for term, own in zip(step.inputs, step.signs, strict=True)]


def _times(step: Step, weights: np.ndarray) -> Step:
    """A step, weighed by a constant: a number [1], or one for each run."""
    if len(weights) == 1 and weights[0] == 1.0:
        return step
    match step.kind:
        case "linear":
            return _linear(step.support, step.slopes * weights, step.offset * weights)
        case "weigh":
            return _times(step.inputs[0], step.constant * weights)
        case "product" if step.inputs[0].kind == "linear":
            return _step("product", [_times(step.inputs[0], weights), step.inputs[1]])
        case "sum" if all("linear" in (term.kind, *(each.kind for each in term.inputs[:1])) for term in step.inputs):
            # Into linear forms, and into the linear factors of products, the weights go for nothing.
            terms = [_times(term, sign * weights) for term, sign in zip(step.inputs, step.signs, strict=True)]
            return _step("sum", terms, signs=(1.0,) * len(terms))
    return _step("weigh", [step], constant=weights)
