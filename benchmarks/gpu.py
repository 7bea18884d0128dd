"""What a GPU tells: the CUDA tests, step times and what routing adds to them, and runs at large budgets.

    make gpu                                     # on the first CUDA device, 25 minutes at most
    python benchmarks/gpu.py --smoke --device cpu     # the same way, tiny, anywhere: a minute
    python benchmarks/gpu.py --parts steps --device cpu --steps-table data/timings/training_steps.csv

Three parts, each with a limit of its own; what a part has not done when its time is over, the next call goes on with:

* ``tests``: ``pytest -m cuda``, where there is such a device
* ``steps``: milliseconds a training step (bf16 on CUDA, fp32 on a CPU), useful FLOPs a second, their share of what one
  large product attains there, and the price of routing part by part; into ``steps.csv``
* ``runs``: the runs of sweeps that one device holds, several workers on it; a table a sweep, whose rows name the device

``data/`` takes these tables once somebody has such a device.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import torch

from moelaws import __version__
from moelaws.config import ModelConfig, RunConfig, TrainConfig
from moelaws.files import write_whole
from moelaws.measuring.step_time import step_time
from moelaws.provenance import code_version, machine
from moelaws.sweeping.sweep import SweepRun
from moelaws.training.recipe import tiny_model

ROOT = Path(__file__).parents[1]
KEY = ["device", "d_model", "n_experts", "top_k", "granularity", "tokens"]


@dataclass(frozen=True)
class Sizes:
    """How much is done.

    Attributes:
        widths, experts: d, and (E, K, G), of the steps measured.
        tokens: of a step.
        sweeps: of the runs, each with the table that its rows go to.
        workers: that share the device.
        product: rows and columns of the product that a step is held against.
        repeats: turns in which a step and its parts are measured.
        limits: seconds of each part, the runs' for each sweep.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    experts: tuple[tuple[int, int, int], ...] = (
        (1, 1, 1), (4, 1, 1), (8, 1, 1), (16, 1, 1), (64, 1, 1), (256, 1, 1), (32, 2, 2), (128, 2, 2),
    )  # fmt: skip
    tokens: tuple[int, ...] = (8_192, 65_536)
    sweeps: tuple[tuple[str, str], ...] = (("packages_1e14", "packages.csv"),)
    workers: int = 12
    product: int = 8192
    repeats: int = 9
    limits: dict[str, float] = field(default_factory=lambda: {"tests": 300.0, "steps": 420.0, "runs": 480.0})


# A CPU knows one thread: narrower models, and the batches of the study's runs at 1e12 and 1e13 FLOPs.
CPU = Sizes(
    widths=(16, 24, 32, 48, 64, 96, 128), tokens=(1_024, 4_096), sweeps=(), workers=1, product=2048, repeats=5,
    limits={"tests": 60.0, "steps": 560.0, "runs": 60.0},
)  # fmt: skip

SMOKE = Sizes(
    (16,), ((1, 1, 1), (4, 1, 1)), (512,), (("gpu:smoke_runs", "smoke.csv"),), 1, 256, 3,
    {"tests": 60.0, "steps": 60.0, "runs": 120.0},
)  # fmt: skip


def smoke_runs() -> list[SweepRun]:
    """Two runs of a second."""
    train = TrainConfig(tokens=32 * 4 * 12, batch_sequences=4, validation_tokens=512)
    models = [ModelConfig(d_model=16, n_heads=2, d_ff=32, n_experts=e, context=32) for e in (1, 4)]
    return [SweepRun(RunConfig(model, train), "smoke", budget=1e9) for model in models]


def name_of(device: torch.device) -> str:
    """The device, as rows of run tables name it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu: {machine()}"


def milliseconds(work: Callable[[], object], device: torch.device, times: int) -> list[float]:
    """How long some work takes, again and again, after the same number of calls that do not count."""
    found = []
    for number in range(2 * times):
        begin = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if number >= times:
            found.append(1e3 * (time.perf_counter() - begin))
    return found


def product_flops(device: torch.device, size: int) -> float:
    """FLOPs a second of one large product, in what a step computes in."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / (statistics.median(milliseconds(lambda: left @ right, device, 5)) / 1e3)


def missing(device: torch.device, sizes: Sizes, table: pd.DataFrame) -> Iterator[tuple[ModelConfig, int]]:
    """The models and batches that were not measured yet, or by another release."""
    ours = [release(code) == __version__ for code in table["code_version"]] if len(table) else []
    known = set(table.loc[ours, KEY].itertuples(index=False, name=None)) if len(table) else set()
    for tokens in sizes.tokens:
        for width in sizes.widths:
            for experts in sizes.experts:
                if (name_of(device), width, *experts, tokens) not in known:
                    yield tiny_model(width, *experts), tokens


def release(code: str) -> str:
    """Of a row's code: one release takes one step in one way."""
    return str(code).partition("+")[0]


def without(table: pd.DataFrame, row: dict[str, object]) -> pd.DataFrame:
    """The table less the row that another one takes the place of."""
    return table[(table[KEY] != pd.Series({name: row[name] for name in KEY})).any(axis=1)] if len(table) else table


def with_dense(table: pd.DataFrame) -> pd.DataFrame:
    """Where a row has no dense step beside its own, as those made before there was one: that of its width's row."""
    same = ["device", "d_model", "tokens"]
    dense = table[table["n_experts"] == 1].drop_duplicates(same).set_index(same)["step_ms"]
    at = pd.MultiIndex.from_frame(table[same])
    known = table["dense_step_ms"] if "dense_step_ms" in table else pd.Series(float("nan"), index=table.index)
    place = list(table.columns).index("useful_gflops") + 1
    rest = table.drop(columns="dense_step_ms", errors="ignore")
    rest.insert(place, "dense_step_ms", known.fillna(pd.Series(dense.reindex(at).to_numpy(), index=table.index)))
    return rest


def steps(device: torch.device, sizes: Sizes, file: Path) -> None:
    """Measure the points that are missing, writing each as it comes."""
    table = pd.read_csv(file) if file.exists() else pd.DataFrame()
    if len(table) and not {*KEY, "step_ms"} <= set(table):
        raise SystemExit(f"{file}: expected a table of steps, found another file; name another folder with --out")
    peak = product_flops(device, sizes.product)
    until = time.monotonic() + sizes.limits["steps"]
    for model, tokens in missing(device, sizes, table):
        if time.monotonic() > until:
            print("steps: out of time; the same command goes on")
            return
        found = step_time(model, tokens, device.type, sizes.repeats).row()
        row = {
            "device": name_of(device), **found, "product_gflops": peak / 1e9,
            "torch_version": torch.__version__, "code_version": code_version(),
        }  # fmt: skip
        table = with_dense(pd.concat([without(table, row), pd.DataFrame([row])], ignore_index=True))
        write_whole(file, table.to_csv(index=False, float_format="%.6g"))
        shown = ("d_model", "n_experts", "top_k", "tokens", "dense_step_ms", *(c for c in row if c.endswith("_ms")))
        print("steps:", ", ".join(f"{name} {row[name]:.4g}" for name in dict.fromkeys(shown)), flush=True)


def bounded(line: list[str], seconds: float) -> int:
    """Run a command; when its time is over, ask it to stop as Ctrl-C does, which loses no row."""
    here = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(line, cwd=ROOT, env={**os.environ, "PYTHONPATH": here})
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        print("out of time; the same command goes on", flush=True)
        return 0


def main() -> int:
    """Do the three parts; 1 if a test fails or a part breaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda (default), cuda:1 or cpu")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: whether it works at all")
    parser.add_argument("--out", type=Path, default=ROOT / "_build" / "gpu", help="folder of the tables")
    parser.add_argument("--parts", default="tests,steps,runs", help="some of tests,steps,runs")
    parser.add_argument("--steps-table", type=Path, help="table that the steps join (default OUT/steps.csv)")
    parser.add_argument("--sweeps", help="instead of the usual runs: NAME=TABLE.csv, several by commas")
    parser.add_argument("--workers", type=int, help="threads that share the device")
    options = parser.parse_args()
    device = torch.device(options.device)
    sizes = SMOKE if options.smoke else CPU if device.type == "cpu" else Sizes()
    if options.sweeps:
        sizes = replace(sizes, sweeps=tuple(tuple(pair.split("=")) for pair in options.sweeps.split(",")))
    sizes = replace(sizes, workers=options.workers or sizes.workers)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: torch finds no CUDA device here; --device cpu --smoke tries the way")
    options.out.mkdir(parents=True, exist_ok=True)
    print(f"{name_of(device)}: {sizes}", flush=True)
    failed = 0
    if "tests" in options.parts and device.type == "cuda":
        failed |= bounded([sys.executable, "-m", "pytest", "-q", "-m", "cuda", "tests/training"], sizes.limits["tests"])
    if "steps" in options.parts:
        steps(device, sizes, options.steps_table or options.out / "steps.csv")
    for sweep, table in sizes.sweeps if "runs" in options.parts else ():
        line = [sys.executable, "-m", "moelaws.cli", "sweep", sweep, "--out", str(options.out / table)]
        line += ["--device", options.device, "--workers", str(sizes.workers), "--save-every", "60"]
        failed |= bounded(line, sizes.limits["runs"])
    return int(failed != 0)


if __name__ == "__main__":
    raise SystemExit(main())
