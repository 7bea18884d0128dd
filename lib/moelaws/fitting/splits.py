"""Laws on the same splits: what each predicts of the runs it did not see, in the papers' own measures."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from moelaws.fitting.fit import fit
from moelaws.fitting.intervals.profile import profile
from moelaws.fitting.objective import FitError
from moelaws.fitting.selection import aicc, extrapolate
from moelaws.laws import law as law_named
from moelaws.laws.forms import Law
from moelaws.laws.own import floor_of


@dataclass(frozen=True)
class Candidate:
    """A law on trial.

    Attributes:
        law: the law.
        options: arguments of ``fit`` that this law needs, such as ``fixed``; they come before the others' own.
    """

    law: Law
    options: Mapping[str, Any]


def candidate(law: Law | str, size: str = "", **options: Any) -> Candidate:
    """A law on trial, with its size N read from a column of one's choice.

    Args:
        law: a law or its name.
        size: the column to read N from, such as ``non_embedding_params``; empty for the law's own.
        options: arguments of ``fit`` that only this law needs.

    Raises:
        FitError: a size for a law without N.
    """
    law = law_named(law) if isinstance(law, str) else law
    if size:
        if all(each.symbol != "N" for each in law.variables):
            raise FitError(f"law {law.name!r} has no variable 'N' to read from {size!r}")
        read = tuple(replace(each, columns=(size,)) if each.symbol == "N" else each for each in law.variables)
        law = replace(law, variables=read)
    return Candidate(law, options)


def scores(
    candidates: Mapping[str, Candidate | Law | str], runs: pd.DataFrame, largest: Mapping[str, str], **options: Any
) -> pd.DataFrame:
    """Fit every law to all runs, and to all but those at the largest value of a column, and measure.

    Args:
        candidates: label -> law.
        runs: finished runs.
        largest: name of a split -> the column whose largest value it holds out.
        options: further arguments of ``fit``; the objective is ``lsq-log`` unless given.

    Returns:
        One row a law and split, and one a law for all runs (split empty): ``law, split, parameters, status, aicc,
        n, rmse_log, mse, r2`` of the runs fitted and ``out_n, out_rmse_log, out_mse, out_r2`` of the others.

    Raises:
        FitError, LawError: runs or arguments that cannot be used.
    """
    rows = []
    for label, each in candidates.items():
        chosen = each if isinstance(each, Candidate) else candidate(each)
        asked = {"objective": "lsq-log"} | options | dict(chosen.options)
        for split in ("", *largest):
            result = extrapolate(chosen.law, runs, largest=largest[split], **asked) if split else None
            result = result or fit(chosen.law, runs, **asked)
            row = {"law": label, "split": split, "parameters": len(result.params) - len(result.origin.fixed)}
            row |= {"status": result.status, "aicc": aicc(result)} | result.quality.to_dict()
            if result.holdout is not None:
                row |= {f"out_{name}": value for name, value in result.holdout.to_dict().items()}
            rows.append(row)
    return pd.DataFrame(rows)


def ladder(law: Law | str, runs: pd.DataFrame, first: int = 2, column: str = "budget", **options: Any) -> pd.DataFrame:
    """What one more budget does to a law's floor, and how well each fit foresees the budget after it.

    Args:
        law: a law with an irreducible loss, or its name.
        runs: finished runs.
        first: budgets in the first fit.
        column: what the rungs are.
        options: further arguments of ``fit``; the objective is ``lsq-log`` unless given.

    Returns:
        One row a fit to the runs up to ``largest``: ``budgets`` (how many), ``largest``, ``n``, ``floor`` with its
        95 % profile interval ``low`` and ``high`` (zero or infinite where the runs do not bound it), ``rmse_log``;
        of the next budget ``next``, ``out_r2``, ``out_rmse_log`` and ``bias`` (mean ln L_hat - ln L), nan for the last.

    Raises:
        FitError: a law without a floor, or fewer rungs than ``first``.
    """
    law = law_named(law) if isinstance(law, str) else law
    name, rungs = floor_of(law), np.sort(runs[column].unique())
    if name is None:
        raise FitError(f"law {law.name!r} has no irreducible loss")
    if len(rungs) < first:
        raise FitError(f"column {column!r} has {len(rungs)} values: expected at least {first}")
    rows = []
    for count in range(first, len(rungs) + 1):
        result = fit(law, runs[runs[column] <= rungs[count - 1]], **({"objective": "lsq-log"} | options))
        low, high = profile(result, name).interval
        row = {"budgets": count, "largest": rungs[count - 1], "n": result.n_runs, "floor": result.params[name]}
        row |= {"low": low, "high": high, "rmse_log": result.quality.rmse_log}
        if count < len(rungs):
            following = runs[runs[column] == rungs[count]]
            ahead = result.with_holdout(following).holdout
            assert ahead is not None
            errors = np.log(np.asarray(result.predict(following), float) / following["loss"].to_numpy(float))
            row |= {"next": rungs[count], "out_r2": ahead.r2, "out_rmse_log": ahead.rmse_log, "bias": errors.mean()}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(_RUNG))


_RUNG = (
    "budgets", "largest", "n", "floor", "low", "high", "rmse_log", "next", "out_r2", "out_rmse_log", "bias",
)  # fmt: skip


def declines(runs: pd.DataFrame, model: tuple[str, ...] = ("d_model", "n_experts")) -> pd.DataFrame:
    """How fast the loss of one model falls with tokens, from each budget to the next; seeds are averaged.

    In a law whose data term stands alone, b/D^beta, dL/d ln D depends on D only: neither on the size nor on the
    experts. This is the measured one, without any law.

    Args:
        runs: finished runs with ``tokens``.
        model: columns that say which model a run belongs to.

    Returns:
        One row a model and pair of neighbouring numbers of tokens: the columns ``model``, ``tokens`` (geometric mean),
        ``decline`` (nats per factor e of tokens) and ``per_run``: times the noise of one run it is the standard error.
    """
    keys = list(model)
    means = runs.groupby([*keys, "tokens"], as_index=False).agg(loss=("loss", "mean"), runs=("loss", "size"))
    means = means.sort_values([*keys, "tokens"])
    before = means.groupby(keys)[["tokens", "loss", "runs"]].shift()
    ratio = np.log(means["tokens"] / before["tokens"])
    pairs = means[keys].assign(
        tokens=np.sqrt(means["tokens"] * before["tokens"]),
        decline=(before["loss"] - means["loss"]) / ratio,
        per_run=np.sqrt(1 / means["runs"] + 1 / before["runs"]) / ratio,
    )
    return pairs.dropna().reset_index(drop=True)
