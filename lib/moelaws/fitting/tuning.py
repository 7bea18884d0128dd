"""Is a recipe fair? How far the chosen value of a setting is from the best one, point by point, with its error."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


class TuningError(ValueError):
    """Runs that do not show where a setting is best."""


def tune(runs: pd.DataFrame, setting: str, chosen: str, by: Sequence[str]) -> pd.DataFrame:
    """Find the best value of a setting at every point of a design by a parabola in its logarithm.

    The parabola goes through the runs at the tried values within an octave of the one with the lowest mean loss.
    Losses at one value with different seeds give the noise, one for the whole table.

    Args:
        runs: finished runs: a column ``loss``, and those named by the next arguments.
        setting: the column that was varied, such as ``learning_rate``.
        chosen: the column that holds the value the recipe takes there.
        by: columns that identify a point.

    Returns:
        One row a point: the columns ``by``; ``runs`` the parabola went through; ``best``, the best value over the
        chosen one, and its limits ``best_low`` and ``best_high`` at two standard errors; ``bracketed``, whether it
        lies between values tried; ``regret``, the loss given away by the chosen value in nats per token, and
        ``regret_se``, its standard error.

    Raises:
        TuningError: a point with fewer than three values near its best, or no value with two seeds anywhere.
    """
    by = list(by)
    table = runs.assign(octaves=np.log2((runs[setting] / runs[chosen]).to_numpy(float)).round(6))
    spread = table.groupby([*by, "octaves"])["loss"].agg(["size", "var"])
    spread = spread[spread["size"] > 1]
    if spread.empty:
        raise TuningError(f"no value of {setting} was run with two seeds; the noise is not known")
    noise = float(np.sqrt(np.average(spread["var"], weights=spread["size"] - 1)))
    return pd.DataFrame(
        [dict(zip(by, key, strict=True)) | _vertex(group, noise, setting) for key, group in table.groupby(by)]
    )


def _vertex(group: pd.DataFrame, noise: float, setting: str) -> dict[str, float | int | bool]:
    means = group.groupby("octaves")["loss"].mean()
    values = means.index.to_numpy(float)
    if len(values) < 3:
        raise TuningError(f"a point with {len(values)} values of {setting}: expected at least three")
    away = np.abs(values - values[int(means.to_numpy(float).argmin())])
    # Within an octave; where the lowest lies at an end, the next value on its other side, too.
    reach = max(1.0, float(np.sort(away)[2]))
    near = group[group["octaves"].isin(values[away <= reach + 1e-6])]
    z, loss = near["octaves"].to_numpy(float), near["loss"].to_numpy(float)
    design = z[:, None] ** np.arange(3)
    c0, c1, c2 = np.linalg.lstsq(design, loss, rcond=None)[0]
    covariance = noise**2 * np.linalg.inv(design.T @ design)
    tried = (z.min(), z.max())
    if c2 <= 0:  # no lowest point between the values tried
        at = tried[int(np.argmin(c0 + c1 * np.array(tried) + c2 * np.array(tried) ** 2))]
        by_at, by_regret = np.zeros(3), np.array([0, -at, -(at**2)])
    else:
        at = -c1 / (2 * c2)
        by_at = np.array([0, -1 / (2 * c2), c1 / (2 * c2**2)])
        by_regret = np.array([0, c1 / (2 * c2), -(c1**2) / (4 * c2**2)])
    regret = -(c1 * at + c2 * at**2)
    error = 2 * float(np.sqrt(by_at @ covariance @ by_at))
    return {
        "runs": len(near),
        "best": float(2**at),
        "best_low": float(2 ** (at - error)),
        "best_high": float(2 ** (at + error)),
        "bracketed": bool(c2 > 0 and tried[0] < at < tried[1]),
        "regret": float(regret),
        "regret_se": float(np.sqrt(by_regret @ covariance @ by_regret)),
    }
