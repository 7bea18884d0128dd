"""A machine whose constants are known, and the timing table that it would give."""

from functools import cache

import numpy as np
import pandas as pd

from moelaws.serving.calibration import Phase, works
from moelaws.serving.roofline import Machine, Work, step_seconds

TRUTH = Machine(
    flops_per_second=4e10, bytes_per_second=9e9, cache_slowdown=1.7, routed_row_bytes_per_second=2e10, overlap=0.0,
    seconds_per_step=3e-5, seconds_per_layer=9e-5, seconds_per_routed_layer=1.2e-4, seconds_per_expert=2e-6,
    seconds_per_row=5e-6,
)  # fmt: skip


def grid() -> pd.DataFrame:
    """Settings of a sweep over models, batches and prompts, without times."""
    rows = []
    for d in (32, 64, 128, 256):
        for layers in (1, 2, 4):
            for experts, k in ((1, 1), (4, 1), (16, 1), (64, 2)):
                for batch in (1, 4, 16, 64, 256):
                    for prompt in (16, 256):
                        rows.append(
                            {
                                "vocab_size": 1024, "d_model": d, "n_layers": layers, "n_heads": 4, "d_ff": 4 * d,
                                "n_experts": experts, "top_k": k, "granularity": 1, "context": 128,
                                "batch": batch, "prompt_tokens": prompt, "new_tokens": 8,
                            }
                        )  # fmt: skip
    return pd.DataFrame(rows)


@cache
def _work(phase: Phase) -> Work:
    return works(grid(), phase)


def timed(noise: float, machine: Machine = TRUTH) -> pd.DataFrame:
    """The grid with a known machine's times."""
    table, rng = grid(), np.random.default_rng(0)
    columns: dict[Phase, str] = {"decode": "decode_step_seconds", "prefill": "prefill_seconds"}
    for phase, column in columns.items():
        exact = step_seconds(machine, _work(phase))
        table[column] = exact * np.exp(rng.normal(0, noise, len(table)))
    return table
