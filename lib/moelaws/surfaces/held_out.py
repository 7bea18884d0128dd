"""Least squares refits of one design, by the thousand: what held-out points and resampled noise would have given.

Everything here takes an orthonormal design Q (P x p), losses (P numbers) and ``point``, a label per run: runs of
one size and sparsity that differ by seed share a point. A point is held out, or gets its noise redrawn, as a
whole: a seed replicate in the training half of a split would tell the answer to the other half.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from moelaws.surfaces.polynomial import Array


def held_out_residuals(q: Array, loss: Array, point: NDArray[np.intp]) -> Array:
    """Loss minus the prediction of the fit without the run's whole point, exactly and without refitting.

    With m runs at one point the hat matrix there is h 11', so that (I - H)^-1 e = e + 1 h sum(e) / (1 - m h).

    Args:
        q: the design.
        loss: P losses, or any number of rows of them.
        point: the point of each run.

    Returns:
        Residuals of the shape of ``loss``; infinite where the other points do not determine the fit.
    """
    residual = loss - loss @ q @ q.T
    leverage = np.einsum("pi,pi->p", q, q)  # diagonal of the hat matrix Q Q'
    runs = np.bincount(point)
    total = np.add.reduceat(residual[..., np.argsort(point, kind="stable")], np.cumsum(runs) - runs, axis=-1)
    free = 1 - runs[point] * leverage
    determined = free > 1e-9
    correction = np.where(determined, leverage / np.where(determined, free, 1), np.inf)
    with np.errstate(invalid="ignore"):  # 0 times infinity, at a point that alone determines its term
        return np.where(determined, residual + correction * total[..., point], np.inf)


def redrawn_losses(
    q: Array, loss: Array, point: NDArray[np.intp], replicates: int, seed: int, at_once: int = 4_000_000
) -> Iterator[Array]:
    """Losses with redrawn noise: each point's residuals keep their size and get a random sign (wild bootstrap).

    The sizes and sparsities of a sweep are chosen, not drawn, so the design stays as it is; the noise may differ
    from point to point (sparse models are noisier) and is never assumed equal. Residuals are first freed of the
    shrinkage that fitting causes: a point's mean residual is divided by 1 - m h, the jack-knife correction
    (MacKinnon and White 1985), a little conservative and right for few points.

    Yields:
        Losses, some replicates x P, of about ``at_once`` numbers: long tables are redrawn piece by piece.
    """
    corrected = np.nan_to_num(held_out_residuals(q, loss, point), posinf=0.0)
    fitted = loss @ q @ q.T
    rng = np.random.default_rng(seed)
    rows = max(1, at_once // len(loss))
    for first in range(0, replicates, rows):
        signs = rng.choice([-1.0, 1.0], size=(min(rows, replicates - first), int(point.max()) + 1))
        yield fitted + signs[:, point] * corrected


def subsample_scores(
    q: Array, loss: Array, point: NDArray[np.intp], repeats: int, share: float, seed: int
) -> tuple[Array, Array]:
    """Refit on random shares of the points and score the points left out (Abnar et al. 2025, App. B).

    Returns:
        Pearson correlation and mean squared error on the held-out runs, one number a repeat that determined the
        fit and held out at least three runs.
    """
    rng = np.random.default_rng(seed)
    points = int(point.max()) + 1
    kept = min(points - 1, max(q.shape[1], round(share * points)))
    order = np.argsort(rng.random((repeats, points)), axis=1)
    chosen = np.zeros((repeats, points))
    np.put_along_axis(chosen, order[:, :kept], 1.0, axis=1)
    weight = chosen[:, point]
    gram = np.einsum("rp,pi,pj->rij", weight, q, q, optimize=True)
    usable = (np.linalg.cond(gram) < 1e10) & ((weight == 0).sum(axis=1) >= 3)
    weight = weight[usable]
    if not len(weight):
        return np.empty(0), np.empty(0)
    fitted = np.linalg.solve(gram[usable], ((weight * loss) @ q)[..., None])[..., 0] @ q.T
    out = weight == 0
    count = out.sum(axis=1)
    error = np.where(out, fitted - loss, 0.0)

    def centred(values: Array) -> Array:
        return np.where(out, values - (out * values).sum(axis=1, keepdims=True) / count[:, None], 0.0)

    a, b = centred(fitted), centred(np.broadcast_to(loss, fitted.shape))
    spread = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    pearson = np.divide((a * b).sum(axis=1), spread, out=np.zeros(len(a)), where=spread > 0)
    return pearson, (error**2).sum(axis=1) / count
