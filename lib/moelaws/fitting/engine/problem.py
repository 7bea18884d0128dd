"""A law bound to runs: residuals and exact derivatives as functions of the free parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from moelaws.fitting.engine.points import Points, order_of
from moelaws.fitting.objective import FitError, Objective
from moelaws.formulas.assembly import assemble
from moelaws.formulas.expansion import Expansion, expand, values_at
from moelaws.formulas.folding import cut, fold
from moelaws.formulas.parsing import Node
from moelaws.formulas.program import Program
from moelaws.laws.forms import Law

_BLOCK = 5_000
"""Runs whose arrays are worked on at once."""

_FARTHEST = 1e100
"""Of a bound: as far as the laws' own reach; the squares of what lies beyond are no numbers."""


@dataclass(frozen=True)
class Problem:
    """A law bound to runs: residuals and exact derivatives as functions of the free parameters.

    Free parameters are coordinates ``theta``: the log of a positive parameter, any other as it is.

    Attributes:
        law: the law.
        tree: its formula, folded over the runs and the fixed parameters.
        free: names of the free parameters, P of them, in the law's order.
        positive: which of them are fitted by their logs, [P].
        lower: least coordinates, [P].
        upper: largest coordinates, [P].
        observed: ln L or L, [1, runs].
        weights: weight of each run's term, [1, runs], or [replicates, runs] for a bootstrap.
        objective: what is minimised.
        point: a label for each run, [runs], the same for runs of one design point.
        programs: see ``program`` and ``points``.
    """

    law: Law
    tree: Node
    free: tuple[str, ...]
    positive: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    observed: np.ndarray
    weights: np.ndarray
    objective: Objective
    point: np.ndarray
    programs: dict[tuple[str, bool], Program] = field(default_factory=dict, repr=False)

    @property
    def n_runs(self) -> int:
        """Runs that the sum goes over."""
        return int(self.observed.shape[-1])

    @cached_property
    def blocks(self) -> list["Problem"]:
        """The problem cut into blocks of runs whose sums add up to it; one block unless there are very many runs."""
        if self.n_runs <= _BLOCK:
            return [self]
        return [self.only(slice(i, i + _BLOCK)) for i in range(0, self.n_runs, _BLOCK)]

    def only(self, runs: Any) -> "Problem":
        """The problem of some runs, by slice or index."""
        return replace(
            self,
            tree=cut(self.tree, self.n_runs, runs),
            observed=self.observed[:, runs],
            weights=self.weights[:, runs],
            point=self.point[runs],
            programs={},
        )

    def thinned(self, most: int) -> "Problem":
        """The problem of at most so many runs, spread evenly over the losses; itself where there are no more."""
        if self.n_runs <= most:
            return self
        return self.only(np.argsort(self.observed[0])[np.linspace(0, self.n_runs - 1, most).astype(int)])

    @property
    def program(self) -> Program:
        """The law's steps, taken apart once for this problem and all that differ from it in weights or objective."""
        return self._program("runs", lambda: self.tree)

    @cached_property
    def points(self) -> Points:
        """The runs sorted by design point, for a descent, which asks for sums over runs only."""
        sorted_runs = order_of(self.point)
        if sorted_runs is None:
            return Points(self.program, self.observed, self.weights)
        order, point, first = sorted_runs
        program = self._program("points", lambda: cut(self.tree, self.n_runs, order[first]))
        return Points(program, self.observed[:, order], self.weights[:, order], point, first)

    def residuals(self, theta: np.ndarray, rows: Any = slice(None)) -> np.ndarray:
        """Predicted minus observed, [starts, runs], for coordinates [starts, P]."""
        with np.errstate(all="ignore"):
            predicted = values_at(self.program, theta)
        return np.broadcast_to(predicted, (len(theta), self.n_runs)) - self._rows(self.observed, rows)

    def linearise(self, theta: np.ndarray, rows: Any = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Residuals [starts, runs] and their derivatives by the coordinates, [starts, P, runs]."""
        residuals, expansion = self.expand(theta, rows)
        slopes = np.zeros((len(theta), len(self.free), self.n_runs))
        if self.program.root.support:
            slopes[:, self.program.root.columns] = expansion.block
        return residuals, slopes

    def expand(self, theta: np.ndarray, rows: Any = slice(None)) -> tuple[np.ndarray, Expansion]:
        """Residuals [starts, runs] around coordinates [starts, P], and the prediction to second order."""
        with np.errstate(all="ignore"):
            expansion = expand(self.program, theta)
        predicted = np.broadcast_to(expansion.value, (len(theta), self.n_runs))
        return predicted - self._rows(self.observed, rows), expansion

    def value(self, residuals: np.ndarray, rows: Any = slice(None)) -> np.ndarray:
        """The objective, [starts]; infinite where the law is undefined."""
        with np.errstate(all="ignore"):
            total = self.objective.terms(residuals, self._rows(self.weights, rows)).sum(axis=1)
        return np.where(np.isfinite(total), total, np.inf)

    def coordinates(self, params: Mapping[str, Any]) -> np.ndarray:
        """Parameters by name, numbers or arrays [starts], to coordinates [starts, P]."""
        columns = [np.atleast_1d(np.asarray(params[name], dtype=float)) for name in self.free]
        theta = np.stack(np.broadcast_arrays(*columns), axis=-1)
        with np.errstate(divide="ignore"):
            theta[..., self.positive] = np.log(theta[..., self.positive])
        return np.clip(theta, self.lower, self.upper)

    def natural(self, theta: np.ndarray) -> np.ndarray:
        """Coordinates [..., P] to the parameters' own units."""
        values = np.array(theta, dtype=float)
        values[..., self.positive] = np.exp(values[..., self.positive])
        return values

    def reweighted(self, weights: np.ndarray) -> "Problem":
        """The same problem with other weights."""
        return replace(self, weights=weights)

    def with_delta(self, delta: float) -> "Problem":
        """The same problem with another Huber threshold."""
        return replace(self, objective=replace(self.objective, delta=delta))

    def _program(self, over: str, tree: Callable[[], Node]) -> Program:
        key = over, self.objective.on_log
        if key not in self.programs:
            self.programs[key] = assemble(tree(), self.free, self.positive.tolist(), key[1])
        return self.programs[key]

    def _rows(self, array: np.ndarray, rows: Any) -> np.ndarray:
        return array if array.shape[0] == 1 else array[rows]


def bind(
    law: Law,
    data: Mapping[str, np.ndarray],
    target: np.ndarray,
    objective: Objective,
    weights: np.ndarray | None = None,
    fixed: Mapping[str, float] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
) -> Problem:
    """Bind a law to runs.

    Args:
        law: the law.
        data: variable's letter -> values, [runs].
        target: observed values of the law's target, [runs], positive.
        objective: what to minimise.
        weights: weight of each run, [runs]; ``None`` weighs all alike.
        fixed: parameters held at a value.
        bounds: parameter -> (least, largest), in place of the law's own.

    Returns:
        The problem.

    Raises:
        FitError: an unknown parameter, a bound or a value the parameter cannot have.
    """
    fixed, bounds = dict(fixed or {}), dict(bounds or {})
    by_name = {p.name: p for p in law.parameters}
    for name in [*fixed, *bounds]:
        if name not in by_name:
            raise FitError(f"law {law.name!r} has no parameter {name!r}; it has {', '.join(by_name)}")
    for name, number in fixed.items():
        if not np.isfinite(number) or (by_name[name].positive and number <= 0):
            raise FitError(
                f"fixed {name} = {number!r}: expected a {'positive' if by_name[name].positive else ''} number"
            )
    limits = []
    free = tuple(p for p in law.parameters if p.name not in fixed)
    if not free:
        raise FitError(f"law {law.name!r}: every parameter is fixed, nothing is left to fit")
    for parameter in free:
        low, high = bounds.get(parameter.name, parameter.bounds)
        if parameter.positive and low <= 0:
            low = parameter.bounds[0]
        if not (low < high and max(abs(low), abs(high)) <= _FARTHEST):
            expected = f"the lower below the upper, neither beyond {_FARTHEST:g}"
            raise FitError(f"bounds of {parameter.name} = ({low:g}, {high:g}): expected {expected}")
        limits.append((np.log(low), np.log(high)) if parameter.positive else (low, high))
    constants = {name: np.asarray(value, dtype=float)[None, :] for name, value in data.items()}
    with np.errstate(all="ignore"):
        tree = fold(law.tree, constants | {name: np.asarray(float(v)) for name, v in fixed.items()})
    observed = np.asarray(target, dtype=float)[None, :]
    return Problem(
        law=law,
        tree=tree,
        free=tuple(p.name for p in free),
        positive=np.array([p.positive for p in free]),
        lower=np.array([low for low, _ in limits]),
        upper=np.array([high for _, high in limits]),
        observed=np.log(observed) if objective.on_log else observed,
        weights=np.ones_like(observed) if weights is None else np.asarray(weights, dtype=float)[None, :],
        objective=objective,
        point=_labels(constants),
    )


def _labels(constants: dict[str, np.ndarray]) -> np.ndarray:
    """A label for each run, [runs]: runs with equal variables have equal ones."""
    together = np.concatenate(list(constants.values())).T
    return np.unique(together, axis=0, return_inverse=True)[1].reshape(-1)
