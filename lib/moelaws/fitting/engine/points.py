"""Runs of one design point side by side: the law is worked out once for each point, and not for each of its runs."""

from dataclasses import dataclass

import numpy as np

from moelaws.formulas.expansion import Expansion, expand
from moelaws.formulas.program import Program

_FEW = 0.9
"""Share of points among runs above which sorting costs more than it saves."""


@dataclass(frozen=True)
class Points:
    """Runs in the order of their design points.

    Attributes:
        program: the law's steps, over the points.
        observed: ln L or L, [1, runs].
        weights: of the runs' terms, [1 or replicates, runs].
        point: the point of each run, [runs]; ``None`` where every run has its own.
        first: the first run of each point, [points]; ``None`` as well.
    """

    program: Program
    observed: np.ndarray
    weights: np.ndarray
    point: np.ndarray | None = None
    first: np.ndarray | None = None

    @property
    def count(self) -> int:
        """Points, or runs where every run has its own."""
        return int(self.observed.shape[1] if self.first is None else len(self.first))

    def expand(self, theta: np.ndarray) -> tuple[np.ndarray, Expansion]:
        """Residuals [starts, runs] around coordinates [starts, P], and the prediction at the points to second order."""
        around = expand(self.program, theta)
        value = around.value
        if self.point is not None and value.shape[1] > 1:
            value = value.take(self.point, axis=1)
        return np.broadcast_to(value, (len(theta), self.observed.shape[1])) - self.observed, around

    def gathered(self, each: np.ndarray) -> np.ndarray:
        """Sums over the runs of each point, [starts, points], of numbers [starts, runs]."""
        return each if self.first is None else np.add.reduceat(each, self.first, axis=1)


def order_of(point: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Runs sorted by their points.

    Args:
        point: a label for each run, [runs].

    Returns:
        The runs in their new order, [runs]; in that order the point of each, [runs], and the first run of each point,
        [points]. ``None`` where hardly any point has two runs.
    """
    order = np.argsort(point, kind="stable")
    sorted_labels = point[order]
    new = np.concatenate([[True], sorted_labels[1:] != sorted_labels[:-1]])
    first = np.flatnonzero(new)
    if len(first) > _FEW * len(point):
        return None
    return order, np.cumsum(new) - 1, first
