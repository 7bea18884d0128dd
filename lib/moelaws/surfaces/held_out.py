"""Least squares refits of one design, by the thousand: what held-out points and resampled noise would have given.

Everything here takes an orthonormal design Q (P x p), losses (P numbers) and ``point``, a label per run: runs of
one size and sparsity that differ by seed share a point. A point is held out, or gets its noise redrawn, as a
whole: a seed replicate in the training half of a split would tell the answer to the other half.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
    return _held_out(loss - loss @ q @ q.T, np.einsum("pi,pi->p", q, q), point)


def held_out_errors(family: Array, counts: Sequence[int], losses: Array, point: NDArray[np.intp]) -> Array:
    """Mean squares of ``held_out_residuals`` for fits to the first columns of a design, each as it adds to the last.

    Args:
        family: the design.
        counts: how many columns each fit has, the fewest first.
        losses: rows of P losses.
        point: the point of each run.

    Returns:
        Mean squares, counts x rows.
    """
    seen, order = losses @ family[:, : counts[-1]], _Order.of(point)
    residual, leverage, before = losses, np.zeros(len(point)), 0
    errors = np.empty((len(counts), len(losses)))
    for row, count in enumerate(counts):
        more = family[:, before:count]
        residual = residual - seen[:, before:count] @ more.T
        leverage, before = leverage + np.einsum("pi,pi->p", more, more), count
        errors[row] = np.mean(_held_out(residual, leverage, point, order) ** 2, axis=1)
    return errors


@dataclass(frozen=True)
class _Order:
    """The runs sorted by point.

    Attributes:
        runs: how many each point has.
        order: the runs, those of one point beside each other.
        first: where each point begins.
    """

    runs: NDArray[np.intp]
    order: NDArray[np.intp]
    first: NDArray[np.intp]

    @classmethod
    def of(cls, point: NDArray[np.intp]) -> "_Order":
        runs = np.bincount(point)
        return cls(runs, np.argsort(point, kind="stable"), np.cumsum(runs) - runs)


def _held_out(residual: Array, leverage: Array, point: NDArray[np.intp], by: _Order | None = None) -> Array:
    """Residuals of fits without each run's point, from residuals and the diagonal of the hat matrix."""
    by = by or _Order.of(point)
    total = np.add.reduceat(residual[..., by.order], by.first, axis=-1)
    free = 1 - by.runs[point] * leverage
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
