"""Whether a table of training steps has every step that a CPU is asked for, by this release: 0 if so, else 1.

python benchmarks/whole_steps.py TABLE
"""

import sys

import pandas as pd
import torch
from gpu import CPU, missing


def main() -> int:
    """Count what is missing."""
    left = len(list(missing(torch.device("cpu"), CPU, pd.read_csv(sys.argv[1]))))
    print(f"{left} steps are missing" if left else "every step is there")
    return int(left > 0)


if __name__ == "__main__":
    raise SystemExit(main())
