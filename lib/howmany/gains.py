"""The gain from experts, model by model, and how it moves with size and tokens: what a law must match."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy.stats import t

from moelaws.fitting.least_squares import least_squares
from moelaws.fitting.objective import FitError

CELL = ("d_model", "tokens")
"""Columns that a mixture shares with the dense model it is held against."""

SHAPE = ("d_model", "n_layers")
"""Columns that say which dense model corresponds to a run."""


def with_dense_params(
    runs: pd.DataFrame, count: str = "non_embedding_params", shape: Iterable[str] = SHAPE
) -> pd.DataFrame:
    """Add the size of the corresponding dense model, which Yun et al. 2024 call N.

    Args:
        runs: a run table with at least one dense run (E = 1) of every shape.
        count: which parameters of the dense model are counted: ``non_embedding_params`` (as their Table 1 does) or
            ``total_params``.
        shape: columns that a run shares with its dense model; those the table lacks are passed over.

    Returns:
        The table with the column ``dense_params``.

    Raises:
        FitError: a shape without a dense run, or dense runs of one shape that differ in size.
    """
    keys = [name for name in shape if name in runs.columns]
    dense = runs[runs["n_experts"] == 1].drop_duplicates([*keys, count]).set_index(keys)[count]
    if not dense.index.is_unique:
        raise FitError(
            f"dense runs of {', '.join(keys)} = {dense.index[dense.index.duplicated()][0]} differ in {count}"
        )
    sizes = runs[keys].join(dense.rename("dense_params"), on=keys)["dense_params"]
    if sizes.isna().any():
        row = sizes.index[sizes.isna()][0]
        found = ", ".join(f"{name} = {runs[name].loc[row]:g}" for name in keys)
        raise FitError(f"row {row}: the table has no dense run (n_experts = 1) with {found}")
    return runs.assign(dense_params=sizes)


def gains(runs: pd.DataFrame, cell: Iterable[str] = CELL, logs: bool = True) -> pd.DataFrame:
    """What experts save, in every cell with a dense run.

    Args:
        runs: finished runs with ``dense_params``; seeds of a cell are averaged.
        cell: columns that the dense model and the mixture share.
        logs: whether the gain is a share of the loss, ln L(1) - ln L(E), or in nats per token, L(1) - L(E).

    Returns:
        One row a cell and number of experts above one: the columns ``cell``, ``dense_params``, ``n_experts``,
        ``gain`` (positive where experts help) and ``seeds`` (how many were averaged).

    Raises:
        FitError: no cell has both a dense run and a mixture.
    """
    keys = [*cell, "dense_params"]
    level = runs.assign(level=np.log(runs["loss"]) if logs else runs["loss"])
    points = level.groupby([*keys, "n_experts"])["level"].agg(["mean", "size"]).reset_index()
    dense = points[points["n_experts"] == 1].set_index(keys)["mean"].rename("dense")
    rows = points[points["n_experts"] > 1].join(dense, on=keys).dropna(subset="dense")
    if rows.empty:
        raise FitError(f"no {' and '.join(cell)} has both a dense run (n_experts = 1) and a mixture")
    rows = rows.assign(gain=rows["dense"] - rows["mean"]).rename(columns={"size": "seeds"})
    return rows[[*keys, "n_experts", "gain", "seeds"]].reset_index(drop=True)


def trends(table: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """How the gain moves per doubling of size and of tokens, by least squares, one number of experts at a time.

    No law is assumed but that the gain is linear in both logs. The last row is for the mean over all numbers of
    experts, cell by cell: they share their dense runs, so it is not the mean of independent rows.

    Args:
        table: what ``gains`` returned, its cells holding ``tokens``.
        level: of the intervals, from the scatter about the plane and Student's t.

    Returns:
        One row a number of experts and one ``0`` for their mean: ``n_experts, cells, gain`` (in the middle of the
        table), ``per_size, size_low, size_high, per_data, data_low, data_high`` (change of the gain per doubling)
        and ``scatter`` (standard deviation about the plane).

    Raises:
        FitError: fewer than four cells, or sizes or tokens that do not vary.
    """
    cells = table.groupby(["dense_params", "tokens"], as_index=False)["gain"].mean().assign(n_experts=0)
    groups = [*table.groupby("n_experts"), (0, cells)]
    return pd.DataFrame([{"n_experts": int(count)} | _plane(group, level) for count, group in groups])


def _plane(group: pd.DataFrame, level: float) -> dict[str, float]:
    logs = np.log2(group[["dense_params", "tokens"]].to_numpy(float))
    design = np.column_stack([np.ones(len(group)), logs - logs.mean(axis=0)])
    n, fit = len(group), least_squares(design, group["gain"].to_numpy(float))
    if fit is None or fit.freedom < 1:
        raise FitError(f"{n} cells do not show how the gain moves: expected four or more, of varied size and tokens")
    slopes = fit.weights
    reach = t.ppf(0.5 + level / 2, fit.freedom) * np.sqrt(np.diag(fit.covariance()))
    row = {"cells": n, "gain": float(slopes[0])}
    for i, name in ((1, "size"), (2, "data")):
        ends = {f"{name}_low": slopes[i] - reach[i], f"{name}_high": slopes[i] + reach[i]}
        row |= {key: float(value) for key, value in ({f"per_{name}": slopes[i]} | ends).items()}
    return row | {"scatter": fit.variance**0.5}


def free_levels(runs: pd.DataFrame, cell: Iterable[str] = CELL) -> pd.DataFrame:
    """Which interactions the effect of experts needs, whatever the loss does with size and tokens.

    Every cell has a level of its own, so that no form of the law in N and D can be at fault. On it stands the effect
    of experts, a step for any mixture and a slope in ln E, both free to change with ln N, with ln D, with both.

    Args:
        runs: finished runs with ``dense_params`` and ``tokens``.
        cell: columns that the dense model and its mixtures share.

    Returns:
        One row a model: ``experts`` (what their effect changes with), ``parameters``, ``error`` (standard deviation of
        the residuals of ln L, by their degrees of freedom) and ``aicc``.

    Raises:
        FitError: too few runs for the richest model.
    """
    level = runs.groupby(list(cell)).ngroup().to_numpy()
    levels = (level[:, None] == np.unique(level)).astype(float)
    experts = np.column_stack([runs["n_experts"] > 1, np.log(runs["n_experts"])]).astype(float)
    logs = np.log(runs[["dense_params", "tokens"]].to_numpy(float))
    by_size, by_data = ((column - column.mean())[:, None] * experts for column in logs.T)
    models = {"nothing": [], "size": [by_size], "tokens": [by_data], "size and tokens": [by_size, by_data]}
    loss, n, rows = np.log(runs["loss"].to_numpy(float)), len(runs), []
    for name, more in models.items():
        design = np.column_stack([levels, experts, *more])
        p, fit = design.shape[1], least_squares(design, loss)
        if fit is None or n - p < 3:
            raise FitError(f"{n} runs for {p} levels and effects: expected three more at least, of several experts")
        squares = fit.squares
        aicc = n * np.log(squares / n) + 2 * (p + 1) + 2 * (p + 1) * (p + 2) / (n - p - 2)
        rows.append({"experts": name, "parameters": p, "error": np.sqrt(squares / (n - p)), "aicc": float(aicc)})
    return pd.DataFrame(rows)
