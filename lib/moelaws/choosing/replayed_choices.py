"""Choices tried on runs that were made long ago: each strategy spends a share of the FLOPs, and forecasts the rest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moelaws.choosing.belief import Belief, Beliefs, Use
from moelaws.choosing.greedy import choose
from moelaws.choosing.run_places import Frame, Places
from moelaws.choosing.weak_laws import weak_laws
from moelaws.fitting.objective import FitError
from moelaws.quote import number_of
from moelaws.runs import derive, finished, select
from moelaws.runs.numbers import as_numbers
from moelaws.stages import counted

STRATEGIES = ("designed", "random", "cheapest first", "grid", "D-optimal")
SHARES = (0.01, 0.05, 0.1, 0.25)
_LEVEL = np.log(1.5)
"""FLOPs further apart than this are of two budgets."""
_REACH = 1.959964


@dataclass(frozen=True)
class ReplayOptions:
    """How choices are tried.

    Attributes:
        replays: how often, each on other runs.
        withheld: share of the runs that a replay does not have.
        start: condition on the runs that are held from the beginning, as in ``"budget <= 3e11"``; empty for none.
        discrepancy: see ``next_runs``.
        seed: of what is withheld, and of the random strategy.
    """

    replays: int = 30
    withheld: float = 0.15
    start: str = ""
    discrepancy: Use = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.replays >= 1 and 0 <= self.withheld < 1):
            raise FitError("replay: expected one replay or more, and a share withheld from 0 to below 1")


@dataclass(frozen=True, eq=False)
class _Board:
    """What a replay is played on."""

    places: Places
    logs: np.ndarray
    costs: np.ndarray
    target: np.ndarray


def replay_choices(
    runs: pd.DataFrame,
    ask: str,
    shares: Sequence[float] = SHARES,
    strategies: Sequence[str] = STRATEGIES,
    options: ReplayOptions | None = None,
) -> pd.DataFrame:
    """How well runs chosen in several ways foretell others, tried on a table of finished runs.

    Strategies: ``designed`` as ``next_runs`` chooses; ``random``; ``cheapest first``; ``grid``, the usual design, one
    budget after another from the smallest, each filled evenly; ``D-optimal``, the run that is known least, whatever it
    costs. All forecast by the same laws. Only the designed one knows what is asked.

    Args:
        runs: a run table.
        ask: condition on the runs that are to be foretold, as in ``"budget == 1e13"``; the others can be chosen.
        shares: of the FLOPs of all runs that can be chosen.
        strategies: which, of ``STRATEGIES``.
        options: how often, what is withheld, what is held from the beginning.

    Returns:
        One row a replay, strategy and share: ``runs`` chosen, ``flops``, ``rmse_log`` (error of ln L of the runs
        asked), ``r2`` (of L), ``coverage`` (of bands of 95 %), ``foretold`` (the error as it was foretold).

    Raises:
        FitError: no run to foretell or to choose from, an unknown strategy, a share beyond 1.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> size, flops = np.exp(rng.uniform(16, 19, 60)), np.exp(rng.uniform(41, 46, 60))
        >>> loss = 1.7 + 400 / size**0.34 + 410 / (flops / 6 / size) ** 0.28
        >>> table = pd.DataFrame({"active_params": size, "train_flops": flops, "loss": loss})
        >>> found = replay_choices(table, "train_flops > 4e19", (0.2,), ("designed", "grid"), ReplayOptions(3))
        >>> found["strategy"].tolist()[:2], bool(found["rmse_log"].max() < 0.1)
        (['designed', 'grid'], True)
    """
    options = options or ReplayOptions()
    if unknown := [name for name in strategies if name not in STRATEGIES]:
        raise FitError(f"replay: no strategy {unknown[0]!r}; there are {', '.join(STRATEGIES)}")
    if not all(0 < share <= 1 for share in shares):
        raise FitError("replay: a share of the FLOPs is above 0 and at most 1")
    known = derive(finished(runs))[0].reset_index(drop=True)
    asked = select(known, {"": ask}).runs.index.to_numpy()
    others = np.setdiff1d(known.index.to_numpy(), asked)
    if not len(asked) or len(others) < 2:
        raise FitError(f"replay: {number_of(len(asked), 'run')} to foretell and {len(others)} to choose from")
    frame = Frame.of(known.iloc[others])
    board = _Board(
        frame.places(known), np.log(as_numbers(known["loss"].to_numpy())), as_numbers(known["train_flops"].to_numpy()),
        asked,
    )  # fmt: skip
    start = select(known, {"": options.start}).runs.index.to_numpy() if options.start else np.empty(0, int)
    rows = []
    for number in counted(range(options.replays), "replaying choices", options.replays):
        rng = np.random.default_rng([options.seed, number])
        kept = round((1 - options.withheld) * len(others))
        pool = np.sort(rng.choice(others, max(kept, 2), replace=False))
        held = np.intersect1d(pool, start)
        free = np.setdiff1d(pool, held)
        for share in shares:
            budget = share * float(board.costs[pool].sum())
            for name in strategies:
                chosen = _BY_NAME[name](board, held, free, budget, (rng, options.discrepancy))
                rows.append(
                    {"replay": number, "strategy": name, "share": share, **_scored(board, held, chosen, options)}
                )
    return pd.DataFrame(rows)


def _scored(board: _Board, held: np.ndarray, chosen: np.ndarray, options: ReplayOptions) -> dict[str, float]:
    has = np.concatenate([held, chosen]).astype(int)
    beliefs = Beliefs.of(board.places[has], board.logs[has], options.discrepancy)
    mean, variance = beliefs.forecast(board.places[board.target])
    seen = board.logs[board.target]
    apart = np.exp(seen) - np.exp(seen).mean()
    spread = float(apart @ apart)
    left = np.exp(mean) - np.exp(seen)
    return {
        "runs": len(chosen),
        "flops": float(board.costs[chosen].sum()),
        "rmse_log": float(np.sqrt(np.mean((mean - seen) ** 2))),
        "r2": 1 - float(left @ left) / spread if spread else float("nan"),
        "coverage": float(np.mean(np.abs(mean - seen) < _REACH * np.sqrt(variance + beliefs.noise**2))),
        "foretold": float(np.sqrt(variance.mean())),
    }


_More = tuple[np.random.Generator, Use]


def _designed(board: _Board, held: np.ndarray, free: np.ndarray, budget: float, more: _More) -> np.ndarray:
    belief = _belief(board, held, more[1])
    target = (board.places[board.target], np.eye(len(board.target)))
    return np.asarray(free[choose(belief, board.places[free], board.costs[free], target, budget).order])


def _d_optimal(board: _Board, held: np.ndarray, free: np.ndarray, budget: float, _: _More) -> np.ndarray:
    """The run whose loss the law alone knows least: what raises the determinant of the information most."""
    places = board.places[free]
    belief = _belief(board, held, "none")
    covariance, open_, left = belief.covariance(places), np.ones(len(free), bool), budget
    order: list[int] = []
    while (there := np.flatnonzero(open_ & (board.costs[free] <= left))).size:
        best = int(there[np.argmax(np.diag(covariance)[there])])
        order.append(best)
        open_[best] = False
        left -= board.costs[free[best]]
        covariance = covariance - np.outer(covariance[best], covariance[best]) / (
            covariance[best, best] + belief.noise**2
        )
    return np.asarray(free[order])


def _belief(board: _Board, held: np.ndarray, discrepancy: Use) -> Belief:
    first = weak_laws(board.places.logs.shape[1] - 2)[:1]
    return Beliefs.of(board.places[held], board.logs[held], discrepancy, laws=first).each[0]


def _random(board: _Board, _: np.ndarray, free: np.ndarray, budget: float, more: _More) -> np.ndarray:
    return _spent(board, more[0].permutation(free), budget)


def _cheapest(board: _Board, _: np.ndarray, free: np.ndarray, budget: float, more: _More) -> np.ndarray:
    shuffled = more[0].permutation(free)
    return _spent(board, shuffled[np.argsort(board.costs[shuffled], kind="stable")], budget)


def _grid(board: _Board, _: np.ndarray, free: np.ndarray, budget: float, __: _More) -> np.ndarray:
    """Budget after budget; in each the run that is farthest from those taken, so that it is filled evenly."""
    logs = np.log(board.costs[free])
    order = np.argsort(logs, kind="stable")
    levels = np.split(order, np.flatnonzero(np.diff(logs[order]) > _LEVEL) + 1)
    taken: list[int] = []
    for level in levels:
        at = board.places.at[free[level]]
        away = np.sum((at - at.mean(axis=0)) ** 2, axis=1)
        for _n in range(len(level)):
            best = int(np.argmax(away))
            taken.append(int(level[best]))
            away = np.minimum(np.where(away < 0, -1.0, away), np.sum((at - at[best]) ** 2, axis=1))
            away[best] = -1.0
    return _spent(board, free[taken], budget)


def _spent(board: _Board, order: np.ndarray, budget: float) -> np.ndarray:
    """The runs in order, those left out that cost more than what is left."""
    taken, left = [], budget
    for each in order:
        if board.costs[each] <= left:
            taken.append(each)
            left -= board.costs[each]
    return np.array(taken, int)


_Strategy = Callable[[_Board, np.ndarray, np.ndarray, float, _More], np.ndarray]
_BY_NAME: dict[str, _Strategy] = dict(zip(STRATEGIES, (_designed, _random, _cheapest, _grid, _d_optimal), strict=True))
