"""Which runs a bootstrap replicate holds: runs, whole clusters, or either within strata, drawn with replacement."""

from typing import Any

import numpy as np
import pandas as pd

from moelaws.fitting.objective import FitError


def draw_counts(
    n: int, replicates: int, rng: np.random.Generator, strata: np.ndarray | None, clusters: np.ndarray | None
) -> np.ndarray:
    """How often each run is drawn.

    Args:
        n: runs.
        replicates: how many times to draw.
        rng: source of randomness.
        strata: a code for each run, [runs]; every stratum keeps its number of runs.
        clusters: a code for each run, [runs]; runs of a code are drawn together.

    Returns:
        Counts, [replicates, runs].
    """
    units = np.arange(n) if clusters is None else clusters
    n_units = int(units.max()) + 1
    stratum = np.zeros(n_units, dtype=int)
    if strata is not None:
        stratum[units] = strata  # a cluster belongs to the stratum of its last run
    counts = np.zeros((replicates, n_units))
    for label in np.unique(stratum):
        members = np.flatnonzero(stratum == label)
        counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=replicates)
    return counts[:, units]


def codes_of(labels: Any, n: int, what: str) -> np.ndarray | None:
    """Labels as codes 0, 1, ..., [runs]; ``None`` stays ``None``.

    Args:
        labels: one for each run.
        n: runs.
        what: what they label, for the message.

    Returns:
        The codes.

    Raises:
        FitError: another number of labels than of runs, or a run without one.
    """
    if labels is None:
        return None
    codes = pd.factorize(np.asarray(labels))[0]
    if len(codes) != n:
        raise FitError(f"{len(codes)} labels of {what} for {n} runs")
    if (codes < 0).any():
        raise FitError(f"{what}: run {int(np.flatnonzero(codes < 0)[0])} has no label")
    return codes
