"""Tables and numbers of the chapter on seconds: what is spent and bought at each budget, and on other devices."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from howmany.serving.wall_clock import CLAIMED, Track, batch, interval, tax_findings
from howmany.study import budget_label
from howmany.verdict import Judged
from moelaws.charts.tables import readable
from moelaws.counting import count_parameters
from moelaws.pacing.equal_time import race
from moelaws.pacing.step_model import sheet_steps, step_model
from moelaws.pacing.timed_runs import predict_seconds
from moelaws.runs.step_table import stepped_model
from moelaws.serving.hardware import TYPICAL, accelerator


def purse_table(found: Sequence[Track], prices: Mapping[str, str]) -> pd.DataFrame:
    """What the dense model spends at each budget, what it costs, and the best number of experts in both currencies.

    Args:
        found: the tracks.
        prices: name of a track -> hardware preset whose rent is known.
    """
    rows = []
    for track in found:
        rent = accelerator(prices[track.name]).dollars_per_hour if track.name in prices else np.nan
        best = {by: interval(track.race.best_experts(by), drawn=True) for by in ("flops", "seconds")}
        for i, purse in enumerate(track.race.purses[track.race.within]):
            row: dict[str, Any] = {"device": track.name, "FLOPs": budget_label(purse.flops), "seconds": purse.seconds,
                                   "cents": 100 * rent * purse.seconds / 3600}  # fmt: skip
            for by, (value, low, high) in best.items():
                row[f"best E by {by.replace('flops', 'FLOPs')}"] = f"{value[i]:g} [{low[i]:g}, {high[i]:g}]"
            rows.append(row)
    return readable(pd.DataFrame(rows).set_index(["device", "FLOPs"]), "{:#.3g}")


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
        measured = device is track.race.device
        rows.append({"device": name if measured else name.upper(), "known from": raced.device.source,
                     "dense, seconds": raced.purses[at].seconds,
                     f"worth in seconds, E = {n_experts}": f"{value:.2f} [{low:.2f}, {high:.2f}]"})  # fmt: skip
    return readable(pd.DataFrame(rows).set_index("device"), "{:#.3g}")


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


def _recorded_numbers(found: Sequence[Track]) -> dict[str, Any]:
    """The least and the largest median of those ratios on each device."""
    middle = recorded_check(found)["recorded over foreseen"].str.split().str[0].astype(float).groupby(level=0)
    return {
        f"wc_{key}_recorded": f"{middle.min()[track.name]:.1f} to {middle.max()[track.name]:.1f}"
        for key, track in zip(("cpu", "gpu"), found, strict=True)
    }


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
    said |= _sheet_numbers(steps) | _recorded_numbers(found)
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
