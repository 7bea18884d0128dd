"""Do 95 % intervals cover the truth 95 times in 100? Synthetic repetitions of the dense, Clark and Abnar laws.

    python benchmarks/fit_coverage.py --repetitions 500 --out benchmarks/results/fit_coverage.csv

Every repetition draws a new design and new noise, descends from the truth and three points around it (whether the
search finds the way from afar is ``fit_optimum.py``'s question), and makes intervals in two ways: the bootstrap over
runs and the large-sample errors. A parameter counts in the repetitions in which the result says it is identified.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from fit_tables import make_table

from moelaws.fitting.descent import Found, polish
from moelaws.fitting.fit import as_result
from moelaws.fitting.objective import Objective
from moelaws.fitting.problem import bind
from moelaws.fitting.result import FitResult
from moelaws.fitting.table import prepare
from moelaws.fitting.uncertainty import bootstrap, large_sample

# Runs and noise of ln L. At 1 % noise the floor of Abnar's ten-parameter law is open in half of the tables.
CASES = {"hoffmann2022": (240, 0.01), "clark2022": (240, 0.01), "abnar2025": (400, 0.002)}


def fit_from_truth(name: str, n_runs: int, noise: float, seed: int, objective: str) -> tuple[FitResult, dict]:
    """A fit whose search starts at the truth, and the truth."""
    law, table, truth = make_table(name, n_runs, noise, seed)
    prepared = prepare(law, table)
    problem = bind(law, prepared.data, prepared.target, Objective(objective))
    theta = np.repeat(problem.coordinates(truth), 4, axis=0)
    theta[1:] += 0.03 * np.random.default_rng(seed).standard_normal(theta[1:].shape)
    minima = polish(problem, theta)
    best = minima.best()
    found = Found(minima.theta[best], float(minima.value[best]), bool(minima.converged[best]), 1, 4)
    return as_result(law, problem, prepared, found, {}, 0.0), truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--replicates", type=int, default=300, help="bootstrap refits of each repetition")
    parser.add_argument("--objective", default="huber-log")
    parser.add_argument("--laws", default=",".join(CASES))
    parser.add_argument("--noise", type=float, help="in place of each law's own")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for name in options.laws.split(","):
        n_runs, noise = CASES[name]
        noise = noise if options.noise is None else options.noise
        hits: dict[tuple[str, str], list[bool]] = {}
        began = time.process_time()
        for seed in range(options.repetitions):
            result, truth = fit_from_truth(name, n_runs, noise, seed, options.objective)
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
                    "law": name, "objective": options.objective, "n_runs": n_runs, "noise": noise, "method": method,
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
