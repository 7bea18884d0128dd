"""What a command holds out of a table, from what the command line says of it."""

import argparse

from moelaws.comparing.unseen import HELD_OUT, Unseen
from moelaws.runs import Loaded, finished

NOTHING = "none"


def add_hold_out(parser: argparse.ArgumentParser) -> None:
    """Add ``--hold-out``."""
    parser.add_argument(
        "--hold-out",
        action="append",
        metavar="WHAT",
        help=f"budget (the largest), sparsity (the highest), {NOTHING}, or a condition on rows: 'seed == 3'; may be"
        " given several times (default: budget and sparsity)",
    )


def held_out_of(options: argparse.Namespace, loaded: Loaded) -> tuple[str | Unseen, ...] | None:
    """What to hold out; ``None`` where nothing was said. Conditions may name columns as the file does.

    Raises:
        ConditionError: a condition that cannot be read.
    """
    if options.hold_out is None:
        return None
    rows = finished(loaded.runs).index
    return tuple(
        word if word in HELD_OUT else Unseen(word, word, loaded.where(word).loc[rows].to_numpy(bool))
        for word in options.hold_out
        if word != NOTHING
    )
