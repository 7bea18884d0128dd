"""Training speed against Hugging Face transformers, against the dense model, and against the machine's own products.

Three processes hold the same models: this library's, transformers' OLMoE from the same checkpoint, and the latter
with this library's memory setting. One works while the others wait; they take turns, so that whatever else the
machine does meets all three. Seconds are the processor time of one thread.

    OMP_NUM_THREADS=1 python benchmarks/train_speed.py [--sequences 32] [--rounds 7] [--out FILE]
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

from moelaws.allocator import keep_freed_memory
from moelaws.config import ModelConfig, TrainConfig
from moelaws.counting import training_flops_per_token
from moelaws.models import Transformer
from moelaws.models.checkpoint import load_checkpoint, save_checkpoint
from moelaws.models.product import product
from moelaws.training.recipe import tiny_model
from moelaws.training.record import machine
from moelaws.training.step import TrainingStep

RESULTS = Path(__file__).parent / "results" / "train_speed.json"
POINTS = [(1, 1), (8, 1), (8, 2), (32, 1), (32, 2)]
OURS, THEIRS, THEIRS_KEEPING = "moelaws", "transformers", "transformers, memory kept"
CONTEXT = 128


def our_step(model: ModelConfig, folder: Path, ids: torch.Tensor) -> Callable[[], object]:
    """One training step of this library, the way ``train`` takes it."""
    take_step = TrainingStep(load_checkpoint(folder), TrainConfig())
    return lambda: take_step(ids, 6e-3)


def their_step(model: ModelConfig, folder: Path, ids: torch.Tensor) -> Callable[[], None]:
    """One training step of transformers: its loss and auxiliary loss, the same optimiser, clipping and batch."""
    from transformers import OlmoeForCausalLM

    network = OlmoeForCausalLM.from_pretrained(folder)
    network.config.output_router_logits = model.is_moe
    network.config.use_cache = False
    network.train()
    parameters = list(network.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=6e-3, fused=True)
    inputs = ids[:, :-1]

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        loss = network(input_ids=inputs, labels=inputs).loss
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
            step = (our_step if name == OURS else their_step)(model, folder, ids)
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


def measure(sequences: int, rounds: int, widths: list[int]) -> dict[str, Any]:
    """Every point in turn, every process in turn within it."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for name in (OURS, THEIRS, THEIRS_KEEPING):
        pipes[name], other = context.Pipe()
        context.Process(target=worker, args=(other, name), daemon=True).start()
    points = []
    for width in widths:
        for n_experts, top_k in POINTS:
            model = tiny_model(width, n_experts, top_k)
            with tempfile.TemporaryDirectory() as folder:
                save_checkpoint(Transformer(model), folder)
                for pipe in pipes.values():
                    pipe.send((model, Path(folder), sequences))
                    pipe.recv()
            seconds: dict[str, list[float]] = {name: [] for name in pipes}
            for turn in range(rounds + 1):
                for name, pipe in pipes.items():
                    pipe.send(12 if turn == 0 else 3)  # the first turn is warm-up: kernels for new shapes
                    took = pipe.recv()
                    if turn:
                        seconds[name].append(took)
            median = {name: statistics.median(times) for name, times in seconds.items()}
            point = {
                "d_model": width, "n_experts": n_experts, "top_k": top_k,
                "milliseconds": {name: round(1e3 * value, 2) for name, value in median.items()},
                "ratio": round(statistics.median(_ratios(seconds, THEIRS)), 3),
                "ratio_memory_kept": round(statistics.median(_ratios(seconds, THEIRS_KEEPING)), 3),
                "useful_gflops": round(useful_flops(model) * sequences * CONTEXT / median[OURS] / 1e9, 1),
            }  # fmt: skip
            points.append(point)
            print(
                f"d {width:3}  E {n_experts:2}  K {top_k}  {point['milliseconds'][OURS]:7.1f} ms   transformers "
                f"{point['ratio']:.2f}x (memory kept {point['ratio_memory_kept']:.2f}x)   "
                f"{point['useful_gflops']:5.1f} GFLOP/s",
                flush=True,
            )
    for pipe in pipes.values():
        pipe.send(None)
    return {"sequences": sequences, "context": CONTEXT, "rounds": rounds, "points": points}


def _ratios(seconds: dict[str, list[float]], name: str) -> list[float]:
    return [theirs / ours for theirs, ours in zip(seconds[name], seconds[OURS], strict=True)]


def summary(result: dict[str, Any]) -> dict[str, Any]:
    """The figures that the bars speak of."""
    points = {(p["d_model"], p["n_experts"], p["top_k"]): p for p in result["points"]}
    widths = sorted({d for d, _, _ in points})
    best = max(result["peak_gflops"].values())
    return {
        "worst_ratio_moe": min(p["ratio"] for (_, e, _), p in points.items() if e > 1),
        "worst_ratio_dense": min(p["ratio"] for (_, e, _), p in points.items() if e == 1),
        "step_time_e32_over_e1": {
            d: round(points[d, 32, 1]["milliseconds"][OURS] / points[d, 1, 1]["milliseconds"][OURS], 3) for d in widths
        },
        "share_of_best_product": {d: round(points[d, 1, 1]["useful_gflops"] / best, 3) for d in widths},
        "share_of_torch_mm": {
            d: round(points[d, 1, 1]["useful_gflops"] / result["peak_gflops"]["torch.mm"], 3) for d in widths
        },
    }


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, nargs="+", default=[32])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for sequences in options.sequences:
        print(f"{sequences} sequences of {CONTEXT} tokens a step")
        result = measure(sequences, options.rounds, options.widths)
        result["peak_gflops"] = {name: round(value / 1e9, 1) for name, value in peak().items()}
        result["summary"] = summary(result)
        print(json.dumps({"peak_gflops": result["peak_gflops"], **result["summary"]}, indent=1))
        results.append(result)
    import transformers

    stamp = {"machine": machine(), "torch": torch.__version__, "transformers": transformers.__version__,
             "python": platform.python_version(), "load": round(os.getloadavg()[0], 2)}  # fmt: skip
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps({"stamp": stamp, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
