"""Decoding speed against Hugging Face transformers, from the same checkpoint on one thread.

Two processes hold the same model: this library's decoder, and transformers' OLMoE with its own cache. One works while
the other waits; they take turns, so that whatever else the machine does meets both. Both read the same tokens, take
the best next one and throw it away. Seconds are the processor time of one thread.

What disturbs a machine lasts from a second to a minute. So a turn is short, some steps each; there are many; and what
is reported is the median over turns of the ratio of two neighbours.

transformers gets its best setting at each point: every way it has to run experts (loop, batched, grouped products)
with a growing and with a preallocated cache is tried first, and the fastest is timed.

    OMP_NUM_THREADS=1 python benchmarks/decode_speed.py [--widths 64 128] [--rounds 44] [--out FILE]
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from moelaws.allocator import keep_freed_memory
from moelaws.decoding.decoder import Decoder
from moelaws.measuring.requests import requests_of
from moelaws.measuring.subjects import trained_model
from moelaws.models import Transformer
from moelaws.models.checkpoint import load_checkpoint, save_checkpoint
from moelaws.text.corpus import load_corpus
from moelaws.training.recipe import tiny_model
from moelaws.training.record import machine

RESULTS = Path(__file__).parent / "results" / "decode_speed.json"
EXPERTS, BATCHES = (1, 8, 32), (1, 8, 32)
BARS = {1: 2.0, 8: 2.0, 32: 1.4}
PROMPT, NEW = 64, 32
TURN = 8  # decode steps
OURS, THEIRS = "moelaws", "transformers"

Serve = Callable[[], Iterator[float]]
"""Endless turns: processor seconds of a decode step, mean of a turn. Prefills come between turns, untimed."""


def turns(prefill: Callable[[], Any], step: Callable[[Any, torch.Tensor], Any], ids: torch.Tensor) -> Iterator[float]:
    """Prefill, decode all new tokens a turn at a time, and again."""
    columns = [column[:, None].contiguous() for column in ids[:, PROMPT:].unbind(1)]
    while True:
        with torch.inference_mode():
            cache = prefill()
        for first in range(0, NEW, TURN):
            with torch.inference_mode():
                start = time.process_time()
                for ids_B1 in columns[first : first + TURN]:
                    step(cache, ids_B1)
                taken = time.process_time() - start
            yield taken / TURN


def our_serves(folder: Path, ids: torch.Tensor) -> dict[str, Serve]:
    """This library, by setting; there is one."""
    decoder = Decoder(load_checkpoint(folder))

    def prefill() -> Any:
        return decoder.prefill(ids[:, :PROMPT], NEW)[1]

    def step(cache: Any, ids_B1: torch.Tensor) -> None:
        decoder.extend(cache, ids_B1).argmax(-1)

    return {"static cache": lambda: turns(prefill, step, ids)}


def their_serves(folder: Path, ids: torch.Tensor) -> dict[str, Serve]:
    """The same of transformers."""
    from transformers import DynamicCache, OlmoeForCausalLM, StaticCache

    def serve(network: Any, static: bool) -> Iterator[float]:
        config = network.config

        def prefill() -> Any:
            cache = StaticCache(config=config, max_cache_len=PROMPT + NEW) if static else DynamicCache(config=config)
            network(ids[:, :PROMPT], past_key_values=cache, use_cache=True, logits_to_keep=1)
            return cache

        def step(cache: Any, ids_B1: torch.Tensor) -> None:
            network(ids_B1, past_key_values=cache, use_cache=True).logits[:, -1].argmax(-1)

        return turns(prefill, step, ids)

    serves: dict[str, Serve] = {}
    for experts in ("eager", "batched_mm", "grouped_mm"):
        network = OlmoeForCausalLM.from_pretrained(folder, experts_implementation=experts).eval()
        for static in (False, True):
            name = f"{experts}, {'static' if static else 'dynamic'} cache"
            serves[name] = lambda network=network, static=static: serve(network, static)
    return serves


def worker(pipe: Connection, name: str) -> None:
    """Answer requests: load a checkpoint and find its fastest setting, or time a round of it."""
    torch.set_num_threads(1)
    keep_freed_memory()
    chosen: Iterator[float] | None = None
    while (request := pipe.recv()) is not None:
        if isinstance(request, tuple):
            serves = (our_serves if name == OURS else their_serves)(*request)
            tried = {key: min(islice(serve(), 3 * NEW // TURN)) for key, serve in serves.items()}
            best = min(tried, key=tried.__getitem__)
            chosen = serves[best]()
            pipe.send({"setting": best, "milliseconds": {key: round(1e3 * took, 3) for key, took in tried.items()}})
        else:
            assert chosen is not None
            pipe.send(next(chosen))


def checkpoint(width: int, n_experts: int, folder: Path, trained: bool) -> None:
    """Write the model of a point; trained ones come from the book's grid."""
    if trained:
        save_checkpoint(trained_model(width, n_experts), folder)
    else:
        save_checkpoint(Transformer(tiny_model(width, n_experts)), folder)


def measure(widths: list[int], rounds: int, trained: bool) -> list[dict[str, Any]]:
    """Every point in turn, both processes in turn within it."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for name in (OURS, THEIRS):
        pipes[name], other = context.Pipe()
        context.Process(target=worker, args=(other, name), daemon=True).start()
    requests = requests_of(load_corpus())
    points = []
    for width in widths:
        for n_experts in EXPERTS:
            with tempfile.TemporaryDirectory() as folder:
                checkpoint(width, n_experts, Path(folder), trained)
                for batch in BATCHES:
                    ids = requests.draw(batch, PROMPT + NEW)
                    tried = {}
                    for name, pipe in pipes.items():
                        pipe.send((Path(folder), ids))
                        tried[name] = pipe.recv()
                    seconds: dict[str, list[float]] = {name: [] for name in pipes}
                    for number in range(rounds):
                        for name in (OURS, THEIRS) if number % 2 else (THEIRS, OURS):
                            pipes[name].send("turn")
                            seconds[name].append(pipes[name].recv())
                    points.append(point(width, n_experts, batch, seconds, tried))
    for pipe in pipes.values():
        pipe.send(None)
    return points


def point(
    width: int, n_experts: int, batch: int, seconds: dict[str, list[float]], tried: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The figures of one point, printed."""
    median = {name: statistics.median(times) for name, times in seconds.items()}
    ratios = sorted(theirs / ours for theirs, ours in zip(seconds[THEIRS], seconds[OURS], strict=True))
    ratio = statistics.median(ratios)
    low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
    print(
        f"d {width:3}  E {n_experts:2}  batch {batch:2}  {1e3 * median[OURS]:6.3f} ms a step, "
        f"{batch / median[OURS]:7.0f} tokens/s   transformers {1e3 * median[THEIRS]:6.3f} ms "
        f"({tried[THEIRS]['setting']})   {ratio:.2f}x ({low:.2f}-{high:.2f}), "
        f"bar {BARS[batch]:g}: {'met' if ratio >= BARS[batch] else 'MISSED'}",
        flush=True,
    )
    return {
        "d_model": width, "n_experts": n_experts, "batch": batch,
        "milliseconds": {name: round(1e3 * value, 4) for name, value in median.items()},
        "tokens_per_second": {name: round(batch / value) for name, value in median.items()},
        "ratio": round(ratio, 3), "ratio_low": round(low, 3), "ratio_high": round(high, 3),
        "bar": BARS[batch], "their_setting": tried[THEIRS]["setting"], "their_settings": tried[THEIRS]["milliseconds"],
    }  # fmt: skip


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--rounds", type=int, default=44)
    parser.add_argument("--random", action="store_true", help="models that were not trained")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    points = measure(options.widths, options.rounds, not options.random)
    worst = {batch: min(p["ratio"] for p in points if p["batch"] == batch) for batch in BATCHES}
    print(f"least ratio by batch: {worst}")
    import transformers

    stamp = {"machine": machine(), "torch": torch.__version__, "transformers": transformers.__version__,
             "python": platform.python_version(), "load": round(os.getloadavg()[0], 2), "clock": "processor",
             "weights": "random" if options.random else "trained"}  # fmt: skip
    options.out.parent.mkdir(exist_ok=True)
    result = {
        "stamp": stamp,
        "prompt": PROMPT,
        "new": NEW,
        "steps_a_turn": TURN,
        "rounds": options.rounds,
        "least_ratio": worst,
    }
    options.out.write_text(json.dumps(result | {"points": points}, indent=1) + "\n")


if __name__ == "__main__":
    main()
