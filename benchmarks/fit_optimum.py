"""Does ``fit`` reach the optimum? Against the best of 200 SciPy starts on synthetic tables of every law.

    python benchmarks/fit_optimum.py --tables 210 --out benchmarks/results/fit_optimum.csv

The reference has exact gradients, tight tolerances, and an advantage: a tenth of its starts begin at the truth. Its
starts run SciPy's trust-region least-squares solver with the same (Huber) loss; the ten best ends are followed further
by it and by L-BFGS-B on the sum, in turn. It works in the same coordinates and bounds.
"""

import argparse
import csv
import itertools
import time
from pathlib import Path

import numpy as np
from fit_tables import make_table
from scipy.optimize import least_squares
from scipy.optimize import minimize as scipy_minimize

from moelaws.fitting.engine.descent import FitFailed
from moelaws.fitting.engine.problem import Problem
from moelaws.fitting.engine.starts import dispersed
from moelaws.fitting.fit import fit
from moelaws.laws import LAWS

OBJECTIVES = ("huber-log", "lsq-log", "lsq")


def reference(problem: Problem, truth: np.ndarray, starts: int, seed: int) -> float:
    """The least objective that SciPy finds."""
    rng = np.random.default_rng([seed, 77])
    theta = dispersed(problem, starts, rng)
    near = max(1, starts // 10)
    theta[:near] = truth + 0.05 * rng.standard_normal((near, theta.shape[1])) * (np.arange(near) > 0)[:, None]
    theta = np.clip(theta, problem.lower, problem.upper)
    ends = sorted((_one(problem, each, "squares", 80) for each in theta), key=lambda end: end[0])[:10]
    for solver in ("squares", "sum", "squares"):
        ends += [_one(problem, end[1], solver, 2000) for end in ends[:10]]
        ends.sort(key=lambda end: end[0])
    return float(ends[0][0])


def _one(problem: Problem, theta: np.ndarray, solver: str, most: int) -> tuple[float, np.ndarray]:
    weights, objective = problem.weights, problem.objective
    scale = max(float(problem.value(problem.residuals(theta[None]))[0]), 1e-12)

    def value_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
        residuals, slopes = problem.linearise(x[None])
        value = float(problem.value(residuals)[0])
        if not np.isfinite(value):
            return 1e30, np.zeros_like(x)
        return value / scale, slopes[0] @ objective.slopes(residuals, weights)[0] / scale

    def residuals(x: np.ndarray) -> np.ndarray:
        return np.nan_to_num(problem.residuals(x[None])[0], nan=1e3, posinf=1e3, neginf=-1e3)

    def slopes(x: np.ndarray) -> np.ndarray:
        return np.nan_to_num(problem.linearise(x[None])[1][0].T, posinf=0.0, neginf=0.0)

    try:
        if solver == "sum":
            found = scipy_minimize(
                value_and_gradient, theta, jac=True, method="L-BFGS-B",
                bounds=list(zip(problem.lower, problem.upper, strict=True)),
                options={"maxiter": most, "maxfun": 2 * most, "ftol": 1e-15, "gtol": 1e-12, "maxcor": 30},
            )  # fmt: skip
        else:
            found = least_squares(
                residuals, np.clip(theta, problem.lower + 1e-9, problem.upper - 1e-9), slopes,
                bounds=(problem.lower, problem.upper), loss="huber" if objective.robust else "linear",
                f_scale=objective.delta, x_scale="jac", ftol=1e-14, xtol=1e-14, gtol=1e-14, max_nfev=min(most, 300),
            )  # fmt: skip
    except (ValueError, np.linalg.LinAlgError):
        return np.inf, theta
    end = np.clip(found.x, problem.lower, problem.upper)
    return float(problem.value(problem.residuals(end[None]))[0]), end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=210)
    parser.add_argument("--starts", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="skip this many tables")
    parser.add_argument("--laws", default=",".join(LAWS))
    parser.add_argument(
        "--reference", type=Path, help="take SciPy's values from this earlier result, where it has them"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    known = {}
    if options.reference:
        with options.reference.open(newline="") as file:
            known = {
                (r["law"], int(r["seed"])): (float(r["scipy"]), float(r["scipy_cpu_s"])) for r in csv.DictReader(file)
            }
    rows = []
    cases = itertools.islice(
        ((seed, name) for seed in itertools.count() for name in options.laws.split(",")), options.first, options.tables
    )
    for seed, name in cases:
        rng = np.random.default_rng([seed, 5])
        n_runs = int(np.exp(rng.uniform(np.log(30), np.log(400))))
        noise = float(rng.choice([0.0, 0.002, 0.005, 0.01, 0.02]))
        objective = OBJECTIVES[seed % 3]
        law, table, params = make_table(name, n_runs, noise, seed, jitter=0.05)
        began = time.process_time()
        try:
            result = fit(law, table, objective, seed=seed)
        except FitFailed as error:
            rows.append({"law": name, "seed": seed, "status": f"failed: {error}", "reached": False})
            print(rows[-1], flush=True)
            continue
        ours = time.process_time() - began
        if (name, seed) in known:
            best, theirs = known[name, seed]
        else:
            began = time.process_time()
            best = reference(result.solved.problem, result.solved.problem.coordinates(params)[0], options.starts, seed)
            theirs = time.process_time() - began
        floor = n_runs * 1e-20  # both found an exact fit
        excess = result.search.objective_value / best - 1 if best > floor else 0.0
        reached = bool(excess <= 1e-6 or result.search.objective_value <= floor)
        worst = max(
            (abs(result.params[key] / params[key] - 1) for key, known in result.identified.items() if known), default=0
        )
        rows.append(
            {
                "law": name, "seed": seed, "n_runs": n_runs, "noise": noise, "objective": objective,
                "ours": result.search.objective_value, "scipy": best, "excess": excess, "reached": reached,
                "status": result.status, "worst_parameter": worst, "starts_at_optimum": result.search.starts_at_optimum,
                "starts": result.search.starts, "our_cpu_s": round(ours, 3), "scipy_cpu_s": round(theirs, 1),
            }
        )  # fmt: skip
        print(*rows[-1].values(), flush=True)
        if options.out:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            with options.out.open("w", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(rows[-1]), extrasaction="ignore", restval="")
                writer.writeheader()
                writer.writerows(rows)
    reached = sum(row["reached"] for row in rows)
    print(f"optimum reached on {reached} of {len(rows)} tables")
    below = [row for row in rows if row.get("excess", 0) < -1e-6]
    print(f"below SciPy's best of {options.starts} starts on {len(below)}")
    exact = [row for row in rows if row.get("noise") == 0]
    print(
        f"noiseless: {sum(row['worst_parameter'] <= 1e-4 for row in exact)} of {len(exact)} recover every identified"
        " parameter to 1e-4"
    )


if __name__ == "__main__":
    main()
