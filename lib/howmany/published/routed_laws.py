"""Laws of routing: experts that saturate, the gain at a fixed number of tokens or a fixed ratio, tables once more."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.study import budget_label
from moelaws.charts.fits import gain_by_size, predicted_loss_by_experts
from moelaws.fitting.fit import fit
from moelaws.fitting.result import FitResult
from moelaws.laws import Law, law
from moelaws.optimum.forecaster import Forecaster, size_of
from moelaws.optimum.optimum import Memory, best_experts, best_size

CLAIMED = {"s-base": 937e9, "rl-r": 85e9, "hash": 83e9}
"""Router -> the size at which, by the paper, experts cease to help."""

ROUTERS = {"s-base": "S-BASE", "rl-r": "RL-R", "hash": "Hash"}
"""As the paper writes them."""

EXPERTS = 2.0 ** np.arange(0, 10)

_FIXED, _RATIO, _CLARK = "joint: 130B tokens", "joint: 20 tokens/param", "Clark: 130B tokens"
_TABLE2 = {1e21: (16, 32, 32), 1e22: (4, 16, 32), 1e23: (1, 8, 32), 1e24: (1, 1, 16)}
_GIGABYTES = (24, 80, 640)
_FORMS = {"clark2022": "the full law"}


def loss_curves() -> alt.Chart:
    """Clark's loss against the number of experts for four sizes without experts."""
    clark = law("clark2022")
    sizes = {"15M": 15e6, "130M": 130e6, "1.3B": 1.3e9, "13B": 13e9}
    grid = [(name, n, e) for name, n in sizes.items() for e in EXPERTS]
    curves = pd.DataFrame(grid, columns=["size", "dense_params", "n_experts"])
    curves["loss"] = clark.predict(clark.published["s-base"], curves)
    return predicted_loss_by_experts(curves, "size without experts")


def vanishing() -> pd.DataFrame:
    """The size at which Clark's gain from experts is nothing, for each router, and what rounding does to it."""
    rows = {
        router: {
            "as printed": 10 ** (-p["b"] / p["c"]),
            "c rounded up": 10 ** (-p["b"] / (p["c"] + 0.0005)),
            "c rounded down": 10 ** (-p["b"] / (p["c"] - 0.0005)),
            "the paper": CLAIMED[router],
        }
        for router, p in law("clark2022").published.items()
    }
    return pd.DataFrame(rows).T


def vanishing_table(found: pd.DataFrame) -> pd.DataFrame:
    """The same in billions of parameters, a row a router."""
    return found.rename(ROUTERS).map(lambda size: f"{float(f'{size / 1e9:.2g}'):,.0f}").rename_axis("billions")


def vanishing_numbers(table: pd.DataFrame) -> dict[str, Any]:
    """The size at which the gain of Clark's first router is nothing, and between which the digits leave it."""
    printed, *rounded = table.iloc[0, :3]
    return {
        "ro_gone": f"{printed:.1g}".replace("e+", "e"),
        "ro_gone_range": f"[{min(rounded):.2g}, {max(rounded):.2g}]".replace("e+", "e"),
    }


def gains() -> pd.DataFrame:
    """The share of the loss that experts save, by size, under three readings of the tokens."""
    clark, joint = law("clark2022"), law("ludziejewski2025")
    sbase, table3 = clark.published["s-base"], joint.published["table3"]
    return pd.concat(
        [
            _gain(clark, sbase, lambda n: 130e9, _CLARK),
            _gain(joint, table3, lambda n: 130e9, _FIXED),
            _gain(joint, table3, lambda n: 20 * n, _RATIO),
        ]
    )


def gain_figure(table: pd.DataFrame) -> alt.Chart:
    """The same as lines."""
    return gain_by_size(table[table["n_experts"] > 1])


def gain_numbers(table: pd.DataFrame) -> dict[str, Any]:
    """The gain of 32 experts at some sizes, in percent of the loss."""
    places = {
        "fixed_small": (_FIXED, 1e8),
        "fixed_large": (_FIXED, 1e12),
        "ratio_small": (_RATIO, 1e8),
        "ratio_mid": (_RATIO, 1e9),
        "ratio_large": (_RATIO, 1e12),
        "clark_large": (_CLARK, 1e12),
    }
    numbers = {}
    for key, (panel, n) in places.items():
        rows = table[(table["panel"] == panel) & (table["n_experts"] == 32)]
        share = 100 * np.interp(np.log(n), np.log(rows["active_params"]), rows["gain"])
        numbers[f"ro_{key}"] = f"{share:.1f}"
    return numbers


def sizes_again(forecaster: Forecaster) -> pd.DataFrame:
    """Three rows of the joint law's table, computed again."""
    printed = [(1e20, 1, 1.73, 9.7), (1e20, 8, 0.99, 16.8), (1e22, 32, 12.28, 135.7)]
    rows = []
    for c, e, n, d in printed:
        best = best_size(forecaster, c, e)
        sizes = (f"{best.active_params / 1e9:.2f} ({n})", f"{best.tokens / 1e9:.1f} ({d})")
        rows.append((budget_label(c), str(e), *sizes))
    return pd.DataFrame(rows, columns=["C", "E", "N_a (B)", "D (B)"]).set_index("C")


def experts_again(forecaster: Forecaster) -> tuple[pd.DataFrame, list[float]]:
    """The best number of experts under a budget and a memory, beside the printed one; and what the latter costs.

    Returns:
        The table, and the loss of each printed choice less that of the best one here (nats).
    """
    rows, distance = {}, []
    for flops, theirs in _TABLE2.items():
        memories = [Memory(g * 1e9, 2, 16_384) for g in _GIGABYTES]
        picks = [best_experts(forecaster, flops, (1, 2, 4, 8, 16, 32), memory=memory) for memory in memories]
        rows[f"{flops:.0e}"] = [f"{p.best.n_experts:.0f} ({t})" for p, t in zip(picks, theirs, strict=True)]
        for pick, their in zip(picks, theirs, strict=True):
            same = next(c for c in pick.candidates if c.n_experts == their)
            distance.append(same.loss - pick.best.loss)
    table = pd.DataFrame(rows, index=[f"{g} GB" for g in _GIGABYTES])
    return table.T.rename_axis("C"), distance


def distance_numbers(distance: Sequence[float]) -> dict[str, Any]:
    """How many choices are the same, and the most that a printed one costs."""
    return {
        "ro_same": sum(d == 0 for d in distance),
        "ro_cells": len(distance),
        "ro_worst": f"{max(distance):.3f}",
    }


def rule_of_thumb(forecaster: Forecaster) -> pd.DataFrame:
    """The rule "E times the tokens at the dense optimum's memory": loss against the dense optimum, and its FLOPs."""
    experts = (2, 8, 32)
    checked = {f"{c:.0e}": [_rule(forecaster, c, e) for e in experts] for c in (1e20, 1e22, 1e24)}
    return pd.DataFrame(checked, index=[f"E = {e}" for e in experts]).T.rename_axis("C (dense)")


def made_runs(seeds: int, noise: float) -> pd.DataFrame:
    """Runs that Clark's law made, with noise of ln L."""
    clark, rng = law("clark2022"), np.random.default_rng(0)
    sizes = (15e6, 25e6, 55e6, 130e6, 370e6, 1.3e9)
    grid = [(n, e) for n in sizes for e in EXPERTS for _ in range(seeds)]
    made = pd.DataFrame(grid, columns=["dense_params", "n_experts"])
    loss = clark.predict(clark.published["s-base"], made) * np.exp(noise * rng.normal(size=len(made)))
    return made.assign(loss=loss)


def forms(seen: pd.DataFrame, held: pd.DataFrame) -> dict[str, FitResult]:
    """Four nested forms fitted to what was seen, and scored on what was held out."""
    names = ("separable", "saturating", "bilinear", "clark2022")
    return {name: fit(name, seen, objective="lsq-log").with_holdout(held) for name in names}


def form_table(fits: Mapping[str, FitResult]) -> pd.DataFrame:
    """Errors of the forms, on both: root mean squares of ln L."""
    rows = {
        _FORMS.get(name, name): {
            "parameters": len(f.params),
            "fitted (%)": f"{100 * f.quality.rmse_log:.2f}",
            "held out (%)": f"{100 * _held(f):.2f}",
        }
        for name, f in fits.items()
    }
    return pd.DataFrame(rows).T.rename_axis("form")


def form_numbers(fits: Mapping[str, FitResult], noise: float) -> dict[str, Any]:
    """The errors, beside the noise."""
    return {
        "ro_noise": f"{100 * noise:.1f}",
        "ro_sat": f"{100 * fits['saturating'].quality.rmse_log:.2f}",
        "ro_sat_out": f"{100 * _held(fits['saturating']):.2f}",
        "ro_bil_out": f"{100 * _held(fits['bilinear']):.2f}",
        "ro_full_out": f"{100 * _held(fits['clark2022']):.2f}",
    }


def _held(result: FitResult) -> float:
    assert result.holdout is not None
    return result.holdout.rmse_log


def _gain(chosen: Law, params: Mapping[str, float], tokens: Callable[[Any], Any], panel: str) -> pd.DataFrame:
    grid = [(n, e) for n in np.geomspace(1e7, 1e13, 25) for e in (1, 2, 8, 32)]
    table = pd.DataFrame(grid, columns=["active_params", "n_experts"])
    table["tokens"] = tokens(table["active_params"])
    loss = chosen.predict(params, table).reshape(-1, 4)
    return table.assign(gain=(1 - loss / loss[:, :1]).ravel(), panel=panel)


def _rule(forecaster: Forecaster, flops: float, e: int) -> str:
    family, dense = forecaster.family, best_size(forecaster, flops)
    size = size_of(family.total_params, np.array(dense.total_params), np.array(float(e)), np.array(1.0))
    columns = family.columns(size, np.array(float(e)), np.array(1.0))
    loss = forecaster.law.predict(forecaster.params, columns | {"tokens": dense.tokens * e})
    spent = 6 * float(columns["active_params"]) * dense.tokens * e / flops
    return f"{float(loss) - dense.loss:+.3f} ({spent:.2f}× C)"
