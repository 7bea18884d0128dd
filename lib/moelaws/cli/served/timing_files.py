"""The files that ``moelaws measure`` writes: which they are, and whether they are ours to write."""

import argparse
import os
from pathlib import Path

from moelaws.document import check_json
from moelaws.files import is_stream
from moelaws.runs.writing.measured import check_measured

TIMINGS = Path("data/timings/cpu.csv")
_TOUCHED = Path("data/timings/experts_touched.csv")


def touched_file(options: argparse.Namespace) -> Path:
    """Where the grid's other table goes: beside the timings."""
    if options.out is None:
        return _TOUCHED
    out: Path = options.out
    return out.with_name(f"{out.stem}_{_TOUCHED.name}")


def check_files(options: argparse.Namespace) -> None:
    """Refuse, before anything is measured, files that are not ours.

    Raises:
        ValueError: another file is in the place of a result, or two results have one place.
        OSError: a place cannot be written to.
    """
    # They know torch, so they are imported late.
    from moelaws.measuring import rows

    if options.json and not options.calibrate:
        raise ValueError("--json: goes with --calibrate, whose machine it keeps; --out keeps the rows of every other")
    check_json(options.json, "machine")
    out = options.out or (TIMINGS if options.grid else None)
    if out is None:
        return
    if options.json and os.path.realpath(options.json) == os.path.realpath(out) and not is_stream(out):
        raise ValueError(f"--out and --json: both name {out}; a table and a machine need a file each")
    check_measured(out, rows.TIMINGS)
    if options.grid:
        if is_stream(out):
            raise ValueError(f"--out {out}: found a device or pipe, expected a file, as --grid writes one beside it")
        check_measured(touched_file(options), rows.TOUCHED)
