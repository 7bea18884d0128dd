"""Do 95 % intervals cover the truth 95 times in 100? Synthetic repetitions of the dense, Clark and Abnar laws.

    python benchmarks/fit_coverage.py --repetitions 500 --out benchmarks/results/fit_coverage.csv

Every repetition draws a new design and new noise, descends from the truth and three points around it (whether the
search finds the way from afar is ``fit_optimum.py``'s question), and makes intervals in three ways: by the likelihood,
by the bootstrap over runs and from large-sample errors. A parameter counts in the repetitions in which the result says
it is identified; ``coverage_of_all`` counts every repetition.
"""

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from fit_tables import make_table

from moelaws.fitting.descent import Found, polish
from moelaws.fitting.fit import as_result
from moelaws.fitting.objective import Objective
from moelaws.fitting.problem import bind
from moelaws.fitting.result import FitResult
from moelaws.fitting.table import prepare
from moelaws.fitting.uncertainty import bootstrap, large_sample, likelihood

# Law, runs, noise of ln L. At 1 % noise the floor of Abnar's ten-parameter law is open in most of the tables.
CASES = [("hoffmann2022", 240, 0.01), ("clark2022", 240, 0.01), ("abnar2025", 400, 0.002), ("abnar2025", 400, 0.01)]


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


def intervals_of(result: FitResult, replicates: int, seed: int) -> dict[str, FitResult]:
    """The result with intervals made in three ways."""
    by_bootstrap = bootstrap(result, replicates, seed).result
    # Where refits run away the bootstrap falls back on the likelihood: no need to compute it twice.
    fell_back = by_bootstrap.interval_method.startswith("likelihood")
    by_likelihood = by_bootstrap if fell_back else likelihood(result)
    return {"likelihood": by_likelihood, "bootstrap": by_bootstrap, "large sample": large_sample(result)}


def tallies(name: str, n_runs: int, noise: float, options: argparse.Namespace) -> Iterator[list[dict]]:
    """Coverage of each method and parameter in one case, after every 25 repetitions."""
    hits: dict[tuple[str, str], list[tuple[bool, bool]]] = {}
    began = time.process_time()
    for seed in range(options.repetitions):
        result, truth = fit_from_truth(name, n_runs, noise, seed, options.objective)
        for method, made in intervals_of(result, options.replicates, seed).items():
            for key, (low, high) in made.intervals.items():
                hits.setdefault((method, key), []).append((made.identified[key], low <= truth[key] <= high))
        if (seed + 1) % 25 and seed + 1 < options.repetitions:
            continue
        print(f"{name}, noise {noise}: {seed + 1} repetitions, {time.process_time() - began:.0f} CPU s", flush=True)
        rows = []
        for (method, key), each in hits.items():
            known = [covered for identified, covered in each if identified]
            rows.append(
                {
                    "law": name, "objective": options.objective, "n_runs": n_runs, "noise": noise, "method": method,
                    "parameter": key, "identified": len(known), "repetitions": seed + 1,
                    "coverage": round(float(np.mean(known)), 4) if known else "",
                    "coverage_of_all": round(float(np.mean([covered for _, covered in each])), 4),
                }
            )  # fmt: skip
        yield rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--replicates", type=int, default=300, help="bootstrap refits of each repetition")
    parser.add_argument("--objective", default="huber-log")
    parser.add_argument("--laws", default=",".join(dict.fromkeys(name for name, _, _ in CASES)))
    parser.add_argument("--noise", type=float, help="only the cases of this noise")
    parser.add_argument("--out", type=Path, help="rows of other cases in this file stay")
    options = parser.parse_args()
    rows: list[dict] = []
    if options.out and options.out.exists():
        with options.out.open(newline="") as file:
            rows = list(csv.DictReader(file))
    for name, n_runs, noise in CASES:
        if name not in options.laws.split(",") or options.noise not in (None, noise):
            continue
        others = [row for row in rows if (row["law"], float(row["noise"])) != (name, noise)]
        for made in tallies(name, n_runs, noise, options):
            rows = others + made
            if options.out:
                options.out.parent.mkdir(parents=True, exist_ok=True)
                with options.out.open("w", newline="") as file:
                    writer = csv.DictWriter(file, fieldnames=list(made[0]), restval="", extrasaction="ignore")
                    writer.writeheader()
                    writer.writerows(rows)
        for row in made:
            print(*row.values())
        for column in ("coverage", "coverage_of_all"):
            shares = [row[column] for row in made if row["method"] == "likelihood" and row[column] != ""]
            inside = sum(0.92 <= share <= 0.98 for share in shares)
            print(f"likelihood, {column}: {inside} of {len(shares)} parameters 92 to 98 times in 100", flush=True)


if __name__ == "__main__":
    main()
