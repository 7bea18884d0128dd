"""One law on trial: fitted to all runs, and to what is left when some are held out, which it then has to foresee."""

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from moelaws.comparing.paper_fits import fit_as_published
from moelaws.comparing.unseen import Unseen
from moelaws.fitting.engine.descent import FitFailed
from moelaws.fitting.engine.starts import dispersed
from moelaws.fitting.fit import default_starts, fit
from moelaws.fitting.foresight import OpenDesignWarning
from moelaws.fitting.objective import FitError
from moelaws.fitting.quality import Quality, quality
from moelaws.fitting.result import FitResult
from moelaws.fitting.selection import aicc
from moelaws.fitting.table import complete
from moelaws.laws import Law, LawError

_STARTS_AGAIN = 0.25
"""Starts of a fit to part of the runs, as a share of those of the fit to all, whose optimum is among them."""


@dataclass(frozen=True)
class Forecast:
    """What a law foresaw of runs that it had not seen.

    Attributes:
        quality: its measures on them; ``None`` where it could not be fitted to the rest.
        coverage: share of them inside the 95 % intervals of a new run.
        result: the fit to the others.
        why: why there is none.
    """

    quality: Quality | None = None
    coverage: float = np.nan
    result: FitResult | None = field(default=None, repr=False)
    why: str = ""


@dataclass(frozen=True)
class Contender:
    """A law on trial.

    Attributes:
        law: the law.
        result: its fit to all runs, at the optimum.
        forecasts: name of a split -> what it foresaw of it.
        published: the same by the fitter of its paper, where that was asked for.
        seconds: of the processor, for all of it.
    """

    law: Law
    result: FitResult
    forecasts: Mapping[str, Forecast]
    seconds: float
    published: "Contender | None" = None

    @property
    def parameters(self) -> int:
        """How many were fitted."""
        return len(self.result.params) - len(self.result.origin.fixed)

    @property
    def aicc(self) -> float:
        """See ``moelaws.fitting.selection.aicc``."""
        return aicc(self.result)


def on_trial(law: Law, runs: pd.DataFrame, unseen: Sequence[Unseen], as_published: bool, **options: Any) -> Contender:
    """Fit a law and let it forecast.

    Args:
        law: the law.
        runs: finished runs.
        unseen: what is held out, one after the other.
        as_published: fit as its paper did, too.
        options: further arguments of ``fit``.

    Raises:
        FitError, LawError, FitFailed: the law cannot be fitted to these runs.
    """
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OpenDesignWarning)  # the result keeps it, and its status says so
        result = fit(law, runs, **options)
        again = options if "starts" in options else options | {"starts": _known_starts(result)}
        forecasts = {each.name: _forecast(law, runs, each, lambda kept: fit(law, kept, **again)) for each in unseen}
        ours = Contender(law, result, forecasts, time.process_time() - began)
        if not as_published:
            return ours
        began = time.process_time()
        result = fit_as_published(law, runs)
        forecasts = {each.name: _forecast(law, runs, each, lambda kept: fit_as_published(law, kept)) for each in unseen}
    theirs = Contender(law, result, forecasts, time.process_time() - began)
    return Contender(law, ours.result, ours.forecasts, ours.seconds, theirs)


def _known_starts(result: FitResult) -> np.ndarray:
    """The optimum of all runs, and others: that of most of them need not be near, but it often is."""
    problem = result.solved.problem
    count = max(16, int(_STARTS_AGAIN * default_starts(problem)))
    return np.concatenate([result.solved.theta[None], dispersed(problem, count, np.random.default_rng(0))])


def _forecast(law: Law, runs: pd.DataFrame, unseen: Unseen, fitted: Any) -> Forecast:
    try:
        result = fitted(runs[~unseen.out])
    except (FitError, LawError, FitFailed) as error:
        return Forecast(why=str(error))
    new = complete(law, runs[unseen.out])[0]
    with np.errstate(all="ignore"):
        measured = quality(law, result.params, new)
        band = result.predict(new, interval="run")
    observed = new[law.target].to_numpy(float)
    inside = (band["low"].to_numpy() <= observed) & (observed <= band["high"].to_numpy())
    return Forecast(measured, float(inside.mean()), result)
