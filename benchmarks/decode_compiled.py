"""A compiled decode step beside what the machine can do: a copy of the bytes it reads, and products of its shapes.

Four contestants take turns in one process, some milliseconds each, so that whatever else the machine does meets all of
them: the compiled decoder, the eager one (which defines what is computed), a copy of as many bytes as the step reads,
and torch.mm on the step's own shapes, each expert with as many rows as the step gives it. Seconds are the processor
time of one thread; what is reported are medians, and medians of ratios of neighbours in time.

    OMP_NUM_THREADS=1 python benchmarks/decode_compiled.py [--widths 64 128 256] [--rounds 30] [--out FILE]
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch

from moelaws.config import ModelConfig
from moelaws.decoding.compiled.compilation import compiled_step
from moelaws.decoding.compiled.compiled_decoder import CompiledDecoder
from moelaws.decoding.compiled.tiles import VECTOR
from moelaws.decoding.decoder import Decoder
from moelaws.models import Transformer
from moelaws.provenance import machine
from moelaws.training.recipe import tiny_model

RESULTS = Path(__file__).parent / "results" / "decode_compiled.json"
EXPERTS, BATCHES = (8, 32), (1, 8, 32)
PROMPT, NEW = 64, 32
COPY, BLAS = "copy", "blas"
BARS = {COPY: 0.5, BLAS: 0.8}
_TURN_SECONDS = 4e-3


class Decoding:
    """Decode steps of one decoder on the same tokens, prefilled again whenever the cache is full."""

    def __init__(self, decoder: Any, ids_BT: torch.Tensor) -> None:
        self.decoder, self.ids = decoder, ids_BT
        self.columns = [column[:, None].contiguous() for column in ids_BT[:, PROMPT:].unbind(1)]
        self.at = len(self.columns)

    def ready(self) -> None:
        """Make room for a step, untimed."""
        if self.at == len(self.columns):
            self.cache = self.decoder.prefill(self.ids[:, :PROMPT], NEW)[1]
            self.at = 0

    def step(self) -> None:
        """One step, and the choice of the token."""
        self.decoder.extend(self.cache, self.columns[self.at]).argmax(-1)
        self.at += 1


def products(config: ModelConfig, groups: list[list[int]], batch: int) -> list[tuple[int, int, int, int]]:
    """Rows, inputs and outputs of every product of a step, and how many tensors of that shape it reads in turn."""
    d, f = config.d_model, config.d_expert
    shapes = []
    for sizes in groups:
        shapes += [(batch, d, 3 * d), (batch, d, d), (batch, d, config.n_experts)]
        shapes += [shape for rows in sizes for shape in ((rows, d, 2 * f), (rows, f, d))]
    return [*shapes, (batch, d, config.vocab_size)]


def blas(shapes: list[tuple[int, int, int]]) -> Callable[[], None]:
    """All these products, each with weights of its own."""
    calls = [(torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)) for m, k, n in shapes]

    def run() -> None:
        for x, w, y in calls:
            torch.mm(x, w, out=y)

    return run


def seconds(run: Callable[[], Any], times: int, ready: Callable[[], None] = lambda: None) -> float:
    """Processor seconds of a call, mean of a turn; the first is not counted."""
    total = 0.0
    for number in range(times + 1):
        ready()
        start = time.process_time_ns()
        run()
        if number:
            total += time.process_time_ns() - start
    return total / times / 1e9


def point(width: int, n_experts: int, batch: int, rounds: int) -> dict[str, Any]:
    """One configuration."""
    config = tiny_model(width, n_experts)
    model = Transformer(config)
    ids_BT = torch.randint(config.vocab_size, (batch, PROMPT + NEW), generator=torch.Generator().manual_seed(batch))
    decodings = {"compiled": Decoding(CompiledDecoder(model), ids_BT), "eager": Decoding(Decoder(model), ids_BT)}
    routes: list[torch.Tensor] = []
    decodings["compiled"].ready()
    decodings["compiled"].decoder.extend(decodings["compiled"].cache, decodings["compiled"].columns[0], routes)
    decodings["compiled"].at = len(decodings["compiled"].columns)
    groups = [ids.flatten().bincount().tolist() for ids in routes]
    shapes = products(config, [[rows for rows in sizes if rows] for sizes in groups], batch)
    context = PROMPT + NEW // 2
    read = 4 * (sum(k * n for _, k, n in shapes) + 2 * config.n_layers * batch * context * width)
    flops = 2 * sum(m * k * n for m, k, n in shapes)
    source, target = np.ones(read // 4, np.float32), np.ones(read // 4, np.float32)
    runs: dict[str, tuple[Callable[[], Any], Callable[[], None]]] = {
        name: (decoding.step, decoding.ready) for name, decoding in decodings.items()
    }
    runs |= {COPY: (lambda: np.copyto(target, source), lambda: None), BLAS: (blas(shapes), lambda: None)}
    once = {name: seconds(run, 5, ready) for name, (run, ready) in runs.items()}
    times = {name: max(2, min(400, round(_TURN_SECONDS / took))) for name, took in once.items()}
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in list(runs) if number % 2 else reversed(runs):
            run, ready = runs[name]
            taken[name].append(seconds(run, times[name], ready))
    median = {name: statistics.median(values) for name, values in taken.items()}
    ratio = {
        name: statistics.median(other / ours for other, ours in zip(taken[name], taken["compiled"], strict=True))
        for name in ("eager", COPY, BLAS)
    }
    found = {
        "d_model": width, "n_experts": n_experts, "batch": batch,
        "milliseconds": {name: round(1e3 * value, 4) for name, value in median.items()},
        "megabytes": round(read / 1e6, 3), "gigabytes_per_second": round(read / median["compiled"] / 1e9, 1),
        "copy_gigabytes_per_second": round(2 * read / median[COPY] / 1e9, 1),
        "gigaflops": round(flops / median["compiled"] / 1e9, 1),
        "eager_over_compiled": round(ratio["eager"], 3), "blas_over_compiled": round(ratio[BLAS], 3),
        # A copy reads every byte and writes it: what it moves is twice its size.
        "bandwidth_over_copy": round(ratio[COPY] / 2, 3),
    }  # fmt: skip
    print(
        f"d {width:3}  E {n_experts:2}  batch {batch:2}  {1e3 * median['compiled']:6.3f} ms, eager "
        f"{1e3 * median['eager']:6.3f} ({ratio['eager']:.1f}x), {found['gigabytes_per_second']:5} GB/s = "
        f"{found['bandwidth_over_copy']:.2f} of a copy's {found['copy_gigabytes_per_second']}, "
        f"{found['gigaflops']:5} GFLOP/s = {ratio[BLAS]:.2f} of torch.mm",
        flush=True,
    )
    return found


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    compiled_step()
    ready = time.process_time() - start
    points = [
        point(width, n_experts, batch, options.rounds)
        for width in options.widths for n_experts in EXPERTS for batch in options.batches
    ]  # fmt: skip
    stamp = {"machine": machine(), "vector": VECTOR, "torch": torch.__version__, "numba": numba.__version__,
             "python": platform.python_version(), "load": round(os.getloadavg()[0], 2), "clock": "processor",
             "seconds_until_ready": round(ready, 2)}  # fmt: skip
    result = {"stamp": stamp, "prompt": PROMPT, "new": NEW, "rounds": options.rounds, "bars": BARS, "points": points}
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
