"""IsoFLOP analysis: runs of equal budget in, the loss surface and its optima out (Abnar et al. 2025, Sec. 2, App. B).

    surface = fit_surface(runs[runs["budget"] == 3e11], variable="active_params")
    surface.optimum(0.75)

``fit_surface`` needs the columns ``loss``, ``sparsity``, the size and ``budget`` (or ``train_flops``).
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from moelaws.fitting.budget import budget_of, one_budget
from moelaws.fitting.parabola import Parabola, fit_parabola
from moelaws.fitting.polynomial import Array, Basis, Degree, SurfaceError, Terms, sparsity_coordinate
from moelaws.fitting.resample import held_out_residuals, redrawn_losses, subsample_scores
from moelaws.fitting.surface import BestSparsity, Optimum, Surface

__all__ = [
    "BestSparsity",
    "Optimum",
    "Parabola",
    "Surface",
    "SurfaceError",
    "budget_of",
    "fit_parabola",
    "fit_surface",
    "optima",
    "redraw_seeds",
]

DEGREES: tuple[Degree, ...] = tuple(
    sorted(((a1, a2, a3) for a1, a2, a3 in product(range(5), repeat=3)), key=lambda d: (sum(d), d))
)
"""The degrees compared, {0..4}^3, simplest first."""


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
        bootstrap: refits with redrawn noise, for the intervals; 0 for none. Where the degree was chosen, each refit
            chooses its own, so that the intervals hold the doubt about the degree too. Where points have several seeds,
            the noise redrawn at each sparsity is at least what differs between these. The intervals do not hold the
            error of the polynomial form itself, which grows with the range of sizes.
        seed: of the bootstrap and of the random subsamples.

    Returns:
        The surface.

    Raises:
        SurfaceError: a missing column, a value that no run can have, several budgets, or too few distinct sizes
            and sparsities for the degree.
    """
    ended, left_out, budget = one_budget(runs, variable)
    log_n = np.log(ended[variable].to_numpy(float))
    s_hat = sparsity_coordinate(ended["sparsity"].to_numpy(float))
    loss = ended["loss"].to_numpy(float)
    point = _points(log_n, s_hat)
    terms = Terms.of(degree or DEGREES[-1], log_n, s_hat)
    candidates = _candidates([degree] if degree else DEGREES, terms, terms.design(log_n, s_hat), int(point.max()) + 1)
    errors = np.array([np.mean(held_out_residuals(each.q, loss, point) ** 2) for each in candidates])
    chosen = candidates[int(_best(errors[:, None], loss.var())[0])]
    weights = chosen.weights(loss, terms)
    held_out, fitted = held_out_residuals(chosen.q, loss, point), loss @ chosen.q @ chosen.q.T
    wider = _seeds_over_errors(loss, held_out, point, s_hat)
    redrawn = redrawn_losses(chosen.q, loss, point, bootstrap, seed)
    refits = [_refits(candidates, fitted + wider * (losses - fitted), terms, point) for losses in redrawn]
    pearson, subsample_mse = subsample_scores(chosen.q, loss, point, repeats=100, share=0.8, seed=seed)
    return Surface(
        variable=variable,
        budget=budget,
        degree=chosen.degree,
        runs=ended,
        left_out=left_out,
        terms=terms,
        weights=weights,
        replicates=np.concatenate([np.empty((0, len(weights))), *refits]),
        cross_validation=_compared(candidates, errors),
        mse=float(np.mean((loss - fitted) ** 2)),
        held_out_mse=float(np.mean(held_out**2)),
        errors=held_out,
        pearson=float(np.median(pearson)) if len(pearson) else np.nan,
        subsample_mse=float(np.median(subsample_mse)) if len(subsample_mse) else np.nan,
    )


def redraw_seeds(surface: Surface, noise: float, replicates: int = 1000, seed: int = 0) -> Surface:
    """The surface with refits in which nothing but the seed differs: the fitted losses plus normal noise.

    Its intervals are the least that honest ones can be: those of ``fit_surface`` hold in addition the doubt about the
    degree, and noise that differs from point to point.

    Args:
        surface: a fitted surface.
        noise: standard deviation between seeds, nats per token.
        replicates: how many refits, all of the surface's own degree.
        seed: of the noise.
    """
    log_n = np.log(surface.runs[surface.variable].to_numpy(float))
    s_hat = sparsity_coordinate(surface.runs["sparsity"].to_numpy(float))
    design = surface.terms.design(log_n, s_hat)
    basis = Basis.of(surface.degree, surface.terms, design, len(design))
    drawn = np.random.default_rng(seed).normal(scale=noise, size=(replicates, len(design)))
    return replace(surface, replicates=basis.weights(design @ surface.weights + drawn, surface.terms))


def optima(surface: Surface, level: float = 0.95) -> pd.DataFrame:
    """The loss-optimal size at every sparsity tried, with what the runs say about it: the table of a study.

    Where points have several seeds, no interval is narrower than the noise between these makes it.

    Args:
        surface: a fitted surface.
        level: of the intervals.

    Returns:
        One row a sparsity: ``budget, sparsity, runs``; the size ``n, n_low, n_high`` and the loss, from the
        surface; ``edge, inside`` as in ``Optimum``; ``active_params``, ``total_params`` and ``tokens`` at that
        size, interpolated between runs, where the table has them; ``parabola_n, parabola_n_low,
        parabola_n_high, parabola_bracketed`` from the runs of that sparsity alone (empty for fewer than three sizes).
    """
    noise = float(np.sqrt(_seed_variance(surface.runs["loss"].to_numpy(float), _points_of(surface))))
    seeds = redraw_seeds(surface, noise) if noise and len(surface.replicates) else surface
    rows = []
    for sparsity in surface.sparsities:
        best, chance = surface.optimum(sparsity, level), seeds.optimum(sparsity, level)
        here = surface.runs[surface.runs["sparsity"] == sparsity]
        row = {
            "budget": surface.budget,
            "sparsity": sparsity,
            "runs": len(here),
            "n": best.n,
            "n_low": min(best.n_low, chance.n_low),
            "n_high": max(best.n_high, chance.n_high),
            "loss": best.loss,
            "loss_low": min(best.loss_low, chance.loss_low),
            "loss_high": max(best.loss_high, chance.loss_high),
            "edge": best.edge,
            "inside": best.inside,
        }
        for column in ("total_params", "active_params", "tokens"):
            if column == surface.variable:
                row[column] = best.n
            elif column in surface.runs.columns:
                row[column] = surface.companion(best.n, sparsity, column)
        if here[surface.variable].nunique() >= 3:
            alone = fit_parabola(here, surface.variable, level)
            row |= {
                "parabola_n": alone.n,
                "parabola_n_low": alone.n_low,
                "parabola_n_high": alone.n_high,
                "parabola_bracketed": alone.bracketed,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def _points(log_n: Array, s_hat: Array) -> NDArray[np.intp]:
    # Rounded: the same sparsity may be written 0.96875 and 0.968750001.
    coordinates = np.round(np.column_stack([log_n, s_hat]), 6)
    return np.unique(coordinates, axis=0, return_inverse=True)[1].reshape(-1)


def _candidates(degrees: Sequence[Degree], terms: Terms, design: Array, points: int) -> list[Basis]:
    """Bases of the degrees that the runs determine; a single degree that they do not is refused."""
    if len(degrees) == 1:
        return [Basis.of(degrees[0], terms, design, points)]
    found = []
    for degree in degrees:
        with suppress(SurfaceError):
            found.append(Basis.of(degree, terms, design, points))
    return found


def _best(errors: Array, variance: float) -> NDArray[np.intp]:
    """Which candidate has the lowest held-out error, for each column of ``errors`` (candidates x columns).

    Within a thousandth of the lowest (and within rounding, for runs without noise) the first one is taken: candidates
    come in order of their number of coefficients.
    """
    tied = errors <= errors.min(axis=0) * 1.001 + 1e-14 * variance
    return np.argmax(tied, axis=0)


def _refits(candidates: list[Basis], losses: Array, terms: Terms, point: NDArray[np.intp]) -> Array:
    """Weights of the fits to rows of redrawn losses, each with the degree that its own cross-validation prefers."""
    errors = np.array([np.mean(held_out_residuals(each.q, losses, point) ** 2, axis=1) for each in candidates])
    preferred = _best(errors, float(losses.var(axis=1).mean())) if len(candidates) > 1 else np.zeros(len(losses), int)
    weights = np.empty((len(losses), sum(terms.degree) + 1))
    for k in np.unique(preferred):
        weights[preferred == k] = candidates[k].weights(losses[preferred == k], terms)
    return weights


def _seeds_over_errors(loss: Array, held_out: Array, point: NDArray[np.intp], s_hat: Array) -> Array:
    """By how much noise between seeds exceeds the held-out errors, sparsity by sparsity: at least 1, for each run.

    A few errors smaller than what seeds alone make of them are luck, and no reason for a narrower interval there.
    """
    runs, noise = np.bincount(point), _seed_variance(loss, point)
    error = (np.bincount(point, np.nan_to_num(held_out, posinf=0.0)) / runs)[point]
    # Each run adds the square of its point's mean error, so that a point of m runs counts m times: m error^2 ~ noise.
    group = np.unique(np.round(s_hat, 6), return_inverse=True)[1]
    points = np.bincount(group, 1 / runs[point])
    expected = (np.bincount(group, error**2) / points)[group]
    return np.sqrt(np.maximum(1.0, np.divide(noise, expected, out=np.zeros(len(loss)), where=expected > 0)))


def _seed_variance(loss: Array, point: NDArray[np.intp]) -> float:
    """Variance between the runs of a point, pooled over points; 0 where no point has several."""
    runs = np.bincount(point)
    means = (np.bincount(point, loss) / runs)[point]
    return float(np.sum((loss - means) ** 2) / max(len(loss) - len(runs), 1))


def _points_of(surface: Surface) -> NDArray[np.intp]:
    log_n = np.log(surface.runs[surface.variable].to_numpy(float))
    return _points(log_n, sparsity_coordinate(surface.runs["sparsity"].to_numpy(float)))


def _compared(candidates: list[Basis], errors: Array) -> pd.DataFrame:
    table = pd.DataFrame([each.degree for each in candidates], columns=["a1", "a2", "a3"])
    table = table.assign(coefficients=table.sum(axis=1) + 1, mse=errors)
    return table.sort_values("mse", kind="stable", ignore_index=True)
