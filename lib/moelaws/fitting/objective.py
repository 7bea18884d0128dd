"""What a fit minimises: sums of residuals under a named objective."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

ObjectiveName = Literal["huber-log", "lsq-log", "lsq"]
"""``huber-log``: sum of Huber losses of ln L_hat - ln L; ``lsq-log``: of its squares; ``lsq``: of (L_hat - L)^2.
Always sums: a mean of 240 terms of 1e-6 is what stopped the best-known published fit early."""


class FitError(ValueError):
    """A fit cannot be made as asked; the message says why."""


_LEAST_DELTA = 1e-12
"""A smaller threshold is less than rounding leaves of ln L: it would fit absolute values, and divide by their slope."""


@dataclass(frozen=True)
class Objective:
    """A named objective.

    Attributes:
        name: see ``ObjectiveName``.
        delta: where the Huber loss turns from square to linear, in units of ln L.
        over: factor on the terms of runs that the law predicts too high; 1 is symmetric.
    """

    name: ObjectiveName = "huber-log"
    delta: float = 1e-3
    over: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in get_args(ObjectiveName):
            raise FitError(f"objective {self.name!r}: expected one of {', '.join(get_args(ObjectiveName))}")
        if not self.delta >= _LEAST_DELTA:
            raise FitError(f"delta = {self.delta!r}: expected {_LEAST_DELTA:g} or more, in units of ln L")
        if not self.over > 0:
            raise FitError(f"over = {self.over!r}: expected a number > 0")

    @property
    def robust(self) -> bool:
        """Whether the terms grow linearly far out."""
        return self.name == "huber-log"

    @property
    def on_log(self) -> bool:
        """Whether residuals are of ln L."""
        return self.name != "lsq"

    def terms(self, residuals: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The summands, of the residuals' shape."""
        weights = self._sided(residuals, weights)
        if not self.robust:
            return weights * residuals * residuals
        size = np.abs(residuals)
        inner = np.minimum(size, self.delta)
        return weights * inner * (size - 0.5 * inner)

    def slopes(self, residuals: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Derivatives of the summands by the residuals."""
        weights = self._sided(residuals, weights)
        if not self.robust:
            return 2.0 * weights * residuals
        return weights * np.clip(residuals, -self.delta, self.delta)

    def curvatures(self, residuals: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Second derivatives of the summands; zero on the linear part of a Huber loss."""
        weights = self._sided(residuals, weights)
        if not self.robust:
            return 2.0 * weights
        return np.where(np.abs(residuals) <= self.delta, weights, 0.0)

    def measure(self, residuals: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sum of the summands, [starts], and their slopes and majorants, [starts, runs], in one pass.

        Majorants are the curvatures of the parabolas that touch the summands from above (the weights of IRLS).
        """
        weights = self._sided(residuals, weights)
        if not self.robust:
            pull = 2.0 * weights * residuals
            return 0.5 * np.einsum("bn,bn->b", pull, residuals), pull, np.broadcast_to(2.0 * weights, pull.shape)
        near = np.minimum(np.maximum(residuals, -self.delta), self.delta)
        cap = np.abs(residuals)
        np.maximum(cap, self.delta, out=cap)
        np.divide(self.delta, cap, out=cap)
        cap *= weights
        pull = near * weights
        near *= -0.5
        near += residuals
        return np.einsum("bn,bn->b", pull, near), pull, cap

    def _sided(self, residuals: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return weights if self.over == 1.0 else np.where(residuals > 0, self.over * weights, weights)
