"""How many times the compute one configuration is worth beside another: read from runs, or as a law has it."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from moelaws import __version__
from moelaws.comparing.configuration import DENSE, Configuration, CurveOptions, best_losses
from moelaws.comparing.wall_time import Pace, pace_of
from moelaws.fitting.objective import FitError
from moelaws.fitting.result import FitResult
from moelaws.fitting.result_parts import LEVEL
from moelaws.optimum.allocation import Estimate
from moelaws.optimum.forecaster import Forecaster
from moelaws.pacing.step_model import StepError, StepModel
from moelaws.pacing.timed_runs import predict_seconds
from moelaws.runs import finished
from moelaws.surfaces.budget import check, completed
from moelaws.surfaces.nominal import equal_budgets

_DRAWS = 4000
_FINE = 400
_FARTHEST = 10.0
"""Times the largest budget up to which the losses of a configuration are continued."""
_NORMAL = 1.959964
_NEVER = 1e6


@dataclass(frozen=True, repr=False)
class Speedup:
    """A compute multiplier.

    Attributes:
        budget: C of the first configuration, in training FLOPs.
        of, over: the two configurations, in words.
        flops: how many times as many training FLOPs the second one needs for the same loss, both at their best size.
        seconds: the same in seconds of training; ``None`` where no times are known.
        seconds_why: how the seconds were found, or why there are none.
        method: ``observed`` (from the best losses at each budget), or the law.
        extrapolated: whether the second configuration would have to be trained beyond its largest budget.
        level: of the intervals.
        losses: the best losses of both, one row a configuration and budget; empty for a law.
        notes: what else is to be known.
    """

    budget: float
    of: str
    over: str
    flops: Estimate
    seconds: Estimate | None
    seconds_why: str
    method: str
    extrapolated: bool
    level: float = LEVEL
    losses: pd.DataFrame = field(default_factory=pd.DataFrame)
    notes: tuple[str, ...] = ()

    def plot(self) -> Any:
        """An Altair chart: best losses against the budget, and the gap that the multiplier measures.

        Raises:
            FitError: a multiplier of a law, which has no observed losses.
        """
        from moelaws.charts.pictures.multiplier import best_loss_by_budget

        if self.losses.empty:
            raise FitError("a law's multiplier has no observed losses to draw")
        return best_loss_by_budget(self.losses, self.budget, self.flops.value, (self.of, self.over))

    def to_dict(self) -> dict[str, Any]:
        """Plain values: what ``moelaws speedup --json`` writes, as ``data/speedup.schema.json`` has it."""
        return {
            "budget": self.budget,
            "of": self.of,
            "over": self.over,
            "method": self.method,
            "level": self.level,
            "flops": vars(self.flops),
            "seconds": None if self.seconds is None else vars(self.seconds),
            "seconds_why": self.seconds_why,
            "extrapolated": self.extrapolated,
            "losses": self.losses.to_dict("records"),
            "notes": list(self.notes),
            "versions": {"moelaws": __version__, "numpy": np.__version__},
        }

    def __str__(self) -> str:
        how = "as read from the runs" if self.method == "observed" else f"by {self.method}"
        lines = [
            f"{self.of} at {self.budget:.4g} training FLOPs is worth {_told(self.flops, self.level)} times the FLOPs of"
            f" {self.over}, both at their best size, {how}"
        ]
        if self.extrapolated:
            lines.append(f"{self.over} was not trained that far: its losses are continued beyond the largest budget")
        lines.append(
            f"in seconds: {self.seconds_why}" if self.seconds is None
            else f"in seconds: {_told(self.seconds, self.level)} times; {self.seconds_why}"
        )  # fmt: skip
        return "\n".join((*lines, *self.notes))

    __repr__ = __str__


def speedup(
    runs: pd.DataFrame | FitResult | Forecaster,
    budget: float,
    of: str | int,
    over: str | int = DENSE,
    level: float = LEVEL,
    options: CurveOptions | None = None,
    timed: pd.DataFrame | StepModel | None = None,
) -> Speedup:
    """How many times the training FLOPs one configuration needs to match another, both at their best size.

    From a run table nothing is assumed but smoothness: at each budget a curve through the sizes of a configuration
    gives its best loss; between budgets ln L is interpolated in ln C, and continued up to ten times the largest one.
    From a fit, or a forecaster, the law answers, with the doubt about its coefficients and none about its form.

    Args:
        runs: a run table; or a fitted law, or a forecaster.
        budget: C of the first configuration, in training FLOPs.
        of: the first: E, ``"64,2"`` (E and K), ``"dense"``, or a condition on rows such as ``"router == 'Hash'"``.
        over: the second, that it is measured against.
        level: of the intervals.
        options: how the curves are fitted.
        timed: what the speeds are taken from: a table of runs with ``seconds``, or a device's steps (``step_model``),
            by which the seconds of these runs are foreseen; by default the runs themselves, as they were timed.

    Returns:
        The multiplier, with intervals: in FLOPs, and in seconds where times are known.

    Raises:
        FitError: no budgets, no such configuration, a budget outside those run, or none at which it has an optimum.
        OptimumError: a law that has no answer.
        StepError: a device's steps for a law, or for a table that does not tell its models' shape.

    Examples:
        >>> import moelaws as ml
        >>> found = ml.speedup(ml.Forecaster("abnar2025"), 1e20, of=8)
        >>> round(found.flops.value, 1)
        2.6

        The same in seconds of a device, from runs that were made on another:

        >>> study = ml.speedup(ml.datasets.load("isoflop"), 1e13, of=16, timed=ml.step_model("h200"))
        >>> study.seconds.value < 1 < study.flops.value
        True
    """
    if not 0 < level < 1:
        raise FitError(f"level = {level}: expected a number between 0 and 1")
    first, second = Configuration.read(of), Configuration.read(over)
    if not isinstance(runs, pd.DataFrame):
        if isinstance(timed, StepModel):
            raise StepError("a law knows sizes and not shapes: a device's seconds are those of a run table's models")
        return _of_law(Forecaster(runs) if isinstance(runs, FitResult) else runs, budget, first, second, level)
    options = options or CurveOptions()
    ended, _ = completed(finished(runs))
    check(ended, options.variable)
    sorted_runs = equal_budgets(ended, options.variable)
    curves = [best_losses(ended, sorted_runs, each, options) for each in (first, second)]
    known = [_with_ends(curve[curve["why"] == ""], budget) for curve in curves]
    for each, curve, used in zip((first, second), curves, known, strict=True):
        if len(used) < 2:
            why = next((f" ({each_why})" for each_why in _without_optimum(curve)), "")
            raise FitError(f"{each.words} has an optimum at {len(used)} budgets, of which two are needed{why}")
    # Where a loss has no interval the draws below mean nothing, and are taken away again.
    rng = np.random.default_rng(options.seed)
    target = _losses_at(known[0], budget, first, rng)
    ratio = _least_budget(known[1], target, rng) / budget
    if not np.isfinite(ratio[0]):
        raise FitError(f"{second.words} does not reach the loss of {first.words} at {_FARTHEST:g} times its budgets")
    if any(curve["low"].isna().any() for curve in known):
        ratio = np.where(np.arange(len(ratio)) == 0, ratio, np.nan)  # some loss is known without an interval
    flops = _estimate(ratio, level)
    notes = [
        f"{each.words}: no optimum at {why}"
        for each, curve in zip((first, second), curves, strict=True)
        for why in _without_optimum(curve)
    ]
    how = ended if timed is None else predict_seconds(ended, timed) if isinstance(timed, StepModel) else finished(timed)
    source = f"as foreseen on {timed}" if isinstance(timed, StepModel) else "as these runs were timed"
    seconds, why = _in_seconds(how, (first, second), known, budget, ratio, level)
    both = [curve.assign(configuration=each.words) for curve, each in zip(curves, (first, second), strict=True)]
    return Speedup(
        budget, first.words, second.words, flops, seconds, why if seconds is None else f"{why}, {source}", "observed",
        bool(flops.value * budget > known[1]["budget"].max() * 1.02), level, pd.concat(both, ignore_index=True),
        tuple(notes),
    )  # fmt: skip


def _without_optimum(curve: pd.DataFrame) -> list[str]:
    """Budgets at which a configuration has no optimum, and why."""
    none = curve[curve["why"] != ""]
    return [f"{budget:.4g} FLOPs: {why}" for budget, why in zip(none["budget"], none["why"], strict=True)]


def _of_law(law: Forecaster, budget: float, first: Configuration, second: Configuration, level: float) -> Speedup:
    for each in (first, second):
        if each.n_experts is None:
            raise FitError(f"a law knows configurations by E and K, not by {each.words!r}")
    experts, other = float(first.n_experts or 1), float(second.n_experts or 1)
    found = law.speedup(budget, experts, first.top_k or 1, (other, second.top_k or 1), level)
    # Beyond, a law says that the other never gets there.
    found = replace(found, high=np.inf) if found.high > _NEVER else found
    least, most = law.budgets
    far = budget * found.value > most * 1.02 or budget < least / 1.02
    why = "a law counts FLOPs; times come from a run table"
    notes = (f"sizes and FLOPs of its models: family '{law.family.name}'", *filter(None, (law.discrepancy,)))
    return Speedup(budget, first.words, second.words, found, None, why, law.law.name, far, level, notes=notes)


def _losses_at(curve: pd.DataFrame, budget: float, chosen: Configuration, rng: np.random.Generator) -> np.ndarray:
    """ln L* at a budget: as found, and as drawn, [1 + draws]."""
    budgets = curve["budget"].to_numpy()
    if not budgets[0] / 1.02 <= budget <= budgets[-1] * 1.02:
        raise FitError(
            f"{chosen.words} has optima from {budgets[0]:.4g} to {budgets[-1]:.4g} FLOPs; {budget:.4g} is outside"
        )
    grid, losses = _continued(curve, rng)
    at = np.log(budget)
    place = int(np.clip(np.searchsorted(grid, at) - 1, 0, len(grid) - 2))
    share = (at - grid[place]) / (grid[place + 1] - grid[place])
    found: np.ndarray = losses[place] + share * (losses[place + 1] - losses[place])
    return found


def _least_budget(curve: pd.DataFrame, target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The least budget at which each drawn curve reaches its target; infinite where it does not."""
    grid, losses = _continued(curve, rng)
    below = losses <= target
    first = np.argmax(below, axis=0)
    reached, at_once = below.any(axis=0), first == 0
    after = np.clip(first, 1, len(grid) - 1)
    column = np.arange(losses.shape[1])
    high, low = losses[after - 1, column], losses[after, column]
    share = np.clip((high - target) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    log_c = np.where(at_once, grid[0], grid[after - 1] + share * (grid[after] - grid[after - 1]))
    return np.where(reached, np.exp(log_c), np.inf)


def _continued(curve: pd.DataFrame, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """ln C, and ln L* there: as found and as drawn from its intervals, [grid, 1 + draws].

    Between budgets the interpolation is monotone where the losses are; beyond them it goes on as a power law through
    the last two (first two) budgets, each draw through its own.
    """
    from scipy.interpolate import PchipInterpolator  # not above: most of what imports this has no use for it

    x, loss = np.log(curve["budget"].to_numpy()), curve["loss"].to_numpy()
    error = np.fmax(curve["high"] - loss, loss - curve["low"]).to_numpy() / _NORMAL / loss
    drawn = np.log(loss)[:, None] + np.nan_to_num(error)[:, None] * rng.standard_normal((len(x), _DRAWS))
    y = np.concatenate([np.log(loss)[:, None], drawn], axis=1)
    reach = np.log(_FARTHEST)
    ends = [y[i] + (y[i] - y[j]) / (x[i] - x[j]) * side * reach for i, j, side in ((0, 1, -1), (-1, -2, 1))]
    inner = np.linspace(x[0], x[-1], _FINE)
    if len(x) > 2:
        middle = PchipInterpolator(x, y, axis=0)(inner)
    else:
        middle = y[0] + (inner[:, None] - x[0]) / (x[1] - x[0]) * (y[1] - y[0])
    grid = np.concatenate([[x[0] - reach], inner, np.linspace(x[-1], x[-1] + reach, _FINE)[1:]])
    beyond = np.linspace(0, 1, _FINE)[1:, None] * (ends[1] - y[-1]) + y[-1]
    return grid, np.concatenate([ends[0][None], middle, beyond])


def _with_ends(known: pd.DataFrame, budget: float) -> pd.DataFrame:
    """The budgets at which the best loss has an interval, where they suffice; else all."""
    sure = known.dropna(subset=["low", "high"])
    enough = len(sure) >= 2 and sure["budget"].min() <= budget * 1.02 and sure["budget"].max() >= budget / 1.02
    return sure if enough else known


def _told(found: Estimate, level: float) -> str:
    if np.isnan(found.low):
        return f"{found.value:.3g} (no interval: curves through as many sizes as they have coefficients)"
    low, high = (f"{end:.3g}" if np.isfinite(end) else "no end" for end in (found.low, found.high))
    return f"{found.value:.3g} ({100 * level:g} %: {low} to {high})"


def _estimate(draws: np.ndarray, level: float) -> Estimate:
    if np.isnan(draws[1:]).any():
        return Estimate(float(draws[0]), float("nan"), float("nan"))
    low, high = np.quantile(draws[1:], [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return Estimate(float(draws[0]), float(low), float(high))


def _in_seconds(
    timed: pd.DataFrame, both: tuple[Configuration, Configuration], known: list[pd.DataFrame], budget: float,
    ratio: np.ndarray, level: float,
) -> tuple[Estimate | None, str]:  # fmt: skip
    paces: list[Pace] = []
    for each, curve, flops in zip(both, known, (budget, budget * ratio[0]), strict=True):
        found = pace_of(timed, each, curve, flops)
        if isinstance(found, str):
            return None, found
        paces.append(found)
    machines = {each.machine for each in paces}
    if len(machines) > 1:
        return None, f"none: {both[0].words} and {both[1].words} were timed on different machines"
    rng = np.random.default_rng(1)
    noise = np.hypot(paces[0].error, paces[1].error)
    scatter = np.concatenate([[0.0], noise * rng.standard_normal(len(ratio) - 1)])
    speeds = paces[0].flops_per_second / paces[1].flops_per_second
    return _estimate(ratio * speeds * np.exp(scatter), level), (
        f"{both[0].words} trains at {speeds:.2f} times the FLOP/s of {both[1].words}"
    )
