"""Training speed against Hugging Face transformers, against the dense model, and against the machine's own products.

Four processes hold the same models: this library's, transformers' OLMoE from the same checkpoint, the latter with this
library's memory setting, and that under torch.compile as well. One works while the others wait; they take turns, so
that whatever else the machine does meets all of them. Seconds are the processor time of one thread.

    OMP_NUM_THREADS=1 python benchmarks/train_speed.py [--sequences 32] [--rounds 7] [--no-compile] [--out FILE]

Results of each point are written at once, and a second call goes on where the first was stopped (--again begins anew).
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from unfinished import begun, write

from moelaws.allocator import keep_freed_memory
from moelaws.config import ModelConfig, TrainConfig
from moelaws.counting import training_flops_per_token
from moelaws.models import Transformer
from moelaws.models.checkpoint import load_checkpoint, save_checkpoint
from moelaws.models.product import product
from moelaws.provenance import code_version, machine
from moelaws.training.recipe import tiny_model
from moelaws.training.step import TrainingStep

RESULTS = Path(__file__).parent / "results" / "train_speed.json"
POINTS = [(1, 1), (8, 1), (8, 2), (32, 1), (32, 2)]
OURS, THEIRS, THEIRS_KEEPING = "moelaws", "transformers", "transformers, memory kept"
THEIRS_COMPILED = "transformers, memory kept, compiled"
BARS = {THEIRS: 1.4, THEIRS_KEEPING: 1.25, THEIRS_COMPILED: 1.2}
E32_OVER_E1 = 1.25
CONTEXT = 128


def our_step(model: ModelConfig, folder: Path, ids: torch.Tensor) -> Callable[[], object]:
    """One training step of this library, the way ``train`` takes it."""
    take_step = TrainingStep(load_checkpoint(folder), TrainConfig())
    return lambda: take_step(ids, 6e-3)


def their_step(model: ModelConfig, folder: Path, ids: torch.Tensor, compiled: bool = False) -> Callable[[], None]:
    """One training step of transformers: its loss and auxiliary loss, the same optimiser, clipping and batch."""
    from transformers import OlmoeForCausalLM

    network = OlmoeForCausalLM.from_pretrained(folder)
    network.config.output_router_logits = model.is_moe
    network.config.use_cache = False
    network.train()
    parameters = list(network.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=6e-3, fused=True)
    inputs = ids[:, :-1]
    forward = torch.compile(network, dynamic=False) if compiled else network

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        loss = forward(input_ids=inputs, labels=inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        loss.item()
        optimiser.step()

    return step


def worker(pipe: Connection, name: str) -> None:
    """Answer requests: load a model, or time steps of it in processor seconds a step."""
    torch.set_num_threads(1)
    if name != THEIRS:
        keep_freed_memory()
    step: Callable[[], object] = lambda: None  # noqa: E731
    while (request := pipe.recv()) is not None:
        if isinstance(request, tuple):
            model, folder, sequences = request
            ids = torch.randint(model.vocab_size, (sequences, CONTEXT + 1), generator=torch.Generator().manual_seed(0))
            if name == OURS:
                step = our_step(model, folder, ids)
            else:
                torch.compiler.reset()
                step = their_step(model, folder, ids, compiled=name == THEIRS_COMPILED)
            pipe.send(None)
        else:
            start = time.process_time()
            for _ in range(request):
                step()
            pipe.send((time.process_time() - start) / request)


def peak() -> dict[str, float]:
    """FLOP/s of one thread in a product of 1,024 x 1,024 matrices: torch's own, and the best this library knows."""
    a, b = torch.randn(2, 1024, 1024, generator=torch.Generator().manual_seed(0))

    def rate(multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> float:
        times = []
        for _ in range(25):
            start = time.process_time()
            multiply(a, b)
            times.append(time.process_time() - start)
        return 2 * 1024**3 / statistics.median(times[5:])

    return {"torch.mm": rate(torch.mm), "oneDNN": rate(product)}


def useful_flops(model: ModelConfig) -> float:
    """Training FLOPs a token, attention over the past alone: the masked half of T x T is no use."""
    return training_flops_per_token(model) - 6 * model.n_layers * CONTEXT * model.d_model


class Peers:
    """The processes, each holding the model of a point, that take turns.

    Args:
        names: of ``OURS`` and the others.
    """

    def __init__(self, names: list[str]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: dict[str, Connection] = {}
        for name in names:
            self._pipes[name], other = context.Pipe()
            context.Process(target=worker, args=(other, name), daemon=True).start()

    def measure(self, model: ModelConfig, sequences: int, rounds: int) -> dict[str, list[float]]:
        """Seconds of a step of each, round by round."""
        with tempfile.TemporaryDirectory() as folder:
            save_checkpoint(Transformer(model), folder)
            for pipe in self._pipes.values():
                pipe.send((model, Path(folder), sequences))
                pipe.recv()
        seconds: dict[str, list[float]] = {name: [] for name in self._pipes}
        for turn in range(rounds + 1):
            for name, pipe in self._pipes.items():
                pipe.send(6 if turn == 0 else 3)  # the first turn is warm-up: kernels for new shapes
                took = pipe.recv()
                if turn:
                    seconds[name].append(took)
        return seconds

    def close(self) -> None:
        """Let them go."""
        for pipe in self._pipes.values():
            pipe.send(None)


def point_of(model: ModelConfig, sequences: int, seconds: dict[str, list[float]]) -> dict[str, Any]:
    """What is recorded of a point."""
    median = {name: statistics.median(times) for name, times in seconds.items()}
    point = {
        "d_model": model.d_model, "n_experts": model.n_experts, "top_k": model.top_k,
        "milliseconds": {name: round(1e3 * value, 2) for name, value in median.items()},
        "ratios": {name: ratio(seconds[name], seconds[OURS]) for name in median if name != OURS},
        "useful_gflops": round(useful_flops(model) * sequences * CONTEXT / median[OURS] / 1e9, 1),
        "load": round(os.getloadavg()[0], 2),
    }  # fmt: skip
    ratios = ", ".join(f"{name} {value:.2f}x" for name, value in point["ratios"].items())
    print(
        f"d {model.d_model:3}  E {model.n_experts:2}  K {model.top_k}  {1e3 * median[OURS]:7.1f} ms   {ratios}   "
        f"{point['useful_gflops']:5.1f} GFLOP/s   load {point['load']}",
        flush=True,
    )
    return point


def ratio(theirs: list[float], ours: list[float]) -> float:
    """Median over neighbours in time."""
    return round(statistics.median(a / b for a, b in zip(theirs, ours, strict=True)), 3)


def summary(result: dict[str, Any]) -> dict[str, Any]:
    """The figures that the bars speak of."""
    points = {(p["d_model"], p["n_experts"], p["top_k"]): p for p in result["points"]}
    widths = sorted({d for d, _, _ in points})
    best = max(result["peak_gflops"].values())
    mixtures = [p for (_, e, _), p in points.items() if e > 1]
    measured = [name for name in BARS if all(name in p["ratios"] for p in mixtures)]
    worst = {name: min(p["ratios"][name] for p in mixtures) for name in measured}
    growth = {
        d: round(points[d, 32, 1]["milliseconds"][OURS] / points[d, 1, 1]["milliseconds"][OURS], 3)
        for d in widths if {(d, 32, 1), (d, 1, 1)} <= set(points)
    }  # fmt: skip
    return {
        "worst_ratio_moe": worst,
        "met": {name: worst[name] >= BARS[name] for name in measured},
        "step_time_e32_over_e1": growth,
        "growth_met": max(growth.values(), default=0.0) <= E32_OVER_E1,
        "share_of_best_product": {
            d: round(points[d, 1, 1]["useful_gflops"] / best, 3) for d in widths if (d, 1, 1) in points
        },
    }


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128])
    parser.add_argument(
        "--no-compile", action="store_true", help="leave out torch.compile, which takes a minute a point"
    )
    parser.add_argument("--again", action="store_true", help="measure points again that the file has")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    import transformers

    stamp = {"machine": machine(), "torch": torch.__version__, "transformers": transformers.__version__,
             "python": platform.python_version(), "code": code_version()}  # fmt: skip
    asked = {"stamp": stamp, "sequences": options.sequences, "context": CONTEXT, "rounds": options.rounds}
    result = begun(options.out, asked, options.again)
    done = {(p["d_model"], p["n_experts"], p["top_k"]) for p in result["points"]}
    peers = Peers([OURS, THEIRS, THEIRS_KEEPING] + [THEIRS_COMPILED] * (not options.no_compile))
    for width in options.widths:
        for n_experts, top_k in POINTS:
            if (width, n_experts, top_k) not in done:
                model = tiny_model(width, n_experts, top_k)
                seconds = peers.measure(model, options.sequences, options.rounds)
                result["points"].append(point_of(model, options.sequences, seconds))
                write(options.out, result)
    peers.close()
    result["peak_gflops"] = {name: round(value / 1e9, 1) for name, value in peak().items()}
    result["summary"] = summary(result)
    print(json.dumps({"peak_gflops": result["peak_gflops"], **result["summary"]}, indent=1))
    write(options.out, result, finished=True)


if __name__ == "__main__":
    main()
