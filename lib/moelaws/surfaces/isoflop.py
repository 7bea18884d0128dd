"""IsoFLOP analysis: runs of equal budget in, the loss surface and its optima out (Abnar et al. 2025, Sec. 2, App. B).

    surface = fit_surface(runs[runs["budget"] == 3e11], variable="active_params")
    surface.optimum(0.75)
    optima(surface)

``fit_surface`` needs the columns ``loss``, the size and ``budget`` (or ``train_flops``), and ``sparsity`` (or what it
follows from) unless all runs are dense.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from moelaws.optimum.minimum import lowest
from moelaws.runs.seeds import between_seeds
from moelaws.surfaces.budget import budget_of, one_budget
from moelaws.surfaces.degrees import DEGREES, Choice, choose, points
from moelaws.surfaces.form_error import Reference, reference
from moelaws.surfaces.held_out import held_out_residuals, redrawn_losses, subsample_scores
from moelaws.surfaces.neighbourhood import Fit, Mask, is_bent, least_variance, neighbourhood, outlier, rounding, scatter
from moelaws.surfaces.nominal import EqualBudgets, equal_budgets
from moelaws.surfaces.parabola import Parabola, fit_parabola
from moelaws.surfaces.polynomial import Array, Degree, SurfaceError, sparsity_coordinate
from moelaws.surfaces.standing import misses
from moelaws.surfaces.surface import FAR, ODD, BestSparsity, Optimum, Surface
from moelaws.surfaces.tried import Tried
from moelaws.surfaces.valley import optima, redraw_seeds

__all__ = [
    "BestSparsity",
    "EqualBudgets",
    "Optimum",
    "Parabola",
    "Surface",
    "SurfaceError",
    "budget_of",
    "equal_budgets",
    "fit_parabola",
    "fit_surface",
    "optima",
    "redraw_seeds",
]

_MOST_ODD = 0.1  # of the runs: more than that are no slips
_CELL_GRID = 401


def fit_surface(
    runs: pd.DataFrame,
    variable: str = "total_params",
    degree: Degree | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    every_run: bool = False,
) -> Surface:
    """Fit the loss surface of one budget by least squares.

    Args:
        runs: a run table of one budget; runs that did not finish are left out and counted. Runs of one size and
            sparsity are replicates of one point and are held out and resampled together.
        variable: the column of sizes, ``total_params`` or ``active_params``.
        degree: powers (a1, a2, a3) of ln N, -ln(1 - S) and their product; by default the one of {2, 3, 4} x {0..4}^2
            with the lowest error when each point is predicted from all others, the simpler one of a tie.
        bootstrap: refits with redrawn noise, for the intervals; 0 for none. Where the degree was chosen, each refit
            chooses its own, so that the intervals hold the doubt about the degree too. Where points have several seeds,
            the noise redrawn at each sparsity is at least what differs between these. Where the optima are not those of
            the runs at each sparsity by themselves, the form is at fault, and the intervals hold both.
        seed: of the bootstrap and of the random subsamples.
        every_run: fit all finished runs. By default those too far from the optimum for one polynomial to hold them with
            the near ones, and single ones that contradict all others, are set aside, where chance would do the like
            once in ten thousand tables.

    Returns:
        The surface.

    Raises:
        SurfaceError: a missing column, a value that no run can have, several budgets, or too few distinct sizes
            and sparsities for the degree.

    Examples:
        >>> import moelaws as ml
        >>> runs = ml.datasets.load("isoflop")
        >>> surface = fit_surface(runs[runs["budget"] == 1e12], bootstrap=20)
        >>> surface.degree, bool(surface.held_out_mse < 1e-3)
        ((4, 2, 4), True)
    """
    ended, left_out, budget = one_budget(runs, variable)
    degrees: Sequence[Degree] = [degree] if degree else DEGREES
    log_n = np.log(ended[variable].to_numpy(float))
    s_hat = sparsity_coordinate(ended["sparsity"].to_numpy(float))
    loss = ended["loss"].to_numpy(float)
    least = least_variance(loss, points(log_n, s_hat))
    choice, why = choose(degrees, log_n, s_hat, loss), np.full(len(loss), "", object)
    if not every_run:
        choice, why = _supported(degrees, (log_n, s_hat, loss), choice, least)
    kept = why == ""
    log_n, s_hat, loss, ended, aside = log_n[kept], s_hat[kept], loss[kept], ended[kept], ended[~kept]
    q, point, weights = choice.best.q, choice.point, choice.best.weights(loss, choice.terms)
    held_out = held_out_residuals(q, loss, point)
    pearson, subsample_mse = subsample_scores(q, loss, point, repeats=100, share=0.8, seed=seed)
    return Surface(
        variable=variable,
        budget=budget,
        degree=choice.best.degree,
        runs=ended,
        left_out=left_out,
        terms=choice.terms,
        weights=weights,
        replicates=_refits(choice, s_hat, bootstrap, seed),
        cross_validation=choice.compared(),
        mse=choice.squares / len(loss),
        held_out_mse=float(np.mean(held_out**2)),
        errors=held_out,
        pearson=float(np.median(pearson)) if len(pearson) else np.nan,
        subsample_mse=float(np.median(subsample_mse)) if len(subsample_mse) else np.nan,
        set_aside=aside.assign(why=why[~kept].astype(str)),
        noise=scatter(log_n, s_hat, loss, least),
        reference=_reference(choice, weights, Tried(ended, variable), log_n, s_hat, least),
    )


def _supported(
    degrees: Sequence[Degree], runs: tuple[Array, Array, Array], first: Choice, least: float
) -> tuple[Choice, NDArray[np.object_]]:
    """The fit to the runs that one surface can hold, and for each of the others why it cannot.

    Args:
        degrees: to choose from.
        runs: ln N, -ln(1 - S) and loss, P numbers each.
        first: the fit to all of them.
        least: variance that the noise has at least.
    """
    log_n, s_hat, loss = runs
    group = np.unique(np.round(s_hat, 6), return_inverse=True)[1].reshape(-1)
    odd = np.zeros(len(loss), bool)
    single, most = not group.any(), max(1, int(_MOST_ODD * len(loss)))
    choice, noise = first, scatter(log_n, s_hat, loss, least)
    while True:
        rest = np.flatnonzero(~odd)

        def trial(mask: Mask, rest: NDArray[np.intp] = rest, everything: Choice = choice) -> Fit | None:
            try:
                rows = rest[mask]
                fit = everything if mask.all() else choose(degrees, log_n[rows], s_hat[rows], loss[rows])
            except SurfaceError:
                return None
            if single:
                at, _ = _bottom(fit, fit.best.weights(fit.loss, fit.terms), log_n[rows], s_hat[0])
                if misses(at, log_n[rows], fit.loss - fit.fitted, noise):
                    return None
                if is_bent(log_n[rows], loss[rows], fit.best.degree[0], least):
                    return None
            return Fit(held_out_residuals(fit.best.q, fit.loss, fit.point), fit.squares, fit.freedom)

        # One slip of the pen far out must not cost the runs beside it: it is looked for first, and again afterwards.
        worst, near = outlier(choice.best.q, loss[rest], least), rest
        if worst is None:
            near = rest[neighbourhood(log_n[rest], group[rest], loss[rest], trial, least)]
            if len(near) < len(rest):
                choice = choose(degrees, log_n[near], s_hat[near], loss[near])
                worst = outlier(choice.best.q, loss[near], least)
        if worst is None or odd.sum() >= most:
            why = np.full(len(loss), FAR, object)
            why[near] = ""
            why[odd] = ODD
            return choice, why
        odd[near[worst]] = True
        choice = choose(degrees, log_n[~odd], s_hat[~odd], loss[~odd])


def _refits(choice: Choice, s_hat: Array, bootstrap: int, seed: int) -> Array:
    """Weights of refits with redrawn noise; none for a curve through all points, whose form nothing has tested."""
    weights = [np.empty((0, sum(choice.terms.degree) + 1))]
    if bootstrap and choice.point.max() + 1 > len(choice.best.columns):
        held_out = held_out_residuals(choice.best.q, choice.loss, choice.point)
        wider = _seeds_over_errors(choice.loss, held_out, choice.point, s_hat) * _small_sample(choice)
        digit = rounding(choice.loss)
        for losses in redrawn_losses(choice.best.q, choice.loss, choice.point, bootstrap, seed):
            redrawn = choice.fitted + wider * (losses - choice.fitted)
            if choice.squares < choice.freedom * digit**2:  # losses that agree better than they are known
                redrawn = redrawn + np.random.default_rng(seed).normal(scale=digit, size=redrawn.shape)
            weights.append(choice.refits(redrawn))
    return np.concatenate(weights)


def _small_sample(choice: Choice) -> float:
    """By how much the noise of refits falls short of what Student's t asks of few runs: at least 1.

    The jack-knife correction of redrawn noise makes it wider than the residual variance by runs / freedom on average;
    from a dozen degrees of freedom on that is more than t.
    """
    student = float(stdtrit(choice.freedom, 0.975) / ndtri(0.975))
    return max(1.0, student / np.sqrt(len(choice.loss) / choice.freedom))


def _reference(
    choice: Choice, weights: Array, fitted: Tried, log_n: Array, s_hat: Array, least: float
) -> Reference | None:
    found = {}
    for sparsity in fitted.sparsities:
        place = float(sparsity_coordinate(np.array(sparsity)))
        found[place] = _bottom(choice, weights, np.log(fitted.sizes(sparsity)), place)
    return reference(log_n, s_hat, choice, found, least)


def _bottom(choice: Choice, weights: Array, log_n: ArrayLike, place: float) -> tuple[float, float]:
    """ln N and loss of the lowest point at -ln(1 - S) = ``place``, within the sizes ``log_n``."""
    grid = np.linspace(np.min(log_n), np.max(log_n), _CELL_GRID)
    at, value, _ = lowest(grid, (choice.terms.design(grid, np.full(_CELL_GRID, place)) @ weights)[None])
    return float(at[0]), float(value[0])


def _seeds_over_errors(loss: Array, held_out: Array, point: NDArray[np.intp], s_hat: Array) -> Array:
    """By how much noise between seeds exceeds the held-out errors, sparsity by sparsity: at least 1, for each run.

    A few errors smaller than what seeds alone make of them are luck, and no reason for a narrower interval there.
    """
    runs, noise = np.bincount(point), between_seeds(loss, point)
    error = (np.bincount(point, np.nan_to_num(held_out, posinf=0.0)) / runs)[point]
    # Each run adds the square of its point's mean error, so that a point of m runs counts m times: m error^2 ~ noise.
    group = np.unique(np.round(s_hat, 6), return_inverse=True)[1]
    number = np.bincount(group, 1 / runs[point])
    expected = (np.bincount(group, error**2) / number)[group]
    return np.sqrt(np.maximum(1.0, np.divide(noise, expected, out=np.zeros(len(loss)), where=expected > 0)))
