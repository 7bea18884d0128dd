"""Weights of runs from the spread between their seeds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from moelaws.fitting.objective import FitError
from moelaws.runs.seeds import pooled_variance


def seed_weights(runs: pd.DataFrame, by: Sequence[str], target: str = "loss") -> np.ndarray:
    """Weights from the spread between seeds: one over the variance of ln L within groups of replicates.

    A group's own variance is drawn towards the pooled one, in proportion to its degrees of freedom, because a
    variance of two or three seeds is mostly chance.

    Args:
        runs: a run table.
        by: columns that seed replicates share, such as the configuration without the seed.
        target: the column whose spread counts.

    Returns:
        Weights of mean one, [runs].

    Raises:
        FitError: an unknown column, or no group of two or more runs.
    """
    for name in [*by, target]:
        if name not in runs.columns:
            raise FitError(f"no column {name!r} to group seed replicates by")
    logs = pd.Series(np.log(runs[target].to_numpy(dtype=float)), index=runs.index)
    groups = logs.groupby([runs[name] for name in by])
    degrees = (groups.transform("size") - 1).to_numpy(dtype=float)
    variance = groups.transform("var").fillna(0.0).to_numpy(dtype=float)
    share = 1.0 / (degrees + 1.0)  # each run carries its part of its group
    if not degrees.any():
        raise FitError(f"no two runs share {', '.join(map(repr, by))}: there are no seed replicates")
    pooled = float(pooled_variance(variance, degrees * share))
    if pooled == 0:
        raise FitError("seed replicates have exactly the same loss: their spread gives no weights")
    prior = 4.0
    weights = 1.0 / ((degrees * variance + prior * pooled) / (degrees + prior))
    return weights / weights.mean()
