"""Decode steps on a clock: the mixture against the dense model, experts touched, rules that predict a step's time."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from moelaws.charts.decode_steps import predicted_steps, step_by_batch, touched_by_tokens
from moelaws.serving.calibration import Calibration, Errors, bare_rule, calibrate, works
from moelaws.serving.roofline import Machine, overhead_seconds, reading_seconds, step_seconds
from moelaws.serving.touched import even_experts

_STEP = "decode_step_seconds"
_RULES = {"total: all E": "n_experts", "active: K": "top_k", "distinct, even": "even", "distinct, by load": "of_load"}
"""Ways to count the experts that a step touches -> the column that holds the count."""
_ENGINES = {"compiled": "by the compiled decoder", "eager": "by torch, an operation at a time"}
"""What decoded, in words."""


def routed(timings: pd.DataFrame, width: int) -> pd.DataFrame:
    """The timings of one width, with experts chosen by the router."""
    return timings[(timings["routing"] != "uniform") & (timings["d_model"] == width)]


def step_figure(own: pd.DataFrame) -> alt.LayerChart:
    """Milliseconds of a decode step against the batch, a line a number of experts."""
    steps = _steps(own)
    known = ", ".join(map(str, sorted(own["n_experts"].unique())))
    return step_by_batch(
        own,
        f"{steps.columns.max()} experts take up to {_ratio(steps).max():.1f} times the dense step",
        f"Milliseconds of a decode step against 1 to 256 requests for {known} experts",
    )


def step_numbers(own: pd.DataFrame) -> dict[str, Any]:
    """The mixture's step over the dense one's, what a batch gains, and where it was measured."""
    steps = _steps(own)
    most, last, ratio = steps.columns.max(), steps.index.max(), _ratio(steps)
    low, high = (own.pivot(index="batch", columns="n_experts", values=f"decode_step_{end}") for end in ("low", "high"))
    least, top = low[most] / high[1], high[most] / low[1]

    def between(batch: int) -> str:
        return f"[{least[batch]:.1f}, {top[batch]:.1f}]"

    return {
        "sm_one_range": between(steps.index.min()),
        "sm_worst_range": between(ratio.idxmax()),
        "sm_most": int(most),
        "sm_last": int(last),
        "sm_one": f"{steps.loc[1, most] / steps.loc[1, 1]:.1f}",
        "sm_passes": int(own["passes"].min()),
        "sm_worst": f"{ratio.max():.1f}",
        "sm_worst_batch": int(ratio.idxmax()),
        "sm_end": f"{ratio[last]:.1f}",
        "sm_gain": f"{last * steps.loc[1, most] / steps.loc[last, most]:.1f}",
        "sm_machine": own["machine"].iloc[0],
        "sm_engine": _ENGINES[own["engine"].iloc[0]],
    }


def touched_figure(touched: pd.DataFrame, n_experts: int, top_k: int, layer: int) -> alt.LayerChart:
    """Distinct experts against tokens in one layer: counted, predicted from loads, and by rules of thumb."""
    rows = touched[
        (touched["n_experts"] == n_experts)
        & (touched["top_k"] == top_k)
        & (touched["layer"] == layer)
        & (touched["source"] == "independent")
    ]
    kinds = {"measured": "touched"} | _RULES
    shown = pd.concat(
        [rows[["tokens"]].assign(experts=rows[column], kind=kind) for kind, column in kinds.items()], ignore_index=True
    )
    off = (rows["of_load"] / rows["touched"] - 1).abs().max()
    return touched_by_tokens(
        shown,
        f"Loads of the router predict the experts touched within {off:.1%}",
        "Distinct experts against 1 to 256 tokens: measured points on the line predicted from loads, below the even "
        "one",
    )


def count_errors(touched: pd.DataFrame) -> pd.DataFrame:
    """The largest error of each way to count over all batches and layers, by experts and experts a token."""
    apart = touched[touched["source"] == "independent"]
    by = [apart["n_experts"].rename("experts"), apart["top_k"].rename("per token")]
    return pd.DataFrame(
        {name: (apart[column] / apart["touched"] - 1).abs().groupby(by).max() for name, column in _RULES.items()}
    )


def touched_numbers(touched: pd.DataFrame) -> dict[str, Any]:
    """How far the ways to count are off, with 32 experts and in tokens of one text."""
    errors, together = count_errors(touched), touched[touched["source"] == "one text"]
    apart = touched[touched["source"] == "independent"]
    at = apart[(apart["n_experts"] == 32) & (apart["top_k"] == 1) & (apart["tokens"] == 32)]["touched"]
    return {
        "sm_load_error": f"{errors['distinct, by load'].max():.1%}",
        "sm_even_error": f"{errors['distinct, even'].max():.0%}",
        "sm_blind": f"{float(even_experts(32, 1, 32)):.1f}",
        "sm_found": f"{at.min():.1f} and {at.max():.1f}",
        "sm_alike": f"{(1 - together['touched'] / together['of_load']).max():.0%}",
    }


def calibrations(timings: pd.DataFrame) -> dict[str, Calibration]:
    """The machine fitted under each rule for the experts that a step reads."""
    return {rule: calibrate(timings, rule=rule) for rule in ("total", "active", "distinct")}


def rule_errors(timings: pd.DataFrame, fits: Mapping[str, Calibration]) -> pd.DataFrame:
    """Errors on models that a fit has not seen: of weights alone, and of the machine with its overheads."""
    bare = {f"weights alone, {name}": bare_rule(timings, name) for name in fits}
    full = {f"machine, {name}": found.held_out for name, found in fits.items()}
    return pd.DataFrame({name: _errors(one) for name, one in (bare | full).items()}).T


def prediction_figure(timings: pd.DataFrame, found: Calibration) -> alt.LayerChart:
    """Predicted against measured steps of unseen models."""
    return predicted_steps(
        timings.assign(measured=1e3 * timings[_STEP], predicted=1e3 * found.predicted),
        f"Unseen models: half within {found.held_out.median:.0%}, nine in ten within {found.held_out.p90:.0%}",
        "Predicted against measured milliseconds of decode steps on a diagonal, coloured by the number of experts",
    )


def rule_numbers(timings: pd.DataFrame, fits: Mapping[str, Calibration]) -> dict[str, Any]:
    """Errors under each rule, and what share of a step is reading and what is waiting."""
    found = fits["distinct"]
    work, machine = works(timings, "decode"), found.machine
    total = step_seconds(machine, work)
    read = reading_seconds(machine, work)
    reading = _by_batch((read["always"] + read["experts"]) / total, timings)
    waiting = _by_batch(overhead_seconds(machine, work) / total, timings)
    return {
        "sm_median": f"{found.held_out.median:.0%}",
        "sm_p90": f"{found.held_out.p90:.0%}",
        "sm_bare": f"{bare_rule(timings, 'distinct').median:.0%}",
        "sm_total": f"{fits['total'].held_out.median:.0%}",
        "sm_active": f"{fits['active'].held_out.median:.0%}",
        "sm_total_p90": f"{fits['total'].held_out.p90:.0%}",
        "sm_active_p90": f"{fits['active'].held_out.p90:.0%}",
        "sm_reading_one": f"{reading.iloc[0]:.0%}",
        "sm_reading_last": f"{reading.iloc[-1]:.0%}",
        "sm_rates": _rates(machine),
        "sm_waiting_one": f"{waiting.iloc[0]:.0%}",
        "sm_waiting_last": f"{waiting.iloc[-1]:.0%}",
    }


def _by_batch(shares: np.ndarray, timings: pd.DataFrame) -> pd.Series:
    """The median share at each batch, from one request on."""
    return pd.Series(shares, index=timings.index).groupby(timings["batch"]).median()


def _rates(machine: Machine) -> str:
    """Bandwidths of reading, in words."""
    memory = f"{machine.bytes_per_second / 1e9:.0f} GB/s from memory"
    if not machine.resident_bytes:
        return memory
    near = f"{machine.resident_bytes_per_second / 1e9:.0f} GB/s from a cache of {machine.resident_bytes / 1e6:.0f} MB"
    return f"{near} and {memory}"


def against_die(timings: pd.DataFrame, width: int, n_experts: int) -> pd.DataFrame:
    """Experts touched and the time of a step, with a trained router and with experts drawn evenly."""
    one = timings[(timings["d_model"] == width) & (timings["n_experts"] == n_experts)]
    pair = one.pivot(index="batch", columns="routing", values=[_STEP, "experts_touched"])
    counts, steps = pair["experts_touched"], pair[_STEP]
    return pd.DataFrame(
        {
            "experts, router": counts["router"],
            "experts, die": counts["uniform"],
            "step, router / die": steps["router"] / steps["uniform"],
        }
    )


def die_numbers(timings: pd.DataFrame) -> dict[str, Any]:
    """Where the router's step is shortest for reading fewer experts than the die's, and how far the two differ where
    both read equally many."""
    mixed = timings[timings["n_experts"] > 1]
    setting = ["d_model", "n_experts", "batch"]
    pair = mixed.pivot(index=setting, columns="routing", values=[_STEP, "experts_touched"])
    against = pair[_STEP]["router"] / pair[_STEP]["uniform"]
    same = pair["experts_touched"]["router"] / pair["experts_touched"]["uniform"]
    least = against[same <= 0.98].idxmin()
    counts = pair["experts_touched"].loc[least]
    return {
        "sm_least": f"{against[least]:.2f}",
        "sm_least_width": int(least[0]),
        "sm_least_experts": int(least[1]),
        "sm_least_batch": int(least[2]),
        "sm_least_touched": f"{counts['router']:.1f} instead of {counts['uniform']:.1f}",
        "sm_same": f"{(against[same > 0.98] - 1).abs().median():.0%}",
    }


def worst_batches(timings: pd.DataFrame) -> dict[int, int]:
    """Width -> the batch at which most experts are dearest against the dense model."""
    table = timings[timings["routing"] != "uniform"]
    return {
        int(str(width)): int(_ratio(_steps(one)).idxmax())
        for width, one in table.groupby("d_model")
    }  # fmt: skip


def live_table(rows: pd.DataFrame, n_experts: int) -> pd.DataFrame:
    """What was measured here and now, beside the experts that even routing would touch.

    Args:
        rows: what ``measure_batches`` returns.
        n_experts: of the model.
    """
    return pd.DataFrame(
        {
            "first token (ms)": 1e3 * rows["prefill_seconds"],
            "decode step (ms)": 1e3 * rows["decode_step_seconds"],
            "tokens/s": rows["tokens_per_second"],
            "experts": rows["experts_touched"],
            "even routing": even_experts(n_experts, 1, rows["batch"]),
        }
    ).set_index(rows["batch"])


def _steps(timings: pd.DataFrame) -> pd.DataFrame:
    return timings.pivot(index="batch", columns="n_experts", values=_STEP)


def _ratio(steps: pd.DataFrame) -> pd.Series:
    return steps[steps.columns.max()] / steps[1]


def _errors(one: Errors) -> dict[str, float]:
    return {"median error": one.median, "nine in ten within": one.p90}
