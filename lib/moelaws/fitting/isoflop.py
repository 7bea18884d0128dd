"""IsoFLOP analysis: runs of equal budget in, the loss surface and its optima out (Abnar et al. 2025, Sec. 2, App. B).

    surface = fit_surface(runs[runs["budget"] == 3e11], variable="active_params")
    surface.optimum(0.75)

``fit_surface`` needs the columns ``loss``, ``sparsity``, the size and ``budget`` (or ``train_flops``).
"""

from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from moelaws.fitting.polynomial import Array, Basis, Degree, SurfaceError, sparsity_coordinate
from moelaws.fitting.resample import held_out_residuals, subsample_scores, wild_bootstrap
from moelaws.fitting.surface import BestSparsity, Optimum, Surface
from moelaws.runs import finished

__all__ = ["BestSparsity", "Optimum", "Surface", "SurfaceError", "budget_of", "fit_surface"]

DEGREES: tuple[Degree, ...] = tuple(
    sorted(((a1, a2, a3) for a1, a2, a3 in product(range(5), repeat=3)), key=lambda d: (sum(d), d))
)
"""The degrees compared, {0..4}^3, simplest first."""


def budget_of(runs: pd.DataFrame) -> pd.Series:
    """The budget each run belongs to, in FLOPs.

    It is the column ``budget`` or, without it, ``train_flops``; values within 1 % of one another's middle are one
    budget, because a run takes a whole number of steps. A group bears its median.

    Raises:
        SurfaceError: neither column is there.
    """
    column = next((name for name in ("budget", "train_flops") if name in runs.columns), None)
    if column is None:
        raise SurfaceError("the runs have neither a column 'budget' nor 'train_flops'")
    values = runs[column].astype(float)
    group: dict[float, float] = {}
    start = -np.inf
    for value in sorted(set(values.dropna())):
        start = value if value > 1.02 * start else start
        group[value] = start
    groups = values.map(group)
    return values.groupby(groups).transform("median")


def fit_surface(
    runs: pd.DataFrame,
    variable: str = "total_params",
    degree: Degree | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Surface:
    """Fit the loss surface of one budget by least squares.

    Args:
        runs: a run table of one budget; runs that did not finish are left out and counted. Runs of one size and
            sparsity are replicates of one point and are held out and resampled together.
        variable: the column of sizes, ``total_params`` or ``active_params``.
        degree: powers (a1, a2, a3) of ln N, -ln(1 - S) and their product; by default the one of {0..4}^3 with the
            lowest error when each point is predicted from all others, the simpler one of a tie.
        bootstrap: refits with redrawn noise, for the intervals; 0 for none.
        seed: of the bootstrap and of the random subsamples.

    Returns:
        The surface.

    Raises:
        SurfaceError: a missing column, a value that no run can have, several budgets, or too few distinct sizes
            and sparsities for the degree.
    """
    ended = finished(runs)
    left_out = len(runs) - len(ended)
    _check(ended, variable, left_out)
    labels = budget_of(ended)
    budgets = sorted(set(labels))
    if len(budgets) > 1:
        found = ", ".join(f"{float(b):.4g}" for b in budgets)
        raise SurfaceError(f"a surface belongs to one budget; these runs have {len(budgets)}: {found} FLOPs")
    log_n = np.log(ended[variable].to_numpy(float))
    s_hat = sparsity_coordinate(ended["sparsity"].to_numpy(float))
    loss = ended["loss"].to_numpy(float)
    point = _points(log_n, s_hat)
    compared = _compare([degree] if degree else list(DEGREES), log_n, s_hat, loss, point)
    chosen = degree or _best(compared, float(loss.var()))
    basis = Basis.on(chosen, log_n, s_hat)
    q = basis.design(log_n, s_hat)
    weights = q.T @ loss
    pearson, subsample_mse = subsample_scores(q, loss, point, repeats=100, share=0.8, seed=seed)
    return Surface(
        variable=variable,
        budget=budgets[0],
        degree=chosen,
        runs=ended,
        left_out=left_out,
        basis=basis,
        weights=weights,
        replicates=wild_bootstrap(q, loss, point, bootstrap, seed),
        cross_validation=compared,
        mse=float(np.mean((q @ weights - loss) ** 2)),
        held_out_mse=float(np.mean(held_out_residuals(q, loss, point) ** 2)),
        pearson=float(np.median(pearson)) if len(pearson) else np.nan,
        subsample_mse=float(np.median(subsample_mse)) if len(subsample_mse) else np.nan,
    )


def _check(runs: pd.DataFrame, variable: str, left_out: int) -> None:
    for name in ("loss", "sparsity", variable):
        if name not in runs.columns:
            found = ", ".join(map(repr, runs.columns))
            raise SurfaceError(f"the runs have no column {name!r}; they have {found}")
    if runs.empty:
        raise SurfaceError(f"no finished runs among {left_out}" if left_out else "no runs")
    for name, good, expected in (
        ("loss", runs["loss"] > 0, "a number > 0"),
        (variable, runs[variable] > 0, "a number > 0"),
        ("sparsity", runs["sparsity"].between(0, 1, inclusive="left"), "a number from 0 up to but not including 1"),
    ):
        good &= np.isfinite(runs[name])
        if not good.all():
            row = runs.index[~good][0]
            raise SurfaceError(f"row {row}, column {name!r}: found {runs[name].at[row]!s}, expected {expected}")


def _points(log_n: Array, s_hat: Array) -> NDArray[np.intp]:
    # Rounded: the same sparsity may be written 0.96875 and 0.968750001.
    coordinates = np.round(np.column_stack([log_n, s_hat]), 6)
    return np.unique(coordinates, axis=0, return_inverse=True)[1].reshape(-1)


def _compare(degrees: list[Degree], log_n: Array, s_hat: Array, loss: Array, point: NDArray[np.intp]) -> pd.DataFrame:
    """Held-out error of each degree that the runs determine, best first (ties in the order given)."""
    rows = []
    for degree in degrees:
        try:
            basis = Basis.on(degree, log_n, s_hat)
        except SurfaceError:
            if len(degrees) == 1:
                raise
            continue
        error = held_out_residuals(basis.design(log_n, s_hat), loss, point)
        rows.append((*degree, sum(degree) + 1, float(np.mean(error**2))))
    table = pd.DataFrame(rows, columns=["a1", "a2", "a3", "coefficients", "mse"])
    return table.sort_values("mse", kind="stable", ignore_index=True)


def _best(compared: pd.DataFrame, variance: float) -> Degree:
    """The simplest degree whose held-out error is the lowest, to a thousandth (and to rounding, without noise)."""
    tied = compared[compared["mse"] <= compared["mse"].min() * 1.001 + 1e-14 * variance]
    simplest = tied.sort_values(["coefficients", "mse"], kind="stable").iloc[0]
    return int(simplest["a1"]), int(simplest["a2"]), int(simplest["a3"])
