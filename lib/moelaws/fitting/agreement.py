"""Whether the optima of a surface are those of the runs at each sparsity, or its form has moved them."""

from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc, stdtr

from moelaws.fitting.cells import Cells
from moelaws.fitting.degrees import Choice
from moelaws.fitting.polynomial import Array

CHANCE = 0.1
"""A surface whose optima lie further from those of its cells than in this share of tables of noise alone is not taken
at its word. Liberal: a shift too small to be sure of may still be as large as an interval."""

_STEP = 1e-3  # in ln N, for derivatives of the terms


@dataclass(frozen=True)
class Reach:
    """How far the interval of one optimum must go.

    Attributes:
        low, high: ends in ln N.
        loss_low, loss_high: ends in nats per token.
        resolved: whether sizes on both sides of the whole interval were tried.
    """

    low: float
    high: float
    loss_low: float
    loss_high: float
    resolved: bool


@dataclass(frozen=True)
class Reference:
    """Curves of single sparsities whose intervals belong in those of a surface.

    Attributes:
        curves: of the cells; for one sparsity of the degree chosen and of the next.
        at, loss: optima of the surface at the places of the curves: ln N, nats per token.
    """

    curves: tuple[Cells, ...]
    at: Array
    loss: Array

    @property
    def alone(self) -> bool:
        """Whether these curves are of one sparsity, and so all there is to know about its optimum."""
        return len(self.at) == 1

    def reach(self, place: float, at: float, loss: float, level: float) -> Reach:
        """The reach of an optimum, between the sparsities of the curves by interpolation.

        Args:
            place: -ln(1 - S).
            at, loss: the optimum of the surface there.
            level: of the intervals.
        """
        found = [curves.vertices(level) for curves in self.curves]
        places = self.curves[0].places

        def offset(name: str, of: Array, beyond: bool) -> float:
            ends = np.array([[getattr(vertex, name) for vertex in each] for each in found])
            return float(np.interp(place, places, (ends.max(axis=0) if beyond else ends.min(axis=0)) - of))

        low, high = at + offset("low", self.at, False), at + offset("high", self.at, True)
        loss_low, loss_high = loss + offset("loss_low", self.loss, False), loss + offset("loss_high", self.loss, True)
        if self.alone:
            # What the next power of ln N changes is a measure of what the further ones may.
            higher = found[-1][0]
            apart, deeper = abs(at - higher.at), abs(loss - higher.loss)
            low, high = min(low, at - apart), max(high, at + apart)
            loss_low, loss_high = min(loss_low, loss - deeper), max(loss_high, loss + deeper)
        nearest = int(np.argmin(np.abs(places - place)))
        return Reach(low, high, loss_low, loss_high, all(each[nearest].resolved for each in found))


def reference(
    log_n: Array, s_hat: Array, choice: Choice, optima: dict[float, tuple[float, float]], floor: float
) -> Reference | None:
    """What the intervals of a surface's optima must hold besides its own noise.

    For one sparsity it is the polynomial of the degree chosen, and of the next: an isoFLOP curve bends differently on
    its two sides, and by less than the runs need show for it to move the vertex. For several sparsities it is the
    curves of the cells, if the surface does not agree with them.

    Args:
        log_n, s_hat: the runs of the fit, P numbers each.
        choice: the fit.
        optima: ln N and loss of its optima, by -ln(1 - S) of each sparsity tried.
        floor: least variance of the noise, nats squared.

    Returns:
        The curves; nothing for a surface that agrees with its cells, or for runs that hold no such curve.
    """
    at = {place: found[0] for place, found in optima.items()}
    if len(optima) == 1:
        chosen = choice.best.degree[0]
        both = [Cells.of(log_n, s_hat, choice.loss, at, degree, floor) for degree in (chosen, chosen + 1)]
        curves = tuple(each for each in both if each)
    else:
        shapes = [(degree, trend) for degree in (2, 3, 4) for trend in range(min(3, len(optima)))]
        fits = [Cells.of(log_n, s_hat, choice.loss, at, degree, floor, trend) for degree, trend in shapes]
        closest = min((each for each in fits if each), key=lambda each: each.variance, default=None)
        # Curves that describe the runs worse than the surface does say nothing against it.
        worse = closest is None or closest.variance > choice.squares / max(choice.freedom, 1)
        curves = () if closest is None or worse or chance(choice, closest, at) >= CHANCE else (closest,)
    if not curves:
        return None
    best = np.array([optima[float(place)] for place in curves[0].places])
    return Reference(curves, best[:, 0], best[:, 1])


def chance(choice: Choice, cells: Cells, at: dict[float, float]) -> float:
    """How often noise alone would part the optima of surface and cells as far as they are.

    Two F tests, of all differences and of their mean, share the doubt: the form of a surface moves neighbouring optima
    the same way.
    """
    moved, pulls = [], []
    for place, vertex in zip(cells.places, cells.vertices(), strict=True):
        pull = _pull(choice, at[float(place)], float(place))
        if pull is not None and vertex.resolved:
            moved.append(at[float(place)] - vertex.at)
            pulls.append(pull - vertex.pull)
    if not moved:
        return 1.0
    apart, by_run = np.array(moved), np.array(pulls)
    covariance = by_run @ by_run.T * cells.variance
    all_of_them = float(apart @ np.linalg.pinv(covariance, rcond=1e-8, hermitian=True) @ apart) / len(apart)
    error = float(np.sqrt(cells.variance) * np.linalg.norm(by_run.mean(axis=0)))
    common = abs(float(apart.mean())) / error if error > 0 else 0.0
    rarer = min(float(fdtrc(len(apart), cells.freedom, all_of_them)), float(2 * stdtr(cells.freedom, -common)))
    return min(1.0, 2 * rarer)


def _pull(choice: Choice, at: float, place: float) -> Array | None:
    """Change of the surface's optimum with each run's loss, P numbers, if it is an inner one."""
    design = choice.terms.design(at + _STEP * np.array([-1.0, 0.0, 1.0]), np.full(3, place))
    basis = design[:, choice.best.columns] @ choice.best.inverse
    below, here, above = basis @ (choice.best.q.T @ choice.loss)
    bend = (above - 2 * here + below) / _STEP**2
    if bend <= 0 or abs(above - below) / (2 * _STEP) > 0.05 * bend:
        return None
    pull: Array = -(choice.best.q @ (basis[2] - basis[0])) / (2 * _STEP * bend)
    return pull
