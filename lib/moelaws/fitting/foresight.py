"""What the runs of a table can tell of a law, whatever their losses: said before a fit, not after it."""

import numpy as np

from moelaws.fitting.engine.first_descent import first_descent
from moelaws.fitting.engine.linear import eigen
from moelaws.fitting.engine.problem import Problem
from moelaws.fitting.engine.starts import dispersed
from moelaws.fitting.intervals.identifiability import sensible_width
from moelaws.quote import listed

_NOISE = 1e-3
"""Losses are hardly ever known better than to .1 %: what stays open even then stays open."""
_DRAWN, _LOOKED_AT, _STEPS = 64, 16, 8
"""Coefficients drawn from the law's ranges, those that come nearest to the runs, and steps by which these come nearer:
the design is judged before and after."""
_ENOUGH_RUNS = 2_000
_FEW_VALUES = 4
_ONE_PLANE = 1e-9
"""Share of the spread of ln(variables) off a plane, below which they lie on it."""


class OpenDesignWarning(UserWarning):
    """The runs cannot pin a law down, whatever their losses; the message names the parameters and says why."""


def foreseen(problem: Problem, data: dict[str, np.ndarray], columns: dict[str, str]) -> str:
    """Say whether the runs leave some parameters open, whatever their losses.

    At likely coefficients, drawn from the law's ranges, the slopes of the prediction by the parameters say how well
    losses known to .1 % would pin each down. One that stays wider than sensible at all of them is open.

    Args:
        problem: the fit's problem.
        data: the law's letter -> values, [runs].
        columns: the law's letter -> the column it was read from.

    Returns:
        A sentence; empty where the runs may well pin every parameter down.
    """
    few = problem.thinned(_ENOUGH_RUNS)
    likely = _likely(few)
    together, on_one_line = _together(data, columns)
    law = f"law {problem.law.name!r}"
    if names := _open(few, likely, _NOISE):
        why = together or _few(problem, data, columns)
        return (
            f"{law}: {problem.n_runs} runs of this design can hardly pin down {', '.join(names)}, even if their losses"
            f" were known to .1 %{': ' * bool(why)}{why}"
        )
    if together:
        # At coefficients that differ from term to term the terms still differ, a little.
        names = _open(few, likely, 10 * _NOISE) or list(problem.free) * on_one_line
    if names:
        return f"{law}: in these {problem.n_runs} runs {together}: it can hardly tell {', '.join(names)} apart"
    return ""


def _likely(problem: Problem) -> np.ndarray:
    """Likely coefficients, [points, P]: the same for every seed, number and grid of starts, as the design is."""
    theta = dispersed(problem, _DRAWN, np.random.default_rng(0))
    value = problem.value(problem.residuals(theta))
    near = theta[np.argsort(value, kind="stable")[:_LOOKED_AT]]
    return np.concatenate([near, first_descent(problem, near, _STEPS).theta])


def _open(problem: Problem, likely: np.ndarray, precision: float) -> list[str]:
    """Parameters that stay wider than sensible at all likely coefficients."""
    residuals, slopes = problem.linearise(likely)
    noise = precision if problem.objective.on_log else precision * float(np.abs(problem.observed).mean())
    always = np.ones(len(problem.free), dtype=bool)
    width = sensible_width(problem)
    used = problem.weights[0] > 0
    for each in slopes[np.isfinite(residuals).all(axis=1) & np.isfinite(slopes).all(axis=(1, 2))]:
        with np.errstate(all="ignore"):
            curvature = each[:, used] @ each[:, used].T
            unit = 1.0 / np.sqrt(np.maximum(np.diag(curvature), 1e-300))
            values, vectors = eigen(curvature * unit[:, None] * unit)
            held = values > 1e-13 * values.max()
            error = noise * unit * np.sqrt((vectors[:, held] ** 2 / values[held]).sum(axis=1))
        loose = (np.abs(vectors[:, ~held]) > 1e-3).any(axis=1)
        always &= loose | ~(2 * 1.96 * error < width)
    return [name for name, is_open in zip(problem.free, always, strict=True) if is_open]


def _together(data: dict[str, np.ndarray], columns: dict[str, str]) -> tuple[str, bool]:
    """Which columns move together, empty where none do; and whether all that vary follow one of them."""
    varied = {letter: each for letter, each in data.items() if np.ptp(each) > 0}
    positive = {letter: each for letter, each in varied.items() if (each > 0).all()}
    if len(positive) < 2:
        return "", False
    logs = np.stack([np.log(each) for each in positive.values()])
    logs = logs - logs.mean(axis=1, keepdims=True)
    unit = np.sqrt((logs**2).sum(axis=1, keepdims=True))
    spread, directions = eigen((logs / unit) @ (logs / unit).T)
    if spread[0] > _ONE_PLANE:
        return "", False
    names = [columns[letter] for letter, share in zip(positive, directions[:, 0], strict=True) if abs(share) > 1e-2]
    on_one_line = len(varied) == len(positive) and bool((spread[:-1] <= _ONE_PLANE).all())
    return f"columns {listed(names)} move together, as powers of one another", on_one_line


def _few(problem: Problem, data: dict[str, np.ndarray], columns: dict[str, str]) -> str:
    """What the design has too few of; empty where nothing simple."""
    points = len(np.unique(np.stack(list(data.values()), axis=1), axis=0))
    if points < len(problem.free):
        return f"they lie at {points} design points, for {len(problem.free)} free parameters"
    counts = {columns[letter]: len(np.unique(each)) for letter, each in data.items()}
    fewest = min(counts, key=lambda name: counts[name])
    return f"column {listed([fewest])} has {counts[fewest]} values" if counts[fewest] <= _FEW_VALUES else ""
