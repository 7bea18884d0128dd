"""The chapter on seconds: laws of two studies raced on two devices, the price of routing, verdicts on two claims."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from howmany.measured.own_law import laws_on_trial
from howmany.neighbours.words import Found, verdicts
from howmany.programs.collapse import kept
from howmany.study import budget_label
from howmany.verdict import Finding, Judged, finding
from moelaws.charts.tables import readable
from moelaws.counting import count_parameters
from moelaws.fitting.fit import fit
from moelaws.optimum.forecaster import Forecaster
from moelaws.pacing.equal_time import DENSE, Array, Race, race
from moelaws.pacing.step_model import StepModel, sheet_steps, step_model
from moelaws.pacing.step_work import WORK
from moelaws.pacing.timed_runs import predict_seconds
from moelaws.runs import finished, read_runs
from moelaws.runs.step_table import PRICES, read_steps, stepped_model
from moelaws.serving.hardware import TYPICAL, accelerator
from moelaws.training.recipe import tiny_model

EXPERTS = (1, 2, 4, 8, 16, 32, 64)
CLAIMED = 8
"""E of the mixture that the first claim is about."""
BATCHES = {"CPU": 4096, "H200": 8192}
"""Tokens of the steps whose price is shown and judged, by device: those of the larger budgets on both."""
LAW = "Abnar, N in the data term"
"""The law of the chapter on our own law that foresaw best what it had not seen."""
_PER_STEP = 512.0
_LEVEL = (0.025, 0.975)


@dataclass(frozen=True)
class Track:
    """A device, the runs whose law is raced on it, and the race.

    Attributes:
        name: of the device, short.
        runs: those that the law was fitted to.
        dropped: how many were left out: their router had collapsed.
        law: the law with the process of what it misses.
        error: root mean square of ln L, with the process, on its runs.
        race: mixtures and dense models.
        free: the same race on a machine whose seconds are FLOPs.
        idle: the same race with experts that do nothing, but for noise as large as the law's doubt.
    """

    name: str
    runs: pd.DataFrame
    dropped: int
    law: Forecaster
    error: float
    race: Race
    free: Race
    idle: Race

    @property
    def budgets(self) -> list[float]:
        """Training FLOPs of the purses asked about."""
        return [purse.flops for purse in self.race.purses[self.race.within]]


@dataclass(frozen=True)
class Course:
    """Where a race is run.

    Attributes:
        name: of the device, short.
        runs_file: whose law.
        device: a device of the table of steps.
        budgets: least and most training FLOPs: within the runs.
        widths: least and most d, which the runs' bracket.
    """

    name: str
    runs_file: str
    device: str
    budgets: tuple[float, float]
    widths: tuple[int, int]


def batch(flops: float) -> float:
    """Tokens of a step at a budget: the recipe's, before it is rounded to a power of two."""
    return _PER_STEP * float(np.sqrt(flops / 3e11))


def tracks(courses: Sequence[Course], steps: pd.DataFrame, purses: int, starts: int) -> list[Track]:
    """Fit a law to each course's runs and let it race.

    Args:
        courses: where.
        steps: measured training steps.
        purses: budgets of each.
        starts: of each fit.
    """
    return [_track(course, step_model(course.device, steps), purses, starts) for course in courses]


def _track(course: Course, device: StepModel, purses: int, starts: int) -> Track:
    runs = finished(read_runs(course.runs_file, required=("loss", "budget", "active_params", "total_params", "tokens")))
    runs = runs[(runs["top_k"] == 1) & (runs["granularity"] == 1)]
    chosen = laws_on_trial()[LAW]
    whole = kept(runs)
    law = Forecaster(fit(chosen.law, whole, starts=starts, **chosen.options), discrepancy="always")
    models = {e: [tiny_model(d, e) for d in _widths(*course.widths)] for e in EXPERTS}
    budgets = np.geomspace(*course.budgets, purses).tolist()
    per_flop = {name: float(name == "flops") * 1e-12 for name in WORK}
    free = replace(device, seconds_per=per_flop, scatter=0.0)
    raced = race(law, device, models, budgets, batch)
    columns = {name: whole[name].to_numpy(float) for name in ("total_params", "active_params", "tokens", "sparsity",
                                                               "n_experts", "top_k", "granularity")}  # fmt: skip
    missed = np.log(law.expected(columns) / whole["loss"].to_numpy(float))
    return Track(
        course.name, whole, len(runs) - len(whole), law, float(np.sqrt(np.mean(missed**2))), raced,
        race(law, free, models, budgets, batch), _idle(raced),
    )  # fmt: skip


def _widths(least: int, most: int) -> list[int]:
    return [*range(least, min(most, 128), 4), *range(max(least, 128), most + 1, 8)]


def _idle(found: Race, seed: int = 1) -> Race:
    """The race if experts did nothing: each E has the dense losses, with draws as far apart as its own."""
    rng, dense = np.random.default_rng(seed), found.lanes[DENSE]
    lanes = {}
    for e, lane in found.lanes.items():
        wide = lane.by_flops[1:].std(axis=0)
        noise = wide * rng.standard_normal((len(lane.by_flops) - 1, 1))
        losses = np.concatenate([dense.by_flops[:1], dense.by_flops[:1] + noise])
        lanes[e] = replace(lane, by_flops=losses, worth_flops=np.ones_like(lane.worth_flops))
    return replace(found, lanes=lanes)


def interval(draws: Array) -> tuple[Array, Array, Array]:
    """What is expected, and the ends of its interval, of [1 + B, ...]."""
    low, high = np.nanquantile(draws[1:], _LEVEL, axis=0)
    return draws[0], np.fmin(low, draws[0]), np.fmax(high, draws[0])


def worth_rows(found: Sequence[Track], experts: Sequence[int] = (4, 16, 64)) -> pd.DataFrame:
    """Worth over dense by device, budget, E and currency, with its interval."""
    rows = []
    for track in found:
        for e in experts:
            for by in ("FLOPs", "seconds"):
                values = getattr(track.race.lanes[e], f"worth_{by.lower()}")[:, track.race.within]
                for flops, value, low, high in zip(track.budgets, *interval(values), strict=True):
                    rows.append({"device": track.name, "n_experts": e, "in equal": by, "budget": flops, "worth": value,
                                 "low": low, "high": high})  # fmt: skip
    return pd.DataFrame(rows)


def break_even_rows(found: Sequence[Track]) -> pd.DataFrame:
    """The most experts that pay, by device and size of the best dense model of the budget, with the interval."""
    rows = []
    for track in found:
        sizes = track.race.lanes[DENSE].size_by_flops[track.race.within]
        for flops, place, value, low, high in zip(
            track.budgets, sizes, *interval(track.race.break_even()), strict=True
        ):
            size = count_parameters(track.race.models[DENSE][place]).active
            rows.append({"device": track.name, "budget": flops, "active_params": size, "n_experts": value, "low": low,
                         "high": high})  # fmt: skip
    return pd.DataFrame(rows)


def price_rows(steps: pd.DataFrame, tokens: Mapping[str, int], widths: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """The price of routing by part, as shares of the dense step, for K = G = 1.

    Args:
        steps: from ``read_steps``.
        tokens: short name of a device, a part of its whole one -> batch that is shown.
        widths: the same -> widths that are shown.
    """
    rows = []
    for name, batch_tokens in tokens.items():
        here = steps[steps["device"].str.lower().str.contains(name.lower()) & (steps["tokens"] == batch_tokens)]
        here = here[here["d_model"].isin(widths[name]) & (here["top_k"] == 1) & (here["n_experts"] > 1)]
        shown = here[["n_experts"]].astype(int).assign(device=name, width=here["d_model"].astype(int))
        for part in (*PRICES, "rest"):
            rows.append(shown.assign(part=part, share=here[f"{part}_ms"] / here["dense_step_ms"]))
    return pd.concat(rows, ignore_index=True)


def tax_findings(steps: pd.DataFrame, name: str, n_experts: int = CLAIMED) -> list[Finding]:
    """A step with experts over the dense one, by width; ends are the quartiles of the step."""
    here = steps[steps["device"].str.lower().str.contains(name.lower())]
    here = here[(here["n_experts"] == n_experts) & (here["top_k"] == 1) & (here["tokens"] == BATCHES[name])]
    made = []
    for _, row in here.sort_values("d_model").iterrows():
        value, low, high = (row[c] / row["dense_step_ms"] for c in ("step_ms", "step_ms_low", "step_ms_high"))
        made.append(Finding(f"{name} d = {row['d_model']:g}", value, low, high))
    return made


def judged(found: Sequence[Track], steps: pd.DataFrame, claims_file: str) -> list[Judged]:
    """The verdicts on both statements, beside their placebos."""
    own = _quantities(found, [track.race for track in found], [f for t in found for f in tax_findings(steps, t.name)])
    dense = [f for t in found for f in tax_findings(steps, t.name, DENSE)]
    free = _quantities(found, [track.free for track in found], dense)
    idle = _quantities(found, [track.idle for track in found], dense)
    # Each claim is asked of the machine or of the experts that it has nothing to say of.
    placebo: Found = {
        "tax": free["tax"], "worth_flops": idle["worth_flops"], "worth_seconds": free["worth_seconds"],
        "edge_flops": idle["edge_flops"], "inside_seconds": free["inside_seconds"],
    }  # fmt: skip
    return verdicts(claims_file, own, "steps and laws", [placebo])


def _quantities(found: Sequence[Track], races: Sequence[Race], taxes: Sequence[Finding]) -> dict[str, list[Finding]]:
    made: dict[str, list[Finding]] = {"tax": list(taxes)}
    for track, raced in zip(found, races, strict=True):
        lane = raced.lanes[CLAIMED]
        # The first, the middle and the last say what all do.
        for i in sorted({0, len(track.budgets) // 2, len(track.budgets) - 1}):
            flops = track.budgets[i]
            at, where = raced.before + i, f"{track.name} {budget_label(flops)}"
            by_flops, by_seconds = (_losses(raced, by, at) for by in ("flops", "seconds"))
            fewer = int(np.argmin(by_flops[:-1, 0]))
            inner = 1 + int(np.argmin(by_seconds[1:-1, 0]))
            end = 0 if by_seconds[0, 0] <= by_seconds[-1, 0] else -1
            for quantity, values, unit in (
                ("worth_flops", lane.worth_flops[:, at], ""),
                ("worth_seconds", np.log(lane.worth_seconds[:, at]), "times"),
                ("edge_flops", by_flops[-1] - by_flops[fewer], "nats"),
                ("inside_seconds", by_seconds[end] - by_seconds[inner], "nats"),
            ):
                made.setdefault(quantity, []).append(finding(where, values[np.isfinite(values)], unit))
    return made


def _losses(raced: Race, by: str, at: int) -> Array:
    """Losses of all numbers of experts at one purse, [E, 1 + B]."""
    return np.stack([getattr(raced.lanes[e], f"by_{by}")[:, at] for e in sorted(raced.lanes)])


def purse_table(found: Sequence[Track], prices: Mapping[str, str]) -> pd.DataFrame:
    """What the dense model spends at each budget, what it costs, and the best number of experts in both currencies.

    Args:
        found: the tracks.
        prices: name of a track -> hardware preset whose rent is known.
    """
    rows = []
    for track in found:
        rent = accelerator(prices[track.name]).dollars_per_hour if track.name in prices else np.nan
        best = {by: interval(track.race.best_experts(by)) for by in ("flops", "seconds")}
        for i, purse in enumerate(track.race.purses[track.race.within]):
            row: dict[str, Any] = {"device": track.name, "FLOPs": budget_label(purse.flops), "seconds": purse.seconds,
                                   "cents": 100 * rent * purse.seconds / 3600}  # fmt: skip
            for by, (value, low, high) in best.items():
                row[f"best E by {by.replace('flops', 'FLOPs')}"] = f"{value[i]:g} [{low[i]:g}, {high[i]:g}]"
            rows.append(row)
    return readable(pd.DataFrame(rows).set_index(["device", "FLOPs"]))


def sheet_table(track: Track, devices: Sequence[str], n_experts: int = 16) -> pd.DataFrame:
    """The worth at the largest budget on devices that nobody measured, beside the one that was."""
    rows = []
    for name in (track.race.device.device, *devices):
        device = track.race.device if name == track.race.device.device else step_model(name)
        budgets = [track.budgets[0], track.budgets[-1]]
        raced = (
            track.race if device is track.race.device else race(track.law, device, track.race.models, budgets, batch)
        )
        at = raced.before + raced.asked - 1
        value, low, high = interval(raced.lanes[n_experts].worth_seconds[:, at])
        rows.append({"device": name, "known from": raced.device.source, "dense, seconds": raced.purses[at].seconds,
                     f"worth in seconds, E = {n_experts}": f"{value:.2f} [{low:.2f}, {high:.2f}]"})  # fmt: skip
    return readable(pd.DataFrame(rows).set_index("device"))


def recorded_check(found: Sequence[Track]) -> pd.DataFrame:
    """Seconds that the runs' tables record over those foreseen from steps, by budget: median and quartiles."""
    rows = []
    for track in found:
        both = predict_seconds(track.runs, track.race.device)
        ratio = track.runs["seconds"] / both["seconds"]
        for flops, group in ratio.groupby(track.runs["budget"]):
            low, middle, high = np.quantile(group, [0.25, 0.5, 0.75])
            rows.append({"steps of": track.name, "FLOPs": budget_label(float(str(flops))), "runs": len(group),
                         "recorded over foreseen": f"{middle:.2f} [{low:.2f}, {high:.2f}]"})  # fmt: skip
    return pd.DataFrame(rows).set_index(["steps of", "FLOPs"])


def numbers(found: Sequence[Track], steps: pd.DataFrame, made: Sequence[Judged]) -> dict[str, Any]:
    """Numbers of the text."""
    said: dict[str, Any] = {}
    for key, track in zip(("cpu", "gpu"), found, strict=True):
        device, last = track.race.device, track.race.before + track.race.asked - 1
        assert device.held_out is not None
        assert device.unseen_width is not None
        said |= {
            f"wc_{key}_steps": device.rows, f"wc_{key}_median": f"{100 * device.held_out.median:.1f}",
            f"wc_{key}_p90": f"{100 * device.held_out.p90:.0f}", f"wc_{key}_runs": len(track.runs),
            f"wc_{key}_width": f"{100 * device.unseen_width.median:.1f}", f"wc_{key}_rms": f"{track.error:.4f}",
            f"wc_{key}_last": budget_label(track.budgets[-1]), f"wc_{key}_first": budget_label(track.budgets[0]),
            f"wc_{key}_dropped": track.dropped, f"wc_{key}_reach": _reach(track),
        }  # fmt: skip
        for e in (4, CLAIMED, 16, 64):
            for by in ("flops", "seconds"):
                for place, name in ((track.race.before, "first"), (last, "last")):
                    value, low, high = interval(getattr(track.race.lanes[e], f"worth_{by}")[:, place])
                    said[f"wc_{key}_{by}_{e}_{name}"] = f"{value:.2f} [{low:.2f}, {high:.2f}]"
        taxes = np.array([each.value for each in tax_findings(steps, track.name)])
        said[f"wc_{key}_tax_low"], said[f"wc_{key}_tax_high"] = f"{taxes.min():.2f}", f"{taxes.max():.2f}"
        even, low, high = interval(track.race.break_even())
        for i, name in ((0, "first"), (-1, "last")):
            said[f"wc_{key}_even_{name}"] = f"{even[i]:.0f} [{low[i]:.0f}, {high[i]:.0f}]"
    said |= _sheet_numbers(steps)
    said |= {f"wc_word_{each.claim.key.replace('-', '_')}": each.text for each in made}
    return said | _share_numbers(steps)


def _reach(track: Track) -> str:
    """Tokens per active parameter of the best models in equal seconds, beside those of the runs."""
    raced, asked = track.race, []
    for e, lane in raced.lanes.items():
        for place, purse in zip(lane.size_by_seconds[raced.within], raced.purses[raced.within], strict=True):
            model = raced.models[e][place]
            tokens = purse.seconds / raced.device.seconds(model, purse.batch) * purse.batch
            asked.append(tokens / count_parameters(model).active)
    seen = track.runs["tokens"] / track.runs["active_params"]
    return f"{min(asked):.1f} to {max(asked):.0f} (runs: {seen.min():.1f} to {seen.max():.0f})"


def _share_numbers(steps: pd.DataFrame) -> dict[str, Any]:
    """What part of the price of many experts on the widest measured models is the optimiser's."""
    gpu = steps[steps["device"].str.contains("H200") & (steps["top_k"] == 1)]
    widest = gpu[(gpu["d_model"] == gpu["d_model"].max()) & (gpu["tokens"] == gpu["tokens"].min())]
    few, many = widest[widest["n_experts"] == 4].iloc[0], widest.loc[widest["n_experts"].idxmax()]
    return {
        "wc_wide": int(many["d_model"]), "wc_many": int(many["n_experts"]),
        "wc_many_tax": f"{many['step_ms'] / many['dense_step_ms']:.1f}",
        "wc_many_optimiser": f"{many['optimiser_ms'] / many['dense_step_ms']:.1f}",
        "wc_few_tax": f"{few['step_ms'] / few['dense_step_ms']:.2f}",
    }  # fmt: skip


def _sheet_numbers(steps: pd.DataFrame) -> dict[str, Any]:
    """How much longer measured steps of the H200 take than its data sheet says, and what that is made with."""
    gpu, sheet = (
        steps[steps["device"].str.contains("H200")],
        sheet_steps(accelerator("h200"), step_model("h200", steps)),
    )
    foreseen = np.array([sheet.seconds(stepped_model(row), row["tokens"]) for _, row in gpu.iterrows()])
    ratio = gpu["step_ms"].to_numpy(float) / 1e3 / foreseen
    return {
        "wc_sheet_low": f"{ratio.min():.1f}", "wc_sheet_high": f"{ratio.max():.1f}",
        "wc_sheet_flops": f"{100 * TYPICAL.training:.0f}", "wc_sheet_bytes": f"{100 * TYPICAL.bandwidth:.0f}",
    }  # fmt: skip


def table_of_steps(steps_file: str) -> pd.DataFrame:
    """The measured steps."""
    return read_steps(steps_file)
