"""The degree of a surface: the one that predicts each point best from all others."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from moelaws.surfaces.held_out import held_out_errors, held_out_residuals
from moelaws.surfaces.polynomial import Array, Bases, Basis, Degree, SurfaceError, Terms

DEGREES: tuple[Degree, ...] = tuple(
    sorted(((a1, a2, a3) for a1, a2, a3 in product(range(2, 5), range(5), range(5))), key=lambda d: (sum(d), d))
)
"""The degrees compared, simplest first: {2, 3, 4} x {0..4}^2. Without a square of ln N no size is best."""

_MANY, _FAR = 500, 6.0  # runs; standard errors by which a degree is out of the question


@dataclass(frozen=True)
class Choice:
    """The degrees that some runs determine, and the best of them.

    Attributes:
        terms: of the highest degree.
        candidates: a basis for each degree, simplest first.
        errors: mean squared held-out error of each.
        best: the one chosen.
        loss: the losses, P numbers.
        point: a label per run, the same for runs of one size and sparsity.
    """

    terms: Terms
    candidates: list[Basis]
    errors: Array
    best: Basis
    loss: Array
    point: NDArray[np.intp]

    @property
    def fitted(self) -> Array:
        """The losses of the fit."""
        return self.loss @ self.best.q @ self.best.q.T

    @property
    def squares(self) -> float:
        """The sum of squared residuals."""
        return float(np.sum((self.loss - self.fitted) ** 2))

    @property
    def freedom(self) -> int:
        """Runs less coefficients."""
        return len(self.loss) - len(self.best.columns)

    def refits(self, losses: Array) -> Array:
        """Weights of the fits to rows of losses, each with the degree that its own cross-validation prefers."""
        candidates = self._possible()
        errors = _errors(candidates, losses, self.point)
        variance = float(losses.var(axis=1).mean())
        preferred = _best(errors, variance) if len(candidates) > 1 else np.zeros(len(losses), int)
        weights = np.empty((len(losses), sum(self.terms.degree) + 1))
        for k in np.unique(preferred):
            weights[preferred == k] = candidates[k].weights(losses[preferred == k], self.terms)
        return weights

    def _possible(self) -> list[Basis]:
        """The candidates that noise could make the best one: the others are worse beyond any chance."""
        if len(self.loss) < _MANY:
            return self.candidates
        best = held_out_residuals(self.best.q, self.loss, self.point) ** 2
        worse = [held_out_residuals(each.q, self.loss, self.point) ** 2 - best for each in self.candidates]
        limit = _FAR * np.sqrt(len(best))
        return [each for each, by in zip(self.candidates, worse, strict=True) if by.sum() <= limit * by.std()]

    def compared(self) -> pd.DataFrame:
        """The degrees compared, best first: ``a1, a2, a3, coefficients, mse``."""
        table = pd.DataFrame([each.degree for each in self.candidates], columns=["a1", "a2", "a3"])
        table = table.assign(coefficients=table.sum(axis=1) + 1, mse=self.errors)
        return table.sort_values("mse", kind="stable", ignore_index=True)


def choose(degrees: Sequence[Degree], log_n: Array, s_hat: Array, loss: Array) -> Choice:
    """Compare degrees by what they predict of points that were left out.

    Args:
        degrees: simplest first; a single one is taken if the runs determine it.
        log_n, s_hat, loss: the runs, P numbers each.

    Returns:
        The simplest degree whose held-out error lies within a thousandth of the lowest.

    Raises:
        SurfaceError: no degree is determined.
    """
    point = points(log_n, s_hat)
    terms = Terms.of(degrees[-1] if len(degrees) > 1 else degrees[0], log_n, s_hat)
    candidates = _candidates(degrees, terms, s_hat, terms.design(log_n, s_hat), int(point.max()) + 1)
    errors = _errors(candidates, loss[None], point)
    best = candidates[int(_best(errors, float(loss.var()))[0])]
    return Choice(terms, candidates, errors[:, 0], best, loss, point)


def points(log_n: Array, s_hat: Array) -> NDArray[np.intp]:
    """A label per run, the same for runs of one size and sparsity, P numbers."""
    # Rounded: the same sparsity may be written 0.96875 and 0.968750001.
    coordinates = np.round(np.column_stack([log_n, s_hat]), 6)
    return np.unique(coordinates, axis=0, return_inverse=True)[1].reshape(-1)


def _candidates(degrees: Sequence[Degree], terms: Terms, s_hat: Array, design: Array, distinct: int) -> list[Basis]:
    """Bases of the degrees that the runs determine; a single degree that they do not is refused."""
    bases = Bases(terms, design, distinct)
    if len(degrees) == 1:
        return [bases.of(degrees[0])]
    found: list[Basis] = []
    several = bool(np.ptp(s_hat) > 0)
    for degree in degrees:
        # Cross-validation over dozens of degrees finds one that suits the noise of a few points.
        if several and found and sum(degree) > distinct / 2:
            break
        with suppress(SurfaceError):
            found.append(bases.of(degree))
    if not found:
        raise SurfaceError(f"{distinct} distinct sizes and sparsities hold no surface: three sizes of one are needed")
    return found


def _errors(candidates: Sequence[Basis], losses: Array, point: NDArray[np.intp]) -> Array:
    """Mean squared held-out error of each candidate on each row of losses, candidates x rows."""
    errors = np.empty((len(candidates), len(losses)))
    families: dict[int, list[int]] = {}
    for i, each in enumerate(candidates):
        families.setdefault(id(each.family), []).append(i)
    for rows in families.values():
        counts = [len(candidates[i].columns) for i in rows]
        errors[rows] = held_out_errors(candidates[rows[0]].family, counts, losses, point)
    return errors


def _best(errors: Array, variance: float) -> NDArray[np.intp]:
    """Which candidate has the lowest held-out error, for each column of ``errors`` (candidates x columns).

    Within a thousandth of the lowest (and within rounding, for runs without noise) the first one is taken: candidates
    come in order of their number of coefficients.
    """
    tied = errors <= errors.min(axis=0) * 1.001 + 1e-14 * variance
    return np.argmax(tied, axis=0)
