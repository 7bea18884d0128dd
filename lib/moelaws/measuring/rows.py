"""Rows of the timing table: made from measurements, joined over passes, recorded."""

import json
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moelaws.counting import count_parameters
from moelaws.decoding.engine import AnyDecoder
from moelaws.measuring.measure import Measurement
from moelaws.provenance import code_version, machine
from moelaws.runs.timings import SETTING, TIMINGS
from moelaws.runs.writing.measured import Measured, record_measured

TOUCHED = Measured(
    "table of experts touched",
    (
        "d_model", "n_experts", "top_k", "layer", "tokens", "source", "groups", "touched", "touched_sd", "of_load",
        "even",
    ),
    ("d_model", "n_experts", "top_k", "layer", "tokens", "source"),
)  # fmt: skip
"""The table of ``routes.measure_touched``."""


def timing_row(decoder: AnyDecoder, found: Measurement, weights: str, text: str) -> dict[str, Any]:
    """A measurement as a row of the timing table.

    Args:
        decoder: the model that was measured.
        found: the measurement.
        weights: whose they are: ``trained`` or ``random``.
        text: what the requests were cut from: a corpus, or ``uniform`` tokens.
    """
    config = decoder.config
    parameters = count_parameters(config)
    row = {
        **config.to_dict(),
        "total_params": parameters.total,
        "active_params": parameters.active,
        "weights": weights,
        "routing": found.routing if config.is_moe else "dense",
        "text": text,
        "batch": found.batch,
        "prompt_tokens": found.prompt_tokens,
        "new_tokens": found.new_tokens,
        "prefill_seconds": found.prefill.median,
        "prefill_low": found.prefill.low,
        "prefill_high": found.prefill.high,
        "decode_step_seconds": found.decode_step.median,
        "decode_step_low": found.decode_step.low,
        "decode_step_high": found.decode_step.high,
        "tokens_per_second": found.tokens_per_second,
        "repeats": found.prefill.n,
        "passes": 1,
        "clock": found.clock,
        "processor_share": found.processor_share,
        "peak_memory_bytes": found.peak_bytes,
        "cache_bytes": found.cache_bytes,
        "experts_touched": statistics.fmean(found.touched) if found.touched else 1.0,
        "experts_touched_by_layer": json.dumps([round(count, 3) for count in found.touched]),
        "dtype": "float32",
        "device": "cpu" if decoder.device.type == "cpu" else torch.cuda.get_device_name(decoder.device),
        "machine": machine(),
        "threads": decoder.threads,
        "engine": decoder.engine,
        "torch_version": torch.__version__,
        "code_version": code_version(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return _rounded(row)


def over_passes(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One row from measurements of one setting, taken in passes over all settings.

    What disturbs a machine lasts for seconds: it spoils all repeats of one pass, and no other pass. So times are
    medians of the passes' medians, with the quartiles over passes beside them.

    Args:
        rows: of one setting, a pass each.

    Returns:
        The last row with these times; ``repeats`` is of all passes, ``passes`` says how many there were.
    """
    row = dict(rows[-1]) | {"passes": len(rows)}
    if len(rows) == 1:
        return row
    for name in ("prefill", "decode_step"):
        low, middle, high = np.quantile([one[f"{name}_seconds"] for one in rows], (0.25, 0.5, 0.75))
        row |= {f"{name}_low": low, f"{name}_seconds": middle, f"{name}_high": high}
    row["tokens_per_second"] = row["batch"] / row["decode_step_seconds"]
    row["processor_share"] = statistics.median(one["processor_share"] for one in rows)
    row["peak_memory_bytes"] = max(one["peak_memory_bytes"] for one in rows)
    row["repeats"] = sum(one["repeats"] for one in rows)
    return _rounded(row)


def setting(row: dict[str, Any]) -> tuple[Any, ...]:
    """What a row measures: equal for two rows that measure the same again."""
    return tuple(row.get(name, TIMINGS.before.get(name)) for name in SETTING)


def record_rows(path: Path, rows: Sequence[dict[str, Any]], kind: Measured = TIMINGS) -> None:
    """Put rows into a table; a row that measures the same again takes the older one's place. Whole or not at all.

    Args:
        path: a CSV file; made if absent.
        rows: the new rows.
        kind: the table that they are rows of.

    Raises:
        RunTableError, TableInUseError, OSError: see ``record_measured``.
    """
    record_measured(path, rows, kind)


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in row.items()}
