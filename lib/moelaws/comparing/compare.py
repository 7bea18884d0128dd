"""Laws on the same runs: each at its optimum, each asked for what it has not seen."""

from collections.abc import Iterable, Sequence
from typing import Any, get_args

import numpy as np
import pandas as pd

from moelaws.comparing.comparison import Comparison, Fitter
from moelaws.comparing.contender import Contender, on_trial
from moelaws.comparing.contestants import contestants
from moelaws.comparing.unseen import Unseen, held_out
from moelaws.fitting.engine.descent import FitFailed
from moelaws.fitting.objective import FitError, Objective
from moelaws.laws import Law, LawError
from moelaws.runs import finished
from moelaws.stages import counted


def compare(
    laws: Iterable[Law | str] | Law | str | None,
    runs: pd.DataFrame,
    hold_out: str | Unseen | Sequence[str | Unseen] | None = None,
    fitter: Fitter = "certified",
    **options: Any,
) -> Comparison:
    """Several laws on the same runs: which fits, and which foresees what it has not seen.

    Each law is fitted to all runs, and again to what is left when some are held out, always to its least minimum, so
    that no law wins by its fitter. The test that counts is the second: the form with the least error in the fit is
    often not the one with the least error a budget further on.

    Args:
        laws: laws or their names; ``None`` for every law that the table can identify.
        runs: a run table; runs that did not finish are left out.
        hold_out: ``"budget"`` (the largest; where FLOPs form no budgets, the tenth with the most), ``"sparsity"`` (the
            highest), a condition on rows such as ``"seed == 3"``, or several of these, each held out by itself.
            ``None`` takes the first two as far as the table has them, ``()`` none.
        fitter: ``"published"`` fits each law a second time as its paper did, so that law and fitter can be told apart.
        options: further arguments of ``fit``; the objective is ``lsq-log`` unless given, so that AICc means something.

    Returns:
        The comparison: ``table``, ``predict`` for the laws together, ``plot``; printed, it is what ``moelaws compare``
        says.

    Raises:
        FitError: laws of different targets, no law that can be fitted, or a split that leaves one side empty.
        LawError: a name that no law has.
        FitFailed: every law that could be asked failed.

    Examples:
        >>> import moelaws as ml
        >>> size = np.repeat(np.geomspace(1e7, 1e9, 6), 4)
        >>> tokens = np.tile(np.geomspace(1e9, 1e11, 4), 6)
        >>> noise = np.random.default_rng(0).normal(0, 0.002, size.size)
        >>> loss = (1.7 + 400 / size**0.34 + 410 / tokens**0.28) * np.exp(noise)
        >>> runs = pd.DataFrame({"loss": loss, "total_params": size, "tokens": tokens})
        >>> mine = ml.law_from_formula("mine", "E + A/(N*D)^a", {"N": "total_params", "D": "tokens"})
        >>> found = ml.compare(["hoffmann2022", mine], runs, hold_out="budget")
        >>> found.table["law"].tolist()
        ['hoffmann2022', 'mine']
        >>> bool(found.table["budget_r2"][0] > 0.9)
        True
    """
    if fitter not in get_args(Fitter):
        raise FitError(f"fitter = {fitter!r}: expected one of {', '.join(get_args(Fitter))}")
    options = {"objective": "lsq-log"} | options
    Objective(options["objective"])  # refuses another word, once and not law by law
    runs = finished(runs)
    if runs.empty:
        raise FitError("no finished runs to compare laws on")
    chosen, refused = contestants(laws, runs)
    unseen, missing = held_out(runs, hold_out)
    found: list[Contender] = []
    for law in counted(chosen, "comparing laws", len(chosen)):
        try:
            found.append(on_trial(law, runs, unseen, fitter == "published", **options))
        except (FitError, LawError, FitFailed) as error:
            if len(chosen) == 1:
                raise
            refused[law.name] = str(error)
    if not found:
        raise FitFailed(f"none of {len(chosen)} laws could be fitted; {chosen[0].name}: {refused[chosen[0].name]}")
    found.sort(key=lambda each: _rank(each, unseen[0].name if unseen else ""))
    return Comparison(tuple(found), refused, unseen, missing, len(runs), fitter, runs)


def _rank(each: Contender, split: str) -> tuple[float, float]:
    """By the error on the first split, then by AICc."""
    forecast = each.forecasts.get(split)
    error = 0.0 if forecast is None else np.inf if forecast.quality is None else forecast.quality.rmse_log
    return (error if np.isfinite(error) else np.inf), each.aicc
