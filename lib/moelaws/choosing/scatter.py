"""How runs scatter about a weak law: the noise and the process that make them likely, and runs that none would make."""

from dataclasses import dataclass

import numpy as np

from moelaws.choosing.run_places import Places
from moelaws.choosing.weak_laws import WeakLaw
from moelaws.fitting.discrepancy.gaussian_process import LENGTH, GaussianProcess

SD = 0.03
"""Of ln L: how large what a law misses is taken to be. Evidence within the small budgets of the book's text says .02,
within all of them .04; from few runs it cannot be told."""
NOISE = 0.005
"""Of ln L: how far another seed moves a run. In no table of ours it was over .006; where runs scatter more about law
and process, the evidence says so, and where seeds were repeated, they do."""
FEWEST = 6
"""Runs from which on their noise is asked, and"""
ENOUGH = 12
"""those from which on the size of the process is, too, and single runs are doubted."""
TOO_HIGH = 3.5
"""Standard deviations by which a run lies above what all others foretell of it, under every law, before it is set
aside. Only above: a rate or a node that failed never made a loss too low."""
MOST_ASIDE = 1 / 8
"""Of the runs, that may be set aside: beyond that it is the laws that are to be doubted."""
_NOISES = NOISE * np.geomspace(1, 16, 10)
_NOISE_SPREAD = 1.0
_SDS = SD * np.array([1.0, 0.5, 0.25])


@dataclass(frozen=True, eq=False)
class Scatter:
    """What runs say of their scatter about a law.

    Attributes:
        process: the most likely one, with the noise of a run; at the runs.
        likelihood: ln of the evidence for it, up to a constant.
        above: by how many standard deviations each run lies above what all others foretell of it, [n].
    """

    process: GaussianProcess
    likelihood: float
    above: np.ndarray

    @classmethod
    def of(cls, law: WeakLaw, theta: np.ndarray, held: Places, logs: np.ndarray, sd: float) -> "Scatter":
        """The scatter of runs about a law, its coefficients integrated out.

        The noise is ``NOISE`` or more, and the nearer the likelier: neighbours in a sweep share their seed, and so
        scatter less about each other than seeds would have them. The process may be smaller than ``sd`` where runs are
        enough to say so; a large one takes a spoilt run for something that the law misses.

        Args:
            law: the law.
            theta: its coefficients, at which it is taken to be linear, [P].
            held: where the runs stand.
            logs: their ln L, [n].
            sd: of the process, at most; 0 for none.
        """
        sizes = _SDS * (sd / SD) if sd > 0 and len(held) >= ENOUGH else (sd,)
        value, slopes = law.slopes(theta, held.logs)
        seen = logs - value + slopes.T @ (theta - law.mean)
        trend = (slopes.T * law.spread**2) @ slopes
        found = [_at_size(GaussianProcess(size, LENGTH, NOISE, held.at), trend, seen) for size in sizes]
        return max(found, key=lambda each: each.likelihood)


def _at_size(process: GaussianProcess, trend: np.ndarray, seen: np.ndarray) -> Scatter:
    size, vectors = np.linalg.eigh(trend + process.covariance(process.points, process.points))
    squares = (vectors.T @ seen) ** 2
    variances = np.maximum(size, 0.0) + _NOISES[:, None] ** 2
    likely = -0.5 * (np.log(variances) + squares / variances).sum(axis=1)
    likely -= 0.5 * (np.log(_NOISES / NOISE) / _NOISE_SPREAD) ** 2
    best = int(np.argmax(likely))
    inverse = (vectors / variances[best]) @ vectors.T
    # Each run less what the others foretell of it, over the standard deviation of that.
    above = (inverse @ seen) / np.sqrt(np.diag(inverse))
    chosen = GaussianProcess(process.sd, process.length, float(_NOISES[best]), process.points)
    return Scatter(chosen, float(likely[best]), above)
