"""What serving costs on paper: the sheets of machines, the time of a step and where it goes, real routers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from moelaws.charts.serving_costs import step_parts, time_per_token
from moelaws.exchange.precision import Precision
from moelaws.optimum.family import alternating
from moelaws.serving.cost import CHAT
from moelaws.serving.hardware import ACCELERATORS, TYPICAL, node
from moelaws.serving.roofline import (
    Machine,
    activation_seconds,
    decode_work,
    link_seconds,
    overhead_seconds,
    phase_seconds,
    step_seconds,
)
from moelaws.serving.served import Served, served_family
from moelaws.serving.shape import SHAPE
from moelaws.serving.touched import even_experts, experts_of_loads, loads_of_cell


@dataclass(frozen=True)
class Models:
    """The models of the chapter: experts in every second layer, two of which work on a token.

    Attributes:
        dense_params: size of the dense model of the same depth and width.
        experts: numbers of experts.
        batches: requests in a decode step.
    """

    dense_params: float
    experts: Sequence[int]
    batches: Sequence[int]

    def model(self, n_experts: int, n: Any = None) -> Served:
        """The model with so many experts, of ``n`` dense parameters where it is given."""
        size = self.dense_params if n is None else n
        return served_family(alternating(), size, n_experts, min(2, n_experts), SHAPE, 0.5)


def sheet() -> pd.DataFrame:
    """What the makers of the presets promise, in units of the trade."""
    table = pd.DataFrame(vars(a) for a in ACCELERATORS.values()).set_index("name")
    return pd.DataFrame(
        {
            "TFLOP/s (bf16)": table["flops_per_second"] / 1e12,
            "GB/s": table["bytes_per_second"] / 1e9,
            "GB": table["memory_bytes"] / 1e9,
            "link, GB/s one way": table["link_bytes_per_second"] / 1e9,
            "FLOPs per byte": table["flops_per_second"] / table["bytes_per_second"],
            "$ an hour, assumed": table["dollars_per_hour"],
        }
    )


def assumptions() -> pd.DataFrame:
    """What programs are assumed to reach of a data sheet, in words and units."""
    shares = {
        "matrix products in serving": TYPICAL.arithmetic,
        "memory bandwidth": TYPICAL.bandwidth,
        "the link's bandwidth": TYPICAL.link,
        "matrix products in training": TYPICAL.training,
        "reading beside multiplying": TYPICAL.overlap,
    }
    seconds = {
        "a step: scheduling, sampling": TYPICAL.seconds_per_step,
        "a layer: launches": TYPICAL.seconds_per_layer,
        "a routed layer: routing, sorting": TYPICAL.seconds_per_routed_layer,
        "an expert that is touched": TYPICAL.seconds_per_expert,
        "an all-reduce: latency": TYPICAL.link_seconds,
    }
    written = {f"{name}, share": f"{share:.0%}" for name, share in shares.items()} | {
        name: f"{1e6 * each:,.0f} µs" for name, each in seconds.items()
    }
    return pd.Series(written, name="assumed").to_frame()


def alone_numbers(models: Models, machine: Machine, gpus: int) -> dict[str, Any]:
    """One request on the dense model: bytes to read, and how long reading and multiplying take."""
    alone = decode_work(models.model(1), 1, CHAT.mean_cached)
    read, flops = float(alone.always_bytes), float(alone.flops)
    return {
        "sc_size": f"{models.dense_params / 1e9:g}",
        "sc_gpus": f"{gpus}",
        "sc_read": f"{read / 1e9:.0f}",
        "sc_bandwidth": f"{machine.bytes_per_second / 1e9:,.0f}",
        "sc_read_ms": f"{1e3 * read / machine.bytes_per_second:.1f}",
        "sc_multiply_ms": f"{1e3 * flops / machine.flops_per_second:.2f}",
        "sc_ridge": f"{machine.flops_per_second / machine.bytes_per_second:.0f}",
    }


def times(models: Models, machine: Machine) -> pd.DataFrame:
    """Microseconds of a decode step per token, by batch and number of experts."""
    return pd.DataFrame(
        {
            "batch": b,
            "n_experts": e,
            "microseconds": 1e6 * float(step_seconds(machine, decode_work(models.model(e), b, CHAT.mean_cached))) / b,
        }
        for e in models.experts
        for b in models.batches
    )


def time_figure(table: pd.DataFrame) -> alt.Chart:
    """The same as lines."""
    return time_per_token(
        table,
        title="Between one request and very many, a mixture is dear",
        description="Time of a decode step per token against the batch: it falls for all, later the more experts there "
        "are.",
    )


def elsewhere(models: Models, gpus: int) -> dict[str, pd.DataFrame]:
    """The times on every machine of the sheet that holds the models: name -> as ``times`` has them."""
    needed = float(models.model(max(models.experts)).weight_bytes(Precision.of(2)))
    holding = {name: device for name, device in ACCELERATORS.items() if gpus * device.memory_bytes > needed}
    return {name: times(models, node(device, gpus)) for name, device in holding.items()}


def time_numbers(table: pd.DataFrame, others: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """The mixture's step over the dense one's, at the smallest batch, at the worst and at the largest.

    Args:
        table: times on one machine.
        others: on others, over which the worst ratio ranges.
    """
    ratio = _over_dense(table)
    worst = [_over_dense(other).max() for other in (table, *others.values())]
    return {
        "sc_machines": len(others),
        "sc_worst_least": f"{min(worst):.1f}",
        "sc_worst_most": f"{max(worst):.1f}",
        "sc_most": f"{table['n_experts'].max()}",
        "sc_ratio_one": f"{ratio.iloc[0]:.1f}",
        "sc_ratio_worst": f"{ratio.max():.1f}",
        "sc_ratio_at": f"{ratio.idxmax()}",
        "sc_ratio_last": f"{ratio.iloc[-1]:.1f}",
        "sc_last": f"{table['batch'].max()}",
    }


def _over_dense(table: pd.DataFrame) -> pd.Series:
    wide = table.pivot(index="batch", columns="n_experts", values="microseconds")
    return wide[wide.columns.max()] / wide[1]


def parts(models: Models, machine: Machine) -> pd.DataFrame:
    """Milliseconds of a step by part, for the dense model and the one with most experts; parts add up to the step."""
    rows = []
    for e in (1, max(models.experts)):
        for b in models.batches:
            work = decode_work(models.model(e), b, CHAT.mean_cached)
            spent = {
                {"always": "always-on weights"}.get(part, part): float(seconds)
                for part, seconds in phase_seconds(machine, work).items()
            }
            spent["activations"] = float(activation_seconds(machine, work))
            spent["overheads"] = float(overhead_seconds(machine, work))
            spent["links"] = float(link_seconds(machine, work))
            assert abs(sum(spent.values()) / float(step_seconds(machine, work)) - 1) < 1e-9
            rows += [
                {"model": f"E = {e}", "batch": b, "part": part, "milliseconds": 1e3 * seconds}
                for part, seconds in spent.items()
            ]
    return pd.DataFrame(rows)


def part_figure(table: pd.DataFrame) -> alt.Chart:
    """The same as bars."""
    return step_parts(
        table,
        title="Large batches pay for the cache",
        description="Milliseconds of a step by part: overheads and weights rule small batches, the cache large ones.",
    )


def part_numbers(table: pd.DataFrame, models: Models) -> dict[str, Any]:
    """The cache's share of the dense step of the largest batch, and the overheads' of the mixture's smallest."""
    steps = table.set_index(["model", "batch", "part"])["milliseconds"]
    shares = steps / steps.groupby(["model", "batch"]).transform("sum")
    most = f"E = {max(models.experts)}"
    return {
        "sc_cache_dense": f"{shares['E = 1', max(models.batches), 'cache']:.0%}",
        "sc_overhead_one": f"{shares[most, min(models.batches), 'overheads']:.0%}",
    }


def uneven(runs: pd.DataFrame) -> pd.DataFrame:
    """Experts that a batch touches under the loads of trained routers, over those of even ones, by E and batch."""
    rows = []
    for _, run in runs[runs["n_experts"] > 1].iterrows():
        layers = loads_of_cell(run["expert_load"])
        for batch in (4, 16, 64):
            mean = np.mean([experts_of_loads(load, int(run["top_k"]), batch) for load in layers])
            even = float(even_experts(run["n_experts"], run["top_k"], batch))
            rows.append((int(run["n_experts"]), batch, mean / even))
    table = pd.DataFrame(rows, columns=["E", "B", "over even"])
    return table.pivot_table(index="E", columns="B", values="over even").rename(columns="B = {}".format)


def uneven_numbers(shares: pd.DataFrame) -> dict[str, Any]:
    """The least and the largest share."""
    return {"sc_uneven_least": f"{shares.min().min():.0%}", "sc_uneven_most": f"{shares.max().max():.0%}"}
