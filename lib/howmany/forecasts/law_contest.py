"""Which law to trust with a budget that nobody has run: ways to choose one, tried on recorded tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.programs.collapse import kept
from moelaws.charts.theme import CATEGORIES, DENSE, QUIET
from moelaws.comparing.average import average_forecast, equal_weights
from moelaws.comparing.compare import compare
from moelaws.comparing.comparison import Comparison
from moelaws.comparing.paper_fits import STARTS
from moelaws.runs import RunTableError, finished, read_runs

LAWS = ("hoffmann2022", "gadre2024", "frantar2023", "abnar2025", "ludziejewski2025", "yun2024")
"""Laws that know tokens; the others cannot foresee a budget."""
AS_PRINTED = ("hoffmann2022", "abnar2025", "yun2024")
"""Laws whose papers say how they were fitted."""
BY_AICC, BY_BUDGET, BY_CHANCE, TOGETHER = "lowest AICc", "best a budget before", "any that fits as well", "their mean"
WAYS = (BY_AICC, BY_BUDGET, BY_CHANCE, TOGETHER)
_DRAWS, _PANEL = 2_000, 200
_ENDS = (0.025, 0.975)


@dataclass(frozen=True, eq=False)
class Contest:
    """Laws on one table, asked for its largest budget.

    Attributes:
        name: of the table.
        found: the comparison.
        ahead: how many times the second largest budget that is.
        errors: law -> root mean square error of ln L on the runs held out: as found, and with these runs drawn again,
            [1 + draws]; the mean of the laws is ``TOGETHER``.
        before: the law that was best a budget earlier.
    """

    name: str
    found: Comparison
    ahead: float
    errors: Mapping[str, np.ndarray]
    before: str

    @property
    def equals(self) -> list[str]:
        """Laws that fit within half as much again of the best."""
        return [name for name, weight in self.found.weights.items() if weight > 0]

    @property
    def by_aicc(self) -> str:
        """The law of the lowest AICc."""
        return str(self.found.table.sort_values("aicc", kind="stable")["law"].iloc[0])

    def way(self, name: str) -> np.ndarray:
        """Error of a way to choose over that of the law that turns out best, [1 + draws]."""
        best = np.min([self.errors[law] for law in self.laws], axis=0)
        if name == BY_CHANCE:
            return np.asarray(np.exp(np.mean([np.log(self.errors[law]) for law in self.equals], axis=0)) / best)
        chosen = {BY_AICC: self.by_aicc, BY_BUDGET: self.before, TOGETHER: TOGETHER}[name]
        return np.asarray(self.errors[chosen] / best)

    @property
    def laws(self) -> list[str]:
        """All laws that took part."""
        return [each.law.name for each in self.found.contenders]


def contests(files: Mapping[str, str], starts: int, only: Sequence[str] = ()) -> list[Contest]:
    """Every table's largest budget, foreseen by each law from the others.

    Args:
        files: name -> run table.
        starts: of every fit.
        only: these of the laws, if any are named.
    """
    laws = _asked(LAWS, only)
    return [_contest(name, file, starts, laws) for name, file in files.items()]


def _asked(laws: Sequence[str], only: Sequence[str]) -> list[str]:
    chosen = [law for law in laws if not only or law in only]
    if not chosen:
        raise ValueError(f"parameter 'only' names none of the laws that are asked: {', '.join(laws)}")
    return chosen


def _contest(name: str, file: str, starts: int, laws: Sequence[str]) -> Contest:
    runs = kept(finished(read_runs(file)))
    found = compare(laws, runs, "budget", starts=starts)
    split = found.unseen[0]
    known, new = runs[~split.out], runs[split.out]
    results = {each.law.name: each.forecasts[split.name].result for each in found.contenders}
    fitted = {law: result for law, result in results.items() if result is not None}
    if len(fitted) < len(results):
        left = ", ".join(law for law in results if law not in fitted)
        raise RunTableError(
            f"{Path(file).name}: the {len(known)} runs below the largest budget do not suffice to fit {left}; a "
            "contest of laws takes several budgets, and below the largest more runs than a law has parameters"
        )
    weights = equal_weights(fitted)
    said = {law: np.asarray(result.predict(new)) for law, result in fitted.items()}
    chosen = {law: result for law, result in fitted.items() if weights[law] > 0}
    said[TOGETHER] = average_forecast(chosen, new)["loss"].to_numpy()
    logs = np.log(new["loss"].to_numpy(float))
    rng = np.random.default_rng(0)
    # The same draws for every law: what they share drops out of a ratio.
    drawn = np.concatenate([np.ones((1, len(new))), rng.multinomial(len(new), np.full(len(new), 1 / len(new)), _DRAWS)])
    errors = {law: np.sqrt(drawn @ (np.log(loss) - logs) ** 2 / len(new)) for law, loss in said.items()}
    before = compare(laws, known, "budget", starts=starts).contenders[0].law.name
    ahead = float(new["train_flops"].median() / known["train_flops"].max())
    return Contest(name, found, ahead, errors, before)


def figure(made: list[Contest]) -> alt.FacetChart:
    """What a law misses at the unseen budget against how much worse than the best it fits, a panel a table."""
    parts = []
    for each in made:
        aicc = each.found.table.set_index("law")["delta_aicc"]
        for law in each.laws:
            low, high = np.quantile(each.errors[law][1:], _ENDS)
            parts.append({"table": each.name, "law": law, "worse": aicc[law], "error": each.errors[law][0], "low": low,
                          "high": high, "mean": each.errors[TOGETHER][0]})  # fmt: skip
    table = pd.DataFrame(parts)
    colours = dict(zip(LAWS, (DENSE, QUIET, *CATEGORIES), strict=False))
    base = alt.Chart(table).encode(
        x=alt.X("worse:Q", title="AICc above the least").scale(type="symlog", constant=10)
        .axis(values=[0, 10, 100, 400]),
        color=alt.Color("law:N", title=None, sort=list(LAWS), scale=alt.Scale(domain=list(colours),
                        range=list(colours.values()))).legend(columns=3, orient="bottom", symbolOpacity=1),
    )  # fmt: skip
    y = alt.Y("error:Q", title="error of ln L, unseen budget").scale(type="log", nice=False, padding=8)
    y = y.axis(values=[0.01, 0.02, 0.03, 0.05], format="%")
    points = base.mark_point(filled=True, size=60, opacity=1).encode(
        y=y, tooltip=["law", alt.Tooltip("error", format=".2%"), alt.Tooltip("worse", format=".0f")]
    )
    bars = base.mark_rule(opacity=0.5).encode(y="low:Q", y2="high:Q")
    mean = alt.Chart(table).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(y="mean:Q")
    won = sum(each.errors[each.by_aicc][0] <= min(each.errors[law][0] for law in each.laws) for each in made)
    return (
        alt.layer(mean, bars, points)
        .properties(width=_PANEL, height=210)
        .facet(facet=alt.Facet("table:N", title=None, sort=[each.name for each in made]), columns=2)
        .properties(
            title=f"The law of the lowest AICc foresees best on {won} of {len(made)} tables; dashed: the laws' mean",
            description="Error of each law at the largest budget, which it had not seen, against its AICc above the "
            "least on all runs, a panel a table; bars: these runs drawn again; the dashed line is the laws' mean.",
        )
    )


def table_of(made: list[Contest]) -> pd.DataFrame:
    """Errors in per cent of the loss: in the fit → at the unseen budget, with an interval, and the runs inside."""
    columns = {}
    for each in made:
        rows = each.found.table.set_index("law")
        errors, inside = (rows[name].astype(float).to_dict() for name in ("rmse_log", "budget_coverage"))
        written = {}
        for law in each.laws:
            written[law] = f"{100 * errors[law]:.2f} → {_percent(each.errors[law])}, {inside[law]:.0%} inside"
        together = each.found.averages["budget"]
        written[TOGETHER] = f"{_percent(each.errors[TOGETHER])}, {together.coverage:.0%} inside"
        columns[f"{each.name}, {each.ahead:.0f} times further"] = written
    order = [*(law for law in LAWS if any(law in each.laws for each in made)), TOGETHER]
    return pd.DataFrame(columns).reindex(order).fillna("")


def ways_table(made: list[Contest]) -> pd.DataFrame:
    """How many times the error of the law that turned out best each way to choose has, with an interval."""
    columns = {each.name: {way: _times(each.way(way)) for way in WAYS} for each in made}
    table = pd.DataFrame(columns)
    whole = {way: _times(np.exp(np.mean([np.log(each.way(way)) for each in made], axis=0))) for way in WAYS}
    return table.assign(together=pd.Series(whole)).rename(columns={"together": "geometric mean"})


@dataclass(frozen=True, eq=False)
class Fitters:
    """One law at its optimum, and as its paper fitted it, on the same runs.

    Attributes:
        law: its name.
        fitted, published: error of ln L on all runs: at the optimum, and by the paper's fitter.
        unseen: error on the runs held out at the optimum, as found and with these runs drawn again.
        theirs: the same by the paper's fitter.
    """

    law: str
    fitted: float
    published: float
    unseen: np.ndarray
    theirs: np.ndarray

    @property
    def worth(self) -> np.ndarray:
        """How many times the error of the optimum the paper's fitter leaves, on runs that neither has seen."""
        return np.asarray(self.theirs / self.unseen)


def fitters(file: str, starts: int, only: Sequence[str] = ()) -> list[Fitters]:
    """What the fitter alone is worth, for the laws whose papers say how they were fitted; arguments as `contests`."""
    runs = kept(finished(read_runs(file)))
    found = compare(_asked(AS_PRINTED, only), runs, "budget", "published", starts=starts)
    out = found.unseen[0].out
    new = runs[out]
    logs = np.log(new["loss"].to_numpy(float))
    rng = np.random.default_rng(0)
    drawn = np.concatenate([np.ones((1, len(new))), rng.multinomial(len(new), np.full(len(new), 1 / len(new)), _DRAWS)])
    made = []
    for each in found.contenders:
        if each.published is None:
            continue
        both = [side.forecasts["budget"].result for side in (each, each.published)]
        errors = [
            np.sqrt(drawn @ (np.log(np.asarray(result.predict(new))) - logs) ** 2 / len(new))
            for result in both
            if result is not None
        ]
        fits = (each.result.quality.rmse_log, each.published.result.quality.rmse_log)
        made.append(Fitters(each.law.name, *fits, *errors))
    return sorted(made, key=lambda one: -one.worth[0])


def fitters_table(made: list[Fitters]) -> pd.DataFrame:
    """Errors of ln L in per cent, of the runs fitted and of those not seen, at the optimum and as published."""
    return pd.DataFrame(
        {
            "fitted, at the optimum, %": [f"{100 * each.fitted:.2f}" for each in made],
            "fitted, as in its paper, %": [f"{100 * each.published:.2f}" for each in made],
            "unseen, at the optimum, %": [_percent(each.unseen) for each in made],
            "unseen, as in its paper, %": [_percent(each.theirs) for each in made],
            "times as far off": [_times(each.worth) for each in made],
        },
        index=[each.law for each in made],
    )


def numbers(made: list[Contest], fits: list[Fitters]) -> dict[str, Any]:
    """Numbers for the chapter's sentences."""
    whole = {way: np.exp(np.mean([np.log(each.way(way)) for each in made], axis=0)) for way in WAYS}
    won = sum(each.errors[each.by_aicc][0] <= min(each.errors[law][0] for law in each.laws) for each in made)
    ranks = [1 + sum(each.errors[law][0] < each.errors[TOGETHER][0] for law in each.laws) for each in made]
    first = fits[0]
    inside = sum(each.found.averages["budget"].coverage * each.found.unseen[0].count for each in made)
    return {
        "wl_tables": len(made),
        "wl_won": "none" if won == 0 else str(won),
        "wl_aicc": _times(whole[BY_AICC]),
        "wl_before": _times(whole[BY_BUDGET]),
        "wl_chance": _times(whole[BY_CHANCE]),
        "wl_mean": _times(whole[TOGETHER]),
        "wl_aicc_chance": _times(whole[BY_AICC] / whole[BY_CHANCE]),
        "wl_mean_chance": _times(whole[TOGETHER] / whole[BY_CHANCE]),
        "wl_ranks": ", ".join(map(str, ranks)),
        "wl_inside": f"{100 * inside / sum(each.found.unseen[0].count for each in made):.0f}",
        "wl_fitter_law": first.law,
        "wl_fitter": _times(first.worth),
        "wl_fitter_theirs": f"{100 * first.theirs[0]:.1f}",
        "wl_fitter_ours": f"{100 * first.unseen[0]:.1f}",
        "wl_grid": STARTS,
    }


def _percent(errors: np.ndarray) -> str:
    low, high = 100 * np.quantile(errors[1:], _ENDS)
    return f"{100 * errors[0]:.2f} ({low:.2f}–{high:.2f})"


def _times(ratios: np.ndarray) -> str:
    low, high = np.quantile(ratios[1:], _ENDS)
    return f"{ratios[0]:.2f} ({low:.2f}–{high:.2f})"
