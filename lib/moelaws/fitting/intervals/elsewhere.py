"""Searches from elsewhere: is there another valley at the end of an interval, or beyond it?"""

import numpy as np

from moelaws.fitting.engine.first_descent import first_descent
from moelaws.fitting.engine.problem import Problem
from moelaws.fitting.engine.starts import held_starts
from moelaws.fitting.intervals.basin import Valley, lowest, refit_held
from moelaws.fitting.intervals.ends import BOUNDLESS
from moelaws.fitting.intervals.walks import Walks, rough, smooth

_BEYOND = np.array([1.0, 4.0])
"""Where to look beyond an end: so many times its distance from the minimum farther out."""
_STARTS, _MORE = 12, 48
"""Starts at each place, and where the objective is known to have several valleys: there nearly all of those lie that
nobody met. A valley that one of them finds is shared by all walks."""
_GLANCE, _DESCENT = 8, 22
"""Steps of all starts, and of those that go on after them."""
_FOLLOWED, _REFITTED = 3, 2
"""One in so many starts goes on after the first steps, and so many at each place then go to the bottom: the lowest."""
_ALIKE = 1e-2
"""Starts whose objectives differ by less than this share after the first steps are on their way down one valley."""
_ENOUGH_RUNS = 100
"""Runs that tell whether another valley is near the limit at all."""


def search_elsewhere(
    valley: Valley, walks: Walks, which: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Refits from dispersed starts with a coordinate held at the end of a walk, beyond it, and at its bound.

    A walk follows its valley. Another one, in which the terms of the law change their parts, may pass below it before
    the end, or come up again beyond: only a search that begins elsewhere finds it.

    Args:
        valley: the surroundings of the minimum.
        walks: all walks.
        which: those whose ends are looked at, by index.
        rng: source of randomness.

    Returns:
        Rises of the objective at what was found, in units of each coordinate's limit, [points, P], and where,
        [points, P].
    """
    several, ends, places = len(valley.others) > 0, *_places(walks, which)
    count = _MORE if several else _STARTS
    beyond = _search(valley, *places, count, count // 3, rng)
    at_ends = _search(valley, *ends, count, len(valley.theta) * 10 if several else count // 3, rng)
    return np.concatenate([beyond[0], at_ends[0]]), np.concatenate([beyond[1], at_ends[1]])


def _search(
    valley: Valley, held: np.ndarray, about: np.ndarray, count: int, leaps: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The search with coordinates held at points, from so many starts each, of which at most so many are leaps."""
    problem, p = valley.problem, len(valley.theta)
    if not len(held):
        return np.empty((0, p)), np.empty((0, p))
    few = problem.thinned(_ENOUGH_RUNS)
    starts = np.concatenate([held_starts(few, i, about[held == i], count, leaps, rng) for i in np.unique(held)])
    starts, value = _descended(few, starts, held, _GLANCE)
    starts = _chosen(starts, lowest(value, count // _FOLLOWED, _ALIKE))
    starts, _ = _descended(few, starts, held, _DESCENT)
    value = problem.value(problem.residuals(starts.reshape(-1, p))).reshape(starts.shape[:2])
    starts = _chosen(starts, lowest(value, _REFITTED, 0.0))
    found, at = refit_held(problem, starts, held)
    return valley.rises_of(found), at


def _descended(few: Problem, starts: np.ndarray, held: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Ends of descents with coordinates held, [points, starts, P], and their objectives, [points, starts]."""
    points, each, p = starts.shape
    mask = np.repeat(np.arange(p) == held[:, None], each, axis=0)
    down = first_descent(few, starts.reshape(-1, p), steps, held=mask)
    return down.theta.reshape(starts.shape), down.value.reshape(points, each)


def _chosen(starts: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Some starts of each point, by index, [points, chosen]."""
    return np.take_along_axis(starts, which[:, :, None], axis=1)


def _places(walks: Walks, which: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Ends of walks, and places beyond: which coordinate is held, [points], in rising order, and points, [points, P].

    The points are the walks' own, drawn out.
    """
    faint, sign, edge = walks.faint[which], walks.sign[which], walks.edge[which]
    end, origin = smooth(walks.end[which], faint), smooth(walks.origin[which], faint)
    out = rough(end + sign * np.abs(end - origin) * _BEYOND[:, None], faint)
    out = np.where(sign < 0, np.maximum(out, edge), np.minimum(out, edge))
    out = np.concatenate([out, np.where(np.abs(edge) < BOUNDLESS, edge, out[-1])[None]])
    found = []
    for place in (walks.end[which][None], out):
        held = np.tile(walks.parameter[which], len(place))
        about = np.tile(walks.at[which], (len(place), 1))
        about[np.arange(len(held)), held] = place.reshape(-1)
        first = np.unique(np.stack([held, place.reshape(-1)]), axis=1, return_index=True)[1]
        order = first[np.argsort(held[first], kind="stable")]
        found.append((held[order], about[order]))
    return tuple(found)
