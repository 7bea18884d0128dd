"""Do 95 % intervals cover the truth 95 times in 100? Synthetic repetitions of the dense, Clark and Abnar laws.

    python benchmarks/fit_coverage.py --repetitions 500 --out benchmarks/results/fit_coverage.csv

Every repetition draws a new design and new noise (1 % on ln L), fits, and makes intervals in two ways: the bootstrap
over runs and the large-sample errors. A parameter counts in the repetitions in which the fit says it is identified.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from fit_tables import make_table

from moelaws.fitting.fit import fit
from moelaws.fitting.uncertainty import bootstrap, large_sample

RUNS = {"hoffmann2022": 240, "clark2022": 240, "abnar2025": 400}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--replicates", type=int, default=400, help="bootstrap refits of each repetition")
    parser.add_argument("--objective", default="huber-log")
    parser.add_argument("--laws", default=",".join(RUNS))
    parser.add_argument("--noise", type=float, default=0.01)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for name in options.laws.split(","):
        hits: dict[tuple[str, str], list[bool]] = {}
        began = time.process_time()
        for seed in range(options.repetitions):
            law, table, truth = make_table(name, RUNS[name], options.noise, seed)
            result = fit(law, table, options.objective, seed=seed, starts=24)
            for method in ("bootstrap", "large sample"):
                if method == "bootstrap":
                    made = bootstrap(result, options.replicates, seed).result
                else:
                    made = large_sample(result)
                for key, (low, high) in made.intervals.items():
                    if made.identified[key]:
                        hits.setdefault((method, key), []).append(low <= truth[key] <= high)
        for (method, key), covered in hits.items():
            rows.append(
                {
                    "law": name, "objective": options.objective, "n_runs": RUNS[name], "method": method,
                    "parameter": key, "identified": len(covered), "repetitions": options.repetitions,
                    "coverage": round(float(np.mean(covered)), 4),
                }
            )  # fmt: skip
            print(*rows[-1].values(), flush=True)
        print(f"{name}: {time.process_time() - began:.0f} CPU s", flush=True)
    inside = [0.92 <= row["coverage"] <= 0.98 for row in rows if row["method"] == "bootstrap"]
    print(f"bootstrap: {sum(inside)} of {len(inside)} parameters covered 92 to 98 times in 100")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with options.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
