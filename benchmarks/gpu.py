"""What a GPU tells: the CUDA tests, step times against the device's own products, and runs at large budgets.

    make gpu                                     # on the first CUDA device, 25 minutes at most
    python benchmarks/gpu.py --smoke --device cpu     # the same way, tiny, anywhere: a minute

Three parts, each with a limit of its own; what a part has not done when its time is over, the next call goes on with:

* ``tests``: ``pytest -m cuda``, where there is such a device
* ``steps``: milliseconds a training step (bf16 autocast on CUDA, fp32 on a CPU), useful FLOPs a second and their share
  of what one large product attains there; into ``gpu_steps.json``, a list of points a device
* ``runs``: the runs of a sweep that one device holds, several workers on it; into ``gpu_runs.csv``, whose rows name
  the device

With ``--out`` in its place, ``data/`` takes both files once somebody has such a device.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from moelaws.config import ModelConfig, RunConfig, TrainConfig
from moelaws.counting import training_flops_per_token
from moelaws.files import write_whole
from moelaws.models import Transformer
from moelaws.provenance import code_version, machine
from moelaws.sweeping.sweep import SweepRun
from moelaws.training.recipe import tiny_model
from moelaws.training.step import TrainingStep

ROOT = Path(__file__).parents[1]
KIND = "moelaws steps of devices"


@dataclass(frozen=True)
class Sizes:
    """How much is done.

    Attributes:
        widths, experts: d and E of the steps measured.
        tokens: of a step.
        steps: measured at each point, after as many that warm up.
        sweep: of the runs.
        workers: that share the device.
        product: rows and columns of the product that a step is held against.
        limits: seconds of each part.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    experts: tuple[int, ...] = (1, 8, 64)
    tokens: int = 65_536
    steps: int = 10
    sweep: str = "packages_1e14"
    workers: int = 6
    product: int = 8192
    limits: dict[str, float] = field(default_factory=lambda: {"tests": 300.0, "steps": 420.0, "runs": 480.0})


SMOKE = Sizes((16,), (1, 4), 512, 2, "gpu:smoke_runs", 1, 256, {"tests": 60.0, "steps": 60.0, "runs": 120.0})


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


def measured(model: ModelConfig, device: torch.device, sizes: Sizes, peak: float) -> dict[str, Any]:
    """One point: how long a training step takes, and what share of the device's own products that is."""
    sequences = max(1, sizes.tokens // model.context)
    step = TrainingStep(Transformer(model, seed=0).to(device), TrainConfig(), compiled=False)
    ids = torch.randint(model.vocab_size, (sequences, model.context + 1), device=device)
    taken = milliseconds(lambda: step(ids, 1e-3), device, sizes.steps)
    tokens = sequences * model.context
    useful = tokens * training_flops_per_token(model, "exact") / (statistics.median(taken) / 1e3)
    return {
        "d_model": model.d_model, "n_experts": model.n_experts, "top_k": model.top_k, "tokens": tokens,
        "milliseconds": round(statistics.median(taken), 3), "slowest": round(max(taken), 3),
        "useful_gflops": round(useful / 1e9, 1), "share_of_product": round(useful / peak, 4),
    }  # fmt: skip


def missing(sizes: Sizes, points: list[dict[str, Any]]) -> Iterator[ModelConfig]:
    """The models that were not measured yet."""
    known = {(point["d_model"], point["n_experts"]) for point in points}
    for width in sizes.widths:
        for n_experts in sizes.experts:
            if (width, n_experts) not in known:
                yield tiny_model(width, n_experts)


def steps(device: torch.device, sizes: Sizes, out: Path) -> None:
    """Measure the points that are missing, writing each as it comes."""
    file = out / "gpu_steps.json"
    record = json.loads(file.read_text()) if file.exists() else {"kind": KIND, "devices": {}}
    if record.get("kind") != KIND:
        raise SystemExit(f"{file}: expected {KIND}, found another file; name another folder with --out")
    entry = record["devices"].setdefault(name_of(device), {"points": []})
    peak = product_flops(device, sizes.product)
    entry |= {"product_gflops": round(peak / 1e9, 1), "torch": torch.__version__, "code": code_version()}
    until = time.monotonic() + sizes.limits["steps"]
    for model in missing(sizes, entry["points"]):
        if time.monotonic() > until:
            print("steps: out of time; the same command goes on")
            return
        point = measured(model, device, sizes, peak)
        entry["points"].append(point)
        write_whole(file, json.dumps(record, indent=1) + "\n")
        print(f"steps: {json.dumps(point)}", flush=True)


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
    parser.add_argument("--out", type=Path, default=ROOT / "_build" / "gpu", help="folder of the two files")
    parser.add_argument("--parts", default="tests,steps,runs", help="some of tests,steps,runs")
    options = parser.parse_args()
    sizes, device = SMOKE if options.smoke else Sizes(), torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: torch finds no CUDA device here; --device cpu --smoke tries the way")
    options.out.mkdir(parents=True, exist_ok=True)
    print(f"{name_of(device)}: {asdict(sizes)}", flush=True)
    failed = 0
    if "tests" in options.parts and device.type == "cuda":
        failed |= bounded([sys.executable, "-m", "pytest", "-q", "-m", "cuda", "tests/training"], sizes.limits["tests"])
    if "steps" in options.parts:
        steps(device, sizes, options.out)
    if "runs" in options.parts:
        line = [sys.executable, "-m", "moelaws.cli", "sweep", sizes.sweep, "--out", str(options.out / "gpu_runs.csv")]
        line += ["--device", options.device, "--workers", str(sizes.workers), "--save-every", "60"]
        failed |= bounded(line, sizes.limits["runs"])
    return int(failed != 0)


if __name__ == "__main__":
    raise SystemExit(main())
