"""All 437,400 starts of Abnar et al. 2025, Table 2, for the ten-parameter law on 300 runs.

OMP_NUM_THREADS=1 python benchmarks/fit_grid.py --out benchmarks/results/fit_grid.json
"""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
from fit_tables import make_table

from moelaws.fitting.fit import fit

GRID = {
    **{name: np.exp([0.0, 10.0, 20.0]) for name in "abcd"},
    "e": [float(np.exp(1.5))],
    **{name: [0.0, 0.25, 0.5, 0.75, 1.0, 1.25] for name in ("alpha", "beta", "gamma")},
    **{name: [-1.0, -0.5, 0.0, 0.5, 1.0] for name in ("lambda", "delta")},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    _, table, truth = make_table("abnar2025", 300, 0.01, seed=0)
    wall, cpu = time.perf_counter(), time.process_time()
    result = fit("abnar2025", table, starts=GRID)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    drawn = fit("abnar2025", table)
    summary = {
        "starts": result.search.starts,
        "runs": result.n_runs,
        "wall_s": wall,
        "cpu_s": cpu,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "objective": result.search.objective_value,
        "starts_at_optimum": result.search.starts_at_optimum,
        "status": result.status,
        "objective_of_384_drawn_starts": drawn.search.objective_value,
        "seconds_of_384_drawn_starts": drawn.seconds,
        "fitted_over_true": {name: result.params[name] / truth[name] for name in truth},
    }
    print(json.dumps(summary, indent=2))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
