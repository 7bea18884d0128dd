"""The findings of the front page, each a table behind a picture and the numbers of its sentence."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from howmany.budget_optima import Landscape
from howmany.granularity.expert_designs import PLAIN, at_one_budget
from howmany.measured.own_law import laws_on_trial
from howmany.pairs import at_equal_size
from howmany.serving.wall_clock import Track, worth_rows
from howmany.study import Study, budget_label
from howmany.verdicts.multiplier import multiplier_path
from howmany.yun import Setting, same_loss_cost, settings, top_k
from moelaws.fitting.fit import fit
from moelaws.optimum.forecaster import Forecaster
from moelaws.runs import pooled_noise, seed_spread

LAWS = {"Abnar, on N": "Eq. 6", "Abnar, N in the data term": "mended"}
"""Laws of the chapter on our own law -> what the front page calls them."""

MEASURED = "measured"
DESIGNS = {PLAIN: "1 whole", "K = 4, G = 4": "4 quarters"}
"""Designs of one size -> the experts that work on a token, in words."""

_LEVEL = (0.025, 0.975)


@dataclass(frozen=True)
class Finding:
    """A finding.

    Attributes:
        table: what its picture shows.
        numbers: what its sentence says, by the name that the text has for it.
    """

    table: pd.DataFrame
    numbers: dict[str, Any]


def recorded_runs(folder: str) -> int:
    """How many finished training runs the tables of a folder hold; one that stands in two of them counts once."""
    wanted = ["run_id", "device", "status"]
    rows = pd.concat(pd.read_csv(path, usecols=wanted) for path in sorted(Path(folder).glob("*.csv")))
    return len(rows[rows["status"] == "finished"].drop_duplicates())


def best_experts(study: Study) -> Finding:
    """The number of experts with the lowest loss at each budget, with the share of refits behind its interval.

    The table has a row a budget and number of experts: ``change``, the lowest loss less the dense model's; at the best
    of them ``low`` and ``high``, the ends of its interval among the numbers tried.
    """
    tables, ends = [], []
    for each in study.landscapes:
        experts, losses = _experts(each), each.lowest.loss
        best = experts[np.argmin(losses, axis=0)]
        low, high = np.quantile(best[1:], _LEVEL, method="nearest")
        table = pd.DataFrame({"budget": each.budget, "n_experts": experts, "change": losses[:, 0] - losses[0, 0]})
        at = table["n_experts"] == best[0]
        tables.append(table.assign(low=np.where(at, low, np.nan), high=np.where(at, high, np.nan)))
        ends.append((budget_label(each.budget), f"{best[0]}", f"[{low} to {high}]"))
    names = ("budget", "best", "range")
    numbers = {
        f"fr_{place}_{name}": value
        for place, values in (("first", ends[0]), ("last", ends[-1]))
        for name, value in zip(names, values, strict=True)
    }
    return Finding(pd.concat(tables, ignore_index=True), numbers | {"fr_most": f"{_experts(study.landscapes[-1])[-1]}"})


def same_loss(study: Study) -> Finding:
    """What the sparsest models are worth in training FLOPs, at the loss of the dense model of the largest budget.

    The table has ``budget`` and the lowest ``loss`` of both, by ``n_experts``, and what the sparsest are ``worth``.
    """
    largest = study.landscapes[-1].budget
    places, logs = multiplier_path(study, largest)
    most, known = round(float(np.exp(places[-1]))), logs[-1][~np.isnan(logs[-1])]
    low, high = np.exp(np.quantile(known[1:], _LEVEL))
    worth = float(np.exp(known[0]))
    table = pd.DataFrame(
        {"n_experts": count, "budget": each.budget, "loss": _lowest(each, count)}
        for each in study.landscapes
        for count in (1, most)
    )
    numbers = {
        "fr_worth": f"{worth:.2f}",
        "fr_worth_range": f"[{low:.2f} to {high:.2f}]",
        "fr_worth_experts": f"{most}",
    }
    return Finding(table.assign(worth=worth), numbers)


def foreseen(study: Study, runs: pd.DataFrame, starts: int) -> Finding:
    """What experts gain at the largest budget, beside what laws fitted to all smaller budgets foresee.

    A law's gain is between its own best models among those that were run. The table has ``n_experts``, ``gain``
    (nats), ``source``, and for the measured ones ``low`` and ``high``.

    Args:
        study: the surfaces.
        runs: the runs as the chapter on our own law keeps them.
        starts: of each fit.
    """
    largest = study.landscapes[-1]
    experts, losses = _experts(largest), largest.lowest.loss
    gains = losses[0] - losses
    low, high = np.quantile(gains[:, 1:], _LEVEL, axis=1)
    tables = [pd.DataFrame({"source": MEASURED, "n_experts": experts, "gain": gains[:, 0], "low": low, "high": high})]
    trial, said = laws_on_trial(), {}
    unseen = runs[runs["budget"] == largest.budget]
    for name, words in LAWS.items():
        law = fit(trial[name].law, runs[runs["budget"] < largest.budget], starts=starts, **trial[name].options)
        best = unseen.assign(loss=law.predict(unseen)).groupby("n_experts")["loss"].min()
        gain = best.iloc[0] - best
        tables.append(pd.DataFrame({"source": words, "n_experts": gain.index, "gain": gain.to_numpy()}))
        said[words] = f"{gain.iloc[-1]:.3f}"
    numbers = {
        "fr_gain": f"{gains[-1, 0]:.3f}",
        "fr_gain_range": f"[{low[-1]:.3f} to {high[-1]:.3f}]",
        **dict(zip(("fr_law", "fr_mended"), said.values(), strict=True)),
    }
    return Finding(pd.concat(tables, ignore_index=True), numbers)


def in_seconds(track: Track, experts: int = 16) -> Finding:
    """What experts are worth in equal FLOPs and in equal seconds of a device, by budget, as the law has it.

    The table has ``budget``, ``in equal`` (FLOPs or seconds), ``worth``, ``low`` and ``high``.

    Args:
        track: the device, with its race.
        experts: E.
    """
    table = worth_rows([track], [experts])
    numbers: dict[str, Any] = {"fr_clock_experts": f"{experts}", "fr_clock_device": track.name}
    for place, budget in (("first", table["budget"].min()), ("last", table["budget"].max())):
        numbers[f"fr_clock_{place}_budget"] = budget_label(budget)
        for _, row in table[table["budget"] == budget].iterrows():
            key = f"fr_clock_{place}_{str(row['in equal']).lower()}"
            numbers[key] = f"{row['worth']:.2f}"
            numbers[f"{key}_range"] = f"[{row['low']:.2f} to {row['high']:.2f}]"
    return Finding(table, numbers)


def finer(every: pd.DataFrame) -> Finding:
    """What quarters of experts change at the largest budget at which they were tried, at equal active size.

    The table has the lowest mean loss over widths by ``experts`` (in words) and ``idle``, 1 / (1 - S), with ``low`` and
    ``high`` from the noise between seeds.

    Args:
        every: finished runs of all designs.
    """
    quarters = (every["top_k"] == 4) & (every["granularity"] == 4)
    budget = every.loc[quarters, "budget"].max()
    both = at_one_budget(every, budget)
    both = both[both["design"].isin(DESIGNS)]
    means = at_equal_size(both, "design", PLAIN)
    finest = means[means["sparsity"].isna() & (means["design"] == list(DESIGNS)[-1])].iloc[0]
    points = both.groupby(["design", "sparsity", "d_model"])["loss"].agg(["mean", "size"]).reset_index()
    best = points.loc[points.groupby(["design", "sparsity"])["mean"].idxmin()]
    reach = 1.96 * pooled_noise(seed_spread(both)) / np.sqrt(best["size"])
    shown = pd.DataFrame(
        {
            "experts": best["design"].map(DESIGNS),
            "idle": (1 / (1 - best["sparsity"])).round(),
            "loss": best["mean"],
            "low": best["mean"] - reach,
            "high": best["mean"] + reach,
        }
    )
    numbers = {
        "fr_finer_budget": budget_label(budget),
        "fr_finer": f"{-finest['difference']:.3f}",
        "fr_finer_range": f"[{-finest['high']:.3f} to {-finest['low']:.3f}]",
    }
    return Finding(shown, numbers)


def served(budget: float, base: int, experts: int) -> Finding:
    """The price of the base's loss, from many experts and from few, under one law and the central assumptions.

    The table has ``dollars`` a million tokens and ``loss`` along the sizes of each number of experts, up to its
    loss-optimal one, the last row of each.

    Args:
        budget: training FLOPs.
        base: experts of the model whose loss is kept.
        experts: of the other.
    """
    setting = settings(Forecaster("abnar2025"))["central"]
    optimum = setting.optimal(budget, base)
    price, share = 1e6 * optimum.serving.dollars_per_token, same_loss_cost(setting, budget, base, experts)
    table = pd.concat((_prices(setting, budget, e) for e in (base, experts)), ignore_index=True)
    kept = {"kept": optimum.allocation.loss, "price": price, "less": price * share}
    return Finding(table.assign(**kept), {"fr_share": f"{share:.0%}"})


def _prices(setting: Setting, budget: float, n_experts: int) -> pd.DataFrame:
    forecaster = setting.trade.forecaster
    sizes = setting.optimal(budget, n_experts).size * np.geomspace(0.12, 1, 24)
    params = {name: values[:1] for name, values in forecaster.rows().items()}
    dollars = 1e6 * setting.trade.serving(sizes, n_experts, top_k(n_experts)).dollars_per_token
    loss = np.ravel(forecaster.run(params, sizes[None], n_experts, top_k(n_experts), budget)["loss"])
    table = pd.DataFrame({"n_experts": n_experts, "dollars": dollars, "loss": loss})
    return table[np.isfinite(table["dollars"])]


def _experts(each: Landscape) -> np.ndarray:
    return np.exp(each.lowest.along).round().astype(int)


def _lowest(each: Landscape, count: int) -> float:
    """The lowest loss with a number of experts."""
    return float(each.lowest.loss[int(np.argmin(np.abs(_experts(each) - count))), 0])
