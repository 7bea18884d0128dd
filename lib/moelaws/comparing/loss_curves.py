"""The best loss of a configuration at any budget: between those run, and beyond them, with what is not known of it."""

import numpy as np
import pandas as pd

from moelaws.comparing.configuration import Configuration
from moelaws.fitting.objective import FitError

DRAWS = 4000
FARTHEST = 10.0
"""Times the largest budget up to which the losses of a configuration are continued."""
_FINE = 400
_NORMAL = 1.959964


def losses_at(curve: pd.DataFrame, budget: float, chosen: Configuration, rng: np.random.Generator) -> np.ndarray:
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


def least_budget(curve: pd.DataFrame, target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
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
    drawn = np.log(loss)[:, None] + np.nan_to_num(error)[:, None] * rng.standard_normal((len(x), DRAWS))
    y = np.concatenate([np.log(loss)[:, None], drawn], axis=1)
    reach = np.log(FARTHEST)
    ends = [y[i] + (y[i] - y[j]) / (x[i] - x[j]) * side * reach for i, j, side in ((0, 1, -1), (-1, -2, 1))]
    inner = np.linspace(x[0], x[-1], _FINE)
    if len(x) > 2:
        middle = PchipInterpolator(x, y, axis=0)(inner)
    else:
        middle = y[0] + (inner[:, None] - x[0]) / (x[1] - x[0]) * (y[1] - y[0])
    grid = np.concatenate([[x[0] - reach], inner, np.linspace(x[-1], x[-1] + reach, _FINE)[1:]])
    beyond = np.linspace(0, 1, _FINE)[1:, None] * (ends[1] - y[-1]) + y[-1]
    return grid, np.concatenate([ends[0][None], middle, beyond])


def with_ends(known: pd.DataFrame, budget: float) -> pd.DataFrame:
    """The budgets at which the best loss has an interval, where they suffice; else all."""
    sure = known.dropna(subset=["low", "high"])
    enough = len(sure) >= 2 and sure["budget"].min() <= budget * 1.02 and sure["budget"].max() >= budget / 1.02
    return sure if enough else known
