"""Walks from a minimum towards the ends of intervals: where each looks next, and what it makes of what it finds."""

from dataclasses import dataclass

import numpy as np

CLOSE = 5e-3
"""An end is found when the rise is this close to the limit, as a share of it."""
LOWER = 4
"""So many times as close, and lower, an end is none."""
_JUMP = 1e-3
"""Between two points nearer than this share of the way from the minimum, the objective must jump."""
_SMOOTH = 6
"""Trials within which interpolation finds the end of a smooth valley."""
_FARTHER = 5e-3
"""A point is farther than an end by this share of the way there at least: ends are no better known (``CLOSE``)."""
_LONGEST = 4.0
"""Most by which a step grows."""


@dataclass(frozen=True)
class Walks:
    """Walks from the minimum towards the ends of the intervals, one each way for each parameter.

    Places are coordinates of the parameters; steps are taken in ``smooth`` ones, in which an amplitude that vanishes
    does so at a finite distance. A rise is that of the objective in units of its limit: an interval ends where it is 1.

    Attributes:
        parameter: which coordinate is held, [walks].
        sign: in which direction, [walks].
        faint: see ``smooth``, [walks].
        edge: the bound ahead, [walks].
        origin: where it began, [walks].
        inside: farthest place known to be inside, [walks].
        rise: of the objective there, [walks].
        at: all coordinates there, [walks, P].
        outside: nearest place known to be outside, nan before there is one, [walks].
        rise_outside: of the objective there, [walks].
        step: how far to go next, while nothing is known to be outside, in smooth coordinates, [walks].
        tried: trials since something was known to be outside, [walks].
        end: the end that was found, infinite where the bound came first, nan while under way, [walks].
        points: place -> rise, for each parameter.
    """

    parameter: np.ndarray
    sign: np.ndarray
    faint: np.ndarray
    edge: np.ndarray
    origin: np.ndarray
    inside: np.ndarray
    rise: np.ndarray
    at: np.ndarray
    outside: np.ndarray
    rise_outside: np.ndarray
    step: np.ndarray
    tried: np.ndarray
    end: np.ndarray
    points: list[dict[float, float]]

    def resume(self, which: np.ndarray, place: np.ndarray, rise: np.ndarray, at: np.ndarray) -> None:
        """Go on from places, beyond an end or at it, at which the objective turned out to be lower than thought."""
        faint, edge = self.faint[which], self.edge[which]
        self.step[which] = np.maximum(0.25 * np.abs(smooth(place, faint) - smooth(self.origin[which], faint)), 1e-6)
        self.inside[which], self.rise[which], self.at[which] = place, rise, at
        self.outside[which], self.tried[which] = np.nan, 0
        self.end[which] = np.where(place == edge, np.inf * self.sign[which], np.nan)

    def onward(self, rises: np.ndarray, at: np.ndarray) -> bool:
        """Let every walk go on from the farthest point inside, where one lies beyond its end, or at it but well inside.

        A point that another walk came to, or a search from elsewhere, belongs to the interval of every coordinate under
        whose limit it lies, whatever lies between.

        Args:
            rises: of the objective at points, in units of the limit of each coordinate's interval, [points, P].
            at: their coordinates, [points, P].

        Returns:
            Whether any walk goes on.
        """
        moved = False
        for k, (i, sign) in enumerate(zip(self.parameter, self.sign, strict=True)):
            within = np.flatnonzero(rises[:, i] < 1)
            if not len(within):
                continue
            far = within[np.lexsort((rises[within, i], -sign * at[within, i]))[0]]
            place, end = at[far, i], self.inside[k] if np.isnan(self.end[k]) else self.end[k]
            out, ended, origin = smooth(np.array([place, end, self.origin[k]]), self.faint[k])
            lower = place == end and rises[far, i] < 1 - LOWER * CLOSE
            if lower or sign * (out - ended) > _FARTHER * abs(ended - origin):
                self.resume(np.array([k]), place, rises[far, i], at[far])
                moved = True
        return moved


def smooth(place: np.ndarray, faint: np.ndarray) -> np.ndarray:
    """The log of an amplitude plus a faint one: the log where the amplitude is seen, its value where it fades."""
    with np.errstate(invalid="ignore"):  # a place that is not known yet
        return np.logaddexp(place, faint)


def rough(height: np.ndarray, faint: np.ndarray) -> np.ndarray:
    """The inverse of ``smooth``; minus infinity where no amplitude is left."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(height > faint, height + np.log1p(-np.exp(np.minimum(faint - height, 0.0))), -np.inf)


def trial_of(walks: Walks, going: np.ndarray) -> np.ndarray:
    """Where each walk looks next: further out, or between what is inside and what is outside."""
    faint, outside = walks.faint[going], walks.outside[going]
    inside = smooth(walks.inside[going], faint)
    further = inside + walks.sign[going] * walks.step[going]
    # The root of the rise is close to linear: interpolate on it, kept away from the ends, and halve every third time;
    # each time once that has not helped, as where the objective jumps.
    low, high = np.sqrt(walks.rise[going]), np.sqrt(walks.rise_outside[going])
    share = np.clip((1.0 - low) / np.maximum(high - low, 1e-12), 0.1, 0.9)
    share = np.where((walks.tried[going] % 3 == 2) | (walks.tried[going] > _SMOOTH), 0.5, share)
    between = inside + share * (smooth(outside, faint) - inside)
    trial = rough(np.where(np.isnan(outside), further, between), faint)
    edge = walks.edge[going]
    return np.where(walks.sign[going] < 0, np.maximum(trial, edge), np.minimum(trial, edge))


def note(
    walks: Walks, going: np.ndarray, trial: np.ndarray, rise: np.ndarray, at: np.ndarray, close: float = CLOSE
) -> None:
    """Write down what the walks found.

    Args:
        walks: all walks; changed.
        going: those that looked, by index.
        trial: where, [going].
        rise: what they found there, [going].
        at: with which coordinates, [going, P].
        close: how near the limit a rise must be, as a share of it, for an end to be found.
    """
    for i, place, height in zip(walks.parameter[going], trial, rise, strict=True):
        walks.points[i][float(place)] = float(height)
    faint, out = walks.faint[going], rise >= 1.0
    other = np.where(out, walks.inside[going], walks.outside[going])
    far = np.abs(smooth(trial, faint) - smooth(walks.origin[going], faint))
    gap = np.abs(smooth(trial, faint) - smooth(other, faint))
    with np.errstate(invalid="ignore"):
        found = (np.abs(rise - 1.0) < close) | (gap < _JUMP * far)
    walks.end[going[found]] = trial[found]
    stuck = ~out & ~found & (trial == walks.edge[going])
    walks.end[going[stuck]] = np.inf * walks.sign[going[stuck]]
    walks.tried[going[out | ~np.isnan(walks.outside[going])]] += 1
    walks.outside[going[out]], walks.rise_outside[going[out]] = trial[out], rise[out]
    inner, reached = going[~out], rise[~out]
    # The next step aims a little past the limit, by the rise so far; no less than half this one.
    before, root = np.sqrt(walks.rise[inner]), np.sqrt(reached)
    pace = (1.0 - root) / np.maximum(root - before, 1e-12)
    gone = np.abs(smooth(trial[~out], faint[~out]) - smooth(walks.inside[inner], faint[~out]))
    walks.step[inner] = np.maximum(gone * np.clip(1.1 * pace, 0.5, _LONGEST), 1e-9)
    walks.inside[inner], walks.rise[inner], walks.at[inner] = trial[~out], reached, at[~out]
