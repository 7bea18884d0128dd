"""What seeds tell: how far a loss moves when only the seed does, and differences between runs that share one."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from moelaws.runs.configured import FIELDS, LATER_FIELDS, with_later_columns

Array = NDArray[np.float64]

DESIGN = ("budget", "corpus", "d_model", "n_layers", "n_experts", "top_k", "granularity")
"""Columns that say which point of a design a run belongs to; its seeds are the replicates there. Where a table has
columns of other fields of a configuration, these say so too: another learning rate, or another kind of router, is no
other seed."""


def seed_spread(runs: pd.DataFrame, by: Sequence[str] = DESIGN) -> pd.DataFrame:
    """Mean and standard deviation of the loss over seeds, at every point that has at least two.

    Args:
        runs: finished runs.
        by: columns that identify a point; those the table lacks are passed over. By default all that a run is made
            from, but the seed; runs that leave a column empty may be of one point.

    Returns:
        One row a point: the columns ``by``, ``seeds`` (how many), ``mean`` and ``std`` of the loss (nats per token).

    Examples:
        >>> import moelaws as ml
        >>> spread = seed_spread(ml.datasets.load("isoflop"))
        >>> len(spread), bool((spread["seeds"] > 1).all())
        (49, True)
    """
    runs, columns = _design(runs, by)
    if by is DESIGN:
        columns = [*columns, *(name for name in FIELDS if name in runs.columns and name not in {*columns, "seed"})]
    points = runs.groupby(columns, as_index=False, dropna=False)["loss"].agg(seeds="size", mean="mean", std="std")
    return points[points["seeds"] >= 2].reset_index(drop=True)


def pooled_noise(spread: pd.DataFrame) -> float:
    """One standard deviation for several points: variances averaged by their degrees of freedom.

    Args:
        spread: what ``seed_spread`` returned, or some of its rows.

    Returns:
        Nats per token; NaN without a point.

    Examples:
        >>> import moelaws as ml
        >>> round(pooled_noise(seed_spread(ml.datasets.load("isoflop"))), 3)
        0.015
    """
    return float(np.sqrt(pooled_variance(spread["std"] ** 2, spread["seeds"] - 1)))


def pooled_variance(variance: ArrayLike, freedom: ArrayLike) -> Array:
    """One variance for several points: theirs, averaged by their degrees of freedom.

    Args:
        variance: of each point, P numbers; whatever it is, it does not count where there is no degree of freedom.
        freedom: of each point, P numbers, or several rows of them: an average each.

    Returns:
        One number, or one a row; NaN without a degree of freedom.
    """
    freedom = np.asarray(freedom, float)
    known = np.where(freedom > 0, variance, 0.0)
    total = freedom.sum(axis=-1)
    return np.divide((freedom * known).sum(axis=-1), total, out=np.full(total.shape, np.nan), where=total > 0)


def between_seeds(loss: Array, point: NDArray[np.intp]) -> float:
    """Variance between the runs of a point, pooled over points; 0 where no point has several.

    Args:
        loss: P losses.
        point: a label per run, from 0, the same for runs of one size and sparsity.
    """
    runs = np.bincount(point)
    squares = np.bincount(point, (loss - (np.bincount(point, loss) / runs)[point]) ** 2)
    return float(np.nan_to_num(pooled_variance(squares / np.maximum(runs - 1, 1), runs - 1)))


def paired_differences(runs: pd.DataFrame, n_experts: tuple[int, int], by: Sequence[str] = DESIGN) -> pd.DataFrame:
    """Loss at one number of experts minus loss at another, seed by seed.

    Runs that share a seed read the same batches in the same order, so what the data does to one it does to the other.

    Args:
        runs: finished runs.
        n_experts: (E, E'): the difference is L(E') - L(E).
        by: columns that identify a point, apart from the number of experts.

    Returns:
        One row a point and seed: the columns ``by`` without ``n_experts``, ``seed``, ``difference`` (nats per token).

    Examples:
        >>> import moelaws as ml
        >>> pairs = paired_differences(ml.datasets.load("isoflop"), (1, 8))
        >>> len(pairs), bool(pairs["difference"].median() < 0)
        (44, True)
    """
    runs, by = _design(runs, by)
    keys = [name for name in by if name != "n_experts"] + ["seed"]
    low, high = (runs[runs["n_experts"] == count].set_index(keys)["loss"] for count in n_experts)
    both = (high - low).dropna().rename("difference")
    return both.reset_index()


def _design(runs: pd.DataFrame, by: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Columns that identify a point, of those the table has; later ones are filled for rows recorded before them."""
    later = [name for name in LATER_FIELDS if by is DESIGN and name in runs.columns]
    return with_later_columns(runs, later), [name for name in [*by, *later] if name in runs.columns]
