"""What runs pin down: parameters whose interval ends on both sides, within sensible limits; and what to call a fit."""

import numpy as np

from moelaws.fitting.engine.problem import Problem
from moelaws.fitting.intervals.basin import amplitude_shares, are_amplitudes
from moelaws.fitting.intervals.covariance import Spread
from moelaws.fitting.intervals.ends import BOUNDLESS, Ends, straight_ends
from moelaws.fitting.intervals.likelihood import interval_ends
from moelaws.fitting.result_parts import Status
from moelaws.laws.own import floor_of

FEWEST_DEGREES = 3
"""With one or two degrees of freedom the noise itself is known within a factor of 70 or 12, and a narrow interval tells
of luck: such fits pin nothing down."""
_FACTOR = np.log(4.0)
"""How well a floor must be known to be known at all, and what stands in for it."""
_INSTEAD = -0.8
"""Correlation with the floor below which an amplitude stands in for it."""
VANISHED = 1e-6
"""A term below this share of the loss is not there."""


def pinned_down(problem: Problem, spread: Spread, ends: Ends) -> dict[str, bool]:
    """Which free parameters the runs pin down: those whose interval ends on both sides within sensible limits.

    Sensible is a factor of a million for an amplitude or scale, three times the law's range of starts for an exponent.
    The floor has a stricter limit, a factor of four, and so has an amplitude that makes up for it
    (``substitutes``): near zero, the few tables that seem to bound a floor are those whose noise moved it up.

    Args:
        problem: the fit's problem.
        spread: what noise does to the minimum.
        ends: of every parameter's interval.

    Returns:
        Parameter -> whether it is pinned down.
    """
    floor = floor_of(problem.law)
    width = ends.high - ends.low
    bounded = np.array([kinds == ("found", "found") for kinds in ends.kinds]) & ~spread.loose
    bounded &= spread.freedom >= FEWEST_DEGREES
    known = bounded & (width < sensible_width(problem))
    if floor in problem.free:
        i = problem.free.index(floor)
        others = substitutes(problem, spread)
        known[i] &= bool((bounded & (width < _FACTOR))[[i, *others]].all())
    return {name: bool(known[i]) for i, name in enumerate(problem.free)}


def quick_ends(problem: Problem, theta: np.ndarray, least: float, spread: Spread, level: float) -> Ends:
    """Ends for a verdict without intervals: straight ones, but for a floor and what makes up for it.

    Args:
        problem: the fit's problem.
        theta: the minimum, [P].
        least: the objective there.
        spread: what noise does to it.
        level: of the intervals.

    Returns:
        The ends, of all coordinates.
    """
    ends = straight_ends(problem, theta, spread, level)
    floor, others = floor_of(problem.law), substitutes(problem, spread)
    if floor is None or not others or not pinned_down(problem, spread, ends)[floor]:
        return ends
    which = [problem.free.index(floor), *others]
    walked = interval_ends(problem, theta, least, spread, level, which)
    ends.low[which], ends.high[which] = walked.low, walked.high
    for i, kinds in zip(which, walked.kinds, strict=True):
        ends.kinds[i] = kinds
    return ends


def substitutes(problem: Problem, spread: Spread) -> list[int]:
    """Amplitudes that make up for the floor: the more of one, the less of the other, by index; none without a floor."""
    floor = floor_of(problem.law)
    if floor not in problem.free:
        return []
    i = problem.free.index(floor)
    error = np.sqrt(np.maximum(np.diag(spread.matrix), 1e-300))
    together = spread.matrix[i] / error / error[i]
    return [int(j) for j in np.flatnonzero(are_amplitudes(problem) & (together < _INSTEAD))]


def sensible_width(problem: Problem) -> np.ndarray:
    """The widest interval of a pinned-down parameter, in coordinates, [P]; see ``pinned_down``."""
    by_name = {p.name: p for p in problem.law.parameters}
    widths = []
    for name, positive in zip(problem.free, problem.positive, strict=True):
        low, high = by_name[name].start
        widths.append(np.log(1e6) if positive else 3.0 * (high - low))
    return np.array(widths)


def at_bound(problem: Problem, theta: np.ndarray) -> list[str]:
    """Free parameters that ended at a bound of the reader's or the law's; an amplitude of zero is at none."""
    room = 1e-9 * (problem.upper - problem.lower)
    low = (theta <= problem.lower + room) & ~(problem.positive & (problem.lower <= -BOUNDLESS))
    high = (theta >= problem.upper - room) & ~(problem.positive & (problem.upper >= BOUNDLESS))
    return [name for i, name in enumerate(problem.free) if low[i] or high[i]]


def status_of(problem: Problem, theta: np.ndarray, spread: Spread, known: dict[str, bool]) -> tuple[Status, str]:
    """What to call a fit, and why in a sentence.

    Args:
        problem: the fit's problem.
        theta: the minimum, [P].
        spread: what noise does to it.
        known: parameter -> whether the runs pin it down.

    Returns:
        The status and the message.
    """
    bound = at_bound(problem, theta)
    if bound:
        return "bound hit", f"{', '.join(bound)} ended at a bound"
    loose = [name for name, is_known in known.items() if not is_known]
    if not loose:
        return "converged", "an interior minimum, every parameter pinned down"
    if spread.freedom < FEWEST_DEGREES:
        left = spread.freedom
        degrees = "no degree" if left < 1 else "1 degree" if left < 2 else f"{left:.3g} degrees"
        return "not identified", (
            f"{spread.observed} and {len(problem.free)} free parameters leave {degrees} of freedom: too few to tell the"
            " noise, so nothing is pinned down"
        )
    message = f"the runs do not pin down {', '.join(loose)}"
    share = amplitude_shares(problem, theta)
    gone = [name for i, name in enumerate(problem.free) if share[i] < VANISHED]
    return "not identified", message + (f"; nothing is left of {', '.join(gone)}" if gone else "")
