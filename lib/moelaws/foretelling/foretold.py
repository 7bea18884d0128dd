"""What a fitted law foretells of runs that do not exist yet: each alone with its band, and all of them together."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from moelaws.fitting.discrepancy.admission import Use, used
from moelaws.fitting.intervals.prediction import joint_of
from moelaws.fitting.result import FitResult
from moelaws.fitting.result_parts import LEVEL

_WIDEST = 1.0
"""Of a standard error of ln L in draws: what a law leaves open by more is no forecast."""


@dataclass(frozen=True, eq=False)
class Foretold:
    """A forecast of runs.

    Attributes:
        log_loss: expected ln L, [m].
        covariance: of the expectations, [m, m].
        noise: standard deviation of one run's ln L about them.
        low, high: ends of the band that one run's loss lies in, [m].
    """

    log_loss: np.ndarray
    covariance: np.ndarray
    noise: float
    low: np.ndarray
    high: np.ndarray

    def draws(self, count: int, seed: int = 0) -> np.ndarray:
        """Losses that the runs may turn out to have, their noise included: [count, m]."""
        m = len(self.log_loss)
        size, vectors = np.linalg.eigh(self.covariance + self.noise**2 * np.eye(m))
        root = vectors * np.sqrt(np.maximum(size, 0.0))
        return np.asarray(np.exp(self.log_loss + np.random.default_rng(seed).normal(size=(count, m)) @ root.T))


def foretold(result: FitResult, runs: pd.DataFrame, use: Use, level: float = LEVEL) -> Foretold:
    """What a fitted law foretells of runs, alone or with the process of what it misses.

    Args:
        result: a fit that holds its runs.
        runs: what is known of the new ones.
        use: see ``FitResult.predict``.
        level: of the bands.

    Raises:
        FitError, LawError: see ``FitResult.predict``.
    """
    band = result.predict(runs, "run", level, use)
    loss = band[result.law.target].to_numpy(float)
    correction = used(result, use)
    law = result.law
    if correction is not None:
        at = correction.at(runs)
        covariance = correction.covariance(at, correction.slopes_at(law, {**result.params, **correction.params}, runs))
        noise = correction.process.noise
    else:
        joint = joint_of(result)
        assert joint is not None, "a fit that holds its runs has a covariance"
        gradient = law.gradient(result.params, runs)
        positive = {each.name: each.positive for each in law.parameters}
        slopes = np.array(
            [gradient[name] * (result.params[name] if positive[name] else 1.0) / loss for name in joint.names]
        )
        covariance, noise = slopes.T @ joint.matrix @ slopes, joint.noise
    widest = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    shrunk = np.minimum(1.0, _WIDEST / widest)
    return Foretold(
        np.log(loss), np.nan_to_num(covariance * shrunk[:, None] * shrunk), noise, band["low"].to_numpy(float),
        band["high"].to_numpy(float),
    )  # fmt: skip


def together(each: list[Foretold], level: float = LEVEL) -> Foretold:
    """Several forecasts of the same runs as one: their mean, as uncertain as they are and as they disagree."""
    from scipy.special import ndtri  # not at import time: most of what imports this has no use for it

    logs = np.array([one.log_loss for one in each])
    apart = logs - logs.mean(axis=0)
    covariance = np.mean([one.covariance for one in each], axis=0) + apart.T @ apart / max(len(each) - 1, 1)
    noise = float(np.sqrt(np.mean([one.noise**2 for one in each])))
    away = float(ndtri(0.5 + level / 2)) * np.sqrt(np.diag(covariance) + noise**2)
    mean = logs.mean(axis=0)
    return Foretold(mean, covariance, noise, np.exp(mean - away), np.exp(mean + away))
