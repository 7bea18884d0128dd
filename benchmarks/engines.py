"""The same trained models in our decoder, in llama.cpp and in transformers: equal greedy tokens, and times beside ours.

Each model is trained once for 3e11 FLOPs and kept in the cache folder; llama.cpp gets it as the GGUF file that
``moelaws export gguf`` writes. First every engine answers the same prompts greedily, and its tokens are compared with
ours; then the engines take turns in one process on the same tokens, some milliseconds each. Seconds are the processor
time of one thread; what is reported are medians, and medians of ratios of neighbours in time. ``llama.cpp`` computes
in fp32 throughout, as ours; ``llama.cpp fp16`` is its own default, whose cache and attention are in fp16.

    npm install @node-llama-cpp/linux-x64@3.22.1
    OMP_NUM_THREADS=1 python benchmarks/engines.py [--widths 64 128 256] [--rounds 12] [--out FILE]

Points are written as they come; the same command goes on where it was stopped (--again begins anew).
"""

import argparse
import json
import os
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from unfinished import begun, write

from moelaws.decoding.engine import make_decoder
from moelaws.decoding.foreign.llama_decoder import LlamaDecoder
from moelaws.decoding.foreign.llama_library import library_file
from moelaws.decoding.sampling import choose
from moelaws.measuring.requests import requests_of
from moelaws.measuring.subjects import trained_model
from moelaws.provenance import code_version, machine
from moelaws.text.corpus import load_corpus

RESULTS = Path(__file__).parent / "results" / "engines.json"
EXPERTS, BATCHES = (8, 32), (1, 8, 32)
BARS = {1: 2.5, 8: 2.2, 32: 2.0}
"""Of a batch: how many times our time llama.cpp takes, at least."""
PROMPT, NEW = 64, 32
OURS, EXACT, DEFAULT, THEIRS = "ours", "llama.cpp", "llama.cpp fp16", "transformers"
TURN_SECONDS = 10e-3


def engines(model: Any) -> dict[str, Any]:
    """Every engine, ready."""
    return {
        OURS: make_decoder(model, "compiled"), EXACT: LlamaDecoder(model),
        DEFAULT: LlamaDecoder(model, exact=False), THEIRS: make_decoder(model, "transformers"),
    }  # fmt: skip


def greedy(decoder: Any, prompts_BT: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Tokens that it chooses, B x NEW, and the least distance between the best and the second."""
    logits_BV, cache = decoder.prefill(prompts_BT, NEW)
    chosen, margin = [], float("inf")
    for _ in range(NEW):
        best = logits_BV.topk(2).values
        margin = min(margin, float((best[:, 0] - best[:, 1]).min()))
        chosen.append(logits_BV.argmax(-1))
        logits_BV = decoder.extend(cache, chosen[-1][:, None].contiguous())
    return torch.stack(chosen, 1), margin


def agreement(ready: dict[str, Any], ids_BT: torch.Tensor) -> dict[str, Any]:
    """How far other engines' answers and logits are ours."""
    prompts_BT = ids_BT[:, :PROMPT].contiguous()
    ours, margin = greedy(ready[OURS], prompts_BT)
    logits = {name: decoder.prefill(prompts_BT, NEW)[0].clone() for name, decoder in ready.items()}
    found: dict[str, Any] = {"least_margin": round(margin, 6)}
    for name, decoder in ready.items():
        if name != OURS:
            theirs, _ = greedy(decoder, prompts_BT)
            found[name] = {
                "equal_answers": float((theirs == ours).all(1).float().mean()),
                "largest_logit_difference": float(f"{(logits[name] - logits[OURS]).abs().max():.3g}"),
            }
    return found


def step_seconds(decoder: Any, ids_BT: torch.Tensor, rounds: int) -> float:
    """Processor seconds of a decode step and the choice of its token, mean over so many readings of all tokens."""
    prompts_BT = ids_BT[:, :PROMPT].contiguous()
    columns = [column[:, None].contiguous() for column in ids_BT[:, PROMPT:].unbind(1)]
    total = 0
    for _ in range(rounds):
        _, cache = decoder.prefill(prompts_BT, NEW)
        start = time.process_time_ns()
        for column in columns:
            choose(decoder.extend(cache, column))
        total += time.process_time_ns() - start
    return total / (rounds * NEW) / 1e9


def point(ready: dict[str, Any], ids_BT: torch.Tensor, rounds: int) -> dict[str, Any]:
    """Times of one batch, engines by turns."""
    times = {}
    for name, decoder in ready.items():
        step_seconds(decoder, ids_BT, 1)  # warming up
        times[name] = max(1, round(TURN_SECONDS / NEW / step_seconds(decoder, ids_BT, 1)))
    taken: dict[str, list[float]] = {name: [] for name in ready}
    for number in range(rounds):
        for name in list(ready) if number % 2 else reversed(ready):
            taken[name].append(step_seconds(ready[name], ids_BT, times[name]))
    return {
        "milliseconds": {name: round(1e3 * statistics.median(values), 4) for name, values in taken.items()},
        "least_milliseconds": {name: round(1e3 * min(values), 4) for name, values in taken.items()},
        "over_ours": {
            name: round(statistics.median(a / b for a, b in zip(values, taken[OURS], strict=True)), 3)
            for name, values in taken.items() if name != OURS
        },
    }  # fmt: skip


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--experts", type=int, nargs="+", default=EXPERTS)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--again", action="store_true", help="measure points again that the file has")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    stamp = {
        "machine": machine(), "torch": torch.__version__, "transformers": version("transformers"),
        "llama.cpp": library_file().name, "python": platform.python_version(), "code": code_version(),
        "clock": "processor", "threads": 1,
    }  # fmt: skip
    asked = {"stamp": stamp, "prompt": PROMPT, "new": NEW, "rounds": options.rounds}
    result = begun(options.out, asked, options.again)
    done = {(p["d_model"], p["n_experts"], p["batch"]) for p in result["points"]}
    requests = requests_of(load_corpus())
    for width in options.widths:
        for n_experts in options.experts:
            batches = [batch for batch in options.batches if (width, n_experts, batch) not in done]
            ready = engines(trained_model(width, n_experts)) if batches else {}
            for batch in batches:
                ids_BT = requests.draw(batch, PROMPT + NEW)
                found = {"d_model": width, "n_experts": n_experts, "batch": batch}
                found |= {"greedy": agreement(ready, ids_BT), **point(ready, ids_BT, options.rounds)}
                found["load"] = round(os.getloadavg()[0], 2)
                result["points"].append(found)
                _print(found)
                write(options.out, result)
    result["worst"] = worst(result["points"])
    print(json.dumps(result["worst"]))
    write(options.out, result, finished=True)


def worst(points: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures that the bars speak of: the least ratio of each batch, and whether all greedy tokens were ours."""
    ratios = {batch: [p["over_ours"][EXACT] for p in points if p["batch"] == batch] for batch in BARS}
    return {
        "llama.cpp over ours": {batch: min(values, default=None) for batch, values in ratios.items()},
        "met": {batch: bool(values) and min(values) >= BARS[batch] for batch, values in ratios.items()},
        "greedy tokens equal": all(p["greedy"][name]["equal_answers"] == 1 for p in points for name in (EXACT, THEIRS)),
    }


def _print(found: dict[str, Any]) -> None:
    others = ", ".join(
        f"{name} {found['milliseconds'][name]:.3f} ({ratio:.2f}x)" for name, ratio in found["over_ours"].items()
    )
    equal = all(found["greedy"][name]["equal_answers"] == 1 for name in (EXACT, THEIRS))
    greedy = f"greedy tokens {'equal' if equal else 'NOT equal'}, least margin {found['greedy']['least_margin']:.2g}"
    print(
        f"d {found['d_model']:3}  E {found['n_experts']:2}  batch {found['batch']:2}  ours "
        f"{found['milliseconds'][OURS]:.3f} ms, {others}; {greedy}, load {found['load']}",
        flush=True,
    )


if __name__ == "__main__":
    main()
