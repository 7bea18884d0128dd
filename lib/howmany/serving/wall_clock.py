"""The chapter on seconds: laws of two studies raced on two devices, the price of routing, verdicts on two claims."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from howmany.measured.own_law import NEEDED as LAW_NEEDS
from howmany.measured.own_law import laws_on_trial
from howmany.neighbours.words import Found, verdicts
from howmany.programs.collapse import kept
from howmany.study import budget_label
from howmany.verdict import Finding, Judged, finding
from moelaws.counting import count_parameters
from moelaws.fitting.fit import fit
from moelaws.optimum.forecaster import Forecaster
from moelaws.pacing.equal_time import DENSE, Array, Race, race
from moelaws.pacing.step_model import StepModel, step_model
from moelaws.pacing.step_work import WORK
from moelaws.runs import finished, read_runs
from moelaws.runs.step_table import PRICES, read_steps
from moelaws.training.recipe import tiny_model

EXPERTS = (1, 2, 4, 8, 16, 32, 64)
CLAIMED = 8
"""E of the mixture that the first claim is about."""
BATCHES = {"CPU": 4096, "H200": 8192}
"""Tokens of the steps whose price is shown and judged, by device: those of the larger budgets on both."""
NEEDED = (*LAW_NEEDS, "granularity")

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
    runs = finished(read_runs(course.runs_file, required=NEEDED))
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


def interval(draws: Array, drawn: bool = False) -> tuple[Array, Array, Array]:
    """What is expected, and the ends of its interval, of [1 + B, ...].

    Args:
        draws: what is expected, and B draws.
        drawn: whether the ends are to be numbers that were drawn; between 16 and 32 experts no model was raced.
    """
    low = np.nanquantile(draws[1:], _LEVEL[0], axis=0, method="lower" if drawn else "linear")
    high = np.nanquantile(draws[1:], _LEVEL[1], axis=0, method="higher" if drawn else "linear")
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


def table_of_steps(steps_file: str) -> pd.DataFrame:
    """The measured steps."""
    return read_steps(steps_file)
