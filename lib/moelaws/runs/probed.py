"""The table of probes: one row a run, probe, domain and metric; what crosses the wall besides runs and timings."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from moelaws.runs.reading.read import RunTableError, read_runs

PROBE_COLUMNS = (
    "run", "probe", "domain", "metric", "value", "se", "chance", "items", "loss", "parts", "expert_load",
    "device", "machine", "torch_version", "code_version", "finished_at",
)  # fmt: skip
"""The header. ``run`` is the run's ``run_id`` in the run table, ``loss`` that of the model that was asked."""

METRICS = {
    **dict.fromkeys(("cloze", "recall", "facts", "continuation", "word order", "brackets"), ("accuracy", "margin")),
    "mention": ("accuracy", "nats/word"),
    "same words": ("nats/token",),
    "same order": ("nats/token",),
    "text": ("bits/byte",),
}
"""Probe -> the metrics that it gives of a domain: a row each."""

_NUMBERS = ("value", "se", "chance", "items", "loss")
_KEY = ["run", "probe", "domain", "metric"]


def complete_probes(rows: Iterable[tuple[str, str, str, str]]) -> set[tuple[str, str, str]]:
    """The probes of which all rows are there: a recording that was killed may have left the first of two metrics.

    Args:
        rows: run, probe, domain and metric of each row of a table of probes.

    Returns:
        Run, probe and domain of each.
    """
    found: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
    for run, probe, domain, metric in rows:
        found[run, probe, domain].add(metric)
    return {key for key, metrics in found.items() if metrics >= set(METRICS.get(key[1], ()))}


def read_probes(path: str | Path, runs: pd.DataFrame) -> pd.DataFrame:
    """Read a table of probes and put to each row what the run table says of its run.

    Args:
        path: a file that ``moelaws probe`` wrote.
        runs: the run table, with ``run_id`` and ``loss``.

    Returns:
        One row a run, probe, domain and metric: the columns of both tables. ``loss`` is that of the model that was
        asked, ``recorded_loss`` the run table's, ``equal`` whether the two agree bit by bit.

    Raises:
        RunTableError: a missing column, a cell that is no number, a repeated row, or a run that is not in ``runs``.
    """
    name = Path(path).name
    table = read_runs(path, required=PROBE_COLUMNS)
    for column in _NUMBERS:
        numbers = pd.to_numeric(table[column], errors="coerce")
        bad = numbers.isna()
        if bad.any():
            row = table.index[bad][0]
            raise RunTableError(f"{name}: row {row}, column {column!r}: expected a number")
        table[column] = numbers
    again = table.duplicated(_KEY)
    if again.any():
        raise RunTableError(f"{name}: row {table.index[again][0]} repeats an earlier run, probe, domain and metric")
    if "run_id" not in runs:
        raise RunTableError(f"{name}: the run table has no column 'run_id', by which probes name their runs")
    known = runs.set_index("run_id")
    absent = ~table["run"].isin(known.index)
    if absent.any():
        row = table.index[absent][0]
        raise RunTableError(f"{name}: row {row}, column 'run': the run table has no run {table['run'].at[row]!r}")
    facts = known.drop(columns=[c for c in table.columns if c in known.columns and c != "loss"])
    joined = table.join(facts.rename(columns={"loss": "recorded_loss"}), on="run")
    return joined.assign(equal=joined["loss"] == joined["recorded_loss"])
