"""Forecasts of program text that were committed before its runs: how they turned out, and why they missed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.forecasts.how_far import LAWS, per_cent
from howmany.page import listed
from howmany.programs.collapse import collapsed
from howmany.programs.program_text import NEEDED
from howmany.programs.valley import Valley, valley
from howmany.study import budget_label
from moelaws.charts.tables import readable
from moelaws.charts.theme import CATEGORIES, DENSE, QUIET
from moelaws.foretelling.planned import score_forecasts
from moelaws.foretelling.rivals import CONSTANT, MEAN, QUADRATIC
from moelaws.foretelling.rolling import rolling_origin
from moelaws.runs import finished, read_runs

BAR = 0.012
"""RMSE of ln L that was asked of at least one law, before the runs."""
COVERED = 0.85
"""Share of the runs that its 95 % band was to hold."""
BASELINES = (QUADRATIC, CONSTANT, MEAN)
_RUN = ["budget", "n_experts", "top_k", "granularity", "d_model"]
_DRAWS = 2000
_ALONE, _BESIDE = "law alone", "with its process"


@dataclass(frozen=True, eq=False)
class Told:
    """The forecasts of one budget beside its runs.

    Attributes:
        budget: FLOPs.
        runs: those made, all of them.
        forecasts: as they were committed.
        scores: ``law, process, runs, rmse, low, high, bias, coverage``; and ``rmse_all``, ``coverage_all`` with
            collapsed runs; and the decision: ``gain`` (best mixture over dense, nats), ``best`` (its design),
            ``regret`` (nats).
        seen: the valley of the measured losses, without collapsed runs.
    """

    budget: float
    runs: pd.DataFrame
    forecasts: pd.DataFrame
    scores: pd.DataFrame
    seen: Valley


def told(runs_file: str, forecast_files: Mapping[float, str]) -> list[Told]:
    """Score the forecasts of each budget.

    Args:
        runs_file: the sweep's table.
        forecast_files: budget -> forecasts of it.
    """
    runs = finished(read_runs(runs_file, required=NEEDED)).reset_index(drop=True)
    return [_told(c, runs[runs["budget"] == c], pd.read_csv(file)) for c, file in forecast_files.items()]


def _told(budget: float, runs: pd.DataFrame, forecasts: pd.DataFrame) -> Told:
    sound = runs[~collapsed(runs)].reset_index(drop=True)
    seen = valley(sound, 0)
    scores = score_forecasts(forecasts, sound).set_index(["law", "process"])
    every = score_forecasts(forecasts, runs).set_index(["law", "process"])
    scores = scores.assign(rmse_all=every["rmse"], coverage_all=every["coverage"])
    both = sound.merge(forecasts, on=_RUN, suffixes=("", "_told"))
    rows = []
    for key, group in both.groupby(["law", "process"]):
        errors = np.log(group["predicted"].to_numpy(float) / group["loss"].to_numpy(float))
        drawn = np.random.default_rng(0).integers(len(errors), size=(_DRAWS, len(errors)))
        low, high = np.quantile(np.sqrt(np.mean(errors[drawn] ** 2, axis=1)), [0.025, 0.975])
        own = valley(group.assign(loss=group["predicted"]).reset_index(drop=True), 0)
        best = int(own.loss[:, 0].argmin())
        e, k, g = own.keys[best]
        rows.append(
            dict(zip(("law", "process"), key, strict=True))
            | {"low": low, "high": high, "gain": float(own.loss[0, 0] - own.loss[1:, 0].min())}
            | {"best": f"E = {e}, K = {k}, G = {g:g}", "regret": float(seen.loss[best, 0] - seen.loss[:, 0].min())}
        )
    decided = pd.DataFrame(rows).set_index(["law", "process"])
    return Told(budget, runs, forecasts, scores.join(decided).reset_index(), seen)


def laws_of(each: Told) -> pd.DataFrame:
    """The scores of laws, baselines and means left aside."""
    return each.scores[~each.scores["law"].isin(BASELINES)]


def error_figure(made: list[Told]) -> alt.FacetChart:
    """The error of each law alone and with its process, a panel a budget."""
    parts = []
    for each in made:
        shown = each.scores[each.scores["rmse"] < 1]
        parts.append(shown.assign(panel=f"{budget_label(each.budget)} FLOPs, from 1e12 and 1e13"))
    table = pd.concat(parts)
    table = table.assign(
        kind=np.where(table["process"].astype(bool), _BESIDE, _ALONE), bar=BAR,
        law=table["law"].where(~table["law"].isin(BASELINES), "(" + table["law"] + ")"),
    )[["law", "kind", "rmse", "low", "high", "panel", "bar", "bias"]]  # fmt: skip
    order = table[table["panel"] == table["panel"].iloc[0]].groupby("law")["rmse"].min().sort_values().index.tolist()
    best = laws_of(made[0])["rmse"].min()
    base = alt.Chart(table).encode(
        y=alt.Y("law:N", title=None, sort=order).axis(labelOverlap=False),  # a row without its name says nothing
        color=alt.Color("kind:N", title=None, scale=alt.Scale(domain=[_ALONE, _BESIDE], range=[DENSE, CATEGORIES[0]])),
    )
    x = alt.X("low:Q", title="error of ln L").scale(type="log", nice=False, padding=8).axis(
        values=[0.01, 0.02, 0.05, 0.1, 0.2, 0.5], format=".0%"
    )  # fmt: skip
    rule = alt.Chart(table).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(x="bar:Q")
    points = base.mark_point(filled=True, size=45).encode(x="rmse:Q", tooltip=["law", "kind", "rmse", "bias"])
    return (
        alt.layer(rule, base.mark_rule(opacity=0.6).encode(x=x, x2="high:Q"), points)
        .properties(width=215, height=17 * table["law"].nunique())
        .facet(facet=alt.Facet("panel:N", title=None, sort=list(dict.fromkeys(table["panel"]))), columns=2)
        .properties(
            title=f"The best of {laws_of(made[0])['law'].nunique()} laws misses a decade ahead by {best:.1%}",
            description="Root mean square error of ln L of forecasts of 1e14 and 1e15 FLOPs, a row a law, alone and "
            "with its process, with 95 percent intervals; all lie right of the dashed line that was asked for.",
        )
    )


def score_table(each: Told) -> pd.DataFrame:
    """The scores of one budget, the better half of each law."""
    scores = each.scores.sort_values("rmse").drop_duplicates("law")
    shown = pd.DataFrame(
        {
            "law": scores["law"],
            "": np.where(scores["process"].astype(bool), "process", "alone"),
            "RMSE": [f"{r.rmse:.3f} [{r.low:.3f}, {r.high:.3f}]" for r in scores.itertuples()],
            "bias": scores["bias"].map("{:+.3f}".format),
            "in band": scores["coverage"].map("{:.0%}".format),
            "gain": scores["gain"].map("{:.2f}".format),
            "best": scores["best"],
            "regret": scores["regret"].map("{:.3f}".format),
        }
    )
    if (each.scores["rmse_all"] - each.scores["rmse"]).abs().max() > 1e-9:
        shown.insert(3, "RMSE, collapsed too", scores["rmse_all"].map("{:.3f}".format))
    return shown.set_index("law")


def falls(runs_file: str) -> pd.DataFrame:
    """How far ln L falls from a budget to the next, dense and best mixture, beside what a straight line foresees.

    Returns:
        One row a step: ``from``, ``to``, ``dense`` and ``mixture`` (falls of ln of the lowest loss).
    """
    runs = finished(read_runs(runs_file, required=NEEDED))
    sound = runs[~collapsed(runs)]
    lowest = {}
    for budget, group in sound.groupby("budget"):
        each = valley(group.reset_index(drop=True), _DRAWS // 4)
        lowest[float(str(budget))] = np.log(np.stack([each.loss[0], each.loss.min(axis=0)]))
    budgets, rows = sorted(lowest), []
    for one, two in pairwise(budgets):
        fall = lowest[one] - lowest[two]
        ends = np.quantile(fall[:, 1:], [0.025, 0.975], axis=1)
        row: dict[str, Any] = {"from": one, "to": two}
        for place, name in enumerate(("dense", "mixture")):
            row |= {name: fall[place, 0], f"{name}_low": ends[0, place], f"{name}_high": ends[1, place]}
        rows.append(row)
    return pd.DataFrame(rows)


def fall_table(table: pd.DataFrame) -> pd.DataFrame:
    """The same, written out."""
    return pd.DataFrame(
        {
            "step": [f"{budget_label(a)} to {budget_label(b)}" for a, b in table[["from", "to"]].to_numpy()],
            **{
                f"fall of ln L, {word}": [
                    f"{r[name]:.3f} [{r[f'{name}_low']:.3f}, {r[f'{name}_high']:.3f}]" for _, r in table.iterrows()
                ]
                for name, word in (("dense", "dense"), ("mixture", "best mixture"))
            },
        }
    ).set_index("step")


def ladder(runs_file: str, starts: int, only: Collection[str] = ()) -> pd.DataFrame:
    """The rolling origin on this table, a decade a step: laws that know tokens (or those named), and their rivals."""
    runs = finished(read_runs(runs_file, required=NEEDED))
    return rolling_origin(runs[~collapsed(runs)], only or (*LAWS, "gadre2024"), starts=starts)


def ladder_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Errors of ln L in per cent, alone and with the process, by budgets known and asked."""
    columns = {}
    for known, asked in scores[["known", "asked"]].drop_duplicates().to_numpy(float):
        rows = scores[(scores["known"] == known) & (scores["asked"] == asked)]
        pairs = rows.set_index(["law", "process"])["rmse"].unstack()
        columns[f"{known:.0f} known, {budget_label(asked)}"] = {
            law: f"{per_cent(pairs.loc[law, False])} → {per_cent(pairs.loc[law, True])}" for law in pairs.index
        }
    return readable(pd.DataFrame(columns).rename_axis("law"))


def numbers(made: list[Told], steps: pd.DataFrame, scores: pd.DataFrame) -> dict[str, Any]:
    """Numbers and words for the sentences."""
    found: dict[str, Any] = {"pf_bar": f"{BAR:g}", "pf_covered": f"{COVERED:.0%}"}
    for name, each in zip(("near", "far"), made, strict=True):
        laws = laws_of(each)
        best = laws.sort_values("rmse").iloc[0]
        passed = laws[(laws["rmse"] <= BAR) & (laws["coverage"] >= COVERED)]
        alone = laws[~laws["process"].astype(bool)]
        low = alone.loc[alone["bias"] < 0, "law"]
        seen = float(each.seen.loss[0, 0] - each.seen.loss[1:, 0].min())
        top = each.seen.keys[int(each.seen.loss[:, 0].argmin())]
        chosen = f"E = {top[0]}, K = {top[1]}, G = {top[2]:g}"
        found |= {
            f"pf_{name}": budget_label(each.budget), f"pf_{name}_laws": laws["law"].nunique(),
            f"pf_{name}_best": str(best["law"]) + (" with its process" if best["process"] else ""),
            f"pf_{name}_rmse": f"{best['rmse']:.3f} [{best['low']:.3f}, {best['high']:.3f}]",
            f"pf_{name}_worst": f"{laws['rmse'].max():.2f}",
            f"pf_{name}_median": f"{alone['rmse'].median():.3f}",
            f"pf_{name}_passed": listed(sorted(set(passed["law"])), "none"),
            f"pf_{name}_low": listed(sorted(low), "none"), f"pf_{name}_high": _count(alone["bias"] > 0),
            f"pf_{name}_gain": f"{alone['gain'].min():.3f} to {alone['gain'].max():.3f}",
            f"pf_{name}_seen": f"{seen:.3f}",
            f"pf_{name}_right": _count(alone["best"] == chosen), f"pf_{name}_chosen": chosen,
            f"pf_{name}_regret": f"{alone['regret'].max():.3f}",
        }  # fmt: skip
    near = made[0]
    bad = near.runs[collapsed(near.runs)]
    middle = near.scores["rmse_all"] - near.scores["rmse"]
    found |= {
        "pf_with_all": f"{laws_of(near)['rmse_all'].min():.3f}", "pf_collapsed": len(bad),
        "pf_adds": f"{middle[~near.scores['law'].isin(BASELINES)].median():+.3f}",
        "pf_known_step": _step(steps.iloc[0]), "pf_next_step": _step(steps.iloc[1]),
        "pf_last_step": _step(steps.iloc[-1]),
        "pf_line": f"{steps['mixture'].iloc[1] - steps['mixture'].iloc[0]:+.3f}",
        "pf_line_dense": f"{steps['dense'].iloc[1] - steps['dense'].iloc[0]:+.3f}",
    }  # fmt: skip
    last = scores[(scores["known"] == scores["known"].max()) & ~scores["law"].isin(BASELINES)]
    alone, beside = last[~last["process"].astype(bool)], last[last["process"].astype(bool)]
    best = alone.sort_values("rmse").iloc[0]
    found |= {
        "pf_roll_best": str(best["law"]),
        "pf_roll_rmse": f"{best['rmse']:.3f} [{best['rmse_low']:.3f}, {best['rmse_high']:.3f}]",
        "pf_roll_alone": f"{alone['rmse'].min():.3f} to {alone['rmse'].max():.3f}",
        "pf_roll_beside": f"{beside['rmse'].min():.3f} to {beside['rmse'].max():.3f}",
        "pf_roll_bias": _count(alone["bias"] < 0),
        "pf_roll_admitted": _count(alone["admitted"].astype(bool)),
    }  # fmt: skip
    return found


def _count(mask: "pd.Series[bool]") -> str:
    return f"{int(mask.sum())} of {len(mask)}"


def _step(row: "pd.Series[Any]") -> str:
    return f"{row['mixture']:.3f} [{row['mixture_low']:.3f}, {row['mixture_high']:.3f}]"
