"""Which runs next: public ``next_runs``."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from moelaws.choosing.asked import Asked, Question, asked_of
from moelaws.choosing.belief import Belief, Beliefs, Use
from moelaws.choosing.candidates import Limits, Models, models_of
from moelaws.choosing.chosen_runs import More, NextRuns
from moelaws.choosing.greedy import RUNS_A_PARAMETER, Choice, choose
from moelaws.choosing.held_runs import Held, held_runs, offered_runs
from moelaws.choosing.run_places import Frame, Places
from moelaws.fitting.objective import FitError
from moelaws.optimum.family import Family
from moelaws.quote import number_of
from moelaws.runs import derive
from moelaws.runs.numbers import as_numbers
from moelaws.stages import stage

_MORE = 10
"""Further runs whose worth is said."""
_TOLD = 1 / 3
"""Of the noise of a run: what buys less than this of the error is not worth a run."""
_WORTH = 0.005
"""Of the variance: a run that takes less is not proposed, unless runs are too few for the laws' coefficients."""
_REACH = 1.959964
_FAR_CHEAPER = 10.0
"""Times that the dearest run offered may cost less than the cheapest held before this is said."""
_MOST_NAMED = 5
_MOST_CHOSEN = 500


@dataclass(frozen=True)
class ChoosingOptions:
    """How runs are chosen.

    Attributes:
        family: of the models; the table's own, or ``proportional`` without a table, by default.
        discrepancy: ``auto`` puts a process of what a law misses beside each law, ``none`` leaves it out.
        noise: standard deviation of ln L of one run; ``None`` takes what the runs say.
        most: runs at most.
    """

    family: Family | None = None
    discrepancy: Use = "auto"
    noise: float | None = None
    most: int | None = None

    def __post_init__(self) -> None:
        if self.discrepancy not in ("auto", "none"):
            raise FitError(f"discrepancy = {self.discrepancy!r}: expected 'auto' or 'none'")
        if self.noise is not None and not 0 < self.noise < 1:
            raise FitError(f"noise = {self.noise!r}: expected a standard deviation of ln L between 0 and 1")


def next_runs(
    runs: pd.DataFrame | None,
    ask: str | pd.DataFrame,
    budget_left: float,
    limits: Limits | None = None,
    candidates: pd.DataFrame | None = None,
    options: ChoosingOptions | None = None,
) -> NextRuns:
    """The runs that tell most, for their FLOPs, about what is asked, given the runs held.

    Four laws with weak priors, each with a Gaussian process of what it misses, say how sure anything is that is asked;
    what a run would take from that variance needs no outcome of it. Runs are taken one after another, each the one with
    the largest drop per FLOP^gamma, conditioned on those before; of gamma 1/2, 3/4 and 1 the best foretold is kept.

    Args:
        runs: a run table, or ``None`` for a first design from nothing.
        ask: what is to be known: ``"budget=1e21"`` (the loss there), ``"best: budget=1e21"`` (the best E),
            ``"gain: budget=1e21, n_experts=64"`` (over the dense model, or ``over=4``), ``"exponent: budget=1e21"``
            (of the loss with FLOPs), a point (``"active_params=1e9, tokens=2e10, n_experts=8"``), or a table of points.
        budget_left: FLOPs that there are.
        limits: sizes, experts and memory that a reader has, runs at once.
        candidates: runs that could be made, in the columns of a run table; made from family and limits by default.
        options: family, discrepancy, noise.

    Returns:
        The runs, in order, with what each tells; the error foretold before and after them; what ten more would buy.

    Raises:
        FitError: a question that cannot be read, a table without what laws speak of, nothing within the limits.
        RunTableError: no finished run, where a table is given.

    Examples:
        >>> first = next_runs(None, "budget=1e21", 1e20)
        >>> first.held, first.flops <= 1e20, first.after < first.before / 2
        (0, True, True)
        >>> size, flops, e = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e8, 4), [1e17, 1e18], [1.0, 8.0]))
        >>> tokens = flops / 6 / size
        >>> loss = 1.7 + 400 / size**0.34 / e**0.1 + 410 / tokens**0.28
        >>> held = pd.DataFrame({"active_params": size, "total_params": size * e, "tokens": tokens, "n_experts": e,
        ...                      "top_k": 1, "train_flops": flops, "loss": loss})
        >>> found = next_runs(held, "gain: budget=1e20, n_experts=8", 1e20)
        >>> found.after < found.before, float(found.table["cumulative_flops"].iloc[-1]) <= 1e20
        (True, True)
    """
    limits, options = limits or Limits(), options or ChoosingOptions()
    if not 0 < budget_left < np.inf:
        raise FitError(f"budget_left = {budget_left!r}: expected FLOPs, a number > 0")
    held = held_runs(runs)
    table = None if held is None else held.table
    with stage("asking which runs tell most"):
        question = None if isinstance(ask, pd.DataFrame) else Question.of(ask)
        needs_models = candidates is None or question is not None
        models = models_of(table, limits, options.family) if needs_models else None
        pool = offered_runs(candidates, models, limits, budget_left, question, table)
        return _chosen(held, pool, (question, ask), models, (budget_left, limits, options))


def _chosen(
    held: Held | None, pool: pd.DataFrame, asking: tuple[Question | None, str | pd.DataFrame],
    models: Models | None, means: tuple[float, Limits, ChoosingOptions],
) -> NextRuns:  # fmt: skip
    question, ask = asking
    budget, limits, options = means
    known = pool.iloc[:0] if held is None else held.table
    frame = Frame.of(known, pool)
    there = frame.places(known) if len(known) else frame.places(pool)[[]]
    logs = np.log(as_numbers(known["loss"].to_numpy())) if len(known) else np.empty(0)
    beliefs = Beliefs.of(there, logs, options.discrepancy, options.noise)
    if question is None:
        assert isinstance(ask, pd.DataFrame)
        points = derive(ask)[0]
        names = tuple(f"point {i}" for i in range(1, len(points) + 1))
        words = f"the loss at {len(points)} points" if len(points) > 1 else "the loss at a point"
        asked = Asked(words, points, np.eye(len(points)), names, True)
    else:
        assert models is not None
        asked = asked_of(question, models, lambda table: beliefs.forecast(frame.places(table))[0])
    target = (frame.places(asked.points), asked.rows)
    places, costs = frame.places(pool), as_numbers(pool["train_flops"].to_numpy())
    most = min(options.most or _MOST_CHOSEN, _MOST_CHOSEN)
    choice = choose(beliefs.each[0], places, costs, target, budget, most, _WORTH)
    more = _further(beliefs.each[0], (places, costs), target, choice)
    aside = (*_aside(beliefs, held, frame), *_far_cheaper(known, costs))
    return _result(beliefs, asked, target, (pool, choice, more, aside), limits, options)


def _further(
    belief: Belief, pool: tuple[Places, np.ndarray], target: tuple[Places, np.ndarray], choice: Choice
) -> Choice | None:
    """Ten runs beyond those chosen, at the same average cost or less."""
    places, costs = pool
    left = np.setdiff1d(np.arange(len(costs)), choice.order)
    if not len(left) or not len(choice.order):
        return None
    # Their outcome is taken to be what is expected, which changes neither coefficients nor variances.
    seen = places[choice.order]
    logs = np.concatenate([belief.residuals + belief.law.value(belief.theta, belief.held.logs), belief.mean(seen)])
    both = Places(np.concatenate([belief.held.at, seen.at]), np.concatenate([belief.held.logs, seen.logs]))
    value, slopes = belief.law.slopes(belief.theta, both.logs)
    later = replace(
        belief, held=both, residuals=logs - value, slopes=slopes, process=replace(belief.process, points=both.at)
    )
    budget = max(_MORE * float(np.mean(costs[choice.order])), float(costs[left].min()))
    found = choose(later, places[left], costs[left], target, budget, _MORE)
    return Choice(left[found.order], found.variances) if len(found.order) else None


def _result(
    beliefs: Beliefs, asked: Asked, target: tuple[Places, np.ndarray],
    chosen: tuple[pd.DataFrame, Choice, Choice | None, tuple[str, ...]], limits: Limits, options: ChoosingOptions,
) -> NextRuns:  # fmt: skip
    pool, choice, further, aside = chosen
    value, variance = beliefs.forecast(*target)
    # Losses are spoken of in nats; what is foretold is of ln L.
    unit = float(np.exp(value).mean()) if asked.losses else 1.0
    now = float(np.sqrt(variance.mean()))
    # The laws' disagreement is taken to shrink as what each is unsure of.
    errors = unit * now * np.sqrt(choice.variances / choice.variances[0])
    table = pool.iloc[choice.order].reset_index(drop=True)
    order = np.arange(1, len(table) + 1)
    table.insert(0, "next_run", order)
    table.insert(1, "wave", (order - 1) // int(limits.at_once) + 1)
    table["cumulative_flops"] = table["train_flops"].cumsum()
    table["variance_cut"] = 1 - choice.variances[1:] / np.maximum(choice.variances[:-1], 1e-300)
    table["error_after"] = errors[1:]
    more, stop = None, False
    if further is not None:
        last = float(errors[-1] * np.sqrt(further.variances[-1] / max(further.variances[0], 1e-300)))
        cost = float(as_numbers(pool["train_flops"].to_numpy())[further.order].sum())
        more = More(len(further.order), cost, last, float(errors[-1]) - last)
        stop = bool(more.worth < _TOLD * beliefs.noise * unit)
    low, high = value - _REACH * np.sqrt(variance), value + _REACH * np.sqrt(variance)
    ends = (np.exp(each) if asked.losses else each for each in (value, low, high))
    answer = pd.DataFrame(dict(zip(("value", "low", "high"), ends, strict=True)))
    answer.insert(0, "asked", asked.names)
    answer = answer[answer["asked"] != ""].reset_index(drop=True)
    return NextRuns(
        asked.words, table, answer, len(beliefs.each[0].held), float(errors[0]), float(errors[-1]), beliefs.noise,
        more, stop, _said(beliefs, options), (*aside, *_warnings(beliefs, len(table))),
    )  # fmt: skip


def _aside(beliefs: Beliefs, held: Held | None, frame: Frame) -> tuple[str, ...]:
    """What is to be said of the runs that are set aside."""
    if held is None or not beliefs.aside:
        return ()
    runs = held.table.iloc[list(beliefs.aside)]
    expected = beliefs.forecast(frame.places(runs))[0]
    off = np.log(as_numbers(runs["loss"].to_numpy())) - expected
    said = [f"row {held.rows[i]} ({100 * each:.2g} %)" for i, each in zip(beliefs.aside, off, strict=True)]
    listed = ", ".join(said[:_MOST_NAMED]) + (" and others" if len(said) > _MOST_NAMED else "")
    one = len(said) == 1
    return (
        f"{len(said)} run{'' if one else 's'} set aside, with a loss far above what all others foretell under every"
        f" law: {listed}. {'Was it' if one else 'Were they'} spoilt?",
    )


def _far_cheaper(known: pd.DataFrame, costs: np.ndarray) -> tuple[str, ...]:
    """What is to be said where every run offered is far cheaper than all that are held."""
    held = as_numbers(known["train_flops"].to_numpy()) if "train_flops" in known else np.empty(0)
    least = float(held[held > 0].min(initial=np.inf))
    times = least / float(costs.max())
    if not _FAR_CHEAPER < times < np.inf:
        return ()
    return (
        f"each run offered costs at most {costs.max():.3g} FLOPs, {times:.0f} times less than the cheapest of the table"
        f" ({least:.3g}): laws are asked far below their runs",
    )


def _said(beliefs: Beliefs, options: ChoosingOptions) -> str:
    laws = f"{len(beliefs.each)} laws with weak priors"
    noise = f"a run scatters by {100 * beliefs.noise:.2g} % of its loss"
    if options.discrepancy == "none":
        return f"Asked of {laws} alone; {noise}."
    sd = beliefs.each[0].process.sd
    return f"Asked of {laws}, beside each a process of {100 * sd:.2g} % of the loss for what it misses; {noise}."


def _warnings(beliefs: Beliefs, chosen: int) -> tuple[str, ...]:
    parameters = len(beliefs.each[0].theta)
    held = len(beliefs.each[0].held)
    found = []
    if held + chosen < RUNS_A_PARAMETER * parameters:
        found.append(
            f"{number_of(held + chosen, 'run')}, held and chosen, for {parameters} parameters: below"
            f" {RUNS_A_PARAMETER} runs a parameter a forecast is mostly what was"
            " believed before, and its error is foretold too small."
        )
    return tuple(found)
