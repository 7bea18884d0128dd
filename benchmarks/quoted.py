"""Sentences of this folder's README that quote recorded figures, written from ``results/``.

    python benchmarks/quoted.py          # writes them anew
    python benchmarks/quoted.py --check  # exits with 1 where README says something else

A sentence stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``; what is outside is anybody's to write.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE / "README.md"


def recorded(name: str) -> dict[str, Any]:
    """A file of ``results/``."""
    return json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))


def span(values: Iterable[float], digits: int) -> str:
    """The least and the most of some figures; one where they are written alike."""
    every = sorted(values)
    low, high = (f"{each:.{digits}f}" for each in (every[0], every[-1]))
    return low if low == high else f"{low} to {high}"


def train() -> str:
    """Training steps beside those of ``transformers``."""
    found, compiled = recorded("train_speed"), recorded("train_speed_compiled")["points"]
    plain, kept = (
        [p["ratios"][peer] for p in found["points"]] for peer in ("transformers", "transformers, memory kept")
    )
    growth = found["summary"]["step_time_e32_over_e1"]
    beside = [p["ratios"]["transformers, memory kept, compiled"] for p in compiled]
    steps = " and ".join(f"{ratio:.2f} (d = {width})" for width, ratio in growth.items())
    return (
        f"{span(plain, 2)} times as fast as `transformers` at every point, {span(kept, 2)} with the memory setting"
        f" given to it, {span(beside, 1)} beside the compiled peer at the {len(beside)} points of"
        f" `train_speed_compiled.json`; a step at E = 32 over one at E = 1 is {steps}"
    )


def engines() -> str:
    """Decoding beside llama.cpp."""
    points = recorded("engines")["points"]
    one = {
        width: span([p["over_ours"]["llama.cpp"] for p in points if (p["batch"], p["d_model"]) == (1, width)], 1)
        for width in sorted({p["d_model"] for p in points})
    }
    more = span([p["over_ours"]["llama.cpp"] for p in points if p["batch"] > 1], 1)
    single = ", ".join(f"{times} at d = {width}" for width, times in one.items())
    return f"times as fast as llama.cpp at batch 1: {single}; at batch 8 and 32: {more}"


def decode() -> str:
    """A compiled step beside a copy of its bytes, and the products."""
    points = recorded("decode_compiled")["points"]
    one = [p for p in points if p["batch"] == 1]
    wide = max(p["d_model"] for p in one)
    share = ", ".join(f"{p['bandwidth_over_copy']:.2f} with {p['n_experts']}" for p in one if p["d_model"] == wide)
    moved, over = [p["bandwidth_over_copy"] for p in one], [p["blas_over_compiled"] for p in points]
    return (
        f"at batch 1 the step moves {span(moved, 2)} of what the copy moves (d = {wide}: {share} experts), and the"
        f" products take {span(over, 1)} times as long as the step"
    )


def calibrated() -> str:
    """The cost model's errors on configurations that it was not calibrated on."""
    errors = []
    for name, words in (("compiled", "our compiled engine"), ("llama", "llama.cpp")):
        held_out = recorded(f"calibrated_{name}")["held_out"]
        errors.append(f"{held_out['median']:.0%} in the median and {held_out['p90']:.0%} nine times in ten for {words}")
    return "; ".join(errors).replace("%", " %")


SENTENCES: dict[str, Callable[[], str]] = {
    "train": train, "engines": engines, "decode": decode, "calibrated": calibrated
}  # fmt: skip


def written(text: str) -> str:
    """The page with its sentences as the results have them.

    Raises:
        ValueError: a sentence has no place in the page, or more than one.
    """
    for name, sentence in SENTENCES.items():
        parts = re.split(rf"(<!-- /?{name} -->)", text)
        if parts[1::2] != [f"<!-- {name} -->", f"<!-- /{name} -->"]:
            raise ValueError(f"{README.name}: expected <!-- {name} -->...<!-- /{name} --> once, found {parts[1::2]}")
        text = "".join([*parts[:2], sentence(), *parts[3:]])
    return text


def main() -> int:
    """Write the page, or say that it is old."""
    text = README.read_text(encoding="utf-8")
    new = written(text)
    if "--check" in sys.argv[1:]:
        return int(text != new)
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
