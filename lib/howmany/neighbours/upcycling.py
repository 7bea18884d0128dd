"""The chapter on upcycling: is a grown mixture better than what else could be done with the same tokens or FLOPs?"""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from scipy import stats

from howmany.neighbours.upcycled_runs import (
    DENSE,
    PARENT,
    SCRATCH,
    UPCYCLED,
    Arms,
    Array,
    arms,
    difference,
    thresholds,
)
from howmany.neighbours.words import Found, verdicts, words
from howmany.verdict import Finding, Judged
from moelaws.charts.tables import readable
from moelaws.charts.theme import CATEGORIES
from moelaws.fitting.fit import fit
from moelaws.laws import law
from moelaws.runs import finished, read_runs

NEEDED = ("loss", "n_experts", "tokens", "dense_tokens", "copy_noise", "train_flops", "seed")
_NEVER = "scratch comes no nearer with more tokens"


def sorted_arms(runs_file: str) -> Arms:
    """The sweep's arms, from its table."""
    return arms(finished(read_runs(runs_file, required=NEEDED)))


def loss_figure(found: Arms) -> alt.LayerChart:
    """Loss against the tokens after the start: grown mixtures, dense models that go on, and from scratch."""
    rows = []
    for i, before in enumerate(found.before_I):
        for j, after in enumerate(found.after_J):
            start = f"{before / 1e3:.0f} k dense tokens"
            rows.append((UPCYCLED, start, after, found.grown_SIJ[:, i, j].mean()))
            rows.append((DENSE, start, after, found.dense_SIJ[:, i, j].mean()))
    rows += [
        (SCRATCH, "random weights", d, loss) for d, loss in zip(found.fresh_D, found.fresh_SD.mean(0), strict=True)
    ]
    table = pd.DataFrame(rows, columns=["arm", "start", "tokens", "loss"])
    starts = list(dict.fromkeys(table["start"]))
    dashes = {UPCYCLED: [1, 0], DENSE: [4, 3], SCRATCH: [1, 0]}
    lead = float((found.fresh_at(found.after_J)[:, None] - found.grown_SIJ).mean(0)[-1, 0])
    return (
        alt.Chart(table)
        .mark_line(point=alt.OverlayMarkDef(size=45))
        .encode(
            x=alt.X("tokens:Q", title="tokens after the start, D2").scale(type="log", nice=False, padding=12)
            .axis(format="~s"),
            y=alt.Y("loss:Q", title="loss (nats/token)").scale(zero=False),
            color=alt.Color("start:N", title="begins with", sort=starts)
            .scale(domain=starts, range=list(CATEGORIES[: len(starts)]))
            .legend(columns=2),
            strokeDash=alt.StrokeDash("arm:N", title=None)
            .scale(domain=list(dashes), range=list(dashes.values()))
            .legend(columns=1),
            tooltip=["arm", "start", "tokens", "loss"],
        )
        .properties(
            width="container", height=330,
            title=f"At {found.after_J[0] / 1e3:.0f} k tokens the best start is worth {lead:.2f} nats over none",
            description="Loss against tokens after the start: mixtures grown from three dense models, the dense models "
            "that go on, and mixtures from random weights.",
        )
    )  # fmt: skip


def comparison_table(found: Arms) -> pd.DataFrame:
    """Loss of each grown mixture, and what it is ahead of everything else, in nats."""
    grown = found.grown_SIJ
    ahead = {
        "ahead of dense going on": found.dense_SIJ - grown,
        "ahead of scratch, same D2": found.fresh_at(found.after_J)[:, None] - grown,
        "ahead of scratch, equal FLOPs": found.instead(grown),
    }
    rows = [
        {"D1": f"{before / 1e3:.0f}k", "D2": f"{after / 1e3:.0f}k", "loss": grown[:, i, j].mean()}
        | {name: values[:, i, j].mean() for name, values in ahead.items()}
        for i, before in enumerate(found.before_I)
        for j, after in enumerate(found.after_J)
    ]
    return readable(pd.DataFrame(rows).set_index(["D1", "D2"]), "{:+.3f}", {"loss": "{:.3f}"})


def published_table(
    sizes: tuple[float, ...] = (1e9, 7e9), before: tuple[float, ...] = (1e10, 1e11, 1e12)
) -> pd.DataFrame:
    """D2 at which the printed law has scratch overtake, by size and dense tokens; ``never`` where the curves miss."""
    grown, fresh = law("liew2025"), law("liew2025_scratch")
    after = np.geomspace(1e8, 1e13, 4001)
    rows = []
    for size in sizes:
        row: dict[str, Any] = {"dense parameters": f"{size:.0e}"}
        for tokens in before:
            about = {"dense_params": size, "dense_tokens": tokens, "tokens": after}
            lead = fresh.predict(fresh.published["moe"], about) - grown.predict(grown.published["upcycled"], about)
            place = np.flatnonzero(lead < 0)
            row[f"D1 = {tokens:.0e}"] = f"{_crossing(after, lead, int(place[0])):.1e}" if len(place) else "never"
        rows.append(row)
    return pd.DataFrame(rows).set_index("dense parameters")


def _crossing(after: Array, lead: Array, first: int) -> float:
    """Where a lead becomes zero, between two points of a fine grid."""
    share = lead[first - 1] / (lead[first - 1] - lead[first])
    return float(after[first - 1] * (after[first] / after[first - 1]) ** share)


def interaction(losses_SIJ: Array, found: Arms) -> Finding:
    """alpha3 of the law of Liew et al. fitted to a grid of runs, with its likelihood interval."""
    grid = np.meshgrid(np.arange(len(losses_SIJ)), found.before_I, found.after_J, indexing="ij")
    table = pd.DataFrame({
        "seed": grid[0].ravel(), "dense_tokens": grid[1].ravel(), "tokens": grid[2].ravel(),
        "loss": losses_SIJ.ravel(), "dense_params": 6e4, "status": "finished",
    })  # fmt: skip
    grown = law("liew2025")
    published = grown.published["upcycled"]
    # One size of model: its term and the floor are one constant, which E is fitted to.
    result = fit(
        grown, table, objective="lsq-log", fixed={"B": published["B"], "beta": published["beta"]},
        bounds={"alpha1": (-0.5, 1.0), "alpha2": (-0.5, 2.0), "alpha3": (-0.1, 0.1), "E": (1e-3, 3.0)}, starts=48,
        clusters=table["dense_tokens"].astype(str) + table["tokens"].astype(str),
    )  # fmt: skip
    ends = result.conf_int().loc["alpha3", ["low", "high"]].to_numpy(float)
    return Finding("all runs", float(result.params["alpha3"]), float(ends[0]), float(ends[1]))


def judged(found: Arms, claims_file: str) -> list[Judged]:
    """The verdicts, with the dense models that go on, or a seed against the other, as placebos."""
    grown = _found(found, found.grown_SIJ)
    dense = {k: v for k, v in _found(found, found.dense_SIJ).items() if not k.startswith("gain_over_dense")}
    seeds = _over_dense(found, found.dense_SIJ - np.roll(found.dense_SIJ, 1, axis=0) * 1.0, apart=True)
    dense.pop("gain_trend", None)
    return verdicts(claims_file, grown, "upcycled runs", [{**dense, **seeds}])


def _found(found: Arms, losses_SIJ: Array) -> Found:
    early = found.fresh_at(found.after_J)[:, None] - losses_SIJ
    noise, freedom = _noise(early)
    anew = -found.instead(losses_SIJ)
    noise_anew, freedom_anew = _noise(anew)
    ends = (
        np.unravel_index(found.flops_IJ.argmin(), found.flops_IJ.shape),
        np.unravel_index(found.flops_IJ.argmax(), found.flops_IJ.shape),
    )
    change = anew[:, ends[1][0], ends[1][1]] - anew[:, ends[0][0], ends[0][1]]
    at = thresholds(found, losses_SIJ)
    moved = at[:, -1] - at[:, 0]
    if np.isfinite(moved).all():
        spread = float(np.sqrt(at.var(axis=0, ddof=1).mean() * 2))
        threshold = difference("", moved, spread, max(at.size - at.shape[1], 1), "times")
    else:
        threshold = Finding("", open=_NEVER)
    return {
        **_over_dense(found, found.dense_SIJ - losses_SIJ),
        "gain_over_scratch": [
            difference(_d1(before), early[:, i, 0], noise, freedom) for i, before in enumerate(found.before_I)
        ],
        "threshold": [threshold],
        "interaction": [interaction(losses_SIJ, found)],
        "sunk_cost": [difference("", change, noise_anew * np.sqrt(2), freedom_anew)],
    }


def _over_dense(found: Arms, lead_SIJ: Array, apart: bool = False) -> Found:
    """What is ahead of the dense model that goes on; of two seeds of one arm, their difference is one number."""
    noise, freedom = (float(np.std(lead_SIJ[0])), lead_SIJ[0].size - 1) if apart else _noise(lead_SIJ)
    lead = lead_SIJ[:1] if apart else lead_SIJ
    return {
        "gain_over_dense": [
            difference(_d1(before), lead[:, i, -1], noise, freedom) for i, before in enumerate(found.before_I)
        ],
        "gain_trend": [
            difference(_d1(before), lead[:, i, -1] - lead[:, i, 0], noise * np.sqrt(2), freedom)
            for i, before in enumerate(found.before_I)
        ],
    }


def numbers(found: Arms, made: list[Judged]) -> dict[str, Any]:
    """Numbers and words for the sentences."""
    said = words(made)
    ahead_dense = (found.dense_SIJ - found.grown_SIJ).mean(0)
    early = (found.fresh_at(found.after_J)[:, None] - found.grown_SIJ).mean(0)
    anew = found.instead(found.grown_SIJ).mean(0)
    dense_anew = found.instead(found.dense_SIJ).mean(0)
    noisy = (found.noisy_SJ - found.grown_SIJ[:, len(found.before_I) // 2]).mean(0)
    with_noise = noisy[np.isfinite(noisy)]
    overtaken = np.exp(thresholds(found, found.grown_SIJ).mean(0)) / 1e3
    between = (found.after_J / found.before_I[:, None] > 0.15) & (found.after_J / found.before_I[:, None] < 0.7)
    return {
        "uc_reach_dense": f"{_reach(found.dense_SIJ - found.grown_SIJ):.3f}",
        "uc_reach_scratch": f"{_reach(found.fresh_at(found.after_J)[:, None] - found.grown_SIJ):.3f}",
        "uc_reach_anew": f"{_reach(found.instead(found.grown_SIJ)):.3f}",
        "uc_runs": f"{found.grown_SIJ.size + found.dense_SIJ.size + found.parent_SI.size + found.fresh_SD.size}",
        "uc_d1": ", ".join(f"{d / 1e3:.0f}" for d in found.before_I),
        "uc_d2": ", ".join(f"{d / 1e3:.0f}" for d in found.after_J),
        "uc_dense_most": f"{ahead_dense[:, -1].max():+.3f}",
        "uc_dense_least": f"{ahead_dense[:, 0].min():+.3f} to {ahead_dense[:, 0].max():+.3f}",
        "uc_early_low": f"{early[0, 0]:+.2f}",
        "uc_early_high": f"{early[-1, 0]:+.2f}",
        "uc_late_low": f"{early[0, -1]:+.2f}",
        "uc_late_high": f"{early[-1, -1]:+.2f}",
        "uc_anew_best": f"{anew.max():+.3f}",
        "uc_anew_worst": f"{anew.min():+.3f}",
        "uc_anew_ahead": f"{int((anew > 0).sum())} of {anew.size}",
        "uc_dense_anew": f"{int((dense_anew > 0).sum())} of {dense_anew.size}",
        "uc_noise": f"{with_noise.mean():+.3f}",
        "uc_overtaken_low": f"{overtaken[0]:.0f}",
        "uc_overtaken_high": f"{overtaken[-1]:,.0f}",
        "uc_window_low": f"{anew[between].min():+.3f}",
        "uc_window_high": f"{anew[between].max():+.3f}",
        "uc_long": f"{anew[0, -1]:+.3f}",
        "uc_alpha3": next(each.findings[0].text for each in made if each.claim.key == "interaction"),
        "uc_word_dense": said["up-beats-dense"],
        "uc_word_early": said["up-beats-scratch-early"],
        "uc_word_threshold": said["threshold-rises"],
        "uc_word_interaction": said["interaction"],
        "uc_word_sunk": said["sunk-cost"],
    }


def arm_table() -> pd.DataFrame:
    """What each arm is for."""
    rows = [
        (UPCYCLED, "D1 dense, then copied, then D2", "what is asked about"),
        (DENSE, "D1 dense, then D2 with the same restart", "is it the experts, or the restart?"),
        (SCRATCH, "D2 tokens, or as many as D1 and D2 cost", "is the dense model worth its keep?"),
        (PARENT, "D1 tokens", "where it began"),
    ]
    return pd.DataFrame(rows, columns=["arm", "reads", "answers"]).set_index("arm")


def _noise(values_SIJ: Array) -> tuple[float, int]:
    """Standard deviation between seeds of one difference, from all of them, and its degrees of freedom."""
    return float(np.sqrt(values_SIJ.var(axis=0, ddof=1).mean())), (len(values_SIJ) - 1) * values_SIJ[0].size


def _reach(values_SIJ: Array) -> float:
    """Half the width of the 95 % interval of one cell's mean over seeds, with the noise of all cells."""
    noise, freedom = _noise(values_SIJ)
    return float(stats.t.ppf(0.975, freedom)) * noise / np.sqrt(len(values_SIJ))


def _d1(tokens: float) -> str:
    return f"D1 = {tokens / 1e3:.0f} k"
