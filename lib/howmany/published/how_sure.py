"""How sure a study can be: runs of a law that is known, fitted, forecast, and fitted again many times."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from howmany.page import listed
from howmany.study import budget_label
from moelaws.charts.fits import forecast
from moelaws.charts.tables import readable
from moelaws.charts.theme import letter
from moelaws.fitting.fit import fit
from moelaws.fitting.intervals.profile import Profile
from moelaws.fitting.intervals.uncertainty import Bootstrap, bootstrap
from moelaws.fitting.result import FitResult
from moelaws.laws import law
from moelaws.optimum.forecaster import Forecaster
from moelaws.optimum.optimum import best_size, compute_multiplier
from moelaws.surfaces.isoflop import fit_surface

BUDGETS = (3e19, 6e19, 1e20, 3e20, 1e21)
SPARSITIES = (0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98)
"""The paper's five budgets and seven sparsities."""

HELD_OUT_ABOVE = 0.97

_GOAL = "N* (S = .9, C = 1e22)"
_YES = {True: "yes", False: "no"}


@dataclass(frozen=True)
class Nature:
    """A law that is true, and how runs of it are made.

    Attributes:
        truth: its coefficients.
        noise: standard deviation of ln L between seeds.
        sizes: at each budget and sparsity, around the best one.
    """

    truth: Mapping[str, float]
    noise: float
    sizes: int

    @property
    def forecaster(self) -> Forecaster:
        """The law, to be asked for the best models."""
        return Forecaster(law("abnar2025"), self.truth)

    def design(self) -> pd.DataFrame:
        """Sizes around the optimum of every budget and sparsity, without losses."""
        grid = [
            (c, s, best_size(self.forecaster, c, 1 / (1 - s)).total_params * k)
            for c in BUDGETS
            for s in SPARSITIES
            for k in np.geomspace(0.25, 4, self.sizes)
        ]
        table = pd.DataFrame(grid, columns=["train_flops", "sparsity", "total_params"])
        table["active_params"] = table["total_params"] * (1 - table["sparsity"])
        table["tokens"] = table["train_flops"] / (6 * table["active_params"])
        return table

    def study(self, design: pd.DataFrame, seed: int) -> pd.DataFrame:
        """The design with the losses that the law and the noise make."""
        errors = np.random.default_rng(seed).normal(size=len(design))
        return design.assign(loss=law("abnar2025").predict(self.truth, design) * np.exp(self.noise * errors))


def coefficients(result: FitResult, refits: Bootstrap, truth: Mapping[str, float]) -> pd.DataFrame:
    """The true coefficients, the fitted ones, their intervals, and whether these hold the truth."""
    intervals = pd.DataFrame(refits.result.intervals, index=["low", "high"]).T
    table = pd.DataFrame({"truth": truth, "fit": result.params}).join(intervals)
    table["covered"] = table["truth"].between(table["low"], table["high"]).map(_YES)
    table["identified"] = pd.Series(refits.result.identified).map(_YES)
    return table


def coefficient_numbers(table: pd.DataFrame, result: FitResult) -> dict[str, Any]:
    """How many coefficients come back, how many are missed, and how well the fit does in and out of sample."""
    assert result.holdout is not None
    return {
        "ho_near": int(((table["fit"] / table["truth"] - 1).abs() < 0.1).sum()),
        "ho_missed": int((table["covered"] == "no").sum()),
        "ho_open": listed(letter(str(name)) for name in table.index[table["identified"] == "no"]),
        "ho_a": f"{table['high']['a'] / table['low']['a']:.0f}",
        "ho_in": f"{100 * result.quality.r2:.1f}",
        "ho_out": f"{100 * result.holdout.r2:.1f}",
    }


def profile_numbers(along: Profile, floor: Profile, truth: Mapping[str, float]) -> dict[str, Any]:
    """The intervals of lambda and of the floor."""
    return {
        "ho_l_low": f"{along.interval[0]:.2f}",
        "ho_l_high": f"{along.interval[1]:.2f}",
        "ho_l_true": f"{truth['lambda']:.3f}",
        "ho_e_low": f"{floor.interval[0]:.2f}",
        "ho_e_high": f"{floor.interval[1]:.2f}",
    }


def best_sizes(asked: Forecaster) -> pd.DataFrame:
    """The best total size at ten budgets and three sparsities, with its interval where the law has replicates."""
    rows = []
    for s in (0.0, 0.5, 0.9):
        for c in np.geomspace(3e19, 1e24, 10):
            best = best_size(asked, c, 1 / (1 - s))
            rows.append((c, s, best.total_params, *best.intervals.get("total_params", (np.nan, np.nan))))
    return pd.DataFrame(rows, columns=["train_flops", "sparsity", "value", "low", "high"])


def forecast_figure(table: pd.DataFrame, real: pd.DataFrame) -> Any:
    """The forecasts with their bands, and the truth."""
    runs = pd.DataFrame([{"first": min(BUDGETS), "last": max(BUDGETS)}])
    return forecast(table, real[["train_flops", "sparsity", "value"]], runs)


def worth(fitted: Forecaster, nature: Forecaster) -> pd.DataFrame:
    """What one expert in eight is worth in compute: the truth, the fit and its interval, by budget."""
    rows = {}
    for c in (1e20, 1e21, 1e22, 1e24):
        found = compute_multiplier(fitted, c, 8)
        true = compute_multiplier(nature, c, 8).value
        rows[f"C = {budget_label(c)}"] = {
            "truth": true, "fit": found.value, "95 %, low": found.low, "95 %, high": found.high
        }  # fmt: skip
    return readable(pd.DataFrame(rows), "{:#.3g}").rename_axis("worth of 1 in 8")


def width_numbers(table: pd.DataFrame) -> dict[str, Any]:
    """How far the ends of a forecast's interval lie apart, within the data and far beyond."""
    width = (table["high"] / table["low"]).groupby(table["train_flops"]).max()
    return {"ho_w_in": f"{width.iloc[2]:.2f}", "ho_w_out": f"{width.iloc[-1]:.2f}"}


def coverage(nature: Nature, design: pd.DataFrame, draws: int, refits: int) -> pd.DataFrame:
    """In how many studies the intervals hold the truth.

    Args:
        nature: the law that is true.
        design: without losses.
        draws: whole studies that are made and fitted again.
        refits: bootstrap refits of each.
    """
    kept = {name: 0 for name in nature.truth} | {_GOAL: 0}
    goal = best_size(nature.forecaster, 1e22, 10).total_params
    for seed in range(1, draws + 1):
        again = nature.study(design, seed)
        again = again[again["sparsity"] < HELD_OUT_ABOVE]
        one = fit("abnar2025", again, objective="lsq-log", starts=16, seed=seed)
        many = bootstrap(one, refits, seed=seed, strata=again["train_flops"].to_numpy())
        for name, (low, high) in many.result.intervals.items():
            kept[name] += low <= nature.truth[name] <= high
        best = best_size(Forecaster(one.law, one.params, replicates=many.params), 1e22, 10)
        low, high = best.intervals["total_params"]
        kept[_GOAL] += low <= goal <= high
    return pd.DataFrame({f"covered in {draws} studies": kept}).T


def surface_coverage(nature: Nature, draws: int) -> pd.DataFrame:
    """How often intervals of surfaces hold the best size, with sizes within 4 and within 2 times of it."""
    best_n = {s: best_size(nature.forecaster, 1e20, 1 / (1 - s)).total_params for s in SPARSITIES}
    rows = []
    for span in (4, 2):
        factors = np.geomspace(1 / span, span, nature.sizes)
        grid = [(1e20, s, n * k) for s, n in best_n.items() for k in factors]
        design = pd.DataFrame(grid, columns=["budget", "sparsity", "total_params"])
        design["tokens"] = 1e20 / (6 * design["total_params"] * (1 - design["sparsity"]))
        for seed in range(draws):
            surface = fit_surface(nature.study(design, seed), bootstrap=200, seed=seed)
            for s in (0.0, 0.5, 0.9, 0.95):
                best, real = surface.optimum(s), best_n[s]
                held = best.n_low <= real <= best.n_high
                bias, width = np.log(best.n / real), np.log(best.n_high / best.n_low)
                rows.append((f"within {span}×", held, 100 * bias, 100 * width))
    columns = ["sizes", "covered", "bias of N* (%)", "width of the interval (%)"]
    return pd.DataFrame(rows, columns=columns).groupby("sizes").mean()


def surface_numbers(by_span: pd.DataFrame) -> dict[str, Any]:
    """Coverage and bias for both spans."""
    covered, bias = by_span["covered"], by_span["bias of N* (%)"]
    return {
        "ho_cover_wide": f"{100 * covered['within 4×']:.0f}",
        "ho_cover_near": f"{100 * covered['within 2×']:.0f}",
        "ho_bias_wide": f"{bias['within 4×']:.1f}",
        "ho_bias_near": f"{bias['within 2×']:.1f}",
    }
