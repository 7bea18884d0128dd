"""Does the page fit as ``moelaws fit`` does, and how long does it take? In headless Chromium, from the built scripts.

    OMP_NUM_THREADS=1 python benchmarks/lab.py --out benchmarks/results/lab.json

It can be stopped, and goes on where it was unless the scripts have changed.

* 20 tables each of three published laws and of one by formula, fitted by both: the objective's relative difference, and
  how far the ends of each 95 % interval lie apart, as a share of the interval's width, in coordinates (logs of positive
  parameters); an end that only one of them finds counts as infinitely far
* 300 runs and a law of 5 parameters, of 6 and of 10, intervals included, three times: wall seconds, and processor
  seconds of the page's process, which other work on the machine does not lengthen as much
"""

import argparse
import hashlib
import json
import math
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from fit_tables import make_table

from bookbuild.lab.scripts import engine_script
from moelaws.files import write_whole
from moelaws.fitting.fit import fit
from moelaws.fitting.foresight import OpenDesignWarning
from moelaws.laws import LAWS, Law, law_from_formula
from moelaws.provenance import machine

PUBLISHED = ("hoffmann2022", "clark2022", "abnar2025")
FORMULA = "E + A/N^alpha + B/(D*(1-S))^beta"
OWN = "formula"
_COLUMNS = {"N": "total_params", "D": "tokens", "S": "sparsity"}
_TRUTH = {"E": 1.7, "A": 400.0, "alpha": 0.34, "B": 300.0, "beta": 0.28}
_RUNS, _NOISE = (40, 60, 100, 150, 300), (0.002, 0.005, 0.01, 0.02)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
Table = dict[str, np.ndarray]


def table_of(name: str, seed: int, runs: int | None = None) -> tuple[Law, Table]:
    """A law and a table that follows it, the seed's number of runs and noise."""
    count, noise = runs or _RUNS[seed % len(_RUNS)], _NOISE[seed % len(_NOISE)]
    if name != OWN:
        law, table, _ = make_table(name, count, noise, seed, jitter=0.02)
        return law, table
    law, rng = law_from_formula(OWN, FORMULA, _COLUMNS), np.random.default_rng([seed, count])
    table = {
        "total_params": np.exp(rng.uniform(np.log(3e7), np.log(1e10), count)),
        "tokens": np.exp(rng.uniform(np.log(1e9), np.log(3e11), count)),
        "sparsity": rng.choice([0, 0.5, 0.75, 0.9, 0.95], count),
    }
    table["loss"] = law.predict(_TRUTH, table) * np.exp(noise * rng.standard_normal(count))
    return law, table


def job_of(law: Law, table: Table, **more: Any) -> dict[str, Any]:
    """What the page's engine is asked for this fit."""
    columns = law.columns(table)
    variables = [{"symbol": each.symbol, "columns": list(each.columns), "meaning": ""} for each in law.variables]
    return {
        "law": {"name": law.name} if LAWS.get(law.name) is law else {"formula": law.formula, "variables": variables},
        "data": {letter: np.asarray(table[column], float).tolist() for letter, column in columns.items()},
        "target": np.asarray(table[law.target], float).tolist(),
        "columns": columns,
    } | more


@contextmanager
def engine_page() -> Iterator[Any]:
    """An empty page in headless Chromium with the engine's script."""
    from playwright.sync_api import sync_playwright

    program = next(path for path in map(shutil.which, _BROWSERS) if path)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(300_000)
        page.add_script_tag(content=engine_script() + "window.engine = moelawsEngine();")
        yield page
        browser.close()


def processor_seconds(page: Any) -> float:
    """What the page's process has used so far."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    return float(metrics["ProcessTime"])


def fitted(page: Any, job: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """The page's fit, as it writes it to a file, and the wall seconds that it took."""
    return tuple(
        page.evaluate(
            "job => { const began = performance.now(); const { record } = engine.fit(job, () => {});"
            " return [record, (performance.now() - began) / 1000]; }",
            job,
        )
    )


def apart(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[float, float]:
    """Relative difference of two fits' objectives, and the largest of their intervals' ends."""
    objective = abs(theirs["objective_value"] / ours["objective_value"] - 1)
    ends = [_ends_apart(ours, theirs, name) for name in ours["intervals"]]
    same = ours["intervals"].keys() == theirs["intervals"].keys()
    return objective, max(ends, default=0.0) if same else math.inf


def _ends_apart(ours: dict[str, Any], theirs: dict[str, Any], name: str) -> float:
    if ours["interval_ends"][name] != theirs["interval_ends"][name]:
        return math.inf
    positive = name in ours["positive"]
    mine, other = (_coordinates(each["intervals"][name], positive) for each in (ours, theirs))
    width = mine[1] - mine[0]
    unit = width if 0 < width < math.inf else 1.0
    return max(0.0 if a == b else abs(a - b) / unit for a, b in zip(mine, other, strict=True))


def _coordinates(ends: list[float | None], positive: bool) -> list[float]:
    filled = [far if end is None else end for end, far in zip(ends, (-math.inf, math.inf), strict=True)]
    return [-math.inf if end <= 0 else math.log(end) for end in filled] if positive else filled


def speed(page: Any) -> dict[str, Any]:
    """Seconds of fits to 300 runs."""
    seconds = {}
    for name in PUBLISHED:
        law, table = table_of(name, 4, 300)
        row: dict[str, Any] = {"parameters": len(law.parameters), "runs": 300, "wall": [], "processor": []}
        for seed in range(3):
            before = processor_seconds(page)
            row["wall"].append(round(fitted(page, job_of(law, table, seed=seed))[1], 2))
            row["processor"].append(round(processor_seconds(page) - before, 2))
        seconds[name] = row | {"load": round(os.getloadavg()[0], 2)}
    return seconds


def compared(page: Any, name: str, seed: int) -> dict[str, Any]:
    """One table fitted by both."""
    law, table = table_of(name, seed)
    ours = json.loads(fit(law, table, seed=seed).to_json())
    theirs, took = fitted(page, job_of(law, table, seed=seed))
    objective, ends = apart(ours, theirs)
    same = ours["status"] == theirs["status"] and ours["identified"] == theirs["identified"]
    row = {"seed": seed, "runs": ours["n_runs"], "objective": objective, "status": theirs["status"]}
    row["ends"] = ends if math.isfinite(ends) else None  # one of the two found an end where the other found none
    return row | {"same_status": same, "seconds": round(took, 2)}


def summed(each: list[dict[str, Any]]) -> dict[str, Any]:
    """The worst of the tables, and all of them."""
    return {
        "tables": len(each),
        "worst_objective": max(row["objective"] for row in each),
        "ends_within_2_percent": sum(row["ends"] is not None and row["ends"] < 0.02 for row in each),
        "same_status": all(row["same_status"] for row in each),
        "each": each,
    }


def main() -> None:
    """Measure and write; a record that was begun with the same scripts is continued."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tables", type=int, default=20)
    parser.add_argument("--most", type=int, default=1000, help="tables to fit now; the next call goes on")
    options = parser.parse_args()
    warnings.simplefilter("ignore", OpenDesignWarning)
    scripts = hashlib.sha256(engine_script().encode()).hexdigest()[:16]
    record: dict[str, Any] = {"scripts": scripts, "laws": {}}
    if options.out.exists() and json.loads(options.out.read_text())["scripts"] == scripts:
        record = json.loads(options.out.read_text())
    left = options.most
    with engine_page() as page:
        record |= {"browser": page.evaluate("navigator.userAgent"), "machine": machine()}
        record["seconds"] = record.get("seconds") or speed(page)
        for name, seed in product((*PUBLISHED, OWN), range(options.tables)):
            each = record["laws"].get(name, {}).get("each", [])
            if left and all(row["seed"] != seed for row in each):
                left -= 1
                record["laws"][name] = summed([*each, compared(page, name, seed)])
                print(name, record["laws"][name]["each"][-1], flush=True)
                write_whole(options.out, json.dumps(record, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
