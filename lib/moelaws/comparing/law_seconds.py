"""A law's multiplier in seconds: its FLOPs, and the speeds that models of a table have on a device."""

import numpy as np
import pandas as pd
from scipy.special import ndtri

from moelaws.comparing.configuration import Configuration
from moelaws.comparing.wall_time import Pace, pace_of
from moelaws.optimum.allocation import Estimate
from moelaws.optimum.forecaster import Forecaster
from moelaws.surfaces.budget import check
from moelaws.surfaces.nominal import equal_budgets

_SIZES = "active_params"


def seconds_by_law(
    law: Forecaster, timed: pd.DataFrame, both: tuple[Configuration, Configuration], budget: float, flops: Estimate,
    level: float,
) -> tuple[Estimate | None, str]:  # fmt: skip
    """How many times the seconds the second configuration needs, each at the size that the law calls best.

    A law knows sizes, a device shapes: the speed of each configuration is that of the table's models near its best
    size, at the table's budget nearest to what it would be trained for.

    Args:
        law: of the loss.
        timed: finished runs with ``seconds`` (and ``seconds_error`` where they were foreseen).
        both: the configurations.
        budget: C of the first, in training FLOPs.
        flops: the multiplier in FLOPs.
        level: of the interval.

    Returns:
        The multiplier and how it was found; or ``None`` and why there is none.
    """
    check(timed, _SIZES)
    budgets = equal_budgets(timed, _SIZES).budgets["budget"].to_numpy(float)
    paces: list[Pace] = []
    for each, spent in zip(both, (budget, budget * flops.value), strict=True):
        experts, top_k = float(each.n_experts or 1), float(each.top_k or 1)
        sizes = [law.best(float(known), experts, top_k).active_params for known in budgets]
        found = pace_of(timed, each, pd.DataFrame({"budget": budgets, "n": sizes}), spent)
        if isinstance(found, str):
            return None, found
        paces.append(found)
    speeds = paces[0].flops_per_second / paces[1].flops_per_second
    # Doubts about the law and about the speeds have nothing to do with each other: their logarithms add in squares.
    doubt = float(ndtri((1 + level) / 2)) * float(np.hypot(paces[0].error, paces[1].error))
    value = flops.value * speeds
    low, high = (
        value * np.exp(sign * np.hypot(np.log(end / flops.value), doubt)) if end > 0 else end
        for sign, end in ((-1, flops.low), (1, flops.high))
    )
    return Estimate(value, float(low), float(high)), (
        f"{both[0].words} trains at {speeds:.2f} times the FLOP/s of {both[1].words}"
    )
