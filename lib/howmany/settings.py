"""Is a recipe fair? What the chosen value of a setting gives away against others, point by point, with its error."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from moelaws.fitting.least_squares import least_squares
from moelaws.runs.seeds import pooled_variance


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
    noise = float(np.sqrt(pooled_variance(spread["var"], spread["size"] - 1)))
    return pd.DataFrame(
        [dict(zip(by, key, strict=True)) | _vertex(group, noise, setting) for key, group in table.groupby(by)]
    )


def changed(checks: pd.DataFrame, study: pd.DataFrame, settings: Sequence[str], by: Sequence[str]) -> pd.DataFrame:
    """What a changed setting does to runs of a study, seed by seed.

    Args:
        checks: finished runs, each with one setting other than the study's run at its point and seed.
        study: finished runs with the recipe's own settings.
        settings: columns that were changed, such as ``learning_rate``.
        by: columns that identify a point.

    Returns:
        One row a point and changed value: the columns ``by``; ``setting``; ``factor``, the value over the study's;
        ``seeds``; ``difference``, the loss minus the study's in nats per token, mean over seeds, so that below zero
        the recipe is beaten; ``se``, its standard error from differences pooled over all points.

    Raises:
        TuningError: a check without its run in the study, or one in which not exactly one setting is another.
    """
    keys, settings = [*by, "seed"], list(settings)
    pairs = checks.merge(study[[*keys, *settings, "loss"]], "left", keys, suffixes=("", "_study"), validate="m:1")
    if pairs["loss_study"].isna().any():
        missing = pairs.loc[pairs["loss_study"].isna(), keys].iloc[0].to_dict()
        raise TuningError(f"a check at {missing} has no run in the study")
    factors = pd.DataFrame({name: pairs[name] / pairs[f"{name}_study"] for name in settings}).round(6)
    others = factors.ne(1)
    if (others.sum(axis=1) != 1).any():
        found = pairs.loc[others.sum(axis=1) != 1, keys].iloc[0].to_dict()
        raise TuningError(f"a check at {found}: expected one of {', '.join(settings)} to differ from the study's")
    pairs = pairs.assign(
        setting=others.idxmax(axis=1),
        factor=factors.where(others).bfill(axis=1).iloc[:, 0],
        difference=pairs["loss"] - pairs["loss_study"],
    )
    groups = pairs.groupby([*by, "setting", "factor"], as_index=False)
    table = groups["difference"].agg(seeds="size", difference="mean", variance="var")
    noise = float(np.sqrt(pooled_variance(table["variance"], table["seeds"] - 1)))
    return table.drop(columns="variance").assign(se=noise / np.sqrt(table["seeds"]))


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
    design = np.column_stack([np.ones_like(z), z, z * z])
    fit = least_squares(design, loss)
    assert fit is not None, "three values or more"
    (c0, c1, c2), covariance = fit.weights, fit.covariance(noise**2)
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
