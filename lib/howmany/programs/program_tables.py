"""Tables and numbers of the chapter on program text."""

from typing import Any

import numpy as np
import pandas as pd

from howmany.page import listed
from howmany.programs.collapse import LIMIT, above_neighbours, collapsed
from howmany.programs.program_text import FINE, LEVEL, Programs, finer, gains, idles, key_of, per_decade, turn
from howmany.programs.valley import Valley
from howmany.study import PLAIN, budget_label
from moelaws.fitting.least_squares import Array


def best_table(found: Programs) -> pd.DataFrame:
    """The best model of each budget: E, K and G, sizes and loss with intervals, and how sure the choice is."""
    rows = []
    for each in found.valleys:
        row = int(each.loss[:, 0].argmin())
        e, k, g = each.keys[row]
        runs = found.runs[found.runs["budget"] == each.budget]
        sizes, totals = np.exp(each.size[row]), each.total(runs, row)
        share = np.mean(each.loss[:, 1:].argmin(axis=0) == row)
        rows.append(
            {
                "C": budget_label(each.budget), "E": str(e), "K": str(k), "G": f"{g:g}",
                "N_a": _range(sizes), "N": _range(totals),
                "L* (nats)": _interval(each.loss[row], "{:.3f}"), "best in": f"{100 * share:.0f} %",
                "lies": _lies(each, row),
            }
        )  # fmt: skip
    return pd.DataFrame(rows).set_index("C")


def _lies(each: Valley, row: int) -> str:
    if each.edges[row]:
        return {"low": "at the smallest size tried", "high": "at the largest size tried"}[each.edges[row]]
    return "inside" if each.inside[row] >= 0.95 else f"inside in {100 * each.inside[row]:.0f} %"


def gain_table(table: pd.DataFrame) -> pd.DataFrame:
    """The gains, written out, a column a mixture."""
    words = [
        f"{row.gain:+.3f} [{row.low:+.3f}, {row.high:+.3f}]" + ("*" if row.edge else "") for row in table.itertuples()
    ]
    shown = table.assign(word=words, C=table["budget"].map(budget_label), S=1 - 1 / table["idle"])
    shown["S"] = shown["S"].map("{:.3g}".format)
    wide = shown.pivot(index=["experts", "S"], columns="C", values="word").fillna("")
    return wide[[budget_label(each) for each in sorted(table["budget"].unique())]]


def collapse_table(found: Programs) -> pd.DataFrame:
    """What the collapsed run does to the results of its budget: with it and without."""
    rows = []
    for other in found.with_collapsed:
        own = next(each for each in found.valleys if each.budget == other.budget)
        for word, each in (("without it", own), ("with it", other)):
            best = int(each.loss[:, 0].argmin())
            e, k, g = each.keys[best]
            rows.append(
                {
                    "C": budget_label(each.budget), "": word, "best": f"E = {e}, K = {k}, G = {g:g}",
                    "best in": f"{100 * np.mean(each.loss[:, 1:].argmin(axis=0) == best):.0f} %",
                    "gain over dense": _interval(each.loss[0] - each.loss[best], "{:+.3f}"),
                    "scatter of runs": f"{each.scatter:.3f}",
                }
            )  # fmt: skip
    return pd.DataFrame(rows).set_index("C")


def numbers(found: Programs, every_load: pd.DataFrame) -> dict[str, Any]:
    """Numbers and words for the sentences."""
    first, last = found.valleys[0], found.valleys[-1]
    curved = [each for each in found.valleys if not each.edges[0]]
    table = gains(found)
    top = table.loc[table.groupby("budget")["gain"].idxmax()].reset_index(drop=True)
    said = [
        f"{row.gain:.3f} [{row.low:.3f}, {row.high:.3f}] at {budget_label(c)}"
        for row, c in zip(top.itertuples(), top["budget"], strict=True)
    ]
    bad = found.every[collapsed(found.every)]
    step = [each.size[each.keys.index(key_of(idles(found)[-1], PLAIN)), 0] for each in curved[-2:]]
    turned = {design: turn(found, design) for design in (PLAIN, FINE)}
    smallest = found.runs.loc[found.runs["budget"] == last.budget, "active_params"].min()
    others = every_load.loc[every_load["concentration"] <= LIMIT, "concentration"]
    names = [
        f"E = {r.n_experts}, d = {r.d_model} at {budget_label(c)}"
        for r, c in zip(bad.itertuples(), bad["budget"], strict=True)
    ]
    return {
        "pt_runs": len(found.every), "pt_budgets": len(found.valleys),
        "pt_first": budget_label(first.budget), "pt_last": budget_label(last.budget),
        "pt_inner": budget_label(curved[-1].budget),
        "pt_gains": "; ".join(said[: len(curved)]), "pt_bound": said[-1],
        "pt_gain_first": said[0], "pt_gain_inner": said[len(curved) - 1],
        "pt_gain_decade": per_decade(found, "gain").text, "pt_turn_decade": per_decade(found, "turn").text,
        "pt_turn_plain": "; ".join(f"{each.text} at {each.where}" for each in turned[PLAIN]),
        "pt_turn_fine": "; ".join(f"{each.text} at {each.where}" for each in turned[FINE]),
        "pt_loses": listed([each.where for each in turned[FINE] if each.low > 0], "no budget"),
        "pt_wins": listed([each.where for each in turned[FINE] if each.high < 0], "no budget"),
        "pt_confirmed": "confirmed" if per_decade(found, "turn").high < 0 else "not confirmed",
        "pt_near": idles(found)[-2], "pt_far": idles(found)[-1],
        "pt_finer": "; ".join(f"{each.text} at {each.where}" for each in finer(found)),
        "pt_finer_below": listed([each.where for each in finer(found) if each.high < 0], "no budget"),
        "pt_collapsed": listed(names),
        "pt_collapsed_share": f"{100 * _largest_share(bad).max():.1f}",
        "pt_collapsed_above": f"{above_neighbours(found.every).max():.2f}",
        "pt_limit": f"{LIMIT:g}", "pt_others": f"{others.max():.2f}",
        "pt_loads": f"{len(every_load):,}",
        "pt_next_size": f"{np.exp(2 * step[1] - step[0]) / 1e6:.1f} M", "pt_smallest": f"{smallest / 1e6:.1f} M",
        "pt_epochs": f"{found.every['epochs'].max():.2f}",
        "pt_scatter": ", ".join(f"{each.scatter:.3f} at {budget_label(each.budget)}" for each in found.valleys),
    }  # fmt: skip


def _largest_share(runs: pd.DataFrame) -> "pd.Series[float]":
    return runs["load_imbalance"] * runs["top_k"] / runs["n_experts"]


def _interval(values: Array, form: str) -> str:
    low, high = np.quantile(values[1:], LEVEL)
    return f"{form.format(values[0])} [{form.format(low)}, {form.format(high)}]"


def _range(values: Array) -> str:
    value, low, high = (_short(size) for size in (values[0], *np.quantile(values[1:], LEVEL)))
    return value if low == value == high else f"{value} [{low}, {high}]"


def _short(size: float) -> str:
    return f"{size / 1e6:.3g} M" if size >= 1e6 else f"{size / 1e3:.0f} k"
