"""Where the sparsity law goes wrong on our runs: residuals, how fast loss falls with tokens, other ways to fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.figures import law_checks as figures
from howmany.measured.own_law import SPLITS
from moelaws.charts.losses import budget_name
from moelaws.charts.tables import readable
from moelaws.fitting.least_squares import least_squares
from moelaws.fitting.objective import FitError
from moelaws.fitting.result import FitResult
from moelaws.fitting.splits import candidate, declines, scores

FEWEST_STEPS = 900
"""Runs with fewer steps are left out by one of the ways to fit."""


def residuals(result: FitResult, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with ``residual``, prediction less loss in ln L, and the ``panel`` of their budget."""
    table = runs.assign(
        residual=np.log(result.predict(runs) / runs["loss"]), panel=runs["budget"].map(budget_name)
    )  # fmt: skip
    return table.sort_values("budget")


def residual_panels(left: pd.DataFrame, result: FitResult, noise: float) -> alt.FacetChart:
    """The residuals against active size, a panel a budget, in the band that seeds alone would fill."""
    share = (result.quality.rmse_log / noise) ** 2
    return figures.residuals(
        left,
        noise,
        f"Residuals of Eq. 6 have {share:.0f} times the variance of seeds",
        "Residuals of the fitted law against active size for each budget, coloured by experts; the grey band is two "
        "standard deviations between seeds.",
    )


def mean_residuals(left: pd.DataFrame) -> pd.DataFrame:
    """Mean residual at each budget and number of experts, in percent of the loss."""
    means = left.pivot_table(index="budget", columns="n_experts", values="residual")
    return readable(100 * means.rename(index=budget_name), "{:+.1f} %")


@dataclass(frozen=True)
class Decline:
    """How fast the loss falls with tokens, and what that depends on at equal tokens.

    Attributes:
        falls: a row a step between budgets: ``decline`` (nats per factor e of tokens) with ``low`` and ``high``.
        slope: its change per doubling of ``tokens``, ``d_model`` and ``n_experts``, by least squares.
        error: standard errors of the same.
    """

    falls: pd.DataFrame
    slope: pd.Series
    error: pd.Series

    @property
    def clear(self) -> pd.Series:
        """Whether a slope is beyond three standard errors."""
        return self.slope.abs() > 3 * self.error


def decline(runs: pd.DataFrame, noise: float) -> Decline:
    """The fall of the loss per factor e of tokens between budgets, for each width and number of experts.

    Args:
        runs: a run table with several budgets.
        noise: standard deviation of ln L between seeds.

    Raises:
        FitError: too few widths, experts or budgets.
    """
    falls = declines(runs)
    error = 2 * noise * runs["loss"].mean() * falls["per_run"]
    falls = falls.assign(
        low=falls["decline"] - error,
        high=falls["decline"] + error,
        panel="E = " + falls["n_experts"].astype(str),
    )
    known = np.log2(falls[["tokens", "d_model", "n_experts"]].astype(float))
    known.insert(0, "one", 1.0)
    fit = least_squares(known.to_numpy(), falls["decline"].to_numpy(float))
    if fit is None or fit.freedom < 1:
        raise FitError(f"{len(falls)} declines do not show what they depend on: expected several widths and experts")
    errors = pd.Series(np.sqrt(np.diag(fit.covariance())), known.columns)
    return Decline(falls, pd.Series(fit.weights, known.columns), errors)


def decline_panels(found: Decline) -> alt.FacetChart:
    """The fall against tokens, a line a width, for the fewest and the most experts."""
    falls = found.falls
    ends = falls[falls["n_experts"].isin([falls["n_experts"].min(), falls["n_experts"].max()])]
    wider = found.clear["d_model"] and found.slope["d_model"] > 0
    return figures.decline_by_tokens(
        ends.sort_values("n_experts"),
        "At equal tokens a wider model gains more from further tokens"
        if wider
        else "Narrow and wide models gain alike from tokens",
        "Fall of the loss per factor e of tokens against tokens, one line a width; in an additive law all lines of a "
        "panel would coincide.",
    )


def decline_numbers(found: Decline) -> dict[str, Any]:
    """How the fall depends on width and experts, with two standard errors, and what follows."""
    clear = found.clear["d_model"] or found.clear["n_experts"]
    return {
        f"ol_{key}": f"{found.slope[name]:+.3f} ± {2 * found.error[name]:.3f}"
        for key, name in (("width", "d_model"), ("experts", "n_experts"))
    } | {
        "ol_why": "So the data term cannot stand alone: what tokens are worth depends on who reads them."
        if clear
        else "So the data term may stand alone; the fault lies elsewhere."
    }


def other_ways(result: FitResult, runs: pd.DataFrame, noise: float, near: float, starts: int) -> pd.DataFrame:
    """Eq. 6 fitted by other objectives, weights and sizes, and to parts of the runs.

    Args:
        result: the fit to all runs, around which the others start.
        runs: the runs, with ``weight``.
        noise: standard deviation of ln L between seeds.
        near: nats above the best at a budget and sparsity that count as near it.
        starts: of each fit.

    Returns:
        A row a way to fit: ``runs``, ``RMSE / noise``, and ``R²`` of each held-out part.
    """
    steps = runs["tokens"] / (runs["batch_sequences"] * runs["context"])
    lowest = runs.groupby(["budget", "n_experts"])["loss"].transform("min")
    choices: Mapping[str, tuple[dict[str, Any], pd.DataFrame]] = {
        "least squares of ln L": ({}, runs),
        "Huber": ({"objective": "huber-log"}, runs),
        "weights from seeds": ({"weights": "weight"}, runs),
        "N without embeddings": ({"size": "non_embedding_params"}, runs),
        "without d < 16": ({}, runs[runs["d_model"] >= 16]),
        f"without runs below {FEWEST_STEPS} steps": ({}, runs[steps >= FEWEST_STEPS]),
        "only near the best": ({}, runs[runs["loss"] < lowest + near]),
    }
    around = np.random.default_rng(0).normal(result.solved.theta, 0.1, (starts, len(result.solved.theta)))
    rows = {}
    for name, (options, chosen) in choices.items():
        tried = scores({name: candidate("abnar2025", **options)}, chosen, SPLITS, starts=around)
        outside = tried.set_index("split")["out_r2"]
        rows[name] = {"runs": tried["n"].iloc[0], "RMSE / noise": tried["rmse_log"].iloc[0] / noise} | {
            f"R² {split}": outside[split] for split in SPLITS
        }
    return pd.DataFrame(rows).T


def ways_numbers(variants: pd.DataFrame, runs: pd.DataFrame, bar: float) -> dict[str, Any]:
    """How far the ways to fit lie apart, and whether embeddings matter."""
    far = variants["R² largest budget"]
    blown = variants.index[variants["R² highest sparsity"] < -1].tolist()
    bare, full = variants.loc[["N without embeddings", "least squares of ln L"], "RMSE / noise"].tolist()
    astray = (
        f"But at the unseen sparsity one way to fit goes astray: {', '.join(blown)}. Where the runs leave λ open, "
        "a fit may put it where its term, c over (1 − S) to the power λ, is nothing at the sparsities seen and far "
        "too much at the next."
    )
    share = 1 - (runs["non_embedding_params"] / runs["total_params"]).min()
    return {
        "ol_var_low": f"{far.min():.2f}",
        "ol_var_high": f"{far.max():.2f}",
        "ol_var_best": far.idxmax(),
        "ol_var_over": int((far > bar).sum()),
        "ol_var_count": len(far),
        "ol_blown": astray if blown else "No way to fit goes astray at the unseen sparsity.",
        "ol_matters": "The fit hardly changes" if abs(bare / full - 1) < 0.1 else "The fit changes",
        "ol_ne": f"{bare:.1f}",
        "ol_with": f"{full:.1f}",
        "ol_share": f"{100 * share:.0f}",
    }
