"""Ends of intervals: where they are, how they came about, and that they never pass a bound."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from moelaws.fitting.engine.problem import Problem
from moelaws.fitting.intervals.covariance import Spread

End = Literal["found", "open", "bound", "unknown"]
"""``found``: the rise there is the limit, and was looked at twice. ``open``: the objective never rises so far, down to
an amplitude of zero or up to one without end. ``bound``: nor up to a bound, the reader's or the law's own. ``unknown``:
the search did not come to rest."""

BOUNDLESS = 200.0
"""Logs of amplitudes beyond which there is no bound but arithmetic's: 1e-87 is zero."""


@dataclass(frozen=True)
class Ends:
    """Ends of the intervals of some coordinates.

    Attributes:
        low: coordinates, [parameters]; minus infinity where the interval is open, the bound where it ends there.
        high: the same above.
        kinds: how each ended, (below, above), [parameters].
        points: coordinate -> rise of the objective there, in units of the limit, one mapping a parameter; or empty.
    """

    low: np.ndarray
    high: np.ndarray
    kinds: list[tuple[End, End]]
    points: list[dict[float, float]] = field(default_factory=list)


def straight_ends(problem: Problem, theta: np.ndarray, spread: Spread, level: float) -> Ends:
    """Ends of the intervals that a straight law would have: standard errors to either side, as far as the bounds.

    Args:
        problem: the fit's problem.
        theta: the minimum, [P].
        spread: what noise does to it.
        level: of the intervals.

    Returns:
        The ends, of all coordinates.
    """
    with np.errstate(invalid="ignore"):
        reach = np.nan_to_num(spread.quantile(level) * spread.error, nan=np.inf, posinf=np.inf)
    return ends_within(problem, theta - reach, theta + reach)


def ends_within(problem: Problem, low: np.ndarray, high: np.ndarray) -> Ends:
    """Ends cut off at the bounds.

    Args:
        problem: the fit's problem.
        low: coordinates, [P].
        high: the same above.

    Returns:
        The ends, of all coordinates, without points.
    """
    room = 1e-9 * (problem.upper - problem.lower)
    least, most = edge_of(problem.lower, -1.0), edge_of(problem.upper, 1.0)
    below, above = low > problem.lower + room, high < problem.upper - room
    kinds = [(kind_of(below[i], least[i]), kind_of(above[i], most[i])) for i in range(len(low))]
    return Ends(np.where(below, low, least), np.where(above, high, most), kinds)


def kind_of(found: bool, edge: float) -> End:
    return "found" if found else "bound" if np.isfinite(edge) else "open"


def edge_of(bound: np.ndarray, sign: np.ndarray | float) -> np.ndarray:
    """A bound as the end of an interval: none at all where it is only there for arithmetic."""
    return np.where(np.abs(bound) >= BOUNDLESS, sign * np.inf, bound)
