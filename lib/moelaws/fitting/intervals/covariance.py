"""How far noise moves a minimum: the covariance of the coordinates, under unequal, heavy-tailed and shared noise."""

from dataclasses import dataclass

import numpy as np

from moelaws.fitting.engine.problem import Problem
from moelaws.fitting.intervals.groups import Groups
from moelaws.fitting.intervals.sandwich import linear, pooled_variance, sandwich, shared_shift
from moelaws.quote import number_of

_FINEST = 1e-9
"""Losses are never known better than this, even in a table without noise: what shows only below it is open."""
_SEVERAL = 4
"""From so many independent design points for each parameter on, their own residuals say how noisy they are."""
_MOST_CELLS = 20_000_000
"""Runs x groups up to which a shared shift is sought; more groups than that speak for themselves."""


@dataclass(frozen=True)
class Spread:
    """What noise does to a minimum.

    Attributes:
        matrix: covariance of the coordinates, in the directions that the runs hold, [P, P].
        loose: whether an open direction moves a coordinate, [P].
        unit: twice the rise of the objective when a coordinate is held one standard error away and all others are
            refitted, [P]: in this unit a rise follows the square of a t-distribution.
        degrees: degrees of freedom of that t-distribution, [P]; 0 where the runs leave none.
        freedom: degrees of freedom that the design leaves: design points less free parameters.
        observed: how many runs and design points there are, in words.
        words: what the covariance allows for.
    """

    matrix: np.ndarray
    loose: np.ndarray
    unit: np.ndarray
    degrees: np.ndarray
    freedom: float
    observed: str
    words: str

    @property
    def error(self) -> np.ndarray:
        """Standard errors, [P]; infinite where an open direction moves a coordinate."""
        return np.where(self.loose, np.inf, np.sqrt(np.maximum(np.diag(self.matrix), 0.0)))

    def quantile(self, level: float) -> np.ndarray:
        """How many standard errors an interval of this level reaches to either side, [P]; infinite without degrees."""
        from scipy.special import stdtrit  # not at import time: most of what imports this has no use for scipy

        known = self.degrees > 0
        return np.where(known, stdtrit(np.where(known, self.degrees, 1.0), 0.5 + level / 2), np.inf)


def covariance(problem: Problem, theta: np.ndarray, groups: Groups | None = None) -> Spread:
    """How far noise moves a minimum.

    Where there are ``_SEVERAL`` design points for each parameter or more, each tells its own noise (the sandwich of
    Huber and White with the jackknife's correction, HC3, a design point with all its replicates at a time); where there
    are fewer, noise is taken to be equal and pooled. Under a Huber objective the curvature is the density of the
    residuals around zero, found by a kernel as wide as the noise, for a threshold far below the noise sees next to
    nothing of it. A shift that runs of one group share (``Groups.shared``) is estimated and added. Degrees of freedom
    are design points less free parameters, and those of the groups where their shift counts.

    Args:
        problem: the fit's problem.
        theta: the minimum, [P].
        groups: which runs may share noise; ``None`` takes every run for an independent one.

    Returns:
        The covariance, its degrees of freedom, and the unit in which it makes the objective rise.
    """
    residuals, slopes = problem.linearise(theta[None])
    used = problem.weights[0] > 0
    weights = problem.weights[0][used]
    groups = groups or Groups(np.arange(problem.n_runs))
    design, n_designs = _codes(groups.design[used])
    fit, loose = linear(problem, residuals[0][used], slopes[0][:, used], weights)
    n, p = len(weights), len(theta)
    # Unequal weights leave fewer runs than there are, after Kish. With no more design points than parameters the law
    # cannot miss one: only the noise within them shows.
    share = float(weights.sum() ** 2 / (weights @ weights)) / n
    freedom = max(share * (n_designs if n_designs > p else n) - p, 0.0)
    degrees, own = np.full(p, freedom), share * n_designs >= _SEVERAL * p
    words = "unequal noise" if own else "equal noise"
    words += ", replicates of a design point as one" if n_designs < n else ""
    shared, count = (None, 0) if groups.shared is None else _codes(groups.shared[used])
    speak = (groups.asked and count >= _SEVERAL * p) or count * n > _MOST_CELLS
    moved = shared_shift(fit, design, shared) if shared is not None and count > 1 and not speak else None
    if moved is not None and moved.each.any() and fit.mean_bend > 0.5 * float(weights.mean()):
        # Each design point's own noise is what is left beside the shift; where residuals only count by their sign, the
        # shift has turned them already.
        fit = fit.moved(problem, residuals[0][used] - moved.each)
    pooled = pooled_variance(fit, design, n_designs)
    matrix = sandwich(fit, design, n_designs, pooled) if own else pooled * fit.plain
    if moved is not None:
        degrees = _joint(np.diag(matrix), degrees, np.diag(moved.matrix), moved.degrees)
        matrix = matrix + moved.matrix
        words += f", a shift shared by the runs of one {groups.name} ({count} of them)"
    elif shared is not None and speak:
        other = sandwich(fit, shared, count, pooled_variance(fit, shared, count))
        degrees = np.where(np.diag(other) > np.diag(matrix), max(count - p, 0), degrees)
        matrix = _widened(matrix, other)
        words += f", {count} clusters by {groups.name}"
    elif shared is not None:
        words += f", but what all runs share by their one {groups.name} cannot be seen"
    matrix = matrix + _FINEST**2 * float(np.mean(weights)) * fit.plain
    curvature = fit.bread if own else fit.plain / fit.mean_bend
    unit = np.divide(np.diag(matrix), np.diag(curvature), out=np.full(p, pooled * fit.mean_bend), where=~loose)
    observed = number_of(n, "run") + (f" at {number_of(n_designs, 'design point')}" if n_designs < n else "")
    unit = unit * (1.0 if problem.objective.robust else 2.0)
    return Spread(matrix, loose, unit, degrees, freedom, observed, words)


def _codes(labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Labels as 0, 1, ... without gaps, and how many there are."""
    found, codes = np.unique(labels, return_inverse=True)
    return codes.reshape(-1), len(found)


def _joint(one: np.ndarray, degrees: np.ndarray, other: np.ndarray, other_degrees: float) -> np.ndarray:
    """Degrees of freedom of a sum of two estimated variances, after Satterthwaite, [P]."""
    ratio = np.divide(other, one, out=np.zeros(len(one)), where=(one > 0) & (degrees > 0))
    return np.where(ratio > 0, (1 + ratio) ** 2 / (1 / np.maximum(degrees, 1e-9) + ratio**2 / other_degrees), degrees)


def _widened(matrix: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The first covariance, with the larger variance of the two for every coordinate, [P, P]."""
    ratio = np.diag(other) / np.maximum(np.diag(matrix), 1e-300)
    root = np.sqrt(np.maximum(ratio, 1.0))
    return matrix * root[:, None] * root
