"""Numbers that a test holds on to: what an interval is of, how often it holds, and when a stated one falls out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.measured.own_law import NEEDED, kept
from howmany.verdicts.placebo import dense_runs
from moelaws.charts.losses import LOSS
from moelaws.charts.theme import DENSE, ROUTED
from moelaws.comparing.compute_multiplier import Speedup
from moelaws.comparing.configuration import CurveOptions
from moelaws.comparing.predictions import predict
from moelaws.comparing.speedup import speedup
from moelaws.fitting.fit import fit
from moelaws.fitting.result import FitResult
from moelaws.optimum.allocation import Estimate
from moelaws.runs import read_runs

MIDST, AHEAD = "a fifth of the runs, by chance", "the largest budget"
ALONE, BESIDE = "law alone", "beside its process"
_FOLDS, _PANEL = 5, 230


@dataclass(frozen=True, eq=False)
class Asked:
    """A law, and runs that it had not seen.

    Attributes:
        runs: all runs.
        ahead: the law fitted without the largest budget.
        tables: what was held out, how it was foreseen -> the runs with both intervals.
    """

    runs: pd.DataFrame
    ahead: FitResult
    tables: dict[tuple[str, str], pd.DataFrame]


def asked(file: str, law: str, starts: int) -> Asked:
    """Foresee runs in the midst of the others, a fifth at a time, and those of the largest budget."""
    runs = kept(read_runs(file, required=NEEDED))
    turn = np.random.default_rng(0).permutation(len(runs)) % _FOLDS
    folds = [(fit(law, runs[turn != k], objective="lsq-log", starts=starts), runs[turn == k]) for k in range(_FOLDS)]
    largest = runs["budget"] == runs["budget"].max()
    ahead = fit(law, runs[~largest], objective="lsq-log", starts=starts)
    tables = {
        (MIDST, ALONE): pd.concat([_foreseen(result, out, False) for result, out in folds]),
        (AHEAD, ALONE): _foreseen(ahead, runs[largest], False),
        (AHEAD, BESIDE): _foreseen(ahead, runs[largest], True),
    }
    return Asked(runs, ahead, tables)


def _foreseen(result: FitResult, out: pd.DataFrame, process: bool) -> pd.DataFrame:
    return predict(result, out, discrepancy="auto" if process else "none").table.assign(seen=out["loss"])


def _inside(table: pd.DataFrame, of: str) -> float:
    return float(table["seen"].between(table[f"{of}_low"], table[f"{of}_high"]).mean())


def coverage_table(made: Asked) -> pd.DataFrame:
    """How many of the runs lie inside each interval, and how wide these are, in per cent."""
    rows = {}
    for (what, how), table in made.tables.items():
        widths = [
            100 * float(np.median((table[f"{of}_high"] - table[f"{of}_low"]) / table["loss"])) for of in ("mean", "run")
        ]
        rows[f"{what}, {how}"] = {
            "runs": str(len(table)),
            "inside the law's": f"{100 * _inside(table, 'mean'):.0f} %",
            "inside a run's": f"{100 * _inside(table, 'run'):.0f} %",
            "width, law": f"{widths[0]:.1f} %",
            "width, run": f"{widths[1]:.1f} %",
        }
    return pd.DataFrame(rows).T


def bands_figure(made: Asked, experts: int) -> alt.FacetChart:
    """Both bands over the sizes of one number of experts: among the runs fitted, and at the budget beyond them."""
    runs = made.runs
    below = runs[runs["budget"] < runs["budget"].max()]
    among = below[(below["budget"] == below["budget"].max()) & (below["n_experts"] == experts)]
    beyond = made.tables[AHEAD, BESIDE]
    panels = {
        f"{among['budget'].iloc[0]:.0e} FLOPs, among the runs fitted".replace("e+", "e"): _foreseen(
            made.ahead, among, True
        ),
        f"{runs['budget'].max():.0e} FLOPs, beyond them".replace("e+", "e"): beyond[beyond["n_experts"] == experts],
    }
    columns = ["panel", "active_params", "seen", "loss", "mean_low", "mean_high", "run_low", "run_high"]
    shown = pd.concat([table.assign(panel=name) for name, table in panels.items()])[columns]
    base = alt.Chart(shown).encode(
        x=alt.X("active_params:Q", title="active parameters N_a").scale(type="log", nice=False, padding=10)
        .axis(format="~s", tickCount=3)
    )  # fmt: skip
    scale = alt.Scale(zero=False, nice=False, padding=8)
    run = base.mark_area(opacity=0.22, color=ROUTED[4]).encode(
        y=alt.Y("run_low:Q", title=LOSS, scale=scale), y2="run_high:Q"
    )
    mean = base.mark_area(opacity=0.45, color=ROUTED[4]).encode(y="mean_low:Q", y2="mean_high:Q")
    line = base.mark_line(color=ROUTED[4], strokeWidth=1.5).encode(y="loss:Q")
    points = base.mark_point(filled=True, size=40, color=DENSE, opacity=1).encode(
        y="seen:Q", tooltip=["active_params", "seen", "run_low", "run_high"]
    )
    wider = [_wider(table) for table in panels.values()]
    return (
        alt.layer(run, mean, line, points)
        .properties(width=_PANEL, height=210)
        .facet(facet=alt.Facet("panel:N", title=None, sort=list(panels)), columns=2)
        .properties(
            title=f"A run's band is {wider[0]:.1f} times as wide as the law's among its runs, {wider[1]:.1f} times"
            " beyond",
            description=f"Losses of models with E = {experts} against active parameters: the law's band, the wider "
            "band of one run, and the runs that were made, at a budget among those fitted and at one beyond.",
        )
    )


def _wider(table: pd.DataFrame) -> float:
    """How many times as wide as the law's interval a run's is."""
    return float(np.median((table["run_high"] - table["run_low"]) / (table["mean_high"] - table["mean_low"])))


def multipliers(runs: pd.DataFrame, budget: float, experts: Sequence[int], bootstrap: int) -> dict[int, Speedup]:
    """What each number of experts is worth over the dense model at a budget."""
    return {e: speedup(runs, budget, e, options=CurveOptions(bootstrap=bootstrap)) for e in experts}


def multiplier_table(found: dict[int, Speedup]) -> pd.DataFrame:
    """Multipliers in FLOPs and in seconds, with their intervals."""
    return pd.DataFrame(
        {
            f"E = {e}": {"times the FLOPs": written(each.flops), "times the seconds": written(each.seconds)}
            for e, each in found.items()
        }
    ).T


def written(found: Estimate | None) -> str:
    """A multiplier with its interval."""
    return "not timed" if found is None else f"{found.value:.2f} ({found.low:.2f}–{found.high:.2f})"


@dataclass(frozen=True)
class Kept:
    """A stated number, asked again of runs that changed.

    Attributes:
        change: what changed.
        found: the multiplier now.
        stated: the number.
    """

    change: str
    found: Speedup
    stated: float

    @property
    def stands(self) -> bool:
        """Whether the number lies within the interval of what the runs say now: what a test asserts."""
        return self.found.flops.low <= self.stated <= self.found.flops.high


def changes(
    runs: pd.DataFrame, asked_of: tuple[float, int], stated: float, better: Sequence[float], bootstrap: int
) -> list[Kept]:
    """The number after changes that happen: a better dense baseline, and a table in which experts do nothing.

    Args:
        runs: the table.
        asked_of: the budget, and the number of experts.
        stated: the number.
        better: shares by which the dense losses fall.
        bootstrap: refits of each curve.
    """
    budget, experts = asked_of
    curves = CurveOptions(bootstrap=bootstrap)
    made = []
    for share in better:
        factor = np.where(runs["n_experts"] == 1, 1 - share, 1.0)
        name = f"dense losses {100 * share:g} % lower" if share else "as recorded"
        found = speedup(runs.assign(loss=runs["loss"] * factor), budget, experts, options=curves)
        made.append(Kept(name, found, stated))
    nothing = speedup(dense_runs(runs, 1), budget, experts, options=curves)
    return [*made, Kept("experts that do nothing (placebo)", nothing, stated)]


def changes_table(made: Sequence[Kept]) -> pd.DataFrame:
    """What the runs say now, and what a test of the stated number would say."""
    return pd.DataFrame(
        {
            "worth": [written(each.found.flops) for each in made],
            f"a test of {made[0].stated:g}": ["passes" if each.stands else "fails" for each in made],
        },
        index=[each.change for each in made],
    )


def numbers(made: Asked, found: dict[int, Speedup], kept_numbers: Sequence[Kept]) -> dict[str, Any]:
    """Numbers for the chapter's sentences."""
    most = max(found)
    midst, alone, beside = (made.tables[key] for key in ((MIDST, ALONE), (AHEAD, ALONE), (AHEAD, BESIDE)))
    failing = next((each.change for each in kept_numbers if not each.stands), "none of these changes")
    seconds = [e for e, each in found.items() if each.seconds is not None]
    over = [e for e in seconds if found[e].seconds.low > 1]  # type: ignore[union-attr]
    under = [e for e in seconds if found[e].seconds.high < 1]  # type: ignore[union-attr]
    placebo = kept_numbers[-1]
    return {
        "tn_midst_mean": f"{100 * _inside(midst, 'mean'):.0f}",
        "tn_midst_run": f"{100 * _inside(midst, 'run'):.0f}",
        "tn_alone_run": f"{100 * _inside(alone, 'run'):.0f}",
        "tn_beside_run": f"{100 * _inside(beside, 'run'):.0f}",
        "tn_beside_mean": f"{100 * _inside(beside, 'mean'):.0f}",
        "tn_most": most,
        "tn_wider": f"{_wider(midst):.1f}",
        "tn_flops": written(found[most].flops),
        "tn_seconds": written(found[most].seconds),
        "tn_stated": f"{kept_numbers[0].stated:g}",
        "tn_stands": "lies inside" if kept_numbers[0].stands else "lies outside",
        "tn_faster": ", ".join(f"E = {e}" for e in over) or "no number of experts",
        "tn_slower": ", ".join(f"E = {e}" for e in under) or "none",
        "tn_fails": failing,
        "tn_placebo": written(placebo.found.flops),
        "tn_placebo_word": "passes" if placebo.stands else "fails",
    }
