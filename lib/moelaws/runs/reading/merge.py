"""Several run tables as one, such as those of a class: each run once, and nothing that contradicts itself."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from moelaws.quote import listed, number_of, plain
from moelaws.runs.error import RunTableError
from moelaws.runs.reading.read import Loaded, finished, load_runs
from moelaws.runs.seeds import seed_spread

APART = 0.01
"""Share of a loss by which two records of one run may differ: another processor adds up in another order."""

_TABLE = "__table__"


def merge_runs(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Put run tables together that several people recorded.

    Args:
        paths: tables as ``read_runs`` takes them. Where all have a ``run_id``, a run that stands in several of them is
            kept once, a finished record before one that is not; without it only equal rows are the same run.

    Returns:
        One row a run, with the columns of all tables; what a table lacks is empty.

    Raises:
        RunTableError: a table that cannot be read, one run with two losses more than ``APART`` from each other, or one
            name for texts of different fingerprints.

    Examples:
        >>> import moelaws as ml
        >>> table = ml.datasets.place("isoflop")
        >>> len(merge_runs([table, table])) == len(ml.read_runs(table))
        True
    """
    return merged({str(path): load_runs(path) for path in paths}).runs


def merged(tables: Mapping[str, Loaded]) -> Loaded:
    """The same of tables that were read already; what is to be known about it is in the notes.

    Args:
        tables: path -> table.

    Raises:
        RunTableError: see ``merge_runs``.
    """
    if not tables:
        raise RunTableError("nothing to put together: expected the names of run tables, found none")
    names = {path: plain(Path(path).name or path) for path in tables}
    runs = pd.concat([table.runs.assign(**{_TABLE: names[path]}) for path, table in tables.items()])
    _check_texts(runs)
    notes = [f"{names[path]}: {number_of(len(table.runs), 'run')}" for path, table in tables.items()]
    notes += [f"{names[path]}: {note}" for path, table in tables.items() for note in table.notes]
    everywhere = set.intersection(*(set(table.runs.columns) for table in tables.values()))
    if lacking := [name for name in runs.columns if name not in everywhere and name != _TABLE]:
        notes.append(f"not in every table: {listed(lacking)}")
    kept, said = _each_once(runs, "run_id" in everywhere)
    kept = kept.drop(columns=_TABLE)
    kept.index = pd.RangeIndex(2, len(kept) + 2)
    if {"loss", "seed"} <= set(kept.columns):
        notes.append(f"points of the design with several seeds: {len(seed_spread(finished(kept)))}")
    aliases = {theirs: ours for table in tables.values() for theirs, ours in table.aliases.items()}
    return Loaded(kept, aliases, (*notes, *said))


def _check_texts(runs: pd.DataFrame) -> None:
    if not {"corpus", "corpus_sha256"} <= set(runs.columns):
        return
    known = runs.dropna(subset=["corpus", "corpus_sha256"]).drop_duplicates(["corpus", "corpus_sha256"])
    for corpus, texts in known.groupby("corpus"):
        if len(texts) > 1:
            first, other = texts[_TABLE].iloc[:2]
            raise RunTableError(
                f"{other}: its text {plain(corpus)} is not that of {first}: the fingerprints (corpus_sha256) differ;"
                " losses on different texts cannot be compared"
            )


def _each_once(runs: pd.DataFrame, known: bool) -> tuple[pd.DataFrame, list[str]]:
    """The runs, each once, and what was left out."""
    if not known:
        texts = runs.drop(columns=_TABLE).astype(str)
        kept = runs[~texts.duplicated().to_numpy()]
        left = len(runs) - len(kept)
        return kept, [f"{left} equal rows left out; without a run_id nothing else tells one run from another"]
    done = runs["status"].eq("finished") if "status" in runs else pd.Series(True, index=runs.index)
    ordered = runs.assign(__done__=done.to_numpy()).sort_values("__done__", ascending=False, kind="stable")
    twice = ordered[ordered["__done__"] & ordered.duplicated("run_id", keep=False) & ordered["run_id"].notna()]
    furthest = _differ(twice)
    kept = ordered[~(ordered.duplicated("run_id") & ordered["run_id"].notna()).to_numpy()].drop(columns="__done__")
    left = len(runs) - len(kept)
    said = [f"{left} records of runs that stand in another table left out"] if left else []
    if furthest > 0:
        said.append(f"their losses differ by up to {furthest:.2g} of the loss; the first was kept")
    return kept, said


def _differ(twice: pd.DataFrame) -> float:
    """By which share of the loss records of one run differ at most."""
    if twice.empty or "loss" not in twice:
        return 0.0
    furthest = 0.0
    for run, records in twice.groupby("run_id", sort=False):
        losses = records["loss"].astype(float)
        low, high = losses.argmin(), losses.argmax()
        apart = float(losses.iloc[high] / losses.iloc[low] - 1)
        if apart > APART:
            (one, a), (two, b) = ((records[_TABLE].iloc[at], losses.iloc[at]) for at in sorted((low, high)))
            raise RunTableError(
                f"{two}: run_id {plain(run, 40)} ends with loss {b:.4g}, and with {a:.4g} in {one}: one run has one"
                " loss; leave one of the two rows out"
            )
        furthest = max(furthest, apart)
    return furthest
