"""Runs one after another, each the one that takes most from the variance of what is asked, for what it costs."""

from dataclasses import dataclass

import numpy as np

from moelaws.choosing.belief import Belief
from moelaws.choosing.run_places import Places

GAMMAS = (0.5, 0.75, 1.0)
"""Powers of its FLOPs that a run's gain is divided by: with 1 a budget goes to the cheapest runs, which can be had by
the dozen; with less, dear ones get their chance. The lowest foretold variance in the end decides."""
RUNS_A_PARAMETER = 2
"""Fewer runs than this for a coefficient are a forecast of the prior."""


@dataclass(frozen=True, eq=False)
class Choice:
    """Runs in the order in which they are to be made.

    Attributes:
        order: which candidates, [k].
        variances: of what is asked, mean over its parts, before and after each, [1 + k].
    """

    order: np.ndarray
    variances: np.ndarray


def choose(
    belief: Belief, candidates: Places, costs: np.ndarray, asked: tuple[Places, np.ndarray], budget: float,
    most: int | None = None, least: float = 0.0,
) -> Choice:  # fmt: skip
    """The candidates to run.

    Args:
        belief: what is believed now.
        candidates: where each stands.
        costs: their FLOPs, [n].
        asked: places, m of them, and the sums over them that are asked, [q, m].
        budget: FLOPs that there are for all.
        most: runs at most.
        least: share of the variance that a run must take to be worth making; what it would cost stays unspent.

    Returns:
        The choice of the lowest variance, among those of two runs or more a coefficient, where there are such.
    """
    places, rows = asked
    whole = Places(np.concatenate([candidates.at, places.at]), np.concatenate([candidates.logs, places.logs]))
    covariance = belief.covariance(whole)
    n = len(candidates)
    # What is asked in the place of where: one row and column for each sum.
    turn = np.zeros((n + len(rows), len(whole)))
    turn[:n, :n], turn[n:, n:] = np.eye(n), rows
    covariance = turn @ covariance @ turn.T
    enough = RUNS_A_PARAMETER * len(belief.theta) - len(belief.held)
    found = [_greedy(covariance, costs, budget, belief.noise, gamma, most) for gamma in GAMMAS]
    best = min(found, key=lambda each: (len(each.order) < min(enough, most or enough), each.variances[-1]))
    while least and len(best.order) > max(enough, 1):
        cuts = 1 - best.variances[1:] / np.maximum(best.variances[:-1], 1e-300)
        weak = np.flatnonzero(cuts < least)[::-1][: len(best.order) - max(enough, 1)]
        if not len(weak):
            break
        best = _in_order(covariance, n, np.delete(best.order, weak), belief.noise)
    return best


def _in_order(covariance: np.ndarray, n: int, order: np.ndarray, noise: float) -> Choice:
    """Variances of what is asked, before and after each of some runs, [1 + k]."""
    covariance = covariance.copy()
    variances = [float(np.diag(covariance)[n:].mean())]
    for each in order:
        _learn(covariance, int(each), noise)
        variances.append(float(np.diag(covariance)[n:].mean()))
    return Choice(order, np.array(variances))


def _greedy(
    covariance: np.ndarray, costs: np.ndarray, budget: float, noise: float, gamma: float, most: int | None
) -> Choice:
    covariance, n = covariance.copy(), len(costs)
    weights = costs**-gamma
    open_, left = np.ones(n, bool), budget
    order: list[int] = []
    variances = [float(np.diag(covariance)[n:].mean())]
    while most is None or len(order) < most:
        there = np.flatnonzero(open_ & (costs <= left))
        if not len(there):
            break
        drop = (covariance[n:, there] ** 2).sum(axis=0) / (covariance[there, there] + noise**2)
        best = int(there[np.argmax(drop * weights[there])])
        order.append(best)
        open_[best] = False
        left -= costs[best]
        _learn(covariance, best, noise)
        variances.append(float(np.diag(covariance)[n:].mean()))
    return Choice(np.array(order, int), np.array(variances))


def _learn(covariance: np.ndarray, run: int, noise: float) -> None:
    """Condition on the outcome of a run, whatever that is: variances do not depend on it."""
    covariance -= np.outer(covariance[:, run], covariance[run]) / (covariance[run, run] + noise**2)
