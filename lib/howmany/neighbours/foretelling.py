"""The chapter on foretelling what a model can do: errors of each way, the lines behind them, and verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.downstream import compare_at_equal_loss, equal_loss, pool
from howmany.figures.interval_rows import interval_rows
from howmany.neighbours.forecasting import WAYS, Scores, curvature, forecasts, mean_errors, scores_of
from howmany.neighbours.words import Found, verdicts, words
from howmany.verdict import Finding, Judged, finding
from moelaws.charts.tables import readable
from moelaws.stages import counted

_ENDS = (0.025, 0.975)
"""Quantiles of a 95 % interval."""

READING = ("recall", "mention", "same words", "same order")


@dataclass(frozen=True)
class Foretold:
    """Forecasts of the largest models' scores.

    Attributes:
        scores: of all models.
        table: forecasts, one row a way, probe and number of experts.
        errors: way -> mean relative error, the first of 1 + B, the others of what chance could have given.
        quadratic: what a quadratic takes off the straight line's error, likewise.
    """

    scores: Scores
    table: pd.DataFrame
    errors: dict[str, np.ndarray]
    quadratic: np.ndarray


def foretell(probes: pd.DataFrame, refits: int, seed: int) -> Foretold:
    """Fit below the largest budget, and look at it.

    Args:
        probes: what ``runs.read_probes`` returns.
        refits: how often models and questions are drawn again.
        seed: of the draws.
    """
    return _foretell(scores_of(probes), refits, np.random.default_rng(seed), "drawing models and questions again")


def _foretell(scores: Scores, refits: int, rng: np.random.Generator, words: str) -> Foretold:
    table = forecasts(scores)
    every = [scores, *(scores.drawn(rng) for _ in counted(range(refits), words, refits))]
    errors = [mean_errors(table if each is scores else forecasts(each)) for each in every]
    by_way = {way: np.array([each[way] for each in errors]) for way in WAYS}
    return Foretold(scores, table, by_way, np.array([curvature(each) for each in every]))


def error_table(found: Foretold) -> pd.DataFrame:
    """Mean and median error of each way, in percent of the score."""
    median = found.table.groupby("way")["error"].median()
    rows = [
        (way, WAYS[way], 100 * errors[0], *(100 * np.quantile(errors[1:], _ENDS)), 100 * median[way])
        for way, errors in found.errors.items()
    ]
    columns = ["way", "how", "mean error %", "from", "to", "median %"]
    return readable(pd.DataFrame(rows, columns=columns).set_index("way"), "{:.1f}")


def error_figure(found: Foretold) -> alt.LayerChart:
    """The same as points with intervals; guessing is left out, being far off."""
    rows = [
        (way, "knows no law" if way == "no change" else "forecast", errors[0], *np.quantile(errors[1:], _ENDS))
        for way, errors in found.errors.items()
        if way != "chance"
    ]
    table = pd.DataFrame(rows, columns=["name", "kind", "value", "low", "high"])
    best = min((way for way in found.errors if way != "chance"), key=lambda way: found.errors[way][0])
    return interval_rows(
        table,
        unit="mean error, as a share of the score",
        title=f"Least off: {best}, by {found.errors[best][0]:.0%} of the score",
        description="Mean relative error of the forecast scores of the largest models, a row a way, with 95 % "
        "intervals.",
        form="%",
    )


def findings(found: Foretold) -> Found:
    """What the claims are judged by, from forecasts alone."""
    errors, where = found.errors, "1e13 FLOPs"
    steps = errors["two steps"]
    return {
        "two_step_gain": [finding(where, steps - errors["one step"])],
        "two_step_error": [finding(where, steps)],
        "quadratic_gain": [finding("below 1e13", found.quadratic)],
        "domain_gain": [finding(where, errors["two steps, by domain"] - steps)],
        "direct_gain": [finding(where, errors["one step, power law"] - steps)],
    }


def judged(found: Foretold, probes: pd.DataFrame, claims_file: str, placebos: int, refits: int) -> list[Judged]:
    """The verdicts, beside those of runs whose scores were exchanged.

    Args:
        found: the forecasts.
        probes: for the offset between dense and sparse models at equal loss.
        claims_file: of the paper.
        placebos: how often scores are exchanged among the models below the largest budget.
        refits: of each.
    """
    rng = np.random.default_rng(0)
    exchanged: list[dict[str, Sequence[Finding]]] = [
        dict(findings(_foretell(found.scores.exchanged(rng), refits, rng, "a placebo's draws")))
        for _ in range(placebos)
    ]
    for number, each in enumerate(exchanged, start=1):
        each["line_offset"] = [_offset(_relabelled(probes, np.random.default_rng(number)))]
    all_found = {**findings(found), "line_offset": [_offset(probes)]}
    return verdicts(claims_file, all_found, "runs below 1e13 FLOPs", exchanged)


def numbers(found: Foretold, made: list[Judged]) -> dict[str, Any]:
    """Numbers and words for the sentences."""
    table, said = found.table, words(made)
    losses = table.drop_duplicates("n_experts")
    off = (losses["forecast_loss"] - losses["loss"]).to_numpy(float)
    errors = {way: 100 * values[0] for way, values in found.errors.items()}
    ends = {way: 100 * np.quantile(values[1:], _ENDS) for way, values in found.errors.items()}
    ranges = {
        f"ft_{key}_range": f"{errors[way]:.1f} % [{ends[way][0]:.1f}, {ends[way][1]:.1f}]"
        for key, way in (("two", "two steps"), ("one", "one step"), ("same", "no change"))
    }
    return ranges | {
        "ft_models": f"{len(found.scores.loss_M)}",
        "ft_targets": f"{len(losses)}",
        "ft_probes": f"{len(found.scores.names)}",
        "ft_two": f"{errors['two steps']:.1f}",
        "ft_domain": f"{errors['two steps, by domain']:.1f}",
        "ft_one": f"{errors['one step']:.1f}",
        "ft_power": f"{errors['one step, power law']:.1f}",
        "ft_same": f"{errors['no change']:.1f}",
        "ft_chance": f"{errors['chance']:.0f}",
        "ft_off_dense": f"{off[0]:+.3f}",
        "ft_off_sparse": f"{off[-1]:+.3f}",
        "ft_bent": f"{100 * found.quadratic[0]:.0f}",
        "ft_word_two": said["two-step-wins"],
        "ft_word_direct": said["direct-power-law"],
        "ft_word_linear": said["linear"],
        "ft_word_domain": said["domains-beat-mean"],
    }


def _relabelled(probes: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The probes with numbers of experts exchanged between the models of a budget."""
    runs = probes.drop_duplicates("run").set_index("run")
    labels = runs.groupby("budget")["n_experts"].transform(lambda group: rng.permutation(group.to_numpy()))
    return probes.assign(n_experts=probes["run"].map(labels))


def _offset(probes: pd.DataFrame) -> Finding:
    """What the most experts cost at equal loss, all that was learned together, in nats."""
    asked = probes[(probes["metric"] == "accuracy") & ~probes["probe"].isin(READING)]
    together = equal_loss(pool(asked, compare_at_equal_loss(asked), "knowing"))
    low, high = sorted((together.penalty_low, together.penalty_high))
    return Finding("all probes", together.penalty, low, high, "nats")
