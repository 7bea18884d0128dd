"""Runs that vary experts, size and tokens at once: what seeds do, and Yun's law fitted to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from scipy.stats import chi2, f

from howmany.claims import read_claims
from howmany.figures import expert_gains as figures
from howmany.gains import CELL, with_dense_params
from howmany.page import listed
from howmany.verdict import Judged
from howmany.verdicts.own_family import STARTS, Own, placebos_of, verdicts
from moelaws.charts.tables import readable
from moelaws.charts.theme import letter
from moelaws.fitting.result import FitResult
from moelaws.runs import pooled_noise, seed_spread

NEEDED = ("loss", "tokens", "n_experts", "d_model", "non_embedding_params")
"""Columns that a table must have for this chapter."""


def with_plan(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with the size of their dense model and the ``planned`` tokens."""
    table = with_dense_params(runs)
    # Whole batches: the same plan is a few tokens more or less at another width.
    table["planned"] = table["tokens"].map("{:.1e}".format).astype(float)
    return table


def losses(runs: pd.DataFrame) -> pd.DataFrame:
    """Loss by tokens, width and experts."""
    shown = runs.assign(tokens=(runs["tokens"] / 1e6).round(1).map("{:g} M".format))
    return shown.pivot_table(index=["tokens", "d_model"], columns="n_experts", values="loss").round(3)


def printed_error(claims_file: str) -> float:
    """The error of ln L that the paper prints for its own fit."""
    return {claim.key: claim for claim in read_claims(claims_file)}["rmsle"].high


CLAIMS = ("rmsle", "gain-by-n", "parallel-d", "gap-grows", "e-max")
"""Claims of the paper that this chapter is about."""


def judged(claims_file: str, runs: pd.DataFrame, placebos: int) -> list[Judged]:
    """The paper's claims that these runs can be asked, as everywhere in this book, beside their placebos."""
    own = Own("our runs", runs, starts=STARTS)
    claims = [claim for claim in read_claims(claims_file) if claim.key in CLAIMS]
    return verdicts(claims, own, placebos_of(own, placebos))


def finding_numbers(found: Sequence[Judged]) -> dict[str, Any]:
    """What the gain does with tokens and with size, and the words on it, for the chapter's first screen."""
    by_key = {each.claim.key: each for each in found}
    return {
        f"ex_{name}_{what}": text
        for name, key in (("tokens", "parallel-d"), ("sizes", "gain-by-n"), ("gap", "gap-grows"))
        for what, text in (
            ("word", by_key[key].text),
            # The sentence says itself that it is about a doubling.
            ("found", "; ".join((one.text or one.open).removesuffix(", a doubling") for one in by_key[key].findings)),
        )
    }


def run_numbers(runs: pd.DataFrame) -> dict[str, Any]:
    """How many runs and seeds there are, how large their dense models, and what a second expert adds."""
    sizes = runs.drop_duplicates("d_model").sort_values("d_model")
    routed = runs[runs["n_experts"] > 1].groupby("d_model")["active_params"].min()
    extra = routed / runs[runs["n_experts"] == 1].groupby("d_model")["active_params"].first()
    repeats = runs.groupby(["d_model", "planned", "n_experts"]).size()
    return {
        "ex_runs": len(runs),
        "ex_seeds_low": int(repeats.min()),
        "ex_seeds_high": int(repeats.max()),
        "ex_extra_low": f"{100 * (extra.min() - 1):.0f}",
        "ex_extra_high": f"{100 * (extra.max() - 1):.0f}",
        "ex_n_low": f"{sizes['dense_params'].iloc[0] / 1e3:.0f}",
        "ex_n_high": f"{sizes['dense_params'].iloc[-1] / 1e3:.0f}",
    }


@dataclass(frozen=True)
class Chance:
    """What another seed does to ln L.

    Attributes:
        noise: standard deviation, pooled over the points with several seeds.
        freedom: its degrees of freedom.
        low, high: its 95 % interval, if the noise is normal.
    """

    noise: float
    freedom: int
    low: float
    high: float

    def __str__(self) -> str:
        return f"noise of ln L: {self.noise:.4f}, 95 % interval {self.low:.4f} to {self.high:.4f}"


def chance(runs: pd.DataFrame) -> Chance:
    """The noise of ln L between seeds of one width, number of tokens and number of experts."""
    spread = seed_spread(runs.assign(loss=np.log(runs["loss"])), ["d_model", "planned", "n_experts"])
    noise, freedom = pooled_noise(spread), int((spread["seeds"] - 1).sum())
    low, high = noise * np.sqrt(freedom / chi2.ppf([0.975, 0.025], freedom))
    return Chance(noise, freedom, low, high)


def misfit(result: FitResult, seeds: Chance) -> float:
    """The chance that seeds alone leave residuals as large as a fit's, by an F test.

    Args:
        result: a fit by least squares of ln L.
        seeds: the noise of single runs.
    """
    free = result.n_runs - len(result.params)
    ratio = result.search.objective_value / free / seeds.noise**2
    return float(f.sf(ratio, free, seeds.freedom))


def coefficients(result: FitResult) -> pd.DataFrame:
    """Coefficients with their intervals, and whether these are bounded on both sides."""
    table = pd.DataFrame(result.intervals, index=["low", "high"]).T
    table.insert(0, "fit", pd.Series(result.params))
    both = {name: set(kinds) == {"found"} for name, kinds in result.uncertainty.ends.items()}
    table["bounded"] = pd.Series(both).map({True: "yes", False: "no"})
    numbers = ["fit", "low", "high"]
    table[numbers] = table[numbers].where(table[numbers].abs() > 1e-9, 0.0)
    return readable(table, "{:.3g}")


def loss_curves(runs: pd.DataFrame, result: FitResult, seeds: Chance) -> alt.FacetChart:
    """The runs and the fitted law against the number of experts, a panel a number of tokens."""
    grid = 2 ** np.linspace(0, np.log2(runs["n_experts"].max()), 31)
    curves = runs.drop_duplicates([*CELL])[["d_model", "tokens", "dense_params"]].merge(
        pd.DataFrame({"n_experts": grid}), how="cross"
    )
    curves["loss"] = result.predict(curves)
    return figures.loss_curves(
        _labelled(runs),
        _labelled(curves),
        f"Eq. 4 fits to {100 * result.quality.rmse_log:.2f} % of the loss; chance is {100 * seeds.noise:.2f} %",
        "Loss against experts for four dense sizes, a panel for each number of tokens; runs as points, the law as "
        "lines.",
    )


def fit_numbers(result: FitResult, seeds: Chance, theirs: float) -> dict[str, Any]:
    """The error of the fit beside the paper's and beside chance, and what has no end."""
    likely = misfit(result, seeds)
    unbounded = [name for name in result.intervals if set(result.uncertainty.ends[name]) != {"found"}]
    return {
        "ex_theirs": f"{theirs:.4f}",
        "ex_rmsle": f"{result.quality.rmse_log:.4f}",
        "ex_noise": f"{seeds.noise:.4f}",
        "ex_noise_range": f"{seeds.low:.4f} to {seeds.high:.4f}",
        "ex_chance": f"{likely:.3f}" if likely >= 0.001 else "less than 0.001",
        "ex_fit_word": "larger than the seeds explain: the form misses something"
        if likely < 0.05
        else "no larger than the seeds explain",
        "ex_open": listed(map(letter, unbounded)),
        "ex_n_open": len(unbounded),
    }


def _labelled(table: pd.DataFrame) -> pd.DataFrame:
    ordered = table.sort_values(["tokens", "dense_params"])
    size = (ordered["dense_params"] / 1e3).map("{:.0f} k".format)
    return ordered.assign(size=size, panel=(ordered["tokens"] / 1e6).map("D = {:.1f} M".format))
