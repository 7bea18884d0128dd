"""What is believed of the loss of any run, once some are held: weak laws, each with a process of what it misses."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from moelaws.choosing.run_places import Places
from moelaws.choosing.scatter import ENOUGH, FEWEST, MOST_ASIDE, NOISE, SD, TOO_HIGH, Scatter
from moelaws.choosing.weak_laws import WeakLaw, shift_of, weak_laws
from moelaws.fitting.discrepancy.gaussian_process import LENGTH, GaussianProcess

Use = Literal["auto", "none"]
"""Of a process beside the laws."""

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
        above: by how many standard deviations each run lies above what all others foretell of it, [n]; empty for few.
    """

    law: WeakLaw
    theta: np.ndarray
    held: Places
    residuals: np.ndarray
    slopes: np.ndarray
    process: GaussianProcess
    above: np.ndarray = field(default_factory=lambda: np.empty(0))

    @classmethod
    def of(cls, law: WeakLaw, held: Places, logs: np.ndarray, sd: float = SD, noise: float | None = None) -> "Belief":
        """What runs make of a law.

        Args:
            law: the law, with its prior.
            held: where the runs stand.
            logs: their ln L, [n].
            sd: of the process; 0 for none. Where runs are a dozen, they may say that it is less.
            noise: of a run; ``None`` lets the runs say it, where they are six or more.
        """
        law = law.moved(shift_of(logs))
        process = GaussianProcess(sd, LENGTH, NOISE if noise is None else noise, held.at)
        theta = _most_likely(law, held, logs, process)
        above = np.empty(0)
        if noise is None and len(held) >= FEWEST:
            for _ in range(2):
                scatter = Scatter.of(law, theta, held, logs, sd)
                process, above = scatter.process, scatter.above
                theta = _most_likely(law, held, logs, process)
        value, slopes = law.slopes(theta, held.logs)
        return cls(law, theta, held, logs - value, slopes, process, above)

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
        aside: which runs are left out, for every law foretells a much lower loss from all others.
    """

    each: tuple[Belief, ...]
    aside: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, held: Places, logs: np.ndarray, discrepancy: Use = "auto", noise: float | None = None,
        laws: Sequence[WeakLaw] | None = None,
    ) -> "Beliefs":  # fmt: skip
        """What runs make of the laws; see ``Belief.of``. Runs that were spoilt are set aside, the worst first."""
        laws = weak_laws(held.logs.shape[1] - 2) if laws is None else laws
        sd = SD if discrepancy == "auto" else 0.0
        kept = np.arange(len(logs))
        while True:
            found = tuple(Belief.of(law, held[kept], logs[kept], sd, noise) for law in laws)
            aside = tuple(int(i) for i in np.setdiff1d(np.arange(len(logs)), kept))
            above = np.min([belief.above for belief in found], axis=0)
            enough = len(kept) > ENOUGH and len(aside) + 1 <= MOST_ASIDE * len(logs)
            if not enough or not above.size or above.max() < TOO_HIGH:
                return cls(found, aside)
            kept = np.delete(kept, int(np.argmax(above)))

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
