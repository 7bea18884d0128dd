"""A program's value around some coordinates, to second order, for many starts and runs at once.

Slopes go forward: each step has the derivatives by the coordinates that it depends on. A sum over runs of second
derivatives goes backward (the chain rule, twice): every step that bends adds weight x slope x slope, which is one
matrix product, and passes the weight on to what it was made from. So second derivatives cost about as much as first
ones, whatever the number of coordinates.
"""

from dataclasses import dataclass, field

import numpy as np

from moelaws.laws.program import Program, Step


@dataclass
class Expansion:
    """A program's value around some coordinates.

    Attributes:
        program: the program.
        theta: coordinates, [starts, P].
        values: of each step, [starts or 1, runs or 1].
        blocks: slopes of each step by the coordinates of its support, [starts or 1, Q, width]; ``None`` where they
            were not asked for.
    """

    program: Program
    theta: np.ndarray
    values: dict[int, np.ndarray] = field(default_factory=dict)
    blocks: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def value(self) -> np.ndarray:
        """The formula's value, [starts or 1, runs or 1]."""
        return self.values[id(self.program.root)]

    @property
    def block(self) -> np.ndarray:
        """Its slopes by the coordinates of ``program.root.support``, [starts or 1, Q, runs or 1]."""
        return self.blocks[id(self.program.root)]

    def bend(self, pull: np.ndarray) -> np.ndarray:
        """Sum over runs of pull x second derivatives.

        Args:
            pull: weight of each run, [starts, runs].

        Returns:
            The sums, [starts, P, P].
        """
        back = _Back(self, pull)
        for step in reversed(self.program.steps):
            back.go(step)
        count = self.program.coordinates
        return back.total.reshape(-1, count, count)


def values_at(program: Program, theta: np.ndarray) -> np.ndarray:
    """The formula's values alone, [starts or 1, runs or 1], for coordinates [starts, P]."""
    return _forward(program, theta, slopes=False).value


def expand(program: Program, theta: np.ndarray) -> Expansion:
    """The formula's values and slopes, for coordinates [starts, P]."""
    return _forward(program, theta, slopes=True)


def _forward(program: Program, theta: np.ndarray, slopes: bool) -> Expansion:
    found = Expansion(program, theta)
    for step in program.steps:
        factor = _value(found, step)
        if slopes and step.support:
            _slopes(found, step, factor)
    return found


def _value(found: Expansion, step: Step) -> np.ndarray | None:
    """Compute a step's value; returns its derivative by its only input, where it has one."""
    values, value, factor = found.values, None, None
    if step.kind == "linear":
        if not step.support:
            value = step.offset[None]
        elif len(step.support) == 1:
            value = found.theta[:, step.support[0], None] * step.slopes + step.offset
        else:
            value = found.theta[:, step.columns] @ step.slopes + step.offset
    elif step.kind == "sum":
        value = values[id(step.inputs[0])]
        value = value if step.signs[0] > 0 else -value
        for each, sign in zip(step.inputs[1:], step.signs[1:], strict=True):
            value = value + values[id(each)] if sign > 0 else value - values[id(each)]
    elif step.kind == "product":
        value = values[id(step.inputs[0])] * values[id(step.inputs[1])]
    else:
        inner = values[id(step.inputs[0])]
        match step.kind:
            case "weigh":
                value, factor = inner * step.constant, step.constant[None]
            case "exp":
                value = factor = np.exp(inner)
            case "log":
                value, factor = np.log(inner), 1.0 / inner
            case "reciprocal":
                value = 1.0 / inner
                factor = -value * value
            case "power":
                value, factor = inner**step.constant, step.constant * inner ** (step.constant - 1)
    values[id(step)] = value
    return factor


def _slopes(found: Expansion, step: Step, factor: np.ndarray | None) -> None:
    """Compute a step's slopes."""
    blocks, values = found.blocks, found.values
    if step.kind == "linear":
        blocks[id(step)] = step.slopes[None]
        return
    if factor is not None:
        inner = step.inputs[0]
        # The slopes of a sum under a log are wanted by nothing else: they are not copied.
        own = step.kind == "log" and inner.whole_block and id(inner) in found.program.alone
        block = blocks[id(inner)]
        fits = own and inner.width == step.width and len(block) == len(found.theta)
        blocks[id(step)] = np.multiply(block, factor[:, None, :], out=block if fits else None)
        return
    if step.kind == "sum":
        held = [each for each in zip(step.inputs, step.stretches, step.signs, strict=True) if each[0].support]
        if not step.whole_block and held[0][2] > 0:
            blocks[id(step)] = blocks[id(held[0][0])]
            return
        terms = [(blocks[id(each)], stretches, sign) for each, stretches, sign in held]
    else:
        left, right = step.inputs
        terms = [
            (blocks[id(left)] * values[id(right)][:, None, :], step.stretches[0], 1.0),
            (blocks[id(right)] * values[id(left)][:, None, :], step.stretches[1], 1.0),
        ]
    whole = np.empty((len(found.theta), len(step.support), step.width))
    for block, stretches, sign in terms:
        block = block if sign > 0 else -block
        for target, source, first in stretches:
            if first:
                whole[:, target] = block[:, source]
            else:
                whole[:, target] += block[:, source]
    blocks[id(step)] = whole


class _Back:
    """The way back through a program: weights that wait at steps, and the sums so far, [starts, P x P]."""

    def __init__(self, found: Expansion, pull: np.ndarray) -> None:
        self.program, self.values, self.blocks = found.program, found.values, found.blocks
        self.total = np.zeros((len(found.theta), found.program.coordinates**2))
        self.waiting: dict[int, np.ndarray] = {}
        self.give(found.program.root, pull)

    def give(self, step: Step, weight: np.ndarray) -> None:
        """Have a weight wait at a step, unless nothing bends from there on."""
        if not step.bends:
            return
        if step.runs == 1 and weight.shape[1] > 1:
            weight = weight.sum(axis=1, keepdims=True)  # the same for all runs
        key = id(step)
        self.waiting[key] = self.waiting[key] + weight if key in self.waiting else weight

    def go(self, step: Step) -> None:
        """Add what a step bends, and pass its weight on."""
        weight = self.waiting.pop(id(step), None)
        if weight is None or not step.support:
            return
        values, inner = self.values, step.inputs[0]
        match step.kind:
            case "sum":
                for each, sign in zip(step.inputs, step.signs, strict=True):
                    self.give(each, weight if sign > 0 else -weight)
            case "weigh":
                self.give(inner, weight * step.constant)
            case "product":
                other = step.inputs[1]
                self._cross(weight, inner, other)
                if inner.bends:
                    self.give(inner, weight * values[id(other)])
                if other.bends:
                    self.give(other, weight * values[id(inner)])
            case "exp":
                weight = weight * values[id(step)]
                self._square(weight, inner)
                self.give(inner, weight)
            case "log":
                self._square(-weight, step)
                if inner.bends:
                    self.give(inner, weight / values[id(inner)])
            case "reciprocal":
                value = values[id(step)]
                weight = weight * value * value
                self._square(2.0 * weight * value, inner)
                self.give(inner, -weight)
            case "power":
                whole, base = step.constant, values[id(inner)]
                self._square(weight * (whole * (whole - 1) * base ** (whole - 2)), inner)
                self.give(inner, weight * (whole * base ** (whole - 1)))

    def _square(self, weight: np.ndarray, step: Step) -> None:
        """Add the sum over runs of weight x slope x slope."""
        if step.width == 1:
            weight = weight.sum(axis=1, keepdims=True)
        if step.kind == "linear":
            # The slopes are the same for all starts: one product serves them all.
            product = weight @ step.pairs
        else:
            block = self.blocks[id(step)]
            product = np.matmul(block * weight[:, None, :], block.transpose(0, 2, 1)).reshape(len(weight), -1)
        self.total[:, self.program.places(step, step)] += product

    def _cross(self, weight: np.ndarray, a: Step, b: Step) -> None:
        """Add the sum over runs of weight x (slope of a x slope of b, and the other way round)."""
        left, right = self.blocks[id(a)] * weight[:, None, :], self.blocks[id(b)]
        if right.shape[2] == 1:
            left = left.sum(axis=2, keepdims=True)
        product = np.matmul(left, right.transpose(0, 2, 1))
        self.total[:, self.program.places(a, b)] += product.reshape(len(weight), -1)
        self.total[:, self.program.places(b, a)] += product.transpose(0, 2, 1).reshape(len(weight), -1)
