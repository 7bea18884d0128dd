"""What a fit computes thousands of times: a formula bound to runs, as a few steps over arrays.

``moelaws.formulas.assembly`` takes a formula apart into them, ``moelaws.formulas.expansion`` goes through them.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from moelaws.formulas.evaluate import Array

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
        number: its place in the program.
        takes: numbers of its inputs.
        overwrites: whether the slopes of its input may be overwritten by its own: nothing else wants them.
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
    number: int = -1
    takes: tuple[int, ...] = ()
    overwrites: bool = False

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
    def gathers(self) -> bool:
        """Whether it is a sum whose slopes come from several terms."""
        return self.kind == "sum" and sum(bool(each.support) for each in self.inputs) > 1

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What it does; two steps of one key do the same."""
        arrays = (np.asarray(each, dtype=float).tobytes() for each in (self.constant, self.slopes, self.offset))
        return self.kind, self.support, self.signs, *map(id, self.inputs), *arrays

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
    """

    steps: tuple[Step, ...]
    coordinates: int
    _places: dict[tuple[int, int], np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def root(self) -> Step:
        """The formula itself."""
        return self.steps[-1]

    @cached_property
    def backward(self) -> list[Step]:
        """Steps that bend, from the last to the first."""
        return [step for step in reversed(self.steps) if step.bends]

    def places(self, a: Step, b: Step) -> np.ndarray:
        """Where pairs of coordinates of two supports lie in a matrix [P x P], flattened."""
        key = a.number, b.number
        if key not in self._places:
            self._places[key] = (a.columns[:, None] * self.coordinates + b.columns).reshape(-1)
        return self._places[key]
