"""Records what compression costs: ``python -m howmany.recording.compressed_models data/neighbours``.

Mixtures and dense models are trained again from their rows, made smaller in every way that the chapter compares, and
read the same held-out text. Two tables: one row a smaller model, and one row an expert.
"""

import concurrent.futures as futures
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from moelaws.models import Transformer
from moelaws.probing.probes import probe
from moelaws.provenance import code_version, machine
from moelaws.reshape.bit_budget import spend_bits
from moelaws.reshape.compress import Compressed, Widths, importance, stored_bytes, with_bits
from moelaws.reshape.fewer_experts import merge, prune
from moelaws.reshape.importance import visits
from moelaws.reshape.second_choice import second_dropped, weight_ratios
from moelaws.runs import read_runs
from moelaws.sweeping.sweep import corpus_of
from moelaws.text.corpus import Corpus
from moelaws.training.record import run_of
from moelaws.training.train import train

MIXTURES = ("data/runs/granularity.csv", "n_experts == 32 and top_k == 2 and granularity == 2 and d_model == 40")
DENSE = ("data/runs/isoflop.csv", "n_experts == 1 and d_model == 32 and budget == 3e11")
SEEDS = (0, 1)
CHOICES = (1, 2, 3)
MEANS = (2.5, 2.0, 1.5)
RULES: dict[str, tuple[float, float, float]] = {
    "importance": (1, 1, 2), "authors' code": (1, 1.5, 1), "frequency": (1, 0, 0), "weight": (0, 1, 0),
    "damage": (0, 0, 1),
}  # fmt: skip
"""Exponents of activation frequency, routing weight and damage. Without the last, an expert's cost does not depend on
its bits: there the squared error that a normal weight suffers stands for it."""
DRAWS = 8
PROBES = ("cloze", "facts", "continuation", "word order", "brackets")
ITEMS = 150
VALIDATION = 16_384
_NORMAL_ERROR = np.array([0.363, 0.119, 0.0375])  # of a normal weight in 1, 2, 3 bits (Max 1960, even levels)


@dataclass(frozen=True)
class Bench:
    """A trained model and what it is measured with."""

    name: str
    run_id: str
    seed: int
    model: Transformer
    corpus: Corpus
    original: NDArray[np.float64]

    def read(self, model: Transformer) -> NDArray[np.float64]:
        """Mean loss of each held-out sequence."""
        return losses(model, self.corpus)


def losses(model: Transformer, corpus: Corpus) -> NDArray[np.float64]:
    """Mean loss of each held-out sequence, nats per token."""
    windows = torch.from_numpy(corpus.validation_windows(model.config.context, VALIDATION))
    return np.concatenate([model.token_losses(part[:, :-1], part[:, 1:])[0].double().mean(1).numpy()
                           for part in windows.split(32)])  # fmt: skip


def main(folder: Path) -> None:
    """Record both tables, on two processes."""
    tasks = [(kind, seed) for kind in ("mixture", "dense") for seed in SEEDS]
    with futures.ProcessPoolExecutor(2, get_context("spawn")) as pool:
        found = list(pool.map(_record, tasks))
    folder.mkdir(exist_ok=True)
    for place, name in enumerate(("compression.csv", "compression_experts.csv")):
        rows = [row for parts in found for row in parts[place]]
        pd.DataFrame(rows).to_csv(folder / name, index=False, lineterminator="\n")


def _record(task: tuple[str, int]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of a model's smaller versions, and of its experts."""
    torch.set_num_threads(1)
    began = time.perf_counter()
    kind, seed = task
    bench = _trained(kind, *(MIXTURES if kind == "mixture" else DENSE), seed)
    experts: list[dict[str, Any]] = []
    rows = list(_of_mixture(bench, experts) if kind == "mixture" else _of_dense(bench))
    print(f"{kind}, seed {seed}: {len(rows)} rows, {time.perf_counter() - began:.0f} s", flush=True)
    return rows, experts


def _trained(name: str, table: str, where: str, seed: int) -> Bench:
    found = read_runs(table).query(f"{where} and seed == {seed}")
    row = {str(key): value for key, value in found.iloc[0].to_dict().items()}
    run = run_of(row)
    corpus = corpus_of(run)
    assert isinstance(corpus, Corpus)
    model = train(run, corpus, device="cpu").model
    return Bench(name, run.run_id, seed, model, corpus, losses(model, corpus))


def _of_dense(bench: Bench) -> Iterator[dict[str, Any]]:
    yield _row(bench, "none", bench.model, stored_bytes(bench.model.config), 32, probed=True)
    for bits in (8, 4, 3, 2, 1):
        found = with_bits(bench.model, np.empty((0, 1), dtype=np.int64), Widths(bits))
        yield _row(bench, "uniform", found.model, found.bytes, bits, probed=True)


def _of_mixture(bench: Bench, experts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    model = bench.model
    windows = torch.from_numpy(next(bench.corpus.batches(128, model.config.context, seed=0)))
    seen = visits(model, windows)
    shape = (len(seen), model.config.n_experts)
    yield _row(bench, "none", model, stored_bytes(model.config), 32, probed=True)
    alike = {bits: with_bits(model, np.full(shape, bits), Widths(bits)) for bits in (8, 4, 3, 2, 1)}
    whole = with_bits(model, np.full(shape, 8), Widths(8, rest=32))
    yield _row(bench, "experts alone", whole.model, whole.bytes, 8, rest=32)
    for bits, found in alike.items():
        yield _row(bench, "uniform", found.model, found.bytes, bits, probed=True)
    eps = importance(seen, Widths(CHOICES[0], choices=CHOICES, exponents=(0, 0, 1)))
    phi, weight = (np.stack([getattr(each, kind).numpy() for each in seen]) for kind in ("frequency_E", "weight_E"))
    for layer, expert in np.ndindex(shape):
        own = {f"eps_{bits}": eps[layer][expert, j] for j, bits in enumerate(CHOICES)}
        experts.append({"run": bench.run_id, "seed": bench.seed, "layer": layer, "expert": expert,
                        "frequency": phi[layer, expert], "weight": weight[layer, expert]} | own)  # fmt: skip
    rng = np.random.default_rng(bench.seed)
    for mean in MEANS:
        for rule, (a, b, c) in RULES.items():
            costs = [(p**a * w**b)[:, None] * (e**c if c else _NORMAL_ERROR) for p, w, e in
                     zip(phi, weight, eps, strict=True)]  # fmt: skip
            shares = np.stack([spend_bits(each, CHOICES, mean) for each in costs])
            yield _assembled(bench, alike, shares, rule, mean, probed=rule == "importance")
            if rule == "importance":
                chosen = shares
        for draw in range(DRAWS):
            shuffled = np.stack([rng.permutation(layer) for layer in chosen])
            yield _assembled(bench, alike, shuffled, "random", mean, draw)
    makers: Sequence[tuple[str, Callable[[Transformer, Any, int], Transformer]]] = (
        ("pruned", prune),
        ("merged", merge),
    )
    for keep in (24, 16, 8):
        for method, make in makers:
            fewer = make(model, windows, keep)
            yield _row(bench, method, fewer, stored_bytes(fewer.config), 32)
    medians = [float(weight_ratios(each).median()) for each in seen]
    for method, first in (("second dropped", False), ("first dropped", True)):
        with second_dropped(model, medians, first):
            yield _row(bench, method, model, stored_bytes(model.config), 32)


def _assembled(
    bench: Bench, alike: dict[int, Compressed], bits_LE: NDArray[np.int64], method: str, mean: float, draw: int = 0,
    probed: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """A model whose experts are those of the models of one width each; the rest has eight bits."""
    model = Transformer(bench.model.config)
    model.load_state_dict(alike[8].model.state_dict())
    with torch.no_grad():
        for layer, expert in np.ndindex(bits_LE.shape):
            source = alike[int(bits_LE[layer, expert])].model.blocks[layer].experts
            for name in ("w_in", "w_out"):
                getattr(model.blocks[layer].experts, name)[expert] = getattr(source, name)[expert]
    packed = {
        name: alike[int(bits_LE[int(name.split(".")[2]), int(name.split(".")[5])])].packed[name]
        if ".mlp.experts." in name else planes
        for name, planes in alike[8].packed.items()
    }  # fmt: skip
    return _row(bench, method, model, stored_bytes(model.config, packed), mean, draw=draw, probed=probed)


def _row(
    bench: Bench, method: str, model: Transformer, size: int, bits: float, draw: int = 0, probed: bool = False,
    rest: int = 8,
) -> dict[str, Any]:  # fmt: skip
    found = bench.read(model)
    moved = found - bench.original
    scores: dict[str, float] = {}
    if probed:
        table = probe(model, bench.corpus, items=ITEMS, names=PROBES)
        right = table[table["metric"] == "accuracy"]
        scores = {"accuracy": float(right["value"].mean()), "chance": float(right["chance"].mean())}
        scores["accuracy_se"] = float(np.sqrt((right["se"] ** 2).sum()) / len(right))
    return {
        "run": bench.run_id, "seed": bench.seed, "model": bench.name, "method": method, "bits": bits,
        "rest_bits": 32 if bits == 32 else rest, "n_experts": model.config.n_experts, "draw": draw, "bytes": size,
        "loss": float(found.mean()), "difference": float(moved.mean()),
        "difference_se": float(moved.std(ddof=1) / np.sqrt(len(moved))), **scores,
        "machine": machine(), "torch_version": torch.__version__, "code_version": code_version(),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
