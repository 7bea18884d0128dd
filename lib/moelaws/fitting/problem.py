"""A law bound to runs: residuals and exact derivatives as functions of the free parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from moelaws.fitting.objective import FitError, Objective
from moelaws.laws.evaluate import Evaluation, Given, cut, fold
from moelaws.laws.forms import Law
from moelaws.laws.formula import Node

_BLOCK = 5_000
"""Runs whose arrays are worked on at once."""


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
        )

    def thinned(self, most: int) -> "Problem":
        """The problem of at most so many runs, spread evenly over the losses; itself where there are no more."""
        if self.n_runs <= most:
            return self
        return self.only(np.argsort(self.observed[0])[np.linspace(0, self.n_runs - 1, most).astype(int)])

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.free)

    def residuals(self, theta: np.ndarray, rows: Any = slice(None)) -> np.ndarray:
        """Predicted minus observed, [starts, runs], for coordinates [starts, P]."""
        return self._dual(theta, frozenset())[0] - self._rows(self.observed, rows)

    def linearise(self, theta: np.ndarray, rows: Any = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Residuals [starts, runs] and their derivatives by the coordinates, [starts, P, runs]."""
        predicted, parts = self._dual(theta, self._names)
        slopes = np.empty((theta.shape[0], len(self.free), self.n_runs), dtype=predicted.dtype)
        for i, name in enumerate(self.free):
            slopes[:, i, :] = parts.get(name, 0.0)
        return predicted - self._rows(self.observed, rows), slopes

    def value(self, residuals: np.ndarray, rows: Any = slice(None)) -> np.ndarray:
        """The objective, [starts]; infinite where the law is undefined."""
        with np.errstate(all="ignore"):
            total = self.objective.terms(residuals, self._rows(self.weights, rows)).sum(axis=1)
        return np.where(np.isfinite(total), total, np.inf)

    def second_order(self, theta: np.ndarray, residuals: np.ndarray, rows: Any = slice(None)) -> np.ndarray:
        """Exact sum over runs of slope x second derivative of the residual, [starts, P, P].

        By a complex step through the exact first derivatives: no difference is taken, so no digits are lost.
        """
        step, (starts, count) = 1e-30, theta.shape
        pull = self.objective.slopes(residuals, self._rows(self.weights, rows))
        # All directions in one pass: block j of the batch is shifted along coordinate j.
        shifted = np.tile(theta, (count, 1)).astype(complex)
        shifted.reshape(count, starts, count)[np.arange(count), :, np.arange(count)] += 1j * step
        _, parts = self._dual(shifted, self._names)
        result = np.zeros((starts, count, count))
        for i, name in enumerate(self.free):
            bend = np.asarray(parts.get(name, 0.0))
            if np.iscomplexobj(bend):
                bend = np.broadcast_to(bend.imag, (count * starts, self.n_runs)).reshape(count, starts, -1)
                result[:, i, :] = np.einsum("jbn,bn->bj", bend, pull) / step
        return 0.5 * (result + result.transpose(0, 2, 1))

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

    def with_objective(self, objective: Objective) -> "Problem":
        """The same problem under another objective of the same residuals."""
        return replace(self, objective=objective)

    def _rows(self, array: np.ndarray, rows: Any) -> np.ndarray:
        return array if array.shape[0] == 1 else array[rows]

    def _dual(self, theta: np.ndarray, derivatives: frozenset[str]) -> tuple[np.ndarray, dict[str, Any]]:
        given = {
            name: Given(theta[:, i : i + 1], bool(self.positive[i]), bool(self.positive[i]))
            for i, name in enumerate(self.free)
        }
        with np.errstate(all="ignore"):
            evaluation = Evaluation(given, derivatives)
            dual = evaluation.log(self.tree) if self.objective.on_log else evaluation.value(self.tree)
        shape = (theta.shape[0], self.n_runs)
        value = dual.value if np.shape(dual.value) == shape else np.broadcast_to(dual.value, shape)
        return value, dual.parts


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
        if not low < high:
            raise FitError(f"bounds of {parameter.name} = ({low:g}, {high:g}): expected the lower below the upper")
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
    )
