"""What seeds tell: how far a loss moves when only the seed does, and differences between runs that share one."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from moelaws.runs.configured import LATER_FIELDS, with_later_columns

DESIGN = ("budget", "corpus", "d_model", "n_layers", "n_experts", "top_k", "granularity")
"""Columns that say which point of a design a run belongs to; its seeds are the replicates there. Where a table has
columns of fields that came later, these say so too: another kind of router is no other seed."""


def seed_spread(runs: pd.DataFrame, by: Sequence[str] = DESIGN) -> pd.DataFrame:
    """Mean and standard deviation of the loss over seeds, at every point that has at least two.

    Args:
        runs: finished runs.
        by: columns that identify a point; those the table lacks are passed over.

    Returns:
        One row a point: the columns ``by``, ``seeds`` (how many), ``mean`` and ``std`` of the loss (nats per token).
    """
    runs, by = _design(runs, by)
    points = runs.groupby(by, as_index=False)["loss"].agg(seeds="size", mean="mean", std="std")
    return points[points["seeds"] >= 2].reset_index(drop=True)


def pooled_noise(spread: pd.DataFrame) -> float:
    """One standard deviation for several points: variances averaged by their degrees of freedom.

    Args:
        spread: what ``seed_spread`` returned, or some of its rows.

    Returns:
        Nats per token; NaN without a point.
    """
    freedom = spread["seeds"] - 1
    return float(np.sqrt((freedom * spread["std"] ** 2).sum() / freedom.sum())) if len(spread) else float("nan")


def paired_differences(runs: pd.DataFrame, n_experts: tuple[int, int], by: Sequence[str] = DESIGN) -> pd.DataFrame:
    """Loss at one number of experts minus loss at another, seed by seed.

    Runs that share a seed read the same batches in the same order, so what the data does to one it does to the other.

    Args:
        runs: finished runs.
        n_experts: (E, E'): the difference is L(E') - L(E).
        by: columns that identify a point, apart from the number of experts.

    Returns:
        One row a point and seed: the columns ``by`` without ``n_experts``, ``seed``, ``difference`` (nats per token).
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
