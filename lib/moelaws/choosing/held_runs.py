"""What is held of a table, and the runs that could be made beside it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from moelaws.choosing.asked import Question
from moelaws.choosing.candidates import Limits, Models, candidates_of
from moelaws.fitting.objective import FitError
from moelaws.runs import derive, finished
from moelaws.runs.numbers import as_numbers

_SPOKEN_OF = ("active_params", "total_params", "tokens", "train_flops", "n_experts", "top_k", "granularity", "sparsity")
_OURS = ("loss", "next_run", "wave", "cumulative_flops", "variance_cut", "error_after")
"""Columns of a table of candidates that are no candidate's: it may be one that was proposed before."""
_MOST_HELD = 2_000
_MOST_CANDIDATES = 5_000


@dataclass(frozen=True, eq=False)
class Held:
    """Runs that were made.

    Attributes:
        table: finished runs, with the columns that others determine.
        rows: what each is called in the table that it is from: its row, where that was a file.
    """

    table: pd.DataFrame
    rows: tuple[Any, ...]


def held_runs(runs: pd.DataFrame | None) -> Held | None:
    """The finished runs of a table, fit to be learnt from; of very many some, evenly.

    Raises:
        FitError: no finished run, no losses, or a cell that is no number.
    """
    if runs is None:
        return None
    ended = finished(runs)
    if ended.empty:
        raise FitError(f"none of {len(runs)} runs finished: for a first design, name no table")
    known, _ = derive(ended)
    if "loss" not in known.columns:
        raise FitError("the runs have no column 'loss'")
    losses = as_numbers(known["loss"].to_numpy())
    if not (np.isfinite(losses) & (losses > 0)).all():
        raise FitError("a loss is no number above zero: leave that run out")
    for name in _SPOKEN_OF:
        if name in known.columns:
            hole = ~np.isfinite(as_numbers(known[name].to_numpy()))
            if hole.any() and not hole.all():
                raise FitError(f"row {int(np.argmax(hole)) + 1}: {name} is empty or no number: leave that run out")
    if len(known) > _MOST_HELD:
        known = known.iloc[np.linspace(0, len(known) - 1, _MOST_HELD).astype(int)]
    return Held(known.reset_index(drop=True), tuple(known.index))


def offered_runs(
    candidates: pd.DataFrame | None, models: Models | None, limits: Limits, budget: float, question: Question | None,
    held: pd.DataFrame | None,
) -> pd.DataFrame:  # fmt: skip
    """The runs that could be made: a reader's, or models of a family within the limits.

    Raises:
        FitError: a table of candidates that does not tell what each costs, or of too many.
    """
    if candidates is None:
        assert models is not None
        costs = (
            None if held is None or "train_flops" not in held.columns else as_numbers(held["train_flops"].to_numpy())
        )
        return candidates_of(models, limits, budget, None if question is None else question.flops, costs)
    known, _ = derive(candidates)
    if "train_flops" not in known.columns:
        raise FitError("candidates: what each costs is not known: expected train_flops, or active_params and tokens")
    costs = as_numbers(known["train_flops"].to_numpy())
    if not (np.isfinite(costs) & (costs > 0)).all():
        raise FitError("candidates: train_flops: expected numbers > 0")
    if len(known) > _MOST_CANDIDATES:
        raise FitError(f"candidates: {len(known)} runs, of which at most {_MOST_CANDIDATES} can be weighed")
    return known.drop(columns=list(_OURS), errors="ignore").reset_index(drop=True)
