"""Has a router collapsed? A rule that a run's own record answers, so that no run is left out by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from moelaws.runs import finished, read_runs

NEEDED = ("loss", "budget", "d_model", "n_experts", "top_k", "load_imbalance")
LIMIT = 0.75
"""Share of the way from even loads to one expert for all, beyond which a router counts as collapsed."""


def concentration(runs: pd.DataFrame) -> "pd.Series[float]":
    """How far the loads of the worst layer are from even: 0 if all experts have the same, 1 if one has every token.

    ``load_imbalance`` is the largest load over the mean one, from 1 to E / K; dense models have 0.

    Args:
        runs: finished runs with ``load_imbalance``, ``n_experts`` and ``top_k``.
    """
    most = runs["n_experts"] / runs["top_k"] - 1
    return ((runs["load_imbalance"] - 1) / most.where(most > 0)).fillna(0.0).rename("concentration")


def collapsed(runs: pd.DataFrame) -> "pd.Series[bool]":
    """Whether one expert of a layer has nearly every token; of runs that record no loads, nobody knows."""
    if "load_imbalance" not in runs:
        return pd.Series(False, index=runs.index)
    return concentration(runs) > LIMIT


def kept(runs: pd.DataFrame, all_runs: bool = False) -> pd.DataFrame:
    """The runs without those whose router has collapsed, or all of them."""
    return runs if all_runs else runs[~collapsed(runs)].reset_index(drop=True)


def worst(files: Sequence[str], count: int = 4) -> pd.DataFrame:
    """The runs of several tables that come nearest to a collapse, with their table.

    Returns:
        One row a run, the worst first: ``table``, ``runs`` (mixtures in that table), ``budget``, ``d_model``,
        ``n_experts``, ``top_k``, ``loss``, ``concentration``.
    """
    tables = []
    for file in files:
        runs = finished(read_runs(file, required=NEEDED))
        mixtures = runs[runs["n_experts"] > runs["top_k"]]
        tables.append(mixtures.assign(table=Path(file).name, runs=len(mixtures), concentration=concentration(mixtures)))
    names = ["table", "runs", "budget", "d_model", "n_experts", "top_k", "loss", "concentration"]
    every = pd.concat(tables, ignore_index=True)
    return every.sort_values("concentration", ascending=False, ignore_index=True)[names].head(count)


def above_neighbours(runs: pd.DataFrame) -> "pd.Series[float]":
    """Loss of each collapsed run less the mean of the others of its budget and width, nats."""
    sound, found = runs[~collapsed(runs)], {}
    for index, run in runs[collapsed(runs)].iterrows():
        near = sound[(sound["budget"] == run["budget"]) & (sound["d_model"] == run["d_model"])]
        found[index] = float(run["loss"] - near["loss"].mean()) if len(near) else np.nan
    return pd.Series(found, dtype=float)
