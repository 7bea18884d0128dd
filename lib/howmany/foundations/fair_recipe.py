"""Is one recipe fair to all models: learning rates, batches, points where the rule was not made, and chance."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from scipy.stats import f

from howmany.figures.recipe_settings import loss_by_setting
from howmany.settings import changed, tune
from howmany.study import budget_label
from moelaws.charts.losses import budget_name
from moelaws.charts.tables import readable
from moelaws.runs import finished, pooled_noise, read_runs, seed_spread
from moelaws.runs.seeds import pooled_variance
from moelaws.training.recipe import batch_sequences, learning_rate

POINT = ("corpus", "budget", "d_model", "n_experts")
"""Columns that identify a point of the design."""
_TEXTS = {"sotu": "speeches", "sotu+docstrings": "English and code", "zipf-markov": "synthetic language"}
NEEDED = (*POINT, "loss", "seed", "tokens", "batch_sequences", "context", "learning_rate")


def runs_of(files: Sequence[str]) -> pd.DataFrame:
    """The finished runs of several tables, with what a recipe is judged by."""
    return pd.concat([finished(read_runs(file, required=NEEDED)) for file in files])


def rate_table() -> pd.DataFrame:
    """The recipe's learning rate by steps and number of experts."""
    return pd.DataFrame(
        {
            f"E = {e}": {f"{steps} steps": round(learning_rate(e, steps), 5) for steps in (750, 1500, 3000)}
            for e in (1, 2, 4, 8, 64)
        }
    )


def batch_table() -> pd.DataFrame:
    """The recipe's batch by budget."""
    batches = {budget_name(c): batch_sequences(c) for c in (1e11, 3e11, 1e12, 3e12, 1e13)}
    return pd.Series(batches, name="sequences in a batch").to_frame()


def with_rates(rates: pd.DataFrame) -> pd.DataFrame:
    """Runs that varied the learning rate, with the ``chosen`` one."""
    chosen = [learning_rate(e, steps) for e, steps in zip(rates["n_experts"], _steps(rates), strict=True)]
    return rates.assign(chosen=chosen)


def with_batches(batches: pd.DataFrame) -> pd.DataFrame:
    """Runs that varied the batch, with the ``chosen`` one."""
    return batches.assign(chosen=[batch_sequences(c) for c in batches["budget"]])


def rate_figure(rates: pd.DataFrame) -> alt.LayerChart:
    """Loss against learning rate at every point."""
    return loss_by_setting(
        rates,
        "learning_rate",
        "chosen",
        ["n_experts", "d_model", "budget"],
        "learning rate",
        "At every width and every E the loss is lowest near the recipe's rate",
        "Curves of loss against learning rate, each a valley whose floor lies near the recipe's rate, the dashed line.",
    )


def batch_figure(batches: pd.DataFrame) -> alt.LayerChart:
    """Loss against batch at every point."""
    return loss_by_setting(
        batches,
        "batch_sequences",
        "chosen",
        ["n_experts", "budget"],
        "batch",
        "Neither half nor twice the recipe's batch is better, except by chance",
        "Curves of loss against batch size at three budgets and three numbers of experts, flat near the recipe's "
        "batch.",
    )


def tuned_rates(rates: pd.DataFrame) -> pd.DataFrame:
    """The best rate at every point, over the recipe's."""
    return tune(rates, "learning_rate", "chosen", ["budget", "d_model", "n_experts"])


def tuned_batches(batches: pd.DataFrame) -> pd.DataFrame:
    """The best batch at every point, over the recipe's."""
    return tune(batches, "batch_sequences", "chosen", ["budget", "n_experts"])


def tuned_table(tuned: pd.DataFrame) -> pd.DataFrame:
    """The best values with their intervals, and what the recipe gives away."""
    interval = [f"{low:.2f} to {high:.2f}" for low, high in zip(tuned["best_low"], tuned["best_high"], strict=True)]
    table = tuned.assign(budget=tuned["budget"].map(budget_name), interval=interval)
    table = table.set_index([name for name in ("budget", "d_model", "n_experts") if name in table])
    table.index = table.index.rename({"d_model": "width", "n_experts": "experts"})
    names = {"regret": "given away, nats", "regret_se": "standard error"}
    shown = table[["best", "interval", *names]].rename(columns=names)
    return readable(shown, "{:.3f}", {"best": "{:.2f}"})


def tuned_numbers(tuned: pd.DataFrame, limit: float, begin: str) -> dict[str, Any]:
    """At how many points the recipe gives away no more than a limit (nats), and the worst.

    Args:
        tuned: the best values.
        limit: what may be given away.
        begin: how the names begin, ``rate`` or ``batch``.
    """
    worst = tuned.loc[tuned["regret"].idxmax()]
    width = f"d = {worst['d_model']:.0f}, " if "d_model" in tuned else ""
    return {
        f"{begin}_points": len(tuned),
        f"{begin}_good": int((tuned["regret"] <= limit).sum()),
        f"{begin}_worst": f"{tuned['regret'].max():.3f}",
        f"{begin}_worst_at": f"{budget_name(worst['budget'])}, {width}E = {worst['n_experts']:.0f}",
    }


def rate_numbers(tuned: pd.DataFrame, rates: pd.DataFrame) -> dict[str, Any]:
    """The best rate with the most experts over the dense model's, in the mean over budgets and widths.

    Args:
        tuned: what ``tuned_rates`` returns.
        rates: the runs, with the ``chosen`` rate.
    """
    place = ["budget", "d_model"]
    chosen = rates.groupby([*place, "n_experts"], as_index=False)["chosen"].mean()
    table = tuned.merge(chosen, on=[*place, "n_experts"])
    # The limits lie at two standard errors on either side.
    error = np.log(table["best_high"] / table["best_low"]) / 4
    table = table.assign(best=np.log(table["best"] * table["chosen"]), variance=error**2).set_index(place)
    most = int(table["n_experts"].max())
    one, many = (table[table["n_experts"] == experts][["best", "variance"]] for experts in (1, most))
    apart = (many["best"] - one["best"]).dropna()
    mean, reach = apart.mean(), 1.96 * np.sqrt((many["variance"] + one["variance"]).sum()) / len(apart)
    value, low, high = np.exp([mean, mean - reach, mean + reach])
    return {"rate_most": most, "rate_ratio": f"{value:.2f} [{low:.2f}, {high:.2f}]"}


def batch_numbers(batches: pd.DataFrame) -> dict[str, Any]:
    """What twice the recipe's batch costs each number of experts, in the mean over budgets."""
    table = batches.assign(octaves=np.log2(batches["batch_sequences"] / batches["chosen"]).round(6))
    cells = table.groupby(["n_experts", "budget", "octaves"])["loss"].agg(["mean", "var", "size"]).unstack()
    cost = (cells["mean"][1.0] - cells["mean"][0.0]).groupby("n_experts")
    noise = pooled_variance(cells["var"].stack(), cells["size"].stack() - 1)
    error = np.sqrt(noise * (1 / cells["size"][1.0] + 1 / cells["size"][0.0]).groupby("n_experts").sum()) / cost.size()
    said = [f"{mean:.3f} with {experts}" for experts, mean in cost.mean().items()]
    said[0] += " expert"
    return {"batch_cost": f"{', '.join(said[:-1])} and {said[-1]}", "batch_cost_se": f"{error.max():.3f}"}


_CHECKED = ("learning_rate", "batch_sequences")


def checked(checks: pd.DataFrame, study: pd.DataFrame) -> pd.DataFrame:
    """What changed settings do at points where the rule was not made."""
    return changed(checks, study, _CHECKED, POINT)


def at_recipe(runs: pd.DataFrame, study: pd.DataFrame) -> "pd.Series[bool]":
    """Which runs have the rate and the batch that the study's have at their point: other seeds of it, and no checks."""
    known = study.drop_duplicates([*POINT])[[*POINT, *_CHECKED]]
    both = runs.merge(known, "left", [*POINT], suffixes=("", "_study"), validate="m:1")
    same = [np.isclose(both[name], both[f"{name}_study"], rtol=1e-6) for name in _CHECKED]
    return pd.Series(np.logical_and.reduce(same), index=runs.index, dtype=bool)


def check_numbers(moved: pd.DataFrame, limit: float) -> dict[str, Any]:
    """At how many of these points nothing better was found, and the worst."""
    lowest = moved.loc[moved.groupby([*POINT])["difference"].idxmin()]
    fair = lowest.assign(fair=lowest["difference"] >= -limit)
    by_text = fair.groupby("corpus")["fair"].agg(["sum", "size"])
    worst = lowest.loc[lowest["difference"].idxmin()]
    word = {"learning_rate": "rate", "batch_sequences": "batch"}[worst["setting"]]
    return {
        "limit": limit,
        "checks_points": len(lowest),
        "checks_fair": int(fair["fair"].sum()),
        "checks_worst": f"{-lowest['difference'].min():.3f}",
        "checks_worst_at": f"{worst['factor']:g} times the {word}, at {budget_name(worst['budget'])}, "
        f"d = {worst['d_model']:.0f}, E = {worst['n_experts']:.0f} on {_text(worst['corpus'])}",
        "checks_by_text": "; ".join(f"{_text(t)}: {row['sum']} of {row['size']}" for t, row in by_text.iterrows()),
        "checks_se": f"{moved['se'].max():.3f}",
    }


def evidence_numbers(tables: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """The largest budget, and the fewest and the most steps, of any run that speaks for the recipe."""
    runs = pd.concat(tables)
    steps = _steps(runs)
    return {
        "evidence_budget": budget_label(runs["budget"].max()),
        "evidence_low": f"{steps.min():,.0f}",
        "evidence_high": f"{steps.max():,.0f}",
    }


def noise_table(spread: pd.DataFrame) -> pd.DataFrame:
    """Standard deviation over seeds, pooled by text and budget."""
    rows = []
    for (corpus, budget), group in spread.groupby(["corpus", "budget"]):
        rows.append((_text(corpus), budget_name(budget), f"{pooled_noise(group):.3f}", len(group)))
    columns = ["text", "C", "standard deviation over seeds (nats per token)", "points"]
    return pd.DataFrame(rows, columns=columns).set_index(["text", "C"])


def noise_by_experts(study: pd.DataFrame) -> pd.DataFrame:
    """Mean standard deviation over seeds, by text and number of experts."""
    table = seed_spread(study).groupby(["corpus", "n_experts"])["std"].mean().unstack().map("{:.3f}".format)
    return table.rename(index=_text).rename_axis("text").set_axis([f"E = {n}" for n in table.columns], axis="columns")


def noise_numbers(study: pd.DataFrame) -> dict[str, Any]:
    """The noise of mixtures over that of dense models, on the text with the most points, with its interval."""
    spread = seed_spread(study)
    corpus = spread["corpus"].value_counts().idxmax()
    spread = spread[spread["corpus"] == corpus]
    sides = [spread[spread["n_experts"] > 1], spread[spread["n_experts"] == 1]]
    mixed, dense = (int((side["seeds"] - 1).sum()) for side in sides)
    ratio = pooled_noise(sides[0]) / pooled_noise(sides[1])
    low, high = (ratio / np.sqrt(f.ppf(q, mixed, dense)) for q in (0.975, 0.025))
    return {"noise_text": _text(corpus), "noise_ratio": f"{ratio:.1f} [{low:.1f}, {high:.1f}]"}


def _text(corpus: Any) -> str:
    """A corpus as a sentence calls it; one of the reader's own keeps its name."""
    return _TEXTS.get(str(corpus), str(corpus))


def _steps(runs: pd.DataFrame) -> "pd.Series[float]":
    return runs["tokens"] / (runs["batch_sequences"] * runs["context"])
