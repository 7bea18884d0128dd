"""How fast is ``fit``? Every figure in CPU seconds of this process, one thread.

    OMP_NUM_THREADS=1 python benchmarks/fit_speed.py --out benchmarks/results/fit_speed.json

* ``fit`` with all 4,500 starts of the published grid of the five-parameter dense law on 240 runs, per start, against
  SciPy's L-BFGS-B with numerical gradients in this same process (the published way; a sample of the same starts); ours
  is the median of five; starts that come to predict the same are merged on the way, so the ratio without merging is
  given too
* one certified fit of that law
* 4,000 bootstrap refits of it
* time against the number of runs, 1e2 to 1e5, and the memory that goes with it
* a fit of every law, on 332 runs that follow it and on the 332 recorded ones of ``data/runs/isoflop.csv``: what
  ``moelaws fit`` computes, the search and the intervals of all parameters, and the search alone; the median and the
  worst of three seeds, each the least of two fits
* a law of ten parameters on 1e5 runs, the same

``load`` is the machine's load average, before and after: beside other work CPU seconds grow, too.
"""

import argparse
import json
import os
import resource
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from fit_tables import make_table
from scipy.optimize import minimize as scipy_minimize

from moelaws.fitting.engine.first_descent import first_descent
from moelaws.fitting.engine.minimise import minimise
from moelaws.fitting.engine.problem import Problem, bind
from moelaws.fitting.engine.starts import grid
from moelaws.fitting.fit import fit
from moelaws.fitting.foresight import OpenDesignWarning
from moelaws.fitting.intervals.uncertainty import bootstrap
from moelaws.fitting.objective import FitError, Objective
from moelaws.fitting.table import prepare
from moelaws.laws import LAWS, LawError
from moelaws.provenance import machine
from moelaws.runs import derive, read_runs

RECORDED = Path(__file__).parents[1] / "data" / "runs" / "isoflop.csv"

# Hoffmann et al. 2022, App. D.3: 4,500 starts, logs of the amplitudes and the exponents on a grid.
HOFFMANN_GRID = {
    "A": np.exp([0.0, 5, 10, 15, 20, 25]),
    "B": np.exp([0.0, 5, 10, 15, 20, 25]),
    "E": np.exp([-1.0, -0.5, 0, 0.5, 1]),
    "alpha": [0.0, 0.5, 1, 1.5, 2],
    "beta": [0.0, 0.5, 1, 1.5, 2],
}


def dense_problem(n_runs: int = 240) -> tuple[Problem, dict[str, np.ndarray]]:
    """The five-parameter law on runs with 1 % noise."""
    law, table, _ = make_table("hoffmann2022", n_runs, 0.01, seed=1)
    prepared = prepare(law, table)
    return bind(law, prepared.data, prepared.target, Objective("huber-log", 1e-3)), table


def scipy_start(problem: Problem, data: dict[str, np.ndarray], theta: np.ndarray) -> float:
    """One start as published fits run it: L-BFGS-B, log-sum-exp, Huber, gradient by differences."""
    log_n, log_d = np.log(data["N"]), np.log(data["D"])
    observed, delta = problem.observed[0], problem.objective.delta

    def loss(x: np.ndarray) -> float:
        a, b, e, alpha, beta = x
        terms = np.stack([a - alpha * log_n, b - beta * log_d, np.full_like(log_n, e)])
        top = terms.max(axis=0)
        size = np.abs(top + np.log(np.exp(terms - top).sum(axis=0)) - observed)
        return float(np.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta)).sum())

    return float(scipy_minimize(loss, theta, method="L-BFGS-B").fun)


def many_starts(sample: int) -> dict[str, float]:
    problem, table = dense_problem()
    times = []
    for _ in range(5):
        began = time.process_time()
        result = fit("hoffmann2022", table, starts=HOFFMANN_GRID)
        times.append(time.process_time() - began)
    ours = float(np.median(times))
    theta = grid(problem, HOFFMANN_GRID)
    data = problem.law.data(table)
    began = time.process_time()
    ends = minimise(problem, first_descent(problem, theta).theta, steps=60, tolerance=1e-8)
    unmerged = time.process_time() - began
    best = result.search.objective_value
    pick = np.random.default_rng(0).choice(len(theta), sample, replace=False)
    began = time.process_time()
    values = np.array([scipy_start(problem, data, theta[i]) for i in pick])
    theirs = time.process_time() - began
    return {
        "starts": result.search.starts,
        "fit_cpu_s": ours,
        "fit_ms_per_start": 1e3 * ours / len(theta),
        "scipy_ms_per_start": 1e3 * theirs / sample,
        "ratio": theirs / sample / (ours / len(theta)),
        "ratio_without_merging": theirs / sample / (unmerged / len(theta)),
        "fit_share_at_optimum": result.search.starts_at_optimum / result.search.starts,
        "without_merging_share_at_optimum": float(np.mean(ends.value <= best * (1 + 1e-6))),
        "scipy_share_at_optimum": float(np.mean(values <= best * (1 + 1e-6))),
        "scipy_share_within_1e-3": float(np.mean(values <= best * (1 + 1e-3))),
        "objective": best,
        "least_of_scipys_sample": float(values.min()),
    }


def one_fit(repeats: int = 5) -> dict[str, float]:
    _, table = dense_problem()
    fit("hoffmann2022", table)
    times = []
    for seed in range(repeats):
        began = time.process_time()
        fit("hoffmann2022", table, seed=seed)
        times.append(time.process_time() - began)
    return {"median_cpu_s": float(np.median(times)), "worst_cpu_s": max(times)}


def refits(replicates: int = 4000) -> dict[str, float]:
    _, table = dense_problem()
    result = fit("hoffmann2022", table)
    began = time.process_time()
    sample = bootstrap(result, replicates)
    return {"replicates": replicates, "cpu_s": time.process_time() - began, "failed": sample.failed}


def growth() -> list[dict[str, float]]:
    """Thirty steps of sixteen starts, and a whole fit, against the number of runs."""
    rows = []
    for n_runs in (100, 1_000, 10_000, 100_000):
        problem, table = dense_problem(n_runs)
        theta = np.tile(problem.coordinates(
            {"A": 300.0, "B": 500.0, "E": 1.5, "alpha": 0.33, "beta": 0.3}), (16, 1))  # fmt: skip
        theta += 0.05 * np.random.default_rng(0).standard_normal(theta.shape)
        began = time.process_time()
        minima = minimise(problem, theta, steps=30, tolerance=0.0)
        seconds = time.process_time() - began
        began = time.process_time()
        fit("hoffmann2022", table)
        whole = time.process_time() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        per_step = 1e9 * seconds / (n_runs * minima.steps.sum())
        rows.append({"n_runs": n_runs, "fit_cpu_s": whole, "steps_cpu_s": seconds, "ns_per_run_and_step": per_step,
                     "peak_mb": peak})  # fmt: skip
    return rows


def timed_fit(name: str, table: Any, seed: int) -> tuple[float, float, float]:
    """Seconds of a search and its intervals, user and system, and of the search alone."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.process_time()
    result = fit(name, table, seed=seed)
    search = time.process_time() - began
    result.with_intervals()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime, search


def every_law(n_runs: int = 332, seeds: int = 3) -> list[dict[str, Any]]:
    """Each law on runs that follow it, and on the recorded isoFLOP runs where these have what it needs."""
    recorded = derive(read_runs(RECORDED))[0]
    rows = []
    for name, law in LAWS.items():
        for kind, table in (("follows the law", make_table(name, n_runs, 0.01, seed=1)[1]), ("recorded", recorded)):
            try:
                prepared = prepare(law, table)
            except (LawError, FitError):
                continue  # a column that these runs lack, or that does not vary
            seconds = np.array(
                [min((timed_fit(name, table, seed) for _ in "ab"), key=lambda t: t[0] + t[1]) for seed in range(seeds)]
            )
            whole = seconds[:, :2].sum(axis=1)
            rows.append({
                "law": name, "runs": kind, "n_runs": len(prepared.target), "parameters": len(law.parameters),
                "median_cpu_s": float(np.median(whole)), "worst_cpu_s": float(whole.max()),
                "median_search_cpu_s": float(np.median(seconds[:, 2])),
                "system_share": float(seconds[:, 1].sum() / whole.sum()),
            })  # fmt: skip
            print(*rows[-1].values(), flush=True)
    return rows


def many_runs(name: str = "abnar2025", n_runs: int = 100_000) -> dict[str, Any]:
    """Ten parameters on very many runs."""
    user, system, search = timed_fit(name, make_table(name, n_runs, 0.01, seed=1)[1], 0)
    return {"law": name, "n_runs": n_runs, "parameters": len(LAWS[name].parameters), "cpu_s": user + system,
            "search_cpu_s": search, "system_share": system / (user + system)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=100, help="starts that SciPy runs")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore", OpenDesignWarning)
    load = os.getloadavg()[0]
    results = {
        "machine": machine(),
        "every_law": every_law(),
        "many_runs": many_runs(),
        "growth": growth(),
        "one_fit": one_fit(),
        "refits": refits(),
        "many_starts": many_starts(options.sample),
    }
    results["load"] = [load, os.getloadavg()[0]]
    print(json.dumps(results, indent=2))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
