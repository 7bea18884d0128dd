"""Do the default 95 % intervals cover the truth 95 times in 100? Simulations of designs with a known truth.

    python benchmarks/fit_coverage.py --repetitions 500 --out benchmarks/results/fit_coverage.csv

Every repetition draws a new table of a design (``coverage_designs.py``), descends from the truth and from three points
around it (whether the search finds the way from afar is ``fit_optimum.py``'s question; ``--search`` asks it again
here), and makes the intervals that ``moelaws fit`` prints. An open end counts as one that covers.

Repetitions are kept one a line under ``--kept``: a run that was stopped goes on where it was, and figures of code that
has changed since are left out.
"""

import argparse
import csv
import json
import zlib
from pathlib import Path
from typing import Any

import coverage_designs
import numpy as np
from coverage_designs import DESIGNS

from moelaws.fitting.engine.descent import FitFailed, Found
from moelaws.fitting.engine.problem import bind
from moelaws.fitting.engine.race import polish
from moelaws.fitting.fit import as_result, fit
from moelaws.fitting.intervals.uncertainty import likelihood
from moelaws.fitting.result import FitResult
from moelaws.fitting.table import prepare
from moelaws.laws import Law
from moelaws.provenance import code_version, machine

ROOT = Path(__file__).resolve().parents[1]
BAR = (0.92, 0.98)
"""Shares of intervals that must cover, of all and of those called identified."""
WIDEST = 1.3
"""Most that the median width may be, as a share of that of an interval that knew the spread of the estimates."""


def default_fit(case: str, seed: int, search: bool = False) -> tuple[FitResult, dict[str, float]]:
    """A fit of one repetition with its default intervals, and the truth."""
    design = DESIGNS[case]
    law, table, truth = design.table(seed)
    objective = design.objective
    if search:
        return fit(law, table, objective.name, objective.delta, seed=seed, intervals=0.95), dict(truth)
    prepared = prepare(law, table)
    problem = bind(law, prepared.data, prepared.target, objective)
    theta = np.repeat(problem.coordinates(truth), 4, axis=0)
    theta[1:] += 0.03 * np.random.default_rng(seed).standard_normal(theta[1:].shape)
    minima = polish(problem, theta)
    best = minima.best()
    found = Found(minima.theta[best], float(minima.value[best]), bool(minima.converged[best]), 1, 4)
    return likelihood(as_result(law, problem, prepared, found, {}, 0.0)), dict(truth)


def repetition(case: str, seed: int, search: bool = False) -> dict[str, Any]:
    """One repetition: for each parameter its estimate, the ends in coordinates, and whether it is identified."""
    result, truth = default_fit(case, seed, search)
    row: dict[str, Any] = {"case": case, "seed": seed, "method": result.uncertainty.method, "parameters": {}}
    for name, (low, high) in result.intervals.items():
        places = [_place(result.law, name, value) for value in (truth[name], result.params[name], low, high)]
        row["parameters"][name] = {
            "truth": places[0], "estimate": places[1], "low": places[2], "high": places[3],
            "found": result.uncertainty.ends[name] == ("found", "found"), "identified": result.identified[name],
        }  # fmt: skip
    return row


def _place(law: Law, name: str, value: float) -> float:
    """A parameter's coordinate: its log, if it is positive. Open ends are far away but finite, for the file's sake."""
    positive = next(p.positive for p in law.parameters if p.name == name)
    with np.errstate(divide="ignore"):
        return float(np.clip(np.log(value) if positive else value, -1e9, 1e9))


def tally(case: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Coverage and width of each parameter of a case, over its repetitions."""
    found = []
    for name in rows[0]["parameters"]:
        each = [row["parameters"][name] for row in rows]
        covered = np.array([one["low"] <= one["truth"] <= one["high"] for one in each])
        known = np.array([one["identified"] for one in each])
        width = np.array([one["high"] - one["low"] for one in each])
        spread = float(np.std([one["estimate"] for one in each]))
        found.append(
            {
                "case": case, "law": DESIGNS[case].law, "objective": DESIGNS[case].objective.name, "parameter": name,
                "repetitions": len(rows), "coverage_of_all": round(float(covered.mean()), 4),
                "identified": int(known.sum()),
                "coverage": round(float(covered[known].mean()), 4) if known.any() else "",
                "open": round(1 - float(np.mean([one["found"] for one in each])), 4),
                "width": round(float(np.median(width)) / (2 * 1.96 * spread), 3) if np.median(width) < 1e3 else "",
                "code": code_version(), "machine": machine(),
            }
        )  # fmt: skip
    return found


def meets(row: dict[str, Any]) -> dict[str, bool]:
    """What a row of the tally meets of the bars; a share of none is met."""
    few = 0 < row["identified"] < 10  # a share of fewer says nothing
    return {
        "all": BAR[0] <= row["coverage_of_all"] <= BAR[1],
        "identified": row["coverage"] == "" or few or BAR[0] <= row["coverage"] <= BAR[1],
        "width": row["width"] == "" or row["width"] <= WIDEST,
    }


def _code() -> int:
    """A mark of the code that intervals are made with."""
    rooms = [ROOT / "lib" / "moelaws" / room for room in ("fitting", "laws")]
    files = [*(file for room in rooms for file in sorted(room.rglob("*.py"))), Path(coverage_designs.__file__)]
    return zlib.crc32(b"".join(file.read_bytes() for file in files))


def _kept(path: Path, mark: int) -> dict[tuple[str, int], dict[str, Any]]:
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return {(row["case"], row["seed"]): row for row in rows if row["mark"] == mark}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--cases", default=",".join(DESIGNS), help="names of designs, with commas")
    parser.add_argument("--search", action="store_true", help="search from dispersed starts, as fit() does")
    parser.add_argument("--kept", type=Path, default=ROOT / "_build" / "fit_coverage.jsonl")
    parser.add_argument("--mark", type=int, help="take kept repetitions of this mark of the code")
    parser.add_argument("--out", type=Path, help="rows of other cases in this file stay")
    options = parser.parse_args()
    mark = options.mark or _code()
    options.kept.parent.mkdir(parents=True, exist_ok=True)
    kept = _kept(options.kept, mark)
    print(f"mark of this code: {mark}; {len(kept)} repetitions are there", flush=True)
    made: list[dict[str, Any]] = []
    for case in options.cases.split(","):
        rows = []
        for seed in range(options.repetitions):
            row = kept.get((case, seed))
            if row is None:
                try:
                    row = repetition(case, seed, options.search) | {"mark": mark}
                except FitFailed as error:
                    print(f"{case}, seed {seed}: {error}", flush=True)
                    continue
                with options.kept.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            rows.append(row)
        made += tally(case, rows)
        _show(made[-len(rows[0]["parameters"]) :])
    if options.out:
        _write(options.out, made)


def _show(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        missed = [what for what, met in meets(row).items() if not met]
        shown = [
            row[key] for key in ("case", "parameter", "coverage_of_all", "coverage", "identified", "open", "width")
        ]
        print(*shown, f"MISSED: {', '.join(missed)}" if missed else "", flush=True)


def _write(path: Path, made: list[dict[str, Any]]) -> None:
    cases = {row["case"] for row in made}
    others: list[dict[str, Any]] = []
    if path.exists():
        with path.open(newline="") as file:
            others = [row for row in csv.DictReader(file) if row.get("case") and row["case"] not in cases]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(made[0]), restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows([*others, *made])


if __name__ == "__main__":
    main()
