"""Likelihood intervals: how far each parameter can go before the objective, all others refitted, rises too much."""

from collections.abc import Sequence

import numpy as np

from moelaws.fitting.engine.problem import Problem
from moelaws.fitting.intervals.basin import MANY_RUNS, Valley, valley_around
from moelaws.fitting.intervals.covariance import Spread
from moelaws.fitting.intervals.elsewhere import search_elsewhere
from moelaws.fitting.intervals.ends import Ends, edge_of, kind_of
from moelaws.fitting.intervals.walks import CLOSE, LOWER, Walks, note, smooth, trial_of
from moelaws.fitting.result_parts import Solution
from moelaws.stages import stage

_TRIALS = 60
_CHECKS = 6
_NEARER = 1.5
"""How near the limit, in units of ``CLOSE``, an end must still be where several valleys may lie just under it."""


def interval_ends(
    problem: Problem, theta: np.ndarray, least: float, spread: Spread, level: float,
    which: Sequence[int] | None = None, solution: Solution | None = None,
) -> Ends:  # fmt: skip
    """Ends of the likelihood intervals of coordinates; every walk takes its steps in the same batch.

    An interval spans all values under the limit. Where the objective has several valleys, some of them may lie apart
    from the minimum's own: walks go on from the farthest point of any valley that is known, and at the ends, and beyond
    them, a small search from elsewhere looks for valleys that are not.

    Args:
        problem: the fit's problem.
        theta: the minimum, [P].
        least: the objective there.
        spread: what noise does to it; its degrees of freedom must not be zero.
        level: of the intervals.
        which: the coordinates; ``None`` for all.
        solution: of the fit, which knows other minima that the search came to, and keeps what was walked: whoever asks
            for another coordinate of one walk gets it at once. ``None`` asks for a quick answer, of the valley around
            the minimum alone.

    Returns:
        The ends.
    """
    known = np.empty((0, len(theta))) if solution is None else solution.minima
    valley, values = valley_around(problem, theta, least, spread, level, known)
    asked = np.arange(len(theta)) if which is None else np.asarray(which)
    # What one walk finds of other valleys is news to all: so each coordinate gets the interval that it has among all.
    chosen = np.arange(len(theta)) if len(valley.others) else asked
    place = np.searchsorted(chosen, asked) if len(valley.others) else np.arange(len(asked))
    kept, key = {} if solution is None else solution.walked, (level, *chosen.tolist())
    if key in kept:
        return _ends(*kept[key], place)
    walks = _walks(valley, chosen)
    trail = [(valley.rises_of(values), known)]
    unknown = _walk(valley, walks, trail, thorough=False)
    checked, rng = np.full(len(walks.end), np.nan), np.random.default_rng(0)
    for _ in range(_CHECKS if problem.n_runs <= MANY_RUNS else 0):
        # By now other walks may have found lower ground: an end from which the objective no longer rises so far is
        # none.
        ended = np.flatnonzero(np.isfinite(walks.end))
        rise, at = valley.rises(walks, ended, walks.end[ended], thorough=True)
        again = rise < 1 - (_NEARER if len(valley.others) else LOWER) * CLOSE
        walks.resume(ended[again], walks.end[ended[again]], rise[again], at[again])
        if solution is not None:
            # Where there are several valleys there may be more: every round looks at every end, old or new.
            still = ended[~again & ((walks.end[ended] != checked[ended]) | (len(valley.others) > 0))]
            checked[still] = walks.end[still]
            trail.append(search_elsewhere(valley, walks, still, rng))
            valley = valley.with_others(*trail[-1])
        moved = walks.onward(*(np.concatenate(part) for part in zip(*trail, strict=True)))
        if not (again.any() or moved):
            break
        unknown = _walk(valley, walks, trail, thorough=True)
    kept[key] = walks, unknown
    return _ends(walks, unknown, place)


def _walks(valley: Valley, chosen: np.ndarray) -> Walks:
    n = len(chosen)
    i, sign, nowhere = np.tile(chosen, 2), np.repeat([-1.0, 1.0], n), np.full(2 * n, np.nan)
    theta, faint = valley.theta, valley.faint[i]
    bend = np.exp(theta[i] - smooth(theta[i], faint))  # of smooth coordinates by the parameter's own
    step = np.where(bend < 0.02, 0.5, valley.step[i] * bend)
    edge = np.where(sign < 0, valley.problem.lower[i], valley.problem.upper[i])
    return Walks(
        i, sign, faint, edge, theta[i], theta[i].copy(), np.zeros(2 * n), np.tile(theta, (2 * n, 1)), nowhere,
        nowhere.copy(), step, np.zeros(2 * n, dtype=int), nowhere.copy(),
        [{float(place): 0.0} for place in theta],
    )  # fmt: skip


def _walk(valley: Valley, walks: Walks, trail: list[tuple[np.ndarray, np.ndarray]], thorough: bool) -> np.ndarray:
    """Walk on until every walk has its end; those that have none after all trials, [walks].

    The trail is added to: rises at the points that the walks came to, in units of each coordinate's limit, [points, P],
    and where, [points, P].
    """
    with stage("likelihood intervals", len(walks.end)) as done:
        for _ in range(_TRIALS):
            going = np.flatnonzero(np.isnan(walks.end))
            if not len(going):
                break
            done(len(walks.end) - len(going))
            trial = trial_of(walks, going)
            close = CLOSE if valley.problem.n_runs <= MANY_RUNS else 4 * CLOSE
            rise, at = valley.rises(walks, going, trial, thorough)
            note(walks, going, trial, rise, at, close)
            trail.append((valley.rises_of_walks(rise, walks.parameter[going]), at))
    return np.isnan(walks.end)


def _ends(walks: Walks, unknown: np.ndarray, which: np.ndarray) -> Ends:
    """What the walks say of some of the parameters, by their places among those that were walked."""
    edge, n = edge_of(walks.edge, walks.sign), len(walks.end) // 2
    found = ~unknown & np.isfinite(walks.end)
    end = np.where(found, walks.end, edge)
    kinds = ["unknown" if unknown[k] else kind_of(found[k], edge[k]) for k in range(2 * n)]
    return Ends(
        end[which], end[n + which], [(kinds[k], kinds[n + k]) for k in which],
        [walks.points[i] for i in walks.parameter[which]],
    )  # fmt: skip
