"""The sparsity law on our own runs: two forecasts of what the fit has not seen, and other laws asked the same."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.figures import law_checks as figures
from moelaws.charts.losses import budget_name
from moelaws.charts.tables import readable
from moelaws.fitting.intervals.uncertainty import bootstrap
from moelaws.fitting.result import FitResult
from moelaws.fitting.splits import Candidate, candidate, scores
from moelaws.fitting.weights import seed_weights
from moelaws.laws import law, law_from_formula
from moelaws.runs import select
from moelaws.runs.seeds import DESIGN

_SIZES = ("total_params", "active_params", "tokens")
NEEDED = ("loss", "budget", "sparsity", "n_experts", "top_k", *_SIZES)
"""Columns that a table must have for this chapter."""

SPARSITY, BUDGET = "highest sparsity", "largest budget"
SPLITS = {SPARSITY: "sparsity", BUDGET: "budget"}
"""What is held out, by name -> the column whose largest value it is."""

EQ6, WITHOUT = "Abnar, on N", "Hoffmann on N_a"
"""The law in question, and the best one that knows no sparsity."""

GROWING = law_from_formula("growing", "e + a/N^alpha + b*N^kappa/D^beta", {"N": "active_params", "D": "tokens"})
"""Hoffmann's law with the size in its data term, too."""


def kept(table: pd.DataFrame) -> pd.DataFrame:
    """The finished runs of a table with one expert a token, each weighted by the noise of its seeds."""
    rules = {"did not finish": "status == 'finished'", "more than one expert per token": "top_k == 1"}
    runs = select(table, rules).runs
    # A table that does not say how a model was made says it by its sizes.
    whole = set(DESIGN) <= set(runs.columns)
    point = DESIGN if whole else [name for name in (*DESIGN, *_SIZES) if name in runs.columns]
    return runs.assign(weight=seed_weights(runs, point))


def design(runs: pd.DataFrame) -> pd.DataFrame:
    """How many runs there are at each budget and number of experts."""
    return pd.crosstab(runs["budget"], runs["n_experts"]).rename(index=budget_name)


def run_numbers(runs: pd.DataFrame, noise: float, bar: float, near: float) -> dict[str, Any]:
    """Numbers of the runs: how many, how far they reach, how much they scatter (``noise``, of ln L)."""
    return {
        "ol_runs": len(runs),
        "ol_budgets": runs["budget"].nunique(),
        "ol_largest": budget_name(runs["budget"].max()),
        "ol_s": f"{runs['sparsity'].max():.4f}",
        "ol_e": int(runs["n_experts"].max()),
        "ol_noise": f"{100 * noise:.2f}",
        "ol_bar": f"{bar:.2f}",
        "ol_near": f"{near:g}",
    }


def scored(main: Mapping[str, FitResult], noise: float, paper: pd.DataFrame) -> pd.DataFrame:
    """Scores of the two forecasts, on the runs that were fitted and on those held out, beside the paper's."""
    table = pd.DataFrame(
        {
            f"{name}, {side}": {
                "runs": q.n,
                "R²": q.r2,
                "MSE": q.mse,
                "RMSE of ln L": q.rmse_log,
                "in units of the noise": q.rmse_log / noise,
            }
            for name, result in main.items()
            for side, q in (("fitted", result.quality), ("held out", result.holdout))
            if q is not None
        }
    ).T
    theirs = paper.rename(index="paper, {}".format, columns={"r2": "R²", "mse": "MSE"})[["R²", "MSE"]]
    forms = {"runs": "{:.0f}", "R²": "{:.2f}", "MSE": "{:.4f}", "RMSE of ln L": "{:.4f}"}
    return readable(pd.concat([table, theirs]), "{:.1f}", forms)


def score_numbers(
    main: Mapping[str, FitResult], runs: pd.DataFrame, noise: float, bar: float, paper: pd.DataFrame
) -> dict[str, Any]:
    """What the two forecasts explain, against the bar and the paper's score, and on which side they err."""
    outs = {name: result.holdout for name, result in main.items() if result.holdout is not None}
    unseen = _unseen(runs)
    ahead = np.log(main[BUDGET].predict(unseen) / unseen["loss"])
    found: dict[str, Any] = {}
    for key, name in (("s", SPARSITY), ("c", BUDGET)):
        found[f"ol_r2_{key}"] = f"{outs[name].r2:.2f}"
        found[f"ol_word_{key}"] = "passes" if outs[name].r2 > bar else "misses"
        found[f"ol_times_{key}"] = f"{outs[name].rmse_log / noise:.1f}"
    found["ol_bias"] = f"{100 * abs(ahead.mean()):.1f}"
    found["ol_side"] = "too high" if ahead.mean() > 0 else "too low"
    found["ol_against"] = "more" if outs[SPARSITY].r2 > paper.loc["held out", "r2"] else "less"
    return found


def forecast(result: FitResult, runs: pd.DataFrame, refits: int) -> alt.FacetChart:
    """The largest budget as the smaller ones foresee it, with the band of bootstrap refits, and its runs.

    Args:
        result: the law fitted to all but the largest budget.
        runs: all of them.
        refits: of the bootstrap.
    """
    unseen, largest = _unseen(runs), runs["budget"].max()
    seen = runs[runs["budget"] < largest]
    low, high = bootstrap(result, refits, strata=seen["budget"].to_numpy()).band(unseen)
    curves = unseen.assign(loss=result.predict(unseen), low=low, high=high)
    share = float(unseen["loss"].between(low, high).mean())
    return figures.forecast_of_budget(
        _panels(unseen, runs),
        _panels(curves, runs),
        f"{share:.0%} of the runs at {budget_name(largest)} lie in the 95 % band",
        "Forecast loss with a narrow band against active size, and the measured runs, a panel each for some numbers of "
        "experts.",
    )


def laws_on_trial() -> dict[str, Candidate]:
    """Every law that can be asked about these runs, with the size it is given and what is held fixed."""
    interacting = law_from_formula(
        "interacting",
        "a/N^alpha + b*N^kappa/D^beta + c/(1-S)^lambda + d/((1-S)^delta*N^gamma)",
        {"N": "total_params", "D": "tokens", "S": "sparsity"},
    )
    joint = law("ludziejewski2025").published["table3"]
    few_experts = {name: joint[name] for name in ("E_start", "E_max")}
    return {
        EQ6: candidate("abnar2025"),
        "Abnar, N in the data term": candidate(interacting),
        "Hoffmann on N": candidate("hoffmann2022", "total_params"),
        WITHOUT: candidate("hoffmann2022", "active_params"),
        "Hoffmann, N_a in data term": candidate(GROWING),
        "Krajewski, at G = 1": candidate("krajewski2024", fixed={"g": 1e-9, "gamma": 1.0}),
        "Frantar on N_a": candidate("frantar2023", "active_params"),
        "Ludziejewski": candidate("ludziejewski2025", fixed=few_experts),
        "Yun on N_a": candidate("yun2024", "active_params", fixed=few_experts),
        "Clark": candidate("clark2022", "active_params", fixed=few_experts),
        "power law in N_a and E": candidate("separable", "active_params"),
    }


def formulas(trial: Mapping[str, Candidate]) -> pd.DataFrame:
    """What the laws on trial say, a row each."""
    return pd.Series({name: each.law.formula for name, each in trial.items()}, name="loss").to_frame()


def ranking(held_out: pd.DataFrame, noise: float) -> pd.DataFrame:
    """The laws by AICc on all runs, beside what each explains of what it has not seen.

    Args:
        held_out: what ``scores`` returns.
        noise: standard deviation of ln L between seeds.
    """
    whole = held_out[held_out["split"] == ""].set_index("law")
    table = pd.DataFrame(
        {
            "parameters": whole["parameters"],
            "delta AICc": whole["aicc"] - whole["aicc"].min(),
            "RMSE / noise": whole["rmse_log"] / noise,
            "status": whole["status"],
        }
    ).join(_explained(held_out).add_prefix("R² "))
    return table.sort_values("delta AICc")


def written(ranked: pd.DataFrame) -> pd.DataFrame:
    """The ranking with its numbers written out."""
    forms = {"parameters": "{:.0f}", "delta AICc": "{:.0f}", "RMSE / noise": "{:.1f}"}
    return readable(ranked, "{:.2f}", forms)


def unexplained(held_out: pd.DataFrame, bar: float, paper: pd.DataFrame) -> alt.LayerChart:
    """What each law leaves unexplained in the two held-out parts, with the bar and the paper's own score."""
    r2 = _explained(held_out)
    order = r2.max(axis=1).sort_values(ascending=False).index
    marks = held_out[held_out["split"] != ""].assign(unexplained=lambda t: 1 - t["out_r2"])
    return figures.held_out_scores(
        marks.assign(held_out=marks["split"]).set_index("law").loc[order].reset_index(),
        1 - bar,
        1 - paper.loc["held out", "r2"],
        f"Laws over the bar: {(r2[SPARSITY] > bar).sum()} for the sparsity, "
        f"{(r2[BUDGET] > bar).sum()} for the budget, of {len(r2)}",
        "Unexplained variance of each law on the two held-out parts, with the bar and what the published "
        "law left on its own runs.",
    )


def contest_numbers(held_out: pd.DataFrame, ranked: pd.DataFrame, bar: float) -> dict[str, Any]:
    """Which law explains most of each part, how many pass the bar, and what knowing the sparsity adds."""
    r2 = _explained(held_out)
    best = r2.idxmax()
    mse = held_out.set_index(["law", "split"])["out_mse"]
    skill = 1 - mse[EQ6, SPARSITY] / mse[WITHOUT, SPARSITY]
    delta = ranked["delta AICc"]
    knows_size = delta["Abnar, N in the data term"] - delta[EQ6]
    errors = mse.xs(SPARSITY, level="split")
    skilled = errors[errors < 0.9 * errors[WITHOUT]].sort_values().index
    found: dict[str, Any] = {
        "ol_without_r2": f"{r2.loc[WITHOUT, SPARSITY]:.2f}",
        "ol_skill": f"{100 * abs(skill):.0f} % {'smaller' if skill > 0 else 'larger'}",
        "ol_laws": len(r2),
        "ol_best_aicc": ranked.index[0],
        "ol_gap_aicc": f"{delta[EQ6]:.0f}",
        "ol_gap_kappa": f"{'falls' if knows_size < 0 else 'rises'} by {abs(knows_size):.0f}",
        "ol_skilled": ", ".join(skilled) or "none of them",
    }
    for key, name in (("s", SPARSITY), ("c", BUDGET)):
        found[f"ol_best_{key}"] = best[name]
        found[f"ol_best_r2_{key}"] = f"{r2.loc[best[name], name]:.2f}"
        found[f"ol_over_{key}"] = int((r2[name] > bar).sum())
    return found


def abroad(
    trial: Mapping[str, Candidate], spoken: Mapping[str, Candidate], language: pd.DataFrame, starts: int
) -> pd.DataFrame:
    """R² of the laws that are asked about the language, on the same two held-out parts of its runs."""
    again = {name: each for name, each in trial.items() if name in spoken or "data" in name}
    return _explained(scores(again, language, SPLITS, starts=starts)).sort_values(BUDGET, ascending=False)


def abroad_numbers(r2: pd.DataFrame, bar: float) -> dict[str, Any]:
    """Which law does best on the language's largest budget, and which pass both bars."""
    over = sorted(r2.index[(r2 > bar).all(axis=1)])
    return {
        "ol_abroad_best": r2[BUDGET].idxmax(),
        "ol_abroad_r2": f"{r2[BUDGET].max():.2f}",
        "ol_abroad_eq6": f"{r2.loc[EQ6, BUDGET]:.2f}",
        "ol_abroad_over": ", ".join(over) or "none of them",
    }


def _explained(held_out: pd.DataFrame) -> pd.DataFrame:
    return held_out[held_out["split"] != ""].pivot(index="law", columns="split", values="out_r2")


def _unseen(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["budget"] == runs["budget"].max()]


def _panels(table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    middle = sorted(runs["n_experts"].unique())[::2]
    some = table.sort_values("n_experts")
    some = some[some["n_experts"].isin(middle)]
    return some.assign(panel="E = " + some["n_experts"].astype(str))
