"""What our runs pin down of the sparsity law: coefficients, floors, and the floor of a language that is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.figures import law_checks as figures
from howmany.measured.own_law import EQ6, GROWING, NEEDED, WITHOUT
from moelaws.charts.tables import readable
from moelaws.charts.theme import letter
from moelaws.fitting.fit import fit
from moelaws.fitting.intervals.profile import Profile, profile
from moelaws.fitting.intervals.uncertainty import Bootstrap, bootstrap
from moelaws.fitting.result import FitResult
from moelaws.fitting.splits import Candidate, candidate
from moelaws.optimum.optimum import Forecaster, best_sparsity

FLOORS = {EQ6: "e", WITHOUT: "E", "Hoffmann, N_a in data term": "e", "Frantar on N_a": "c"}
"""Laws that are asked for the floor of the language -> the letter of their floor."""

OF_LANGUAGE = (*NEEDED, "perfect_loss")
"""Columns of the table of runs on a language whose floor is known."""

_TAILS = [0.025, 0.975]


def coefficients(intervals: FitResult, redrawn: Bootstrap) -> pd.DataFrame:
    """Fitted coefficients beside the paper's, with intervals of the likelihood and of refits."""
    ends = {k: np.quantile(v, _TAILS).round(9) for k, v in redrawn.params.items()}
    return pd.DataFrame(
        {
            "paper": dict(intervals.law.published["table3"]),
            "ours": {name: round(value, 9) for name, value in intervals.params.items()},
            "low": {k: low for k, (low, _) in intervals.intervals.items()},
            "high": {k: high for k, (_, high) in intervals.intervals.items()},
            "bootstrap low": {k: low for k, (low, _) in ends.items()},
            "bootstrap high": {k: high for k, (_, high) in ends.items()},
            "identified": {k: "yes" if known else "no" for k, known in intervals.identified.items()},
        }
    )


def written(table: pd.DataFrame) -> pd.DataFrame:
    """The coefficients with their intervals as text."""
    ranges = {
        f"{kind}, 95 %": [f"{a:.3g} to {b:.3g}" for a, b in zip(table[low], table[high], strict=True)]
        for kind, low, high in (("likelihood", "low", "high"), ("bootstrap", "bootstrap low", "bootstrap high"))
    }
    return readable(table[["paper", "ours", "identified"]].assign(**ranges), "{:.3g}")


def profiles(result: FitResult) -> dict[str, Profile]:
    """The profiles of the two coefficients on which the paper's reading rests."""
    return {name: profile(result, name) for name in ("lambda", "e")}


def profile_panels(held: Mapping[str, Profile]) -> alt.FacetChart:
    """Rise of the objective along each."""
    points = [p.points.rename(columns={name: "value"}).assign(panel=letter(name)) for name, p in held.items()]
    open_ones = [letter(name) for name, p in held.items() if not p.bounded]
    return figures.profiles(
        pd.concat(points),
        f"The runs leave {' and '.join(open_ones)} open" if open_ones else "Both are bounded on both sides",
        "Rise of the objective along lambda and along the floor e, with the level that bounds a 95 percent interval.",
    )


def profile_numbers(intervals: FitResult, held: Mapping[str, Profile]) -> dict[str, Any]:
    """What is identified, how many starts met, and between what the two coefficients lie."""
    known, sign = intervals.identified, held["lambda"].interval
    found: dict[str, Any] = {
        "ol_known": sum(known.values()),
        "ol_open": ", ".join(letter(k) for k, v in known.items() if not v) or "none",
        "ol_reached": intervals.search.starts_at_optimum,
        "ol_starts": intervals.search.starts,
        "ol_lambda_sign": "known: negative" if sign[1] < 0 else "known: positive" if sign[0] > 0 else "open",
    }
    for name, p in held.items():
        low, high = (f"{x:.2g}".replace("inf", "∞").replace("-", "−") for x in p.interval)
        found |= {f"ol_{name}_low": low, f"ol_{name}_high": high}
    return found


def steps(rungs: pd.DataFrame) -> pd.DataFrame:
    """A ladder of fits as a table: floors as budgets are added, and how well each foresees the next."""
    forms = {"budgets": "{:.0f}", "largest": "{:.0e}", "next": "{:.0e}", "bias": "{:+.3f}"}
    return readable(rungs.drop(columns=["n", "rmse_log", "out_rmse_log"]).set_index("budgets"), "{:.2f}", forms)


def step_numbers(rungs: pd.DataFrame) -> dict[str, Any]:
    """The first and the last floor of a ladder."""
    first, last = rungs.iloc[0], rungs.iloc[-1]
    return {
        "ol_f_first": f"{first['floor']:.2f}",
        "ol_f_last": f"{last['floor']:.2f}",
        "ol_f_low": f"{first['low']:.2f}",
        "ol_f_high": f"{first['high']:.2f}",
        "ol_f_word": "inside" if first["low"] <= last["floor"] <= first["high"] else "outside",
    }


def spoken() -> dict[str, Candidate]:
    """Laws that are asked for the floor of the language."""
    sizes = {WITHOUT: "active_params", "Frantar on N_a": "active_params"}
    laws = {EQ6: "abnar2025", WITHOUT: "hoffmann2022", "Frantar on N_a": "frantar2023"}
    return {name: candidate(laws.get(name, GROWING), sizes.get(name, "")) for name in FLOORS}


def fitted(language: pd.DataFrame, starts: int) -> dict[str, FitResult]:
    """Those laws, fitted to the language's runs."""
    return {name: fit(c.law, language, objective="lsq-log", starts=starts) for name, c in spoken().items()}


def guesses(fits: Mapping[str, FitResult], truth: float) -> pd.DataFrame:
    """Each law's floor with its interval, beside the truth (nats)."""
    found = {name: profile(fits[name], FLOORS[name]).interval for name in fits}
    table = pd.DataFrame(found, index=["low", "high"]).T
    table.insert(0, "floor", {name: fits[name].params[FLOORS[name]] for name in fits})
    table["truth"] = truth
    table["holds it"] = _holds(table)
    table["R² of the fit"] = [fits[name].quality.r2 for name in table.index]
    return table


def whole_floors(tongue: FitResult, language: pd.DataFrame, refits: int, truth: float) -> pd.DataFrame:
    """The whole floor of Eq. 6 at each sparsity, e + c/(1-S)^lambda, with bootstrap intervals, beside the truth."""
    redrawn = bootstrap(tongue, refits, strata=language["budget"].to_numpy()).params
    rows = {}
    for s in sorted(language["sparsity"].unique()):
        low, high = np.quantile(_whole(redrawn, s), _TAILS)
        rows[f"S = {s:.3g}"] = {"e + c/(1-S)^λ": _whole(tongue.params, s), "low": low, "high": high}
    table = pd.DataFrame(rows).T
    table["truth"] = truth
    table["holds it"] = _holds(table)
    return table


@dataclass(frozen=True)
class Climb:
    """Ladders of fitted floors on both texts.

    Attributes:
        text, language: what ``ladder`` returns for each.
        least: the least loss of any run on each (nats).
        truth: the loss of the perfect predictor of the language (nats).
    """

    text: pd.DataFrame
    language: pd.DataFrame
    least: tuple[float, float]
    truth: float

    @property
    def inside(self) -> bool:
        """Whether the last interval on the language holds the truth."""
        end = self.language.iloc[-1]
        return bool(end["low"] <= self.truth <= end["high"])


def floor_panels(climb: Climb) -> alt.FacetChart:
    """Fitted floors as budgets are added, a panel a text."""
    panels = pd.concat(
        [
            climb.text.assign(panel="text", truth=np.nan, least=climb.least[0]),
            climb.language.assign(panel="synthetic language", truth=climb.truth, least=climb.least[1]),
        ]
    )
    panels["high"] = panels["high"].where(np.isfinite(panels["high"]), panels["least"])
    off = climb.language.iloc[-1]["floor"] - climb.truth
    return figures.floors(
        panels,
        f"On the language the last floor is {abs(off):.2f} nats too {'low' if off < 0 else 'high'}; "
        f"its interval {'holds' if climb.inside else 'misses'} the truth",
        "Fitted floors with intervals as budgets are added; dashed: the loss of the perfect predictor; orange: the "
        "least loss of any run.",
    )


def floor_numbers(guessed: pd.DataFrame, whole: pd.DataFrame, climb: Climb) -> dict[str, Any]:
    """What the laws say of a floor that is known."""
    eq6, truth, off = guessed.loc[EQ6], climb.truth, climb.language["floor"] - climb.truth
    holds = guessed["holds it"] == "yes"
    narrow = (guessed["high"] - guessed["low"] < 0.25 * truth) & holds
    found = (
        "So a floor can be found, in runs that come near it, by a law that does not split it among several constants."
    )
    lost = "So even runs of a language as simple as this one do not show where its floor is."
    least = climb.least[1]
    return {
        "ol_truth": f"{truth:.3f}",
        "ol_least": f"{least:.3f}",
        "ol_holds": int(holds.sum()),
        "ol_asked": len(guessed),
        "ol_e6": f"{eq6['floor']:.3f}",
        "ol_e6_low": f"{eq6['low']:.3f}",
        "ol_e6_high": f"{eq6['high']:.3f}",
        "ol_e6_word": "holds" if holds[EQ6] else "misses",
        "ol_moral": found if climb.inside else lost,
        "ol_gap": f"{least - truth:.2f}",
        "ol_w0": f"{whole.iloc[0, 0]:.3f}",
        "ol_w0_low": f"{whole.iloc[0, 1]:.3f}",
        "ol_w0_high": f"{whole.iloc[0, 2]:.3f}",
        "ol_w_in": int((whole["holds it"] == "yes").sum()),
        "ol_w": len(whole),
        "ol_rungs_in": int(climb.language["low"].le(truth).mul(climb.language["high"].ge(truth)).sum()),
        "ol_rungs": len(climb.language),
        "ol_off_first": f"{off.iloc[0]:+.2f}",
        "ol_off_last": f"{off.iloc[-1]:+.2f}",
        "ol_trust": f"Intervals that hold it and are narrower than a quarter of it: {', '.join(guessed.index[narrow])}."
        if narrow.any()
        else "No law's interval holds the truth and is narrower than a quarter of it.",
    }


def signs(table: pd.DataFrame) -> pd.DataFrame:
    """The signs on which the paper's reading rests, and whether these runs agree."""
    found = table.loc[["lambda", "delta", "gamma"], ["paper", "low", "high"]].assign(
        sign=lambda t: np.select([t["low"] > 0, t["high"] < 0], ["positive", "negative"], "open")
    )
    agree = np.where((found["sign"] == "positive") == (found["paper"] > 0), "yes", "no")
    found["as in the paper"] = np.where(found["sign"] == "open", "not resolved", agree)
    return readable(found, "{:.3g}")


def wanted_sparsity(result: FitResult, redrawn: Bootstrap, runs: pd.DataFrame) -> pd.DataFrame:
    """The best sparsity of four sizes at the largest budget, by our coefficients and by the paper's."""
    largest = runs["budget"].max()
    own = Forecaster(result.law, result.params, replicates=redrawn.params)
    theirs = Forecaster(result.law, result.law.published["table3"])
    rows = {}
    for n in np.geomspace(*runs["total_params"].quantile([0.1, 0.9]), 4):
        ours = best_sparsity(own, largest, n)
        rows[f"{n / 1e3:,.0f} k"] = {
            "S*, our coefficients": f"{ours.sparsity:.2f}",
            "95 %": "{:.2f} to {:.2f}".format(*ours.intervals["sparsity"]),
            "S*, the paper's": f"{best_sparsity(theirs, largest, n).sparsity:.2f}",
        }
    return readable(pd.DataFrame(rows).T.rename_axis("N"))


def _whole(params: Mapping[str, Any], sparsity: float) -> Any:
    return params["e"] + params["c"] * (1 - sparsity) ** -params["lambda"]


def _holds(table: pd.DataFrame) -> np.ndarray:
    return np.where(table["truth"].between(table["low"], table["high"]), "yes", "no")
