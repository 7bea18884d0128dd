"""Five (K, G) on program text, up to S = 127/128: the lowest loss by sparsity, in one valley a budget."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from howmany.figures.finer_paths import lowest_losses
from howmany.granularity.design_slopes import early_slopes, last_steps, slope_row, sparsity_words
from howmany.page import listed
from howmany.programs.collapse import kept
from howmany.programs.program_text import LEVEL, NEEDED
from howmany.programs.valley import Valley, valley
from howmany.study import Design, budget_label, written
from howmany.verdicts.finer_rule import BUDGETS, DESIGN, SPARSE
from moelaws.charts.losses import budget_name
from moelaws.fitting.least_squares import Array
from moelaws.runs import finished, read_runs
from moelaws.runs.seeds import pooled_variance

_WHOLE = 3
"""Sparsities of each design at a budget that is finished."""


def runs_of(files: Sequence[str]) -> pd.DataFrame:
    """The finished runs of several tables whose router has not collapsed, at budgets that hold each design whole."""
    every = kept(pd.concat([finished(read_runs(file, required=NEEDED)) for file in files], ignore_index=True))
    mixtures = every[every["sparsity"] > 0]
    tried = mixtures.groupby(["budget", "top_k", "granularity"])["sparsity"].nunique().unstack(["top_k", "granularity"])
    whole = tried.index[(tried.fillna(0) >= _WHOLE).all(axis=1)]
    return every[every["budget"].isin(whole)].reset_index(drop=True)


def valleys(runs: pd.DataFrame, draws: int) -> list[Valley]:
    """One valley a budget."""
    return [valley(group.reset_index(drop=True), draws, seed) for seed, (_, group) in enumerate(runs.groupby("budget"))]


def slopes(found: Sequence[Valley]) -> pd.DataFrame:
    """The slope of L* against sparsity: a row of ``design_slopes.slope_row`` for each budget and design."""
    rows = [slope_row(written(each), one.budget, *_path(one, each)) for one in found for each in _designs(one)]
    return pd.DataFrame(filter(None, rows))


def path_figure(found: Sequence[Valley]) -> alt.FacetChart:
    """L* less that of the dense model against sparsity, a panel a budget, a line a design."""
    places: dict[str, list[str]] = {}
    for where, budget in map(_best, found):
        places.setdefault(where, []).append(budget)
    best = "; ".join(f"{where} at {' and '.join(budgets)}" for where, budgets in places.items())
    return lowest_losses(
        pd.concat([_change(one, design) for one in found for design in _designs(one)]),
        title=f"L* is lowest with {best}",
        description="On program text, the lowest loss less that of the dense model against one over one minus the "
        "sparsity, a line for each of five designs with 95 percent bands, a panel a budget; hollow where an optimum "
        "lies at an edge of the sizes.",
    )


def numbers(found: Sequence[Valley], table: pd.DataFrame, runs: pd.DataFrame) -> dict[str, Any]:
    """Numbers for the sentences."""
    sparse = table[(table["design"] == written(DESIGN)) & (table["to"] >= SPARSE)]
    cells = runs.groupby(["budget", "n_experts", "top_k", "granularity", "d_model"])["loss"].agg(["size", "var"])
    noise = {
        float(str(budget)): float(np.sqrt(pooled_variance(part["var"], part["size"] - 1)))
        for budget, part in cells[cells["size"] > 1].groupby("budget")
    }
    return {
        "pd_runs": len(runs),
        "pd_designs": table["design"].nunique(),
        "pd_budgets": listed((budget_label(one.budget) for one in found), between=" and "),
        "pd_noise": listed((f"{x:.3f} at {budget_label(c)}" for c, x in noise.items()), between=", "),
        "pd_best": listed((" at ".join(_best(one)) for one in found), between="; "),
        "pd_early_fine": early_slopes(table, written(DESIGN)),
        "pd_last_fine": last_steps(table, written(DESIGN)),
        "pd_falling": f"{int((sparse['last_high'] < 0).sum())} of {len(sparse)}",
        "pd_word": "would be withdrawn" if (sparse["last_high"] < 0).sum() >= BUDGETS else "would stand",
        "pd_whole": listed((_apart(one, (2, 1.0)) for one in found), between="; "),
        "pd_quarters": listed((_apart(one, (2, 4.0)) for one in found), between="; "),
    }  # fmt: skip


def _designs(one: Valley) -> list[Design]:
    return sorted({(k, g) for e, k, g in one.keys if e > 1})


def _rows(one: Valley, design: Design) -> dict[float, int]:
    """1 / (1 - S) -> row of a valley, of one design, by sparsity."""
    rows = {e / k: row for row, (e, k, g) in enumerate(one.keys) if e > 1 and (k, g) == design}
    return dict(sorted(rows.items()))


def _path(one: Valley, design: Design) -> tuple[Array, Array, NDArray[np.bool_]]:
    """-ln(1 - S), L* and whether it lies inside, of one design."""
    rows = _rows(one, design)
    at = list(rows.values())
    return np.log(list(rows)), one.loss[at], np.array([not one.edges[row] for row in at])


def _change(one: Valley, design: Design) -> pd.DataFrame:
    along, loss, inside = _path(one, design)
    change = loss - one.loss[0]
    low, high = np.quantile(change[:, 1:], LEVEL, axis=1)
    columns = {"n_experts": np.exp(along), "loss": change[:, 0], "loss_low": low, "loss_high": high}
    names = {"budget_name": written(design), "panel": budget_name(one.budget)}
    return pd.DataFrame(columns).assign(bracketed=inside, **names)


def _best(one: Valley) -> tuple[str, str]:
    """The design with the lowest loss of all, and its budget, in words."""
    experts, top_k, granularity = one.keys[int(one.loss[:, 0].argmin())]
    return f"{written((top_k, granularity))}, S = {sparsity_words(1 - top_k / experts)}", budget_label(one.budget)


def _apart(one: Valley, design: Design) -> str:
    """L* of a design less that of K = G = 2, mean over the sparsities that both have, in words."""
    here, base = _rows(one, design), _rows(one, DESIGN)
    apart = [one.loss[here[each]] - one.loss[base[each]] for each in here if each in base]
    draws = np.mean(apart, axis=0)
    value, (low, high) = draws[0], np.quantile(draws[1:], LEVEL)
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}] at {budget_label(one.budget)}"
