"""The family that a run table's own models are of: sizes and FLOPs as its runs have them, experts as were tried."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from moelaws.optimum.family import Array, Family
from moelaws.runs import derive

NAME = "the table's own"
_COLUMNS = ("active_params", "total_params", "tokens", "train_flops", "n_experts", "top_k")


def family_of_runs(runs: pd.DataFrame) -> Family | None:
    """The models of a table as a family: N and the FLOPs of a token as functions of N_a, for each (E, K) that was run.

    Between the sizes that were run both are interpolated in logs, beyond them continued by their last slopes. E and K
    that were not run take those of the nearest E / K.

    Args:
        runs: finished runs.

    Returns:
        The family, whose size is N_a; ``None`` where the table does not tell sizes, tokens and FLOPs.

    Examples:
        >>> runs = pd.DataFrame({"active_params": [1e6, 4e6], "total_params": [3e6, 9e6], "n_experts": 4, "top_k": 1,
        ...                      "tokens": 1e8, "train_flops": [6e14, 24e14]})
        >>> family = family_of_runs(runs)
        >>> round(float(family.total_params(2e6, 4, 1)) / 1e6, 2), round(float(family.flops_per_token(2e6, 4, 1)) / 1e6)
        (5.2, 12)
    """
    known, _ = derive(runs, _COLUMNS)
    if not set(_COLUMNS) <= set(known.columns):
        return None
    table = known[list(_COLUMNS)].apply(pd.to_numeric, errors="coerce").dropna()
    table = table[(table > 0).all(axis=1)]
    if table.empty:
        return None
    table = table.assign(per_token=table["train_flops"] / table["tokens"])
    ratios, total, per_token = [], [], []
    for (experts, top_k), group in table.groupby(["n_experts", "top_k"]):
        ratios.append(float(np.log(experts / top_k)))
        sizes = group.groupby("active_params")[["total_params", "per_token"]].median()
        total.append(_line(sizes.index.to_numpy(float), sizes["total_params"].to_numpy(float)))
        per_token.append(_line(sizes.index.to_numpy(float), sizes["per_token"].to_numpy(float)))
    known_ratios = np.array(ratios)

    def nearest(lines: list[Callable[[Array], Array]]) -> Callable[[Array, Array, Array], Array]:
        def value(size: Array, experts: Array, top_k: Array) -> Array:
            size, ratio = np.broadcast_arrays(np.asarray(size, float), np.log(np.asarray(experts, float) / top_k))
            which = np.argmin(np.abs(ratio[..., None] - known_ratios), axis=-1)
            found = np.empty(size.shape)
            for i in np.unique(which):
                here = which == i
                found[here] = lines[i](size[here])
            return found

        return value

    def active(size: Array, experts: Array, top_k: Array) -> Array:
        return np.asarray(size, float) * np.ones_like(np.asarray(experts, float) / top_k)

    return Family(
        name=NAME,
        size="active parameters",
        total_params=nearest(total),
        active_params=active,
        dense_params=active,
        flops_per_token=nearest(per_token),
        kv_per_token=lambda size, experts, top_k: np.zeros_like(active(size, experts, top_k)),
    )


def _line(size: np.ndarray, value: np.ndarray) -> Callable[[Array], Array]:
    """A curve through points in logs, straight beyond them; never falling, as a family's must not."""
    x, y = np.log(size), np.maximum.accumulate(np.log(value))
    if len(x) == 1:
        return lambda at: np.exp(y[0] + np.log(at) - x[0])
    first, last = ((y[i] - y[j]) / (x[i] - x[j]) for i, j in ((1, 0), (-1, -2)))

    def curve(at: Array) -> Array:
        log = np.log(at)
        inside = np.interp(log, x, y)
        return np.exp(inside + np.minimum(log - x[0], 0.0) * first + np.maximum(log - x[-1], 0.0) * last)

    return curve
