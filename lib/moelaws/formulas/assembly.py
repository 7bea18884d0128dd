"""A formula taken apart into the steps of a program.

Linear forms of the coordinates become one step each, a matrix product. Sums are flattened, factors that several terms
share are taken out, products of exponentials become one exponential, and what occurs twice is done once.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from functools import reduce

import numpy as np

from moelaws.formulas.evaluate import Array, Evaluation
from moelaws.formulas.parsing import FormulaError, Node
from moelaws.formulas.program import Kind, Program, Step


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
    steps: dict[tuple[Hashable, ...], Step] = {}  # in their order; what is done twice is one step
    found: dict[int, Step] = {}

    def place(step: Step) -> Step:
        if id(step) not in found:
            step.inputs = tuple(map(place, step.inputs))
            found[id(step)] = steps.setdefault(step.key, step)
        return found[id(step)]

    place(root)
    uses = Counter(id(each) for step in steps.values() for each in step.inputs)
    for number, step in enumerate(steps.values()):
        step.number, step.takes = number, tuple(each.number for each in step.inputs)
        inner = step.inputs[0] if step.kind == "log" else None
        step.overwrites = inner is not None and inner.gathers and uses[id(inner)] == 1 and inner.width == step.width
    return Program(tuple(steps.values()), len(names))


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
        if a.kind != "linear" or a.support or len(a.offset) > 1 or not float(a.offset[0]).is_integer():
            return None
        return int(a.offset[0])

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
        if a.kind == b.kind == "exp":
            return self.exp(self.add(a.inputs[0], b.inputs[0], 1.0))
        for one, other in ((a, b), (b, a)):
            if one.kind == "linear" and other.kind == "weigh":
                return self.multiply(_times(one, other.constant), other.inputs[0])
        return _step("product", [b, a] if b.kind == "linear" else [a, b])

    def reciprocal(self, a: Step) -> Step:
        if a.kind == "exp":
            return self.exp(self.scale(a.inputs[0], -1.0))
        return self.constant(1.0 / a.offset) if a.constant_only else _step("reciprocal", [a])

    def exp(self, a: Step) -> Step:
        return self.constant(np.exp(a.offset)) if a.constant_only else _step("exp", [a])

    def log(self, a: Step) -> Step:
        if a.kind == "exp":
            return a.inputs[0]
        if a.kind == "reciprocal":
            return self.scale(self.log(a.inputs[0]), -1.0)
        if a.kind == "product" and "exp" in (a.inputs[0].kind, a.inputs[1].kind):
            return self.add(self.log(a.inputs[0]), self.log(a.inputs[1]), 1.0)
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
