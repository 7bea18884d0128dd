"""How the gain from experts moves with size and tokens: measured without a law, and as the fitted laws have it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.figures import expert_gains as figures
from howmany.gains import CELL, free_levels, gains, trends, with_dense_params
from moelaws.fitting.fit import fit
from moelaws.fitting.intervals.profile import profile
from moelaws.fitting.intervals.uncertainty import large_sample
from moelaws.fitting.result import FitResult
from moelaws.laws import Law, exponent, law, law_from_formula
from moelaws.laws.saturation import ends_of

LETTERS = {"N": "dense_params", "D": "tokens", "E": "n_experts"}

_INTERACTION = "d*ln(N)*ln(Eh)"
_RANGES = {"b": 0.2, "d": 0.02, "h": 0.02}
_CELL = (*CELL, "planned")
_AXES = {"size": "2 N", "data": "2 D"}


def word(low: float, high: float, names: tuple[str, str, str] = ("falls", "rises", "no clear trend")) -> str:
    """The word for an interval below zero, above zero, or around it."""
    return names[1] if low > 0 else names[0] if high < 0 else names[2]


def variant(base: Law, name: str, replacement: str) -> Law:
    """Eq. 4 with another interaction, such as ``(b + d*ln(N))*ln(Eh)``, in place of ``d*ln(N)*ln(Eh)``.

    Args:
        base: Eq. 4 as it was fitted, with E_max or without.
        name: of the new law.
        replacement: of the interaction; the letters b, d, h are its parameters.
    """
    formula = law("yun2024").formula.replace(_INTERACTION, replacement)
    kept = [p for p in base.parameters if p.name != "d"]
    new = [exponent(letter, -r, r) for letter, r in _RANGES.items() if letter in replacement.replace("ln(Eh)", "")]
    return law_from_formula(name, formula, LETTERS, base.definitions, (*kept, *new))


@dataclass(frozen=True)
class Gain:
    """The gain from experts, as a share of the loss.

    Attributes:
        cells: a row a width, number of tokens and number of experts.
        measured: its trends by number of experts (0: the mean of all).
        said: law -> the same of its predictions.
    """

    cells: pd.DataFrame
    measured: pd.DataFrame
    said: Mapping[str, pd.DataFrame]

    @property
    def overall(self) -> Any:
        """The trends of the mean over all numbers of experts."""
        return self.measured.loc[0]

    def moves(self, axis: str) -> str:
        """What the gain does with ``size`` or ``data``, in words."""
        return word(self.overall[f"{axis}_low"], self.overall[f"{axis}_high"])


def gain(runs: pd.DataFrame, laws: Mapping[str, FitResult]) -> Gain:
    """The gain and its trends, measured and as fitted laws have them."""
    cells = gains(runs, _CELL)
    said = {
        name: trends(gains(runs.assign(loss=one.predict(runs)))).set_index("n_experts") for name, one in laws.items()
    }
    return Gain(cells, trends(cells).set_index("n_experts"), said)


def gain_table(found: Gain) -> pd.DataFrame:
    """The gain at each number of experts, its change per doubling of size and of tokens, and what the laws say."""
    measured = found.measured
    rows = pd.DataFrame({"gain": measured["gain"]})
    for axis, name in _AXES.items():
        rows[name] = [f"{100 * v:+.2f}" for v in measured[f"per_{axis}"]]
        ends = zip(measured[f"{axis}_low"], measured[f"{axis}_high"], strict=True)
        rows[f"{name}, 95 %"] = [f"{100 * a:+.2f} to {100 * b:+.2f}" for a, b in ends]
        for law_name, slopes in found.said.items():
            rows[f"{name}, {law_name}"] = [f"{100 * v:+.2f}" for v in slopes[f"per_{axis}"]]
    rows["gain"] = [f"{100 * v:.2f}" for v in rows["gain"]]
    rows.index = pd.Index([f"E = {e}" if e else "mean" for e in rows.index], name="percent of the loss")
    return rows


def gain_panels(found: Gain, runs: pd.DataFrame, eq4: FitResult) -> alt.FacetChart:
    """The gain against size and against tokens, measured and as Eq. 4 has it."""
    axes = {"dense_params": "by dense size N", "planned": "by tokens D"}
    fitted = gains(runs.assign(loss=eq4.predict(runs)), _CELL)
    points, lines = (
        pd.concat(_margin(cells, found, column, panel) for column, panel in axes.items())
        for cells in (found.cells, fitted)
    )
    return figures.gain_trends(
        points,
        lines,
        f"The gain by size: {found.moves('size')}; by tokens: {found.moves('data')}",
        "Share of the loss saved by experts against dense size and against tokens; points with error bars are "
        "measured, lines are Eq. 4.",
    )


def gain_numbers(found: Gain, best: FitResult, wide: FitResult) -> dict[str, Any]:
    """The trends of the gain, and the interactions of the laws that were fitted.

    Args:
        found: the gain.
        best: Eq. 4.
        wide: the law with b and h.
    """
    overall, eq4 = found.overall, found.said["Eq. 4"].loc[0]
    numbers: dict[str, Any] = {"ex_by_size": found.moves("size"), "ex_by_data": found.moves("data")}
    for axis in _AXES:
        ends = overall[f"{axis}_low"], overall[f"{axis}_high"]
        numbers[f"ex_per_{axis}"] = f"{100 * overall[f'per_{axis}']:+.2f}"
        numbers[f"ex_{axis}_range"] = f"{100 * ends[0]:+.2f} to {100 * ends[1]:+.2f}"
        numbers[f"ex_{axis}_said"] = f"{100 * eq4[f'per_{axis}']:+.2f}"
    words = {
        "d": ("negative", "positive", "of either sign"),
        "h": (
            "negative: experts gain with tokens beyond what the sum gives",
            "positive: experts lose with tokens beyond what the sum gives",
            "of either sign",
        ),
    }
    for name, result in (("d", best), ("h", wide)):
        low, high = profile(result, name).interval
        numbers[f"ex_{name}"] = f"{result.params[name]:+.4f}"
        numbers[f"ex_{name}_range"] = f"{low:+.4f} to {high:+.4f}"
        numbers[f"ex_{name}_word"] = word(low, high, words[name])
    return numbers


def levels(runs: pd.DataFrame) -> pd.DataFrame:
    """Fits with a free effect of each number of experts, which may change with size, tokens, both or nothing."""
    return free_levels(runs, ["d_model", "planned"]).set_index("experts")


def level_numbers(found: pd.DataFrame, runs: pd.DataFrame, noise: float, starts: int) -> dict[str, Any]:
    """Which of them does best, and how well the dense runs alone follow Hoffmann's law."""
    dense = fit("hoffmann2022", runs[runs["n_experts"] == 1], "lsq-log", starts=starts)
    best = str(found["aicc"].idxmin())
    return {
        "ex_dense_only": f"{100 * dense.quality.rmse_log:.2f}",
        "ex_dense_noise": f"{dense.quality.rmse_log / noise:.1f}",
        "ex_levels_best": best,
        "ex_levels_best_error": f"{100 * found.loc[best, 'error']:.2f}",
        "ex_levels_none": f"{100 * found.loc['nothing', 'error']:.2f}",
        "ex_noise_percent": f"{100 * noise:.2f}",
    }


def which_size(base: Law, runs: pd.DataFrame, starts: int) -> pd.DataFrame:
    """Eq. 4 fitted with four ways to count N."""
    counts = {
        "dense model, no embedding (Yun)": with_dense_params(runs, "non_embedding_params")["dense_params"],
        "dense model, all": with_dense_params(runs, "total_params")["dense_params"],
        "active, all": runs["active_params"],
        "total, all": runs["total_params"],
    }
    rows = {}
    for name, size in counts.items():
        one = large_sample(fit(base, runs.assign(dense_params=size), "lsq-log", starts=starts))
        rows[name] = {
            "error": one.quality.rmse_log,
            "d": one.params["d"],
            "d low": one.intervals["d"][0],
            "d high": one.intervals["d"][1],
            "E_start": ends_of(one.params)[0],
            "alpha": one.params["alpha"],
        }
    return pd.DataFrame(rows).T


def size_numbers(which: pd.DataFrame) -> dict[str, Any]:
    """Which count fits best, and whether the sign of the interaction depends on it."""
    signs = {word(low, high) for low, high in zip(which["d low"], which["d high"], strict=True)}
    return {
        "ex_which_best": which["error"].idxmin(),
        "ex_which_span": f"{which['error'].max() / which['error'].min():.2f}",
        "ex_which_sign": "the same under all four, its size is not"
        if len(signs) == 1
        else "not the same under all four",
    }


def _margin(cells: pd.DataFrame, found: Gain, column: str, panel: str) -> pd.DataFrame:
    means = cells.groupby([column, "n_experts"])["gain"].agg(gain="mean", cells="size").reset_index()
    error = 2 * means["n_experts"].map(found.measured["scatter"]) / np.sqrt(means["cells"])
    return means.assign(panel=panel, value=means[column], low=means["gain"] - error, high=means["gain"] + error)
