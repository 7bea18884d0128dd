"""The chapter on repeated text: what reading again costs by number of experts, and who can bear it longer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from howmany.neighbours.words import Found, verdicts
from howmany.verdict import Finding, Judged, finding
from moelaws.charts.theme import QUIET, expert_scale
from moelaws.fitting.least_squares import Array
from moelaws.runs import finished, read_runs

NEEDED = ("loss", "train_loss", "n_experts", "epochs", "seed", "unique_tokens", "tokens", "total_params")
THRESHOLDS = (0.05, 0.5)
"""Costs of repeating, in nats, at which the readings that a model bears are counted."""
_LEVEL = (0.025, 0.975)


@dataclass(frozen=True, eq=False)
class Repeats:
    """Losses at equal FLOPs by number of experts and readings, and draws of their means.

    Attributes:
        runs: the finished runs.
        experts: E, rising.
        epochs: readings, rising.
        loss: mean over seeds, E x epochs x (1 + B); the draws by the noise of each number of readings.
        gap: loss on held-out text less that on the last tenth of the training text, likewise.
        noise: standard deviation of one run at each number of readings, pooled over E, nats.
    """

    runs: pd.DataFrame
    experts: list[int]
    epochs: list[int]
    loss: Array
    gap: Array
    noise: Array

    def cost(self, row: int) -> Array:
        """Loss less that of the text read once, epochs x (1 + B)."""
        return self.loss[row] - self.loss[row, :1]

    def borne(self, row: int, threshold: float) -> Array:
        """Readings at which the cost reaches a threshold, 1 + B; between those tried straight in log2, capped there."""
        return _crossing(np.log2(self.epochs), self.cost(row), threshold)

    def gain_ends(self, row: int) -> Array:
        """Readings at which a mixture is no better than the dense model, 1 + B."""
        return _crossing(np.log2(self.epochs), self.loss[row] - self.loss[0], 0.0)


def repeats(runs_file: str, draws: int) -> Repeats:
    """Read the sweep; every number of experts must have every number of readings, with two seeds or more.

    Args:
        runs_file: its table.
        draws: behind each interval.
    """
    runs = finished(read_runs(runs_file, required=NEEDED))
    runs = runs.assign(reading=runs["epochs"].round().astype(int), gap=runs["loss"] - runs["train_loss"])
    groups = runs.groupby(["n_experts", "reading"])
    means, spread = groups[["loss", "gap"]].mean(), groups[["loss", "gap"]].var()
    seeds = groups.size().unstack()
    if seeds.isna().any().any() or seeds.min().min() < 2:
        raise ValueError("repeats: expected every E at every number of readings with two seeds or more")
    rng = np.random.default_rng(0)
    free = (seeds - 1).sum().to_numpy(float)
    shared = np.sqrt(free[:, None] / rng.chisquare(free[:, None], (len(free), draws)))
    drawn = {}
    for name in ("loss", "gap"):
        mean, variance = means[name].unstack().to_numpy(), spread[name].unstack()
        noise = np.sqrt(((variance * (seeds - 1)).sum() / (seeds - 1).sum()).to_numpy(float))
        step = noise[:, None] * shared / np.sqrt(seeds.to_numpy()[..., None]) * rng.normal(size=(*mean.shape, draws))
        drawn[name] = np.concatenate([mean[..., None], mean[..., None] + step], axis=-1)
        if name == "loss":
            of_loss = noise
    counts = [int(each) for each in seeds.index], [int(each) for each in seeds.columns]
    return Repeats(runs, *counts, drawn["loss"], drawn["gap"], of_loss)


def _crossing(at: Array, values: Array, threshold: float) -> Array:
    """2 to the place where rows of values first rise to a threshold, straight between places, capped at the ends."""
    found = np.full(values.shape[1], 2.0 ** at[-1])
    for draw, line in enumerate(values.T):
        above = np.flatnonzero(line >= threshold)
        if len(above):
            i = int(above[0])
            share = 0.0 if i == 0 else (threshold - line[i - 1]) / (line[i] - line[i - 1])
            found[draw] = 2 ** (at[i] if i == 0 else at[i - 1] + share * (at[i] - at[i - 1]))
    return found


def cost_figure(found: Repeats) -> alt.LayerChart:
    """Loss against how often the text is read, a line a number of experts."""
    rows = []
    for row, count in enumerate(found.experts):
        for place, reading in enumerate(found.epochs):
            low, high = np.quantile(found.loss[row, place, 1:], _LEVEL)
            rows.append((count, reading, found.loss[row, place, 0], low, high))
    table = pd.DataFrame(rows, columns=["n_experts", "epochs", "loss", "low", "high"])
    base = alt.Chart(table).encode(
        x=alt.X("epochs:Q", title="times the text is read, at equal FLOPs")
        .scale(type="log", base=2, padding=12)
        .axis(values=found.epochs, grid=False),
        color=alt.Color("n_experts:O", title="E", scale=expert_scale(found.experts)).legend(symbolOpacity=1),
    )
    y = alt.Y("loss:Q", title="held-out loss (nats/token)").scale(zero=False)
    last = len(found.experts) - 1
    ends = finding("", found.gain_ends(last))
    return (
        base.mark_line().encode(y=y)
        + base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", title="held-out loss (nats/token)"), y2="high:Q")
        + base.mark_point(filled=True, size=55).encode(y=y, tooltip=["n_experts", "epochs", "loss", "low", "high"])
    ).properties(
        width="container", height=320,
        title=f"What {found.experts[last]} experts gain is gone after {ends.value:.1f} readings",
        description="Held-out loss against how often the text is read, a line for each number of experts. Up to two "
        "readings nearly flat, then rising steeply, and most steeply with many experts, which begin below the dense "
        "model and end far above it.",
    )  # fmt: skip


def gap_figure(found: Repeats) -> alt.LayerChart:
    """How far training text runs ahead of held-out text, less what it is after one reading."""
    rows = []
    for row, count in enumerate(found.experts):
        over = found.gap[row] - found.gap[row, :1]
        for place, reading in enumerate(found.epochs):
            low, high = np.quantile(over[place, 1:], _LEVEL)
            rows.append((count, reading, over[place, 0], low, high))
    table = pd.DataFrame(rows, columns=["n_experts", "epochs", "gap", "low", "high"])
    base = alt.Chart(table).encode(
        x=alt.X("epochs:Q", title="times the text is read").scale(type="log", base=2, padding=12).axis(
            values=found.epochs, grid=False
        ),
        color=alt.Color("n_experts:O", title="E", scale=expert_scale(found.experts)).legend(symbolOpacity=1),
    )  # fmt: skip
    name = "gap over one reading (nats)"
    zero = alt.Chart(table).mark_rule(color=QUIET, strokeDash=[4, 3]).encode(y=alt.datum(0))
    most = [found.gap[row, -1, 0] - found.gap[row, 0, 0] for row in (0, -1)]
    return (
        zero
        + base.mark_line().encode(y=alt.Y("gap:Q", title=name))
        + base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", title=name), y2="high:Q")
        + base.mark_point(filled=True, size=55).encode(y="gap:Q", tooltip=["n_experts", "epochs", "gap"])
    ).properties(
        width="container", height=260,
        title=f"Learnt by heart: the gap grows by {most[0]:.1f} nats dense, by {most[1]:.1f} with most experts",
        description="Held-out loss less training loss against how often the text is read, less its value after one "
        "reading: it grows with readings, and faster with more experts.",
    )  # fmt: skip


def cost_table(found: Repeats) -> pd.DataFrame:
    """What repeating costs over fresh text, nats, and the readings that are borne; a column a number of experts."""
    rows = []
    for row, count in enumerate(found.experts):
        cost = found.cost(row)
        words = {f"{reading} readings": _interval(cost[i], "{:+.2f}") for i, reading in enumerate(found.epochs) if i}
        borne = {f"readings to +{cut:g}": _interval(found.borne(row, cut), "{:.1f}") for cut in THRESHOLDS}
        rows.append({"": f"E = {count}", **words, **borne})
    return pd.DataFrame(rows).set_index("").T


def judged(found: Repeats, claims_file: str, placebos: int) -> list[Judged]:
    """The verdicts on who bears more readings, beside dense runs drawn again in the mixtures' place.

    Args:
        found: the runs.
        claims_file: claims of two papers.
        placebos: draws.
    """
    last = len(found.experts) - 1
    asked = [_quantities(found, _again(found, seed)) for seed in range(placebos)]
    return verdicts(claims_file, _quantities(found, found.loss[last]), "repeated program text", asked)


def _quantities(found: Repeats, mixture: Array) -> Found:
    """What is asked of a mixture, epochs x (1 + B), beside the dense model."""
    at = np.log2(found.epochs)
    cost = mixture - mixture[:1]
    tolerated = [
        finding(f"+{cut:g} nats", np.log(_crossing(at, cost, cut) / found.borne(0, cut)), "times") for cut in THRESHOLDS
    ]
    four = (
        finding("four readings", cost[found.epochs.index(4)], "nats")
        if 4 in found.epochs
        else Finding("", open="not tried")
    )
    return {"tolerated": tolerated, "four": [four]}


def _again(found: Repeats, seed: int) -> Array:
    """The dense means with the noise of two seeds, and draws about them."""
    rng = np.random.default_rng(100 + seed)
    noise = found.noise[:, None] / np.sqrt(2)
    mean = found.loss[0, :, :1] + noise * rng.normal(size=noise.shape)
    away = found.loss[0, :, 1:] - found.loss[0, :, :1]
    return np.concatenate([mean, mean + rng.permuted(away, axis=1)], axis=1)


def numbers(found: Repeats, said: Sequence[Judged]) -> dict[str, Any]:
    """Numbers and words for the sentences."""
    last, words = len(found.experts) - 1, {each.claim.key: each.text for each in said}
    cost = {row: found.cost(row) for row in (0, last)}
    near, far = found.epochs.index(2), len(found.epochs) - 1
    low, high = THRESHOLDS
    dense, mixed = (found.runs[found.runs["n_experts"] == found.experts[row]] for row in (0, last))
    ratio = float((dense["tokens"] / dense["total_params"]).max())
    times = _quantities(found, found.loss[last])["tolerated"]
    return {
        "rp_ratio": f"{ratio:.0f}", "rp_ratio_four": f"{ratio / 4:.0f}",
        "rp_parameters": f"{mixed['total_params'].max() / dense['total_params'].max():.0f}",
        "rp_times": "; ".join(f"{each.text} at {each.where}" for each in times),
        "rp_runs": len(found.runs), "rp_most": found.experts[last], "rp_far": found.epochs[far],
        "rp_two_dense": _interval(cost[0][near], "{:+.3f}"), "rp_two_most": _interval(cost[last][near], "{:+.3f}"),
        "rp_far_dense": _interval(cost[0][far], "{:+.2f}"), "rp_far_most": _interval(cost[last][far], "{:+.2f}"),
        "rp_bear_dense": _interval(found.borne(0, low), "{:.1f}"), "rp_low": f"{low:g}",
        "rp_bear_most": _interval(found.borne(last, low), "{:.1f}"), "rp_high": f"{high:g}",
        "rp_high_dense": _interval(found.borne(0, high), "{:.1f}"),
        "rp_high_most": _interval(found.borne(last, high), "{:.1f}"),
        "rp_ends": _interval(found.gain_ends(last), "{:.1f}"),
        "rp_gain": _interval(found.loss[0, 0] - found.loss[last, 0], "{:.3f}"),
        "rp_noise": f"{found.noise[:-1].min():.3f} to {found.noise[:-1].max():.3f}", 
        "rp_noise_far": f"{found.noise[-1]:.2f}",
        "rp_sooner": words["mixtures-sooner"], "rp_postpones": words["sparsity-postpones"],
        "rp_four": words["four-are-fine"],
        "rp_tokens": f"{found.runs['unique_tokens'].max() / 1e6:.1f}", 
        "rp_least": f"{found.runs['unique_tokens'].min() / 1e6:.1f}",
    }  # fmt: skip


def _interval(values: Array, form: str) -> str:
    low, high = np.quantile(values[1:], _LEVEL)
    return f"{form.format(values[0])} [{form.format(low)}, {form.format(high)}]"
