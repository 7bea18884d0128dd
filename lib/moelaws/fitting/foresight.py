"""What the runs of a table can tell of a law, whatever their losses: said before a fit, not after it."""

import numpy as np

from moelaws.fitting.identifiability import sensible_width
from moelaws.fitting.linear import eigen
from moelaws.fitting.problem import Problem
from moelaws.quote import listed

_NOISE = 1e-3
"""Losses are hardly ever known better than to .1 %: what stays open even then stays open."""
_LOOKED_AT = 16
"""Likely coefficients at which the design is judged."""
_FEW_VALUES = 4
_ONE_LINE = 1e-9
"""Share of the spread of ln(variables) off a plane, below which they lie on it."""


class OpenDesignWarning(UserWarning):
    """The runs cannot pin a law down, whatever their losses; the message names the parameters and says why."""


def foreseen(problem: Problem, theta: np.ndarray, data: dict[str, np.ndarray], columns: dict[str, str]) -> str:
    """Say whether the runs leave some parameters open, whatever their losses.

    At likely coefficients, the starts of the fit that come nearest to the runs, the slopes of the prediction by the
    parameters say how well losses known to .1 % would pin each down. One that stays wider than sensible at all of them
    is open.

    Args:
        problem: the fit's problem.
        theta: starting coordinates, [starts, P].
        data: the law's letter -> values, [runs].
        columns: the law's letter -> the column it was read from.

    Returns:
        A sentence; empty where the runs may well pin every parameter down.
    """
    names = _open(problem, theta, _NOISE)
    together = _together(data, columns)
    if not names and not together:
        return ""
    if not names:
        # At coefficients that differ from term to term the terms still differ, a little.
        names = _open(problem, theta, 10 * _NOISE) or list(problem.free)
        return (
            f"law {problem.law.name!r}: in these {problem.n_runs} runs {together}: it can hardly tell"
            f" {', '.join(names)} apart"
        )
    why = together or _few(problem, data, columns)
    return (
        f"law {problem.law.name!r}: {problem.n_runs} runs of this design leave {', '.join(names)} open, even if their"
        f" losses were known to .1 %{': ' * bool(why)}{why}"
    )


def _open(problem: Problem, theta: np.ndarray, precision: float) -> list[str]:
    """Parameters that stay wider than sensible at all likely coefficients."""
    few = problem.thinned(2_000)
    with np.errstate(all="ignore"):
        value = few.value(few.residuals(theta[:512]))
    likely = theta[np.argsort(value, kind="stable")[:_LOOKED_AT]]
    residuals, slopes = problem.linearise(likely)
    noise = precision if problem.objective.on_log else precision * float(np.abs(problem.observed).mean())
    always = np.ones(theta.shape[1], dtype=bool)
    width = sensible_width(problem)
    used = problem.weights[0] > 0
    for each in slopes[np.isfinite(residuals).all(axis=1)]:
        with np.errstate(all="ignore"):
            curvature = each[:, used] @ each[:, used].T
            unit = 1.0 / np.sqrt(np.maximum(np.diag(curvature), 1e-300))
            values, vectors = eigen(curvature * unit[:, None] * unit)
            held = values > 1e-13 * values.max()
            error = noise * unit * np.sqrt((vectors[:, held] ** 2 / values[held]).sum(axis=1))
        loose = (np.abs(vectors[:, ~held]) > 1e-3).any(axis=1)
        always &= loose | ~(2 * 1.96 * error < width)
    return [name for name, is_open in zip(problem.free, always, strict=True) if is_open]


def _together(data: dict[str, np.ndarray], columns: dict[str, str]) -> str:
    """Which columns move together; empty where none do."""
    varied = {letter: each for letter, each in data.items() if np.ptp(each) > 0 and (each > 0).all()}
    if len(varied) < 2:
        return ""
    logs = np.stack([np.log(each) for each in varied.values()])
    logs = logs - logs.mean(axis=1, keepdims=True)
    unit = np.sqrt((logs**2).sum(axis=1, keepdims=True))
    spread, directions = eigen((logs / unit) @ (logs / unit).T)
    if spread[0] > _ONE_LINE:
        return ""
    names = [columns[letter] for letter, share in zip(varied, directions[:, 0], strict=True) if abs(share) > 1e-2]
    return f"columns {listed(names)} move together, as powers of one another"


def _few(problem: Problem, data: dict[str, np.ndarray], columns: dict[str, str]) -> str:
    """What the design has too few of; empty where nothing simple."""
    points = len(np.unique(np.stack(list(data.values()), axis=1), axis=0))
    if points < len(problem.free):
        return f"they lie at {points} design points, for {len(problem.free)} free parameters"
    counts = {columns[letter]: len(np.unique(each)) for letter, each in data.items()}
    fewest = min(counts, key=lambda name: counts[name])
    return f"column {listed([fewest])} has {counts[fewest]} values" if counts[fewest] <= _FEW_VALUES else ""
