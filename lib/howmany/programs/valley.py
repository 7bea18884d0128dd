"""One valley for all designs of a budget: the lowest loss of each number and fineness of experts, with intervals.

A surface of its own for each (K, G), as in the other chapters, would have nine runs at 1e14 FLOPs. Here all designs of
a budget have one curvature in ln N_a, and a slope that changes with -ln(1 - S); each has its own level.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from moelaws.fitting.least_squares import Array, least_squares
from moelaws.fitting.objective import FitError

Key = tuple[int, int, float]
"""E, K and G."""

_GRID, _WIDTHS = 121, 3
_INSIDE = 0.95


@dataclass(frozen=True, eq=False)
class Valley:
    """The lowest losses of one budget, a row a design, in the fit and in B draws of it.

    Attributes:
        budget: C, in FLOPs.
        keys: (E, K, G), dense first, then by G and E.
        loss: lowest loss among the sizes tried, P x (1 + B), nats per token.
        size: ln N_a there, P x (1 + B).
        edges: where the lowest loss of the fit lies: ``""`` inside the sizes tried, ``low`` or ``high`` at their end.
        inside: share of the draws in which it lies inside.
        widths: how many sizes were tried.
        scatter: standard deviation of the runs about the valley, nats.
        freedom: its degrees of freedom.
        curves: ``n_experts, top_k, granularity, active_params, loss, low, high`` along the sizes tried.
        placebo: the valley's loss of the dense design at each run's active size, P runs.
    """

    budget: float
    keys: list[Key]
    loss: Array
    size: Array
    edges: list[str]
    inside: Array
    widths: list[int]
    scatter: float
    freedom: int
    curves: pd.DataFrame
    placebo: Array

    def at(self, key: Key) -> Array | None:
        """The lowest loss of a design, 1 + B numbers; nothing for one that was not tried."""
        return self.loss[self.keys.index(key)] if key in self.keys else None

    def total(self, runs: pd.DataFrame, row: int) -> Array:
        """Total parameters at the lowest loss of a row, 1 + B numbers, between those of the runs of its design."""
        here = runs[_is(runs, self.keys[row])].drop_duplicates("active_params").sort_values("active_params")
        logs = np.log(here[["active_params", "total_params"]].to_numpy(float))
        return np.exp(np.interp(self.size[row], logs[:, 0], logs[:, 1]))


def valley(runs: pd.DataFrame, draws: int, seed: int = 0) -> Valley:
    """Fit the valley of one budget.

    Args:
        runs: finished runs of one budget: ``loss``, ``active_params``, ``sparsity``, ``n_experts``, ``top_k`` and
            ``granularity``. Where no design has three sizes, there is no curvature to be fitted, and each lowest loss
            lies at an edge.
        draws: of the weights, by their covariance and Student's t.
        seed: of the draws.

    Raises:
        FitError: too few runs.
    """
    found = list(zip(*(runs[name] for name in ("n_experts", "top_k", "granularity")), strict=True))
    keys: list[Key] = sorted({(int(e), int(k), float(g)) for e, k, g in found}, key=lambda key: (key[2], key[0]))
    log_n, s_hat = np.log(runs["active_params"].to_numpy(float)), -np.log1p(-runs["sparsity"].to_numpy(float))
    middle, centre = log_n.mean(), s_hat.mean()
    sizes = {key: np.unique(log_n[_is(runs, key)].round(9)) for key in keys}
    curved = max(map(len, sizes.values())) >= _WIDTHS
    cells = np.column_stack([_is(runs, key) for key in keys]).astype(float)
    fit = least_squares(
        np.column_stack([cells, _slopes(log_n - middle, s_hat - centre, curved)]), runs["loss"].to_numpy(float)
    )
    if fit is None or fit.freedom < 1:
        raise FitError(f"{len(runs)} runs of {len(keys)} designs: expected more sizes of each")
    rng = np.random.default_rng(seed)
    spread = np.sqrt(fit.freedom / rng.chisquare(fit.freedom, draws))
    normal = rng.normal(size=(draws, len(fit.weights))) @ (fit.root * np.sqrt(fit.variance)).T
    weights = np.vstack([fit.weights, fit.weights + normal * spread[:, None]])
    lost, at, edges, inside, curves = [], [], [], [], []
    for row, key in enumerate(keys):
        grid = np.linspace(sizes[key][0], sizes[key][-1], _GRID)
        place = float(s_hat[_is(runs, key)][0]) - centre
        losses = weights[:, [row]] + weights[:, len(keys) :] @ _slopes(grid - middle, place, curved).T
        lowest = losses.argmin(axis=1)
        ends = np.where(lowest == 0, "low", np.where(lowest == _GRID - 1, "high", ""))
        lost.append(losses.min(axis=1))
        at.append(grid[lowest])
        edges.append(str(ends[0]) if len(sizes[key]) > 1 else "low")
        inside.append(float(np.mean(ends[1:] == "")) if draws else float(edges[-1] == ""))
        low, high = np.quantile(losses[1:], [0.025, 0.975], axis=0) if draws else (losses[0], losses[0])
        about = dict(zip(("n_experts", "top_k", "granularity"), key, strict=True))
        curves.append(
            pd.DataFrame(about | {"active_params": np.exp(grid), "loss": losses[0], "low": low, "high": high})
        )
    dense = fit.weights[0] + _slopes(log_n - middle, -centre, curved) @ fit.weights[len(keys) :]
    return Valley(
        float(runs["budget"].iloc[0]), keys, np.array(lost), np.array(at), edges, np.array(inside),
        [len(sizes[key]) for key in keys], float(np.sqrt(fit.variance)), fit.freedom, pd.concat(curves), dense,
    )  # fmt: skip


def _slopes(x: Array, s: Array | float, curved: bool) -> Array:
    columns = [x, x * s, *([x * x] if curved else [])]
    return np.column_stack(columns)


def _is(runs: pd.DataFrame, key: Key) -> "np.ndarray":
    return np.logical_and.reduce(
        [
            runs[name].to_numpy(float) == value
            for name, value in zip(("n_experts", "top_k", "granularity"), key, strict=True)
        ]
    )
