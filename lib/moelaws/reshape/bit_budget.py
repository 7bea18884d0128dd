"""How many bits each expert of a layer gets: the least cost at a mean width, found exactly."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from moelaws.reshape.upcycle import ReshapeError

Costs = NDArray[np.float64]


def spend_bits(costs_EJ: Costs, widths: Sequence[int], mean: float) -> NDArray[np.int64]:
    """Give each expert one width, so that the costs add up to the least at a mean width.

    Huang et al. 2024 (MC-MoE, Sec. 3.2) write this as an integer program: one width an expert, the widths adding up to
    no more than E times the mean. With a few widths and a sum of some hundred bits it is a shortest path, which the
    table of all sums finds exactly at any size; no solver is needed.

    Args:
        costs_EJ: cost of each expert at each width, >= 0.
        widths: the widths, bits.
        mean: of all experts, at most.

    Returns:
        The width of each expert.

    Raises:
        ReshapeError: not even the smallest width fits, or costs that are none.

    Example:
        >>> spend_bits(np.array([[9.0, 1.0, 0.0], [2.0, 1.0, 0.0]]), (1, 2, 3), mean=2)
        array([3, 1])
    """
    experts = len(costs_EJ)
    if not np.isfinite(costs_EJ).all():
        raise ReshapeError("a cost of an expert is not finite: expected a number for each width")
    budget = int(np.floor(mean * experts + 1e-9))
    if budget < experts * min(widths):
        raise ReshapeError(f"mean width = {mean:g}: expected at least {min(widths)} bits, the smallest width")
    # least[s]: the least cost of the experts so far with s bits in all.
    least = np.full(budget + 1, np.inf)
    least[0] = 0.0
    chosen = np.zeros((experts, budget + 1), dtype=np.int64)
    for expert, costs in enumerate(costs_EJ):
        options = np.full((len(widths), budget + 1), np.inf)
        for j, width in enumerate(widths):
            if width <= budget:
                options[j, width:] = least[: budget + 1 - width] + costs[j]
        chosen[expert] = options.argmin(0)
        least = options.min(0)
    left = int(least.argmin())
    found = np.zeros(experts, dtype=np.int64)
    for expert in reversed(range(experts)):
        found[expert] = widths[chosen[expert, left]]
        left -= int(found[expert])
    return found
