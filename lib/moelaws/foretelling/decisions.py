"""What one decides by a forecast: how many experts, of which size, and what they are worth in FLOPs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moelaws.optimum.minimum import lowest

_TERMS = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (0, 2), (3, 0), (2, 1)]
"""Powers of ln N_a and ln E of the surface of one budget, the more needed first."""
_FEWEST, _GRID = 3, 65
"""Sizes of a valley, and points that its lowest is looked for at first."""


@dataclass(frozen=True, eq=False)
class Valleys:
    """The lowest losses of one budget, a number of experts at a time, for several sets of losses at once.

    Attributes:
        experts: numbers of experts of which enough sizes were tried, rising.
        loss: lowest loss, [sets, experts].
        size: where it lies, N_a, [sets, experts].
    """

    experts: np.ndarray
    loss: np.ndarray
    size: np.ndarray

    @property
    def gain(self) -> np.ndarray:
        """From the fewest to the most experts, nats: [sets]."""
        gain: np.ndarray = self.loss[:, 0] - self.loss[:, -1]
        return gain

    @property
    def best(self) -> np.ndarray:
        """Position of the best number of experts, [sets]."""
        return np.argmin(self.loss, axis=1)


def valleys(runs: pd.DataFrame, losses: np.ndarray) -> Valleys:
    """The lowest losses of a budget, on a smooth surface of ln N_a and ln E through its runs.

    A number of experts by itself is at the mercy of a lucky seed; what its neighbours say of it steadies it. Forecasts
    and measured losses go through the very same steps at the very same runs, so that what the steps do to one they do
    to the other.

    Args:
        runs: finished runs of one budget: ``active_params`` and ``n_experts``.
        losses: one set of losses a row, [sets, runs].

    Returns:
        The valleys.
    """
    size, count = (np.log(runs[name].to_numpy(float)) for name in ("active_params", "n_experts"))
    middle = size.mean(), count.mean()
    powers = _powers(size - middle[0], count - middle[1])
    through = np.linalg.pinv(_columns(size - middle[0], count - middle[1], powers)) @ losses.T
    experts, loss, best = [], [], []
    for each in np.unique(count):
        tried = size[count == each]
        if len(np.unique(tried.round(9))) < _FEWEST:
            continue
        grid = np.linspace(tried.min(), tried.max(), _GRID)
        curves = (_columns(grid - middle[0], np.full(_GRID, each - middle[1]), powers) @ through).T
        at, lowest_loss, _ = lowest(grid, curves)
        experts.append(float(np.exp(each).round(6)))
        loss.append(lowest_loss)
        best.append(np.exp(at))
    if not experts:
        empty = np.empty((len(losses), 0))
        return Valleys(np.empty(0), empty, empty)
    return Valleys(np.array(experts), np.stack(loss, axis=1), np.stack(best, axis=1))


def _powers(size: np.ndarray, count: np.ndarray) -> list[tuple[int, int]]:
    """Powers of ln N_a and ln E that the runs can tell apart, no more than half as many as there are runs."""
    kept: list[tuple[int, int]] = []
    for power in _TERMS:
        if len(kept) + 1 <= max(len(size) // 2, 1):
            columns = _columns(size, count, [*kept, power])
            unit = columns / np.maximum(np.sqrt((columns**2).sum(axis=0)), 1e-300)
            if np.linalg.matrix_rank(unit, tol=1e-6) > len(kept):
                kept.append(power)
    return kept


def _columns(size: np.ndarray, count: np.ndarray, powers: list[tuple[int, int]]) -> np.ndarray:
    return np.stack([size**i * count**j for i, j in powers], axis=1)


def multiplier(before: Mapping[float, Valleys], budget: float, asked: Valleys) -> np.ndarray:
    """How many times the FLOPs of the most experts the fewest needed at a budget, [sets]; nan where no budget tells.

    The dense loss at the budget is looked up on the mixture's line of lowest losses against ln C, straight between
    budgets: those before it as they were measured, that budget as the sets have it.

    Args:
        before: smaller budgets, as measured (one set).
        budget: C.
        asked: its valleys.
    """
    if len(asked.experts) < 2:
        return np.full(len(asked.loss), np.nan)
    most, goal = asked.experts[-1], asked.loss[:, 0]
    line = [
        (np.log(c), float(each.loss[0, int(np.flatnonzero(each.experts == most)[0])]))
        for c, each in sorted(before.items())
        if (each.experts == most).any()
    ]
    found = np.full(len(goal), np.nan)
    later, loss = np.log(budget), asked.loss[:, -1]
    found[goal <= loss] = 1.0
    for c, reached in reversed(line):
        inside = np.isnan(found) & (goal <= reached) & (reached > loss)
        share = np.divide(goal - loss, reached - loss, out=np.zeros_like(goal), where=inside)
        found[inside] = (budget / np.exp(later + share * (c - later)))[inside]
        later, loss = c, np.full(len(goal), reached)
    return found
