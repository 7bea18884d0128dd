"""Placebos: runs, probes and laws in which a claim has nothing to say, for its rule to be asked of them too.

A claim that something happens is asked where the effect has been taken out. A claim that nothing happens is asked where
an effect has been put in: taken out, it would hold by construction. What a rule says of both says nothing.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from howmany.gains import CELL
from howmany.study import Study, study_of_runs
from moelaws.fitting.least_squares import least_squares
from moelaws.runs.seeds import pooled_noise, seed_spread
from moelaws.surfaces.polynomial import Array

KINDS: Mapping[str, str] = {
    "dense curve": "the same runs, their losses those of their budget's dense models of equal active size, with noise",
    "one curve in the loss": "the same probes, their values those of one curve in the loss, with the models' scatter",
    "an effect put in": "the same, with sparse models as bad as dense ones of a loss .1 nats higher",
    "dense cells": "the same runs, their losses those of the dense models of equal width and tokens, with noise",
    "experts that do nothing": "the same law, a mixture's loss that of its dense model; its costs as they are",
}
"""Name of a placebo -> what is in it. Noise is that between seeds, by number of experts."""

PUT_IN = 0.1
"""Penalty of the sparsest models where an effect is put in, nats of loss: most of what sparsity gains at all."""

_POINT = ("budget", "corpus", "active_params", "tokens", "sparsity", "n_experts", "top_k", "granularity")
_FREEDOM = 4  # degrees of freedom from which a number of experts has a noise of its own


def noise_by_experts(runs: pd.DataFrame, point: tuple[str, ...] = _POINT) -> pd.DataFrame:
    """The noise between seeds at each number of experts: sparse models scatter more than dense ones.

    Args:
        runs: finished runs.
        point: columns that seeds share.

    Returns:
        By ``n_experts``: ``freedom`` (degrees of freedom) and ``noise``, the standard deviation of one run in nats per
        token; with fewer than four degrees of freedom that of all runs together. NaN where nothing has two seeds.
    """
    spread = seed_spread(runs, point)
    together = pooled_noise(spread)
    rows = {}
    for count in sorted(runs["n_experts"].unique()):
        here = spread[spread["n_experts"] == count]
        freedom = int((here["seeds"] - 1).sum())
        rows[int(count)] = (freedom, pooled_noise(here) if freedom >= _FREEDOM else together)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["freedom", "noise"]).rename_axis("n_experts")


def dense_runs(runs: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The runs with the losses of their budget's dense curve in the active size, and noise by number of experts.

    Args:
        runs: finished runs with ``budget``, ``active_params``, ``sparsity``, ``n_experts`` and ``loss``.
        seed: of the noise.
    """
    curves = {budget: _dense_curve(group) for budget, group in runs.groupby("budget")}
    pairs = zip(runs["budget"], np.log(runs["active_params"].to_numpy(float)), strict=True)
    level = np.array([curves[budget](size) for budget, size in pairs])
    return runs.assign(loss=level + _noise(runs, runs["loss"].to_numpy(float) - level, seed, _POINT))


def dense_cells(runs: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The runs with the mean loss of the dense runs of their width and tokens, and noise by number of experts.

    Args:
        runs: finished runs with ``planned`` tokens, as ``measured.experts.with_plan`` returns them.
        seed: of the noise.
    """
    cell = [CELL[0], "planned"]
    dense = runs[runs["n_experts"] == 1].groupby(cell)["loss"].mean().rename("dense")
    level = runs[cell].join(dense, on=cell)["dense"].to_numpy(float)
    away = runs["loss"].to_numpy(float) - level
    return runs.assign(loss=level + _noise(runs, away, seed, (*cell, "n_experts")))


def placebo_probes(probes: pd.DataFrame, seed: int, penalty: float = 0.0) -> pd.DataFrame:
    """Probes whose values are one curve in the loss, with the models' own scatter, its sign drawn model by model.

    Args:
        probes: what ``runs.probed.read_probes`` returns.
        seed: of the signs: one a model, for what moves it on one probe moves it on others.
        penalty: effect that is put in: the sparsest models do as dense ones of so much higher a loss, nats.
    """
    names = sorted(probes["run"].unique())
    signs = dict(zip(names, np.random.default_rng(seed).choice([-1.0, 1.0], len(names)), strict=True))
    made = []
    for _, rows in probes.groupby(["probe", "domain", "metric"], sort=False):
        loss, value = rows["loss"].to_numpy(float), rows["value"].to_numpy(float)
        nats, idle = loss - loss.mean(), -np.log1p(-rows["sparsity"].to_numpy(float))
        curve, line = (least_squares(nats[:, None] ** np.arange(p + 1), value) for p in (2, 1))
        if curve is None or line is None:
            made.append(rows)
            continue
        put_in = penalty * line.weights[1] * idle / max(idle.max(), 1e-9)
        new = value - curve.residual + rows["run"].map(signs).to_numpy(float) * curve.residual + put_in
        moved = zip(rows["parts"], new - value, strict=True)
        made.append(rows.assign(value=new, parts=[_moved(parts, by) for parts, by in moved]))
    return pd.concat(made).loc[probes.index]


def placebo_studies(study: Study, count: int, bootstrap: int, seed: int = 0) -> dict[str, list[Study]]:
    """The placebos of a study, by kind.

    Args:
        study: of runs.
        count: how many draws of the noise.
        bootstrap: refits of each surface.
        seed: of the draws.
    """
    draws = range(1 + seed, 1 + seed + count)
    found = {"dense curve": [_dense_study(study, k, bootstrap) for k in draws]}
    return found | (placebo_probe_studies(study, count, seed) if study.probes is not None else {})


def placebo_probe_studies(study: Study, count: int, seed: int = 0) -> dict[str, list[Study]]:
    """The placebos of a study's probes alone, by kind.

    Args:
        study: with probes.
        count: how many draws of the signs.
        seed: of the draws.
    """
    assert study.probes is not None, "a study without probes has no placebo of them"
    found = {}
    for kind, penalty in (("one curve in the loss", 0.0), ("an effect put in", PUT_IN)):
        made = ((k, placebo_probes(study.probes, k, penalty)) for k in range(1 + seed, 1 + seed + count))
        found[kind] = [replace(study, name=f"placebo {k}", surfaces={}, landscapes=(), probes=each) for k, each in made]
    return found


def _dense_study(study: Study, draw: int, bootstrap: int) -> Study:
    runs = dense_runs(study.runs, draw)
    made = study_of_runs(f"placebo {draw}", runs, bootstrap, draw, study.held_out, None, study.design)
    return replace(made, every=dense_runs(study.every, draw))


def _dense_curve(runs: pd.DataFrame) -> Callable[[float], float]:
    """Loss of a budget's least sparse models as a polynomial in ln N_a, of the degree that predicts left-out runs."""
    dense = runs[runs["sparsity"] == runs["sparsity"].min()]
    log_n, loss = np.log(dense["active_params"].to_numpy(float)), dense["loss"].to_numpy(float)
    centre = float(log_n.mean())
    sizes = len(np.unique(log_n.round(6)))
    designs = [(log_n - centre)[:, None] ** np.arange(p + 1) for p in (1, 2, 3) if p == 1 or sizes > p + 1]
    fits = [fit for fit in (least_squares(design, loss) for design in designs) if fit is not None]
    if not fits:
        mean = float(loss.mean())
        return lambda x: mean
    best = min(fits, key=lambda fit: float(np.mean(fit.left_out**2)))
    return lambda x: float(np.polynomial.polynomial.polyval(x - centre, best.weights))


def _noise(runs: pd.DataFrame, away: Array, seed: int, point: tuple[str, ...]) -> Array:
    """Normal noise of each run by its number of experts; without seeds anywhere, as large as runs lie off the level."""
    spread = runs["n_experts"].map(noise_by_experts(runs, point)["noise"]).to_numpy(float)
    return np.random.default_rng(seed).normal(size=len(runs)) * np.where(np.isnan(spread), away.std(), spread)


def _moved(parts: Any, by: float) -> Any:
    if not isinstance(parts, str) or not parts:
        return parts
    return json.dumps([value + by for value in json.loads(parts)])
