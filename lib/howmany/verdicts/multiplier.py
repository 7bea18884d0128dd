"""How many times its compute a mixture is worth, read from the lowest losses of several budgets (Figs. 11 and 12).

At the loss that dense models reach with a budget C, a mixture needs the budget C' at which its own lowest loss is the
same: it is worth C / C'. Between budgets the lowest loss is a straight line in ln C; nothing is asked beyond them.
"""

from collections.abc import Sequence

import numpy as np

from howmany.budget_optima import Landscape
from howmany.study import Study, budget_label
from howmany.verdict import Finding, finding, trend
from moelaws.surfaces.polynomial import Array

_LOST = 0.05  # share of the refits that may lie beyond the budgets tried


def multiplier_path(study: Study, budget: float) -> tuple[Array, Array]:
    """ln of the multiplier at each sparsity, dense models first.

    Args:
        study: with this budget and others.
        budget: C of the dense models, FLOPs.

    Returns:
        -ln(1 - S), P places, and P x (1 + B) logs, NaN where the mixture's budget lies beyond those tried.
    """
    places = _shared(study.landscapes)
    log_c = np.log([each.budget for each in study.landscapes])
    at = int(np.argmin(np.abs(log_c - np.log(budget))))
    losses = np.array([_losses(each, places) for each in study.landscapes])  # budgets x places x draws
    found: Array = np.empty((len(places), losses.shape[2]))
    for k in range(losses.shape[2]):
        target = losses[at, 0, k]
        for p in range(len(places)):
            found[p, k] = log_c[at] - _budget_at(target, log_c, losses[:, p, k])
    found[0] = 0.0
    return places, found


def leverage_path(each: Landscape, dense: Study) -> tuple[Array, Array, bool]:
    """ln of the leverage at each sparsity of one budget: what dense models would need for the mixtures' lowest loss.

    Where ``multiplier_path`` begins at a budget of dense models, this begins at one of mixtures (Tian et al. 2025).

    Args:
        each: the budget, of mixtures of any design.
        dense: a study with dense models at several budgets; its least sparse models count.

    Returns:
        One over (1 - S) of each place, P; P x (1 + B) logs; and whether dense losses had to be continued beyond their
        largest budget, along the last two, in ln L by ln C. NaN below the smallest.
    """
    log_c = np.log([one.budget for one in dense.landscapes])
    draws = min(each.lowest.loss.shape[1], *(one.lowest.loss.shape[1] for one in dense.landscapes))
    levels = np.log([one.lowest.loss[0, :draws] for one in dense.landscapes])
    target = np.log(each.lowest.loss[:, :draws])
    found = np.full(target.shape, np.nan)
    beyond = False
    for k in range(draws):
        falling = np.minimum.accumulate(levels[:, k])
        slope = (log_c[-1] - log_c[-2]) / min(falling[-1] - falling[-2], -1e-9)
        found[:, k] = np.interp(-target[:, k], -falling, log_c) - np.log(each.budget)
        lower = target[:, k] < falling[-1]
        found[lower, k] = log_c[-1] + slope * (target[lower, k] - falling[-1]) - np.log(each.budget)
        found[target[:, k] > falling[0], k] = np.nan
        beyond |= bool(k == 0 and lower.any())
    return np.exp(each.lowest.along), found, beyond


def multiplier(study: Study, sign: int) -> list[Finding]:
    """The factor of compute that the sparsest models are worth, at each budget but the smallest, and its way there."""
    found = []
    for each in study.landscapes[1:]:
        places, logs = multiplier_path(study, each.budget)
        kept = ~(np.isnan(logs).mean(axis=1) > _LOST) & ~np.isnan(logs[:, 0])
        where = budget_label(each.budget)
        if not kept[-1]:
            found.append(Finding(where, open="the sparsest models reach the dense loss at no budget tried"))
            continue
        names = [f"E = {np.exp(x):.3g}" for x in places[kept]]
        whole = ~np.isnan(logs[kept]).any(axis=0)
        found.append(trend(where, logs[kept][:, whole], names, sign or 1, "times"))
    return found


def multiplier_at(study: Study, ratio: float) -> list[Finding]:
    """The factor of compute that models with one of ``ratio`` experts at work are worth."""
    found = []
    for each in study.landscapes[1:]:
        places, logs = multiplier_path(study, each.budget)
        where = budget_label(each.budget)
        if not places[0] <= np.log(ratio) <= places[-1] + 1e-9:
            found.append(Finding(where, open=f"one of {ratio:g} was not tried"))
            continue
        values = np.array([np.interp(np.log(ratio), places, column) for column in logs.T])
        if np.isnan(values[0]) or np.isnan(values).mean() > _LOST:
            found.append(Finding(where, open="it reaches the dense loss at no budget tried"))
        else:
            found.append(finding(where, values[~np.isnan(values)], "times"))
    return found


def multiplier_8(study: Study, sign: int) -> list[Finding]:
    """The same for one of eight."""
    return multiplier_at(study, 8)


def multiplier_32(study: Study, sign: int) -> list[Finding]:
    """The same for one of 32."""
    return multiplier_at(study, 32)


def _shared(landscapes: Sequence[Landscape]) -> Array:
    """Sparsities between the least and the highest that all budgets have: those of the first budget."""
    ends = [(each.lowest.along[0], each.lowest.along[-1]) for each in landscapes]
    low, high = max(end[0] for end in ends), min(end[1] for end in ends)
    first = landscapes[0].lowest.along
    return first[(first >= low - 1e-9) & (first <= high + 1e-9)]


def _losses(each: Landscape, places: Array) -> Array:
    """Lowest losses at the places, P x (1 + B)."""
    path = each.lowest
    return np.array([np.interp(places, path.along, column) for column in path.loss.T]).T


def _budget_at(target: float, log_c: Array, losses: Array) -> float:
    """ln of the budget at which the lowest loss, falling with the budget, reaches a target; NaN beyond those tried."""
    falling = np.minimum.accumulate(losses)
    if not falling[-1] <= target <= falling[0]:
        return float("nan")
    return float(np.interp(-target, -falling, log_c))
