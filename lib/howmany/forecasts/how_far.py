"""How far laws see on the book's runs: errors at the budget after those they know, alone and beside a process."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.measured.own_law import kept
from howmany.page import listed
from moelaws.charts.losses import budget_name
from moelaws.charts.tables import readable
from moelaws.charts.theme import CATEGORIES, DENSE, QUIET
from moelaws.fitting.fit import fit
from moelaws.fitting.result import FitResult
from moelaws.foretelling.rivals import CONSTANT, GROWING, MEAN, QUADRATIC
from moelaws.foretelling.rolling import rolling_origin
from moelaws.runs import read_runs
from moelaws.runs.seeds import pooled_noise, seed_spread

NEEDED = ("loss", "budget", "active_params", "total_params", "tokens", "n_experts", "sparsity")
LAWS = ("hoffmann2022", "abnar2025", "ludziejewski2025", "yun2024", GROWING)
"""Laws that know tokens: the others of the book say the same at every budget but for its sizes."""
ALONE, BESIDE, NO_FORM, NO_LAW = "law alone", "law with its process", "quadratic", "process without a law"
COLOURS = {ALONE: DENSE, BESIDE: CATEGORIES[0], NO_FORM: CATEGORIES[5], NO_LAW: CATEGORIES[1]}
ENOUGH = 3
"""Budgets that must be known: with two no error that bends with the FLOPs can be seen."""
BAR = 0.010
_PANEL, _HEIGHT = 148, 220


@dataclass(frozen=True)
class Ladder:
    """The rolling origin on one text.

    Attributes:
        name: the text.
        runs: its runs.
        scores: what ``rolling_origin`` returns.
        noise: standard deviation of ln L between seeds.
    """

    name: str
    runs: pd.DataFrame
    scores: pd.DataFrame
    noise: float

    @property
    def next_budget(self) -> pd.DataFrame:
        """The scores of the next budget from three budgets on."""
        return self.scores[(self.scores["steps"] == 1) & (self.scores["known"] >= ENOUGH)]


def ladders(files: Mapping[str, str], starts: int, only: Collection[str] = ()) -> list[Ladder]:
    """The rolling origin on several texts: name -> run table; by all laws, or by those named."""
    made, laws = [], [each for each in LAWS if not only or law_name(each) in only]
    for name, file in files.items():
        runs = kept(read_runs(file, required=NEEDED))
        noise = pooled_noise(seed_spread(runs)) / float(runs["loss"].mean())
        made.append(Ladder(name, runs, rolling_origin(runs, laws, starts=starts), noise))
    return made


def _kind(row: pd.Series) -> str:
    if row["law"] == CONSTANT:
        return NO_LAW if row["process"] else ""
    if row["law"] == QUADRATIC:
        return "" if row["process"] else NO_FORM
    return "" if row["law"] == MEAN else BESIDE if row["process"] else ALONE


def error_figure(made: list[Ladder]) -> alt.FacetChart:
    """The error at the next budget, for each law alone and with its process, beside what needs no law."""
    parts = []
    for each in made:
        shown = each.next_budget.assign(kind=each.next_budget.apply(_kind, axis=1), text=each.name, noise=each.noise)
        parts.append(shown[shown["kind"] != ""].assign(at=shown["asked"].map(budget_name)))
    table = pd.concat(parts)[["text", "at", "asked", "kind", "law", "rmse", "rmse_low", "rmse_high", "noise"]]
    table["panel"] = table["text"] + ", " + table["at"]
    beside, alone = (table.loc[table["kind"] == kind, "rmse"] for kind in (BESIDE, ALONE))
    base = alt.Chart(table).encode(
        x=alt.X("kind:N", title=None, sort=list(COLOURS)).axis(labels=False, ticks=False),
        color=alt.Color("kind:N", title=None, scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())))
        .legend(columns=2, symbolType="circle", symbolOpacity=1),
    )  # fmt: skip
    y = alt.Y("rmse:Q", title="error of ln L, next budget").scale(type="log", nice=False, padding=8).axis(
        values=[0.003, 0.005, 0.01, 0.02, 0.03, 0.05], format=".1%"
    )  # fmt: skip
    noise = alt.Chart(table).mark_rule(color=QUIET, strokeDash=[4, 3], strokeWidth=1).encode(y="noise:Q")
    bars = base.mark_rule(opacity=0.5).encode(y=alt.Y("rmse_low:Q"), y2="rmse_high:Q", xOffset="law:N")
    points = base.mark_point(filled=True, size=36).encode(
        y=y, xOffset="law:N", tooltip=["law", "kind", "rmse", "rmse_low", "rmse_high"]
    )
    chart = alt.layer(noise, bars, points)
    return (
        chart.properties(width=_PANEL, height=_HEIGHT)
        .facet(facet=alt.Facet("panel:N", title=None, sort=[*dict.fromkeys(table["panel"])]), columns=2)
        .properties(
            title=f"Laws miss the next budget by {alone.min():.1%} to {alone.max():.1%}, with their process "
            f"by {beside.min():.1%} to {beside.max():.1%}",
            description="Error of the forecast of the next budget, a panel a budget: laws alone, laws with a Gaussian "
            "process of their residuals, a quadratic, and a process without a law; the dashed line is the noise.",
        )
    )


def error_table(made: list[Ladder], steps: int = 1) -> pd.DataFrame:
    """Errors of ln L, in per cent: alone and with the process, for each budget asked for so many steps ahead."""
    columns = {}
    for each in made:
        chosen = each.scores[each.scores["steps"] == steps]
        for asked, rows in chosen.groupby("asked"):
            pairs = rows.set_index(["law", "process"])["rmse"].unstack()
            written = {
                law: f"{per_cent(pairs.loc[law, False])} → {per_cent(pairs.loc[law, True])}" for law in pairs.index
            }
            columns[f"{each.name}, {budget_name(float(str(asked)))}"] = written
    order = dict.fromkeys([*map(law_name, LAWS), MEAN, QUADRATIC, CONSTANT])
    return pd.DataFrame(columns).loc[lambda table: [name for name in order if name in table.index]]


def per_cent(error: float) -> str:
    """An error of ln L in per cent with two digits that say something: 0.60, 2.0, 84, 216."""
    return f"{100 * error:.{max(0, 1 - int(np.floor(np.log10(100 * error))))}f}"


def law_name(law: Any) -> str:
    return law if isinstance(law, str) else str(law.name)


def error_numbers(made: list[Ladder]) -> dict[str, Any]:
    """The errors of the next budget in a sentence's numbers."""
    names = set(map(law_name, LAWS))
    near = pd.concat([each.next_budget for each in made])
    laws = near[near["law"].isin(names)]
    alone, beside = laws[~laws["process"]], laws[laws["process"]]
    no_law = near[(near["law"] == CONSTANT) & near["process"]]
    quadratic = near[(near["law"] == QUADRATIC) & ~near["process"]]
    inside = (beside["coverage"] * beside["runs"]).sum() / beside["runs"].sum()
    over = sorted(set(beside.loc[beside["rmse"] > BAR, "law"]))
    refused = [
        f"{each.name} at {budget_name(float(str(c)))}"
        for each in made
        for c, rows in each.next_budget[each.next_budget["law"].isin(names)].groupby("asked")
        if not rows["admitted"].astype(bool).any()
    ]
    two = pd.concat([each.scores[(each.scores["known"] == 2) & (each.scores["steps"] == 1)] for each in made])
    two = two[two["law"].isin(names) & two["process"]]
    return {
        "hf_alone_low": f"{alone['rmse'].min():.3f}", "hf_alone_high": f"{alone['rmse'].max():.3f}",
        "hf_low": f"{beside['rmse'].min():.4f}", "hf_high": f"{beside['rmse'].max():.4f}",
        "hf_top": f"{beside['rmse_high'].max():.4f}",
        "hf_bar": f"{BAR:.3f}", "hf_over": listed(over, "none"),
        "hf_coverage": f"{100 * inside:.0f}",
        "hf_coverage_low": f"{100 * beside['coverage'].min():.0f}",
        "hf_no_law_low": f"{no_law['rmse'].min():.3f}", "hf_no_law_high": f"{no_law['rmse'].max():.3f}",
        "hf_quadratic_low": f"{quadratic['rmse'].min():.3f}", "hf_quadratic_high": f"{quadratic['rmse'].max():.3f}",
        "hf_refused": listed(refused, "nowhere", " and "),
        "hf_two_low": f"{two['rmse'].min():.3f}", "hf_two_high": f"{two['rmse'].max():.3f}",
        "hf_noise": " and ".join(f"{each.noise:.4f} ({each.name})" for each in made),
    }  # fmt: skip


def decisions(made: list[Ladder]) -> pd.DataFrame:
    """What one would have decided at the next budget: medians over the laws, in words with what was seen."""
    names, rows = set(map(law_name, LAWS)), []
    for each in made:
        for asked, group in each.next_budget[each.next_budget["law"].isin(names)].groupby("asked"):
            for process, word in ((False, ALONE), (True, BESIDE)):
                one = group[group["process"] == process]
                rows.append(
                    {
                        "asked": f"{each.name}, {budget_name(float(str(asked)))}",
                        "by": word,
                        "gain foretold": f"{one['gain'].min():.3f} to {one['gain'].max():.3f}",
                        "gain seen": f"{one['gain_seen'].iloc[0]:.3f}",
                        "in its interval": f"{one['gain_seen'].between(one['gain_low'], one['gain_high']).sum()}"
                        f" of {len(one)}",
                        "FLOPs foretold": f"{one['multiplier'].min():.2f} to {one['multiplier'].max():.2f} x",
                        "FLOPs seen": f"{one['multiplier_seen'].iloc[0]:.2f} x",
                        "size over the best": f"{one['size_factor'].min():.2f} to {one['size_factor'].max():.2f}",
                        "regret": f"{one['regret'].max():.3f}",
                    }
                )
    return pd.DataFrame(rows).set_index("asked")


def decision_numbers(made: list[Ladder]) -> dict[str, Any]:
    """The worst decisions, alone and beside the process."""
    names = set(map(law_name, LAWS))
    near = pd.concat([each.next_budget for each in made])
    near = near[near["law"].isin(names)]
    found: dict[str, Any] = {}
    for key, rows in (("alone", near[~near["process"]]), ("beside", near[near["process"]])):
        found |= {
            f"hf_gain_{key}": f"{(rows['gain'] - rows['gain_seen']).abs().max():.3f}",
            f"hf_regret_{key}": f"{rows['regret'].max():.3f}",
            f"hf_in_{key}": f"{rows['gain_seen'].between(rows['gain_low'], rows['gain_high']).sum()} of {len(rows)}",
        }
    return found


def whole_fits(made: list[Ladder]) -> dict[str, FitResult]:
    """Hoffmann's law and ``GROWING``, fitted to all budgets of each text."""
    return {
        f"{each.name}, {law_name(law)}": fit(law, each.runs, objective="lsq-log", starts=24)
        for each in made
        for law in ("hoffmann2022", GROWING)
    }


def residual_figure(made: list[Ladder], fits: Mapping[str, FitResult]) -> alt.FacetChart:
    """What Hoffmann's law misses against tokens per active parameter, a line a budget: the process, and the runs."""
    parts = []
    for each in made:
        result = fits[f"{each.name}, hoffmann2022"]
        runs = each.runs.assign(
            missed=np.log(each.runs["loss"] / result.predict(each.runs)),
            process=np.log(result.predict(each.runs, discrepancy="always") / result.predict(each.runs)),
            ratio=each.runs["tokens"] / each.runs["active_params"],
            at=each.runs["budget"].rank(method="dense").map("{:.0f}".format),
            panel=each.name + ", E = " + each.runs["n_experts"].astype(str),
        )
        ends = runs[runs["n_experts"].isin([runs["n_experts"].min(), runs["n_experts"].max()])]
        parts.append(ends.sort_values("n_experts")[["panel", "missed", "process", "ratio", "at"]])
    table = pd.concat(parts)
    base = alt.Chart(table).encode(
        x=alt.X("ratio:Q", title="D / N_a").scale(type="log", nice=False, padding=8).axis(
            format="~s", values=[3, 10, 30, 100, 300, 1000]
        ),
        color=alt.Color("at:O", title="budget, from the smallest", scale=alt.Scale(scheme="viridis")).legend(
            columns=5, symbolOpacity=1
        ),
    )  # fmt: skip
    points = base.mark_point(filled=True, size=18, opacity=0.6).encode(
        y=alt.Y("missed:Q", title="loss over the law").axis(format="+.0%")
    )
    lines = base.mark_line(strokeWidth=2).encode(y="process:Q")
    return (
        alt.layer(points, lines)
        .properties(width=_PANEL, height=_HEIGHT)
        .facet(facet=alt.Facet("panel:N", title=None, sort=[*dict.fromkeys(table["panel"])]), columns=2)
        .properties(
            title="What the law misses is smooth, and of one shape on both texts",
            description="Losses over Hoffmann's law against tokens per active parameter, coloured by budget, for the "
            "fewest and the most experts of each text; lines are the process. The error bends and moves on with the "
            "budget, up for dense models and down for many experts.",
        )
    )


def one_term(made: list[Ladder], fits: Mapping[str, FitResult]) -> pd.DataFrame:
    """Does one more term explain it? Errors without and with it, beside the process of what is left."""
    rows = []
    for each in made:
        near = each.next_budget.groupby(["law", "process"])["rmse"].max()
        for law in ("hoffmann2022", law_name(GROWING)):
            result = fits[f"{each.name}, {law}"]
            moved = np.log(result.predict(each.runs, discrepancy="always") / result.predict(each.runs))
            rows.append(
                {
                    "text": each.name,
                    "law": law,
                    "error in the fit": result.quality.rmse_log,
                    "what the process moves": float(np.sqrt(np.mean(moved**2))),
                    "worst forecast alone": near[law, False],
                    "with its process": near[law, True],
                }
            )
    return pd.DataFrame(rows).set_index("text")


def term_numbers(table: pd.DataFrame) -> dict[str, Any]:
    """By how much one term shortens the worst forecast, and what the process leaves."""
    alone = table.pivot(columns="law", values="worst forecast alone")
    cut = alone["hoffmann2022"] / alone[law_name(GROWING)]
    ends = sorted({f"{cut.min():.1f}", f"{cut.max():.1f}"})
    return {"hf_term": " to ".join(ends)}


def written(table: pd.DataFrame) -> pd.DataFrame:
    """Errors with four digits."""
    return readable(table, "{:.4f}")
