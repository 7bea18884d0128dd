"""The chapter on composition: into how many experts is a layer best cut, how many shared, and do shapes rank alike?"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from scipy import stats

from howmany.neighbours.cells import Cells
from howmany.neighbours.printed_laws import wan_tokens
from howmany.neighbours.shape_ranks import ranking, seeds_alike
from howmany.neighbours.total_size import expansions, more_experts
from howmany.neighbours.words import OF_COMPOSITION, Found, verdicts, words
from howmany.page import listed
from howmany.study import budget_label
from howmany.verdict import Finding, Judged, finding
from moelaws.charts.theme import CATEGORIES


def best_active(layers: Cells, rng: np.random.Generator, flat: bool = False, unit: float = 1.0) -> list[Finding]:
    """The number of active experts with the lowest loss, at each budget.

    Args:
        layers: the losses.
        rng: of the draws.
        flat: where the number has no effect.
        unit: of the number: 1/2 is the granularity of Tian et al., twice the width of the model over that of an expert.
    """
    made = []
    for budget, group in _unshared(layers).groupby("budget"):
        losses = group["loss"].to_numpy()
        if flat:
            losses = losses.mean() + rng.standard_t(layers.freedom, len(losses)) * layers.error(group["runs"])
        drawn = layers.drawn(np.asarray(losses), group["runs"].to_numpy(), rng)
        made.append(finding(_label(budget), unit * group["active"].to_numpy(float)[drawn.argmin(1)]))
    return made


def _unshared(layers: Cells) -> pd.DataFrame:
    return layers.means[layers.means["share"] == 0].sort_values("active")


def gains(layers: Cells, less: float, more: float, rng: np.random.Generator | None = None) -> list[Finding]:
    """Loss with one share of shared experts less that with another, at each budget and number of active experts.

    Args:
        layers: the losses.
        less, more: the shares; positive where ``more`` is better.
        rng: instead of the losses, noise alone.
    """
    table = layers.means.pivot(index=["budget", "active"], columns="share", values=["loss", "runs"])
    table = table.dropna(subset=[(what, share) for what in ("loss", "runs") for share in (less, more)])
    made = []
    for (budget, active), (_, row) in zip(table.index.tolist(), table.iterrows(), strict=True):
        error = layers.error(1) * np.sqrt(1 / row["runs", less] + 1 / row["runs", more])
        gain = row["loss", less] - row["loss", more] if rng is None else error * rng.standard_t(layers.freedom)
        reach = stats.t.ppf(0.975, layers.freedom) * error
        where = f"{_label(budget)}, {active:.0f} active"
        made.append(Finding(where, float(gain), float(gain - reach), float(gain + reach), "nats"))
    return made


def one_shared(layers: Cells, rng: np.random.Generator | None = None) -> list[Finding]:
    """What one shared expert is better than none (of two or four active), and than two (of four); see ``gains``."""
    made = []
    for less, more, active, words_of in ((0.0, 0.5, 2, "none"), (0.0, 0.25, 4, "none"), (0.5, 0.25, 4, "two")):
        some = Cells(layers.means[layers.means["active"] == active], layers.noise, layers.freedom)
        made += [replace(each, where=f"{each.where}, than {words_of}") for each in gains(some, less, more, rng)]
    return made


def found(layers: Cells, shapes: Cells, study_files: Sequence[str]) -> Found:
    """What is known of every quantity."""
    rng = np.random.default_rng(0)
    return {
        "best_active": best_active(layers, rng),
        "shared_gain": gains(layers, 0.0, 0.25),
        "half_gain": gains(layers, 0.25, 0.5),
        "rank": [ranking(shapes, rng)],
        "expansion": expansions(study_files[0]),
        "more_experts": more_experts(study_files),
        "fine_optimum": best_active(layers, rng, unit=0.5),
        "one_shared": one_shared(layers),
    }


def placebos(layers: Cells, shapes: Cells, study_files: Sequence[str], count: int) -> list[Found]:
    """The quantities where nothing has an effect but noise."""
    made: list[Found] = []
    for draw in range(1, count + 1):
        rng = np.random.default_rng(draw)
        made.append({
            "best_active": best_active(layers, rng, flat=True),
            "shared_gain": gains(layers, 0.0, 0.25, rng),
            "half_gain": gains(layers, 0.25, 0.5, rng),
            "rank": [ranking(shapes, rng, shuffled=True)],
            "more_experts": more_experts(study_files, rng),
            "expansion": expansions(study_files[0], 200, draw),
            "fine_optimum": best_active(layers, rng, flat=True, unit=0.5),
            "one_shared": one_shared(layers, rng),
        })  # fmt: skip
    return made


def judged(said: Found, claims_files: Sequence[str], blind: Sequence[Found]) -> list[Judged]:
    """The verdicts: on all claims of the first file, and on those of the others that are about composition."""
    return verdicts(claims_files[0], said, "composition runs", blind) + [
        each
        for file in claims_files[1:]
        for each in verdicts(file, said, "composition runs", blind, only=OF_COMPOSITION)
    ]


def figure(layers: Cells) -> alt.FacetChart:
    """Loss against the number of active experts, a line a share of shared ones, a panel a budget."""
    table = layers.means.assign(
        panel=[f"{budget_label(budget)} FLOPs" for budget in layers.means["budget"]],
        shared=[_share(share) for share in layers.means["share"]],
        low=layers.means["loss"] - layers.interval(layers.means["runs"]),
        high=layers.means["loss"] + layers.interval(layers.means["runs"]),
    )
    shares = [_share(share) for share in sorted(layers.means["share"].unique())]
    base = alt.Chart().encode(
        x=alt.X("active:Q", title="active experts").scale(type="log", base=2, nice=False, padding=10),
        color=alt.Color("shared:N", title="of them shared", sort=shares).scale(
            domain=shares, range=list(CATEGORIES[: len(shares)])
        ),
        xOffset="shared:N",
    )
    y = alt.Y("loss:Q", title="loss (nats/token)").scale(zero=False)
    best = _unshared(layers).sort_values("loss").groupby("budget").head(1).sort_values("budget")
    return (
        alt.layer(
            base.mark_rule(opacity=0.6).encode(y=alt.Y("low:Q").scale(zero=False), y2="high:Q"),
            base.mark_line().encode(y=y),
            base.mark_point(filled=True, size=40).encode(y=y, tooltip=["panel", "active", "shared", "loss", "runs"]),
        )
        .properties(width=270, height=260)
        .facet(alt.Facet("panel:N", title=None), columns=2, data=table)
        .resolve_scale(y="independent")
        .properties(
            title="Lowest without shared experts: "
            + listed(
                f"{active:.0f} active at {_label(budget)}"
                for active, budget in zip(best["active"], best["budget"], strict=True)
            ),
            description="Loss against the number of active experts at equal parameters and FLOPs, a line a share of "
            "experts that all tokens pass through, a panel a budget, with 95 percent intervals.",
        )
    )


def _share(share: float) -> str:
    return {0.0: "none", 0.25: "a quarter", 0.5: "a half"}[share]


def numbers(layers: Cells, shapes: Cells, shapes_file: str, said: Found, made: Sequence[Judged]) -> dict[str, Any]:
    """Numbers and words for the sentences."""
    word = words(list(made))
    alike = seeds_alike(shapes_file)
    return {
        "co_runs": f"{int(layers.means['runs'].sum())}",
        "co_shape_runs": f"{int(shapes.means['runs'].sum())}",
        "co_best": listed(
            f"{each.value:.0f} [{each.low:.0f}, {each.high:.0f}] at {each.where}" for each in said["best_active"]
        ),
        "co_cut": listed(_cut(layers), between="; "),
        "co_shared": _mean(said["shared_gain"]).text,
        "co_cells": f"{len(said['shared_gain'])}",
        "co_noise": f"{layers.noise:.3f}",
        "co_rank": said["rank"][0].text,
        "co_seeds": listed(f"{value:.2f} at d = {width}" for width, value in alike.items()),
        "co_expansion": listed(
            f"{each.value:.0f} [{each.low:.0f}, {each.high:.0f}] at {each.where}" for each in said["expansion"]
        ),
        "co_wan": f"{wan_tokens(1e12) / 1e6:.0f}",
        "co_word_g": word["g-about-7"],
        "co_word_s": word["s-third"],
        "co_word_flat": word["s-flat"],
        "co_word_rank": word["rank-kept"],
        "co_word_expansion": word["expansion-flat"],
        "co_more": "; ".join(
            f"{each.text} at {each.where.split(', ')[1]} parameters"
            for each in said["more_experts"]
            if each.where.startswith("1 of 8,")
        ),
        "co_word_finer": word["fixed-s-more-experts"],
        "co_word_fine": word["g-optimum"],
        "co_word_one": word["one-shared"],
    }


def _label(budget: Any) -> str:
    return budget_label(float(budget))


def _mean(findings: Sequence[Finding]) -> Finding:
    """The mean of findings of different runs."""
    middle = float(np.mean([each.value for each in findings]))
    reach = float(np.sqrt(sum((each.high - each.value) ** 2 for each in findings))) / len(findings)
    return Finding("", middle, middle - reach, middle + reach, findings[0].unit)


def _cut(layers: Cells) -> list[str]:
    """What the best cut is worth over one wide expert, with its interval, at each budget."""
    made = []
    for budget, group in _unshared(layers).groupby("budget"):
        whole, best = group.iloc[0], group.iloc[int(group["loss"].argmin())]
        gain = whole["loss"] - best["loss"]
        error = stats.t.ppf(0.975, layers.freedom) * layers.noise * np.sqrt(1 / whole["runs"] + 1 / best["runs"])
        made.append(f"{gain:.3f} [{gain - error:.3f}, {gain + error:.3f}] nats at {_label(budget)}")
    return made
