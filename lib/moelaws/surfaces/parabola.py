"""The one-sparsity cross-check of a surface: a parabola in ln N, and the interval of its vertex (Abnar et al., D.4)."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import fdtrc, stdtrit

from moelaws.fitting.least_squares import least_squares
from moelaws.optimum.minimum import Edge, Minimum, tails
from moelaws.runs.budgets import FEWEST_SIZES, distinct
from moelaws.surfaces.budget import one_budget
from moelaws.surfaces.curves import Cells
from moelaws.surfaces.held_out import held_out_residuals
from moelaws.surfaces.neighbourhood import Fit, Mask, is_bent, least_variance, neighbourhood, outlier, scatter
from moelaws.surfaces.polynomial import Array, SurfaceError
from moelaws.surfaces.standing import Standing, misses, standing

_LIKELY = 0.2
"""A bend that is uneven enough for chance to do it in fewer tables than this moves the vertex enough to count."""

_HIGHEST = 4  # power of ln N


@dataclass(frozen=True)
class Parabola:
    """A quadratic in ln N through the runs of one budget and one sparsity, by least squares.

    Attributes:
        variable: the column of sizes.
        sparsity: S.
        runs: how many runs it was fitted to.
        coefficients: c0, c1, c2 of c0 + c1 z + c2 z^2, with z = ln N - centre.
        centre: mean of ln N.
        n: the size at the lowest point within the sizes fitted.
        n_low, n_high: its interval, cut off at the sizes fitted (Fieller 1954); where the runs hint at an uneven bend,
            it holds that of a polynomial of higher degree too. NaN for three sizes, however many seeds.
        loss, loss_low, loss_high: the loss there with its interval, nats per token.
        bracketed: whether the lowest point is the vertex of an upward parabola, inside the sizes fitted.
        mse: mean squared residual.
        status: what the runs say of it, see ``standing.Standing``.
        set_aside: how many finished runs it was not fitted to, as too far from the optimum or contradicting all others.
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
    loss_low: float
    loss_high: float
    bracketed: bool
    mse: float
    status: Standing
    set_aside: int

    def predict(self, n: ArrayLike) -> Array:
        """Loss in nats per token at size ``n``."""
        return np.polynomial.polynomial.polyval(np.log(np.asarray(n, float)) - self.centre, self.coefficients)


def fit_parabola(runs: pd.DataFrame, variable: str = "total_params", level: float = 0.95) -> Parabola:
    """Fit a parabola in ln N to runs of one budget and one sparsity.

    The interval holds every vertex position v at which the slope c1 + 2 c2 v differs from zero by no more than
    noise does. With few sizes this is exact where a bootstrap is not, and it may have no end: then it is cut off at
    the sizes fitted.

    Args:
        runs: a run table of one budget and one sparsity; runs that did not finish are left out, and of the others
            those that ``fit_surface`` would set aside.
        variable: the column of sizes.
        level: of the interval.

    Raises:
        SurfaceError: a missing column, several budgets or sparsities, fewer than three distinct sizes.
    """
    tails(level)
    return parabola_of(*_one_sparsity(runs, variable), variable, level)


def parabola_of(runs: pd.DataFrame, sparsity: float, variable: str, level: float) -> Parabola:
    """The same of runs that ``one_budget`` has let pass, all of one sparsity.

    Raises:
        SurfaceError: fewer than three distinct sizes.
    """
    sizes = distinct(runs[variable].to_numpy(float))
    if sizes < FEWEST_SIZES:
        raise SurfaceError(f"a parabola needs three distinct sizes; sparsity {sparsity:g} has {sizes} of {variable}")
    every, losses = np.log(runs[variable].to_numpy(float)), runs["loss"].to_numpy(float)
    least = least_variance(losses, np.unique(np.round(every, 6), return_inverse=True)[1].reshape(-1))
    near = _supported(every, losses, least)
    log_n, loss = every[near], losses[near]
    centre = float(log_n.mean())
    found, inside, c = _vertex(log_n - centre, loss, least, level, uneven=not near.all())
    apart = loss - np.polynomial.polynomial.polyval(log_n - centre, c)
    n, n_low, n_high = np.exp(centre + np.array([found.at, found.at_low, found.at_high]))
    cut = every.min() < log_n.min() if found.edge == "low" else every.max() > log_n.max()
    return Parabola(
        variable=variable,
        sparsity=sparsity,
        runs=len(loss),
        coefficients=(float(c[0]), float(c[1]), float(c[2])),
        centre=centre,
        n=float(n),
        n_low=float(n_low),
        n_high=float(n_high),
        loss=found.value,
        loss_low=found.value_low,
        loss_high=found.value_high,
        bracketed=found.edge == "",
        mse=float(np.mean(apart**2)),
        status=standing(
            edge=found.edge,
            fewest=sizes,
            cut=bool(cut),
            missed=misses(found.at, log_n - centre, apart, scatter(log_n, np.zeros(len(loss)), loss, least)),
            ends=inside,
        ),
        set_aside=int((~near).sum()),
    )


def _one_sparsity(runs: pd.DataFrame, variable: str) -> tuple[pd.DataFrame, float]:
    ended = one_budget(runs, variable)[0]
    tried = sorted(set(ended["sparsity"].astype(float)))
    if len(tried) > 1:
        found = ", ".join(f"{s:g}" for s in tried[:8]) + (", ..." if len(tried) > 8 else "")
        raise SurfaceError(f"a parabola takes one sparsity; these runs have {len(tried)}: {found}")
    return ended, tried[0]


def _supported(log_n: Array, loss: Array, least: float) -> Mask:
    """The runs that one parabola can hold, see ``isoflop.fit_surface``; higher powers must not tell more of them."""
    z, noise = log_n - log_n.mean(), scatter(log_n, np.zeros(len(log_n)), loss, least)
    size = np.unique(np.round(log_n, 6), return_inverse=True)[1].reshape(-1)

    def trial(mask: Mask) -> Fit | None:
        point = np.unique(size[mask], return_inverse=True)[1].reshape(-1)
        if point.max() + 1 < FEWEST_SIZES or is_bent(z[mask], loss[mask], 2, least):
            return None
        fit = least_squares(_design(z[mask]), loss[mask], 0.0)
        if fit is None or misses(_lowest(fit.weights, z[mask])[0], z[mask], fit.residual, noise):
            return None
        return Fit(held_out_residuals(fit.q, loss[mask], point), fit.squares, fit.freedom)

    near = neighbourhood(log_n, np.zeros(len(z), int), loss, trial, least)
    odd = outlier(np.linalg.qr(_design(z[near]))[0], loss[near], least)
    if odd is not None:
        near[np.flatnonzero(near)[odd]] = False
    return near


def _vertex(
    z: Array, loss: Array, least: float, level: float, uneven: bool
) -> tuple[Minimum, tuple[bool, bool] | None, Array]:
    """The lowest point of a parabola at positions z, which ends of its interval lie within them, and the coefficients.

    Args:
        z, loss: the runs, P numbers each.
        least: variance that the noise has at least.
        level: of the intervals.
        uneven: whether the bend is known to differ on the two sides.
    """
    fit = least_squares(_design(z), loss, 0.0)
    if fit is None:
        raise SurfaceError("the sizes lie too close to each other for a parabola")
    c = fit.weights
    ends, (at, edge) = np.array([z.min(), z.max()]), _lowest(c, z)
    value, nan = float(np.polynomial.polynomial.polyval(at, c)), float("nan")
    found = Minimum(at, nan, nan, value, nan, nan, edge, nan)
    if distinct(np.exp(z)) == FEWEST_SIZES:  # seeds tell the noise, but no point tests the form
        return found, None, c
    quantile = float(stdtrit(fit.freedom, (1 + level) / 2))
    covariance = fit.covariance(max(fit.variance, least))
    power = at ** np.arange(3)
    reach = quantile * float(np.sqrt(power @ covariance @ power))
    low, high = _fieller(c, covariance, quantile, ends)
    found = replace(found, at_low=low, at_high=high, value_low=value - reach, value_high=value + reach)
    found = _uneven(z, loss, found, least, level, uneven)
    return found, (bool(found.at_low > ends[0]), bool(found.at_high < ends[1])), c


def _lowest(c: Array, z: Array) -> tuple[float, Edge]:
    """Where within the positions z a parabola is lowest, and at which end of them if at one."""
    ends = np.array([z.min(), z.max()])
    vertex = -c[1] / (2 * c[2]) if c[2] > 0 else np.nan
    if ends[0] < vertex < ends[1]:
        return float(vertex), ""
    last = int(np.argmin(np.polynomial.polynomial.polyval(ends, c)))
    return float(ends[last]), "high" if last else "low"


def _uneven(z: Array, loss: Array, found: Minimum, least: float, level: float, sure: bool) -> Minimum:
    """The vertex with an interval that holds those of higher degrees, as long as the runs hint at one more.

    Where runs had to be set aside, the bend is uneven for sure, however little the remaining ones show of it.
    """
    here, middle = np.zeros(len(z)), {0.0: found.at}
    fits = [Cells.of(z, here, loss, middle, degree, least) for degree in range(2, _HIGHEST + 1)]
    hints = [
        more
        for more, fit in enumerate(fits)
        if more
        and fit is not None
        and fits[0] is not None
        and fdtrc(more, fit.freedom, max(fits[0].squares - fit.squares, 0.0) / more / fit.variance) < _LIKELY
    ]
    for fit in fits[1 : max([*hints, int(sure)]) + 1]:
        if fit is None:
            continue
        vertex = fit.vertices(level)[0]
        found = replace(
            found,
            at_low=min(found.at_low, vertex.low),
            at_high=max(found.at_high, vertex.high),
            value_low=min(found.value_low, vertex.loss_low),
            value_high=max(found.value_high, vertex.loss_high),
        )
    return found


def _design(z: Array) -> Array:
    columns: Array = z[:, None] ** np.arange(3)
    return columns


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
