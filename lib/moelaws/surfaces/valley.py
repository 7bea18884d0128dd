"""The valley of a surface: its optima at every sparsity tried, as a table."""

from dataclasses import replace

import numpy as np
import pandas as pd

from moelaws.runs.seeds import between_seeds
from moelaws.surfaces.degrees import points
from moelaws.surfaces.parabola import parabola_of
from moelaws.surfaces.polynomial import Bases, SurfaceError, sparsity_coordinate
from moelaws.surfaces.surface import FAR, Surface


def redraw_seeds(surface: Surface, noise: float, replicates: int = 1000, seed: int = 0) -> Surface:
    """The surface with refits in which nothing but the seed differs: the fitted losses plus normal noise.

    Its intervals are the least that honest ones can be: those of ``fit_surface`` hold in addition the doubt about the
    degree, noise that differs from point to point, and what the form misses.

    Args:
        surface: a fitted surface.
        noise: standard deviation between seeds, nats per token.
        replicates: how many refits, all of the surface's own degree.
        seed: of the noise.
    """
    log_n = np.log(surface.runs[surface.variable].to_numpy(float))
    s_hat = sparsity_coordinate(surface.runs["sparsity"].to_numpy(float))
    design = surface.terms.design(log_n, s_hat)
    basis = Bases(surface.terms, design, len(design)).of(surface.degree)
    drawn = np.random.default_rng(seed).normal(scale=noise, size=(replicates, len(design)))
    refits = basis.weights(design @ surface.weights + drawn, surface.terms)
    return replace(surface, replicates=refits, reference=None)


def optima(surface: Surface, level: float = 0.95, alone: bool = True) -> pd.DataFrame:
    """The loss-optimal size at every sparsity tried, with what the runs say about it: the table of a study.

    Where points have several seeds, no interval is narrower than the noise between these makes it.

    Args:
        surface: a fitted surface.
        level: of the intervals.
        alone: whether each sparsity is fitted alone, too; without it, the columns ``parabola_...`` are left out.

    Returns:
        One row a sparsity: ``budget, sparsity, runs``; the size ``n, n_low, n_high`` and the loss, from the
        surface; ``edge, inside, status`` as in ``Optimum``; ``smallest, largest, sizes``, the sizes tried;
        ``active_params``, ``total_params`` and ``tokens`` at the best size, interpolated between runs, where the table
        has them; ``parabola_n, parabola_n_low, parabola_n_high, parabola_loss, parabola_loss_low,
        parabola_loss_high, parabola_bracketed, parabola_status`` from the runs of that sparsity alone (empty for
        fewer than three sizes). Only under a status in ``standing.FOUND`` is ``n`` an optimum.
    """
    log_n = np.log(surface.runs[surface.variable].to_numpy(float))
    point = points(log_n, sparsity_coordinate(surface.runs["sparsity"].to_numpy(float)))
    noise = between_seeds(surface.runs["loss"].to_numpy(float), point) ** 0.5
    seeds = redraw_seeds(surface, noise) if noise and len(surface.replicates) else surface
    return pd.DataFrame(
        [
            _row(surface, seeds, sparsity, level) | (_alone(surface, sparsity, level) if alone else {})
            for sparsity in surface.sparsities
        ]
    )


def _row(surface: Surface, seeds: Surface, sparsity: float, level: float) -> dict[str, object]:
    best, chance = surface.optimum(sparsity, level), seeds.optimum(sparsity, level)
    sizes = surface.tried.at(sparsity)
    row: dict[str, object] = {
        "budget": surface.budget,
        "sparsity": sparsity,
        "runs": int((surface.runs["sparsity"] == sparsity).sum()),
        "n": best.n,
        "n_low": np.fmin(best.n_low, chance.n_low),
        "n_high": np.fmax(best.n_high, chance.n_high),
        "loss": best.loss,
        "loss_low": np.fmin(best.loss_low, chance.loss_low),
        "loss_high": np.fmax(best.loss_high, chance.loss_high),
        "edge": best.edge,
        "inside": best.inside,
        "status": best.status,
        "smallest": sizes[0],
        "largest": sizes[-1],
        "sizes": len(sizes),
    }
    for column in ("total_params", "active_params", "tokens"):
        if column == surface.variable:
            row[column] = best.n
        elif column in surface.runs.columns:
            row[column] = surface.companion(best.n, sparsity, column)
    return row


def _alone(surface: Surface, sparsity: float, level: float) -> dict[str, object]:
    """The parabola through the runs of one sparsity: how far from the optimum these may lie it judges for itself."""
    far = surface.set_aside
    every = pd.concat([surface.runs, far[far["why"] == FAR]]) if len(far) else surface.runs
    try:
        alone = parabola_of(every[every["sparsity"] == sparsity], sparsity, surface.variable, level)
    except SurfaceError:  # fewer than three sizes
        return {}
    return {
        "parabola_n": alone.n,
        "parabola_n_low": alone.n_low,
        "parabola_n_high": alone.n_high,
        "parabola_loss": alone.loss,
        "parabola_loss_low": alone.loss_low,
        "parabola_loss_high": alone.loss_high,
        "parabola_bracketed": alone.bracketed,
        "parabola_status": alone.status,
    }
