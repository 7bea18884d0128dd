"""The chapter on leverage: how many times its compute a mixture is worth, by budget, sparsity and fineness."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.granularity.finer_experts import NEEDED, runs_of
from howmany.neighbours.printed_laws import leverage_zero
from howmany.neighbours.words import Found, verdicts, words
from howmany.page import listed
from howmany.study import PLAIN, Design, Study, budget_label, study_of_runs, written
from howmany.verdict import Finding, Judged, finding, trend
from howmany.verdicts.finer_rule import design_study
from howmany.verdicts.multiplier import leverage_path
from howmany.verdicts.placebo import dense_runs
from moelaws.charts.theme import CATEGORIES
from moelaws.surfaces.polynomial import Array

DESIGNS: tuple[Design, ...] = (PLAIN, (2, 2.0), (4, 4.0))
"""Finer experts, and as many more of them at work, so that a token's FLOPs stay as they are."""

_HELD = (4.0, 16.0)  # one of so many experts at work: sparsities that every design has at every budget
_SPARSE = 64.0


@dataclass(frozen=True)
class Leverage:
    """What is known of every design and budget.

    Attributes:
        paths: design -> budget -> one over (1 - S) of each place, ln of the leverage (places x draws, the fit first),
            and whether the dense models' losses had to be continued.
        sizes: budget -> ln of the best active size at the same places, of the plain design.
        places: those places.
        runs: how many runs.
    """

    paths: Mapping[Design, Mapping[float, tuple[Array, Array, bool]]]
    sizes: Mapping[float, Array]
    places: Array
    runs: int

    def at(self, design: Design, budget: float, ratio: float) -> Array | None:
        """ln of the leverage of one expert of ``ratio`` at work, the fit and its refits; ``None`` if not tried."""
        ratios, logs, _ = self.paths.get(design, {}).get(budget, (np.empty(0), np.empty((0, 0)), False))
        place = np.flatnonzero(np.isclose(ratios, ratio, rtol=1e-3))
        return logs[place[0]] if len(place) else None

    @property
    def budgets(self) -> list[float]:
        """At which dense models of equal loss were trained."""
        return [budget for budget, (*_, beyond) in self.paths[PLAIN].items() if not beyond]


def read(files: Sequence[str], bootstrap: int) -> Leverage:
    """Fit all surfaces of the tables, and hold every mixture against the dense models."""
    return leverage_of(runs_of(files), bootstrap)


def leverage_of(every: pd.DataFrame, bootstrap: int, seed: int = 0) -> Leverage:
    """The same, of runs."""
    missing = [name for name in NEEDED if name not in every]
    if missing:
        raise ValueError(f"leverage: no column {missing[0]!r}")
    plain = study_of_runs(written(PLAIN), every, bootstrap, seed)
    studies: dict[Design, Study] = {PLAIN: plain}
    for design in DESIGNS[1:]:
        made = design_study(every, design, written(design), bootstrap)
        if made is not None:
            studies[design] = made
    paths = {
        design: {each.budget: leverage_path(each, plain) for each in study.landscapes[design == PLAIN :]}
        for design, study in studies.items()
    }
    sizes = {each.budget: each.active.at for each in plain.landscapes}
    return Leverage(paths, sizes, np.exp(plain.landscapes[0].active.along), len(every))


def placebos(every: pd.DataFrame, count: int, bootstrap: int) -> list[Found]:
    """The claims' quantities where mixtures are dense models with noise."""
    return [_found(leverage_of(dense_runs(every, draw), bootstrap, draw)) for draw in range(1, count + 1)]


def judged(found: Leverage, claims_file: str, blind: Sequence[Found]) -> list[Judged]:
    """The verdicts."""
    return verdicts(claims_file, _found(found), "isoFLOP runs", blind)


def _found(found: Leverage) -> Found:
    budgets = found.budgets
    by_sparsity = []
    for budget in budgets:
        ratios, logs, _ = found.paths[PLAIN][budget]
        names = [f"1 of {ratio:.3g}" for ratio in ratios]
        by_sparsity.append(_of(budget_label(budget), [logs], partial(_trend, names=names)))
    by_budget = [
        _of(f"1 of {ratio:g}", [found.at(PLAIN, budgets[0], ratio), found.at(PLAIN, budgets[-1], ratio)], _change)
        for ratio in _HELD
    ]
    steps = []
    for one, other in pairwise(DESIGNS):
        places = [(ratio, budget) for ratio in _HELD for budget in budgets]
        steps.append(
            [
                _of(f"1 of {r:g}, {budget_label(c)}", [found.at(one, c, r), found.at(other, c, r)], _change)
                for r, c in places
            ]
        )
    sixteenth = int(np.argmin(np.abs(found.places - _HELD[-1])))
    return {
        "by_sparsity": by_sparsity,
        "by_budget": by_budget,
        "by_granularity": steps[0],
        "by_granularity_on": steps[1],
        "active_size": [
            finding(budget_label(c), found.sizes[c][sixteenth] - found.sizes[c][0], "times")
            for c in budgets if len(found.sizes[c]) > sixteenth
        ],
    }  # fmt: skip


def _of(where: str, draws: Sequence[Array | None], make: Any) -> Finding:
    known = [each for each in draws if each is not None]
    if len(known) < len(draws):
        return Finding(where, open="not every one of these was trained")
    wide = np.vstack([np.atleast_2d(each) for each in known]) if len(known) == 1 else None
    used = [wide] if wide is not None else [each[: min(map(len, known))] for each in known]
    usable = np.asarray(~np.isnan(np.vstack(used)).any(axis=0))
    if not usable[0] or usable.mean() < 0.9:
        return Finding(where, open="dense models of equal loss lie outside the budgets tried")
    made: Finding = make(where, [each[..., usable] for each in used])
    return made


def _value(where: str, used: Sequence[Array]) -> Finding:
    return finding(where, used[0][0], "times")


def _change(where: str, used: Sequence[Array]) -> Finding:
    return finding(where, used[1] - used[0], "times")


def _trend(where: str, used: Sequence[Array], names: Sequence[str]) -> Finding:
    return trend(where, used[0], names, 1, "times")


def table_of(found: Leverage) -> pd.DataFrame:
    """Leverage with its interval: a row a design and budget, a column a sparsity."""
    rows = []
    for design, budget, ratio, value, low, high, beyond in _rows(found):
        shown = f"{value:.2f} [{low:.2f}, {high:.2f}]{'*' if beyond else ''}"
        rows.append({"design": written(design), "C": budget_label(budget), "experts": f"1 of {ratio:.3g}", "EL": shown})
    order = dict.fromkeys(row["experts"] for row in sorted(rows, key=lambda row: float(row["experts"].split()[-1])))
    table = pd.DataFrame(rows).pivot(index=["design", "C"], columns="experts", values="EL")
    places = {(row["design"], row["C"]): number for number, row in enumerate(rows)}
    return table.reindex(columns=list(order)).fillna("").sort_index(key=lambda _: table.index.map(places))


def figure(found: Leverage) -> alt.FacetChart:
    """Leverage against sparsity with its interval, a line a budget, a panel a design."""
    rows = [
        {"design": written(design), "budget": budget_label(budget), "ratio": ratio, "leverage": value, "low": low,
         "high": high, "kind": "dense losses continued" if beyond else "dense models trained"}
        for design, budget, ratio, value, low, high, beyond in _rows(found)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    names = list(dict.fromkeys(table["budget"]))
    most = table[table["kind"] == "dense models trained"].sort_values("leverage").iloc[-1]
    kinds = {"dense models trained": [1, 0], "dense losses continued": [4, 3]}
    scale = alt.Scale(type="log", domain=[0.8, 2.5], nice=False)
    y = alt.Y("leverage:Q", title="leverage", scale=scale).axis(values=[0.8, 1, 1.25, 1.5, 2, 2.5])
    base = alt.Chart().encode(
        x=alt.X("ratio:Q", title="experts, all / at work").scale(type="log", base=2, nice=False, padding=6),
        y=y,
        color=alt.Color("budget:N", title="C (FLOPs)", sort=names)
        .scale(domain=names, range=list(CATEGORIES[: len(names)]))
        .legend(columns=3),
    )
    dash = alt.StrokeDash("kind:N", title=None).scale(domain=list(kinds), range=list(kinds.values()))
    one = alt.Chart().mark_rule(strokeDash=[2, 3]).encode(y=alt.YDatum(1.0, scale=scale))
    band = base.mark_rule(opacity=0.5).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    line = base.mark_line().encode(strokeDash=dash.legend(columns=1))
    point = base.mark_point(filled=True, size=35).encode(tooltip=["design", "budget", "ratio", "leverage"])
    return (
        alt.layer(one, band, line, point)
        .properties(width=180, height=240)
        .facet(alt.Facet("design:N", title=None), columns=3, data=table)
        .properties(
            title=f"Best: {most['leverage']:.2f} times its compute, {most['design']}, one of {most['ratio']:.3g}",
            description="Leverage of mixtures against all experts over those at work, with 95 percent intervals, a "
            "line a budget, a panel for each fineness of experts.",
        )
    )


def _rows(found: Leverage) -> Any:
    for design, paths in found.paths.items():
        for budget, (ratios, logs, beyond) in paths.items():
            for ratio, draws in zip(ratios, logs, strict=True):
                usable = draws[~np.isnan(draws)]
                if ratio > 1 + 1e-6 and not np.isnan(draws[0]) and len(usable) > 0.9 * len(draws):
                    yield design, budget, ratio, *np.exp([draws[0], *np.quantile(usable[1:], [0.025, 0.975])]), beyond


def _sparse(found: Leverage) -> list[Finding]:
    """Leverage of one expert of 64, of full width."""
    return [_of(budget_label(c), [found.at(PLAIN, c, _SPARSE)], _value) for c in found.budgets]


def numbers(found: Leverage, made: Sequence[Judged]) -> dict[str, Any]:
    """Numbers and words for the sentences."""
    said = words(list(made))
    by_key = {each.claim.key: each for each in made}
    best = max(((value, low, high, design, budget, ratio) for design, budget, ratio, value, low, high, beyond in
                _rows(found) if not beyond), key=lambda each: each[0])  # fmt: skip
    return {
        "lv_runs": f"{found.runs}",
        "lv_best": f"{best[0]:.2f} [{best[1]:.2f}, {best[2]:.2f}]",
        "lv_best_where": f"{written(best[3])}, one of {best[5]:.3g}, at {budget_label(best[4])} FLOPs",
        "lv_by_c": listed((f"{one.where}: {one.text}" for one in by_key["el-by-c"].findings), between="; "),
        "lv_sparse": listed((f"{one.text} at {one.where}" for one in _sparse(found)), between="; "),
        "lv_zero_fine": f"{leverage_zero(12):.0e}".replace("e+", "e"),
        "lv_zero_coarse": f"{leverage_zero(2):.0e}".replace("e+", "e"),
        "lv_word_sparsity": said["el-rises-with-sparsity"],
        "lv_word_c": said["el-by-c"],
        "lv_word_g": said["g-rises"],
        "lv_word_on": said["g-still-rises"],
        "lv_word_size": said["smaller-more-data"],
    }
