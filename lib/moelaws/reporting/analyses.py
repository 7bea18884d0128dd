"""Everything that a page asks of a table, each question once; what has no answer says why."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from moelaws.choosing.chosen_runs import NextRuns
from moelaws.choosing.next_runs import ChoosingOptions, next_runs
from moelaws.comparing.compare import compare
from moelaws.comparing.comparison import Comparison
from moelaws.comparing.compute_multiplier import Speedup
from moelaws.comparing.configuration import DENSE, CurveOptions
from moelaws.comparing.speedup import speedup
from moelaws.comparing.unseen import Unseen
from moelaws.fitting.engine.descent import FitFailed
from moelaws.fitting.result import FitResult
from moelaws.laws import Law
from moelaws.optimum.allocation import Allocation
from moelaws.optimum.forecaster import Forecaster
from moelaws.optimum.run_family import family_of_runs
from moelaws.runs import RunTableError, derive, finished, pooled_noise, seed_spread
from moelaws.stages import stage
from moelaws.surfaces.analysis import isoflop
from moelaws.surfaces.report.isoflop_result import IsoflopResult
from moelaws.surfaces.standing import FOUND

Answer = TypeVar("Answer")

_POINT = (
    "budget", "corpus", "d_model", "n_layers", "total_params", "active_params", "dense_params", "tokens", "train_flops",
    "n_experts", "top_k", "granularity", "sparsity", "learning_rate", "batch_sequences",
)  # fmt: skip
"""Columns that say which point of a design a run belongs to, in a table of anybody's."""
_NEXT, _PART, _NEXT_RUNS = 3.0, 0.1, 8
"""Times the largest run that the next ones are to tell about, share of the FLOPs spent so far, and how many at most."""
_KNOWN_BY = {
    "train_flops": "training FLOPs", "active_params": "active parameters", "total_params": "total parameters",
    "tokens": "training tokens", "n_experts": "numbers of experts",
    "top_k": "experts for a token (--map top_k=1 says it for all)",
}  # fmt: skip
_VANISHED = 1e-30
"""Below this nothing that a law is made of is told from 0."""
_AHEAD = (1.0, 3.0, 10.0)
"""Times the largest budget at which optima are foretold."""


@dataclass(frozen=True)
class ReportOptions:
    """How much a page asks.

    Attributes:
        bootstrap: refits of each surface.
        hold_out: see ``compare``.
        seed: of all that is drawn.
        variable: the column of sizes; the first of N_a and N that the table has.
        laws: to compare; ``None`` for every law that the table can identify.
    """

    bootstrap: int = 300
    hold_out: tuple[str | Unseen, ...] | None = None
    seed: int = 0
    variable: str = ""
    laws: tuple[Law | str, ...] | None = None


@dataclass(frozen=True)
class Analyses:
    """What was asked, and what came of it.

    Attributes:
        runs: the finished runs, with the columns that follow from others.
        all_rows: how many rows there are, finished or not.
        derived: column -> formula.
        variable: the column of sizes.
        spread: design points with several runs, see ``seed_spread``.
        noise: standard deviation of one run's loss between these; nan without.
        surfaces, comparison, optima, gains: the answers; ``None`` where there is none.
        law: the law that the optima are of.
        following: the runs to make next.
        why: question -> why it has no answer.
    """

    runs: pd.DataFrame
    all_rows: int
    derived: dict[str, str]
    variable: str
    spread: pd.DataFrame
    noise: float
    surfaces: IsoflopResult | None = None
    comparison: Comparison | None = None
    law: FitResult | None = None
    optima: tuple[Allocation, ...] = ()
    gains: tuple[Speedup, ...] = ()
    following: NextRuns | None = None
    why: dict[str, str] = field(default_factory=dict)

    @property
    def budgets(self) -> list[float]:
        """Budgets of the table, as the analysis of surfaces sorted its runs.

        None where most runs share their FLOPs with too few others for a curve: then no budget was planned, and equal
        products of sizes and tokens are chance.
        """
        found = [] if self.surfaces is None else list(self.surfaces.budgets)
        planned = sum(each.runs for each in found if each.surface is not None)
        return [each.flops for each in found] if 2 * planned >= len(self.runs) and found else []


def analyses_of(table: pd.DataFrame, options: ReportOptions) -> Analyses:
    """Ask a table everything.

    Args:
        table: a run table.
        options: how much.

    Raises:
        RunTableError: no finished run, or a word for the status that says too little.
    """
    ended = finished(table)
    if ended.empty:
        raise RunTableError(f"none of {len(table)} runs finished: there is nothing to report")
    # A column of nothing but empty cells says nothing.
    runs, derived = derive(ended.drop(columns=[name for name in ended.columns if ended[name].isna().all()]))
    why: dict[str, str] = {}
    variable = options.variable or next((n for n in ("active_params", "total_params") if n in runs.columns), "")
    spread = (
        seed_spread(runs, [name for name in _POINT if name in runs.columns]) if _has_points(runs) else pd.DataFrame()
    )
    noise = pooled_noise(spread) if len(spread) else float("nan")
    surfaces = None
    if variable:
        surfaces = _asked("surfaces", why, lambda: isoflop(runs, variable, (), (), options.bootstrap, options.seed))
    else:
        why["surfaces"] = "the table has no sizes (active_params or total_params)"
    comparison = _asked("laws", why, lambda: compare(options.laws, runs, options.hold_out))
    law = None if comparison is None else _planner(comparison)
    if law is None and comparison is not None:
        why["optima"] = "none of the laws knows sizes and tokens, so none can choose between them under a budget"
    elif law is None:
        why["optima"] = "no law could be fitted"
    optima = () if law is None else _asked("optima", why, lambda: _optima(law, runs)) or ()
    gains = _asked("gains", why, lambda: _gains(runs, surfaces, variable, options)) or ()
    following = _asked("next", why, lambda: _following(runs))
    return Analyses(
        runs, len(table), derived, variable, spread, noise, surfaces, comparison, law, optima, gains, following,
        why,
    )  # fmt: skip


def _asked(question: str, why: dict[str, str], answer: Callable[[], Answer]) -> Answer | None:
    """An answer; where there is none, the reason is kept. Every complaint about a table is a ValueError of ours."""
    with stage(question):
        try:
            return answer()
        except (ValueError, FitFailed) as error:
            why[question] = str(error)
            return None


def _has_points(runs: pd.DataFrame) -> bool:
    return len(runs) > 0 and "loss" in runs.columns and any(name in runs.columns for name in _POINT)


def _planner(found: Comparison) -> FitResult | None:
    """The law that foresees best of those that can choose sizes under a budget: it knows a size and tokens."""
    for each in found.contenders:
        columns = {name for variable in each.law.variables for name in variable.columns}
        if columns & {"tokens", "train_flops"} and columns & {"total_params", "active_params", "dense_params"}:
            return each.result
    return None


def _optima(law: FitResult, runs: pd.DataFrame) -> tuple[Allocation, ...]:
    family = family_of_runs(runs)
    if family is None:
        raise ValueError(_lacking(runs))
    forecaster = Forecaster(law, family=family)
    experts = sorted(float(e) for e in runs["n_experts"].unique()) if "n_experts" in runs.columns else [1.0]
    top_k = float(runs["top_k"].mode().iloc[0]) if "top_k" in runs.columns else 1.0
    largest = float(runs["train_flops"].max()) if "train_flops" in runs.columns else float(runs["budget"].max())
    if "budget" in runs.columns and runs["budget"].notna().any():
        largest = float(runs["budget"].max())
    return tuple(forecaster.best(times * largest, experts, top_k) for times in _AHEAD)


def _lacking(runs: pd.DataFrame) -> str:
    """Which of the numbers that a model is known by a table does not tell."""
    lacks = [words for name, words in _KNOWN_BY.items() if name not in runs.columns]
    if not lacks:
        return "the runs do not tell how size and FLOPs of a model follow from each other"
    return f"the table does not tell {', '.join(lacks[:-1])}{' and ' * (len(lacks) > 1)}{lacks[-1]}"


def _following(runs: pd.DataFrame) -> NextRuns:
    """The runs that tell most about a budget that is some times the largest, for a part of what was spent."""
    if "train_flops" not in runs.columns or family_of_runs(runs) is None:
        raise ValueError(_lacking(runs))
    flops = pd.to_numeric(runs["train_flops"], errors="coerce")
    largest, spent = float(flops.max()), float(flops.sum())
    left = max(_PART * spent, largest)
    return next_runs(runs, f"budget={_NEXT * largest:.3g}", left, options=ChoosingOptions(most=_NEXT_RUNS))


def _gains(
    runs: pd.DataFrame, surfaces: IsoflopResult | None, variable: str, options: ReportOptions
) -> tuple[Speedup, ...]:
    """What the most experts are worth over the fewest, at the largest budget at which both have an optimum."""
    if surfaces is None or "n_experts" not in runs.columns or "top_k" not in runs.columns:
        raise ValueError(_lacking(runs))
    counts = sorted(int(e) for e in runs["n_experts"].dropna().unique())
    if len(counts) < 2:
        raise ValueError("the runs have one number of experts")
    known = surfaces.optima
    known = known[known["status"].isin(FOUND)]
    if known.empty:
        raise ValueError("no budget and sparsity has an optimum")
    curves = CurveOptions(variable or "total_params", min(options.bootstrap, 300), options.seed)
    over = DENSE if counts[0] == 1 else str(counts[0])
    first: ValueError | None = None
    for experts in reversed(counts[1:]):
        for budget in sorted(known["budget"].unique(), reverse=True):
            try:
                return (speedup(runs, float(budget), experts, over, options=curves),)
            except ValueError as missing:
                first = first or missing
    raise first or ValueError("no two configurations have optima at one budget")


def open_parameters(result: FitResult) -> list[str]:
    """Parameters that the runs do not pin down."""
    return [name for name, known in result.identified.items() if not known]


def number(value: Any, form: str = ".4g") -> str:
    """A number on the page; nothing for what is none, and 0 for what a search left of a term that vanished."""
    value = float("nan") if value is None else float(value)
    value = 0.0 if abs(value) < _VANISHED else value
    return f"{value:{form}}" if np.isfinite(value) else ""


def interval(low: Any, high: Any, form: str = ".4g") -> str:
    """An interval on the page; empty without."""
    low, high = (float("nan") if end is None else float(end) for end in (low, high))
    if np.isnan(low) or np.isnan(high):
        return ""
    return f"{low:{form}} to {high:{form}}" if np.isfinite(high) else f"from {low:{form}}"
