"""What the cost model foresees of published models, beside what others have measured and published.

The rows are in ``data/published/serving_measurements.csv``, each with its source; none was used to set anything. Costs
are those of ``moelaws measure --predict``: data sheets, and the shares and overheads of ``serving.TYPICAL``, which are
assumptions made before these rows were looked up. Nothing is timed: the same inputs give the same figures.

    python benchmarks/published_serving.py [--out FILE]
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import pandas as pd

from moelaws import count
from moelaws.exchange.precision import Precision
from moelaws.serving import OWN, accelerator, node, predict_steps, served_count

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "published_serving.json"
MEASUREMENTS = ROOT / "data" / "published" / "serving_measurements.csv"


def predicted(row: Any) -> float:
    """What the row measures, foreseen."""
    model = served_count(count(row["model"]))
    own = row["bytes_per_second"] == row["bytes_per_second"]
    numbers = {"flops_per_second": row["flops_per_second"], "bytes_per_second": row["bytes_per_second"]}
    device = accelerator(OWN, memory_bytes=128e9, **numbers) if own else accelerator(row["hardware"])
    machine = node(device, int(row["gpus"]))
    size = Precision(row["always_bytes"], row["expert_bytes"], row["cache_bytes"])
    requests, lengths = int(row["requests"]), (int(row["prompt_tokens"]), int(row["output_tokens"]))
    (found,) = predict_steps(model, machine, [requests], lengths, size)
    if row["quantity"] == "decode step ms":
        return 1e3 * found.decode_step_seconds
    if row["quantity"] == "output tokens per second of decoding":
        return requests / found.decode_step_seconds
    # All prompts at once, then all steps: what a program does with prompts handed over together.
    seconds = found.prefill_seconds + lengths[1] * found.decode_step_seconds
    return requests * lengths[1] / seconds


def compare() -> dict[str, Any]:
    """Every row with what is foreseen, and the errors by source and in all."""
    table = pd.read_csv(MEASUREMENTS)
    table["predicted"] = [float(f"{predicted(row):.4g}") for _, row in table.iterrows()]
    # Of times: a rate's error is that of the time behind it.
    rate = table["quantity"] != "decode step ms"
    ratio = (table["predicted"] / table["value"]).where(~rate, table["value"] / table["predicted"])
    table["time_over_measured"] = ratio.round(3)
    columns = ["model", "hardware", "gpus", "requests", "prompt_tokens", "output_tokens", "quantity", "value"]
    return {
        "rows": table[[*columns, "predicted", "time_over_measured", "source"]].to_dict("records"),
        "by_source": {source: _errors(part) for source, part in ratio.groupby(table["source"])},
        "all": _errors(ratio),
    }


def _errors(ratio: "pd.Series[float]") -> dict[str, float]:
    error = (ratio - 1).abs()
    return {
        "rows": len(ratio), "median_error": round(statistics.median(error), 3), "largest_error": round(max(error), 3),
        "median_ratio": round(statistics.median(ratio), 3),
    }  # fmt: skip


def main() -> None:
    """Compare, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    found = compare()
    for row in found["rows"]:
        print(
            f"{row['model']:16} {row['gpus']} x {row['hardware']:10} {row['requests']:4} requests "
            f"{row['prompt_tokens']:6} + {row['output_tokens']:4}: {row['quantity']} {row['value']:8.4g} measured, "
            f"{row['predicted']:8.4g} foreseen, time {row['time_over_measured']:.2f} of it"
        )
    for source, errors in (*found["by_source"].items(), ("all", found["all"])):
        print(f"{source}: {errors}")
    options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
