"""Probing recorded runs: each is trained again from its row and asked everything; resumable, one writer."""

import concurrent.futures as futures
import math
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moelaws.config import RunConfig
from moelaws.counting import training_flops_per_token
from moelaws.files import EXHAUSTED
from moelaws.runs import RunTable, RunTableError, TableInUseError
from moelaws.runs.probed import PROBE_COLUMNS, complete_probes
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
        on_run: called after each run with what was found, its number and the number of runs.
        on_event: told in one sentence what else happens.

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
    with _open(table, on_event) as out:
        done = complete_probes(out.values("run", "probe", "domain", "metric"))
        if executor is not None:
            return _collect(executor, chosen, done, out, items, names, device, on_run)
        with LocalWorkers(min(workers, max(1, len(chosen))), device, on_event) as pool:
            return _collect(pool, chosen, done, out, items, names, device, on_run)


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
    pool: futures.Executor, chosen: list[tuple[dict[str, Any], RunConfig]], done: set[tuple[str, str, str]],
    out: RunTable, items: int, names: Collection[str] | None, device: str,
    on_run: Callable[[Probed, int, int], None] | None,
) -> int:  # fmt: skip
    appended, failures = 0, []
    pending = {}
    for row, run in chosen:
        own = {(name, domain) for run_id, name, domain in done if run_id == run.run_id}
        pending[pool.submit(probe_row, row, run, own, items, names, device)] = run.run_id
    try:
        for number, future in enumerate(futures.as_completed(pending), 1):
            try:
                found = future.result()
            except WorkersError:
                raise
            except Exception as error:
                failures.append(f"run {pending[future]}: {type(error).__name__}: {error}")
                continue
            appended += _append(out, found.rows)
            if on_run is not None:
                on_run(found, number, len(chosen))
    finally:
        for future in pending:
            future.cancel()
    if failures:
        raise ProbingError(f"{len(failures)} runs could not be probed, the first: {failures[0]}; {_AGAIN}")
    return appended


def _open(table: str | Path, on_event: Callable[[str], None] | None) -> RunTable:
    try:
        return RunTable(table, PROBE_COLUMNS, on_event)
    except OSError as error:
        why = f"{table}: {error.strerror or error}; nothing was probed"
        # What a machine runs out of is no fault of the name that was given.
        raise ProbingError(why) if error.errno in EXHAUSTED else RunTableError(why) from None


def _append(out: RunTable, rows: list[dict[str, Any]]) -> int:
    """Record what was found of a run but for rows that were there; the number of those that were not."""
    there = out.values("run", "probe", "domain", "metric")
    new = [row for row in rows if (row["run"], row["probe"], row["domain"], row["metric"]) not in there]
    try:
        out.append_all(new)
    except OSError as error:
        raise ProbingError(f"{out.path}: {error.strerror or error}; {_AGAIN}") from None
    except (RunTableError, TableInUseError) as error:
        raise ProbingError(str(error)) from None
    return len(new)


_AGAIN = "what was recorded is safe, and the same command goes on"


def _train_flops(run: RunConfig) -> float:
    return float(training_flops_per_token(run.model) * run.steps * run.batch_tokens)
