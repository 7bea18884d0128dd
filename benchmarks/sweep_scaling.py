"""What a sweep's workers are worth: two over one, a Dask cluster over local processes, and a worker's memory.

    OMP_NUM_THREADS=1 python benchmarks/sweep_scaling.py --out benchmarks/results/sweep_scaling.json

* Equal runs, written to a table as a sweep writes them, with one local worker, with two, and with two Dask workers.
  All workers are up and have trained a run before the first is timed; the three take turns, and each ratio is that of
  two neighbours in time.
* What the machine itself gives a second worker: matrix products small enough for a core's own cache, and copies too
  large for any, by one worker and by two at once. Two "cores" of a virtual machine are often two threads of one core,
  and all cores share the memory; a sweep lies between the two.
* The most memory that a fresh worker ever held while it trained and validated a run of the largest model.

Two workers need two cores that do nothing else.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch
from distributed import LocalCluster

from moelaws.config import ModelConfig, RunConfig
from moelaws.provenance import machine
from moelaws.sweeping.executors import LocalWorkers
from moelaws.sweeping.sweep import SweepRun, open_workers, pin, run_sweep, train_row
from moelaws.training.recipe import batch_sequences, recipe, tiny_model

BARS = {"two_workers_over_one": (">=", 1.85), "dask_overhead": ("<=", 0.03), "worker_peak_gb": ("<=", 1.5)}


def equal_runs(model: ModelConfig, budget: float, steps: int, count: int) -> list[SweepRun]:
    """Runs of the recipe at a budget, cut to some steps, that differ in their seeds alone."""
    tokens = steps * batch_sequences(budget) * model.context
    train = recipe(model, budget, tokens)
    return [SweepRun(RunConfig(model, replace(train, seed=seed)), "scaling", budget) for seed in range(count)]


def timed(runs: list[SweepRun], pool: Executor) -> float:
    """Wall seconds of a sweep on workers that are up."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        run_sweep(runs, Path(folder) / "runs.csv", executor=pool, device="cpu")
        return time.perf_counter() - began


def scaling(runs: list[SweepRun], repeats: int) -> dict[str, object]:
    times: dict[str, list[float]] = {"one": [], "two": [], "dask": []}
    pinned = list(pin(runs).values())
    warm = [replace(item, run=replace(item.run, train=replace(item.run.train, tokens=1))) for item in pinned[:2]]
    with ExitStack() as stack:
        cluster = stack.enter_context(LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None))
        pools: dict[str, Executor] = {
            "one": stack.enter_context(LocalWorkers(1, "cpu")),
            "two": stack.enter_context(LocalWorkers(2, "cpu")),
            "dask": stack.enter_context(open_workers(pinned, scheduler=cluster.scheduler_address)),
        }
        for pool in pools.values():
            timed(warm, pool)
        for _ in range(repeats):
            for name, pool in pools.items():
                times[name].append(timed(runs, pool))
            print({name: round(found[-1], 2) for name, found in times.items()}, flush=True)
    ratios = [one / two for one, two in zip(times["one"], times["two"], strict=True)]
    overheads = [dask / two - 1 for dask, two in zip(times["dask"], times["two"], strict=True)]
    return {
        "two_workers_over_one": statistics.median(ratios),
        "dask_overhead": statistics.median(overheads),
        "two_workers_over_one_each": ratios,
        "dask_overhead_each": overheads,
        "wall_s": times,
        "seconds_per_run": statistics.median(times["one"]) / len(runs),
    }


def rate(size: int, seconds: float, copy: bool) -> float:
    """Products, or copies, of square matrices a second."""
    source, other, out = torch.randn(size, size), torch.randn(size, size), torch.empty(size, size)
    count, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        out.copy_(source) if copy else torch.mm(source, other, out=out)
        count += 1
    return count / elapsed


def ceilings(repeats: int, seconds: float = 1.0) -> dict[str, object]:
    """How much more two workers do than one, when they share nothing but the machine."""
    results: dict[str, object] = {}
    with LocalWorkers(2, "cpu") as workers:
        for name, size, copy in (("products", 96, False), ("copies", 4096, True)):
            ratios = []
            for _ in range(repeats + 1):
                alone = workers.submit(rate, size, seconds, copy).result()
                both = [workers.submit(rate, size, seconds, copy) for _ in range(2)]
                ratios.append(sum(done.result() for done in both) / alone)
            results |= {f"{name}_two_over_one": statistics.median(ratios[1:]), f"{name}_each": ratios[1:]}
    return results


def peak_bytes(item: SweepRun) -> int:
    """Train a run and give the largest resident set this process ever had."""
    train_row(item, "cpu")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def memory(model: ModelConfig, budget: float, steps: int = 3) -> dict[str, object]:
    (item,) = pin(equal_runs(model, budget, steps, 1)).values()
    with LocalWorkers(1, "cpu") as workers:
        peak = workers.submit(peak_bytes, item).result()
    return {"worker_peak_gb": peak / 1e9, "memory_model": model.to_dict(), "memory_batch": item.run.batch_tokens}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4, help="equal runs in each measurement, an even number")
    parser.add_argument("--steps", type=int, default=200, help="steps of a run")
    parser.add_argument("--width", type=int, default=64, help="d of the equal runs")
    parser.add_argument("--experts", type=int, default=8, help="E of the equal runs")
    parser.add_argument("--budget", type=float, default=1e12, help="nominal FLOPs, which set the batch")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--largest", default="128,64,1e13", help="d, E and budget of the model whose memory is taken")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    width, experts, budget = options.largest.split(",")
    results: dict[str, object] = memory(tiny_model(int(width), int(experts)), float(budget))
    runs = equal_runs(tiny_model(options.width, options.experts), options.budget, options.steps, options.runs)
    results |= ceilings(options.repeats)
    results |= scaling(runs, options.repeats)
    results |= {
        "model": runs[0].run.model.to_dict(),
        "runs": options.runs,
        "steps": options.steps,
        "batch_tokens": runs[0].run.batch_tokens,
        "machine": machine(),
        "versions": {name: version(name) for name in ("moelaws", "torch", "numpy", "dask", "distributed")},
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    for name, (sign, bar) in BARS.items():
        value = float(str(results[name]))
        met = value >= bar if sign == ">=" else value <= bar
        print(f"{name} {value:.3f}, bar {sign} {bar}: {'met' if met else 'MISSED'}")
    for name in ("products", "copies"):
        print(f"{name} alone: two workers over one {results[f'{name}_two_over_one']:.3f}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
