"""Which runs to make next, replayed on recorded runs: how well runs that were chosen foretell those that were not.

``python benchmarks/choices.py`` writes ``results/choices.csv``: every replay on the book's text, on text that goes on
from the two smallest budgets, and on the language. ``moelaws.replay_choices`` says how a replay is played.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

import moelaws as ml

HERE = Path(__file__).parent
RUNS = HERE.parent / "data" / "runs"
BOARDS = {
    "text": ("isoflop.csv", "budget == 1e13", "", (0.01, 0.05, 0.1, 0.25)),
    "text from two budgets": ("isoflop.csv", "budget == 1e13", "budget <= 3e11", (0.1,)),
    "language": ("synthetic.csv", "budget == 9.7e11", "", (0.01, 0.05, 0.1, 0.25)),
}
"""Name -> table, what is to be foretold, what is held from the beginning, shares of the FLOPs."""


def main() -> int:
    """Play and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replays", type=int, default=30)
    parser.add_argument("--boards", default=",".join(BOARDS), help="which, separated by commas (default: all)")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "choices.csv")
    options = parser.parse_args()
    for name in options.boards.split(","):
        file, ask, start, shares = BOARDS[name]
        runs = ml.finished(ml.read_runs(RUNS / file))
        played = ml.replay_choices(
            runs[runs["top_k"] == 1], ask, shares, options=ml.ReplayOptions(options.replays, start=start)
        )
        played.insert(0, "board", name)
        print(played.groupby(["share", "strategy"])[["rmse_log", "coverage", "foretold", "runs"]].median().to_string())
        # A board that was played before gives way; the others stay.
        kept = pd.read_csv(options.out) if options.out.exists() else played.iloc[:0]
        whole = pd.concat([kept[kept["board"] != name], played]) if len(kept) else played
        whole.to_csv(options.out, index=False, float_format="%.6g")
    return 0


if __name__ == "__main__":
    sys.exit(main())
