"""What the chapter on the next runs shows: choices replayed, and a question put to runs that are made on the spot."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.designs.planned import planned
from moelaws.charts.theme import CATEGORIES, DENSE, QUIET
from moelaws.choosing.candidates import Limits
from moelaws.choosing.chosen_runs import NextRuns
from moelaws.choosing.next_runs import ChoosingOptions, next_runs
from moelaws.choosing.replayed_choices import STRATEGIES
from moelaws.runs import finished, read_runs
from moelaws.sweeping.sweep import SweepRun, run_sweep
from moelaws.training.recipe import run_at, tiny_model

DESIGNED, RANDOM, CHEAPEST, GRID, OPTIMAL = STRATEGIES
TEXT, GOING_ON = "text", "text from two budgets"
_TENTH = 0.1
_COLOURS = dict(zip(STRATEGIES, (DENSE, CATEGORIES[0], CATEGORIES[1], QUIET, CATEGORIES[2]), strict=True))


def recorded(path: str) -> pd.DataFrame:
    """The replays that ``benchmarks/choices.py`` recorded."""
    return pd.read_csv(path)


def error_figure(played: pd.DataFrame) -> alt.LayerChart | alt.FacetChart:
    """Error of the forecast against the share of the FLOPs, a line a strategy, with the middle half of the replays."""
    rows = played[played["board"] == TEXT]
    quartiles = rows.groupby(["strategy", "share"])["rmse_log"].quantile(np.array([0.25, 0.5, 0.75])).unstack()
    table = quartiles.set_axis(["low", "error", "high"], axis=1).reset_index()
    at = table[table["share"] == _TENTH].set_index("strategy")["error"]
    base = alt.Chart(table).encode(
        x=alt.X("share:Q", title="share of the FLOPs spent").scale(type="log", domain=[0.009, 0.28]).axis(
            values=sorted(table["share"].unique()), format="%"
        ),
        color=alt.Color("strategy:N", title=None, sort=list(STRATEGIES),
                        scale=alt.Scale(domain=list(_COLOURS), range=list(_COLOURS.values())))
        .legend(columns=3, orient="bottom"),
    )  # fmt: skip
    y = alt.Y("error:Q", title="error of ln L at 1e13 FLOPs").scale(type="log", nice=False, padding=8)
    y = y.axis(values=[0.01, 0.02, 0.05, 0.1], format="%")
    bars = base.mark_rule(opacity=0.5).encode(y="low:Q", y2="high:Q")
    lines = base.mark_line().encode(y=y)
    points = base.mark_point(filled=True, size=45, opacity=1).encode(
        y=y, tooltip=["strategy", alt.Tooltip("share", format=".0%"), alt.Tooltip("error", format=".2%")]
    )
    return alt.layer(bars, lines, points).properties(
        width=380,
        height=300,
        title=f"A tenth of the FLOPs: chosen runs err by {at[DESIGNED]:.1%}, random ones by {at[RANDOM]:.1%}, "
        f"a grid by {at[GRID]:.1%}",
        description="Median error of the forecast of the largest budget against the share of the FLOPs of all smaller "
        "runs that was spent, for five ways to choose runs; bars hold the middle half of the replays.",
    )


def error_table(played: pd.DataFrame) -> pd.DataFrame:
    """Median errors in per cent of the loss with the middle half, and the number of runs."""
    rows = played[played["board"] == TEXT]
    columns = {}
    for share, group in rows.groupby("share"):
        said = {}
        for name, each in group.groupby("strategy"):
            low, middle, high = 100 * each["rmse_log"].quantile([0.25, 0.5, 0.75])
            said[name] = f"{middle:.2f} ({low:.2f}–{high:.2f}), {each['runs'].median():.0f} runs"
        columns[f"{float(str(share)):.0%}"] = said
    return pd.DataFrame(columns).loc[list(STRATEGIES)]


def numbers(played: pd.DataFrame) -> dict[str, Any]:
    """Numbers of the replays, for sentences."""
    text = played[played["board"] == TEXT].set_index(["share", "strategy"])
    error = text["rmse_log"].groupby(level=[0, 1]).median()
    wide = text["rmse_log"].to_frame().assign(replay=text["replay"]).reset_index()
    pairs = wide.pivot_table(index=["share", "replay"], columns="strategy", values="rmse_log")
    wins = (pairs[DESIGNED] < pairs[RANDOM]).groupby("share").mean()
    designed: Any = text.xs(DESIGNED, level="strategy")
    on_grid: Any = text.xs(GRID, level="strategy")
    found: dict[str, Any] = {
        "nr_replays": int(text["replay"].nunique()),
        "nr_share_random": f"{error[0.1, DESIGNED] / error[0.1, RANDOM]:.2f}",
        "nr_times_grid": f"{error[0.1, GRID] / error[0.1, DESIGNED]:.0f}",
        "nr_wins": f"{100 * wins[0.1]:.0f}",
        "nr_wins_quarter": f"{100 * wins[0.25]:.0f}",
        "nr_coverage": f"{100 * designed['coverage'].mean():.0f}",
        "nr_runs": f"{designed.loc[0.1, 'runs'].median():.0f}",
        "nr_grid_runs": f"{on_grid.loc[0.1, 'runs'].median():.0f}",
    }
    for share in (0.01, 0.05, 0.1, 0.25):
        found[f"nr_{100 * share:.0f}"] = f"{100 * error[share, DESIGNED]:.2f}"
        found[f"nr_random_{100 * share:.0f}"] = f"{100 * error[share, RANDOM]:.2f}"
        found[f"nr_told_{100 * share:.0f}"] = f"{100 * designed.loc[share, 'foretold'].median():.2f}"
    on = played[played["board"] == GOING_ON].groupby("strategy")["rmse_log"].median()
    if len(on):
        found |= {"nr_on": f"{100 * on[DESIGNED]:.2f}", "nr_on_random": f"{100 * on[RANDOM]:.2f}",
                  "nr_on_grid": f"{100 * on[GRID]:.2f}", "nr_on_optimal": f"{100 * on[OPTIMAL]:.2f}"}  # fmt: skip
    return found


@dataclass(frozen=True)
class Live:
    """A question put from nothing, runs made for it, and the question put again.

    Attributes:
        first: the design from nothing.
        runs: what came out.
        second: the same question with these runs.
        losses: foretold before and after, and measured, of the run that was asked about.
    """

    first: NextRuns
    runs: pd.DataFrame
    second: NextRuns
    losses: pd.DataFrame


def live(budget: float, asked: float, corpus: str, most: int) -> Live:
    """Choose runs of the book's family from nothing, make them here, and make the run that they are to foretell.

    Args:
        budget: FLOPs for all runs.
        asked: FLOPs of the run that is foretold, a mixture of eight experts.
        corpus: what the models read.
        most: runs at most.
    """
    levels = asked / np.array([50.0, 20.0, 8.0])
    offered = [
        SweepRun(run_at(float(level), tiny_model(width, e), 0, corpus), "live", float(level))
        for level in levels
        for width in (8, 12, 16, 24)
        for e in (1, 8)
    ]
    target = SweepRun(run_at(asked, tiny_model(16, 8), 0, corpus), "live", asked)
    plan, point = planned(offered), planned([target])
    options, limits = ChoosingOptions(most=most), Limits()
    first = next_runs(None, point, budget, limits, plan, options)
    keys = ["d_model", "n_experts", "train_flops"]
    wanted = first.table[keys].apply(tuple, axis=1).tolist()
    chosen = [item for item, key in zip(offered, plan[keys].apply(tuple, axis=1), strict=True) if key in wanted]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "live.csv"
        run_sweep([*chosen, target], place, workers=1, device="cpu", save_every=None)
        made = finished(read_runs(place))
    held, measured = made[made["budget"] < asked], made[made["budget"] == asked]
    second = next_runs(held, point, budget, limits, plan, options)
    rows = [("from nothing", first, 0), (f"with {len(held)} runs", second, len(held))]
    losses = pd.DataFrame(
        {
            "": [name for name, *_ in rows],
            "foretold": [f"{each.answer['value'].iloc[0]:.3f}" for _, each, _n in rows],
            "95 %": [f"{each.answer['low'].iloc[0]:.2f} to {each.answer['high'].iloc[0]:.2f}" for _, each, _n in rows],
            "measured": f"{measured['loss'].iloc[0]:.3f}",
        }
    )
    return Live(first, held, second, losses)
