"""Where a fit starts: shapes dispersed over each law's range, amplitudes solved for, so that no start is absurd."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from moelaws.fitting.engine.linear import solve_all
from moelaws.fitting.engine.problem import Problem
from moelaws.fitting.objective import FitError
from moelaws.formulas.duals import Given, evaluate
from moelaws.laws.own import amplitudes

_MOST_AMPLITUDES = 6
_ENOUGH_RUNS = 1_000
"""Runs that starts are drawn up with; a start need not know the rest."""
_STEEP = np.array([-8.0, -4.0, -2.0, -1.0, -0.3, 0.3, 1.0, 2.0, 4.0, 8.0])
_FAINT, _VISIBLE = 0.02, 0.1
"""Shares of the prediction: what makes up less than the first is raised to the second."""
_DRAWN_BEYOND = 12
"""Starts drawn beyond the law's ranges for each one kept."""


def dispersed(problem: Problem, count: int, rng: np.random.Generator) -> np.ndarray:
    """Starting coordinates from the laws' own ranges, and from beyond them.

    Exponents and scales are a Latin hypercube over the ranges that the law names. Amplitudes, on which the
    prediction depends linearly, are solved by non-negative least squares for these shapes (variable projection),
    with a random share mixed in so that none starts at zero, where its gradient would vanish.

    A law's range is where its authors would look. Every third start looks further: the least objective may lie at an
    exponent of the other sign, and a fit that never looks there would call a lesser minimum the optimum. Of these,
    many are drawn and only the best of each pattern of signs are kept, so that every pattern is tried.

    Args:
        problem: the fit's problem.
        count: starts wanted.
        rng: source of randomness.

    Returns:
        Coordinates, [count, P].
    """
    problem = problem.thinned(_ENOUGH_RUNS)
    beyond = count // 3
    near = with_amplitudes(problem, _hypercube(problem, count - beyond, rng, 1.0), rng)
    if not beyond:
        return near
    far = with_amplitudes(problem, _hypercube(problem, _DRAWN_BEYOND * beyond, rng, 3.0), rng)
    value = np.concatenate([problem.value(problem.residuals(far[i : i + 256])) for i in range(0, len(far), 256)])
    signs = (far[:, ~problem.positive] > 0) @ (1 << np.arange((~problem.positive).sum()))
    order = np.argsort(value)
    # Rank within each pattern of signs: the best of every pattern first, then the second best, and so on.
    rank = np.empty(len(far), dtype=int)
    for pattern in np.unique(signs):
        members = order[signs[order] == pattern]
        rank[members] = np.arange(len(members))
    chosen = np.lexsort((value, rank))[:beyond]
    return np.concatenate([near, far[chosen]])


def leap(problem: Problem, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Starts that differ from a point in one coordinate, by as much as its bounds allow.

    Args:
        problem: the fit's problem.
        theta: the point, [P].
        rng: source of randomness for the amplitudes.

    Returns:
        Coordinates, [starts, P]; amplitudes are solved anew.
    """
    starts = _leaps(problem, theta)
    return with_amplitudes(problem, starts, rng) if len(starts) else theta[None]


def held_starts(
    problem: Problem, i: int, about: np.ndarray, count: int, leaps: int, rng: np.random.Generator
) -> np.ndarray:
    """Starts with one coordinate held: leaps of an exponent, as many from the law's ranges, and others between.

    Those between take each coordinate from a point or from the law's ranges, by the toss of a coin: a held amplitude is
    of use only together with its own exponent.

    Args:
        problem: the fit's problem.
        i: which coordinate is held.
        about: points at which it is held, and from which the leaps go out, [points, P].
        count: two thirds of it are drawn at each point.
        leaps: so many leap at each point, or as many as there are.
        rng: source of randomness.

    Returns:
        Coordinates, [points, starts, P]; amplitudes but a held one are solved for.
    """
    third, made = count // 3, [_leaps(problem, point) for point in about]
    leaping = min(leaps, made[0].shape[0])
    starts = _hypercube(problem, len(about) * (leaping + 2 * third), rng, 1.0).reshape(
        len(about), -1, len(problem.free)
    )
    for here, point, each in zip(starts, about, made, strict=True):
        here[:leaping] = each[rng.permutation(len(each))[:leaping]]
        here[-third:] = np.where(rng.random(here[-third:].shape) < 0.5, point, here[-third:])
    starts[:, :, i] = about[:, i, None]
    return with_amplitudes(problem, starts.reshape(-1, about.shape[1]), rng, but=i).reshape(starts.shape)


def _leaps(problem: Problem, theta: np.ndarray) -> np.ndarray:
    """A point with one exponent or scale elsewhere, [starts, P]."""
    starts = []
    for i in np.flatnonzero(~_amplitudes(problem)):
        # An exponent to either side of zero; a scale to either side of where it is, by factors of e^2 and e^5.
        values = theta[i] + np.array([-5.0, -2.0, 2.0, 5.0]) if problem.positive[i] else _STEEP
        for value in values:
            start = theta.copy()
            start[i] = value
            starts.append(start)
    return np.clip(np.array(starts).reshape(-1, len(theta)), problem.lower, problem.upper)


def _hypercube(problem: Problem, count: int, rng: np.random.Generator, widen: float) -> np.ndarray:
    """A Latin hypercube over the law's ranges, made wider about their middles."""
    by_name = {p.name: p for p in problem.law.parameters}
    theta = np.empty((count, len(problem.free)))
    for i, name in enumerate(problem.free):
        low, high = by_name[name].start
        if problem.positive[i]:
            low, high = np.log(low), np.log(high)
        margin = 0.5 * (widen - 1.0) * (high - low)
        low, high = max(low - margin, problem.lower[i]), min(high + margin, problem.upper[i])
        if low > high:  # the reader's bounds lie outside the law's range
            low, high = problem.lower[i], problem.upper[i]
        theta[:, i] = low + (high - low) * (rng.permutation(count) + rng.random(count)) / count
    return np.clip(theta, problem.lower, problem.upper)


def with_amplitudes(
    problem: Problem, theta: np.ndarray, rng: np.random.Generator, but: int | None = None
) -> np.ndarray:
    """Replace the amplitudes of starts by those that fit best, given the other coordinates.

    Args:
        problem: the fit's problem.
        theta: coordinates, [starts, P].
        rng: source of the random share.
        but: a coordinate that stays, amplitude or not.

    Returns:
        Coordinates, [starts, P]; unchanged where the law has no amplitudes.
    """
    problem = problem.thinned(_ENOUGH_RUNS)
    which = [int(i) for i in np.flatnonzero(_amplitudes(problem)) if i != but]
    if not which or len(which) > _MOST_AMPLITUDES:
        return theta
    theta = theta.copy()
    for first in range(0, len(theta), 256):
        block = theta[first : first + 256]
        block[:, which] = _solve_amplitudes(problem, block, which, rng)
    return np.clip(theta, problem.lower, problem.upper)


def revived(problem: Problem, theta: np.ndarray) -> np.ndarray:
    """Points with their faint terms made visible.

    A term that a fit took to zero has no slope to come back by, wherever the other coordinates go.

    Args:
        problem: the fit's problem.
        theta: coordinates, [points, P].

    Returns:
        Coordinates, [points, P]: an amplitude that makes up less than a fiftieth of the prediction makes up a tenth.
    """
    few = problem.thinned(_ENOUGH_RUNS)
    linear = _amplitudes(problem)
    lift = np.zeros_like(theta)
    for first in range(0, len(theta), 256):
        residuals, slopes = few.linearise(theta[first : first + 256])
        size = 1.0 if problem.objective.on_log else np.abs(residuals + few.observed).mean(axis=1)[:, None]
        with np.errstate(all="ignore"):
            share = np.nan_to_num(np.abs(slopes).mean(axis=2) / size)
            up = np.log(_VISIBLE) - np.log(np.maximum(share, 1e-300))
        lift[first : first + 256] = np.where((share < _FAINT) & linear, up, 0.0)
    return np.clip(theta + lift, problem.lower, problem.upper)


def _amplitudes(problem: Problem) -> np.ndarray:
    """Which coordinates are amplitudes, [P]."""
    linear = amplitudes(problem.law.tree, [v.symbol for v in problem.law.variables])
    return np.array([name in linear for name in problem.free], dtype=bool) & problem.positive


def _solve_amplitudes(problem: Problem, theta: np.ndarray, which: list[int], rng: np.random.Generator) -> np.ndarray:
    theta = theta.copy()
    theta[:, which] = 0.0
    given = {
        name: Given(theta[:, i : i + 1], bool(problem.positive[i]), bool(problem.positive[i]))
        for i, name in enumerate(problem.free)
    }
    letters = [problem.free[i] for i in which]
    with np.errstate(all="ignore"):
        dual = evaluate(problem.tree, given, frozenset(letters))
    loss = np.exp(problem.observed) if problem.objective.on_log else problem.observed
    shape = (len(theta), problem.n_runs)
    columns = np.stack([np.broadcast_to(dual.parts[letter], shape) for letter in letters], axis=1)
    with np.errstate(over="ignore", invalid="ignore"):  # a start far out, whose terms no number holds
        rest = np.broadcast_to(dual.value, shape) - columns.sum(axis=1)
        size = columns.mean(axis=2, keepdims=True)
    # Relative residuals, and columns of mean one: the unknowns are then shares of the loss. Losses of both signs, which
    # only a plain least squares takes, share one unit.
    unit = loss if (loss > 0).all() else np.full_like(loss, max(float(np.sqrt(np.mean(loss**2))), 1e-300))
    with np.errstate(all="ignore"):
        columns = _finite(columns / size / unit[:, None, :])
        goal = _finite((loss - rest) / unit)
    shares = _non_negative(columns, goal)
    scale = np.exp(np.mean(np.log(unit)))
    random = rng.dirichlet(np.ones(len(which)), len(theta)) * scale
    mixed = np.maximum(0.95 * shares + 0.05 * random, 1e-4 * scale)
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.log(mixed) - np.log(size[:, :, 0]), nan=0.0, posinf=200.0, neginf=-200.0)


def _finite(array: np.ndarray) -> np.ndarray:
    """Numbers whose products are finite."""
    return np.nan_to_num(np.clip(array, -1e100, 1e100))


def _non_negative(columns: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Least squares with non-negative weights, [starts, K], by trying every set of non-zero weights.

    K is at most six, so there are at most 64 sets; trying all is exact and runs as one batch.
    """
    gram = np.matmul(columns, columns.transpose(0, 2, 1))
    right = np.matmul(columns, goal[:, :, None])[:, :, 0]
    k = gram.shape[1]
    gram = gram + 1e-10 * np.einsum("bii->b", gram)[:, None, None] * np.eye(k) + 1e-300 * np.eye(k)
    best, best_gain = np.zeros_like(right), np.zeros(len(gram))
    for chosen in product((False, True), repeat=k):
        keep = np.array(chosen)
        if not keep.any():
            continue
        inner = solve_all(gram[:, keep][:, :, keep], right[:, keep])
        gain = np.einsum("bi,bi->b", inner, right[:, keep])
        take = (inner >= 0).all(axis=1) & (gain > best_gain)
        filled = np.zeros_like(right)
        filled[:, keep] = inner
        best[take], best_gain[take] = filled[take], gain[take]
    return best


def grid(problem: Problem, values: Mapping[str, Sequence[float]]) -> np.ndarray:
    """The starts of a published grid: every combination of the values listed for each parameter.

    Args:
        problem: the fit's problem.
        values: parameter -> starting values, in the parameter's own units (not logs).

    Returns:
        Coordinates, [product of the lengths, P].

    Raises:
        FitError: a free parameter without values.
    """
    missing = [name for name in problem.free if name not in values]
    if missing:
        raise FitError(f"starts: no starting values for parameter {missing[0]!r}")
    axes = np.meshgrid(*(np.asarray(values[name], dtype=float) for name in problem.free), indexing="ij")
    columns: dict[str, Any] = {name: axis.ravel() for name, axis in zip(problem.free, axes, strict=True)}
    return problem.coordinates(columns)
