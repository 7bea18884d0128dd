"""Whether the optima of a surface are those of the runs at each sparsity, or its form has moved them."""

from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc

from moelaws.surfaces.curves import Cells
from moelaws.surfaces.degrees import Choice
from moelaws.surfaces.polynomial import Array

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
        ends: whether the interval has a lower and an upper end inside the sizes tried.
    """

    low: float
    high: float
    loss_low: float
    loss_high: float
    ends: tuple[bool, bool]


@dataclass(frozen=True)
class Reference:
    """What the intervals of a surface's optima must hold besides its own noise.

    Attributes:
        curves: of single sparsities, whose intervals belong in those of the surface; for a table of one sparsity of
            the degree chosen and of the next; none if the surface agrees with them.
        at, loss: optima of the surface at the places of the curves: ln N, nats per token.
        shift: by how much all optima may lie elsewhere, in ln N: what parts them from the curves' on average, less
            what noise explains.
    """

    curves: tuple[Cells, ...]
    at: Array
    loss: Array
    shift: float = 0.0

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
        inside = [each[nearest].ends for each in found]
        return Reach(low, high, loss_low, loss_high, (all(e[0] for e in inside), all(e[1] for e in inside)))


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
        The curves, or the shift; nothing for runs that hold no such curve.
    """
    at = {place: found[0] for place, found in optima.items()}
    if len(optima) == 1:
        chosen = choice.best.degree[0]
        both = [Cells.of(log_n, s_hat, choice.loss, at, degree, floor) for degree in (chosen, chosen + 1)]
        curves = tuple(each for each in both if each)
        return _of(curves, curves, optima, 0.0) if curves else None
    shapes = [(degree, trend) for degree in (2, 3, 4) for trend in range(min(3, len(optima)))]
    fits = [Cells.of(log_n, s_hat, choice.loss, at, degree, floor, trend) for degree, trend in shapes]
    closest = min((each for each in fits if each), key=lambda each: each.variance, default=None)
    # Curves that describe the runs worse than the surface does say nothing against it.
    if closest is None or closest.variance > choice.squares / max(choice.freedom, 1):
        return None
    chance, shift = compare(choice, closest, at)
    return _of((closest,) if chance < CHANCE else (), (closest,), optima, shift)


def _of(
    curves: tuple[Cells, ...], known: tuple[Cells, ...], optima: dict[float, tuple[float, float]], shift: float
) -> Reference:
    best = np.array([optima[float(place)] for place in known[0].places])
    return Reference(curves, best[:, 0], best[:, 1], shift)


def compare(choice: Choice, cells: Cells, at: dict[float, float]) -> tuple[float, float]:
    """Hold the optima of a surface against those of the cells.

    Args:
        choice: the surface.
        cells: the curves of the cells.
        at: ln N of the surface's optima, by -ln(1 - S).

    Returns:
        How often noise alone would part them as far as they are, by two F tests, of all differences and of their mean,
        which share the doubt: the form of a surface moves neighbouring optima the same way. And the mean difference
        less what noise explains of it, as James and Stein would shrink it, in ln N towards the cells.
    """
    moved, pulls = [], []
    for place, vertex in zip(cells.places, cells.vertices(), strict=True):
        pull = _pull(choice, at[float(place)], float(place))
        if pull is not None and vertex.inner and all(vertex.ends):
            moved.append(at[float(place)] - vertex.at)
            pulls.append(pull - vertex.pull)
    if not moved:
        return 1.0, 0.0
    apart, by_run = np.array(moved), np.array(pulls)
    covariance = by_run @ by_run.T * cells.variance
    all_of_them = float(apart @ np.linalg.pinv(covariance, rcond=1e-8, hermitian=True) @ apart) / len(apart)
    mean, variance = float(apart.mean()), float(covariance.mean())
    common = mean**2 / variance if variance > 0 else 0.0
    rarer = min(float(fdtrc(len(apart), cells.freedom, all_of_them)), float(fdtrc(1, cells.freedom, common)))
    return min(1.0, 2 * rarer), -mean * max(0.0, 1 - 1 / common) if common > 0 else 0.0


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
