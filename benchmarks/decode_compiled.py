"""A compiled decode step beside what the machine can do: a copy of the bytes it reads, and products of its shapes.

Five contestants take turns in one process, some milliseconds each, so that whatever else the machine does meets all of
them: the compiled decoder; the eager one, which defines what is computed; a copy of the very bytes that the step reads,
weights of the experts that it chooses and its part of the cache; their sum, which reads them and does nothing else; and
torch.mm on the step's own shapes, with weights of the experts that it chooses, each with as many rows as the step gives
it. All go through the same tokens, so that what is in a processor's cache is so for all. Seconds are the processor time
of one thread; what is reported are medians, and medians of ratios of neighbours in time.

    OMP_NUM_THREADS=1 python benchmarks/decode_compiled.py [--widths 64 128 256] [--rounds 30] [--out FILE]

Points are written as they come; the same command goes on where it was stopped (--again begins anew).
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from unfinished import begun, write

from moelaws.allocator import in_large_pages
from moelaws.config import ModelConfig
from moelaws.decoding.compiled import places as at
from moelaws.decoding.compiled.compiled_decoder import CompiledDecoder
from moelaws.decoding.compiled.packed import pack
from moelaws.decoding.decoder import Decoder
from moelaws.decoding.sampling import choose
from moelaws.kernels.tiles import VECTOR
from moelaws.models import Transformer
from moelaws.provenance import code_version, machine
from moelaws.training.recipe import tiny_model

RESULTS = Path(__file__).parent / "results" / "decode_compiled.json"
EXPERTS, BATCHES = (8, 32), (1, 8, 32)
PROMPT, NEW = 64, 32
OURS, EAGER, COPY, READ, BLAS = "compiled", "eager", "copy", "read", "blas"
BARS = {COPY: 0.5, BLAS: 0.8}
TURN_SECONDS = 4e-3

Routes = list[list[torch.Tensor]]
"""Experts chosen, R x K, of each decode step and layer."""


class Decoding:
    """Decode steps of one decoder on the same tokens, prefilled again whenever the cache is full."""

    def __init__(self, decoder: Any, ids_BT: torch.Tensor) -> None:
        self.decoder, self.ids = decoder, ids_BT
        self.columns = [column[:, None].contiguous() for column in ids_BT[:, PROMPT:].unbind(1)]
        self.cache: Any = None

    def step(self, column: int, routes: list[torch.Tensor] | None = None) -> None:
        """One step, and the choice of the token."""
        choose(self.decoder.extend(self.cache, self.columns[column], routes))

    def ready(self, column: int) -> None:
        """What comes before a step and is not timed."""
        if column == 0:
            self.cache = self.decoder.prefill(self.ids[:, :PROMPT], NEW)[1]

    def routes(self) -> Routes:
        """Of every step."""
        found: Routes = []
        for column in range(NEW):
            self.ready(column)
            found.append([])
            self.step(column, found[-1])
        return found


class Copy:
    """Copies what a step reads."""

    def __init__(self, model: Transformer, batch: int, routes: Routes) -> None:
        packed, config = pack(model), model.config
        cache = 2 * config.n_layers * batch * (PROMPT + NEW // 2) * config.d_model
        # The cache lies behind the weights here.
        # In the pages that the weights have, too.
        self.source, self.target = (
            np.frombuffer(in_large_pages(4 * (len(packed.weights) + cache)), np.float32) for _ in range(2)
        )
        self.source[:] = 1
        self.target[:] = 1
        self.source[: len(packed.weights)] = packed.weights
        always = [(len(packed.weights), cache), (packed.unembedding, len(packed.weights) - packed.unembedding)]
        for row in packed.plan:
            always.append((row[at.QKV], row[at.EXPERTS] - row[at.QKV]))
        self.pieces = []
        for step in routes:
            chosen = [
                (row[at.EXPERTS] + e * row[at.STRIDE], row[at.STRIDE])
                for row, ids in zip(packed.plan, step, strict=True) for e in ids.unique().tolist()
            ]  # fmt: skip
            self.pieces.append(self._views(always + chosen))
        self.bytes = statistics.fmean(sum(source.nbytes for _, source in pieces) for pieces in self.pieces)

    def _views(self, pieces: list[tuple[int, int]]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each piece, where it goes and where it is; the target is as long as the source."""
        found, to = [], 0
        for begin, length in pieces:
            found.append((self.target[to : to + length], self.source[begin : begin + length]))
            to += length
        return found

    def step(self, column: int) -> None:
        """One step's bytes."""
        for target, source in self.pieces[column]:
            np.copyto(target, source)


@numba.njit(fastmath=True, error_model="numpy")
def _sum(x):
    """All numbers of an array, in vectors."""
    total = np.float32(0)
    for i in range(x.size):
        total += x[i]
    return total


class Read:
    """Reads what a copy copies, at the same places, and writes nothing."""

    def __init__(self, copy: Copy) -> None:
        self.pieces = [[source for _, source in pieces] for pieces in copy.pieces]

    def step(self, column: int) -> None:
        """One step's bytes."""
        for source in self.pieces[column]:
            _sum(source)


class Blas:
    """Products of a step's shapes with weights of its experts, into memory that is there."""

    def __init__(self, config: ModelConfig, batch: int, routes: Routes) -> None:
        d, f = config.d_model, config.d_expert
        always = [(3 * d, d), (d, d), (config.n_experts, d)]
        layers = [[torch.randn(k, n) for n, k in always] for _ in range(config.n_layers)]
        experts = [
            [(torch.randn(d, 2 * f), torch.randn(f, d)) for _ in range(config.n_experts)]
            for _ in range(config.n_layers)
        ]
        last = torch.randn(d, config.vocab_size)
        x = {k: torch.randn(batch * config.top_k, k) for k in (d, f)}
        out = torch.empty(batch * config.top_k * max(3 * d, 2 * f, config.vocab_size))
        self.steps = []
        for step in routes:
            calls = []
            for layer, ids in enumerate(step):
                calls += [(batch, w) for w in layers[layer]]
                for e, rows in enumerate(ids.flatten().bincount().tolist()):
                    calls += [(rows, w) for w in experts[layer][e] if rows]
            calls.append((batch, last))
            ready = [(x[w.shape[0]][:m], w, out[: m * w.shape[1]].view(m, -1)) for m, w in calls]
            self.steps.append(ready)
        self.flops = statistics.fmean(sum(2 * x.numel() * y.shape[1] for x, _, y in ready) for ready in self.steps)

    def step(self, column: int) -> None:
        """One step's products."""
        for x, w, y in self.steps[column]:
            torch.mm(x, w, out=y)


def seconds(contestant: Any, times: int, column: int) -> float:
    """Processor seconds of a step, mean of a turn; the first one is not counted."""
    total = 0
    ready = getattr(contestant, "ready", None)
    for number in range(times + 1):
        if ready is not None:
            ready((column + number) % NEW)
        start = time.process_time_ns()
        contestant.step((column + number) % NEW)
        if number:
            total += time.process_time_ns() - start
    return total / times / 1e9


def point(width: int, n_experts: int, batch: int, rounds: int) -> dict[str, Any]:
    """One configuration."""
    config = tiny_model(width, n_experts)
    model = Transformer(config)
    ids_BT = torch.randint(config.vocab_size, (batch, PROMPT + NEW), generator=torch.Generator().manual_seed(batch))
    ours = Decoding(CompiledDecoder(model), ids_BT)
    routes = ours.routes()
    copy, blas = Copy(model, batch, routes), Blas(config, batch, routes)
    eager = Decoding(Decoder(model), ids_BT)
    contestants = {OURS: ours, EAGER: eager, COPY: copy, READ: Read(copy), BLAS: blas}
    # A turn is a whole number of rounds through the tokens: caches of the decoders are filled from the beginning.
    once = {name: seconds(contestant, 2 * NEW - 1, 0) for name, contestant in contestants.items()}
    times = {name: NEW * max(1, round(TURN_SECONDS / took / NEW)) for name, took in once.items()}
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name in list(contestants) if number % 2 else reversed(contestants):
            taken[name].append(seconds(contestants[name], times[name] - 1, 0))
    return summary((width, n_experts, batch), taken, copy.bytes, blas.flops)


def summary(
    setting: tuple[int, int, int], taken: dict[str, list[float]], read: float, flops: float
) -> dict[str, Any]:  # fmt: skip
    """The figures of one point, printed."""
    median = {name: statistics.median(values) for name, values in taken.items()}
    ratio = {
        name: statistics.median(other / ours for other, ours in zip(taken[name], taken[OURS], strict=True))
        for name in (EAGER, COPY, READ, BLAS)
    }
    found = {
        **dict(zip(("d_model", "n_experts", "batch"), setting, strict=True)),
        "milliseconds": {name: round(1e3 * value, 4) for name, value in median.items()},
        "least_milliseconds": {name: round(1e3 * min(values), 4) for name, values in taken.items()},
        "load": round(os.getloadavg()[0], 2),
        "megabytes": round(read / 1e6, 3), "gigabytes_per_second": round(read / median[OURS] / 1e9, 1),
        "copy_gigabytes_per_second": round(2 * read / median[COPY] / 1e9, 1),
        "gigaflops": round(flops / median[OURS] / 1e9, 1),
        "eager_over_compiled": round(ratio[EAGER], 3), "blas_over_compiled": round(ratio[BLAS], 3),
        # A copy reads every byte and writes it: what it moves is twice its size.
        "bandwidth_over_copy": round(ratio[COPY] / 2, 3), "bandwidth_over_read": round(ratio[READ], 3),
    }  # fmt: skip
    width, n_experts, batch = setting
    print(
        f"d {width:3}  E {n_experts:2}  batch {batch:2}  {1e3 * median[OURS]:6.3f} ms (least "
        f"{1e3 * min(taken[OURS]):.3f}), eager {1e3 * median[EAGER]:6.3f} ({ratio[EAGER]:.1f}x), "
        f"{found['gigabytes_per_second']:5} GB/s = {found['bandwidth_over_copy']:.2f} of a copy's "
        f"{found['copy_gigabytes_per_second']}, {ratio[READ]:.2f} of bare reading, {found['gigaflops']:5} "
        f"GFLOP/s = {ratio[BLAS]:.2f} of torch.mm",
        flush=True,
    )
    return found


def seconds_until_ready() -> list[float]:
    """Processor seconds of compiling the step, and of reading from the disk what was compiled."""
    code = """
import os
from moelaws.decoding.compiled.compiled_step import compiled_step
start = sum(os.times()[:4])
compiled_step()
print(sum(os.times()[:4]) - start)
"""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"MOELAWS_CACHE": folder, "NUMBA_CACHE_DIR": ""}
        run = partial(subprocess.run, [sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        return [round(float(run().stdout), 2) for _ in range(2)]


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--again", action="store_true", help="measure points again that the file has")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    stamp = {"machine": machine(), "vector": VECTOR, "torch": torch.__version__, "numba": numba.__version__,
             "python": platform.python_version(), "code": code_version(), "clock": "processor"}  # fmt: skip
    asked = {"stamp": stamp, "prompt": PROMPT, "new": NEW, "rounds": options.rounds, "bars": BARS}
    result = begun(options.out, asked, options.again)
    done = {(p["d_model"], p["n_experts"], p["batch"]) for p in result["points"]}
    for setting in product(options.widths, EXPERTS, options.batches):
        if setting not in done:
            result["points"].append(point(*setting, options.rounds))
            write(options.out, result)
    result["seconds_until_ready"] = seconds_until_ready()
    write(options.out, result, finished=True)


if __name__ == "__main__":
    main()
