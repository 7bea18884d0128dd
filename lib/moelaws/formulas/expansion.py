"""A program's value around some coordinates, to second order, for many starts and runs at once.

Slopes go forward: each step has the derivatives by the coordinates that it depends on. A sum over runs of second
derivatives goes backward (the chain rule, twice): every step that bends adds weight x slope x slope, which is one
matrix product, and passes the weight on to what it was made from. So second derivatives cost about as much as first
ones, whatever the number of coordinates.
"""

from dataclasses import dataclass

import numpy as np

from moelaws.formulas.program import Program, Step

_NOTHING = np.empty((1, 0, 1))
"""Slopes of a step that depends on no coordinate."""


@dataclass(frozen=True)
class Expansion:
    """A program's value around some coordinates.

    Attributes:
        program: the program.
        values: of each step, [starts or 1, runs or 1].
        blocks: slopes of each step by the coordinates of its support, [starts or 1, Q, width].
    """

    program: Program
    values: list[np.ndarray]
    blocks: list[np.ndarray]

    @property
    def value(self) -> np.ndarray:
        """The formula's value, [starts or 1, runs or 1]."""
        return self.values[-1]

    @property
    def block(self) -> np.ndarray:
        """Its slopes by the coordinates of ``program.root.support``, [starts or 1, Q, runs or 1]."""
        return self.blocks[-1]

    def bend(self, pull: np.ndarray) -> np.ndarray:
        """Sum over runs of pull x second derivatives.

        Args:
            pull: weight of each run, [starts, runs].

        Returns:
            The sums, [starts, P, P].
        """
        back = _Back(self, pull)
        for step in self.program.backward:
            back.go(step)
        count = self.program.coordinates
        return back.total.reshape(-1, count, count)


def values_at(program: Program, theta: np.ndarray) -> np.ndarray:
    """The formula's values alone, [starts or 1, runs or 1], for coordinates [starts, P]."""
    values: list[np.ndarray] = []
    for step in program.steps:
        values.append(_value(values, step, theta)[0])
    return values[-1]


def expand(program: Program, theta: np.ndarray) -> Expansion:
    """The formula's values and slopes, for coordinates [starts, P]."""
    values: list[np.ndarray] = []
    blocks: list[np.ndarray] = []
    for step in program.steps:
        value, factor = _value(values, step, theta)
        blocks.append(_slopes(values, blocks, step, factor, len(theta)) if step.support else _NOTHING)
        values.append(value)
    return Expansion(program, values, blocks)


def _value(values: list[np.ndarray], step: Step, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """A step's value, and its derivative by its only input, where it has one."""
    match step.kind:
        case "linear":
            if not step.support:
                return step.offset[None], None
            if len(step.support) == 1:
                return theta[:, step.support[0], None] * step.slopes + step.offset, None
            return theta[:, step.columns] @ step.slopes + step.offset, None
        case "sum":
            total = values[step.takes[0]] if step.signs[0] > 0 else -values[step.takes[0]]
            for number, sign in zip(step.takes[1:], step.signs[1:], strict=True):
                total = total + values[number] if sign > 0 else total - values[number]
            return total, None
        case "product":
            return values[step.takes[0]] * values[step.takes[1]], None
    inner = values[step.takes[0]]
    match step.kind:
        case "exp":
            value = np.exp(inner)
            return value, value
        case "log":
            return np.log(inner), 1.0 / inner
        case "reciprocal":
            value = 1.0 / inner
            return value, -value * value
        case "power":
            return inner**step.constant, step.constant * inner ** (step.constant - 1)
    return inner * step.constant, step.constant[None]


def _slopes(
    values: list[np.ndarray], blocks: list[np.ndarray], step: Step, factor: np.ndarray | None, starts: int
) -> np.ndarray:
    """A step's slopes by the coordinates of its support."""
    if step.kind == "linear":
        return step.slopes[None]
    if factor is not None:
        # The slopes of a sum under a log are wanted by nothing else: they are not copied.
        block = blocks[step.takes[0]]
        return np.multiply(block, factor[:, None, :], out=block if step.overwrites and len(block) == starts else None)
    if step.kind == "sum":
        held = [each for each in zip(step.takes, step.stretches, step.signs, strict=True) if each[1]]
        if len(held) == 1 and held[0][2] > 0:
            return blocks[held[0][0]]
        terms = [(blocks[number], stretches, sign) for number, stretches, sign in held]
    else:
        left, right = step.takes
        terms = [
            (blocks[left] * values[right][:, None, :], step.stretches[0], 1.0),
            (blocks[right] * values[left][:, None, :], step.stretches[1], 1.0),
        ]
    whole = np.empty((starts, len(step.support), step.width))
    for block, stretches, sign in terms:
        block = block if sign > 0 else -block
        for target, source, first in stretches:
            if first:
                whole[:, target] = block[:, source]
            else:
                whole[:, target] += block[:, source]
    return whole


class _Back:
    """The way back through a program: weights that wait at steps, and the sums so far, [starts, P x P]."""

    def __init__(self, found: Expansion, pull: np.ndarray) -> None:
        self.program, self.values, self.blocks = found.program, found.values, found.blocks
        self.total = np.zeros((len(pull), found.program.coordinates**2))
        self.waiting: dict[int, np.ndarray] = {}
        self.give(found.program.root, pull)

    def give(self, step: Step, weight: np.ndarray) -> None:
        """Have a weight wait at a step, unless nothing bends from there on."""
        if not step.bends:
            return
        if step.runs == 1 and weight.shape[1] > 1:
            weight = weight.sum(axis=1, keepdims=True)  # the same for all runs
        before = self.waiting.get(step.number)
        self.waiting[step.number] = weight if before is None else before + weight

    def go(self, step: Step) -> None:
        """Add what a step bends, and pass its weight on."""
        weight = self.waiting.pop(step.number, None)
        if weight is None:
            return
        inner = step.inputs[0]
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
                    self.give(inner, weight * self.values[other.number])
                if other.bends:
                    self.give(other, weight * self.values[inner.number])
            case "exp":
                weight = weight * self.values[step.number]
                self._square(weight, inner)
                self.give(inner, weight)
            case "log":
                self._square(-weight, step)
                if inner.bends:
                    self.give(inner, weight / self.values[inner.number])
            case "reciprocal":
                value = self.values[step.number]
                weight = weight * value * value
                self._square(2.0 * weight * value, inner)
                self.give(inner, -weight)
            case "power":
                whole, base = step.constant, self.values[inner.number]
                self._square(weight * (whole * (whole - 1) * base ** (whole - 2)), inner)
                self.give(inner, weight * (whole * base ** (whole - 1)))

    def _square(self, weight: np.ndarray, step: Step) -> None:
        """Add the sum over runs of weight x slope x slope."""
        if step.width == 1 and weight.shape[1] > 1:
            weight = weight.sum(axis=1, keepdims=True)
        if step.kind == "linear":
            # The slopes are the same for all starts: one product serves them all.
            product = weight @ step.pairs
        else:
            block = self.blocks[step.number]
            product = np.matmul(block * weight[:, None, :], block.transpose(0, 2, 1)).reshape(len(weight), -1)
        self.total[:, self.program.places(step, step)] += product

    def _cross(self, weight: np.ndarray, a: Step, b: Step) -> None:
        """Add the sum over runs of weight x (slope of a x slope of b, and the other way round)."""
        left, right = self.blocks[a.number] * weight[:, None, :], self.blocks[b.number]
        if right.shape[2] == 1:
            left = left.sum(axis=2, keepdims=True)
        product = np.matmul(left, right.transpose(0, 2, 1))
        self.total[:, self.program.places(a, b)] += product.reshape(len(weight), -1)
        self.total[:, self.program.places(b, a)] += product.transpose(0, 2, 1).reshape(len(weight), -1)
