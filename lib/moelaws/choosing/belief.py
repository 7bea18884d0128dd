"""What is believed of the loss of any run, once some are held: weak laws, each with a process of what it misses."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from moelaws.choosing.run_places import Places
from moelaws.choosing.weak_laws import WeakLaw, shift_of, weak_laws
from moelaws.fitting.discrepancy.gaussian_process import LENGTH, GaussianProcess

Use = Literal["auto", "none"]
"""Of a process beside the laws."""

SD = 0.03
"""Of ln L: how large what a law misses is taken to be. Evidence within the small budgets of the book's text says .02,
within all of them .04; from few runs it cannot be told."""
NOISE = 0.005
"""Of ln L: how far another seed moves a run. In no table of ours it was over .006; where runs scatter more about law
and process, the evidence says so, and where seeds were repeated, they do."""
_NOISES = NOISE * np.geomspace(1, 16, 10)
_NOISE_SPREAD = 1.0
_FEWEST = 6
"""Runs from which on their scatter is asked."""
_STEPS, _SMALL = 40, 1e-8
_SHARES = (1.0, 0.5, 0.25, 0.1, 0.03, 0.01)


@dataclass(frozen=True, eq=False)
class Belief:
    """One weak law and the process beside it, as the runs held have them.

    Attributes:
        law: the law, for losses of this size.
        theta: its coefficients, most likely a posteriori, [P].
        held: where the runs held stand.
        residuals: their ln L less the law's, [n].
        slopes: of the law's ln L by its coefficients, [P, n].
        process: at the runs held.
    """

    law: WeakLaw
    theta: np.ndarray
    held: Places
    residuals: np.ndarray
    slopes: np.ndarray
    process: GaussianProcess

    @classmethod
    def of(cls, law: WeakLaw, held: Places, logs: np.ndarray, sd: float = SD, noise: float | None = None) -> "Belief":
        """What runs make of a law.

        Args:
            law: the law, with its prior.
            held: where the runs stand.
            logs: their ln L, [n].
            sd: of the process; 0 for none.
            noise: of a run; ``None`` lets the runs say it, where they are six or more.
        """
        law = law.moved(shift_of(logs))
        process = GaussianProcess(sd, LENGTH, NOISE if noise is None else noise, held.at)
        theta = _most_likely(law, held, logs, process)
        if noise is None and len(held) >= _FEWEST:
            for _ in range(2):
                seen = _noise(law, theta, held, logs, process)
                process = GaussianProcess(sd, LENGTH, seen, held.at)
                theta = _most_likely(law, held, logs, process)
        value, slopes = law.slopes(theta, held.logs)
        return cls(law, theta, held, logs - value, slopes, process)

    @property
    def noise(self) -> float:
        """Standard deviation of ln L of one run about law and process."""
        return self.process.noise

    @cached_property
    def _spread(self) -> np.ndarray:
        """Covariance of the coefficients, [P, P]."""
        known = self.slopes @ self.process.inverse @ self.slopes.T
        return np.linalg.inv(known + np.diag(self.law.spread**-2.0))

    def mean(self, places: Places) -> np.ndarray:
        """Expected ln L, [m]."""
        return self.law.value(self.theta, places.logs) + self.process.shares(places.at) @ self.residuals

    def covariance(self, places: Places) -> np.ndarray:
        """Of the expected ln L of all places together, [m, m]."""
        shares = self.process.shares(places.at)
        off = self.law.slopes(self.theta, places.logs)[1] - self.slopes @ shares.T
        return self.process.left(places.at, shares) + off.T @ self._spread @ off


@dataclass(frozen=True)
class Beliefs:
    """Several weak laws, each with its process; a forecast is their mean.

    Attributes:
        each: the beliefs; runs are chosen by the first.
    """

    each: tuple[Belief, ...]

    @classmethod
    def of(
        cls, held: Places, logs: np.ndarray, discrepancy: Use = "auto", noise: float | None = None,
        laws: Sequence[WeakLaw] | None = None,
    ) -> "Beliefs":  # fmt: skip
        """What runs make of the laws; see ``Belief.of``."""
        laws = weak_laws(held.logs.shape[1] - 2) if laws is None else laws
        sd = SD if discrepancy == "auto" else 0.0
        return cls(tuple(Belief.of(law, held, logs, sd, noise) for law in laws))

    @property
    def noise(self) -> float:
        """Of one run, in ln L."""
        return float(np.sqrt(np.mean([belief.noise**2 for belief in self.each])))

    def forecast(self, places: Places, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of ln L, or of sums of it.

        Args:
            places: m of them.
            rows: how each sum weighs the places, [q, m]; every place alone by default.

        Returns:
            The mean of the laws, [q]; and the mean of their variances with the variance between them, [q].
        """
        rows = np.eye(len(places)) if rows is None else rows
        means = np.array([rows @ belief.mean(places) for belief in self.each])
        own = [np.einsum("qm,mn,qn->q", rows, belief.covariance(places), rows) for belief in self.each]
        apart = np.var(means, axis=0, ddof=1) if len(means) > 1 else 0.0
        return means.mean(axis=0), np.maximum(np.mean(own, axis=0), 0.0) + apart


def _most_likely(law: WeakLaw, held: Places, logs: np.ndarray, process: GaussianProcess) -> np.ndarray:
    """Coefficients of the highest posterior: Newton's steps with the process as the covariance of the errors."""
    mean, weight = law.mean, law.spread**-2.0

    def height(theta: np.ndarray) -> float:
        left = logs - law.value(theta, held.logs)
        return float(left @ process.inverse @ left + weight @ (theta - mean) ** 2)

    theta = mean
    if not len(logs):
        return theta
    before = height(theta)
    for _ in range(_STEPS):
        value, slopes = law.slopes(theta, held.logs)
        curvature = slopes @ process.inverse @ slopes.T + np.diag(weight)
        step = np.linalg.solve(curvature, slopes @ process.inverse @ (logs - value) - weight * (theta - mean))
        for share in _SHARES:
            after = height(theta + share * step)
            if after < before:
                break
        else:
            return theta
        theta, gain, before = theta + share * step, before - after, after
        if gain < _SMALL * before:
            return theta
    return theta


def _noise(law: WeakLaw, theta: np.ndarray, held: Places, logs: np.ndarray, process: GaussianProcess) -> float:
    """Noise of a run by its evidence, coefficients integrated out: from ``NOISE`` upwards, and the nearer the likelier.

    Not below: neighbours in a sweep share their seed, and so scatter less about each other than seeds would have them.
    """
    value, slopes = law.slopes(theta, held.logs)
    seen = logs - value + slopes.T @ (theta - law.mean)
    total = (slopes.T * law.spread**2) @ slopes + process.covariance(held.at, held.at)
    size, vectors = np.linalg.eigh(total)
    squares = (vectors.T @ seen) ** 2
    variances = np.maximum(size, 0.0) + _NOISES[:, None] ** 2
    likely = -0.5 * (np.log(variances) + squares / variances).sum(axis=1)
    unexpected = 0.5 * (np.log(_NOISES / NOISE) / _NOISE_SPREAD) ** 2
    return float(_NOISES[np.argmax(likely - unexpected)])
