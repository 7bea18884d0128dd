"""Probing recorded runs: each is trained again from its row and asked everything; resumable, one writer."""

import concurrent.futures as futures
import math
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moelaws.config import RunConfig
from moelaws.counting import training_flops_per_token
from moelaws.runs import RunTable
from moelaws.runs.probed import PROBE_COLUMNS, complete_probes
from moelaws.sweeping.collecting import Collecting
from moelaws.sweeping.executors import LocalWorkers, WorkersError, check_device, require_training
from moelaws.sweeping.sweep import corpus_of
from moelaws.text.corpus import Corpus
from moelaws.training.record import run_of


class ProbingError(RuntimeError):
    """Some runs could not be probed; what was recorded is safe, and starting again goes on from there."""


@dataclass(frozen=True)
class Probed:
    """One run trained again, and what it was found to do.

    Attributes:
        row: the run's row in the run table.
        loss: validation loss found now, nats per token; NaN for a run that diverged.
        status: ``finished`` or ``diverged``.
        rows: rows for the table of probes; none if they are all there already.
        seconds: wall time of training and probing.
    """

    row: dict[str, Any]
    loss: float
    status: str
    rows: list[dict[str, Any]]
    seconds: float

    @property
    def equal(self) -> bool:
        """Whether the loss is the recorded one, bit by bit."""
        return self.loss == self.row["loss"]


def probe_runs(
    rows: Iterable[dict[str, Any]], table: str | Path, items: int = 1000, names: Collection[str] | None = None,
    workers: int = 1, device: str = "auto", executor: futures.Executor | None = None,
    on_run: Callable[[Probed, int, int], None] | None = None, on_event: Callable[[str], None] | None = None,
) -> int:  # fmt: skip
    """Train recorded runs again and append what each can do, a row a probe, domain and metric.

    What the table has of a run, probe and domain is not made again; a run of which nothing is missing is not trained.

    Args:
        rows: rows of a run table that the library wrote, of finished runs on texts with documents. One worker keeps
            their order; several take the largest runs first, so that none waits long for another at the end.
        table: the CSV file to append to; made if absent.
        items: questions in a probe at most.
        names: probes to make, of ``probes.NAMES``; all by default.
        workers: local processes of one torch thread each, without an executor.
        device: ``auto``, ``cpu``, ``cuda`` (GPUs in turn) or one GPU, as in ``cuda:1``.
        executor: where to run instead: anything with ``submit`` whose workers can import moelaws.
        on_run: called after each probed run with what was found, how many there are by now, and how many are wanted.
        on_event: told in one sentence what else happens: a run's error, a killed worker, a table that was mended.

    Returns:
        The number of rows appended.

    Raises:
        ConfigError: a row names no run.
        RunTableError: the file is not a table of probes of this version, or a row of it is damaged.
        TableInUseError: another process writes to this table.
        WorkersError: no worker can train anything, and why.
        ProbingError: some runs ended in an error, by name; the others are recorded.
    """
    require_training()
    check_device(device)
    chosen = [(row, run_of(row)) for row in rows]
    if workers > 1:
        chosen.sort(key=lambda item: -_train_flops(item[1]))
    tell = on_event or _say_nothing
    with _PROBING.open(table, on_event, PROBE_COLUMNS) as out:
        done = complete_probes(out.values(*_KEY))
        own = {run.run_id: {key[1:] for key in done if key[0] == run.run_id} for _, run in chosen}
        calls = [(row, run, own[run.run_id], items, names, device) for row, run in chosen]
        if executor is not None:
            return _collect(executor, calls, out, on_run, tell)
        with LocalWorkers(min(workers, max(1, len(calls))), device, on_event) as pool:
            return _collect(pool, calls, out, on_run, tell)


def probe_row(
    row: dict[str, Any], run: RunConfig, done: Collection[tuple[str, str]], items: int, names: Collection[str] | None,
    device: str,
) -> Probed:  # fmt: skip
    """Train one run and make the probes it lacks; what a worker does.

    Args:
        row: of the run table.
        run: the run it records.
        done: probes and domains that are not to be made again.
        items, names, device: see ``probe_runs``.
    """
    import torch

    from moelaws.probing.probes import NAMES, probe, probe_names
    from moelaws.provenance import code_version, machine
    from moelaws.training.train import train

    start = time.perf_counter()
    corpus = corpus_of(run)
    if not isinstance(corpus, Corpus):
        raise WorkersError(f"run {run.run_id}: {run.corpus} has no documents to ask about")
    missing = [key for key in probe_names(corpus, items, NAMES if names is None else names) if key not in done]
    if not missing:
        return Probed(row, math.nan, "", [], time.perf_counter() - start)
    result = train(run, corpus, device=device, threads=1)
    if result.validation is None:
        return Probed(row, math.nan, result.status, [], time.perf_counter() - start)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in training: fastest for models this small
    try:
        found = probe(result.model, corpus, items=items, names={name for name, _ in missing})
    finally:
        torch.set_num_threads(threads)
    about = {
        "run": run.run_id,
        "loss": result.validation.loss,
        "device": result.device,
        "machine": machine(),
        "torch_version": torch.__version__,
        "code_version": code_version(),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    measures = [m for m in found.to_dict("records") if (m["probe"], m["domain"]) in missing]
    rows = [about | {str(name): value for name, value in measure.items()} for measure in measures]
    return Probed(row, result.validation.loss, result.status, rows, time.perf_counter() - start)


def _collect(
    pool: futures.Executor, calls: Sequence[tuple[Any, ...]], out: RunTable,
    on_run: Callable[[Probed, int, int], None] | None, tell: Callable[[str], None],
) -> int:  # fmt: skip
    """Submit the runs and append what is found of them; the number of rows appended."""
    pending = {pool.submit(probe_row, *call): call[1].run_id for call in calls}
    appended: list[int] = []

    def record(future: "futures.Future[Probed]", found: Probed) -> None:
        # Rows that were there stay the only ones of their kind.
        there = out.values(*_KEY)
        new = [row for row in found.rows if tuple(row[name] for name in _KEY) not in there]
        _PROBING.append(out, new)
        appended.append(len(new))
        if on_run is not None:
            on_run(found, len(appended), len(calls))

    _PROBING.collect(pending, record, tell)
    return sum(appended)


_KEY = ("run", "probe", "domain", "metric")

_PROBING = Collecting(
    what="probing",
    error=ProbingError,
    nothing="nothing was probed",
    failed="could not be probed",
    again="what was recorded is safe, and the same command goes on",
)


def _train_flops(run: RunConfig) -> float:
    return float(training_flops_per_token(run.model) * run.steps * run.batch_tokens)


def _say_nothing(_: str) -> None:
    pass
