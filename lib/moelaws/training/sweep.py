"""Running many runs: resumable, longest first, on any ``concurrent.futures`` executor, one writer of the table."""

import concurrent.futures as futures
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from moelaws.config import RunConfig
from moelaws.counting import FlopsConvention, training_flops_per_token
from moelaws.runs import RunTable
from moelaws.training.corpus import Corpus, load_corpus


@dataclass(frozen=True)
class SweepRun:
    """A run and the place it has in its sweep.

    Attributes:
        run: what to train.
        sweep: the sweep's name.
        budget: nominal training FLOPs of the isoFLOP group it belongs to, if any.
        convention: how its training FLOPs are counted.
    """

    run: RunConfig
    sweep: str
    budget: float | None = None
    convention: FlopsConvention = "exact"

    @property
    def train_flops(self) -> float:
        """Training FLOPs under the sweep's convention."""
        steps = self.run.steps * self.run.batch_tokens
        return float(training_flops_per_token(self.run.model, self.convention) * steps)


class SweepError(RuntimeError):
    """Some runs of a sweep ended in an error; the others are recorded."""


# Several deaths in a row without one finished run are not bad luck.
_BROKEN_POOLS = 3


def run_sweep(
    wanted: Iterable[SweepRun],
    table: str | Path,
    workers: int = 2,
    limit: int | None = None,
    executor: futures.Executor | None = None,
    device: str = "auto",
    on_row: Callable[[dict[str, Any], "Progress"], None] | None = None,
) -> int:
    """Train every run that has no row yet and append the rows as they come.

    What is on the table is never run again; what was under way when the sweep was killed is run again from its
    seed. So a sweep that is stopped and started, however often, ends with the same losses as one that is not.

    Args:
        wanted: the runs; those equal in every field count once.
        table: the CSV file to append to; made if absent.
        workers: local worker processes of one thread each, when no executor is given.
        limit: stop after this many runs.
        executor: where to run instead: anything with ``submit`` whose workers can import moelaws.
        device: ``auto``, ``cpu`` or ``cuda``.
        on_row: called after each row with the row and the progress so far.

    Returns:
        The number of runs trained now.

    Raises:
        ConfigError, CorpusError: a run that cannot be trained; nothing is run.
        TableInUseError: another sweep writes to this table.
        SweepError: runs that ended in an error, by name; the rest are recorded.
    """
    pinned = {item.run.run_id: item for item in map(_pin, wanted)}
    with RunTable(table) as out:
        waiting = [item for run_id, item in pinned.items() if run_id not in out.done]
        # Longest first: the last runs to finish are then short, and no worker waits long for another.
        waiting.sort(key=lambda item: -item.train_flops)
        waiting = waiting[:limit]
        progress = Progress(len(waiting), sum(item.train_flops for item in waiting))
        broken = 0
        failures: list[str] = []
        while waiting:
            pool = executor or local_workers(workers)
            done_before = progress.runs
            try:
                for item, row in _results(pool, waiting, device, failures):
                    out.append(row)
                    progress.count(item)
                    if on_row is not None:
                        on_row(row, progress)
                break
            except BrokenProcessPool:
                # A worker was killed. Its runs have no row; start a new pool on what is left.
                broken = broken + 1 if progress.runs == done_before else 0
                if executor is not None or broken >= _BROKEN_POOLS:
                    raise SweepError(
                        "worker processes keep dying; the recorded runs are safe, start the sweep again to go on"
                    ) from None
                waiting = [item for item in waiting if item.run.run_id not in out.done]
            finally:
                if executor is None:
                    pool.shutdown(wait=False, cancel_futures=True)
    if failures:
        raise SweepError(f"{len(failures)} runs ended in an error, the first: {failures[0]}")
    return progress.runs


class Progress:
    """How far a sweep is, in runs and in FLOPs (runs differ in length; FLOPs say how long the rest takes).

    Attributes:
        runs, total_runs: finished and wanted runs of this call.
        flops, total_flops: likewise.
    """

    def __init__(self, total_runs: int, total_flops: float) -> None:
        self.runs, self.total_runs = 0, total_runs
        self.flops, self.total_flops = 0.0, total_flops
        self._start = time.perf_counter()

    def count(self, item: SweepRun) -> None:
        """Count one more finished run."""
        self.runs += 1
        self.flops += item.train_flops

    @property
    def seconds(self) -> float:
        """Wall time since the start."""
        return time.perf_counter() - self._start

    @property
    def seconds_left(self) -> float:
        """Wall time the rest takes at the rate so far."""
        return self.seconds * (self.total_flops - self.flops) / self.flops if self.flops else float("inf")


def local_workers(count: int) -> futures.ProcessPoolExecutor:
    """Fresh processes of one torch thread each, which end when the process that made them ends."""
    return futures.ProcessPoolExecutor(
        count, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent
    )


def train_row(item: SweepRun, device: str) -> dict[str, Any]:
    """Train one run and describe it as a row; what a worker does."""
    from moelaws.training.record import make_row
    from moelaws.training.train import train

    corpus = _corpus(item.run.corpus, item.run.model.vocab_size)
    result = train(item.run, corpus, device=device, threads=1)
    return make_row(result, corpus, item.sweep, item.budget, item.convention)


def _results(
    pool: futures.Executor, waiting: list[SweepRun], device: str, failures: list[str]
) -> Iterable[tuple[SweepRun, dict[str, Any]]]:
    pending = {pool.submit(train_row, item, device): item for item in waiting}
    for future in futures.as_completed(pending):
        item = pending[future]
        try:
            yield item, future.result()
        except BrokenProcessPool:
            raise
        except Exception as error:  # one run's error must not take the others with it
            failures.append(f"run {item.run.run_id}: {type(error).__name__}: {error}")


def _pin(item: SweepRun) -> SweepRun:
    """Fix the corpus by its fingerprint, so that the run's identity is that of the text it reads."""
    corpus = _corpus(item.run.corpus, item.run.model.vocab_size)
    corpus.require(item.run.train.batch_sequences, item.run.model.context)
    return replace(item, run=replace(item.run, corpus_sha256=corpus.sha256))


@lru_cache(maxsize=4)
def _corpus(source: str, vocab_size: int) -> Corpus:
    return load_corpus(source, vocab_size)


def _end_with_parent() -> None:
    """Let a worker die with its coordinator, even one that was killed and could not say goodbye."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
