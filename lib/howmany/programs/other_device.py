"""The same runs on another device: bf16 on a GPU beside fp32 on a CPU, pair by pair."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t

from moelaws.runs import finished, read_runs

NEEDED = ("run_id", "loss", "n_experts")


def differences(there_file: str, here_files: Sequence[str]) -> pd.DataFrame:
    """Loss on the other device less that of the run of the same ``run_id`` here.

    Args:
        there_file: runs that were made again.
        here_files: tables of the first time; a ``run_id`` that several hold counts once.

    Returns:
        One row for dense models, for mixtures and for each number of experts: ``runs``, ``pairs``, ``mean`` with the
        95 % interval ``low``, ``high`` by Student's t, the ``least`` and the ``most``, nats per token.
    """
    there = finished(read_runs(there_file, required=NEEDED))
    here = pd.concat([finished(read_runs(file, required=NEEDED)) for file in here_files]).drop_duplicates("run_id")
    both = there.merge(here[["run_id", "loss"]], on="run_id", suffixes=("", "_here"), validate="1:1")
    if both.empty:
        raise ValueError(f"no run_id of {there_file} stands in {', '.join(here_files)}")
    apart = both.assign(apart=both["loss"] - both["loss_here"])
    groups = {f"E = {e}": rows for e, rows in apart.groupby("n_experts")}
    groups["mixtures"] = apart[apart["n_experts"] > 1]
    rows = []
    for name, part in groups.items():
        values, n = part["apart"].to_numpy(float), len(part)
        reach = float(t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
        ends = {"low": values.mean() - reach, "high": values.mean() + reach}
        ends |= {"least": values.min(), "most": values.max()}
        rows.append({"runs": name, "pairs": n, "mean": values.mean()} | ends)
    return pd.DataFrame(rows).set_index("runs")


def device_table(found: pd.DataFrame) -> pd.DataFrame:
    """The same, written out."""
    return pd.DataFrame(
        {
            "pairs": found["pairs"].astype(str),
            "GPU less CPU": [f"{r['mean']:+.3f} [{r['low']:+.3f}, {r['high']:+.3f}]" for _, r in found.iterrows()],
            "least and most": [f"{r['least']:+.3f}, {r['most']:+.3f}" for _, r in found.iterrows()],
        }
    )


def device_numbers(found: pd.DataFrame) -> dict[str, Any]:
    """Numbers for the sentences."""
    dense, mixed = found.loc["E = 1"], found.loc["mixtures"]
    return {
        "od_dense": f"{dense['mean']:+.3f} [{dense['low']:+.3f}, {dense['high']:+.3f}]",
        "od_mixed": f"{mixed['mean']:+.3f} [{mixed['low']:+.3f}, {mixed['high']:+.3f}]",
        "od_dense_most": f"{max(abs(dense['least']), abs(dense['most'])):.3f}",
        "od_least": f"{mixed['least']:+.3f}", "od_most": f"{mixed['most']:+.3f}",
        "od_word": "beyond chance" if mixed["low"] > 0 or mixed["high"] < 0 else "that is not beyond chance",
        "od_all": int(found["pairs"].loc["E = 1"]) + int(found["pairs"].loc["mixtures"]),
        "od_pairs": int(found["pairs"].loc["mixtures"]),
    }  # fmt: skip
