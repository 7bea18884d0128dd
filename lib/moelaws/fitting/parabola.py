"""The one-sparsity cross-check of a surface: a parabola in ln N, and the interval of its vertex (Abnar et al., D.4)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from moelaws.fitting.budget import one_budget
from moelaws.fitting.polynomial import Array, SurfaceError


@dataclass(frozen=True)
class Parabola:
    """A quadratic in ln N through the runs of one budget and one sparsity, by least squares.

    Attributes:
        variable: the column of sizes.
        sparsity: S.
        runs: how many runs it was fitted to.
        coefficients: c0, c1, c2 of c0 + c1 z + c2 z^2, with z = ln N - centre.
        centre: mean of ln N.
        n: the size at the lowest point within the sizes tried.
        n_low, n_high: its interval, cut off at the sizes tried (Fieller 1954); NaN for fewer than four sizes.
        loss: the loss there, nats per token.
        bracketed: whether the lowest point is the vertex of an upward parabola, inside the sizes tried.
        mse: mean squared residual.
    """

    variable: str
    sparsity: float
    runs: int
    coefficients: tuple[float, float, float]
    centre: float
    n: float
    n_low: float
    n_high: float
    loss: float
    bracketed: bool
    mse: float

    def predict(self, n: ArrayLike) -> Array:
        """Loss in nats per token at size ``n``."""
        return np.polynomial.polynomial.polyval(np.log(np.asarray(n, float)) - self.centre, self.coefficients)


def fit_parabola(runs: pd.DataFrame, variable: str = "total_params", level: float = 0.95) -> Parabola:
    """Fit a parabola in ln N to runs of one budget and one sparsity.

    The interval holds every vertex position v at which the slope c1 + 2 c2 v differs from zero by no more than
    noise does. With few sizes this is exact where a bootstrap is not, and it may have no end: then it is cut off at
    the sizes tried.

    Args:
        runs: a run table of one budget and one sparsity; runs that did not finish are left out.
        variable: the column of sizes.
        level: of the interval.

    Raises:
        SurfaceError: a missing column, several budgets or sparsities, fewer than three distinct sizes.
    """
    runs = one_budget(runs, variable)[0]
    tried = sorted(set(runs["sparsity"].astype(float)))
    if len(tried) > 1:
        raise SurfaceError(
            f"a parabola takes one sparsity; these runs have {len(tried)}: {', '.join(f'{s:g}' for s in tried)}"
        )
    sparsity = tried[0]
    log_n, loss = np.log(runs[variable].to_numpy(float)), runs["loss"].to_numpy(float)
    if len(np.unique(log_n)) < 3:
        raise SurfaceError(
            f"a parabola needs three distinct sizes; sparsity {sparsity:g} has {len(np.unique(log_n))} of {variable}"
        )
    centre = float(log_n.mean())
    z = log_n - centre
    design = z[:, None] ** np.arange(3)
    q, r = np.linalg.qr(design)
    c = np.linalg.solve(r, q.T @ loss)
    residual = loss - design @ c
    ends = np.array([z.min(), z.max()])
    vertex = -c[1] / (2 * c[2]) if c[2] > 0 else np.nan
    bracketed = bool(ends[0] < vertex < ends[1])
    at = vertex if bracketed else ends[np.argmin(np.polynomial.polynomial.polyval(ends, c))]
    freedom = len(loss) - 3
    if freedom and len(np.unique(log_n)) > 3:
        inverse = np.linalg.inv(r)
        covariance = inverse @ inverse.T * (residual @ residual) / freedom
        low, high = _fieller(c, covariance, float(stdtrit(freedom, (1 + level) / 2)), ends)
    else:
        low = high = np.nan
    return Parabola(
        variable=variable,
        sparsity=sparsity,
        runs=len(loss),
        coefficients=(float(c[0]), float(c[1]), float(c[2])),
        centre=centre,
        n=float(np.exp(centre + at)),
        n_low=float(np.exp(centre + low)),
        n_high=float(np.exp(centre + high)),
        loss=float(np.polynomial.polynomial.polyval(at, c)),
        bracketed=bracketed,
        mse=float(np.mean(residual**2)),
    )


def _fieller(c: Array, covariance: Array, quantile: float, ends: Array) -> tuple[float, float]:
    """Positions v within ``ends`` where (c1 + 2 c2 v)^2 <= quantile^2 var(c1 + 2 c2 v), as one enclosing interval.

    The condition is a quadratic in v, so the set's ends are its roots or the limits.
    """
    k = quantile**2
    quadratic = np.polynomial.Polynomial(
        [
            c[1] ** 2 - k * covariance[1, 1],
            4 * (c[1] * c[2] - k * covariance[1, 2]),
            4 * (c[2] ** 2 - k * covariance[2, 2]),
        ]
    )
    roots = quadratic.roots()
    candidates = np.concatenate([ends, np.real(roots[np.abs(np.imag(roots)) < 1e-12])])
    within = candidates[(candidates >= ends[0]) & (candidates <= ends[1])]
    inside = within[quadratic(within) <= 1e-9 * abs(quadratic.coef).max()]
    # No position fits: the vertex lies beyond the sizes tried, past the nearer end.
    if not len(inside):
        nearer = ends[np.argmin(np.polynomial.polynomial.polyval(ends, c))]
        return float(nearer), float(nearer)
    return float(inside.min()), float(inside.max())
